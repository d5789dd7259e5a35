"""Neighbourhood overlap: how many nearest neighbours two spaces share.

Sources: Doimo, Glielmo, Ansuini, Laio 2020, arXiv:2007.03506 (the measure); Valeriani, Doimo,
Cuturello, Laio, Ansuini, Cazzaniga 2023, arXiv:2302.00294 (consecutive layers, labels).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import Estimate, join_notes
from hiddenscape.types import FloatVector, whole

__all__ = ["Overlap", "neighborhood_overlap"]

_BLOCK_ENTRIES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Overlap(Estimate):
    """A share of common neighbours, with the two levels that bound what it can mean.

    Attributes
    ----------
    k : int or None
        Neighbours compared per row; None where every class has its own (``class_fraction``).
    chance : float
        Expected value when the rows of one side are permuted.
    ceiling : float
        Largest value that can be reached.
    per_point : float64 array (n,)
        The share of each row; NaN for rows that were left out.
    """

    k: int | None
    chance: float
    per_point: FloatVector
    ceiling: float = 1.0

    @property
    def adjusted(self) -> float:
        """(value - chance) / (ceiling - chance): 0 at chance, 1 at the ceiling.

        NaN where chance and ceiling coincide.

        Examples
        --------
        >>> import numpy as np
        >>> share = np.array([0.5, 0.75])
        >>> Overlap(value=0.625, n_used=2, k=4, chance=0.25, per_point=share).adjusted
        0.5
        """
        room = self.ceiling - self.chance
        return (self.value - self.chance) / room if room > 0 else math.nan


def neighborhood_overlap(
    graph_a: NeighborGraph, graph_b: NeighborGraph, *, k: int | None = None
) -> Overlap:
    """Mean share of the k nearest neighbours that two spaces have in common.

    chi_k(A, B) = (1 / n) sum_i \\|N_k^A(i) & N_k^B(i)\\| / k, symmetric, 1 for equal spaces. If the
    rows of B are permuted its expectation is exactly k / (n - 1).

    Parameters
    ----------
    graph_a, graph_b : NeighborGraph
        Graphs of the same rows in the same order, duplicates kept. Their metrics may differ.
    k : int, optional
        Neighbours compared per row; by default as many as both graphs store.

    Returns
    -------
    Overlap
        ``value``, ``chance`` and the shares ``per_point``. ``stderr`` is sd(per point) / sqrt(n):
        the limit of a bootstrap over points with the neighbour lists fixed (kind ``bootstrap``).
        It says how the mean varies over these rows, not how it would vary over new data.

    Raises
    ------
    InputError
        If the graphs speak of different rows, or k is not in 1..n-1, or more than is stored.

    Notes
    -----
    Identical rows stay (policy ``keep``): lists are ordered by (distance, row number) on both
    sides, so m copies of a set overlap with themselves by exactly 1. The notes ``duplicates`` and
    ``ties`` give the share of rows concerned (ties can be seen only where a graph stores more than
    k neighbours). With fewer than 3 distinct rows on a side the value is NaN, ``undefined``.
    O(n k log k) time, memory in blocks.

    References
    ----------
    Doimo et al. 2020, arXiv:2007.03506; Valeriani et al. 2023, arXiv:2302.00294.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape.neighbors.graph import NeighborGraph
    >>> gap = np.ones((4, 2))
    >>> a = NeighborGraph.from_arrays(np.array([[1, 2], [0, 2], [3, 1], [2, 1]]), gap, exact=True)
    >>> b = NeighborGraph.from_arrays(np.array([[1, 2], [2, 3], [3, 0], [0, 1]]), gap, exact=True)
    >>> neighborhood_overlap(a, b, k=2).value
    0.625
    """
    check_same_rows(graph_a, graph_b)
    k = min(graph_a.k, graph_b.k) if k is None else whole("k", k)
    for graph in (graph_a, graph_b):
        check_k(graph, k)
    n = graph_a.n
    parameters = {
        "k": k,
        "metric_a": graph_a.metric,
        "metric_b": graph_b.metric,
        "duplicates": "keep",
    }
    reason = join_notes(*(undefined_note(g) for g in (graph_a, graph_b)))
    if reason:
        return Overlap(
            value=math.nan,
            n_used=n,
            note=join_notes(reason, proof_note(graph_a, graph_b)),
            k=k,
            chance=k / (n - 1),
            per_point=np.full(n, math.nan),
            parameters=parameters,
        )
    shares = common_counts(graph_a.indices[:, :k], graph_b.indices[:, :k]) / k
    return Overlap(
        value=float(shares.mean()),
        stderr=float(shares.std(ddof=1)) / math.sqrt(n),
        stderr_kind="bootstrap",
        n_used=n,
        note=graph_notes(graph_a, graph_b, k=k),
        k=k,
        chance=k / (n - 1),
        per_point=shares,
        parameters=parameters,
    )


def common_counts(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Per row, how many numbers two lists share; no list may repeat a number.

    Sorting both lists together puts equal numbers side by side: O(k log k) per row.

    Examples
    --------
    >>> common_counts(np.array([[3, 1, 2]]), np.array([[2, 5, 3]]))
    array([2])
    """
    out = np.empty(len(a), dtype=np.int64)
    for rows in _blocks(len(a), a.shape[1] + b.shape[1]):
        both = np.concatenate([a[rows], b[rows]], axis=1)
        both.sort(axis=1)
        out[rows] = np.count_nonzero(both[:, 1:] == both[:, :-1], axis=1)
    return out


