r"""Density peaks: centres are rows of high density far from any row of higher density.

Source: Rodriguez, Laio 2014, doi 10.1126/science.1242072.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.clustering.inputs import Landscape, landscape, nearest_earlier, no_clusters
from hiddenscape.clustering.result import Clusters
from hiddenscape.density.result import LogDensity, seal
from hiddenscape.errors import InputError
from hiddenscape.kernels.ascent import first_higher, touches_other
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.types import FloatVector, IntVector

__all__ = ["DecisionGraph", "decision_graph", "density_peaks"]

_TOP = 1.05


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DecisionGraph:
    r"""Two numbers per row, to choose centres by: how dense, and how far from anything denser.

    Attributes
    ----------
    log_density : float64 array (n,)
        :math:`\log \rho`; NaN where undefined (the note says why).
    delta : float64 array (n,)
        Distance to the nearest row of higher density; 1.05 times the largest such distance for the
        densest row. Copies carry the value of the row that they repeat.
    reference : int64 array (n,)
        That row; the densest row names itself. -1 where undefined.
    note, parameters
        Of the density.
    """

    log_density: FloatVector
    delta: FloatVector
    reference: IntVector
    note: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seal(self, "log_density", "delta", "reference")


def decision_graph(
    graph: NeighborGraph, density: LogDensity, *, points: ArrayLike | None = None
) -> DecisionGraph:
    r"""Distance of every row to the nearest row of higher density.

    :math:`\delta_i = \min_{j : \rho_j > \rho_i} r_{ij}`; among rows of equal density the lower row
    counts as the higher. The densest row gets 1.05 times the largest of the others.

    Parameters
    ----------
    graph : NeighborGraph
        The graph the density was made of.
    density : LogDensity
    points : array (n, d), optional
        The points of the graph. Needed where more than the densest row have no denser row among
        their stored neighbours; those are compared with all rows, exactly.

    Returns
    -------
    DecisionGraph
        NaN where the density is undefined.

    Raises
    ------
    InputError
        If the density is of another graph, if points are needed and not given, or if they are not
        those of the graph.

    Notes
    -----
    O(n K) time, and O(n d) for each row that is compared with all.

    References
    ----------
    Rodriguez, Laio 2014, doi 10.1126/science.1242072.

    Examples
    --------
    >>> from hiddenscape import find_neighbors, knn_density
    >>> points = [[0.0], [1.0], [2.5], [9.0], [10.0]]
    >>> graph = find_neighbors(points, k=2)
    >>> found = decision_graph(graph, knn_density(graph, dimension=1, k=2), points=points)
    >>> found.delta.round(2).tolist(), found.reference.tolist()
    ([1.0, 6.82, 1.5, 6.5, 1.0], [1, 1, 1, 2, 3])
    """
    found = landscape(graph, density)
    if found.graph is None:
        nothing = np.full(graph.n, np.nan)
        return DecisionGraph(
            log_density=density.values,
            delta=nothing,
            reference=np.full(graph.n, -1),
            note=found.note,
            parameters=found.parameters,
        )
    _, delta, reference = _ascent(graph, found, points)
    back = found.rows
    return DecisionGraph(
        log_density=density.values,
        delta=delta[back.inverse],
        reference=back.first[reference][back.inverse],
        note=found.note,
        parameters=found.parameters,
    )


def density_peaks(
    graph: NeighborGraph,
    density: LogDensity,
    *,
    min_log_density: float,
    min_delta: float,
    points: ArrayLike | None = None,
) -> Clusters:
    r"""Clusters around the rows that are both dense and far from anything denser.

    Centres: :math:`\log\rho > c_1` and :math:`\delta > c_2`. In order of decreasing density the
    others take the label of their nearest denser row. The halo of a cluster are its rows below the
    highest :math:`\log\rho` among those that have a foreign row within the distance of their k-th
    neighbour (k that of the density).

    Parameters
    ----------
    graph, density, points
        As for :func:`decision_graph`, which shows where to put the thresholds.
    min_log_density : float
        :math:`c_1`, in nats; -inf takes all. Depends on the unit of length.
    min_delta : float
        :math:`c_2`, a distance.

    Returns
    -------
    Clusters
        Without saddles. Identical rows share a label; -1 everywhere where the density is undefined.

    Raises
    ------
    InputError
        As :func:`decision_graph`; for a threshold that is NaN, and where no row is a centre or the
        densest row is none (it has nobody to follow): the message states the largest values.

    Notes
    -----
    The published code gives label 0 to everything if no row passes the thresholds.

    References
    ----------
    Rodriguez, Laio 2014, doi 10.1126/science.1242072.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors, knn_density
    >>> rng = np.random.default_rng(0)
    >>> points = np.vstack([rng.normal(size=(300, 2)), 6 + rng.normal(size=(200, 2))])
    >>> graph = find_neighbors(points, k=30)
    >>> density = knn_density(graph, dimension=2, k=30)
    >>> found = density_peaks(graph, density, min_log_density=-4, min_delta=2, points=points)
    >>> found.sizes.tolist()
    [300, 200]
    """
    low, far = float(min_log_density), float(min_delta)
    if np.isnan(low) or np.isnan(far):
        raise InputError(
            f"thresholds must be numbers, got min_log_density = {low}, min_delta = {far}"
        )
    found = landscape(graph, density)
    parameters = found.parameters | {"min_log_density": low, "min_delta": far}
    if found.graph is None:
        return no_clusters(found, "density_peaks", parameters)
    order, delta, reference = _ascent(graph, found, points)
    centers = np.flatnonzero((found.values > low) & (delta > far))
    if not (centers == order[0]).any():
        raise InputError(
            f"{len(centers)} rows have log density > {low:.6g} and delta > {far:.6g}, the densest "
            f"row not among them: it has {found.values[order[0]]:.6g} and {delta[order[0]]:.6g}; "
            "lower the thresholds"
        )
    labels = np.full(len(order), -1)
    labels[centers] = np.arange(len(centers))
    for i in order.tolist():
        if labels[i] < 0:
            labels[i] = labels[reference[i]]
    touching = np.empty(len(order), dtype=bool)
    touches_other(found.graph.indices, found.graph.distances, found.k, labels, touching)
    edge = np.full(len(centers), -np.inf)
    np.maximum.at(edge, labels[touching], found.values[touching])
    back = found.rows
    nothing = np.empty(0, dtype=np.int64)
    return Clusters(
        labels=labels[back.inverse],
        halo=(found.values < edge[labels])[back.inverse],
        centers=back.first[centers],
        heights=found.values[centers],
        height_errors=found.errors[centers],
        saddle_pairs=nothing.reshape(0, 2),
        saddle_rows=nothing,
        saddles=np.empty(0),
        saddle_errors=np.empty(0),
        method="density_peaks",
        n_used=back.n_distinct,
        n_dropped=back.n - back.n_distinct,
        note=found.note,
        parameters=parameters,
    )


def _ascent(
    graph: NeighborGraph, found: Landscape, points: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct rows by decreasing density; distance to, and number of, the nearest denser one."""
    used = found.graph
    assert used is not None
    order = np.argsort(-found.values, kind="stable")
    place = np.empty(used.n, dtype=np.int64)
    place[order] = np.arange(used.n)
    column = np.empty(used.n, dtype=np.int64)
    first_higher(used.indices, place, column)
    every = np.arange(used.n)
    reference = used.indices[every, column].astype(np.int64)
    delta = used.distances[every, column].copy()
    top = int(order[0])
    alone = np.flatnonzero((column < 0) & (every != top))
    if len(alone):
        if points is None:
            raise InputError(
                f"{len(alone)} rows have no denser row among their {used.k} neighbours: pass "
                "points=, so that they can be compared with all rows"
            )
        reference[alone], delta[alone] = nearest_earlier(points, graph, found.rows, order, alone)
    reference[top] = top
    delta[top] = 0.0
    delta[top] = _TOP * delta.max()
    return order, delta, reference
