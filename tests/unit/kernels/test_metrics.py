from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.kernels.metrics import checked_period, space, wrapped

FLOATS = st.floats(-1e12, 1e12, allow_nan=False)
PERIODS = st.floats(1e-3, 1e6, allow_nan=False)


@given(FLOATS, PERIODS)
def test_coordinates_are_wrapped_without_rounding(x: float, period: float) -> None:
    found = float(wrapped(np.array([[x]]), np.array([period]))[0, 0])
    turns = (Fraction(x) - Fraction(found)) / Fraction(period)
    assert turns.denominator == 1
    assert -Fraction(period) / 2 < Fraction(found) <= Fraction(period) / 2
    assert found == (
        math.remainder(x, period) if math.remainder(x, period) != -period / 2 else found
    )


@given(st.floats(-1e300, 1e300), st.sampled_from([np.float32, np.float64]))
def test_a_column_without_a_period_stays(x: float, dtype: type) -> None:
    with np.errstate(over="ignore"):
        value = np.array([[x]]).astype(dtype)
    if np.isfinite(value).all():
        assert wrapped(value, np.array([np.inf])) == value


def test_the_seam_is_one_place() -> None:
    ends = wrapped(np.array([[-0.5], [0.5], [1.5], [-2.5]]), np.array([1.0]))
    assert ends.ravel().tolist() == [0.5] * 4
    assert not np.signbit(wrapped(np.array([[-0.0], [-3.0]]), np.array([1.0]))).any()


@pytest.mark.parametrize(
    ("metric", "period", "message"),
    [
        ("manhattan", 1.0, "period is for metric='periodic', the metric is 'manhattan'"),
        ("periodic", None, "metric='periodic' needs period=: one number, or one per column"),
        ("periodic", [1.0], r"one for each of 2 columns, got shape \(1,\)"),
        ("periodic", [[1.0, 2.0]], r"got shape \(1, 2\)"),
        ("periodic", [1.0, 0.0], "periods must be positive .* got 0.0 for column 1"),
        ("periodic", -3, "periods must be positive .* got -3.0 for column 0"),
        ("periodic", [math.nan, 1.0], "periods must be positive .* got nan for column 0"),
        ("periodic", 5e-324, "periods must be positive"),
        ("periodic", "day", "periods must be real numbers"),
        ("periodic", True, "periods must be real numbers, got bool"),
    ],
)
def test_periods_that_do_not_fit_are_refused(metric: str, period: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked_period(metric, period, 2)


def test_periods_are_spread_over_columns_and_are_our_own() -> None:
    given_one = np.array([1.0, np.inf])
    found = checked_period("periodic", given_one, 2)
    assert found is not None
    given_one[0] = 7
    assert found.tolist() == [1.0, np.inf]
    assert not found.flags.writeable
    assert checked_period("hamming", None, 2) is None


def test_points_are_checked_and_not_copied_without_need() -> None:
    x = np.zeros((3, 2), dtype=np.float32)
    assert space(x, "manhattan").values is x
    with pytest.raises(NonFiniteError, match="rows 1"):
        space([[0.0], [np.nan]], "hamming")
    with pytest.raises(InputError, match=r"shape \(n, d\)"):
        space([0.0], "hamming")
