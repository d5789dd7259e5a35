"""Neighbourhood overlap: laws, exact values, chance, bad input."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.comparison.overlap import common_counts, neighborhood_overlap
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph


def brute_graph(points: np.ndarray, k: int, **fields: object) -> NeighborGraph:
    """All distances from differences, ordered by (distance, row), self left out by row number."""
    x = np.asarray(points, dtype=np.float64)
    d = np.sqrt(((x[:, None, :] - x[None, :, :]) ** 2).sum(-1))
    multiplicity = (d == 0).sum(1)
    np.fill_diagonal(d, np.inf)
    order = np.argsort(d, axis=1, kind="stable")[:, :k]
    fields = {"multiplicity": multiplicity, **fields}
    return NeighborGraph(indices=order, distances=np.take_along_axis(d, order, axis=1), **fields)


def by_sets(a: NeighborGraph, b: NeighborGraph, k: int) -> np.ndarray:
    pairs = zip(a.indices[:, :k].tolist(), b.indices[:, :k].tolist(), strict=True)
    return np.array([len(set(p) & set(q)) / k for p, q in pairs])


@given(seed=st.integers(0, 10_000), n=st.integers(4, 30), k=st.integers(1, 3))
def test_equals_the_intersection_of_sets(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (brute_graph(rng.normal(size=(n, 3)), 3) for _ in range(2))
    result = neighborhood_overlap(a, b, k=k)
    np.testing.assert_array_equal(result.per_point, by_sets(a, b, k))
    assert result.value == pytest.approx(by_sets(a, b, k).mean(), abs=1e-15)
    assert neighborhood_overlap(b, a, k=k).value == result.value
    assert result.chance == k / (n - 1)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    a, b = (brute_graph(rng.normal(size=(50, 2)), 7) for _ in range(2))
    whole = common_counts(a.indices, b.indices)
    monkeypatch.setattr("hiddenscape.comparison.overlap._BLOCK_ENTRIES", 40)
    np.testing.assert_array_equal(common_counts(a.indices, b.indices), whole)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 7, 20])
def test_copies_of_a_set_overlap_with_themselves_by_exactly_one(
    k: int, rng: np.random.Generator
) -> None:
    points = np.tile(rng.normal(size=(15, 4)), (4, 1))
    graph = brute_graph(points, k)
    result = neighborhood_overlap(graph, graph, k=k)
    assert result.value == 1.0
    assert result.stderr == 0.0
    assert "duplicates (75 % of rows repeat another)" in result.note


def test_all_other_rows_as_neighbours_give_one_and_no_adjusted_value(
    rng: np.random.Generator,
) -> None:
    a, b = (brute_graph(rng.normal(size=(12, 2)), 11) for _ in range(2))
    result = neighborhood_overlap(a, b)
    assert result.value == 1.0
    assert result.chance == 1.0
    assert np.isnan(result.adjusted)


def test_independent_spaces_lie_at_chance(rng: np.random.Generator) -> None:
    a, b = (brute_graph(rng.normal(size=(400, 3)), 10) for _ in range(2))
    result = neighborhood_overlap(a, b)
    assert abs(result.value - 10 / 399) < 4 * 1.3 * result.stderr
    assert abs(result.adjusted) < 0.02


def test_stderr_is_the_limit_of_the_bootstrap(rng: np.random.Generator) -> None:
    x = rng.normal(size=(300, 3))
    a, b = brute_graph(x, 10), brute_graph(x + 0.5 * rng.normal(size=x.shape), 10)
    result = neighborhood_overlap(a, b)
    means = rng.choice(result.per_point, size=(4000, 300)).mean(axis=1)
    assert result.stderr_kind == "bootstrap"
    assert result.stderr == pytest.approx(means.std(), rel=0.05)


def test_ties_and_missing_proof_are_noted(rng: np.random.Generator) -> None:
    grid = np.array([[i, j] for i in range(6) for j in range(6)], dtype=float)
    a = brute_graph(grid, 5)
    free = brute_graph(rng.normal(size=(36, 2)), 5, exact=False)
    result = neighborhood_overlap(a, free, k=1)
    assert result.note == "ties (k-th neighbour tied in 100 % of rows); approximate"
    assert neighborhood_overlap(free, free, k=1).note == "approximate"


@pytest.mark.parametrize("known", [True, False])
def test_a_constant_site_is_undefined(known: bool, rng: np.random.Generator) -> None:
    constant = brute_graph(np.ones((50, 8)), 5)
    if not known:
        constant = brute_graph(np.ones((50, 8)), 5, multiplicity=None)
    other = brute_graph(rng.normal(size=(50, 8)), 5)
    result = neighborhood_overlap(other, constant)
    assert np.isnan(result.value)
    assert result.note == "undefined (all rows are identical)"
    assert result.chance == 5 / 49


def test_two_distinct_rows_are_undefined_and_three_are_not(rng: np.random.Generator) -> None:
    two = brute_graph(np.repeat([[0.0], [1.0]], 10, axis=0), 3, multiplicity=None)
    three = brute_graph(np.repeat([[0.0], [1.0], [3.0]], 10, axis=0), 3, multiplicity=None)
    assert neighborhood_overlap(two, two).note == "undefined (only 2 rows are distinct)"
    assert neighborhood_overlap(three, three).value == 1.0


def test_rows_that_stand_alone_count_as_distinct() -> None:
    one_alone = brute_graph(np.array([[0.0]] * 10 + [[5.0]]), 3, multiplicity=None)
    assert neighborhood_overlap(one_alone, one_alone).note == "undefined (only 2 rows are distinct)"
    groups = brute_graph(np.array([[0.0]] * 5 + [[1.0]] * 5 + [[5.0]]), 3, multiplicity=None)
    assert neighborhood_overlap(groups, groups).value == 1.0


def test_refuses_graphs_of_other_rows(rng: np.random.Generator) -> None:
    a = brute_graph(rng.normal(size=(20, 2)), 3)
    with pytest.raises(InputError, match="the graphs have 20 and 19 rows"):
        neighborhood_overlap(a, brute_graph(rng.normal(size=(19, 2)), 3))
    chosen = brute_graph(rng.normal(size=(20, 2)), 3, rows=np.arange(20) + 1, n_rows=30)
    with pytest.raises(InputError, match="different selections"):
        neighborhood_overlap(a, chosen)


def test_refuses_k_that_is_not_there(rng: np.random.Generator) -> None:
    a = brute_graph(rng.normal(size=(20, 2)), 3)
    with pytest.raises(InputError, match="site has 20 rows, k = 20 needs at least 21"):
        neighborhood_overlap(a, a, k=20)
    with pytest.raises(InputError, match=r"stores 3 .* find_neighbors\(points, k=5\)"):
        neighborhood_overlap(a, a, k=5)
    with pytest.raises(InputError, match="at least 1, got 0"):
        neighborhood_overlap(a, a, k=0)


def test_twenty_thousand_rows_take_less_than_half_a_second(rng: np.random.Generator) -> None:
    n, k = 20_000, 30
    offsets = rng.integers(1, n // k - 1, size=(n, k)).cumsum(axis=1)
    lists = (np.arange(n)[:, None] + offsets) % n
    a = NeighborGraph.from_arrays(lists, np.ones((n, k)))
    start = time.perf_counter()
    assert neighborhood_overlap(a, a).value == 1.0
    # Half a second on a free core; the bound leaves room for a busy one.
    assert time.perf_counter() - start < 2.0
