r"""Box counting: how the number of boxes that the points touch grows as the boxes shrink.

Source: Falconer, "Fractal Geometry", ch. 3; the least count over shifted grids as in Glielmo et al.
2022, doi 10.1016/j.patter.2022.100589. For few columns only: boxes outnumber any points soon.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.dimension.result import Dimension
from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import cloud
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.results import join_notes
from hiddenscape.types import whole

__all__ = ["box_counting"]

_COLUMNS = 10
_STEPS = 10
_FULL = 0.5


def box_counting(
    points: ArrayLike,
    *,
    scales: ArrayLike | None = None,
    offsets: int = 10,
    low: ArrayLike | None = None,
) -> Dimension:
    r"""Dimension from the least number of touched boxes over shifted grids.

    For each side s and each of ``offsets`` shifts of the grid along the diagonal the boxes that
    hold a point are counted; N(s) is the least count. Of sides with equal counts the smallest
    stays. d is the least-squares slope of log N against -log s.

    Parameters
    ----------
    points : array (n, d)
        Real and finite, at most 10 columns; never changed. Identical rows enter once.
    scales : array (m,), optional
        Sides, positive and ascending, in the unit of the points. By default 10 in equal ratios from
        a tenth to half of the widest extent.
    offsets : int
        Shifts of the grid per side, at least 1.
    low : array (d,), optional
        A corner of the grid; the least value of each column by default.

    Returns
    -------
    Dimension
        ``parameters`` holds the sides used and their counts; ``scale`` is the geometric mean of
        those sides. No stderr: counts of one cloud at several sides depend on each other. NaN with
        ``collapsed`` where fewer than 3 rows are distinct, with ``ties`` where fewer than two
        counts differ. ``few_points``: at the smallest side more than half of the rows have a box of
        their own, so that the count says more of n than of the set.

    Raises
    ------
    InputError
        For more than 10 columns, scales that are not positive and ascending, fewer than 1 offset,
        or a corner of another length or beyond a point.
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    Not invariant under rotation. With 5000 rows and the default sides 6 % too low in the square,
    5 % in the cube, 9 to 15 % too high on closed curves and surfaces, whose boxes straddle them.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).uniform(size=(5000, 2))
    >>> round(box_counting(points).value, 1)
    1.9
    """
    data = cloud(points)
    if data.d > _COLUMNS:
        raise InputError(f"boxes are for at most {_COLUMNS} columns, got {data.d}")
    if whole("offsets", offsets) < 1:
        raise InputError(f"offsets must be at least 1, got {offsets}")
    same = find_duplicates(data.original)
    n, dropped = same.n_distinct, data.n - same.n_distinct
    x = data.original[same.distinct_rows].astype(np.float64)
    corner = x.min(axis=0) if low is None else np.asarray(low, dtype=np.float64)
    if corner.shape != (data.d,) or (corner > x.min(axis=0)).any():
        raise InputError(f"low must be a corner below all points, of {data.d} numbers, got {low!r}")
    sides = _sides(x - corner, scales)
    parameters: dict[str, object] = {"offsets": offsets}
    note = join_notes(
        f"duplicates ({dropped} of {data.n} rows)" if dropped else "",
        f"few_points ({n} rows)" if n < 100 else "",
    )
    value, scale = math.nan, math.nan
    if n < 3:
        note = join_notes(f"collapsed ({n} distinct of {data.n} rows)", note)
    else:
        counts = np.array([_least(x - corner, s, offsets) for s in sides])
        # The smallest of the sides that give one count (sides ascend, counts fall).
        different, first = np.unique(counts, return_index=True)
        first = np.sort(first)
        sides, counts = sides[first], counts[first]
        parameters |= {"sides": tuple(sides.tolist()), "counts": tuple(counts.tolist())}
        scale = float(np.exp(np.log(sides).mean()))
        if len(different) < 2:
            note = join_notes(note, "ties (every side gives the same count)", "undefined")
        else:
            log = -np.log(sides)
            log -= log.mean()
            value = float(log @ np.log(counts) / (log @ log))
            crowded = f"few_points ({counts[0]} boxes for {n} rows at the smallest side)"
            note = join_notes(
                note,
                crowded if counts[0] > _FULL * n else "",
                "collapsed (estimate below 1)" if value < 1 else "",
            )
    return Dimension(
        value=value,
        n_used=n,
        n_dropped=dropped,
        scale=scale,
        method="box_counting",
        note=note,
        parameters=parameters,
    )


def _sides(above: np.ndarray, scales: ArrayLike | None) -> np.ndarray:
    extent = float(np.ptp(above, axis=0).max())
    if scales is None:
        return np.geomspace(extent / 10, extent / 2, _STEPS) if extent > 0 else np.ones(1)
    sides = np.asarray(scales, dtype=np.float64)
    if sides.ndim != 1 or len(sides) < 2 or not (sides[0] > 0 and np.isfinite(sides).all()):
        raise InputError("scales must be at least two positive lengths")
    if (np.diff(sides) <= 0).any():
        raise InputError("scales must be ascending")
    if not above.max() / sides[0] < 2.0**53:
        raise InputError(f"scales of {sides[0]} are beyond the digits of points of this extent")
    return sides


def _least(above: np.ndarray, side: float, offsets: int) -> int:
    """Fewest touched boxes; ``above`` are coordinates over a corner of the grid."""
    best = len(above)
    for i in range(offsets):
        # A grid shifted up by i/offsets of a side: boxes begin one side below the corner.
        box = np.floor(above / side - i / offsets).astype(np.int64) + 1
        best = min(best, len(np.unique(box, axis=0)))
    return best