def check_same_rows(graph_a: NeighborGraph, graph_b: NeighborGraph) -> None:
    """Raise unless two graphs speak of the same rows in the same order."""
    if graph_a.n != graph_b.n:
        raise InputError(
            f"the graphs have {graph_a.n} and {graph_b.n} rows: an overlap needs the same rows, "
            "in the same order, on both sides"
        )
    if not np.array_equal(_row_numbers(graph_a), _row_numbers(graph_b)):
        raise InputError(
            f"the graphs both have {graph_a.n} rows but were made from different selections: "
            "select the same rows at both sites"
        )


def check_k(graph: NeighborGraph, k: int) -> None:
    """Raise unless k neighbours exist and are stored."""
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    if k >= graph.n:
        raise InputError(f"site has {graph.n} rows, k = {k} needs at least {k + 1}")
    if k > graph.k:
        raise InputError(
            f"the graph stores {graph.k} neighbours per row, asked for k = {k}: "
            f"search again with find_neighbors(points, k={k})"
        )


def undefined_note(graph: NeighborGraph) -> str:
    """Why neighbourhoods mean nothing here (fewer than 3 distinct rows), or an empty string."""
    known = graph.multiplicity is not None
    return too_few_distinct(graph.n_distinct if known else _distinct_by_zeros(graph))


def graph_notes(*graphs: NeighborGraph, k: int | np.ndarray) -> str:
    """Duplicates, ties at the k-th neighbour and missing proofs of the given graphs, in words."""
    return notes_in_words(
        max(g.n_duplicates / g.n for g in graphs),
        max(_tied_share(g, k) for g in graphs),
        all(g.exact for g in graphs),
    )


def proof_note(*graphs: NeighborGraph) -> str:
    """``approximate`` if one of the graphs is not proven, else nothing."""
    return "" if all(g.exact for g in graphs) else "approximate"


def notes_in_words(repeated: float, tied: float, exact: bool) -> str:
    """The note of a comparison from its shares of repeated rows and of tied k-th neighbours.

    Examples
    --------
    >>> notes_in_words(0.25, 0.001, True)
    'duplicates (25 % of rows repeat another); ties (k-th neighbour tied in 0.1 % of rows)'
    """
    return join_notes(
        f"duplicates ({_percent(repeated)} of rows repeat another)" if repeated else "",
        f"ties (k-th neighbour tied in {_percent(tied)} of rows)" if tied else "",
        "" if exact else "approximate",
    )


def too_few_distinct(distinct: int) -> str:
    """The note of a space without neighbourhoods (fewer than 3 distinct rows), or nothing."""
    if distinct >= 3:
        return ""
    many = "all rows are identical" if distinct == 1 else f"only {distinct} rows are distinct"
    return f"undefined ({many})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _tied_share(graph: NeighborGraph, k: int | np.ndarray) -> float:
    """Share of rows whose k-th neighbour is as far as the next, as far as the graph can see."""
    last = np.broadcast_to(np.asarray(k), (graph.n,))
    seen = np.flatnonzero(last < graph.k)
    distances = graph.distances
    tied = distances[seen, last[seen] - 1] == distances[seen, last[seen]]
    return float(np.count_nonzero(tied)) / graph.n


def _distinct_by_zeros(graph: NeighborGraph) -> int:
    """Distinct rows (or a lower bound >= 3) where duplicates were never examined.

    Rows at distance zero form the parts of a graph; rows without such a neighbour stand alone.
    """
    alone = int(np.count_nonzero(graph.distances[:, 0]))
    if alone >= 3:
        return alone
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows, columns = np.nonzero(graph.distances == 0)
    edges = (np.ones(len(rows), dtype=np.int8), (rows, graph.indices[rows, columns]))
    parts, _ = connected_components(coo_matrix(edges, shape=(graph.n, graph.n)), directed=False)
    return int(parts)


def _row_numbers(graph: NeighborGraph) -> np.ndarray:
    return np.arange(graph.n) if graph.rows is None else np.asarray(graph.rows)


def _blocks(n: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK_ENTRIES // width)
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))
