"""Information imbalance: exact counting, ties, copies, limits, errors, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.comparison import tied
from hiddenscape.comparison.imbalance import information_imbalance, information_imbalance_matrix
from hiddenscape.comparison.jackknife import leave_one_out
from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.neighbors.search import find_neighbors


def squared(points: np.ndarray) -> np.ndarray:
    """Squared distances, which are exact for small whole numbers."""
    x = np.asarray(points, dtype=np.float64)
    d = ((x[:, None, :] - x[None, :, :]) ** 2).sum(-1)
    np.fill_diagonal(d, np.inf)
    return d


def by_definition(a: np.ndarray, b: np.ndarray, k: int) -> float:
    """Every rank by looking at every row; ties share their places."""
    d_a, d_b = squared(a), squared(b)
    n = len(a)
    total = 0.0
    for i in range(n):
        others = np.delete(np.arange(n), i)
        rank = {
            j: 1 + np.sum(d_b[i, others] < d_b[i, j])
            + (np.sum(d_b[i, others] == d_b[i, j]) - 1) / 2
            for j in others
        }  # fmt: skip
        last = np.sort(d_a[i, others])[k - 1]
        closer = [j for j in others if d_a[i, j] < last]
        level = [j for j in others if d_a[i, j] == last]
        total += sum(rank[j] for j in closer)
        total += (k - len(closer)) * np.mean([rank[j] for j in level])
    return float(2 / n * total / n / k)


def delta(a: np.ndarray, b: np.ndarray, k: int = 1, **options: Any) -> float:
    return information_imbalance(a, b, k=k, **options).value


@given(
    seed=st.integers(0, 100_000),
    n=st.integers(4, 25),
    k=st.integers(1, 3),
    grid=st.sampled_from([0, 1, 2, 5]),
)
def test_equals_the_definition_with_and_without_ties(seed: int, n: int, k: int, grid: int) -> None:
    rng = np.random.default_rng(seed)
    if grid:
        a, b = (rng.integers(0, grid + 1, size=(n, 2)).astype(float) for _ in range(2))
    else:
        a, b = (rng.normal(size=(n, 2)) for _ in range(2))
    result = information_imbalance(a, b, k=k)
    if min(len(np.unique(a, axis=0)), len(np.unique(b, axis=0))) < 3:
        assert result.note.startswith("undefined")
        return
    assert result.value == pytest.approx(by_definition(a, b, k), rel=1e-12)
    assert result.per_point is not None
    assert result.per_point.mean() == pytest.approx(result.value, rel=1e-12)


@given(seed=st.integers(0, 100_000), k=st.integers(1, 4))
def test_crowds_give_what_padding_gives(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 3, size=(40, 2)).astype(float)
    b = rng.integers(0, 4, size=(40, 2)).astype(float)
    want = by_definition(a, b, k)
    with pytest.MonkeyPatch.context() as patch:
        for padding, block in ((0, 1 << 21), (0, 100), (60, 1 << 21)):
            patch.setattr(tied, "_PADDING", padding)
            patch.setattr(tied, "_BLOCK_ENTRIES", block)
            assert delta(a, b, k) == pytest.approx(want, rel=1e-12)


def test_crowds_tell_distances_apart_that_scores_cannot(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = rng.integers(0, 2, size=(60, 2)).astype(float)
    # Far from the centre of the other half, these differences are lost in a matrix product.
    far = 1e6 + rng.integers(0, 9, size=(30, 3)) * 2.0**-20
    b = np.concatenate([rng.integers(0, 9, size=(30, 3)).astype(float), far])
    for k in (1, 3):
        monkeypatch.setattr(tied, "_PADDING", 60)
        asked_one_by_one = information_imbalance(a, b, k=k)
        monkeypatch.setattr(tied, "_PADDING", 0)
        assert tied.tied_neighborhoods(a, find_neighbors(a, k=k + 1), k).crowds
        np.testing.assert_allclose(
            information_imbalance(a, b, k=k).per_point, asked_one_by_one.per_point, rtol=1e-12
        )


@pytest.mark.parametrize("k", [1, 2, 5, 19])
def test_identical_spaces_without_ties_reach_the_floor(k: int, rng: np.random.Generator) -> None:
    x = rng.normal(size=(20, 3))
    result = information_imbalance(x, x @ np.linalg.qr(rng.normal(size=(3, 3)))[0] * 7 + 2, k=k)
    assert result.value == pytest.approx((k + 1) / 20, rel=1e-12)
    assert result.floor == (k + 1) / 20
    assert result.stderr == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("m", [2, 3, 4, 25])
def test_copies_of_a_set_against_themselves(m: int, rng: np.random.Generator) -> None:
    x = np.tile(rng.normal(size=(10, 3)), (m, 1))[rng.permutation(10 * m)]
    result = information_imbalance(x, x)
    assert result.value == pytest.approx(m / (10 * m), rel=1e-12)
    assert "duplicates" in result.note
    assert ("ties" in result.note) == (m > 2)


def test_independent_spaces_are_at_one(rng: np.random.Generator) -> None:
    values = [
        [delta(rng.normal(size=(200, 3)), rng.normal(size=(200, 3)), k) for _ in range(60)]
        for k in (1, 10)
    ]
    for found, spread in zip(values, (0.70, 0.24), strict=True):
        assert np.mean(found) == pytest.approx(1, abs=4 * spread / np.sqrt(200 * 60))
        assert np.std(found) * np.sqrt(200) == pytest.approx(spread, rel=0.35)


def test_all_others_as_neighbours_give_exactly_one(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(15, 2)), rng.normal(size=(15, 2))
    assert delta(a, b, 14) == pytest.approx(1.0, rel=1e-12)


def test_direction_tells_the_whole_from_its_part(rng: np.random.Generator) -> None:
    x = rng.normal(size=(300, 3))
    assert delta(x, x[:, :1]) < 0.5 < delta(x[:, :1], x)


def test_a_graph_at_hand_gives_the_same(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(60, 2)), rng.normal(size=(60, 4))
    a[:20] = a[20:40]
    for stored in (4, 20, 59):
        assert delta(a, b, 3, graph_a=find_neighbors(a, k=stored)) == delta(a, b, 3)


def test_matrix_is_the_table_of_single_values(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 4))
    grid = rng.integers(0, 3, size=(50, 2)).astype(np.float32)
    sites = [x, x[:, :2], grid, np.zeros((50, 3)), rng.normal(size=(50, 9))]
    done: list[tuple[int, int]] = []
    matrix = information_imbalance_matrix(sites, k=2, progress=lambda i, n: done.append((i, n)))
    for i, a in enumerate(sites):
        for j, b in enumerate(sites):
            single = information_imbalance(a, b, k=2)
            entry = matrix.estimate(i, j)
            np.testing.assert_equal(entry.value, single.value)
            np.testing.assert_allclose(entry.stderr, single.stderr, rtol=1e-12)
            assert entry.note == single.note
    assert np.isnan(matrix.values[3]).all()
    assert np.isnan(matrix.values[:, 3]).all()
    assert done[-1] == (5, 5)
    graphs = [find_neighbors(s, k=4) for s in sites]
    np.testing.assert_array_equal(
        information_imbalance_matrix(sites, k=2, graphs=graphs).values, matrix.values
    )


def test_matrix_reads_sites_lazily_and_one_at_a_time(rng: np.random.Generator) -> None:
    alive = []

    class Lazy:
        def __init__(self, x: np.ndarray) -> None:
            self.x, self.shape = x, x.shape

        def __len__(self) -> int:
            return len(self.x)

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            import weakref

            out = self.x.copy()
            alive[:] = [r for r in alive if r() is not None]
            alive.append(weakref.ref(out))
            assert len(alive) <= 2
            return out

    arrays = [rng.normal(size=(30, 3)) for _ in range(5)]
    lazy: Any = [Lazy(x) for x in arrays]
    got = information_imbalance_matrix(lazy).values
    np.testing.assert_array_equal(got, information_imbalance_matrix(arrays).values)


def test_a_subset_is_seeded_and_says_its_size(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(100, 3)), rng.normal(size=(100, 3))
    first = information_imbalance(a, b, subset=40, seed=3)
    assert (first.n_used, first.n_dropped) == (40, 60)
    assert first.value == delta(a, b, subset=40, seed=3)
    assert first.value != delta(a, b, subset=40, seed=4)
    rows = np.arange(0, 100, 4)
    assert delta(a, b, subset=rows) == delta(a[rows], b[rows])
    matrix = information_imbalance_matrix([a, b], subset=40, seed=3)
    assert matrix.values[0, 1] == first.value
    assert matrix.n == 40


def test_points_stderr_is_the_limit_of_the_bootstrap(rng: np.random.Generator) -> None:
    x = rng.normal(size=(200, 3))
    result = information_imbalance(x, x[:, :1])
    assert result.per_point is not None
    means = rng.choice(result.per_point, size=(4000, 200)).mean(axis=1)
    assert (result.stderr_kind, result.stderr) == (
        "bootstrap",
        pytest.approx(means.std(), rel=0.05),
    )


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("grid", [False, True])
def test_leaving_one_out_recomputes_everything(
    k: int, grid: bool, rng: np.random.Generator
) -> None:
    x, y = rng.normal(size=(18, 2)), rng.normal(size=(18, 2))
    if grid:
        x, y = np.round(1.5 * x), np.round(1.5 * y)
    want = [by_definition(np.delete(x, i, 0), np.delete(y, i, 0), k) for i in range(18)]
    np.testing.assert_allclose(leave_one_out(x, y, k), want, rtol=1e-12)


def test_the_two_errors_bracket_the_spread_over_new_data(rng: np.random.Generator) -> None:
    found, jackknife, points = [], [], []
    for _ in range(60):
        x = rng.normal(size=(100, 3))
        result = information_imbalance(x[:, :2], x, stderr="jackknife")
        found.append(result.value)
        jackknife.append(result.stderr)
        points.append(information_imbalance(x[:, :2], x).stderr)
    # The spread over 60 sets is itself known to 9 %.
    assert 0.55 < np.mean(points) / np.std(found) < 1.1
    assert 1.0 < np.mean(jackknife) / np.std(found) < 1.9


@pytest.mark.parametrize("which", [0, 1])
def test_a_constant_side_is_undefined(which: int, rng: np.random.Generator) -> None:
    sides = [rng.normal(size=(50, 8)), rng.normal(size=(50, 8))]
    sides[which] = np.ones((50, 8))
    result = information_imbalance(*sides)
    assert np.isnan(result.value)
    assert result.note == "undefined (all rows are identical)"


def test_refuses_what_it_cannot_use(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    with pytest.raises(InputError, match="the spaces have 20, 19 rows"):
        information_imbalance(a, b[:19])
    with pytest.raises(InputError, match="site has 20 rows, k = 20 needs at least 21"):
        information_imbalance(a, b, k=20)
    with pytest.raises(InputError, match=r"stores 2 neighbours .* find_neighbors\(points, k=3\)"):
        information_imbalance(a, b, k=2, graph_a=find_neighbors(a, k=2))
    with pytest.raises(InputError, match="the graph has 19 rows, the points have 20"):
        information_imbalance(a, b, graph_a=find_neighbors(a[:19], k=2))
    with pytest.raises(InputError, match="the jackknife needs between 3 and 4000 rows, got 5000"):
        information_imbalance(np.zeros((5000, 1)), np.zeros((5000, 1)), stderr="jackknife")
    with pytest.raises(InputError, match="not both"):
        information_imbalance(a, b, subset=5, graph_a=find_neighbors(a, k=2))
    with pytest.raises(InputError, match="2 to 20 rows, got 21"):
        information_imbalance(a, b, subset=21)
    with pytest.raises(InputError, match="distinct and lie in"):
        information_imbalance(a, b, subset=np.array([1, 1, 2]))
    with pytest.raises(InputError, match="'points' or 'jackknife', got 'both'"):
        information_imbalance(a, b, stderr="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1 graphs for 2 sites"):
        information_imbalance_matrix([a, b], graphs=[find_neighbors(a, k=2)])
    with pytest.raises(InputError, match="at least one site"):
        information_imbalance_matrix([])


@pytest.mark.parametrize("which", [0, 1])
def test_names_rows_that_are_not_finite(which: int, rng: np.random.Generator) -> None:
    sides = [rng.normal(size=(20, 2)), rng.normal(size=(20, 2))]
    sides[which][[4, 7], 1] = np.nan, np.inf
    with pytest.raises(NonFiniteError, match="rows 4, 7"):
        information_imbalance(*sides)


def test_a_graph_of_other_points_is_refused(rng: np.random.Generator) -> None:
    x, other = rng.normal(size=(80, 3)), find_neighbors(rng.normal(size=(80, 3)), k=2)
    with pytest.raises(InputError, match="the graph is of other points"):
        information_imbalance(x, x, graph_a=other)
    with pytest.raises(InputError, match="the graph is of other points"):
        information_imbalance_matrix([x, x], graphs=[find_neighbors(x, k=2), other])


def test_the_metric_of_a_given_graph_is_stated(rng: np.random.Generator) -> None:
    x = rng.normal(size=(80, 3))
    angular = find_neighbors(x, k=2, metric="angular")
    result = information_imbalance(x, x, graph_a=angular)
    assert result.parameters["metric_a"] == "angular"
    assert result.parameters["metric_b"] == "euclidean"
    assert information_imbalance(x, x).parameters["metric_a"] == "euclidean"
    with pytest.raises(InputError, match="the jackknife finds Euclidean neighbours"):
        information_imbalance(x, x, graph_a=angular, stderr="jackknife")


@pytest.mark.parametrize("k", [True, 2.5, "3", None])
def test_k_is_a_whole_number(k: object, rng: np.random.Generator) -> None:
    x = rng.normal(size=(20, 2))
    with pytest.raises(InputError, match="k must be a whole number"):
        information_imbalance(x, x, k=k)  # type: ignore[arg-type]
    assert information_imbalance(x, x, k=np.float64(2)).value == pytest.approx(3 / 20)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_ties_of_every_number_are_ranked(k: int) -> None:
    # Row 0 has m equally near neighbours: m runs over the width at which a table becomes a crowd.
    rng = np.random.default_rng(3)
    for m in range(2, 20):
        corners = np.eye(m)
        x = np.vstack([np.zeros((1, m)), corners, 5 + 9 * rng.uniform(size=(30, m))])
        y = rng.normal(size=(len(x), 2))
        d, r = (
            np.linalg.norm(z[:, None] - z[None], axis=2) + np.diag([np.inf] * len(x))
            for z in (x, y)
        )
        rank = r.argsort(axis=1).argsort(axis=1) + 1.0
        kth = np.sort(d, axis=1)[:, k - 1 : k]
        tied, closer = np.isclose(d, kth, rtol=1e-12), d < kth * (1 - 1e-12)
        left = k - closer.sum(axis=1, keepdims=True)
        weight = closer + tied * left / tied.sum(axis=1, keepdims=True)
        want = 2 / len(x) * np.mean((weight * rank).sum(axis=1) / k)
        assert information_imbalance(x, y, k=k).value == pytest.approx(want, rel=1e-12)


def test_queries_estimate_the_value_of_all_rows(rng: np.random.Generator) -> None:
    """Rows are ranked among all: unbiased, and its error is that of a sample of rows."""
    a = rng.normal(size=(400, 3))
    b = a[:, :2] + 0.2 * rng.normal(size=(400, 2))
    whole = information_imbalance(a, b, k=2)
    assert whole.per_point is not None
    every = information_imbalance(a, b, k=2, queries=np.arange(400))
    assert every.value == whole.value
    z = []
    for seed in range(60):
        part = information_imbalance(a, b, k=2, queries=50, seed=seed)
        assert part.per_point is not None
        assert len(part.per_point) == 50
        assert part.n_used == 400
        assert part.parameters["queries"] == 50
        z.append((part.value - whole.value) / (part.stderr * np.sqrt(1 - 50 / 400)))
    assert abs(np.mean(z)) < 4 / np.sqrt(60)
    assert 0.6 < np.std(z) < 1.6
    rows = np.array([7, 3, 399])
    some = information_imbalance(a, b, k=2, queries=rows)
    assert np.array_equal(some.per_point, whole.per_point[rows])


def test_queries_in_crowds_of_ties(rng: np.random.Generator) -> None:
    a = np.repeat(rng.normal(size=(6, 2)), 30, 0)[rng.permutation(180)]
    b = rng.integers(0, 2, size=(180, 3))
    whole = information_imbalance(a, b)
    rows = rng.permutation(180)[:40]
    assert whole.per_point is not None
    assert np.allclose(information_imbalance(a, b, queries=rows).per_point, whole.per_point[rows])


def test_queries_of_a_matrix(rng: np.random.Generator) -> None:
    sites = [rng.normal(size=(90, 3)) for _ in range(3)]
    matrix = information_imbalance_matrix(sites, queries=30, seed=2)
    one = information_imbalance(sites[0], sites[2], queries=30, seed=2)
    assert matrix.values[0, 2] == one.value
    assert matrix.stderr[0, 2] == one.stderr
    with pytest.raises(InputError, match="jackknife"):
        information_imbalance(sites[0], sites[1], queries=30, stderr="jackknife")
    with pytest.raises(InputError, match="queries of 90 rows"):
        information_imbalance(sites[0], sites[1], queries=91)
