"""What every clustering starts from: distinct rows, their heights, and an order without ties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.clustering.result import Clusters
from hiddenscape.density.result import LogDensity
from hiddenscape.density.rows import DistinctRows, distinct_rows
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.metrics import METRICS, pair_distances, prepared, selected
from hiddenscape.neighbors.search import check_graph_of
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector, IntVector

__all__ = ["Landscape", "landscape", "nearest_earlier", "no_clusters"]

_BLOCK_ENTRIES = 1 << 22


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Landscape:
    """Distinct rows of a graph with their log densities.

    Attributes
    ----------
    rows : DistinctRows
    graph : NeighborGraph or None
        Of the distinct rows; None where the density is undefined.
    values, errors : float64 arrays (m,)
        Of the distinct rows.
    k : int64 array (m,)
        Neighbours that entered their densities.
    note : str
    parameters : dict
    """

    rows: DistinctRows
    graph: NeighborGraph | None
    values: FloatVector
    errors: FloatVector
    k: IntVector
    note: str
    parameters: dict[str, object]


def landscape(graph: NeighborGraph, density: LogDensity) -> Landscape:
    """Check that a density belongs to a graph, and take its distinct rows.

    Raises
    ------
    InputError
        If it is of other rows, of another metric, or used more neighbours than are stored.
    """
    if density.n != graph.n:
        raise InputError(f"the density has {density.n} rows, the graph {graph.n}")
    metric = density.parameters.get("metric", graph.metric)
    if metric != graph.metric:
        raise InputError(f"the density is of metric {metric!r}, the graph of {graph.metric!r}")
    rows = distinct_rows(graph)
    values, errors, k = (a[rows.first] for a in (density.values, density.stderr, density.k))
    used = rows.graph if np.isfinite(values).all() and np.isfinite(errors).all() else None
    if used is not None and not 1 <= k.min() <= k.max() <= used.k:
        raise InputError(
            f"the density used {int(k.min())} to {int(k.max())} neighbours, the graph stores "
            f"{used.k} among distinct rows: use the graph that the density was made of"
        )
    parameters = {"density": density.method, **density.parameters}
    parameters.pop("method", None)
    parameters["stored"] = graph.k if used is None else used.k
    return Landscape(
        rows=rows,
        graph=used,
        values=values,
        errors=errors,
        k=k,
        note=join_notes(density.note, rows.note),
        parameters=parameters,
    )


def no_clusters(found: Landscape, method: str, parameters: dict[str, object]) -> Clusters:
    """The answer where there is no density."""
    n = found.rows.n
    nothing = np.empty(0)
    none = np.empty(0, dtype=np.int64)
    return Clusters(
        labels=np.full(n, -1),
        halo=np.zeros(n, dtype=bool),
        centers=none,
        heights=nothing,
        height_errors=nothing,
        saddle_pairs=none.reshape(0, 2),
        saddle_rows=none,
        saddles=nothing,
        saddle_errors=nothing,
        method=method,
        n_used=found.rows.n_distinct,
        n_dropped=n - found.rows.n_distinct,
        note=found.note or "undefined (the density is)",
        parameters=parameters,
    )


def nearest_earlier(
    points: ArrayLike,
    graph: NeighborGraph,
    rows: DistinctRows,
    order: np.ndarray,
    wanted: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """For some distinct rows, the nearest of all that come before them in an order, and how far.

    Ties go to the lower row. Exact: every pair is measured from differences.

    Raises
    ------
    InputError
        If the points are not those of the graph, or its metric is not one of the house.
    """
    if graph.metric not in METRICS:
        raise InputError(
            f"distances of metric {graph.metric!r} cannot be measured: known are "
            f"{', '.join(METRICS)}"
        )
    check_graph_of(points, graph)
    data = selected(prepared(points, graph.metric, graph.period), rows.first)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    found = np.empty(len(wanted), dtype=np.int64)
    distance = np.empty(len(wanted))
    for at, i in enumerate(wanted):
        earlier = np.sort(order[: place[i]])
        best, best_row = np.inf, -1
        for start in range(0, len(earlier), _BLOCK_ENTRIES):
            part = earlier[start : start + _BLOCK_ENTRIES]
            d = pair_distances(data, np.full(len(part), i), part, graph.metric)
            lowest = int(np.argmin(d))
            if d[lowest] < best:
                best, best_row = float(d[lowest]), int(part[lowest])
        found[at], distance[at] = best_row, best
    return found, distance
