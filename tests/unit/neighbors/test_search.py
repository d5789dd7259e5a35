from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.dimension.gride import gride
from hiddenscape.dimension.pca import participation_ratio
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.kernels import reference
from hiddenscape.kernels.arrays import cloud
from hiddenscape.neighbors.search import METRICS, check_graph_of, find_neighbors


class Mapped:
    """What a stored site offers: shape, dtype, slices, ``__array__``; nothing to write to."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.shape, self.dtype = values.shape, values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key: object) -> np.ndarray:
        return self.values[key]

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.values, dtype=dtype)


def test_self_is_left_out_by_row_number_not_by_distance() -> None:
    g = find_neighbors([[0.0], [0.0], [0.0], [5.0]], k=3)
    assert g.indices.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert g.distances.tolist() == [[0, 0, 5]] * 3 + [[5, 5, 5]]


@given(st.integers(0, 2**32 - 1), st.integers(4, 40), st.integers(1, 3), st.integers(1, 3))
def test_repeated_rows_expand_to_what_a_plain_search_gives(
    seed: int, n: int, d: int, spread: int
) -> None:
    r = np.random.default_rng(seed)
    x = r.integers(0, spread + 1, size=(n, d)).astype(float)
    k = int(r.integers(1, n))
    g = find_neighbors(x, k=k)
    indices, distances = reference.nearest(cloud(x), k)
    assert np.array_equal(g.indices, indices)
    assert np.array_equal(g.distances, distances)
    distinct = np.unique(x, axis=0)
    assert g.n_distinct == len(distinct)
    assert g.multiplicity is not None
    assert [int((x == row).all(axis=1).sum()) for row in x] == g.multiplicity.tolist()
    if len(distinct) < 2 or len(distinct) == n:
        assert g.distinct is None
    else:
        inner = g.distinct
        assert inner is not None
        assert inner.rows is not None
        assert inner.n_rows == n
        assert inner.k == min(k, len(distinct) - 1)
        want = reference.nearest(cloud(x[inner.rows]), inner.k)
        assert np.array_equal(inner.indices, want[0])
        assert (np.diff(inner.rows) > 0).all()


def test_thousands_of_ties_are_ordered_by_row_number() -> None:
    x = np.stack(np.meshgrid(*[np.arange(16)] * 3), -1).reshape(-1, 3)[::-1]
    g = find_neighbors(x, k=40)
    d2 = np.rint(g.distances**2).astype(int)
    assert np.allclose(d2, g.distances**2)
    tie = d2[:, 1:] == d2[:, :-1]
    assert tie.mean() > 0.8
    assert (g.indices[:, 1:] > g.indices[:, :-1])[tie].all()
    # The last distance is cut inside a shell: the lowest rows of the shell must be the ones kept.
    row = 1900
    shell = ((x - x[row]) ** 2).sum(axis=1)
    order = np.lexsort((np.arange(len(x)), shell))[1:41]
    assert g.indices[row].tolist() == order.tolist()


def test_offset_changes_no_neighbor_and_no_dimension(rng: np.random.Generator) -> None:
    # Dyadic values: adding 3000 to a channel is then exact, so the points really are the same.
    x = (np.round(rng.normal(size=(500, 6)) * 1024) / 1024).astype(np.float32)
    moved = x.copy()
    moved[:, 2] += 3000
    a, b = find_neighbors(x, k=16), find_neighbors(moved, k=16)
    assert np.array_equal(a.indices, b.indices)
    assert np.array_equal(a.distances, b.distances)
    for measure in (two_nn, gride, lambda g: gride(g, 8)):
        assert measure(a).value == measure(b).value
    assert participation_ratio(x).value == pytest.approx(participation_ratio(moved).value, rel=1e-9)


def test_arbitrary_offset_keeps_neighbors(rng: np.random.Generator) -> None:
    x = rng.normal(size=(800, 12))
    moved = x.copy()
    moved[:, 5] += 3000
    a, b = find_neighbors(x, k=10), find_neighbors(moved, k=10)
    assert np.array_equal(a.indices, b.indices)
    assert two_nn(a).value == pytest.approx(two_nn(b).value, rel=1e-9)


@pytest.mark.parametrize("exponent", [-1040, -300, 300, 1000])
def test_power_of_two_scale_changes_no_neighbor(exponent: int, rng: np.random.Generator) -> None:
    x = np.round(rng.normal(size=(150, 4)) * 2**20) / 2**20
    a, b = find_neighbors(x, k=5), find_neighbors(np.ldexp(x, exponent), k=5)
    assert np.array_equal(a.indices, b.indices)
    if exponent > -1000:
        assert two_nn(a).value == pytest.approx(two_nn(b).value, rel=1e-12)


def test_any_array_like_gives_the_same_graph(rng: np.random.Generator, tmp_path: object) -> None:
    x = rng.normal(size=(90, 5)).astype(np.float32)
    want = find_neighbors(x, k=7)
    frozen = x.copy()
    frozen.flags.writeable = False
    np.save(f"{tmp_path}/x.npy", x)
    mapped = np.load(f"{tmp_path}/x.npy", mmap_mode="r")
    wide = x.astype(np.float64)
    for same in (frozen, mapped, Mapped(frozen), wide, np.asfortranarray(x), x.tolist()):
        g = find_neighbors(same, k=7)
        assert np.array_equal(g.indices, want.indices)
        assert np.array_equal(g.distances, want.distances)
    halves = x.astype(np.float16)
    a, b = find_neighbors(halves, k=7), find_neighbors(halves.astype(np.float64), k=7)
    assert np.array_equal(a.distances, b.distances)


def test_input_is_never_written_to(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 3)) * 1e200
    before = x.copy()
    for metric in METRICS:
        find_neighbors(x, k=3, metric=metric, period=np.inf if metric == "periodic" else None)
    assert np.array_equal(x, before)


def test_graph_is_exact_and_says_how(rng: np.random.Generator) -> None:
    g = find_neighbors(rng.normal(size=(50, 3)), k=3)
    assert g.exact
    assert "(50 rows)" in str(g.certificate)
    assert g.distinct is None
    assert g.multiplicity is not None
    assert not g.indices.flags.writeable


def test_angles(rng: np.random.Generator) -> None:
    x = rng.normal(size=(60, 4)) * rng.uniform(1e-3, 1e3, size=(60, 1))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = np.clip(unit @ unit.T, -1, 1)
    np.fill_diagonal(cosine, -np.inf)
    order = np.argsort(-cosine, axis=1)[:, :8]
    near = np.take_along_axis(cosine, order, axis=1)
    angular = find_neighbors(x, k=8, metric="angular")
    assert np.array_equal(angular.indices, order)
    assert angular.distances == pytest.approx(np.arccos(near), abs=1e-9)
    flat = find_neighbors(x, k=8, metric="cosine")
    assert np.array_equal(flat.indices, order)
    assert flat.distances == pytest.approx(1 - near, abs=1e-12)


def test_cosine_halves_the_dimension(rng: np.random.Generator) -> None:
    # 1 - cos is about half the squared angle: r -> r^2 divides a dimension by two.
    cap = np.hstack([rng.uniform(-0.01, 0.01, size=(2000, 3)), np.ones((2000, 1))])
    angular = two_nn(find_neighbors(cap, k=2, metric="angular")).value
    cosine = two_nn(find_neighbors(cap, k=2, metric="cosine")).value
    assert angular / cosine == pytest.approx(2, rel=1e-4)


@pytest.mark.parametrize(
    ("k", "options", "message"),
    [
        (5, {}, "site has 5 rows, k = 5 needs at least 6"),
        (0, {}, "k must be a whole number of at least 1, got 0"),
        (1.5, {}, "k must be a whole number"),
        (True, {}, "k must be a whole number"),
        (None, {}, "k must be a whole number, got None"),
        (float("nan"), {}, "k must be a whole number, got nan"),
        (1, {"metric": "chebyshev"}, "no metric 'chebyshev'; there are: euclidean, angular"),
        (1, {"period": 2.0}, "period is for metric='periodic', the metric is 'euclidean'"),
        (1, {"period": 2.0, "metric": "cosine"}, "the metric is 'cosine'"),
        (1, {"metric": "periodic"}, "metric='periodic' needs period="),
        (1, {"metric": "periodic", "period": [1, 2, 3]}, "one for each of 2 columns"),
        (1, {"metric": "periodic", "period": [1, -2]}, "must be positive .* -2.0 for column 1"),
        (5, {"metric": "hamming"}, "site has 5 rows, k = 5 needs at least 6"),
        (1, {"block_rows": 0}, "block_rows must be at least 1, got 0"),
        (1, {"metric": "angular"}, "row 2 is zero and has no direction"),
    ],
)
def test_misuse_is_refused(k: object, options: dict[str, object], message: str) -> None:
    x = np.arange(10.0).reshape(5, 2)
    x[2] = 0
    with pytest.raises(InputError, match=message):
        find_neighbors(x, k=k, **options)


def test_rows_that_are_not_finite_are_named(rng: np.random.Generator) -> None:
    x = rng.normal(size=(9, 2))
    x[4, 1] = np.inf
    with pytest.raises(NonFiniteError, match="rows 4"):
        find_neighbors(x, k=2)


def test_a_grid_coarser_than_the_neighbors_is_noted(rng: np.random.Generator) -> None:
    # Repeated prompts with a small jitter, stored in 8 bits of mantissa.
    x = np.repeat(rng.normal(size=(150, 16)) + 4, 2, axis=0)
    x = (x + rng.normal(size=x.shape) * 0.004).astype(np.float32)
    bf16 = (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    graph = find_neighbors(bf16, k=4)
    assert graph.note.startswith("coarse_dtype (")
    assert graph.take(2).note == graph.note
    assert "coarse_dtype" in two_nn(graph).note
    assert "coarse_dtype" in gride(graph, 2).note
    assert find_neighbors(x, k=4).note == ""
    assert find_neighbors(x.astype(np.float16), k=4).note.startswith("coarse_dtype")
    assert find_neighbors(rng.integers(0, 17, size=(200, 64)), k=4).note == ""
    assert find_neighbors(np.zeros((20, 2)), k=4).note == ""
    assert find_neighbors(rng.normal(size=(50, 3)) * 1e250, k=4).note == ""


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="rows of one length"):
        find_neighbors([[1.0, 2.0], [3.0]], k=1)


@pytest.mark.parametrize("metric", ["euclidean", "angular", "cosine"])
def test_a_graph_belongs_to_its_points(metric: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(60, 4))
    for points in (x, np.vstack([x, x]), x.astype(np.float32)):
        check_graph_of(points, find_neighbors(points, k=2, metric=metric))
    graph = find_neighbors(x, k=2, metric=metric)
    for other in (rng.normal(size=(60, 4)), x[::-1]):
        with pytest.raises(InputError, match="the graph is of other points"):
            check_graph_of(other, graph)
    with pytest.raises(InputError, match="the graph has 60 rows, the points have 59"):
        check_graph_of(x[1:], graph)
