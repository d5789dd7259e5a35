"""Which differences along a profile stand out of its noise, all pairs of sites considered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

__all__ = ["Noise", "noise_of", "sign_test"]

ALPHA = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """Standard errors of a profile and what they are worth.

    Attributes
    ----------
    stderr : float64 array (L,)
        NaN where none is known.
    df : float
        Degrees of freedom behind them; infinite if they were given.
    source : str
        ``stderr`` given, ``repeats``, or empty if nothing is known.
    """

    stderr: np.ndarray
    df: float
    source: str

    def critical(self, sites: int) -> float:
        """z beyond which the difference of any two of ``sites`` values is claimed.

        Tukey's honest significant difference with Kramer's form for unequal errors: among all
        pairs of a profile the chance of any false claim stays below 5 % (Tukey 1953; Kramer 1956;
        conservative for unequal errors: Hayter 1984, doi:10.1214/aos/1176346392). Errors that are
        shared by the sites (the same rows) make it more conservative still.
        """
        if sites < 2:
            return math.inf
        return _honest_difference(sites, self.df)

    def joint(self, i: int, j: int) -> float:
        """Standard error of the difference between two sites."""
        return math.hypot(float(self.stderr[i]), float(self.stderr[j]))


@lru_cache(maxsize=256)
def _honest_difference(sites: int, df: float) -> float:
    # Importing scipy.stats and integrating for finite df take tenths of a second each.
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - ALPHA, sites, df)) / math.sqrt(2)


def z_score(difference: float, error: float) -> float:
    """difference / error; infinite where something differs without error, 0 where nothing does."""
    if error > 0 or math.isnan(error):
        return difference / error
    return math.copysign(math.inf, difference) if difference else 0.0


def bonferroni(tests: int) -> float:
    """|z| beyond which one of so many two-sided tests is claimed at 5 % for all together."""
    return NormalDist().inv_cdf(1 - ALPHA / (2 * max(1, tests)))


def noise_of(values: np.ndarray, stderr: np.ndarray | None, repeats: np.ndarray | None) -> Noise:
    """Errors as given, or from the spread of repeats.

    From repeats, the variances of all sites are pooled, relative to the squared mean where all
    values are positive: single ones from a handful of repeats are too uncertain to rank sites with.
    """
    if stderr is not None and np.isfinite(stderr).any():
        return Noise(stderr, math.inf, "stderr")
    nothing = np.full(len(values), math.nan)
    if repeats is None:
        return Noise(nothing, math.inf, "")
    count = np.isfinite(repeats).sum(axis=0)
    usable = (count >= 2) & np.isfinite(values)
    if not usable.any():
        return Noise(nothing, math.inf, "")
    variance = np.nanvar(repeats[:, usable], axis=0, ddof=1)
    df = count[usable] - 1
    scale = np.abs(values[usable]) if (values[usable] > 0).all() else np.ones(usable.sum())
    pooled = math.sqrt(float((variance / scale**2 * df).sum() / df.sum()))
    nothing[usable] = pooled * scale / np.sqrt(count[usable])
    return Noise(nothing, float(df.sum()), "repeats")


def sign_test(count: int, trials: int) -> float:
    """Chance of at least ``count`` heads in ``trials`` fair throws.

    Examples
    --------
    >>> sign_test(5, 5)
    0.03125
    """
    heads = sum(math.comb(trials, c) for c in range(count, trials + 1))
    return heads / float(2**trials)
