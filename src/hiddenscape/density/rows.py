"""Which rows of a graph a density is measured on, and what stands for the others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import IntVector

__all__ = ["DistinctRows", "checked_dimension", "distinct_rows"]

_FEW_POINTS = 100


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DistinctRows:
    """The graph among distinct rows, and the way back to all rows.

    Attributes
    ----------
    graph : NeighborGraph or None
        Among the lowest rows of every group of identical rows; None where fewer than 3 rows are
        distinct.
    first : int64 array (m,)
        The row of the given graph that each of them is.
    inverse : int64 array (n,)
        For every row of the given graph, the position of what stands for it.
    note : str
        What every number from here must say.
    """

    graph: NeighborGraph | None
    first: IntVector
    inverse: IntVector
    note: str

    @property
    def n(self) -> int:
        """Rows of the given graph."""
        return len(self.inverse)

    @property
    def n_distinct(self) -> int:
        """Distinct rows."""
        return len(self.first)


def distinct_rows(graph: NeighborGraph) -> DistinctRows:
    """Apply the policy ``unique``: measure on distinct rows, copies carry their row's values.

    Raises
    ------
    InputError
        If rows are at distance zero and the graph does not say which rows repeat, or says that
        they do not.

    Examples
    --------
    >>> from hiddenscape.neighbors.search import find_neighbors
    >>> found = distinct_rows(find_neighbors([[0.0], [1.0], [0.0], [3.0]], k=2))
    >>> found.first.tolist(), found.inverse.tolist(), found.note
    ([0, 1, 3], [0, 1, 0, 2], 'duplicates (1 of 4 rows, share 0.25); few_points (3 rows)')
    """
    every = np.arange(graph.n)
    zero = graph.distances[:, 0] == 0
    if graph.multiplicity is None and zero.any():
        raise InputError(
            f"{int(zero.sum())} of {graph.n} rows are at distance 0 from a neighbour and the graph "
            "does not say which rows repeat: make it with find_neighbors"
        )
    # The first neighbour at distance zero is the lowest other copy.
    own = np.where(zero, np.minimum(every, graph.indices[:, 0]), every)
    first, inverse = np.unique(own, return_inverse=True)
    m = len(first)
    dropped = graph.n - m
    note = join_notes(
        f"duplicates ({dropped} of {graph.n} rows, share {dropped / graph.n:.2g})"
        if dropped
        else "",
        graph.note,
        "no_length (1 - cos is no distance, its volumes are not those of the angle)"
        if graph.metric == "cosine"
        else "",
        "" if graph.exact else "approximate",
    )
    if m < 3:
        collapsed = f"collapsed ({m} distinct of {graph.n} rows)"
        return DistinctRows(
            graph=None, first=first, inverse=inverse, note=join_notes(collapsed, note)
        )
    used = graph if not dropped else graph.over_distinct()
    if used.n != m or (used.distances[:, 0] == 0).any():
        raise InputError(
            "rows that differ are at distance 0: their distances underflow, so that no density can "
            "be measured; scale the points up or leave such rows out"
        )
    few = f"few_points ({m} rows)" if m < _FEW_POINTS else ""
    return DistinctRows(
        graph=used.take(min(graph.k, used.k)),
        first=first,
        inverse=inverse,
        note=join_notes(note, few),
    )


def checked_dimension(dimension: float, force: bool) -> float:
    """The dimension as a number that volumes can be made of; NaN stays NaN.

    Raises
    ------
    InputError
        If it is not a number, infinite, not positive, or below 1 and not forced.

    Examples
    --------
    >>> checked_dimension(2, force=False)
    2.0
    """
    if isinstance(dimension, bool) or not isinstance(dimension, int | float | np.number):
        raise InputError(
            f"dimension must be a number, such as two_nn(graph).value, got {dimension!r}"
        )
    d = float(dimension)
    if math.isnan(d):
        return d
    if math.isinf(d) or d <= 0:
        raise InputError(f"dimension must be positive and finite, got {dimension}")
    if d < 1 and not force:
        raise InputError(
            f"dimension {d:.3g} is below 1: the points are collapsed, discrete or on a chain, and "
            "a density means little; force=True computes it"
        )
    return d
