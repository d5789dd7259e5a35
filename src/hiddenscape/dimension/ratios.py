"""From a graph to ratios of neighbour distances, with identical rows treated by a stated policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hiddenscape.dimension.result import Dimension
from hiddenscape.errors import DuplicateRowsError, InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector, IntVector

__all__ = [
    "POLICIES",
    "Ratios",
    "collapsed",
    "distance_ratios",
    "graph_note",
    "normal_interval",
    "remarks",
    "undefined",
]

POLICIES = ("unique", "drop_zero", "eps", "error")
"""``unique``: the lowest row of each group of identical rows, neighbours among distinct rows.
``drop_zero``: leave out rows at distance zero from another, neighbours as they are.
``eps``: zero distances become 10 float64 eps, so that the ratio is huge (or 1) and must fall into a
discarded tail. ``error``: refuse."""

_EPS = 10 * float(np.finfo(np.float64).eps)
_FEW_POINTS = 100
_GRID = ": the distances lie on a grid, the model is of a continuum"
_NORMAL = 1.959963984540054


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ratios:
    """Ratios of the distances to two neighbours.

    Attributes
    ----------
    log_mu : float64 array (m,)
        log(r_n2 / r_n1) of every row that entered; zero where the two tie.
    rows : int64 array (m,)
        Original row numbers of the entries.
    scale : float
        Mean of (r_n1 + r_n2) / 2.
    n_rows, n_dropped : int
        Rows of the data, and those left out.
    note : str
        What the policy found.
    """

    log_mu: FloatVector
    rows: IntVector
    scale: float
    n_rows: int
    n_dropped: int
    note: str

    def per_row(self) -> FloatVector:
        """log mu at the original rows, NaN for rows left out."""
        out = np.full(self.n_rows, np.nan)
        out[self.rows] = self.log_mu
        return out


def distance_ratios(graph: NeighborGraph, n1: int, n2: int, duplicates: str) -> Ratios | None:
    """Ratios r_n2 / r_n1 under a duplicate policy; None where fewer than 3 rows are distinct.

    Raises
    ------
    InputError
        If the policy is unknown, the graph is too shallow for n2, or identical rows cannot be told
        (a graph made elsewhere).
    DuplicateRowsError
        If rows are identical and the policy is ``error``.
    """
    if duplicates not in POLICIES:
        raise InputError(f"duplicates must be one of {', '.join(POLICIES)}, got {duplicates!r}")
    if not 1 <= n1 < n2:
        raise InputError(f"ranks must satisfy 1 <= n1 < n2, got n1 = {n1}, n2 = {n2}")
    if n2 > graph.k:
        raise InputError(
            f"n2 = {n2} needs {n2} neighbours per row, the graph stores {graph.k}: "
            f"use find_neighbors(points, k={n2})"
        )
    zero = graph.distances[:, 0] == 0
    found = max(int(zero.sum()), graph.n_duplicates)
    note = graph_note(graph)
    if found and duplicates == "error":
        raise DuplicateRowsError(
            f"{int(zero.sum())} of {graph.n} rows are identical to another row: choose "
            "duplicates='unique' or remove them"
        )
    if graph.n - graph.n_duplicates < 3:
        return None
    if duplicates == "unique":
        return _unique(graph, n1, n2, zero, note)
    rows = np.arange(graph.n) if graph.rows is None else graph.rows
    first, second = graph.distances[:, n1 - 1], graph.distances[:, n2 - 1]
    dropped = 0
    if duplicates == "drop_zero":
        # Rows with a copy, whatever the ranks compared: a large n1 looks past the copies.
        keep = ~zero
        dropped = graph.n - int(keep.sum())
        first, second, rows = first[keep], second[keep], rows[keep]
    scale = _mean_scale(first, second)
    if duplicates == "eps":
        first, second = np.where(first == 0, _EPS, first), np.where(second == 0, _EPS, second)
    if found:
        said = f"duplicates ({int(zero.sum())} of {graph.n} rows at distance 0, {duplicates})"
        note = join_notes(said, note)
    return Ratios(
        log_mu=_log_ratio(first, second),
        rows=rows,
        scale=scale,
        n_rows=graph.n_rows,
        n_dropped=dropped,
        note=note,
    )


def remarks(ratios: Ratios, value: float) -> str:
    """The notes that follow from the ratios and the estimate made of them."""
    m = len(ratios.log_mu)
    ties = int(np.count_nonzero(ratios.log_mu == 0))
    return join_notes(
        ratios.note,
        f"ties ({ties} of {m} ratios are 1{_GRID if ties > 0.1 * m else ''})" if ties else "",
        f"few_points ({m} rows)" if m < _FEW_POINTS else "",
        "collapsed (estimate below 1)" if value < 1 else "",
        f"low_for_high_dimension (estimate above log2 of {m} rows)" if value > math.log2(m) else "",
    )


def collapsed(
    graph: NeighborGraph, method: str, n1: int, n2: int, parameters: Mapping[str, object]
) -> Dimension:
    """The answer for a site that is a point, or two."""
    distinct = graph.n_distinct
    return Dimension(
        value=math.nan,
        n_used=distinct,
        n_dropped=graph.n - distinct,
        method=method,
        n1=n1,
        n2=n2,
        note=join_notes(f"collapsed ({distinct} distinct of {graph.n} rows)", graph_note(graph)),
        parameters=parameters,
    )


def undefined(
    ratios: Ratios, used: int, method: str, n1: int, n2: int, parameters: Mapping[str, object]
) -> Dimension:
    """The answer where too few ratios remain, or none of those used differs from 1."""
    why = f"few_points ({used} ratios)" if used < 3 else f"ties (all {used} ratios are 1)"
    return Dimension(
        value=math.nan,
        n_used=len(ratios.log_mu),
        n_dropped=ratios.n_dropped,
        scale=ratios.scale,
        method=method,
        n1=n1,
        n2=n2,
        note=join_notes(ratios.note, why, "undefined"),
        parameters=parameters,
    )


def normal_interval(value: float, stderr: float) -> tuple[float, float]:
    """value +- 1.96 stderr."""
    return value - _NORMAL * stderr, value + _NORMAL * stderr


def graph_note(graph: NeighborGraph) -> str:
    """What every dimension from a graph must say."""
    return join_notes(
        graph.note,
        "no_length (1 - cos halves a dimension, angular does not)"
        if graph.metric == "cosine"
        else "",
        "" if graph.exact else "approximate",
    )


def _unique(graph: NeighborGraph, n1: int, n2: int, zero: np.ndarray, note: str) -> Ratios:
    if graph.multiplicity is None and zero.any():
        raise InputError(
            f"{int(zero.sum())} of {graph.n} rows are at distance 0 from a neighbour and the graph "
            "does not say which rows repeat: make it with find_neighbors, or choose "
            "duplicates='drop_zero'"
        )
    distinct = graph.over_distinct()
    dropped = graph.n - distinct.n
    if dropped:
        share = f"{dropped / graph.n:.2g}"
        note = join_notes(f"duplicates ({dropped} of {graph.n} rows, share {share})", note)
    rows = np.arange(distinct.n) if distinct.rows is None else distinct.rows
    if n2 > distinct.k:
        # Rows enough, but copies of each other: a strange site, not misuse.
        why = f"few_points ({distinct.n} distinct rows, n2 = {n2} needs {n2 + 1})"
        rows, note = rows[:0], join_notes(note, why)
        first = second = np.empty(0)
    else:
        first, second = distinct.distances[:, n1 - 1], distinct.distances[:, n2 - 1]
    return Ratios(
        log_mu=_log_ratio(first, second),
        rows=rows,
        scale=_mean_scale(first, second),
        n_rows=graph.n_rows,
        n_dropped=dropped,
        note=note,
    )


def _mean_scale(first: np.ndarray, second: np.ndarray) -> float:
    # Halved before the sum: distances may be as large as float64 allows.
    return float(np.mean(first / 2) + np.mean(second / 2)) if len(first) else math.nan


def _log_ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # The difference is exact for close neighbours, where the quotient would lose digits.
    with np.errstate(over="ignore"):
        out: np.ndarray = np.log1p((second - first) / first)
    far = np.flatnonzero(~np.isfinite(out))
    out[far] = np.log(second[far]) - np.log(first[far])
    return out
