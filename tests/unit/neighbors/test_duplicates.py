from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError
from hiddenscape.neighbors.duplicates import RowMap, find_duplicates, resolve_duplicates
from hiddenscape.neighbors.search import find_neighbors


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 3))
def test_groups_are_those_of_equal_values(seed: int, n: int, d: int) -> None:
    x = np.random.default_rng(seed).integers(0, 3, size=(n, d)).astype(np.float32)
    found = find_duplicates(x)
    equal = (x[:, None] == x[None]).all(axis=2)
    assert found.representative.tolist() == equal.argmax(axis=1).tolist()
    assert found.multiplicity.tolist() == equal.sum(axis=1).tolist()
    assert found.distinct_rows.tolist() == sorted(set(found.representative.tolist()))
    assert found.share == pytest.approx(1 - len(np.unique(x, axis=0)) / n)


def test_negative_zero_equals_zero() -> None:
    assert find_duplicates([[0.0, 1.0], [-0.0, 1.0]]).n_distinct == 1


def test_the_last_bit_makes_a_difference() -> None:
    assert find_duplicates([[1.0], [np.nextafter(1.0, 2.0)]]).n_distinct == 2


def test_blocks_of_rows_are_joined() -> None:
    x = np.tile(np.arange(5.0), 4)[:, None].repeat(1 << 17, axis=1)
    assert find_duplicates(x).representative.tolist() == [0, 1, 2, 3, 4] * 4


def test_what_is_no_cloud_is_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(n, d\)"):
        find_duplicates([1.0, 2.0])


POINTS = np.array([[1.0], [2.0], [1.0], [3.0], [2.0], [1.0]])


def test_policies_say_which_rows_stay_and_what_stands_for_the_others() -> None:
    keep, drop, group = (resolve_duplicates(POINTS, p) for p in ("keep", "drop", "group"))
    assert keep.rows.tolist() == keep.inverse.tolist() == [0, 1, 2, 3, 4, 5]
    assert keep.weights.tolist() == [1] * 6
    assert drop.rows.tolist() == group.rows.tolist() == [0, 1, 3]
    assert drop.inverse.tolist() == [0, 1, -1, 2, -1, -1]
    assert group.inverse.tolist() == [0, 1, 0, 2, 1, 0]
    assert (drop.weights.tolist(), group.weights.tolist()) == ([1, 1, 1], [3, 2, 1])
    assert (keep.n_dropped, drop.n_dropped, group.n_dropped) == (0, 3, 0)
    assert keep.policy == resolve_duplicates(POINTS).policy == "keep"
    assert drop.n_rows == 6


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.sampled_from(["keep", "drop", "group"]))
def test_selection_and_return_are_inverse(seed: int, n: int, policy: Any) -> None:
    x = np.random.default_rng(seed).integers(0, 3, size=(n, 2)).astype(float)
    found = find_duplicates(x)
    m = found.select(policy)
    assert np.array_equal(m.rows, resolve_duplicates(x, policy).rows)
    assert int(m.weights.sum()) + m.n_dropped == n
    kept = m.take(x)
    assert np.array_equal(m.take(m.scatter(kept)), kept)
    back = m.scatter(kept)
    stays = m.inverse >= 0
    assert np.array_equal(back[stays], x[stays])
    assert np.isnan(back[~stays]).all()
    if policy != "keep":
        assert len(np.unique(kept, axis=0)) == len(kept)


def test_labels_and_other_sites_follow() -> None:
    drop, group = resolve_duplicates(POINTS, "drop"), resolve_duplicates(POINTS, "group")
    assert drop.take(["a", "b", "c", "d", "e", "f"]).tolist() == ["a", "b", "d"]
    assert drop.take(np.arange(12).reshape(6, 2)).tolist() == [[0, 1], [2, 3], [6, 7]]
    assert group.scatter(["x", "y", "z"]).tolist() == ["x", "y", "x", "z", "y", "x"]
    assert drop.scatter(["x", "y", "z"], fill="").tolist() == ["x", "y", "", "z", "", ""]
    assert drop.scatter([1, 2, 3], fill=-1).tolist() == [1, 2, -1, 3, -1, -1]
    assert drop.scatter([1, 2, 3], fill=-1).dtype.kind == "i"


def test_a_dropped_selection_is_the_graph_over_distinct_rows(rng: np.random.Generator) -> None:
    x = rng.integers(0, 4, size=(40, 2)).astype(float)
    m = resolve_duplicates(x, "group")
    graph = find_neighbors(x, k=3).over_distinct()
    assert graph.rows is not None
    assert np.array_equal(graph.rows, m.rows)
    assert np.array_equal(find_neighbors(m.take(x), k=3).indices, graph.take(3).indices)


def test_a_map_is_read_only_and_leaves_what_it_was_made_from_alone() -> None:
    rows = np.arange(2)
    m = RowMap(policy="keep", rows=rows, inverse=rows, weights=np.ones(2, dtype=int))
    with pytest.raises(ValueError, match="read-only"):
        m.rows[0] = 7
    assert rows.flags.writeable


@pytest.mark.parametrize(
    ("rows", "inverse", "weights", "message"),
    [
        ([0], [0, 0], [1, 1], "2 weights for 1 rows"),
        ([1, 0], [0, 1], [1, 1], r"rows must ascend within 0\.\.1"),
        ([0, 2], [0, 1], [1, 1], r"rows must ascend within 0\.\.1"),
        ([0, 1], [1, 0], [1, 1], "a row that stays must stand for itself"),
        ([0], [0, 0], [1], "weights must count the rows"),
        ([0.0], [0], [1], "rows must be whole numbers"),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(
    rows: list[int], inverse: list[int], weights: list[int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        RowMap(policy="drop", rows=rows, inverse=inverse, weights=weights)


def test_misuse_of_a_map_is_refused() -> None:
    m = resolve_duplicates(POINTS, "drop")
    with pytest.raises(InputError, match="policy must be one of keep, drop, group, got 'unique'"):
        resolve_duplicates(POINTS, "unique")
    with pytest.raises(InputError, match="one entry for each of the 6 rows before the selection"):
        m.take([1, 2, 3])
    with pytest.raises(InputError, match=r"each of the 3 rows that stay, got shape \(6,\)"):
        m.scatter(np.zeros(6))
    with pytest.raises(InputError, match="3 rows are gone and nan is no entry of <U1"):
        m.scatter(["a", "b", "c"])
    with pytest.raises(InputError, match=r"got shape \(\)"):
        m.scatter(np.float64(3))
