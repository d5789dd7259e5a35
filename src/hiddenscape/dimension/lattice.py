r"""Balls of a lattice: how many sites they hold in dimension d, and how many rows of given points.

In the :math:`L^1` ball of radius t of :math:`Z^d` (Ehrhart polynomial of the cross-polytope)

.. math:: V(t, d) = \sum_{j=0}^{t} 2^j \binom{d}{j} \binom{t}{j}

and :math:`(2t+1)^d` in the :math:`L^\infty` ball. The sum alternates and loses every digit where d
is not whole and t large (d = 1.5, t = 50: terms of :math:`10^{19}` for a sum of :math:`10^3`), and
overflows for large d. Here the contiguous relation of the hypergeometric function takes its place,

.. math:: (t+1) V(t+1, d) = (2d+1) V(t, d) + t V(t-1, d),

whose terms are positive, carried as ratios of neighbours.

Source of the polynomial: Macocco, Glielmo, Grilli, Laio 2023, doi 10.1103/PhysRevLett.130.067401.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import blocks, cloud
from hiddenscape.kernels.lattice import lattice_growth
from hiddenscape.types import FloatVector

__all__ = [
    "LARGEST_RADIUS",
    "LATTICE_METRICS",
    "Balls",
    "adaptive_balls",
    "fixed_balls",
    "lattice_points",
    "log_ball_points",
    "too_far",
]

LATTICE_METRICS = ("manhattan", "chebyshev")

_ENTRIES = 1 << 21
# Time and memory of a ball grow with its radius; so far out the lattice is a continuum anyway.
LARGEST_RADIUS = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Balls:
    """Per row: radii of the two balls, other rows in the outer and in the inner one."""

    outer: np.ndarray
    inner: np.ndarray
    trials: np.ndarray
    found: np.ndarray

    def of(self, rows: np.ndarray) -> Balls:
        return Balls(self.outer[rows], self.inner[rows], self.trials[rows], self.found[rows])

    def stacked(self) -> np.ndarray:
        return np.stack([self.outer, self.inner, self.trials, self.found], axis=1)


def log_ball_points(
    top: int, d: float, metric: str = "manhattan"
) -> tuple[FloatVector, FloatVector]:
    r"""log V(t, d) for t = 0, ..., ``top``, and its derivative by d.

    Parameters
    ----------
    top : int
        Largest radius, 0 to 100,000.
    d : float
        Dimension, positive.
    metric : str
        ``manhattan`` or ``chebyshev``.

    Raises
    ------
    InputError
        For a radius out of range, a dimension that is not positive, or an unknown metric.

    Examples
    --------
    >>> values, slopes = log_ball_points(2, 2.0)
    >>> np.exp(values).round(9).tolist()
    [1.0, 5.0, 13.0]
    >>> slopes.round(9).tolist()  # of 1, 2 d + 1 and 2 d^2 + 2 d + 1, over the values
    [0.0, 0.4, 0.769230769]
    """
    if metric not in LATTICE_METRICS:
        raise InputError(f"metric must be one of {', '.join(LATTICE_METRICS)}, got {metric!r}")
    if top < 0 or not (d > 0 and math.isfinite(d)):
        raise InputError(f"a ball needs a radius >= 0 and a dimension > 0, got {top} and {d}")
    if top > LARGEST_RADIUS:
        raise InputError(too_far(top))
    if metric == "chebyshev":
        side = np.log(2.0 * np.arange(top + 1) + 1)
        return d * side, side
    value, slope = np.zeros((2, top + 1))
    lattice_growth(float(d), value, slope)
    return np.cumsum(value), np.cumsum(slope)


def too_far(radius: int) -> str:
    """Why a radius is refused, and what to do."""
    return (
        f"lattice balls end at radius {LARGEST_RADIUS}, got {radius}: at that scale sites are a "
        "continuum; use two_nn or binomial_dimension, or coarser units (points // step)"
    )


def lattice_points(
    points: ArrayLike, period: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Points with whole coordinates as float64, wrapped into the box, and its sides.

    Raises
    ------
    InputError
        For coordinates or periods that are not whole, or fewer than 3 rows.
    NonFiniteError
        If a row holds NaN or infinity.
    """
    data = cloud(points)
    x = data.original.astype(np.float64)
    broken = np.flatnonzero((x != np.rint(x)).any(axis=1))
    if broken.size:
        raise InputError(
            f"I3D needs whole coordinates, {broken.size} of {len(x)} rows have others (row "
            f"{broken[0]}): use two_nn, or round them on a grid of your choice"
        )
    if len(x) < 3:
        raise InputError(f"I3D needs at least 3 rows, got {len(x)}")
    if period is None:
        return x, None
    sides = np.broadcast_to(np.asarray(period, dtype=np.float64), (x.shape[1],)).copy()
    if not ((sides >= 1) & (sides == np.rint(sides))).all():
        raise InputError(f"period must be whole and at least 1, got {period}")
    return x % sides, sides


def fixed_balls(
    x: np.ndarray, wanted: list[tuple[int, int]], metric: str, sides: np.ndarray | None
) -> list[Balls]:
    """Counts within pairs of radii (outer, inner), the same for all rows, from one pass."""
    n = len(x)
    radii = sorted({r for pair in wanted for r in pair})
    within = {r: np.empty(n, dtype=np.int64) for r in radii}
    for a, b, distance in _pairs(x, metric, sides):
        for r in radii:
            within[r][a:b] = np.count_nonzero(distance <= r, axis=1) - 1
    return [Balls(np.full(n, r), np.full(n, t), within[r], within[t]) for r, t in wanted]


def adaptive_balls(
    x: np.ndarray, count: int, shells: bool, ratio: float, metric: str, sides: np.ndarray | None
) -> Balls:
    """Balls with a radius for each row; radius -1 where a row has too few distinct distances."""
    n = len(x)
    outer, inner = np.full(n, -1), np.full(n, -1)
    trials, found = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for a, b, distance in _pairs(x, metric, sides):
        near = distance if shells else np.partition(distance, count, axis=1)[:, : count + 1]
        for i in range(b - a):
            levels = np.unique(np.maximum(near[i], 0))
            at = count if shells else len(levels) - 2
            if len(levels) < 3 or at >= len(levels):
                continue
            lk = int(levels[at])
            if lk > LARGEST_RADIUS:
                raise InputError(too_far(lk))
            ln = int(np.rint(ratio * lk))
            outer[a + i], inner[a + i] = lk, ln - (ln == lk)
        for r, out in ((outer, trials), (inner, found)):
            out[a:b] = np.maximum(np.count_nonzero(distance <= r[a:b, None], axis=1) - 1, 0)
    return Balls(outer, inner, trials, found)


def _pairs(
    x: np.ndarray, metric: str, sides: np.ndarray | None
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Distances of blocks of rows to all rows, exact; a row's own is -1."""
    n, d = x.shape
    for a, b in blocks(n, max(1, _ENTRIES // n)):
        if sides is None:
            out = cdist(x[a:b], x, "cityblock" if metric == "manhattan" else "chebyshev")
        else:
            out = np.zeros((b - a, n))
            for c in range(d):
                gap = np.abs(x[a:b, c, None] - x[:, c])
                gap = np.minimum(gap, sides[c] - gap)
                out = out + gap if metric == "manhattan" else np.maximum(out, gap)
        out[np.arange(b - a), np.arange(a, b)] = -1
        yield a, b, out
