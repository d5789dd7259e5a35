"""Neighbour lists as sets: how much two of them share, and the graph as a sparse matrix."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from hiddenscape.errors import InputError
from hiddenscape.kernels.lists import count_common
from hiddenscape.kernels.threads import cores, in_threads
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.types import FloatVector, whole

__all__ = ["neighbor_similarities", "sparse_graph"]

Measure = Literal["common", "jaccard", "geometric", "squared_geometric"]
Values = Literal["distances", "connectivity"] | Measure


def neighbor_similarities(
    graph: NeighborGraph,
    *,
    k: ArrayLike | None = None,
    measure: Measure = "jaccard",
    own: bool = True,
) -> FloatVector:
    r"""How alike the neighbour lists at both ends of every edge are.

    With the sets :math:`\Omega_i` of row i and its :math:`k_i` nearest and
    :math:`c = |\Omega_i \cap \Omega_j|`:

    ===================== ================================================
    ``common``            :math:`c`
    ``jaccard``           :math:`c / (|\Omega_i| + |\Omega_j| - c)`
    ``geometric``         :math:`c / \sqrt{|\Omega_i| |\Omega_j|}`
    ``squared_geometric`` :math:`c^2 / (|\Omega_i| |\Omega_j|)`
    ===================== ================================================

    Parameters
    ----------
    graph : NeighborGraph
    k : int or int array (n,), optional
        Neighbours of every row, or of each; all that are stored by default. (For the k* of a
        density, which counts the row itself here, give ``k_star(...).k - 1``.)
    measure : str
        As above.
    own : bool
        Whether a row belongs to its own set. Without, :math:`\Omega_i` are the neighbours alone.

    Returns
    -------
    float64 array (edges,)
        Edges from row 0 to its nearest, ..., from row 1 to its nearest, ...: the order of
        ``sparse_graph(graph, k=k).data``. 1 between identical sets, ``common`` apart.

    Raises
    ------
    InputError
        If k is not in 1..K or has not one entry per row, or the measure is unknown.

    Notes
    -----
    O(n k^2) time and O(n k) memory. Rows that repeat each other are different rows here: use
    ``graph.over_distinct()`` to leave copies out. Invariant under all that keeps the lists.

    References
    ----------
    Jarvis, Patrick 1973, doi 10.1109/T-C.1973.223640 (shared neighbours); the other forms as in
    Carli, Rodriguez, Laio, Glielmo 2024, arXiv:2407.08094, and its implementation.

    Examples
    --------
    >>> from hiddenscape import find_neighbors
    >>> line = find_neighbors([[0.0], [1.0], [3.0]], k=1)  # lists 1, 0, 1
    >>> neighbor_similarities(line).round(3).tolist()
    [1.0, 1.0, 0.333]
    """
    if measure not in get_args(Measure):
        known = ", ".join(get_args(Measure))
        raise InputError(f"measure must be one of {known}, got {measure!r}")
    size = _sizes(graph, k)
    starts = np.concatenate([[0], np.cumsum(size)])
    common = np.empty(starts[-1], dtype=np.int64)
    step = -(-graph.n // (4 * cores()))

    def work(low: int) -> None:
        count_common(graph.indices, starts, int(own), low, min(low + step, graph.n), common)

    list(in_threads(work, range(0, graph.n, step)))
    shared = common.astype(np.float64)
    if measure == "common":
        return shared
    inside = np.arange(graph.k) < size[:, None]
    a = np.repeat(size + int(own), size)
    b = (size + int(own))[graph.indices[inside]]
    if measure == "jaccard":
        return np.asarray(shared / (a + b - common))
    square = shared**2 / (a.astype(np.float64) * b)
    return np.asarray(square if measure == "squared_geometric" else np.sqrt(square))


def sparse_graph(
    graph: NeighborGraph,
    *,
    k: ArrayLike | None = None,
    values: Values = "distances",
) -> csr_array:
    """The graph as a sparse matrix: row i holds the neighbours of row i, nearest first.

    Parameters
    ----------
    graph : NeighborGraph
    k : int or int array (n,), optional
        Neighbours of every row, or of each; all that are stored by default.
    values : str
        ``distances``, ``connectivity`` (ones), or a measure of :func:`neighbor_similarities`.

    Returns
    -------
    scipy.sparse.csr_array (n, n), float64
        Not symmetric: ``a.maximum(a.T)`` joins what is listed from either side, ``a.minimum(a.T)``
        from both (of distances, only where both are stored). Distances of 0 between identical rows
        and similarities of 0 are stored entries. Columns of a row are ordered by distance, as
        scikit-learn asks of precomputed neighbours; ``sort_indices()`` orders them by number.

    Raises
    ------
    InputError
        As :func:`neighbor_similarities`, and for unknown values.

    References
    ----------
    The sparse form of scikit-learn's ``kneighbors_graph``.

    Examples
    --------
    >>> from hiddenscape import find_neighbors
    >>> line = find_neighbors([[0.0], [1.0], [3.0]], k=1)
    >>> sparse_graph(line).toarray().tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    """
    size = _sizes(graph, k)
    inside = np.arange(graph.k) < size[:, None]
    if values == "distances":
        data = graph.distances[inside]
    elif values == "connectivity":
        data = np.ones(int(size.sum()))
    elif values in get_args(Measure):
        data = neighbor_similarities(graph, k=k, measure=values)
    else:
        known = ", ".join(["distances", "connectivity", *get_args(Measure)])
        raise InputError(f"values must be one of {known}, got {values!r}")
    starts = np.concatenate([[0], np.cumsum(size)])
    return csr_array((data, graph.indices[inside], starts), shape=(graph.n, graph.n))


def _sizes(graph: NeighborGraph, k: ArrayLike | None) -> np.ndarray:
    given = np.asarray(graph.k if k is None else k)
    if given.ndim == 0:
        given = np.full(graph.n, whole("k", given.item()))
    if given.shape != (graph.n,) or given.dtype.kind not in "iu":
        raise InputError(
            f"k must be a whole number, or one for each of {graph.n} rows, got {given.dtype} of "
            f"shape {given.shape}"
        )
    if given.min() < 1 or given.max() > graph.k:
        raise InputError(
            f"k must lie in 1..{graph.k}, the neighbours that the graph stores, got "
            f"{given.min()}..{given.max()}"
        )
    return given.astype(np.int64)
