"""kNN, k*NN, k-peaks and PAk: definitions, laws, and what they say of bad data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import gammaln, logsumexp

from hiddenscape.density.knn import knn_density
from hiddenscape.density.kstar import k_star
from hiddenscape.density.kstar_nn import k_peaks, kstar_density
from hiddenscape.density.pak import pak_density
from hiddenscape.density.result import LogDensity
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words

ALL: dict[str, Callable[[NeighborGraph, float], LogDensity]] = {
    "knn": lambda g, d: knn_density(g, dimension=d, k=min(10, g.k)),
    "kstar": lambda g, d: kstar_density(g, dimension=d),
    "k_peaks": lambda g, d: k_peaks(g, dimension=d),
    "pak": lambda g, d: pak_density(g, dimension=d),
}
METHODS = pytest.mark.parametrize("method", list(ALL))


def clumps(n: int = 240, width: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([21, width, seed])
    return np.vstack([rng.normal(size=(n // 2, width)), 4 + 0.5 * rng.normal(size=(n // 2, width))])


@METHODS
@pytest.mark.parametrize(("d", "scale"), [(3, 7.5), (60, 1e-3), (300, 1e4), (60, 1e-150)])
def test_a_unit_of_length_shifts_the_log_density(method: str, d: int, scale: float) -> None:
    points = clumps(200, d)
    a, b = (ALL[method](find_neighbors(p, k=40), d) for p in (points, scale * points))
    shift = 0 if method == "k_peaks" else d * np.log(scale)
    assert np.array_equal(a.k, b.k)
    assert np.isfinite(a.values).all()
    assert a.values - b.values == pytest.approx(np.full(200, shift), rel=1e-12, abs=1e-9)
    assert a.stderr == pytest.approx(b.stderr)


@METHODS
def test_rows_may_turn_shift_and_move(method: str) -> None:
    rng = np.random.default_rng(22)
    points, order = clumps(), rng.permutation(240)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    want = ALL[method](find_neighbors(points, k=50), 3)
    turned = ALL[method](find_neighbors((points @ turn + 3)[order], k=50), 3)
    assert turned.values == pytest.approx(want.values[order], rel=1e-9)
    assert turned.stderr == pytest.approx(want.stderr[order], rel=1e-9)
    wide = ALL[method](find_neighbors(np.hstack([points, points]), k=50), 3)
    shift = 0 if method == "k_peaks" else 1.5 * np.log(2)
    assert wide.values == pytest.approx(want.values - shift, rel=1e-9)


def shells(r: np.ndarray, k: int, d: float) -> np.ndarray:
    """Volumes between neighbours, over that of the k-th."""
    return np.diff(np.concatenate([[0.0], (r[:k] / r[k - 1]) ** d]))


@pytest.mark.parametrize("d", [1.0, 2.5, 12.0])
def test_pak_is_the_largest_likelihood(d: float) -> None:
    graph = find_neighbors(clumps(width=2), k=30)
    found = pak_density(graph, dimension=d, k=20)
    ball = 0.5 * d * np.log(np.pi) - gammaln(d / 2 + 1)
    l = np.arange(1, 21)  # noqa: E741
    for i in range(0, 240, 40):
        v = shells(graph.distances[i], 20, d)

        def loss(a: float, v: np.ndarray = v) -> float:
            return 20 * logsumexp(a * l, b=v) - a * 210

        a = minimize_scalar(loss, bracket=(-0.1, 0.1), options={"xtol": 1e-12}).x
        f = np.log(20) - logsumexp(a * l, b=v)
        want = f - ball - d * np.log(graph.distances[i, 19]) - np.log(240)
        assert found.values[i] == pytest.approx(want, abs=1e-6)
    assert found.stderr == pytest.approx(np.full(240, np.sqrt(82 / 380)))


def test_pak_solves_its_equation_where_volumes_leave_float64() -> None:
    graph = find_neighbors(np.random.default_rng(23).normal(size=(120, 40)), k=30)
    for d in (40.0, 2000.0):
        found = pak_density(graph, dimension=d, k=25)
        log_q = d * np.log(graph.distances[:, :25] / graph.distances[:, 24:25])
        share = -np.expm1(log_q[:, :-1] - log_q[:, 1:])
        log_v = log_q + np.log(np.hstack([np.ones((120, 1)), share]))
        f = (
            found.values
            + np.log(120)
            + 0.5 * d * np.log(np.pi)
            - gammaln(d / 2 + 1)
            + d * np.log(graph.distances[:, 24])
        )
        # F and the tilt that belongs to it must solve both equations of the maximum.
        l = np.arange(1, 26)  # noqa: E741
        for i in range(0, 120, 17):
            low, high = -1e4, 1e4
            for _ in range(200):
                a = (low + high) / 2
                w = log_v[i] + a * l
                mean = np.sum(l * np.exp(w - logsumexp(w)))
                low, high = (a, high) if mean < 13 else (low, a)
            assert f[i] == pytest.approx(np.log(25) - logsumexp(log_v[i] + a * l), rel=1e-9)


def test_pak_without_a_tilt_is_knn() -> None:
    # Points on a line at equal gaps: every shell has the same volume, the tilt is 0.
    graph = find_neighbors(np.arange(40.0)[:, None], k=8)
    one_sided = NeighborGraph.from_arrays(
        graph.indices, np.tile(np.arange(1.0, 9), (40, 1)), exact=True
    )
    a = pak_density(one_sided, dimension=1, k=8)
    b = knn_density(one_sided, dimension=1, k=8)
    assert a.values == pytest.approx(b.values, rel=1e-12)


def test_kstar_density_with_equal_k_is_knn() -> None:
    graph = find_neighbors(np.random.default_rng(24).uniform(size=(200, 2)), k=20)
    size = k_star(graph, dimension=2, threshold=1e9)
    a = kstar_density(graph, dimension=2, k=size)
    b = knn_density(graph, dimension=2, k=19)
    assert np.array_equal(a.values, b.values)
    assert np.array_equal(a.stderr, b.stderr)


def test_k_peaks_errors_are_the_spread_of_k() -> None:
    graph = find_neighbors(clumps(), k=40)
    found = k_peaks(graph, dimension=3, k=k_star(graph, dimension=3, alpha=0.01))
    k = found.k
    want = [np.sqrt(((k[graph.indices[i, : k[i] - 1]] - k[i]) ** 2).sum() / k[i]) for i in range(9)]
    assert found.stderr[:9] == pytest.approx(want)
    assert found.stderr_kind == ""


def test_options_of_knn() -> None:
    graph = find_neighbors(clumps(), k=10)
    plain, other = (
        knn_density(graph, dimension=3, k=10),
        knn_density(graph, dimension=3, k=10, unbiased=True, bias=True),
    )
    assert plain.values - other.values == pytest.approx(np.full(240, np.log(10 / 9)))
    assert other.stderr == pytest.approx(np.full(240, np.sqrt(0.1 + (10 / 240) ** (2 / 3))))
    assert other.parameters["unbiased"] is True


@METHODS
@pytest.mark.parametrize("copies", [2, 3, 4])
def test_copies_change_nothing(method: str, copies: int) -> None:
    points = clumps()
    alone = ALL[method](find_neighbors(points, k=40), 3)
    rows = np.random.default_rng(25).permutation(np.repeat(np.arange(240), copies))
    many = ALL[method](find_neighbors(points[rows], k=40), 3)
    assert np.array_equal(many.values, alone.values[rows])
    assert np.array_equal(many.stderr, alone.stderr[rows])
    assert many.n_dropped == 240 * (copies - 1)
    assert "duplicates" in note_words(many.note)


@METHODS
def test_points_without_extent_have_no_density(method: str) -> None:
    for points in (np.full((50, 8), 3.0), np.repeat([[0.0], [1.0]], 20, axis=0)):
        found = ALL[method](find_neighbors(points, k=12), 2)
        assert np.isnan(found.values).all()
        assert np.isnan(found.stderr).all()
        assert (found.k == -1).all()
        assert "collapsed" in note_words(found.note)


@METHODS
def test_constant_columns_and_coarse_grids(method: str) -> None:
    points = clumps().astype(np.float32)
    want = ALL[method](find_neighbors(points, k=40), 3)
    padded = ALL[method](find_neighbors(np.hstack([points, np.full((240, 2), 9.0)]), k=40), 3)
    assert padded.values == pytest.approx(want.values, rel=1e-9)
    bits = points.view(np.uint32) & np.uint32(0xFFFF0000)
    coarse = ALL[method](find_neighbors(bits.view(np.float32), k=40), 3)
    assert np.isfinite(coarse.values).all()
    grid = np.stack(np.meshgrid(*[np.arange(7.0)] * 3), -1).reshape(-1, 3)
    tied = ALL[method](find_neighbors(grid, k=40), 3)
    assert np.isfinite(tied.values).all()
    assert np.isfinite(tied.stderr).all()


def test_rows_without_a_maximum_fall_back_to_knn_and_are_counted() -> None:
    points = np.vstack([np.zeros(12), np.eye(12), 9 + np.random.default_rng(26).random((99, 12))])
    graph = find_neighbors(points, k=12)
    found = pak_density(graph, dimension=3, k=12)
    plain = knn_density(graph, dimension=3, k=12)
    assert graph.distances[0].tolist() == [1.0] * 12
    tied = graph.distances[:, 6] == graph.distances[:, 11]
    count = int(np.count_nonzero(tied))
    assert f"ties ({count} of 112 rows by kNN" in found.note
    assert np.array_equal(found.values[tied], plain.values[tied])
    assert np.array_equal(found.stderr[tied], plain.stderr[tied])
    assert np.isfinite(found.values).all()


def test_a_fixed_k_that_distinct_rows_do_not_have() -> None:
    graph = find_neighbors(np.repeat(np.eye(4), 5, axis=0), k=10)
    found = knn_density(graph, dimension=2, k=10)
    assert np.isnan(found.values).all()
    assert "undefined (k = 10 needs 11 distinct rows)" in found.note


@METHODS
def test_no_dimension_gives_no_density(method: str) -> None:
    found = ALL[method](find_neighbors(clumps(), k=40), float("nan"))
    assert np.isnan(found.values).all()
    assert "undefined (no dimension)" in found.note


def test_cosine_says_that_it_is_no_length() -> None:
    graph = find_neighbors(clumps(), k=10, metric="cosine")
    assert "no_length" in note_words(knn_density(graph, dimension=2, k=10).note)


def test_wrong_arguments_are_refused() -> None:
    graph = find_neighbors(clumps(), k=20)
    size = k_star(graph, dimension=3)
    with pytest.raises(InputError, match=r"k must lie in 1..20, .* got 21"):
        knn_density(graph, dimension=3, k=21)
    with pytest.raises(InputError, match=r"k must lie in 2..20"):
        pak_density(graph, dimension=3, k=1)
    with pytest.raises(InputError, match="k must be a whole number"):
        knn_density(graph, dimension=3, k=2.5)
    with pytest.raises(InputError, match=r"was made with dimension 3, .* with 2"):
        pak_density(graph, dimension=2, k=size)
    with pytest.raises(InputError, match="k\\* of 240 rows for a graph of 100 rows"):
        pak_density(find_neighbors(clumps(100), k=20), dimension=3, k=size)
    with pytest.raises(InputError, match="k\\* reaches 19, the graph stores 9"):
        pak_density(find_neighbors(clumps(), k=9), dimension=3, k=size)


def test_results_cannot_be_changed() -> None:
    found = pak_density(find_neighbors(clumps(), k=20), dimension=3)
    with pytest.raises(ValueError, match="read-only"):
        found.values[0] = 1.0
    assert found.parameters["dimension"] == 3.0
    assert found.parameters["alpha"] == 1e-6
    assert found.parameters["k"] == "k*"


@pytest.mark.parametrize("d", [1.0, 30.0, 3000.0, 1e5])
def test_pak_of_three_neighbors_in_closed_form(d: float) -> None:
    # Shells at -1, 0, 1 around the middle: the outer two balance at a = log(v_1 / v_3) / 2. At
    # large d the middle shell holds all weight that a float64 can see, and a is in the rest.
    rng = np.random.default_rng(27)
    r = np.sort(rng.uniform(1, 2, size=(50, 3)), axis=1)
    graph = NeighborGraph.from_arrays(
        (np.arange(50)[:, None] + np.arange(1, 4)) % 50, r, exact=True
    )
    log_q = d * np.log(r)
    log_v = np.column_stack(
        [
            log_q[:, 0],
            *(log_q[:, j] + np.log(-np.expm1(log_q[:, j - 1] - log_q[:, j])) for j in (1, 2)),
        ]
    )
    a = (log_v[:, 0] - log_v[:, 2]) / 2
    f = np.log(3) - logsumexp(log_v + a[:, None] * np.arange(1, 4), axis=1)
    want = f - np.log(50) - 0.5 * d * np.log(np.pi) + gammaln(d / 2 + 1)
    assert pak_density(graph, dimension=d, k=3).values == pytest.approx(want, rel=1e-9, abs=1e-9)
