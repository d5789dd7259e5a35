"""Reference cases of other packages and of the definitions: neighbours, duplicates, dimension."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenscape.comparison.imbalance import information_imbalance
from hiddenscape.comparison.overlap import neighborhood_overlap
from hiddenscape.dimension.gride import gride, gride_scan
from hiddenscape.dimension.pca import participation_ratio, pca_dimension
from hiddenscape.dimension.spectrum import count_components, spectrum_dimension
from hiddenscape.dimension.two_nn import TWO_NN_PRESETS, two_nn
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words
from hiddenscape.testing.manifolds import ball, pareto_graph

pytestmark = pytest.mark.real

GROUPS = ("twonn", "decimation", "gride", "neighbours", "duplicates", "PCA and signal rank")
ELSEWHERE: dict[str, str] = {}
"""Visible cases of these groups that ask for what is not computed here, with the reason."""


@pytest.fixture(scope="session")
def cases(shared: Path) -> dict[str, Any]:
    content = json.loads((shared / "reference" / "cases.json").read_text(encoding="utf-8"))
    wanted = {i for g in GROUPS for i in content["groups"][g]}
    return {c["id"]: c["expected"] for c in content["cases"] if c["id"] in wanted}


@pytest.fixture(scope="session")
def gaussians(shared: Path) -> np.ndarray:
    return np.load(shared / "reference" / "2gaussians_in_2d.npy")


@pytest.fixture(scope="session")
def ball5() -> NeighborGraph:
    points = np.hstack([ball(300, 5, seed=0), np.zeros((300, 5))])
    return find_neighbors(points, k=64)


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    data = pytest.importorskip("sklearn.datasets").load_digits().data
    assert data.sum() == 561718
    return data


def fit(graph: NeighborGraph, fraction: float = 0.9) -> float:
    return two_nn(graph, method="fit", positions="i/N", fraction=fraction).value


def mle(graph: NeighborGraph) -> float:
    return two_nn(graph, method="mle").value


def test_every_visible_case_is_tested_or_listed(cases: dict[str, Any]) -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in cases)
    assert set(ELSEWHERE) <= set(cases)


def test_twonn_of_dadapy(cases: dict[str, Any], gaussians: np.ndarray) -> None:
    graph = find_neighbors(gaussians, k=2)
    assert fit(graph) == pytest.approx(cases["dadapy-2nn-base"], abs=0.01)
    assert fit(graph) == pytest.approx(cases["c-2gauss-2nn-base-0.9"], rel=1e-6)
    preset = two_nn(graph, **TWO_NN_PRESETS["dadapy"])
    assert preset.value == pytest.approx(cases["c-2gauss-2nn-base-0.9"], rel=1e-6)
    assert mle(graph) == pytest.approx(cases["c-2gauss-2nn-ml"], rel=1e-6)
    posterior = two_nn(graph, method="bayes")
    assert posterior.value == pytest.approx(cases["dadapy-2nn-bayes"], abs=1e-4)


def test_decimation_of_dadapy(cases: dict[str, Any], gaussians: np.ndarray) -> None:
    # DADApy draws independent subsets from one generator; ours are disjoint, so only the
    # estimator and the search inside each subset are the same thing.
    rng = np.random.default_rng(42)
    means = [fit(find_neighbors(gaussians, k=2))]
    for size, repeats in ((50, 2), (25, 4), (12, 8)):
        draws = [rng.choice(100, size=size, replace=False) for _ in range(repeats)]
        means.append(np.mean([fit(find_neighbors(gaussians[d], k=2)) for d in draws]))
    assert means == pytest.approx(cases["dadapy-2nn-decimation-id"], abs=0.01)


def test_twonn_of_skdim(cases: dict[str, Any], ball5: NeighborGraph) -> None:
    small = find_neighbors(np.hstack([ball(30, 5, seed=0), np.zeros((30, 5))]), k=2)
    assert fit(small) == pytest.approx(cases["skdim-twonn-highdim-path"], abs=5e-6)
    wide = find_neighbors(ball(500, 5, seed=0), k=2)
    assert fit(wide) == pytest.approx(cases["skdim-twonn-ball5"], rel=1e-12)
    assert fit(ball5) == pytest.approx(cases["skdim-ref-ball5-twonn-linear"], rel=1e-6)
    assert mle(ball5) == pytest.approx(cases["skdim-ref-ball5-twonn-ml"], rel=1e-6)


def test_mle_is_its_formula(cases: dict[str, Any]) -> None:
    assert cases["skdim-twonn-mle-identity"] == "(N-1)/sum(log mu)"
    graph = find_neighbors(ball(500, 3, seed=0), k=2)
    total = np.log(graph.distances[:, 1] / graph.distances[:, 0]).sum()
    assert mle(graph) == pytest.approx(499 / total, rel=1e-12)


def test_gride_with_the_published_filter_is_twonn(cases: dict[str, Any]) -> None:
    assert "skdim-gride-equals-twonn" in cases
    graph = find_neighbors(ball(1000, 5, seed=0), k=2)
    mu = graph.distances[:, 1] / graph.distances[:, 0]
    half, high = np.quantile(mu, [0.5, 0.95])
    kept = mu[mu < half + 20 * (high - half)]
    want = (len(kept) - 1) / np.log(kept).sum()
    assert gride(graph, 1, 2, mu_filter=True).value == pytest.approx(want, rel=1e-8)


def test_pareto_ratios(cases: dict[str, Any]) -> None:
    assert cases["a-twonn-pareto"] == "unbiased"  # the test of it is in tests/truth
    values = [
        two_nn(pareto_graph(1000, 5.0, seed=s), method="naive", fraction=0.9).value / 5
        for s in range(50)
    ]
    assert np.mean(values) == pytest.approx(cases["a-twonn-truncated-naive"], rel=0.05)


def test_definitions_on_the_ball(cases: dict[str, Any], ball5: NeighborGraph) -> None:
    censored = [two_nn(ball5, fraction=f).value for f in (0.9, 0.95, 0.98)]
    assert censored == pytest.approx(cases["d-twonn-censored-ball5"], rel=1e-9)
    positions = [
        two_nn(ball5, method="fit", positions=p).value for p in ("i/N", "(i-1)/N", "mid", "i/(N+1)")
    ]
    assert positions == pytest.approx(cases["d-twonn-positions-ball5"], rel=1e-9)
    posterior = two_nn(ball5, method="bayes")
    mode = posterior.value - posterior.stderr**2 / posterior.value  # (a + N - 1)/(b + S)
    assert [posterior.value, mode, posterior.stderr] == pytest.approx(
        cases["d-twonn-bayes-ball5"], rel=1e-9
    )
    interval = two_nn(ball5, method="mle").interval
    assert interval == pytest.approx(cases["d-twonn-interval-ball5"], rel=1e-9)


def test_digits(cases: dict[str, Any], digits: np.ndarray) -> None:
    graph = find_neighbors(digits, k=2)
    got = [fit(graph, f) for f in (0.9, 0.95, 0.98)]
    got += [mle(graph), two_nn(graph).value, two_nn(graph, method="naive").value]
    assert got == pytest.approx(cases["d-digits-twonn"], rel=1e-9)
    assert "ties (18 of 1797 ratios are 1)" in two_nn(graph).note
    count = [pca_dimension(digits, threshold=t).value for t in (0.9, 0.99)]
    ratio = participation_ratio(digits).value
    assert [*count, ratio] == pytest.approx(cases["d-digits-pca-raw"], rel=1e-9)


def test_gride_scales_of_dadapy(cases: dict[str, Any], gaussians: np.ndarray) -> None:
    curve = gride_scan(find_neighbors(gaussians, k=64))
    assert curve.scales == pytest.approx(cases["dadapy-gride-scales"], abs=1e-3)


def test_gride_of_dadapy_on_the_ball(cases: dict[str, Any], ball5: NeighborGraph) -> None:
    want = cases["skdim-ref-ball5-gride"]
    curve = gride_scan(ball5, mu_filter=True)
    assert curve.values == pytest.approx(want["ids"], rel=1e-6)
    assert curve.stderrs == pytest.approx(want["errs"], rel=1e-6)


def test_a_repeated_row_is_named_and_no_bound_is_an_answer(cases: dict[str, Any]) -> None:
    assert cases["dadapy-gride-zero-distance-warns"] == "a UserWarning is issued"
    # We say it in the note of the result: results travel, warnings do not.
    graph = find_neighbors([[0, 0, 0], [0, 0, 0], [0.9, 0, 0]], k=2)
    (only,) = gride_scan(graph).estimates
    assert math.isnan(only.value)
    assert note_words(only.note) == ("collapsed",)


def test_repeated_rows_are_counted(cases: dict[str, Any]) -> None:
    assert "skdim-duplicates-warn" in cases
    points = ball(300, 3, seed=0)
    graph = find_neighbors(np.vstack([points, points[:10]]), k=2)
    for result in (
        two_nn(graph, method="fit"),
        two_nn(graph, method="mle"),
        gride(graph),
    ):
        assert result.value == pytest.approx(3, abs=0.6)
        assert result.n_dropped == 10
        assert "duplicates (10 of 310 rows" in result.note


def test_constant_points_have_no_dimension(cases: dict[str, Any]) -> None:
    assert "d-duplicates-constant" in cases
    points = np.full((50, 8), 3.0)
    graph = find_neighbors(points, k=5)
    for result in (
        two_nn(graph),
        two_nn(graph, duplicates="drop_zero"),
        gride(graph),
        pca_dimension(points),
        participation_ratio(points),
    ):
        assert math.isnan(result.value)
        assert note_words(result.note) == ("collapsed",)
    assert math.isnan(neighborhood_overlap(graph, graph).value)
    assert math.isnan(information_imbalance(points, points).value)


def test_offset_in_float32(cases: dict[str, Any]) -> None:
    points = np.random.default_rng(0).normal(size=(2000, 5)).astype(np.float32) + np.float32(300)
    graph = find_neighbors(points, k=2)
    assert (graph.distances > 0).all()
    assert [fit(graph), mle(graph)] == pytest.approx(cases["d-float32-offset"], rel=1e-4)


def test_blocks_change_nothing(cases: dict[str, Any]) -> None:
    assert cases["torchid-knn-chunk-invariance"] == "equal, zero diagonal"
    points = np.random.default_rng(1).normal(size=(200, 5))
    a, b = (
        find_neighbors(points, k=20, block_rows=16),
        find_neighbors(points, k=20, block_rows=1000),
    )
    assert np.array_equal(a.indices, b.indices)
    assert np.array_equal(a.distances, b.distances)


def test_periodic_neighbors_of_dadapy(cases: dict[str, Any]) -> None:
    # Theirs searches for one set of points among another; here each query joins the others.
    want = cases["dadapy-cross-knn-periodic"]
    for query, indices, distances in zip(
        (0.1, 0.9), want["indices"], want["distances"], strict=True
    ):
        points = np.array([[0.0], [0.1], [0.3], [0.55], [query]])
        graph = find_neighbors(points, k=3, metric="periodic", period=1)
        assert graph.indices[4].tolist() == indices
        assert graph.distances[4] == pytest.approx(distances, rel=1e-6, abs=1e-12)


def test_participation_ratio_of_skdim(cases: dict[str, Any]) -> None:
    points = [[10, 10, 0], [10, 9, 0], [9, 10, 1], [11, 10, 0], [10, 11, 0]]
    want = cases["skdim-pr-centering"]
    assert participation_ratio(points).value == pytest.approx(want["centred"], rel=1e-5)
    raw = participation_ratio(points, centered=False).value
    assert raw == pytest.approx(want["uncentred"], rel=1e-5)


def test_linear_rules_of_skdim(cases: dict[str, Any]) -> None:
    points = np.hstack([ball(30, 5, seed=0), np.zeros((30, 5))])
    found = [spectrum_dimension(points, r).value for r in ("fukunaga_olsen", "fan", "max_gap")]
    assert found == cases["skdim-lpca-small"]
    assert count_components([10, 1, 1, 1], "broken_stick") == cases["skdim-brokenstick"]


def test_signal_rank_of_r(cases: dict[str, Any]) -> None:
    linalg = pytest.importorskip("scipy.linalg")
    theta = np.zeros(128)
    theta[:3] = 10, 6, 3
    points = np.random.RandomState(0).randn(500, 128) * np.sqrt(1 + theta)
    points = points @ (linalg.hadamard(128) / np.sqrt(128))
    edge, hard, denoised = (
        spectrum_dimension(points, rule, noise=1.0).value
        for rule in ("marchenko_pastur", "gavish_donoho", "denoised")
    )
    parallel = spectrum_dimension(points, "parallel").value
    assert [edge, hard, parallel, denoised] == cases["skdim-ref-rank-n500_p128_r3"]


def test_minka_of_scikit_learn(cases: dict[str, Any]) -> None:
    assert cases["skdim-minka"] == "equal"
    decomposition = pytest.importorskip("sklearn.decomposition")
    rng = np.random.RandomState(0)
    scales = np.ones(20)
    scales[:5] = 3, 2.5, 2, 1.5, 1.3
    for _ in range(10):
        points = rng.randn(200, 20) * scales
        want = decomposition.PCA(n_components="mle").fit(points).n_components_
        assert spectrum_dimension(points, "minka").value == want
