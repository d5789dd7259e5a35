r"""A cheap score for every pair of rows, with a proven bound on how far it lies from the truth.

With centred, scaled rows :math:`c` rounded to the working precision (unit roundoff u), the score

.. math:: s_{ij} = |c_j|^2 - 2 c_i \cdot c_j

comes from one matrix product. Standard bounds (Higham 2002, section 3.1) give

.. math:: |s_{ij} + |c_i|^2 - r_{ij}^2| \le \kappa (|c_i|^2 + |c_j|^2) + \tau

where r is the distance, :math:`\kappa` collects the product (d u), the stored norms, the last
addition and the rounding of c, and :math:`\tau` covers underflow. Replacing
:math:`|c_j|^2 \le 2|c_i|^2 + 2 r_{ij}^2` makes the bound depend on row i and the distance alone, so
that one distant row does not spoil the bound of all the others:

.. math:: \frac{s + (1 - 4\kappa)|c_i|^2 - \tau}{1 + 2\kappa} \le r_{ij}^2
          \le \frac{s + (1 + 4\kappa)|c_i|^2 + \tau}{1 - 2\kappa}

(4 instead of 3 pays for the computed norm). Whatever a threshold on s cannot decide is recomputed
from differences, so the bound moves cost and never results.

Whole numbers (pixels, counts, one-hot rows) small enough that no sum can round need no bound: their
scores are exact, and so are distances taken from them, which are those of the differences bit for
bit. That matters because such data tie by the thousand and ties cannot be told apart by a bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hiddenscape.kernels.arrays import DISTANCE_ERROR, Cloud, blocks

__all__ = ["Screen", "largest_whole", "make_screen"]

_KEEP = 1 << 29  # bytes: beyond this the centred rows are made anew for each block
_SAMPLE = 500  # rows that the centre is read from
_BLOCK = 1 << 22  # entries of one block of centred rows


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """Scores of all pairs in one precision; see the head of the module.

    ``thin`` says that the bound is too wide to be of use (more columns than the precision bears);
    ``exact`` that scores carry no error at all.
    """

    cloud: Cloud
    dtype: np.dtype[np.floating]
    centre: np.ndarray
    exponent: int
    norms: np.ndarray
    kappa: float
    tau: float
    kept: np.ndarray | None
    exact: bool = False

    @property
    def thin(self) -> bool:
        """Whether the bound says nothing useful."""
        return self.kappa > 0.02

    def centred(self, index: slice | np.ndarray) -> np.ndarray:
        """Centred, scaled rows in the working precision."""
        if self.kept is not None:
            return self.kept[index]
        return _shifted(self.cloud.values[index], self.centre, self.exponent, self.dtype)

    def scores(self, chosen: np.ndarray) -> np.ndarray:
        """Scores of the chosen rows against all rows, (len(chosen), n); infinite against itself."""
        n = self.cloud.n
        left = self.centred(chosen) * self.dtype.type(-2)
        out = np.empty((len(chosen), n), dtype=self.dtype)
        width = n if self.kept is not None else max(1, _BLOCK // self.cloud.d)
        for a, b in blocks(n, width):
            np.matmul(left, self.centred(slice(a, b)).T, out=out[:, a:b])
        out += self.norms.astype(self.dtype)
        out[np.arange(len(chosen)), chosen] = np.inf
        return out

    def distances(self, chosen: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Distances from exact scores, one per pair; equal to those of ``pair_distances``."""
        return np.asarray(np.sqrt(score.astype(np.float64) + self.norms[chosen]))

    def radius(self, distances: np.ndarray) -> np.ndarray:
        """Recomputed distances in the units of the scores."""
        return np.asarray(np.ldexp(distances, self.exponent - self.cloud.exponent))

    def farthest(self, chosen: np.ndarray, score: np.ndarray) -> np.ndarray:
        """The largest distance, in units of the scores, that a pair with this score can have."""
        own = self.norms[chosen]
        top = score.astype(np.float64) + own * (1 + 4 * self.kappa) + self.tau
        return np.asarray(np.sqrt(np.maximum(top, 0.0) / (1 - 2 * self.kappa)))

    def surely_farther(self, chosen: np.ndarray, radius: np.ndarray) -> np.ndarray:
        """A score above this means a recomputed distance above ``radius``. (rows,) or (rows, m)"""
        own = self.norms[chosen].reshape((-1,) + (1,) * (radius.ndim - 1))
        limit = (radius * (1 + 3 * DISTANCE_ERROR) + self.quantum) ** 2 * (1 + 2 * self.kappa)
        limit = limit - own * (1 - 4 * self.kappa) + self.tau
        return np.asarray(np.nextafter(limit.astype(self.dtype), self.dtype.type(np.inf)))

    def surely_nearer(self, chosen: np.ndarray, radius: np.ndarray) -> np.ndarray:
        """A score below this means a recomputed distance below ``radius``. (rows,) or (rows, m)"""
        own = self.norms[chosen].reshape((-1,) + (1,) * (radius.ndim - 1))
        limit = np.maximum(radius * (1 - 3 * DISTANCE_ERROR) - self.quantum, 0.0) ** 2
        limit = limit * (1 - 2 * self.kappa) - own * (1 + 4 * self.kappa) - self.tau
        return np.asarray(np.nextafter(limit.astype(self.dtype), self.dtype.type(-np.inf)))

    @property
    def quantum(self) -> float:
        """Spacing of the smallest float64 distances, in units of the scores."""
        return float(np.ldexp(1.0, self.exponent - self.cloud.exponent - 1074))


