"""Errors of global measures from random halves of the rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.types import whole

__all__ = ["checked_repeats", "spread_of_halves"]

_FEWEST = 8


def checked_repeats(repeats: int) -> int:
    """A number of repeats: whole and not negative.

    Raises
    ------
    InputError
        If it is not.
    """
    if whole("repeats", repeats) < 0:
        raise InputError(f"repeats must not be negative, got {repeats}")
    return int(repeats)


def spread_of_halves(
    n: int, estimate: Callable[[np.ndarray], float], repeats: int, seed: int
) -> float:
    r"""Standard deviation of an estimate over ``repeats`` random cuts of n rows into two halves.

    Drawn without replacement, a half deviates from the whole as much as the whole does from the
    truth: :math:`\sigma^2/(n/2) (1 - 1/2) = \sigma^2/n` where the error falls like
    :math:`1/\sqrt n`. NaN for fewer than 8 rows, no repeats, or fewer than two halves with a value.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=400)
    >>> round(spread_of_halves(400, lambda rows: float(x[rows].mean()), 200, seed=0), 2)
    0.05
    >>> round(float(x.std()) / 20, 2)
    0.05
    """
    if n < _FEWEST or not repeats:
        return math.nan
    rng = np.random.default_rng([seed, n])
    found = []
    for _ in range(repeats):
        order = rng.permutation(n)
        found += [estimate(np.sort(part)) for part in (order[: n // 2], order[n // 2 :])]
    values = np.array(found)
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan
