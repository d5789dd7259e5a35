"""The neighbour graph: the type that every measurement of a cloud of points starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.kernels.certificate import Certificate
from hiddenscape.types import Distances, FloatVector, Indices, IntVector, whole

__all__ = ["NeighborGraph"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NeighborGraph:
    """The k nearest neighbours of every row, nearest first, self excluded by row number.

    Attributes
    ----------
    indices : int32 array (n, k)
        Row numbers of the neighbours, ordered by (distance, row number).
    distances : float64 array (n, k)
        True (not squared) distances; exactly zero between identical rows.
    metric : str
        ``euclidean``, ...
    exact : bool
        Whether every list is proven complete. Graphs made elsewhere are ``exact=False``.
    certificate : Certificate or None
        How each row was proven complete; ``print`` it for the counts. None where nobody proved it.
    multiplicity : int64 array (n,) or None
        How many rows are identical to row i, itself counted. None if never examined.
    distinct : NeighborGraph or None
        The graph among the distinct rows only: the lowest row of every group of identical rows.
        None where rows are all distinct (then the graph itself is meant), where there are fewer
        than 2 distinct rows, or where duplicates were not examined.
    rows : int64 array (n,) or None
        For a graph over selected rows: the original row number of each of its rows.
    n_rows : int
        Rows of the data the graph speaks of, before any selection.
    note : str
        What every estimate from this graph must say, in the words of the notes (``coarse_dtype``).
    period : float64 array (d,) or None
        The period of every column of the points, for the metric ``periodic`` only.

    Raises
    ------
    InputError
        If the shapes disagree, k is not in 1..n-1, an index is out of range, a row lists itself or
        the same row twice, a distance is negative, not finite or decreasing, or a period is missing
        or not positive.

    Notes
    -----
    The arrays are read-only. A graph is immutable: :meth:`take` and :meth:`over_distinct` return
    views or other graphs.
    """

    indices: Indices
    distances: Distances
    metric: str = "euclidean"
    exact: bool = True
    certificate: Certificate | None = None
    multiplicity: IntVector | None = None
    distinct: NeighborGraph | None = None
    rows: IntVector | None = None
    n_rows: int = -1
    note: str = ""
    period: FloatVector | None = None

    def __post_init__(self) -> None:
        distances = np.ascontiguousarray(self.distances, dtype=np.float64)
        # Checked as given: row numbers beyond 32 bits would wrap around into valid ones.
        _check(np.asarray(self.indices), distances)
        indices = np.ascontiguousarray(self.indices, dtype=np.int32)
        n = len(indices)
        if self.rows is not None and len(self.rows) != n:
            raise InputError(f"rows must have {n} entries, got {len(self.rows)}")
        if self.certificate is not None and len(self.certificate) != n:
            raise InputError(f"certificate must have {n} entries, got {len(self.certificate)}")
        if self.multiplicity is not None and len(self.multiplicity) != n:
            raise InputError(f"multiplicity must have {n} entries, got {len(self.multiplicity)}")
        if (self.metric == "periodic") != (self.period is not None):
            said = "needs" if self.period is None else "is the only one with"
            raise InputError(f"the metric 'periodic' {said} a period, got metric {self.metric!r}")
        if self.period is not None:
            period = np.array(self.period, dtype=np.float64)
            if period.ndim != 1 or not (period > 0).all():
                raise InputError(f"a graph keeps one positive period per column, got {period}")
            period.flags.writeable = False
            object.__setattr__(self, "period", period)
        # A view that is made read-only leaves the caller's own array writable.
        indices, distances = indices.view(), distances.view()
        indices.flags.writeable = False
        distances.flags.writeable = False
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "distances", distances)
        if self.n_rows < 0:
            object.__setattr__(self, "n_rows", n)

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.indices)

    @property
    def k(self) -> int:
        """Number of neighbours stored per row."""
        return int(self.indices.shape[1])

    @property
    def n_duplicates(self) -> int:
        """Rows that repeat an earlier row."""
        if self.multiplicity is None:
            return 0
        return self.n - self.n_distinct

    @property
    def n_distinct(self) -> int:
        """Number of distinct rows (n where duplicates were not examined)."""
        if self.multiplicity is None:
            return self.n
        return round(float(np.sum(1.0 / self.multiplicity)))

    def take(self, k: int) -> NeighborGraph:
        """The graph of the first ``k`` neighbours.

        Raises
        ------
        InputError
            If fewer than ``k`` neighbours are stored.
        """
        k = whole("k", k)
        if not 1 <= k <= self.k:
            raise InputError(
                f"the graph stores {self.k} neighbours per row, asked for k = {k}: "
                f"search again with find_neighbors(points, k={k})"
            )
        return NeighborGraph(
            indices=self.indices[:, :k],
            distances=self.distances[:, :k],
            metric=self.metric,
            exact=self.exact,
            certificate=self.certificate,
            multiplicity=self.multiplicity,
            distinct=self.distinct,
            rows=self.rows,
            n_rows=self.n_rows,
            note=self.note,
            period=self.period,
        )

    def over_distinct(self) -> NeighborGraph:
        """The graph among distinct rows: itself where no row repeats.

        Raises
        ------
        InputError
            If the rows repeat but fewer than 2 are distinct, or the distinct graph is unknown.
        """
        if self.n_duplicates == 0:
            return self
        if self.distinct is None:
            raise InputError(
                f"{self.n_duplicates} of {self.n} rows repeat another and no graph over distinct "
                "rows is at hand: make the graph with find_neighbors"
            )
        return self.distinct

    @classmethod
    def from_arrays(
        cls,
        indices: Indices,
        distances: Distances,
        *,
        metric: str = "euclidean",
        exact: bool = False,
        period: FloatVector | None = None,
    ) -> NeighborGraph:
        """Take a graph that was made elsewhere; it is checked, and marked as not proven.

        Parameters
        ----------
        indices, distances : arrays (n, k)
            Neighbours nearest first without the row itself, and true distances. Neighbours at one
            distance keep the order given.
        metric : str
            Name of the metric; ``find_neighbors`` lists those of the house, any other will do.
        exact : bool
            Claim that the lists are complete; the default makes every result say ``approximate``.
        period : array (d,), optional
            The periods of the columns of the points, for the metric ``periodic``.

        Raises
        ------
        InputError
            If the arrays do not describe a neighbour graph (see the class).

        Examples
        --------
        >>> import numpy as np
        >>> g = NeighborGraph.from_arrays(np.array([[1], [0]]), np.array([[1.0], [1.0]]))
        >>> g.exact
        False
        """
        indices = np.asarray(indices)
        if indices.dtype.kind not in "iu":
            raise InputError(f"indices must be integers, got {indices.dtype}")
        distances = np.asarray(distances)
        if distances.dtype.kind not in "fiu":
            raise InputError(f"distances must be real numbers, got {distances.dtype}")
        return cls(
            indices=indices,
            distances=distances,
            metric=metric,
            exact=exact,
            certificate=Certificate.by("the caller's word", len(indices)) if exact else None,
            period=period,
        )


def _check(indices: np.ndarray, distances: np.ndarray) -> None:
    if indices.ndim != 2 or indices.shape != distances.shape:
        raise InputError(
            f"indices and distances must share one shape (n, k), got {indices.shape} "
            f"and {distances.shape}"
        )
    n, k = indices.shape
    if not 1 <= k < n:
        raise InputError(f"a graph of {n} rows can store 1 to {n - 1} neighbours, got k = {k}")
    if indices.min() < 0 or indices.max() >= n:
        raise InputError(f"indices must lie in 0..{n - 1}")
    own = np.flatnonzero((indices == np.arange(n, dtype=indices.dtype)[:, None]).any(axis=1))
    if own.size:
        raise InputError(f"row {own[0]} lists itself as a neighbour: self must be left out")
    if k > 1:
        ordered = np.sort(indices, axis=1)
        twice = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
        if twice.size:
            raise InputError(f"row {twice[0]} lists a neighbour twice")
    if not np.isfinite(distances).all() or (distances < 0).any():
        bad = int(np.flatnonzero(~(np.isfinite(distances) & (distances >= 0)).all(axis=1))[0])
        raise InputError(f"row {bad} has a distance that is negative or not finite")
    if k > 1:
        back = np.flatnonzero((np.diff(distances, axis=1) < 0).any(axis=1))
        if back.size:
            raise InputError(f"row {back[0]} does not list its neighbours nearest first")
