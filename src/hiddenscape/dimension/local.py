"""What estimators of one dimension per row share: lists of distances, averages, errors, notes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.dimension.ratios import collapsed, graph_note, normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.spatial import block_labels, block_stderr
from hiddenscape.errors import DuplicateRowsError, InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import Distances, FloatVector, Indices, IntVector

__all__ = [
    "Average",
    "Lists",
    "Stderr",
    "average_of",
    "estimate_of",
    "neighbor_lists",
    "remarks_of",
    "undefined_of",
]

Average = Literal["harmonic", "arithmetic", "median"]
Stderr = Literal["bootstrap", "blocks"]

_POLICIES = ("unique", "drop_zero", "error")
_FEW_POINTS = 100
_GRID = ": the distances lie on a grid, the model is of a continuum"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Lists:
    """The first k neighbours of the rows that enter an estimate.

    Attributes
    ----------
    distances : float64 array (m, k)
        Ascending; positive under every policy but ``keep``.
    neighbors : int array (m, k)
        Original row numbers of the neighbours.
    rows : int64 array (m,)
        Original row numbers of the entries.
    n_rows, n_dropped : int
        Rows of the data, and those left out.
    note : str
        What the graph and the policy say.
    """

    distances: Distances
    neighbors: Indices
    rows: IntVector
    n_rows: int
    n_dropped: int
    note: str

    @property
    def radius(self) -> float:
        """Mean distance to the k-th neighbour."""
        return float(np.mean(self.distances[:, -1])) if len(self.rows) else math.nan


def neighbor_lists(
    graph: NeighborGraph,
    k: int,
    duplicates: str,
    *,
    method: str,
    parameters: Mapping[str, object],
    smallest_k: int = 2,
    keep: bool = False,
) -> Lists | Dimension:
    """The first k distances of every row under a duplicate policy, or the NaN that answers instead.

    ``unique``: the lowest row of each group of identical rows, neighbours among distinct rows.
    ``drop_zero``: rows at distance zero from another are left out, lists as they are. ``error``:
    refuse. ``keep`` (where allowed): every row, zero distances and all.

    Raises
    ------
    InputError
        If the policy is unknown, k too small, the graph too shallow, or identical rows cannot be
        told (a graph made elsewhere).
    DuplicateRowsError
        If rows are identical and the policy is ``error``.
    """
    policies = (*_POLICIES, "keep") if keep else _POLICIES
    if duplicates not in policies:
        raise InputError(f"duplicates must be one of {', '.join(policies)}, got {duplicates!r}")
    if k < smallest_k:
        raise InputError(f"{method} needs at least {smallest_k} neighbours per row, got k = {k}")
    if k > graph.k:
        raise InputError(
            f"{method} needs {k} neighbours per row, the graph stores {graph.k}: "
            f"use find_neighbors(points, k={k})"
        )
    zero = graph.distances[:, 0] == 0
    found = int(zero.sum())
    if max(found, graph.n_duplicates) and duplicates == "error":
        raise DuplicateRowsError(
            f"{found} of {graph.n} rows are identical to another row: choose "
            "duplicates='unique' or remove them"
        )
    if graph.n - graph.n_duplicates < 3:
        return collapsed(graph, method, 1, k, parameters)
    note = graph_note(graph)
    if duplicates != "unique":
        stays = ~zero if duplicates == "drop_zero" else np.ones(graph.n, dtype=bool)
        if found:
            said = f"duplicates ({found} of {graph.n} rows at distance 0, {duplicates})"
            note = join_notes(said, note)
        return _of(graph, k, stays, graph.n - int(stays.sum()), note)
    if graph.multiplicity is None and found:
        raise InputError(
            f"{found} of {graph.n} rows are at distance 0 from a neighbour and the graph "
            "does not say which rows repeat: make it with find_neighbors, or choose "
            "duplicates='drop_zero'"
        )
    distinct = graph.over_distinct()
    dropped = graph.n - distinct.n
    if dropped:
        share = f"{dropped / graph.n:.2g}"
        note = join_notes(f"duplicates ({dropped} of {graph.n} rows, share {share})", note)
    if k > distinct.k:
        return Dimension(
            value=math.nan,
            n_used=distinct.n,
            n_dropped=dropped,
            method=method,
            n1=1,
            n2=k,
            note=join_notes(note, f"few_points ({distinct.n} distinct rows, k = {k})", "undefined"),
            parameters=parameters,
        )
    return _of(distinct, k, np.ones(distinct.n, dtype=bool), dropped, note)


def _of(graph: NeighborGraph, k: int, stays: np.ndarray, dropped: int, note: str) -> Lists:
    rows = np.arange(graph.n) if graph.rows is None else graph.rows
    return Lists(
        distances=graph.distances[stays, :k],
        neighbors=rows[graph.indices[stays, :k]],
        rows=rows[stays],
        n_rows=graph.n_rows,
        n_dropped=dropped,
        note=note,
    )


def average_of(values: FloatVector, average: str) -> float:
    """One number from the dimensions of single rows; rows without one (NaN) are left out.

    An infinite value (all distances of a row equal) counts as 1/d = 0 in the harmonic mean and is
    left out of the others.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 6.0, np.nan])
    >>> [round(average_of(x, how), 9) for how in ("harmonic", "arithmetic", "median")]
    [1.8, 3.0, 2.0]
    """
    used = _used(values, average)
    if not len(used):
        return math.nan
    if average == "harmonic":
        inverse = float(np.mean(1 / used))
        return 1 / inverse if inverse > 0 else math.nan
    return float(np.mean(used) if average == "arithmetic" else np.median(used))


def _used(values: FloatVector, average: str) -> FloatVector:
    keep = ~np.isnan(values) if average == "harmonic" else np.isfinite(values)
    return np.asarray(values[keep])


def _spread(values: FloatVector, average: str) -> float:
    """Error of the average if rows were independent: the bootstrap's, in closed form."""
    used = np.sort(_used(values, average))
    n = len(used)
    if n < 3:
        return math.nan
    if average == "arithmetic":
        return float(used.std(ddof=1)) / math.sqrt(n)
    if average == "harmonic":
        inverse = 1 / used
        return float(inverse.std(ddof=1)) / math.sqrt(n) / float(inverse.mean()) ** 2
    # Half the distance between the order statistics one standard deviation off the middle.
    reach = math.sqrt(n) / 2
    low, high = np.interp([(n - 1) / 2 - reach, (n - 1) / 2 + reach], np.arange(n), used)
    return float(high - low) / 2


