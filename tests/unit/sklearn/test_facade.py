"""The facade says what the functions say, and nothing of its own."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import hiddenscape as hs
import hiddenscape.sklearn as facade
from hiddenscape.errors import InputError


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    rng = np.random.default_rng(81)
    return np.vstack([rng.normal(size=(150, 3)), rng.normal(size=(100, 3)) + np.eye(3)[0] * 6])


def test_dimensions_are_those_of_the_functions(points: np.ndarray) -> None:
    graph = hs.find_neighbors(points, k=100)
    pairs: list[tuple[Any, hs.Dimension]] = [
        (facade.TwoNN(method="fit", fraction=0.8), hs.two_nn(graph, method="fit", fraction=0.8)),
        (facade.GRIDE(n1=4), hs.gride(graph, 4)),
        (facade.GRIDE(n1=3, n2=8), hs.gride(graph, 3, 8)),
        (facade.MLE(k=12, average="median"), hs.mle_dimension(graph, 12, average="median")),
        (facade.ABIDE(k=100, alpha=1e-3), hs.abide(graph, alpha=1e-3)),
        (facade.PCADimension(threshold=0.5), hs.pca_dimension(points, threshold=0.5)),
    ]
    for estimator, want in pairs:
        found = estimator.fit(points)
        assert found.dimension_ == want.value, estimator
        assert found.note_ == want.note
        assert dict(found.result_.parameters) == dict(want.parameters)


def test_other_metrics_reach_the_graph(points: np.ndarray) -> None:
    want = hs.two_nn(hs.find_neighbors(points, k=2, metric="angular"))
    assert facade.TwoNN(metric="angular").fit(points).dimension_ == want.value


def test_clusters_are_those_of_the_functions(points: np.ndarray) -> None:
    graph = hs.find_neighbors(points, k=25)  # a tenth of the rows
    d = hs.two_nn(graph).value
    density = hs.pak_density(graph, dimension=d)
    want = hs.adp(graph, density, points=points)
    found = facade.ADP().fit(points)
    assert found.dimension_ == d
    assert np.array_equal(found.labels_, want.labels)
    assert found.centers_.tolist() == want.centers.tolist()
    assert found.n_clusters_ == want.n_clusters == 2
    halo = facade.ADP(halo=True).fit_predict(points)
    assert np.array_equal(halo == -1, want.halo)
    peaks = facade.DensityPeaks(n_clusters=2).fit(points)
    by_hand = hs.density_peaks(
        graph,
        density,
        points=points,
        min_log_density=peaks.result_.parameters["min_log_density"],
        min_delta=peaks.result_.parameters["min_delta"],
    )
    assert np.array_equal(peaks.labels_, by_hand.labels)
    assert peaks.decision_graph_.delta.shape == (len(points),)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 250])
def test_as_many_centres_as_asked_for(n: int, points: np.ndarray) -> None:
    assert facade.DensityPeaks(n, denser=1.0).fit(points).n_clusters_ == n


def test_copies_are_no_second_centre(points: np.ndarray) -> None:
    twice = facade.DensityPeaks(3, k=25).fit(np.repeat(points, 2, axis=0))
    once = facade.DensityPeaks(3, k=25).fit(points)
    assert np.array_equal(twice.labels_[::2], once.labels_)
    assert "duplicates" in twice.note_


def test_densities_at_the_sample_and_at_other_points(points: np.ndarray) -> None:
    graph = hs.find_neighbors(points, k=25)
    d = hs.two_nn(graph).value
    for estimator, want in (
        (facade.KStarDensity(), hs.kstar_density(graph, dimension=d)),
        (facade.PAkDensity(), hs.pak_density(graph, dimension=d)),
    ):
        found = estimator.fit(points)
        assert np.array_equal(found.log_density_, want.values)
        assert found.score_samples(points) == pytest.approx(want.values, rel=1e-12)
        assert found.score(points) == pytest.approx(want.values.mean())
        far, near = found.score_samples([[30.0, 0, 0], [0.0, 0, 0]])
        assert far < near


def test_a_dimension_below_one_is_taken_as_one_and_noted() -> None:
    rng = np.random.default_rng(82)
    dust = np.cumsum(rng.exponential(size=400) ** 6)[:, None]
    assert hs.two_nn(hs.find_neighbors(dust, k=2)).value < 1
    found = facade.ADP().fit(dust)
    assert found.dimension_ == 1
    assert "taken as 1" in found.note_


def test_a_constant_site_has_no_answer_and_a_note() -> None:
    flat = np.ones((40, 3))
    assert np.isnan(facade.TwoNN().fit(flat).dimension_)
    assert "collapsed" in facade.TwoNN().fit(flat).note_
    clusters = facade.ADP().fit(flat)
    assert set(clusters.labels_) == {-1}
    assert "collapsed" in clusters.note_
    assert set(facade.DensityPeaks().fit_predict(flat)) == {-1}
    density = facade.PAkDensity().fit(flat)
    assert np.isnan(density.score_samples([[0.0, 0, 0], [1.0, 1, 1]])).all()


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (facade.DensityPeaks(0), "n_clusters must be at least 1"),
        (facade.DensityPeaks(251), "250 distinct rows cannot be the centres of 251"),
        (facade.DensityPeaks(2, denser=0), r"denser must lie in \(0, 1\]"),
        (facade.ADP(z=-1), "z must be at least 0"),
        (facade.ADP(dimension=0.5), "below 1"),
        (facade.TwoNN(metric="nearby"), "metric"),
    ],
)
def test_misuse_is_refused_in_fit(estimator: Any, message: str, points: np.ndarray) -> None:
    with pytest.raises(ValueError, match=message):
        estimator.fit(points)


@pytest.mark.parametrize("name", facade.__all__)
def test_clones_pickles_and_pipelines(name: str, points: np.ndarray) -> None:
    estimator = getattr(facade, name)()
    assert clone(estimator).get_params() == estimator.get_params()
    assert not [n for n in vars(estimator) if n.endswith("_")]
    fitted = make_pipeline(StandardScaler(), estimator).fit(points)[-1]
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301
    assert again.note_ == fitted.note_
    assert dict(again.result_.parameters) == dict(fitted.result_.parameters)
    assert fitted.n_features_in_ == 3


def test_without_scikit_learn_the_message_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import hiddenscape, hiddenscape.errors as e\n"
        "try:\n    import hiddenscape.sklearn\n"
        "except e.MissingDependency as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert 'pip install "hiddenscape[sklearn]"' in done.stdout


@pytest.mark.parametrize("name", ["ABIDE", "ADP", "MLE", "PAkDensity"])
def test_a_depth_that_is_no_number_is_named(name: str) -> None:
    points = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(InputError, match="k must be a whole number, got 'deep'"):
        getattr(facade, name)(k="deep").fit(points)
