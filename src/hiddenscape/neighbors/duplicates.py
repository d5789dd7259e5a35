"""Identical rows: found by value, kept by count, never removed behind the caller's back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import rows
from hiddenscape.kernels.equal_rows import first_equal
from hiddenscape.types import IntVector

__all__ = ["Duplicates", "RowMap", "find_duplicates", "resolve_duplicates"]

Policy = Literal["keep", "drop", "group"]


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

    representative: IntVector
    multiplicity: IntVector
    distinct_rows: IntVector

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.representative)

    @property
    def n_distinct(self) -> int:
        """Number of distinct rows."""
        return len(self.distinct_rows)

    @property
    def share(self) -> float:
        """Share of rows that repeat an earlier one."""
        return 1.0 - len(self.distinct_rows) / len(self.representative)

    def select(self, policy: Policy) -> RowMap:
        """Which rows stay under a policy, and what stands for the others.

        Parameters
        ----------
        policy : str
            ``keep``: every row stays. ``drop``: the lowest row of every group of identical rows
            stays and the others are gone. ``group``: the same rows stay, each standing for its
            group: its weight is their number, and the others map to it.

        Raises
        ------
        InputError
            For an unknown policy.

        Examples
        --------
        >>> found = find_duplicates([[5.0], [7.0], [5.0]])
        >>> for policy in ("keep", "drop", "group"):
        ...     m = found.select(policy)
        ...     print(policy, m.rows.tolist(), m.inverse.tolist(), m.weights.tolist())
        keep [0, 1, 2] [0, 1, 2] [1, 1, 1]
        drop [0, 1] [0, 1, -1] [1, 1]
        group [0, 1] [0, 1, 0] [2, 1]
        """
        if policy not in get_args(Policy):
            known = ", ".join(get_args(Policy))
            raise InputError(f"policy must be one of {known}, got {policy!r}")
        every = np.arange(self.n)
        ones = np.ones(self.n, dtype=np.int64)
        if policy == "keep":
            return RowMap(policy=policy, rows=every, inverse=every, weights=ones)
        kept = self.distinct_rows
        inverse = np.searchsorted(kept, self.representative)
        if policy == "drop":
            inverse[self.representative != every] = -1
            return RowMap(policy=policy, rows=kept, inverse=inverse, weights=ones[kept])
        return RowMap(policy=policy, rows=kept, inverse=inverse, weights=self.multiplicity[kept])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RowMap:
    """The way from all rows to the rows that stay, and back.

    Attributes
    ----------
    policy : str
        The policy it came from: ``keep``, ``drop`` or ``group``.
    rows : int64 array (m,)
        The rows that stay, ascending.
    inverse : int64 array (n,)
        For every row, the position in ``rows`` of what stands for it; -1 for a row that is gone.
    weights : int64 array (m,)
        How many rows each one stands for.

    Raises
    ------
    InputError
        If the arrays contradict each other.

    Notes
    -----
    The arrays are read-only. Rows of a network belong together across sites: select the rows at
    one site, and :meth:`take` them from every other site and from the labels.

    Examples
    --------
    >>> points = np.array([[5.0], [7.0], [5.0]])
    >>> m = resolve_duplicates(points, "group")
    >>> m.take(["cat", "dog", "cow"]).tolist()
    ['cat', 'dog']
    >>> m.scatter([0.1, 0.2]).tolist()
    [0.1, 0.2, 0.1]
    """

    policy: str
    rows: IntVector
    inverse: IntVector
    weights: IntVector

    def __post_init__(self) -> None:
        for name in ("rows", "inverse", "weights"):
            given = np.asarray(getattr(self, name))
            if given.ndim != 1 or given.dtype.kind not in "iu":
                raise InputError(f"{name} must be whole numbers in one row, got {given.dtype}")
            own = given.astype(np.int64)
            own.flags.writeable = False
            object.__setattr__(self, name, own)
        m, n = len(self.rows), len(self.inverse)
        if len(self.weights) != m:
            raise InputError(f"{len(self.weights)} weights for {m} rows")
        if m and not (self.rows[0] >= 0 and self.rows[-1] < n and (np.diff(self.rows) > 0).all()):
            raise InputError(f"rows must ascend within 0..{n - 1}")
        if not np.array_equal(self.inverse[self.rows], np.arange(m)):
            raise InputError("a row that stays must stand for itself")
        reached = self.inverse[self.inverse >= 0]
        if not np.array_equal(np.bincount(reached, minlength=m), self.weights):
            raise InputError("weights must count the rows that each row stands for")

    @property
    def n_rows(self) -> int:
        """Number of rows before the selection."""
        return len(self.inverse)

    @property
    def n_dropped(self) -> int:
        """Rows for which nothing stands."""
        return int(np.count_nonzero(self.inverse < 0))

    def take(self, values: ArrayLike) -> np.ndarray:
        """The entries of the rows that stay: of labels, ids, or the points of another site.

        Parameters
        ----------
        values : array (n, ...)
            One entry per row before the selection.

        Raises
        ------
        InputError
            If there are not n entries.
        """
        given: Any = values if hasattr(values, "shape") else np.asarray(values)
        self._check(given, self.n_rows, "rows before the selection")
        taken: np.ndarray = np.asarray(given[self.rows])
        return taken

    def scatter(self, values: ArrayLike, *, fill: object = math.nan) -> np.ndarray:
        """Bring one entry per row that stays back to all rows.

        Parameters
        ----------
        values : array (m, ...)
            One entry per row that stays.
        fill : scalar
            The entry of rows that are gone (``drop``). Whole numbers become floats to hold a NaN:
            give a whole number, such as -1, to keep them whole.

        Raises
        ------
        InputError
            If there are not m entries, or rows are gone and the fill is of another kind.

        Examples
        --------
        >>> m = resolve_duplicates([[5.0], [5.0], [7.0]], "drop")
        >>> m.scatter([1, 2]).tolist(), m.scatter([1, 2], fill=-1).tolist()
        ([1.0, nan, 2.0], [1, -1, 2])
        """
        given = np.asarray(values)
        self._check(given, len(self.rows), "rows that stay")
        gone = self.inverse < 0
        # A row of its own for what is gone; position -1 finds it.
        if not gone.any():
            return np.asarray(given[self.inverse])
        filler = np.asarray(fill)
        if (given.dtype.kind in "SU") != (filler.dtype.kind in "SU"):
            raise InputError(
                f"{int(gone.sum())} rows are gone and {fill!r} is no entry of {given.dtype}: "
                "choose fill="
            )
        last = np.broadcast_to(filler, (1, *given.shape[1:]))
        return np.asarray(np.concatenate([given, last])[self.inverse])

    def _check(self, values: Any, wanted: int, which: str) -> None:
        if not values.shape or values.shape[0] != wanted:
            raise InputError(
                f"expected one entry for each of the {wanted} {which}, got shape {values.shape}"
            )


def find_duplicates(points: ArrayLike) -> Duplicates:
    """Find rows that are identical, value by value (-0.0 equals 0.0).

    Parameters
    ----------
    points : array (n, d)
        Real, finite; never changed. A memory-mapped float32 or float64 array is read in blocks.

    Returns
    -------
    Duplicates

    Raises
    ------
    InputError
        If the points are not a real (n, d) array.

    Notes
    -----
    Rows with equal hashes are compared, so that no accident of a hash makes a duplicate. O(n d)
    time.

    Examples
    --------
    >>> d = find_duplicates([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0]])
    >>> d.representative.tolist(), d.multiplicity.tolist(), d.distinct_rows.tolist()
    ([0, 1, 0], [2, 1, 2], [0, 1])
    """
    representative = first_equal(rows(points))
    n = len(representative)
    return Duplicates(
        representative=representative,
        multiplicity=np.bincount(representative, minlength=n)[representative],
        distinct_rows=np.flatnonzero(representative == np.arange(n)),
    )


def resolve_duplicates(
    points_or_duplicates: ArrayLike | Duplicates, policy: Policy = "keep"
) -> RowMap:
    """Decide what becomes of identical rows; returns an index map, moves nothing.

    Parameters
    ----------
    points_or_duplicates : array (n, d) or Duplicates
        Points, or what :func:`find_duplicates` found in them.
    policy : str
        ``keep``: every row stays. ``drop``: of identical rows the lowest stays. ``group``: the same
        rows stay, and stand for their group with its number as weight. See
        :meth:`Duplicates.select`. (None of them is ``drop_zero`` of the dimensions, which leaves no
        row of such a group.)

    Returns
    -------
    RowMap
        With :meth:`~RowMap.take` for labels and other sites, :meth:`~RowMap.scatter` for the way
        back.

    Raises
    ------
    InputError
        For an unknown policy, or points that are not a real (n, d) array.

    Examples
    --------
    >>> m = resolve_duplicates([[5.0], [7.0], [5.0]], "drop")
    >>> m.rows.tolist(), m.n_dropped
    ([0, 1], 1)
    """
    found = points_or_duplicates
    if not isinstance(found, Duplicates):
        found = find_duplicates(found)
    return found.select(policy)
