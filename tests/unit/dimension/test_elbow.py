"""The elbow of a curve, by hand."""

from __future__ import annotations

import math

import pytest

from hiddenscape.dimension.elbow import elbow
from hiddenscape.errors import InputError


def test_the_first_size_within_a_tenth_of_the_fall() -> None:
    assert elbow([1, 2, 4, 8], [1.0, 0.2, 0.11, 0.1]) == 4
    assert elbow([1, 2, 4, 8], [1.0, 0.19, 0.11, 0.1]) == 2
    assert elbow([3, 5], [1.0, 1.0 - 1e-12]) != elbow([3, 5], [1.0, 1.0 - 1e-12])


def test_no_elbow_is_nan() -> None:
    assert math.isnan(elbow([1, 2, 3], [1.0, 0.5, 0.4]))  # the last step takes a sixth
    assert math.isnan(elbow([1, 2, 3], [1.0, 1.0, 1.0]))
    assert math.isnan(elbow([1, 2, 3], [0.5, 0.8, 1.0]))


def test_misuse() -> None:
    with pytest.raises(InputError, match="ascending sizes"):
        elbow([2, 1], [1.0, 0.5])
    with pytest.raises(InputError, match="must be finite"):
        elbow([1, 2], [1.0, math.nan])
