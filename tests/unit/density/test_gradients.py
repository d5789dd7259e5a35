"""Gradients of the log density and differences along edges: definitions, laws, bad data."""

from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.density.differences import density_differences
from hiddenscape.density.gradients import density_gradients
from hiddenscape.density.kstar import k_star
from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words


def cloud(n: int = 200, width: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([71, width, seed])
    return np.vstack([rng.normal(size=(n // 2, width)), 3 + 0.5 * rng.normal(size=(n // 2, width))])


def by_definition(points: np.ndarray, indices: np.ndarray, k: np.ndarray, d: float, variance: str):  # type: ignore[no-untyped-def]
    """Gradients and whole covariance matrices."""
    g = np.empty(points.shape)
    c = np.empty((*points.shape, points.shape[1]))
    for i, size in enumerate(k):
        y = points[indices[i, : size - 1]] - points[i]
        r, n = np.linalg.norm(y[-1]), size - 1
        g[i] = (d + 2) / r**2 * y.mean(axis=0)
        s = (d + 2) ** 2 / r**4 * np.cov(y.T, ddof=0)
        if variance == "corrected":
            c[i] = s / (n - 1) + 1e-10 * (d + 2) ** 2 / r**2 * np.eye(points.shape[1])
        else:
            c[i] = s / n * size / (size - 1) + 1e-10 * np.eye(points.shape[1])
    return g, c


@pytest.mark.parametrize("variance", ["corrected", "published"])
@pytest.mark.parametrize("width", [2, 7])
def test_scalars_are_those_of_the_matrices(variance: str, width: int) -> None:
    points = cloud(width=width)
    graph = find_neighbors(points, k=40)
    size = k_star(graph, dimension=2.5, alpha=0.01)
    options = {"dimension": 2.5, "k": size, "variance": variance}
    assert len(np.unique(size.k)) > 5
    g, c = by_definition(points, graph.indices, size.k, 2.5, variance)
    slopes = density_gradients(graph, points, **options)
    assert slopes.values == pytest.approx(g, rel=1e-9, abs=1e-12)
    assert slopes.stderr == pytest.approx(np.sqrt(np.einsum("icc->ic", c)), rel=1e-9)
    found = density_differences(graph, points, **options)
    edges = [(i, j) for i in range(200) for j in graph.indices[i, : size.k[i] - 1]]
    assert np.array_equal(np.stack([found.rows, found.columns], axis=1), edges)
    own = [{i, *graph.indices[i, : size.k[i] - 1].tolist()} for i in range(200)]
    for e in range(0, len(edges), 7):
        i, j = edges[e]
        x = points[j] - points[i]
        s_i, s_j = np.sqrt(x @ c[i] @ x), np.sqrt(x @ c[j] @ x)
        jaccard = len(own[i] & own[j]) / len(own[i] | own[j])
        p = np.sign((g[i] @ x) * (g[j] @ x)) * jaccard
        assert found.correlation[e] == pytest.approx(p)
        assert found.values[e] == pytest.approx((g[i] + g[j]) @ x / 2, rel=1e-9, abs=1e-12)
        want = (s_i**2 + s_j**2 + 2 * p * s_i * s_j) / 4
        assert found.variance[e] == pytest.approx(want, rel=1e-8)


def test_a_hub_with_more_arrivals_than_a_block() -> None:
    # Rows on a sphere list the middle among their nearest, from every side.
    rng = np.random.default_rng(72)
    sphere = rng.normal(size=(400, 40))
    points = np.vstack([np.zeros(40), sphere / np.linalg.norm(sphere, axis=1)[:, None]])
    graph = find_neighbors(points, k=4)
    found = density_differences(graph, points, dimension=5, k=4)
    to_hub = np.flatnonzero(found.columns == 0)
    assert len(to_hub) > 256
    g, c = by_definition(points, graph.indices, np.full(401, 4), 5, "corrected")
    for e in to_hub[::40]:
        x = points[0] - points[found.rows[e]]
        assert found.values[e] == pytest.approx((g[found.rows[e]] + g[0]) @ x / 2, rel=1e-9)
        s = [np.sqrt(x @ c[i] @ x) for i in (found.rows[e], 0)]
        want = (s[0] ** 2 + s[1] ** 2 + 2 * found.correlation[e] * s[0] * s[1]) / 4
        assert found.variance[e] == pytest.approx(want, rel=1e-8)


@pytest.mark.parametrize("scale", [1e-3, 7.5, 1e4, 1e-150])
def test_unit_shift_turn_and_order(scale: float) -> None:
    rng = np.random.default_rng(73)
    points, order = cloud(), rng.permutation(200)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = scale * ((points @ turn)[order] + 5)
    a = density_gradients(find_neighbors(points, k=30), points, dimension=3)
    b = density_gradients(find_neighbors(moved, k=30), moved, dimension=3)
    assert b.values * scale == pytest.approx((a.values @ turn)[order], rel=1e-7, abs=1e-9)
    assert np.array_equal(a.k[order], b.k)
    one = density_differences(find_neighbors(points, k=30), points, dimension=3)
    two = density_differences(find_neighbors(moved, k=30), moved, dimension=3)
    ids = [order[two.rows] * 200 + order[two.columns], one.rows * 200 + one.columns]
    sort = [np.argsort(i) for i in ids]
    assert np.array_equal(ids[0][sort[0]], ids[1][sort[1]])
    for name in ("values", "variance", "correlation"):
        got, want = getattr(two, name)[sort[0]], getattr(one, name)[sort[1]]
        assert got == pytest.approx(want, rel=1e-6, abs=1e-9)


def test_columns_that_say_nothing_and_files_of_float32() -> None:
    points = cloud().astype(np.float32)
    graph = find_neighbors(points, k=30)
    want = density_gradients(graph, points, dimension=3)
    wide = np.hstack([points, np.full((200, 2), 4, np.float32)])
    padded = density_gradients(find_neighbors(wide, k=30), wide, dimension=3)
    assert padded.values[:, :3] == pytest.approx(want.values, rel=1e-9)
    assert (padded.values[:, 3:] == 0).all()
    doubled = density_gradients(graph, points.astype(np.float64), dimension=3)
    assert np.array_equal(want.values, doubled.values)


def test_displacements_cross_the_seam_of_a_period() -> None:
    points = np.random.default_rng(74).uniform(size=(300, 2))
    shifted = (points + 0.37) % 1
    a, b = (
        density_differences(find_neighbors(p, k=20, metric="periodic", period=1), p, dimension=2)
        for p in (points, shifted)
    )
    assert np.array_equal(a.columns, b.columns)
    assert a.values == pytest.approx(b.values, abs=1e-9)
    assert np.abs(a.values).max() < 5


@pytest.mark.parametrize("copies", [2, 3, 4])
def test_copies_change_nothing(copies: int) -> None:
    points = cloud()
    rows = np.random.default_rng(75).permutation(np.repeat(np.arange(200), copies))
    alone = density_gradients(find_neighbors(points, k=30), points, dimension=3)
    many = density_gradients(find_neighbors(points[rows], k=30), points[rows], dimension=3)
    assert np.array_equal(many.values, alone.values[rows])
    assert np.array_equal(many.stderr, alone.stderr[rows])
    assert "duplicates" in note_words(many.note)
    one = density_differences(find_neighbors(points, k=30), points, dimension=3)
    two = density_differences(find_neighbors(points[rows], k=30), points[rows], dimension=3)
    assert len(one.rows) == len(two.rows)
    assert np.sort(two.values) == pytest.approx(np.sort(one.values), abs=1e-12)
    assert two.n_dropped == 200 * (copies - 1)


def test_points_without_extent_have_no_gradient() -> None:
    for points in (np.full((50, 8), 3.0), np.repeat([[0.0], [1.0]], 20, axis=0)):
        graph = find_neighbors(points, k=12)
        found = density_gradients(graph, points, dimension=2)
        assert np.isnan(found.values).all()
        assert found.values.shape == points.shape
        assert "collapsed" in note_words(found.note)
        edges = density_differences(graph, points, dimension=2)
        assert len(edges.values) == len(edges.rows) == 0
        assert "collapsed" in note_words(edges.note)
    points = cloud()
    nothing = density_gradients(find_neighbors(points, k=9), points, dimension=float("nan"))
    assert "undefined (no dimension)" in nothing.note


def test_two_displacements_are_noted_and_no_variance_is_zero() -> None:
    points = cloud()
    found = density_differences(find_neighbors(points, k=9), points, dimension=3, k=3)
    assert "few_points (200 of 200 rows: a covariance of 2 displacements)" in found.note
    assert (found.variance > 0).all()
    # Three points in mirror symmetry: both ends see the same neighbours and opposite slopes.
    corner = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 1.0]])
    points = np.vstack([corner, corner + 100, corner + 200])
    found = density_differences(find_neighbors(points, k=4), points, dimension=2, k=3)
    assert found.correlation.min() == -1
    assert (found.variance > 0).all()
    assert found.variance.min() == pytest.approx(16e-10, rel=0.25)


def test_wrong_arguments_are_refused() -> None:
    points = cloud()
    graph = find_neighbors(points, k=20)
    with pytest.raises(InputError, match="the graph has 200 rows, the points have 100"):
        density_gradients(graph, points[:100], dimension=3)
    with pytest.raises(InputError, match="the graph is of other points"):
        density_gradients(graph, points[::-1], dimension=3)
    with pytest.raises(InputError, match="which metric 'angular' does not have"):
        density_gradients(find_neighbors(points, k=20, metric="angular"), points, dimension=3)
    with pytest.raises(InputError, match="variance must be one of corrected, published, got 'x'"):
        density_differences(graph, points, dimension=3, variance="x")
    with pytest.raises(InputError, match=r"k must lie in 3\.\.20, .* got 2"):
        density_gradients(graph, points, dimension=3, k=2)
    with pytest.raises(InputError, match=r"dimension 0\.5 is below 1"):
        density_gradients(graph, points, dimension=0.5)
    bad = points.copy()
    bad[7, 1] = np.nan
    with pytest.raises(NonFiniteError, match="rows 7"):
        density_gradients(graph, bad, dimension=3)


def test_results_cannot_be_changed() -> None:
    points = cloud()
    graph = find_neighbors(points, k=20)
    found = density_gradients(graph, points, dimension=3)
    with pytest.raises(ValueError, match="read-only"):
        found.values[0, 0] = 1.0
    assert found.parameters["variance"] == "corrected"
    assert points.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        density_differences(graph, points, dimension=3).variance[0] = 1.0
