"""BMTI: the equations, their solution, errors, laws, and bad data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from hiddenscape.density import bmti
from hiddenscape.density.bmti import bmti_density
from hiddenscape.density.differences import density_differences
from hiddenscape.density.kstar import k_star
from hiddenscape.density.kstar_nn import kstar_density
from hiddenscape.density.result import LogDensity
from hiddenscape.density.springs import Springs
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words


def cloud(n: int = 300, width: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([81, width, seed]).normal(size=(n, width))


def dense(points: np.ndarray, k: int, alpha: float, weights: str) -> tuple[np.ndarray, ...]:
    """Values and errors by the definition, with dense matrices; one part only."""
    graph, n = find_neighbors(points, k=k), len(points)
    size = k_star(graph, dimension=3)
    edges = density_differences(graph, points, dimension=3, k=size)
    base = kstar_density(graph, dimension=3, k=size)
    b = np.zeros((len(edges.rows), n))
    b[np.arange(len(b)), edges.rows] = -1
    b[np.arange(len(b)), edges.columns] = 1
    repeats = np.sqrt(size.k[edges.rows] * size.k[edges.columns])
    w = 1 / (edges.variance * repeats) if weights == "uncorr" else np.ones(len(b))
    tied = (1 - alpha) / base.stderr**2
    a = alpha * b.T @ (w[:, None] * b) + np.diag(tied)
    right = alpha * b.T @ (w * edges.values) + tied * base.values
    inverse = np.linalg.pinv(a) if alpha == 1 else np.linalg.inv(a)
    values = inverse @ right
    if alpha == 1:
        values += base.values.mean() - values.mean()
    noise = a
    if weights == "identity":
        var = edges.variance * repeats
        noise = alpha**2 * b.T @ (var[:, None] * b) + np.diag(tied**2 * base.stderr**2)
    return values, np.sqrt(np.diag(inverse @ noise @ inverse))


@pytest.mark.parametrize("weights", ["uncorr", "identity"])
@pytest.mark.parametrize("alpha", [1, 0.9, 0.2])
def test_the_equations_are_those_of_the_page(alpha: float, weights: str) -> None:
    points = cloud()
    found = bmti_density(
        find_neighbors(points, k=30), points, dimension=3, alpha=alpha, weights=weights
    )
    values, stderr = dense(points, 30, alpha, weights)
    assert found.values == pytest.approx(values, abs=1e-9)
    assert found.stderr == pytest.approx(stderr, rel=1e-6)
    assert found.method == "bmti"


def test_without_differences_it_is_kstar() -> None:
    points = cloud()
    graph = find_neighbors(points, k=30)
    found, want = (
        bmti_density(graph, points, dimension=3, alpha=0),
        kstar_density(graph, dimension=3),
    )
    assert found.values == pytest.approx(want.values, rel=1e-12)
    assert found.stderr == pytest.approx(want.stderr, rel=1e-9)


@pytest.mark.parametrize("weights", ["uncorr", "identity"])
@pytest.mark.parametrize("alpha", [1, 0.9])
def test_probes_estimate_the_inverse(
    monkeypatch: pytest.MonkeyPatch, alpha: float, weights: str
) -> None:
    points = cloud(400)
    graph = find_neighbors(points, k=25)
    options = {"dimension": 3, "alpha": alpha, "weights": weights}
    exact = bmti_density(graph, points, **options)
    assert exact.parameters["errors"] == "inverse"
    monkeypatch.setattr(bmti, "_EXACT_ROWS", 100)
    found = bmti_density(graph, points, **options, probes=300, seed=3)
    assert found.parameters["errors"] == "300 probes, seed 3"
    assert np.array_equal(found.values, exact.values)
    ratio = found.stderr / exact.stderr
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert ratio.std() == pytest.approx(1 / np.sqrt(600), rel=0.4)
    again = bmti_density(graph, points, **options, probes=300, seed=3)
    assert np.array_equal(found.stderr, again.stderr)
    other = bmti_density(graph, points, **options, probes=300, seed=4)
    assert not np.array_equal(found.stderr, other.stderr)
    assert np.isnan(bmti_density(graph, points, **options, probes=0).stderr).all()


@pytest.mark.parametrize(("width", "scale"), [(3, 7.5), (60, 1e-3), (60, 1e4), (300, 1e-150)])
def test_a_unit_of_length_shifts_the_log_density(width: int, scale: float) -> None:
    points = cloud(200, width)
    a, b = (
        bmti_density(find_neighbors(p, k=30), p, dimension=width) for p in (points, scale * points)
    )
    assert np.isfinite(a.values).all()
    want = np.full(200, width * np.log(scale))
    assert a.values - b.values == pytest.approx(want, rel=1e-11, abs=1e-8)
    assert a.stderr == pytest.approx(b.stderr, rel=1e-6)


def test_rows_may_turn_shift_and_move() -> None:
    rng = np.random.default_rng(82)
    points, order = cloud(), rng.permutation(300)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = (points @ turn + 3)[order]
    want = bmti_density(find_neighbors(points, k=40), points, dimension=3)
    found = bmti_density(find_neighbors(moved, k=40), moved, dimension=3)
    assert found.values == pytest.approx(want.values[order], abs=1e-9)
    assert found.stderr == pytest.approx(want.stderr[order], rel=1e-6)
    wide = np.hstack([points, points, np.ones((300, 1))])
    doubled = bmti_density(find_neighbors(wide, k=40), wide, dimension=3)
    assert doubled.values == pytest.approx(want.values - 1.5 * np.log(2), abs=1e-8)


def test_threads_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(600)
    graph = find_neighbors(points, k=20)
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(bmti_density(graph, points, dimension=3).values)
    assert found[0] == pytest.approx(found[1], abs=1e-10)


def test_every_part_of_the_graph_has_its_own_constant() -> None:
    points = np.vstack([cloud(150), cloud(200, seed=1) + 100, cloud(100, seed=2) - 100])
    graph = find_neighbors(points, k=20)
    found = bmti_density(graph, points, dimension=3)
    assert "disconnected (3 parts, each with the mean of k*NN)" in found.note
    base = kstar_density(graph, dimension=3)
    for rows in (slice(0, 150), slice(150, 350), slice(350, 450)):
        assert found.values[rows].mean() == pytest.approx(base.values[rows].mean(), abs=1e-9)
    alone = bmti_density(find_neighbors(points[150:350], k=20), points[150:350], dimension=3)
    gap = found.values[150:350] - alone.values
    assert gap == pytest.approx(np.full(200, np.log(200 / 450)), abs=1e-8)
    assert found.stderr[150:350] == pytest.approx(alone.stderr, rel=1e-6)
    tied = bmti_density(graph, points, dimension=3, alpha=0.9)
    assert "disconnected (3 parts)" in tied.note
    assert "disconnected" not in bmti_density(graph, points, dimension=3, alpha=0).note
    assert "disconnected" not in alone.note


@pytest.mark.parametrize("copies", [2, 3, 4])
def test_copies_change_nothing(copies: int) -> None:
    points = cloud(200)
    rows = np.random.default_rng(83).permutation(np.repeat(np.arange(200), copies))
    alone = bmti_density(find_neighbors(points, k=30), points, dimension=3)
    many = bmti_density(find_neighbors(points[rows], k=30), points[rows], dimension=3)
    assert many.values == pytest.approx(alone.values[rows], abs=1e-9)
    assert many.stderr == pytest.approx(alone.stderr[rows], rel=1e-6)
    assert many.n_dropped == 200 * (copies - 1)
    assert "duplicates" in note_words(many.note)


def test_points_without_extent_have_no_density() -> None:
    for points in (np.full((50, 8), 3.0), np.repeat([[0.0], [1.0]], 20, axis=0)):
        found = bmti_density(find_neighbors(points, k=12), points, dimension=2)
        assert np.isnan(found.values).all()
        assert np.isnan(found.stderr).all()
        assert "collapsed" in note_words(found.note)
    points = cloud(100)
    none = bmti_density(find_neighbors(points, k=9), points, dimension=float("nan"))
    assert "undefined (no dimension)" in none.note


def test_grids_coarse_values_and_near_copies() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(6.0)] * 3), -1).reshape(-1, 3)
    near = cloud(200)
    near[100:] = near[:100] * (1 + 1e-9)
    bits = cloud(300).astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    for points in (grid, near, bits.view(np.float32)):
        graph = find_neighbors(points, k=20)
        for weights in ("uncorr", "identity"):
            found = bmti_density(graph, points, dimension=3, weights=weights)
            assert np.isfinite(found.values).all()
            assert (found.stderr > 0).all()
            assert "approximate" not in found.note


def test_three_points_are_few_but_enough() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 1.0], [4.0, 4.0]])
    found = bmti_density(find_neighbors(points, k=3), points, dimension=2, k=3)
    assert np.isfinite(found.values).all()
    assert "few_points (4 of 4 rows: a covariance of 2 displacements)" in found.note


def test_springs_solve_what_they_multiply() -> None:
    # Weights over fourteen orders of magnitude, as near copies make them.
    rng = np.random.default_rng(84)
    rows, columns = rng.integers(0, 300, size=(2, 2000))
    rows, columns = rows[rows != columns], columns[rows != columns]
    w = 10 ** rng.uniform(-2, 12, size=len(rows))
    springs = Springs.of(rows, columns, w, np.zeros(300))
    assert connected_components(springs.weights)[0] == 1
    x = rng.normal(size=(300, 3))
    found, left = springs.solve(springs.times(x), np.zeros((300, 3)), 1e-10)
    assert left <= 1e-10
    assert found - found.mean(axis=0) == pytest.approx(x - x.mean(axis=0), abs=1e-7)


def test_wrong_arguments_are_refused() -> None:
    points = cloud(100)
    graph = find_neighbors(points, k=20)
    with pytest.raises(InputError, match=r"alpha must lie in 0\.\.1, got 1\.5"):
        bmti_density(graph, points, dimension=3, alpha=1.5)
    with pytest.raises(InputError, match="weights must be one of uncorr, identity, got 'LSDI'"):
        bmti_density(graph, points, dimension=3, weights="LSDI")
    with pytest.raises(InputError, match="probes must not be negative, got -1"):
        bmti_density(graph, points, dimension=3, probes=-1)
    with pytest.raises(InputError, match="which metric 'manhattan' does not have"):
        bmti_density(find_neighbors(points, k=9, metric="manhattan"), points, dimension=3)


def test_settings_stand_in_the_result() -> None:
    points = cloud(100)
    found: LogDensity = bmti_density(find_neighbors(points, k=20), points, dimension=3, alpha=0.75)
    assert found.parameters["regularization"] == 0.25
    assert found.parameters["alpha"] == 1e-6  # of k*
    assert found.parameters["weights"] == "uncorr"
    assert found.parameters["variance"] == "corrected"
