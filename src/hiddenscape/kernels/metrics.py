r"""Metrics that no matrix product gives: what they are, and rows brought to their form.

``manhattan``
    :math:`\sum_c |x_c - y_c|`.
``hamming``
    The number of columns in which two rows differ. A count, not a share: methods for discrete data
    count (a histogram of distances of D bits has bins 0..D). scipy and scikit-learn divide by D.
``periodic``
    :math:`\sqrt{\sum_c w_c^2}`, w the difference wrapped to half a period, :math:`[0, P_c/2]`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import blocks, cloud

__all__ = ["DIRECT", "Space", "checked_period", "space", "wrapped"]

DIRECT = ("manhattan", "hamming", "periodic")

_ENTRIES = 1 << 21


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Rows and the way to measure between them.

    Attributes
    ----------
    metric : str
        One of :data:`DIRECT`.
    values : float32 or float64 array (n, d)
        C-contiguous and finite; the caller's own array where its type allows. ``periodic``: float64
        in (-P/2, P/2], see :func:`wrapped`. Rows are at distance zero exactly where these values
        are equal (-0.0 equals 0.0).
    period : float64 array (d,) or None
    """

    metric: str
    values: np.ndarray
    period: np.ndarray | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.values)

    @property
    def d(self) -> int:
        """Number of columns."""
        return int(self.values.shape[1])


def space(points: ArrayLike, metric: str, period: ArrayLike | None = None) -> Space:
    """Check points and bring them to the form in which a metric measures them.

    Raises
    ------
    InputError
        If the points are not a real (n, d) array, or the period does not fit: see
        :func:`checked_period`.
    NonFiniteError
        If a row holds NaN or infinity.

    Examples
    --------
    >>> space([[0.25], [0.75], [-7.5]], "periodic", 1.0).values.ravel().tolist()
    [0.25, -0.25, 0.5]
    """
    original = cloud(points).original
    periods = checked_period(metric, period, original.shape[1])
    values = original if periods is None else wrapped(original, periods)
    return Space(metric, values, periods)


def checked_period(metric: str, period: ArrayLike | None, d: int) -> np.ndarray | None:
    """The period of each of ``d`` columns, or None for a metric without.

    Raises
    ------
    InputError
        If a period is missing, given for another metric, not positive, or of another length.

    Examples
    --------
    >>> checked_period("periodic", 360, 2)
    array([360., 360.])
    """
    if metric != "periodic":
        if period is not None:
            raise InputError(f"period is for metric='periodic', the metric is {metric!r}")
        return None
    if period is None:
        raise InputError(
            "metric='periodic' needs period=: one number, or one per column (inf where a column "
            "does not repeat)"
        )
    given = np.asarray(period)
    if given.dtype.kind not in "fiu":
        raise InputError(f"periods must be real numbers, got {given.dtype}")
    if given.shape not in ((), (d,)):
        raise InputError(
            f"period must be one number or one for each of {d} columns, got shape {given.shape}"
        )
    periods = np.broadcast_to(given, (d,)).astype(np.float64)
    # The half of a smaller number may not be a float64: then the seam would not be exact.
    bad = np.flatnonzero(~(periods >= 2 * np.finfo(np.float64).tiny))
    if bad.size:
        raise InputError(
            f"periods must be positive (inf where a column does not repeat), got "
            f"{periods[bad[0]]} for column {bad[0]}"
        )
    periods.flags.writeable = False
    return periods


def wrapped(x: np.ndarray, period: np.ndarray) -> np.ndarray:
    r"""Coordinates modulo the period, in :math:`(-P/2, P/2]`, as float64: without any rounding.

    The remainder of the division that rounds to the nearest whole number is always a float64, and
    so is computed exactly. Two values have the same remainder only if they differ by a whole
    multiple of the period as the numbers they are: 0.5 and 1.5 for P = 1, but not 0.1 and 1.1,
    whose float64 forms differ by 1.000000000000000083 (their distance is 8.3e-17, not 0). Round
    coordinates to a grid beforehand if such rows should count as one.

    Examples
    --------
    >>> wrapped(np.array([[0.5, 7.0], [-1.5, -2.0]]), np.array([1.0, np.inf])).tolist()
    [[0.5, 7.0], [0.5, -2.0]]
    """
    half = period / 2
    out = np.empty(x.shape)
    for a, b in blocks(len(x), max(1, _ENTRIES // x.shape[1])):
        r = np.fmod(x[a:b].astype(np.float64), period, out=out[a:b])
        # |r| < P, exact; the subtractions are exact as well (Sterbenz: P/2 < |r| < P).
        np.subtract(r, period, out=r, where=r > half)
        np.add(r, period, out=r, where=r <= -half)
        r += 0.0
    return out
