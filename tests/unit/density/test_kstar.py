"""k*: the test as it is defined, at any dimension, and what it says of bad data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from hiddenscape.density.kstar import k_star, likelihood_ratio
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words


def by_definition(graph: NeighborGraph, dimension: float, threshold: np.ndarray) -> np.ndarray:
    """k* row by row from the statistic; ``threshold`` by k."""
    r, neighbors = graph.distances, graph.indices
    out = np.full(graph.n, graph.k - 1)
    for i in range(graph.n):
        for k in range(3, graph.k - 1):
            j = neighbors[i, k]
            if likelihood_ratio(k, r[i, k - 1], r[j, k - 1], dimension) > threshold[k]:
                out[i] = k
                break
    return out


def flat(graph: NeighborGraph, alpha: float) -> np.ndarray:
    return np.full(graph.k + 1, chi2.isf(alpha, 1))


@pytest.mark.parametrize(("d", "width"), [(1, 1), (2.3, 3), (60, 60), (300, 300)])
@pytest.mark.parametrize("alpha", [1e-6, 0.05])
def test_k_is_that_of_the_definition(d: float, width: int, alpha: float) -> None:
    rng = np.random.default_rng([1, width])
    points = np.vstack([rng.normal(size=(150, width)), 3 + 0.3 * rng.normal(size=(100, width))])
    graph = find_neighbors(points, k=60)
    found = k_star(graph, dimension=d, alpha=alpha)
    want = by_definition(graph, d, flat(graph, alpha))
    assert (want < 59).any()
    assert np.array_equal(found.k, want)
    assert found.share_capped == np.mean(want == 59)


def test_the_statistic_is_the_ratio_of_likelihoods_of_volumes() -> None:
    rng = np.random.default_rng(2)
    r_i, r_j = rng.uniform(0.5, 2, size=(2, 1000))
    for d in (1.0, 7.5):
        v, w = r_i**d, r_j**d
        want = -2 * 9 * (np.log(v) + np.log(w) - 2 * np.log(v + w) + np.log(4))
        assert np.allclose(likelihood_ratio(9, r_i, r_j, d), want, rtol=1e-9, atol=1e-12)


def test_the_statistic_stays_finite_and_is_zero_at_equal_radii() -> None:
    assert likelihood_ratio(50, 1e-300, 1e300, 1e4) == pytest.approx(
        100 * 1e4 * 600 * np.log(10), rel=1e-6
    )
    assert likelihood_ratio(7, 0.3, 0.3, 1e6) == 0
    assert likelihood_ratio(5, 1.0, 1 + 1e-9, 10.0) == pytest.approx(2 * 5 * (5e-9) ** 2, rel=1e-6)


@pytest.mark.parametrize("d", [60, 300])
@pytest.mark.parametrize("scale", [1e-3, 1e3, 1e-200, 1e200])
def test_units_do_not_matter(d: int, scale: float) -> None:
    points = np.random.default_rng(3).normal(size=(200, d))
    points[:80] *= 0.7
    graphs = find_neighbors(points, k=40), find_neighbors(points * scale, k=40)
    a, b = (k_star(g, dimension=d) for g in graphs)
    assert a.share_capped < 1
    assert np.array_equal(a.k, b.k)


def test_rows_may_turn_shift_and_move() -> None:
    rng = np.random.default_rng(4)
    points = rng.normal(size=(300, 4)) ** 3
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    order = rng.permutation(300)
    want = k_star(find_neighbors(points, k=50), dimension=4).k
    assert np.array_equal(k_star(find_neighbors(points @ turn + 5, k=50), dimension=4).k, want)
    assert np.array_equal(k_star(find_neighbors(points[order], k=50), dimension=4).k, want[order])


def test_a_stricter_test_never_lowers_k() -> None:
    graph = find_neighbors(np.random.default_rng(5).normal(size=(400, 3)) ** 3, k=80)
    loose = k_star(graph, dimension=3, alpha=0.01)
    for other in (
        k_star(graph, dimension=3, alpha=1e-4),
        *(
            k_star(graph, dimension=3, alpha=0.01, bonferroni=b)
            for b in ("points", "tests", "both")
        ),
    ):
        assert (other.k >= loose.k).all()
        assert (other.k > loose.k).any()


def test_bonferroni_is_the_corrected_level() -> None:
    graph = find_neighbors(np.random.default_rng(6).normal(size=(200, 2)) ** 3, k=50)
    across = k_star(graph, dimension=2, alpha=0.02, bonferroni="points")
    assert np.array_equal(across.k, k_star(graph, dimension=2, alpha=0.02 / 200).k)
    tests = k_star(graph, dimension=2, alpha=0.02, bonferroni="tests")
    levels = 0.02 / np.maximum(np.arange(51) - 2, 1)
    assert np.array_equal(tests.k, by_definition(graph, 2, chi2.isf(levels, 1)))


def test_a_threshold_is_an_alpha() -> None:
    graph = find_neighbors(np.random.default_rng(7).normal(size=(200, 2)), k=50)
    a = k_star(graph, dimension=2, threshold=23.92812697687947)
    b = k_star(graph, dimension=2)
    assert np.array_equal(a.k, b.k)
    assert a.alpha == pytest.approx(1e-6, rel=1e-9)
    assert b.threshold == pytest.approx(23.928127, abs=1e-5)
    assert b.parameters["alpha"] == 1e-6
    assert b.parameters["dimension"] == 2.0


def test_no_rejection_is_a_cap_and_is_counted() -> None:
    graph = find_neighbors(np.random.default_rng(8).uniform(size=(150, 2)), k=12)
    found = k_star(graph, dimension=2, alpha=1e-300)
    assert found.capped.all()
    assert (found.k == 11).all()
    assert found.note == "capped (150 of 150 rows at k = 11)"


@pytest.mark.parametrize("copies", [2, 3, 4])
def test_copies_carry_the_value_of_their_row(copies: int) -> None:
    points = np.random.default_rng(9).normal(size=(150, 3))
    alone = k_star(find_neighbors(points, k=40), dimension=3)
    rows = np.repeat(np.arange(150), copies)
    order = np.random.default_rng(10).permutation(len(rows))
    many = k_star(find_neighbors(points[rows[order]], k=40), dimension=3)
    assert np.array_equal(many.k, alone.k[rows[order]])
    assert many.share_capped == alone.share_capped
    assert (many.n_used, many.n_dropped) == (150, 150 * (copies - 1))
    share = 1 - 1 / copies
    assert f"duplicates ({150 * (copies - 1)} of {150 * copies} rows, share {share:.2g})" in (
        many.note
    )


def test_points_without_extent_have_no_k() -> None:
    for points in (np.full((40, 3), 2.0), np.repeat([[0.0], [1.0]], 20, axis=0)):
        found = k_star(find_neighbors(points, k=8), dimension=2)
        assert (found.k == -1).all()
        assert np.isnan(found.share_capped)
        assert note_words(found.note)[0] == "collapsed"
    few = k_star(find_neighbors(np.repeat(np.eye(5), 8, axis=0), k=8), dimension=2)
    assert (few.k == -1).all()
    assert "undefined (k* needs 6 distinct rows)" in few.note


def test_no_dimension_gives_no_k() -> None:
    graph = find_neighbors(np.random.default_rng(11).normal(size=(120, 2)), k=8)
    found = k_star(graph, dimension=float("nan"))
    assert (found.k == -1).all()
    assert found.note == "undefined (no dimension)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 0.5}, "dimension 0.5 is below 1"),
        ({"dimension": -1}, "positive and finite, got -1"),
        ({"dimension": float("inf")}, "positive and finite"),
        ({"dimension": "2"}, "must be a number"),
        ({"dimension": 2, "alpha": 0}, "alpha must lie in"),
        ({"dimension": 2, "threshold": -1.0}, "threshold must be at least 0"),
        ({"dimension": 2, "threshold": 9.0, "bonferroni": "both"}, "is not corrected"),
        ({"dimension": 2, "bonferroni": "all"}, "bonferroni must be one of none, points"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, object], message: str) -> None:
    graph = find_neighbors(np.random.default_rng(12).normal(size=(50, 2)), k=8)
    with pytest.raises(InputError, match=message):
        k_star(graph, **options)


def test_wrong_graphs_are_refused() -> None:
    points = np.random.default_rng(13).normal(size=(50, 2))
    with pytest.raises(InputError, match="at least 5 neighbours per row, the graph stores 4"):
        k_star(find_neighbors(points, k=4), dimension=2)
    made = find_neighbors(np.repeat(points, 2, axis=0), k=8)
    bare = NeighborGraph.from_arrays(made.indices, made.distances)
    with pytest.raises(InputError, match="does not say which rows repeat"):
        k_star(bare, dimension=2)
    assert k_star(find_neighbors(points, k=8), dimension=0.5, force=True).dimension == 0.5
    exact = find_neighbors(points, k=8)
    rough = NeighborGraph.from_arrays(exact.indices, exact.distances)
    assert "approximate" in k_star(rough, dimension=2).note


def test_a_shallow_view_of_a_deep_graph_is_the_shallow_graph() -> None:
    points = np.repeat(np.random.default_rng(14).normal(size=(100, 2)), 2, axis=0)
    deep, shallow = find_neighbors(points, k=60), find_neighbors(points, k=10)
    a, b = k_star(deep.take(10), dimension=2), k_star(shallow, dimension=2)
    assert np.array_equal(a.k, b.k)
    assert a.parameters["stored"] == 10
