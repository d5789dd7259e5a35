"""Neighbourhoods as small clouds: inner products about their row, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import Cloud, cloud
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import check_graph_of, find_neighbors

__all__ = ["graph_for", "patch_products"]

_ENTRIES = 1 << 21


def graph_for(
    points: ArrayLike, k: int, graph: NeighborGraph | None
) -> tuple[Cloud, NeighborGraph]:
    """Checked points with their Euclidean graph of at least k neighbours, made where none is given.

    Raises
    ------
    InputError
        If k is below 1 or not below n, or the graph is too shallow, not Euclidean, or of other
        points.
    NonFiniteError
        If a row holds NaN or infinity.

    Examples
    --------
    >>> graph_for([[0.0], [1.0], [3.0]], 1, None)[1].indices.tolist()
    [[1], [0], [1]]
    """
    data = cloud(points)
    if graph is None:
        return data, find_neighbors(data.original, k=k)
    if graph.metric != "euclidean":
        raise InputError(f"neighbourhoods are Euclidean, the graph is {graph.metric}")
    check_graph_of(data.original, graph)
    return data, graph


def patch_products(
    points: Cloud, rows: np.ndarray, neighbors: np.ndarray
) -> Iterator[tuple[int, int, np.ndarray]]:
    """For blocks a..b of ``rows``: inner products (b - a, k, k) of neighbours about their row.

    In float64, in the units of ``points.values``. Differences come first, so that an offset of the
    cloud costs no digits.

    Examples
    --------
    >>> x = cloud([[5.0, 5.0], [6.0, 5.0], [5.0, 7.0]])
    >>> for a, b, g in patch_products(x, np.array([0]), np.array([[1, 2]])):
    ...     print(a, b, g.tolist())
    0 1 [[[1.0, 0.0], [0.0, 4.0]]]
    """
    k = neighbors.shape[1]
    size = max(1, _ENTRIES // (k * max(k, points.d)))
    for a in range(0, len(rows), size):
        b = min(a + size, len(rows))
        base = points.values[rows[a:b]].astype(np.float64)
        patch = points.values[neighbors[a:b]].astype(np.float64) - base[:, None, :]
        yield a, b, patch @ patch.transpose(0, 2, 1)
