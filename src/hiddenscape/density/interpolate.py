r"""Densities at new points, from the neighbours they would have in a sample.

Source: the interpolation of Glielmo et al. 2022, doi 10.1016/j.patter.2022.100589, with counts that
leave the query out.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.density.knn import log_ball
from hiddenscape.density.kstar import DEFAULT_ALPHA, k_star
from hiddenscape.density.neighborhoods import Neighborhoods, neighborhoods
from hiddenscape.density.pak import tilted_counts
from hiddenscape.density.result import KStar, LogDensity
from hiddenscape.errors import InputError
from hiddenscape.kernels.local_density import critical_ratios, first_change
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.metrics import METRICS
from hiddenscape.neighbors.queries import nearest_in_sample
from hiddenscape.neighbors.search import check_graph_of
from hiddenscape.results import join_notes

__all__ = ["interpolate_density"]

Method = Literal["knn", "kstar", "pak"]


def interpolate_density(
    graph: NeighborGraph,
    points: ArrayLike,
    queries: ArrayLike,
    *,
    dimension: float,
    method: Method = "pak",
    k: int | None = None,
    alpha: float = DEFAULT_ALPHA,
    unbiased: bool = False,
    force: bool = False,
) -> LogDensity:
    r"""Log density of a sample at points that do not belong to it.

    The formulas of ``knn_density``, ``kstar_density`` and ``pak_density`` with the distances
    :math:`r_1 \le r_2 \le \dots` from a query to the distinct rows of the sample. k* of a query is
    the first k at which the likelihood-ratio test tells the ball of the query from that of its
    next neighbour in the sample.

    Parameters
    ----------
    graph : NeighborGraph
        The graph of the sample, with at least k neighbours per row (5 for k*).
    points : array (n, D)
        The sample.
    queries : array (q, D)
        Where the density is asked.
    dimension : float
        d of the sample, such as ``two_nn(graph).value``.
    method : str
        ``knn`` (needs k), ``kstar`` or ``pak``.
    k : int, optional
        Neighbours of every query, instead of k*; at least 2 for ``pak``.
    alpha : float
        Level of the test of k*.
    unbiased : bool
        ``knn`` only: count k - 1 instead of k.
    force : bool
        Accept a dimension below 1.

    Returns
    -------
    LogDensity
        One entry per query; ``n_used`` counts the distinct rows of the sample. The note says what
        ``k_star`` and ``pak_density`` say, counted over queries, and ``duplicates`` of the sample.
        NaN where the sample has no density (``collapsed``, ``few_points``, ``undefined``).

    Raises
    ------
    InputError
        For points that are not those of the graph, queries of another width, a metric that is not
        one of the house, k or alpha out of range, an option that the method does not have, or a
        dimension that cannot be used.
    NonFiniteError
        If a row or a query holds NaN or infinity.

    Notes
    -----
    A query is never its own neighbour: where it equals a row of the sample, that row (with its
    copies) is the query and not counted, so that the answer there is that of the sample, digit for
    digit. Published code counts k - 1 for queries and differs from its own sample values by
    log(k / (k - 1)). Beside a row of the sample, however near, that row counts as the first
    neighbour: the estimate jumps there, as every estimate from k-th distances does. O(q n D) time.

    References
    ----------
    Glielmo et al. 2022, doi 10.1016/j.patter.2022.100589.

    Examples
    --------
    >>> from hiddenscape import find_neighbors
    >>> line = [[0.0], [1.0], [2.0], [4.0]]
    >>> asked = {"dimension": 1, "method": "knn", "k": 1}
    >>> found = interpolate_density(find_neighbors(line, k=1), line, [[0.5], [2.0]], **asked)
    >>> found.values.round(3)  # 1 / (4 * 2 * 0.5), and what knn_density says at the third row
    array([-1.386, -2.079])
    """
    if method not in get_args(Method):
        known = ", ".join(get_args(Method))
        raise InputError(f"method must be one of {known}, got {method!r}")
    if method == "knn" and k is None:
        raise InputError("method='knn' needs k=, the neighbours of every query")
    if method == "kstar" and k is not None:
        raise InputError("method='kstar' finds k itself: leave k= out, or use method='knn'")
    if unbiased and method != "knn":
        raise InputError(f"unbiased=True is for method='knn', the method is {method!r}")
    least = 2 if unbiased or method == "pak" else 1
    size = k_star(graph, dimension=dimension, alpha=alpha, force=force) if k is None else k
    found = neighborhoods(graph, dimension, size, least=least, force=force)
    indices, distances = _lists(graph, points, queries, found)
    own = np.full(len(distances), -1 if k is None else k)
    said = []
    if found.graph is not None and isinstance(size, KStar):
        ratios = critical_ratios(np.full(found.graph.k + 1, size.threshold), found.dimension)
        first_change(indices, distances, found.graph.distances, ratios, own)
        capped, cap = own < 0, found.graph.k - 1
        own[capped] = cap
        if capped.any():
            said.append(f"capped ({int(capped.sum())} of {len(own)} queries at k = {cap})")
    if found.graph is None:
        values = stderr = np.full(len(own), math.nan)
        own = np.full(len(own), -1)
    else:
        counts = own.astype(np.float64)
        log_count, stderr = np.log(counts - 1 if unbiased else counts), counts**-0.5
        if method == "pak":
            log_count, stderr, ties = tilted_counts(distances, own, found.dimension)
            said.append(ties)
        radius = distances[np.arange(len(own)), own - 1]
        values = log_ball(log_count, found.rows.n_distinct, found.dimension, radius)
    return LogDensity(
        values=values,
        stderr=stderr,
        k=own,
        method=method,
        dimension=found.dimension,
        n_used=found.rows.n_distinct,
        n_dropped=found.rows.n - found.rows.n_distinct,
        note=found.note if found.graph is None else join_notes(*said, found.rows.note),
        parameters={"method": method, "interpolated": True, **found.parameters}
        | ({"unbiased": unbiased} if method == "knn" else {}),
    )


def _lists(
    graph: NeighborGraph, points: ArrayLike, queries: ArrayLike, found: Neighborhoods
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest distinct rows of every query, as many as the graph stores, itself left out."""
    if graph.metric not in METRICS:
        raise InputError(
            f"distances of metric {graph.metric!r} cannot be measured: known are "
            f"{', '.join(METRICS)}"
        )
    check_graph_of(points, graph)
    sample, rows = np.asarray(points), found.rows
    if rows.n_distinct < rows.n:
        sample = sample[rows.first]
    depth = min(1 if found.graph is None else found.graph.k + 1, len(sample))
    indices, distances = nearest_in_sample(
        sample, queries, depth, metric=graph.metric, period=graph.period
    )
    at = (distances[:, :1] == 0) + np.arange(depth - 1)
    indices = np.take_along_axis(indices, at, axis=1)
    distances = np.take_along_axis(distances, at, axis=1)
    if (distances == 0).any():
        raise InputError(
            "queries are at distance 0 from rows that differ: their distances underflow; scale "
            "the points up"
        )
    return indices, distances
