from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors

GOOD = (np.array([[1, 2], [0, 2], [1, 0]]), np.array([[1.0, 3.0], [1.0, 2.0], [2.0, 3.0]]))


def test_arrays_become_read_only_but_the_callers_do_not() -> None:
    indices, distances = GOOD[0].astype(np.int32), GOOD[1].copy()
    g = NeighborGraph.from_arrays(indices, distances)
    with pytest.raises(ValueError, match="read-only"):
        g.distances[0, 0] = 7
    assert distances.flags.writeable
    assert (g.n, g.k, g.n_rows, g.n_duplicates, g.n_distinct) == (3, 2, 3, 0, 3)
    assert not g.exact
    assert g.indices.dtype == np.int32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, d: (i[:, :1], d), "share one shape"),
        (lambda i, d: (i[:2], d[:2]), "a graph of 2 rows can store 1 to 1"),
        (lambda i, d: (i + 1, d), r"indices must lie in 0\.\.2"),
        (lambda i, d: (i[[1, 0, 2]], d), "row 0 lists itself"),
        (lambda i, d: (i[:, [0, 0]], d), "row 0 lists a neighbour twice"),
        (lambda i, d: (i, -d), "row 0 has a distance that is negative"),
        (lambda i, d: (i, d * np.array([1, np.nan])), "row 0 has a distance that is negative or"),
        (lambda i, d: (i, d[:, ::-1]), "row 0 does not list its neighbours nearest first"),
        (lambda i, d: (i.astype(float), d), "indices must be integers"),
    ],
)
def test_what_is_no_graph_is_refused(change: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NeighborGraph.from_arrays(*change(*GOOD))


def test_take_is_the_shorter_search(rng: np.random.Generator) -> None:
    x = rng.integers(0, 6, size=(40, 2))
    short, long = find_neighbors(x, k=3), find_neighbors(x, k=9)
    assert np.array_equal(long.take(3).indices, short.indices)
    assert long.take(3).n_distinct == long.n_distinct
    with pytest.raises(InputError, match="stores 9 neighbours per row, asked for k = 10"):
        long.take(10)


def test_the_distinct_graph_must_be_known() -> None:
    g = find_neighbors([[0.0], [1.0], [0.0], [4.0]], k=2)
    assert g.over_distinct().n == 3
    assert g.over_distinct().rows is not None
    assert g.over_distinct().rows.tolist() == [0, 1, 3]
    same = find_neighbors(np.ones((4, 2)), k=2)
    with pytest.raises(InputError, match="no graph over distinct rows is at hand"):
        same.over_distinct()
    plain = find_neighbors([[0.0], [1.0], [4.0]], k=2)
    assert plain.over_distinct() is plain


def test_row_numbers_beyond_32_bits_do_not_wrap_around() -> None:
    for dtype in (np.int64, np.uint64):
        with pytest.raises(InputError, match=r"indices must lie in 0\.\.1"):
            NeighborGraph.from_arrays(np.array([[2**32 + 1], [0]], dtype=dtype), np.ones((2, 1)))


def test_distances_are_real_numbers() -> None:
    for distances in (np.full((2, 1), 1j), np.array([["1"], ["1"]])):
        with pytest.raises(InputError, match="distances must be real numbers"):
            NeighborGraph.from_arrays(np.array([[1], [0]]), distances)
