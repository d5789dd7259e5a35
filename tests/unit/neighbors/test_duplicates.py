from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError
from hiddenscape.neighbors.duplicates import find_duplicates


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
