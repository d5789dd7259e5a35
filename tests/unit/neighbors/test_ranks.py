from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.neighbors.ranks import ranks_of
from hiddenscape.neighbors.search import find_neighbors


def full(x: np.ndarray) -> np.ndarray:
    d = cdist(x, x)
    np.fill_diagonal(d, -1)
    return rankdata(d, axis=1) - 1


def all_but_self(n: int) -> np.ndarray:
    return (np.arange(n)[:, None] + np.arange(1, n)) % n


def test_ranks_equal_a_full_sort(rng: np.random.Generator) -> None:
    for x in (rng.normal(size=(60, 5)), rng.integers(0, 4, size=(60, 2)).astype(float)):
        targets = all_but_self(60)
        want = np.take_along_axis(full(x), targets, axis=1)
        assert np.array_equal(ranks_of(x, targets), want)


def test_ranks_agree_with_the_graph(rng: np.random.Generator) -> None:
    x = rng.normal(size=(300, 8)).astype(np.float32) + 100
    graph = find_neighbors(x, k=20)
    assert (ranks_of(x, graph.indices) == np.arange(1, 21)).all()


def test_ranks_of_a_row_sum_to_a_constant_whatever_ties(rng: np.random.Generator) -> None:
    x = rng.integers(0, 2, size=(40, 3))
    assert (ranks_of(x, all_but_self(40)).sum(axis=1) == 39 * 40 / 2).all()


def test_identical_rows_share_their_rank() -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(10, 4)), 4, axis=0)
    copies = (np.arange(40) // 4 * 4 + (np.arange(40) + 1) % 4)[:, None]
    assert (ranks_of(x, copies) == 2).all()


def test_queries_choose_rows_and_columns_join_in_one_pass(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 3))
    targets = all_but_self(50)[:, :6]
    whole = ranks_of(x, targets)
    some = np.array([7, 3, 40])
    assert np.array_equal(ranks_of(x, targets[some], queries=some), whole[some])
    assert np.array_equal(ranks_of(x, targets[:, 2]), whole[:, 2])
    assert np.array_equal(ranks_of(x, targets, block_rows=7), whole)


@pytest.mark.parametrize(
    ("targets", "queries", "message"),
    [
        ([[1], [1], [0]], None, "row 1 is its own target"),
        ([[1], [2]], None, r"one line for each of 3 rows, got shape \(2, 1\)"),
        ([[1], [2], [3]], None, r"targets must lie in 0..2, got 1..3"),
        ([[1]], [-1], "queries must lie in 0..2"),
        ([[1.0], [2.0], [0.0]], None, "targets must be row numbers"),
    ],
)
def test_misuse_is_refused(targets: object, queries: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ranks_of([[0.0], [1.0], [2.0]], targets, queries=queries)


def test_rows_that_are_not_finite_are_named() -> None:
    with pytest.raises(NonFiniteError, match="rows 1"):
        ranks_of([[0.0], [np.nan], [2.0]], [[1], [2], [0]])
