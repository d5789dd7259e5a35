"""Identical rows: found by value, kept by count, never removed behind the caller's back."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.kernels.arrays import blocks, rows

__all__ = ["Duplicates", "find_duplicates"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Duplicates:
    """Which rows are identical.

    Attributes
    ----------
    representative : int64 array (n,)
        The lowest row that is identical to row i (itself where it is the first).
    multiplicity : int64 array (n,)
        How many rows are identical to row i, itself counted.
    distinct_rows : int64 array (m,)
        The representatives in ascending order.
    """

    representative: np.ndarray
    multiplicity: np.ndarray
    distinct_rows: np.ndarray

    @property
    def n_distinct(self) -> int:
        """Number of distinct rows."""
        return len(self.distinct_rows)

    @property
    def share(self) -> float:
        """Share of rows that repeat an earlier one."""
        return 1.0 - len(self.distinct_rows) / len(self.representative)


def find_duplicates(points: ArrayLike) -> Duplicates:
    """Find rows that are identical, value by value (-0.0 equals 0.0).

    Parameters
    ----------
    points : array (n, d)
        Real, finite; never changed.

    Returns
    -------
    Duplicates

    Raises
    ------
    InputError
        If the points are not a real (n, d) array.

    Examples
    --------
    >>> d = find_duplicates([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0]])
    >>> d.representative.tolist(), d.multiplicity.tolist(), d.distinct_rows.tolist()
    ([0, 1, 0], [2, 1, 2], [0, 1])
    """
    x = rows(points)
    first: dict[bytes, int] = {}
    representative = np.empty(len(x), dtype=np.int64)
    for a, b in blocks(len(x), max(1, (1 << 21) // x.shape[1])):
        # Adding zero turns -0.0 into 0.0, so that equal values have equal bytes.
        for i, row in enumerate(x[a:b] + x.dtype.type(0), start=a):
            representative[i] = first.setdefault(blake2b(row, digest_size=16).digest(), i)
    distinct = np.flatnonzero(representative == np.arange(len(x)))
    count = np.bincount(representative, minlength=len(x))
    return Duplicates(
        representative=representative,
        multiplicity=count[representative],
        distinct_rows=distinct,
    )
