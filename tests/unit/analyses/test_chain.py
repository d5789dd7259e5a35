"""What densities and peaks of a site share is made once, and depends on nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape.analyses import ANALYSES, Chain, PerRow, Settings
from hiddenscape.analyses import chain as engine


@pytest.fixture
def points() -> np.ndarray:
    rng = np.random.default_rng(2)
    return np.vstack([rng.normal(size=(150, 3)), 6 + rng.normal(size=(150, 3))])


def test_each_step_is_made_once(points: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("two_nn", "k_star", "pak_density"):
        real = getattr(engine, name)

        def counted(*args, _real=real, _name=name, **options):
            calls.append(_name)
            return _real(*args, **options)

        monkeypatch.setattr(engine, name, counted)
    chain = Chain(points, hs.find_neighbors(points, k=60), Settings(kstar_depth=60))
    labels = np.arange(300) >= 150
    for name in ("k_star", "pak_density", "kstar_density", "adp", "adp_z_scan"):
        assert list(ANALYSES[name].compute(chain, chain.settings))
    assert list(ANALYSES["adp_labels"].compute(chain, labels, chain.settings))
    assert sorted(calls) == ["k_star", "pak_density", "two_nn"]


def test_a_deeper_graph_changes_nothing(points: np.ndarray) -> None:
    settings = Settings(kstar_depth=40)
    shallow, deep = (Chain(points, hs.find_neighbors(points, k=k), settings) for k in (40, 120))
    np.testing.assert_array_equal(shallow.k_star.k, deep.k_star.k)
    np.testing.assert_array_equal(shallow.clusters.labels, deep.clusters.labels)
    assert shallow.parameters == deep.parameters


def test_the_dimension_is_that_of_the_ranks_asked_for(points: np.ndarray) -> None:
    graph = hs.find_neighbors(points, k=60)
    at = Chain(points, graph, Settings(density_rank=16))
    assert at.dimension.value == hs.gride(graph, n1=8).value
    assert at.parameters["dimension_from"] == "GRIDE at ranks (8, 16)"
    fixed = Chain(points, graph, Settings(density_dimension=3))
    assert fixed.k_star.dimension == 3.0
    assert fixed.parameters["dimension_from"] == "given"
    rows = {m.quantity: m for m in ANALYSES["k_star"].compute(fixed, fixed.settings)
            if not isinstance(m, PerRow)}  # fmt: skip
    assert (rows["dimension_used"].estimate.value, rows["dimension_used"].n1) == (3.0, None)


def test_peaks_are_sought_in_the_density_asked_for(points: np.ndarray) -> None:
    graph = hs.find_neighbors(points, k=60)
    chain = Chain(points, graph, Settings(density="knn", density_k=12, z=1.0))
    d = hs.two_nn(graph).value
    by_hand = hs.adp(graph, hs.knn_density(graph, dimension=d, k=12), z=1.0, points=points)
    np.testing.assert_array_equal(chain.clusters.labels, by_hand.labels)
    (saved,) = [m for m in ANALYSES["adp"].compute(chain, chain.settings) if isinstance(m, PerRow)]
    assert (saved.parameters["density"], saved.parameters["density_k"]) == ("knn", 12)


def test_labels_of_two_sides_are_found(points: np.ndarray) -> None:
    near = points - 2.5 * (np.arange(300) >= 150)[:, None]
    chain = Chain(near, hs.find_neighbors(near, k=60), Settings(z=1.0))
    side = np.arange(300) >= 150
    found = {(m.quantity, m.setting): m.estimate for m in
             ANALYSES["adp_labels"].compute(chain, side, chain.settings)}  # fmt: skip
    assert found["ari", ""].value > 0.8
    assert found["purity", "without halo"].value >= found["purity", ""].value
    assert found["ari", "without halo"].n_used < 300