def remarks_of(lists: Lists, value: float) -> str:
    """The notes that follow from the lists and the estimate made of them."""
    m, k = lists.distances.shape
    ties = int(np.count_nonzero(np.diff(lists.distances, axis=1) == 0))
    of = m * (k - 1)
    return join_notes(
        lists.note,
        f"ties ({ties} of {of} neighbours are as far as the one before"
        f"{_GRID if ties > 0.1 * of else ''})"
        if ties
        else "",
        f"few_points ({m} rows)" if m < _FEW_POINTS else "",
        "collapsed (estimate below 1)" if value < 1 else "",
        f"low_for_high_dimension (estimate above log2 of {m} rows)"
        if m and value > math.log2(m)
        else "",
    )


def undefined_of(
    lists: Lists, method: str, why: str, parameters: Mapping[str, object], n1: int | None = 1
) -> Dimension:
    """The answer where lists exist but no number follows from them."""
    return Dimension(
        value=math.nan,
        n_used=len(lists.rows),
        n_dropped=lists.n_dropped,
        scale=lists.radius,
        method=method,
        n1=n1,
        n2=lists.distances.shape[1],
        note=join_notes(remarks_of(lists, math.nan), why, "undefined"),
        parameters=parameters,
    )


def estimate_of(
    lists: Lists,
    values: FloatVector,
    *,
    method: str,
    average: str,
    stderr: str,
    blocks: ArrayLike | None,
    parameters: Mapping[str, object],
    per_point: bool,
    n1: int = 1,
    scale: float | None = None,
) -> Dimension:
    """Average the dimensions of single rows (NaN or infinite where a row has none).

    ``bootstrap`` is the spread over rows with their lists fixed, in closed form; ``blocks`` the
    jackknife over blocks of rows.

    Raises
    ------
    InputError
        For an unknown average or stderr, or blocks that are missing or of another length.
    """
    if average not in get_args(Average):
        raise InputError(f"average must be one of {', '.join(get_args(Average))}, got {average!r}")
    if stderr not in get_args(Stderr):
        raise InputError(f"stderr must be bootstrap or blocks, got {stderr!r}")
    labels = block_labels(stderr, blocks, lists.n_rows)
    used = len(_used(values, average))
    value = average_of(values, average)
    if used < 3 or math.isnan(value):
        why = f"few_points ({used} of {len(values)} rows have a value)"
        return undefined_of(lists, method, why, parameters, n1)
    if labels is None:
        error = _spread(values, average)
    else:
        error = block_stderr(values, labels[lists.rows], lambda rest: average_of(rest, average))
    out = None
    if per_point:
        out = np.full(lists.n_rows, np.nan)
        out[lists.rows] = np.where(np.isfinite(values), values, np.nan)
    without = len(values) - used
    return Dimension(
        value=value,
        stderr=error,
        stderr_kind=stderr,
        interval=normal_interval(value, error),
        n_used=used,
        n_dropped=lists.n_dropped + without,
        scale=lists.radius if scale is None else scale,
        method=method,
        n1=n1,
        n2=lists.distances.shape[1],
        note=join_notes(
            remarks_of(lists, value),
            f"undefined ({without} of {len(values)} rows have no value)" if without else "",
        ),
        per_point=out,
        parameters=parameters,
    )
