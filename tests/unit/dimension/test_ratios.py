from __future__ import annotations

import math

import numpy as np
import pytest

from hiddenscape.dimension.gride import gride
from hiddenscape.dimension.ratios import POLICIES, distance_ratios, remarks
from hiddenscape.errors import DuplicateRowsError, InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words

LINE = [[0.0], [1.0], [3.0], [7.0], [1.0]]  # row 4 repeats row 1


def test_unique_finds_neighbors_among_distinct_rows() -> None:
    r = distance_ratios(find_neighbors(LINE, k=2), 1, 2, "unique")
    assert r is not None
    assert r.rows.tolist() == [0, 1, 2, 3]
    assert np.exp(r.log_mu) == pytest.approx([3, 2, 1.5, 1.5])
    assert r.scale == pytest.approx(np.mean([2, 1.5, 2.5, 5]))
    assert (r.n_rows, r.n_dropped) == (5, 1)
    assert r.note == "duplicates (1 of 5 rows, share 0.2)"
    assert np.isnan(r.per_row()).tolist() == [False, False, False, False, True]


def test_drop_zero_leaves_the_others_as_they_are() -> None:
    r = distance_ratios(find_neighbors(LINE, k=2), 1, 2, "drop_zero")
    assert r is not None
    assert r.rows.tolist() == [0, 2, 3]
    assert np.exp(r.log_mu) == pytest.approx([1, 1, 1.5])  # both copies are neighbours of row 0
    assert r.n_dropped == 2
    assert "2 of 5 rows at distance 0, drop_zero" in r.note


def test_eps_makes_ratios_huge_or_one() -> None:
    r = distance_ratios(find_neighbors([*LINE, [7.0], [7.0]], k=2), 1, 2, "eps")
    assert r is not None
    eps = 10 * np.finfo(float).eps
    assert np.exp(r.log_mu[[1, 4]]) == pytest.approx([1 / eps, 1 / eps], rel=1e-9)
    assert r.log_mu[[3, 5, 6]].tolist() == [0, 0, 0]
    assert r.n_dropped == 0


def test_error_refuses() -> None:
    with pytest.raises(DuplicateRowsError, match="2 of 5 rows are identical to another row"):
        distance_ratios(find_neighbors(LINE, k=2), 1, 2, "error")
    distinct = find_neighbors(LINE[:4], k=2)
    for policy in POLICIES:
        r = distance_ratios(distinct, 1, 2, policy)
        assert r is not None
        assert r.note == ""
        assert len(r.log_mu) == 4


def test_fewer_than_three_distinct_rows_are_nothing() -> None:
    for policy in ("unique", "drop_zero", "eps"):
        assert distance_ratios(find_neighbors([[0.0], [1.0], [0.0]], k=2), 1, 2, policy) is None


def test_a_foreign_graph_with_zeros_is_refused_or_dropped() -> None:
    known = find_neighbors(LINE, k=2)
    foreign = NeighborGraph.from_arrays(known.indices, known.distances)
    with pytest.raises(InputError, match="does not say which rows repeat: make it with find_n"):
        distance_ratios(foreign, 1, 2, "unique")
    r = distance_ratios(foreign, 1, 2, "drop_zero")
    assert r is not None
    assert "approximate" in r.note


@pytest.mark.parametrize(
    ("n1", "n2", "policy", "message"),
    [
        (1, 2, "keep", "duplicates must be one of unique, drop_zero, eps, error, got 'keep'"),
        (0, 2, "unique", "1 <= n1 < n2, got n1 = 0, n2 = 2"),
        (2, 2, "unique", "1 <= n1 < n2"),
        (1, 4, "unique", r"the graph stores 3: use find_neighbors\(points, k=4\)"),
    ],
)
def test_misuse_is_refused(n1: int, n2: int, policy: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        distance_ratios(find_neighbors(LINE, k=3), n1, n2, policy)


def test_ranks_beyond_the_distinct_rows_leave_no_ratio_and_a_note() -> None:
    graph = find_neighbors([*LINE, [7.0]], k=4)
    r = distance_ratios(graph, 2, 4, "unique")
    assert r is not None
    assert not len(r.log_mu)
    assert not len(r.rows)
    assert "few_points (4 distinct rows, n2 = 4 needs 5)" in r.note
    assert math.isnan(gride(graph, 2, 4).value)
    assert note_words(gride(graph, 2, 4).note)[:2] == ("duplicates", "few_points")


def test_extreme_distances_give_finite_ratios() -> None:
    graph = find_neighbors([[0.0], [1e-200], [1e200], [3e200]], k=2)
    r = distance_ratios(graph, 1, 2, "unique")
    assert r is not None
    assert r.log_mu[0] == pytest.approx(400 * math.log(10))


def test_remarks() -> None:
    r = distance_ratios(find_neighbors(np.arange(50.0)[:, None], k=2), 1, 2, "unique")
    assert r is not None
    said = ": the distances lie on a grid, the model is of a continuum"
    assert remarks(r, 5.0) == f"ties (48 of 50 ratios are 1{said}); few_points (50 rows)"
    assert "collapsed (estimate below 1)" in remarks(r, 0.9)
    assert "low_for_high_dimension (estimate above log2 of 50 rows)" in remarks(r, 5.7)


def test_drop_zero_leaves_rows_with_copies_out_at_every_rank() -> None:
    # Ranks 4 and 5 are the second and third place after two copies: no ratio of these is wanted.
    r = distance_ratios(find_neighbors([*LINE, *LINE[:1] * 2], k=5), 4, 5, "drop_zero")
    assert r is not None
    assert not {0, 5, 6} & set(r.rows.tolist())
