"""What a kernel may rely on: checked rows in one working array, and distances between pairs.

Every distance that leaves the house comes from :func:`pair_distances`: the square root of a sum of
squared differences of the original values in float64. It is a function of the two rows alone
(symmetric, blind to blocks and threads), so equality of distances means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.kernels.compiled import fill_distances

__all__ = [
    "DISTANCE_ERROR",
    "Cloud",
    "blocks",
    "check_finite",
    "check_range",
    "cloud",
    "pair_distances",
    "rows",
]

DISTANCE_ERROR = 64 * 2.0**-53
"""Bound on the relative error of :func:`pair_distances`: two roundings of each term, at most 16 + 3
additions inside a run of numpy's pairwise sum and one per doubling beyond, root; generously."""

_EXTREME = 2.0**480
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """Rows ready for a kernel.

    Attributes
    ----------
    values : float32 or float64 array (n, d)
        C-contiguous, finite; the caller's own array where its type allows.
    exponent : int
        ``original = values * 2**exponent``; 0 unless squares would leave the range of float64.
    original : array (n, d)
        The values before that scaling.
    """

    values: np.ndarray
    exponent: int
    original: np.ndarray

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.values)

    @property
    def d(self) -> int:
        """Number of columns."""
        return int(self.values.shape[1])

    def compiled(self) -> tuple[np.ndarray, np.ndarray, int]:
        """What compiled loops ask for: plain read-only arrays (one compilation), the exponent."""
        plain = [x.view(np.ndarray) for x in (self.values, self.original)]
        for x in plain:
            x.flags.writeable = False
        return plain[0], plain[1], self.exponent


def blocks(n: int, size: int) -> Iterator[tuple[int, int]]:
    """Half-open ranges of at most ``size`` that cover ``n`` rows.

    Examples
    --------
    >>> list(blocks(5, 2))
    [(0, 2), (2, 4), (4, 5)]
    """
    for start in range(0, n, size):
        yield start, min(start + size, n)


def rows(points: ArrayLike) -> np.ndarray:
    """Points as a C-contiguous float32 or float64 array, without a copy where that is possible.

    float16, bool and integers up to 16 bits become float32, wider integers float64: all exact.

    Raises
    ------
    InputError
        If the points are not a real (n, d) array with d >= 1, or hold integers beyond 2**53.

    Examples
    --------
    >>> rows([[1, 2], [3, 4]]).dtype
    dtype('float64')
    """
    try:
        x = np.asarray(points)
    except ValueError as error:
        raise InputError(f"points must have shape (n, d), rows of one length: {error}") from error
    if x.ndim != 2:
        raise InputError(f"points must have shape (n, d), got {x.shape}: reshape to one row each")
    if x.shape[1] == 0:
        raise InputError(f"points of shape {x.shape} have no columns")
    kind, size = x.dtype.kind, x.dtype.itemsize
    if kind not in "fbiu" or (kind == "f" and size > 8):
        raise InputError(f"points must be real numbers of at most 64 bits, got {x.dtype}")
    if kind in "iu" and size == 8 and x.size and max(-int(x.min()), int(x.max())) > 2**53:
        raise InputError("integer points beyond 2**53 have no exact float64 form: rescale them")
    wide = size == 8 or (kind in "iu" and size > 2)
    return np.ascontiguousarray(x, dtype=np.float64 if wide else np.float32)


def check_finite(x: np.ndarray) -> None:
    """Refuse rows with NaN or infinity.

    Raises
    ------
    NonFiniteError
        Naming the rows, which are also its ``rows``.
    """
    bad: list[int] = []
    for a, b in blocks(len(x), max(1, 4 * _CHUNK // x.shape[1])):
        finite = np.isfinite(x[a:b])
        if not finite.all():
            bad += (a + np.flatnonzero(~finite.all(axis=1))).tolist()
    if bad:
        named = ", ".join(map(str, bad[:8])) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
        raise NonFiniteError(
            f"{len(bad)} of {len(x)} rows hold NaN or infinity (rows {named}): leave them out at "
            "every site at once, or extract again in a wider dtype",
            bad,
        )


def cloud(points: ArrayLike) -> Cloud:
    """Check points and bring them to the form kernels work on.

    Raises
    ------
    InputError
        See :func:`rows`.
    NonFiniteError
        If a row holds NaN or infinity.
    """
    x = rows(points)
    check_finite(x)
    if x.dtype == np.float32 or not x.size:
        return Cloud(x, 0, x)
    largest = max(-float(x.min()), float(x.max()), 0.0)
    if largest == 0.0 or 1 / _EXTREME < largest < _EXTREME:
        return Cloud(x, 0, x)
    exponent = int(np.frexp(largest)[1])
    return Cloud(np.ldexp(x, -exponent), exponent, x)


def pair_distances(points: Cloud, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    r"""Euclidean distances between rows ``i`` and rows ``j``, one per pair.

    :math:`\sqrt{\sum_c (x_{ic} - x_{jc})^2}` from float64 differences; the relative error is below
    :data:`DISTANCE_ERROR`, and the distance is zero only between rows that are equal.

    Examples
    --------
    >>> import numpy as np
    >>> pair_distances(cloud([[0.0, 0.0], [3.0, 4.0]]), np.array([0]), np.array([1]))
    array([5.])
    """
    out = np.empty(len(i), dtype=np.float64)
    fill_distances(
        *points.compiled(),
        np.ascontiguousarray(i, dtype=np.int64),
        np.ascontiguousarray(j, dtype=np.int64),
        out,
    )
    check_range(out)
    return out


def check_range(distances: np.ndarray) -> None:
    """Refuse distances that left the range of float64.

    Raises
    ------
    InputError
        If one is infinite.
    """
    if not np.isfinite(distances).all():
        raise InputError("distances between these points exceed float64: rescale them")
