"""Sites of a ball against exact rational sums and against counting."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from hiddenscape.dimension.lattice import (
    adaptive_balls,
    fixed_balls,
    lattice_points,
    log_ball_points,
)
from hiddenscape.errors import InputError


def exact(t: int, d: Fraction) -> Fraction:
    term = total = Fraction(1)
    for j in range(1, t + 1):
        term = term * 2 * (d - j + 1) * (t - j + 1) / (j * j)
        total += term
    return total


@pytest.mark.parametrize("d", [0.05, 0.3, 1.0, 1.5, 2.7, 7.25, 40.5, 300.0])
def test_the_recursion_keeps_its_digits(d: float) -> None:
    values, slopes = log_ball_points(200, d)
    step = Fraction(1, 10**8)
    for t in (0, 1, 2, 5, 50, 200):
        v = exact(t, Fraction(d))
        log = math.log(v.numerator) - math.log(v.denominator)
        assert values[t] == pytest.approx(log, rel=1e-12)
        rise = (exact(t, Fraction(d) + step) - exact(t, Fraction(d) - step)) / (2 * step)
        assert slopes[t] == pytest.approx(float(rise / v), rel=1e-10, abs=1e-13)


def test_no_radius_or_dimension_overflows() -> None:
    values, _ = log_ball_points(3000, 2000.0)
    assert np.isfinite(values).all()
    assert values[-1] > 710  # beyond float64 as a number


def test_the_largest_radius_is_the_continuum() -> None:
    values, slopes = log_ball_points(100_000, 3.0)
    t = 100_000
    assert values[-1] == pytest.approx(
        math.log((2 * t + 1) * (2 * t * t + 2 * t + 3) / 3), rel=1e-12
    )
    assert slopes[-1] == pytest.approx(math.log(2 * t) - (11 / 6 - np.euler_gamma), rel=1e-5)


@pytest.mark.parametrize("metric", ["manhattan", "chebyshev"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_it_counts_sites(metric: str, d: int) -> None:
    sites = np.array(list(itertools.product(range(-4, 5), repeat=d)))
    size = np.abs(sites).sum(axis=1) if metric == "manhattan" else np.abs(sites).max(axis=1)
    values, _ = log_ball_points(4, float(d), metric)
    assert np.exp(values) == pytest.approx([np.sum(size <= t) for t in range(5)], rel=1e-12)


def test_misuse() -> None:
    with pytest.raises(InputError, match="metric must be one of manhattan, chebyshev, got 'l2'"):
        log_ball_points(3, 2.0, "l2")
    with pytest.raises(InputError, match=r"radius >= 0 and a dimension > 0, got 3 and 0\.0"):
        log_ball_points(3, 0.0)
    with pytest.raises(InputError, match="period must be whole"):
        lattice_points([[1, 2], [3, 4], [5, 6]], 2.5)


def test_balls_are_counted_without_the_row_itself() -> None:
    x = np.array([[0.0], [0.0], [1.0], [2.0], [5.0]])
    (balls,) = fixed_balls(x, [(2, 1)], "manhattan", None)
    assert balls.trials.tolist() == [3, 3, 3, 3, 0]
    assert balls.found.tolist() == [2, 2, 3, 1, 0]


def test_a_period_joins_the_ends() -> None:
    x, sides = lattice_points([[0, 0], [9, 0], [5, 5]], 10)
    (balls,) = fixed_balls(x, [(2, 1)], "manhattan", sides)
    assert balls.found.tolist() == [1, 1, 0]


def test_adaptive_radii_are_complete_shells() -> None:
    # Distances of row 0: 1 1 2 3 7; of its k = 4 nearest with itself: 0 1 2 3, second largest 2.
    x = np.array([[0.0], [1.0], [-1.0], [2.0], [3.0], [7.0]])
    balls = adaptive_balls(x, 4, False, 0.5, "manhattan", None)
    assert (balls.outer[0], balls.inner[0]) == (2, 1)
    assert (balls.trials[0], balls.found[0]) == (3, 2)
    shells = adaptive_balls(x, 3, True, 0.5, "manhattan", None)
    assert (shells.outer[0], shells.inner[0]) == (3, 2)  # rint(1.5) is 2
    few = adaptive_balls(np.zeros((4, 1)), 2, False, 0.5, "manhattan", None)
    assert few.outer.tolist() == [-1] * 4