def largest_whole(points: Cloud) -> float:
    """The largest magnitude of points that are all whole numbers, else infinity.

    Examples
    --------
    >>> from hiddenscape.kernels.arrays import cloud
    >>> largest_whole(cloud([[1.0, -3.0]])), largest_whole(cloud([[0.5]]))
    (3.0, inf)
    """
    largest = 0.0
    for a, b in blocks(points.n, max(1, _BLOCK // (8 * points.d))):
        x = points.original[a:b]
        if not np.array_equal(x, np.rint(x)):
            return math.inf
        largest = max(largest, float(np.abs(x).max()))
    return largest


def make_screen(points: Cloud, precision: type[np.floating], whole: float = math.inf) -> Screen:
    """Prepare the scores of a cloud in float32 or float64.

    ``whole`` is what :func:`largest_whole` found: scores are exact where no sum of d products can
    leave the integers of the precision.
    """
    dtype = np.dtype(precision)
    if 4 * points.d * (whole * whole) <= 2.0 ** (np.finfo(dtype).nmant + 1):
        same = points.values.astype(dtype, copy=False)
        return Screen(
            cloud=points,
            dtype=dtype,
            centre=np.zeros(points.d),
            exponent=0,
            norms=np.einsum("ij,ij->i", same, same).astype(np.float64),
            kappa=0.0,
            tau=0.0,
            kept=same,
            exact=True,
        )
    n, d = points.n, points.d
    size = max(1, _BLOCK // d)
    # Any centre is exact; medians are not dragged away by a few huge rows, which would widen every
    # other row's bound.
    sample = points.values[:: max(1, n // _SAMPLE)].astype(np.float64)
    centre = np.asarray(np.median(sample, axis=0))
    largest = 0.0
    for a, b in blocks(n, size):
        largest = max(largest, float(np.abs(points.values[a:b] - centre).max()))
    exponent = -int(np.frexp(largest)[1]) if largest > 0 else 0
    kept = np.empty((n, d), dtype=dtype) if n * d * dtype.itemsize <= _KEEP else None
    norms = np.empty(n)
    for a, b in blocks(n, size):
        c = _shifted(points.values[a:b], centre, exponent, dtype)
        if kept is not None:
            kept[a:b] = c
        norms[a:b] = np.einsum("ij,ij->i", c, c, dtype=np.float64)
    u, u64 = float(np.finfo(dtype).eps) / 2, 2.0**-53
    return Screen(
        cloud=points,
        dtype=dtype,
        centre=centre,
        exponent=exponent,
        norms=norms,
        kappa=1.05 * ((d + 10) * u + (d + 40) * u64),
        tau=8.0 * d * float(np.finfo(dtype).smallest_subnormal),
        kept=kept,
    )


def _shifted(
    x: np.ndarray, centre: np.ndarray, exponent: int, dtype: np.dtype[np.floating]
) -> np.ndarray:
    c = x - centre
    return np.asarray(np.ldexp(c, exponent, out=c).astype(dtype, copy=False))
