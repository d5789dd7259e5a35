"""The specification of the kernels: slow, plain, exact. The fast ones must agree bit for bit."""

from __future__ import annotations

import numpy as np

from hiddenscape.kernels.arrays import Cloud, pair_distances

__all__ = ["mid_ranks", "nearest"]


def nearest(points: Cloud, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` nearest rows of every row by (distance, row number), itself left out.

    Returns
    -------
    indices : int32 array (n, k)
    distances : float64 array (n, k)

    Examples
    --------
    >>> from hiddenscape.kernels.arrays import cloud
    >>> nearest(cloud([[0.0], [1.0], [3.0]]), 1)[0].ravel().tolist()
    [1, 0, 1]
    """
    n = points.n
    indices = np.empty((n, k), dtype=np.int32)
    distances = np.empty((n, k), dtype=np.float64)
    for i in range(n):
        others = np.delete(np.arange(n), i)
        d = pair_distances(points, np.full(n - 1, i), others)
        order = np.lexsort((others, d))[:k]
        indices[i], distances[i] = others[order], d[order]
    return indices, distances


def mid_ranks(points: Cloud, queries: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mid-ranks of the ``targets`` (q, m) among all other rows of each of the ``queries`` (q,).

    Examples
    --------
    >>> from hiddenscape.kernels.arrays import cloud
    >>> mid_ranks(cloud([[0.0], [1.0], [-1.0], [3.0]]), np.array([0]), np.array([[1, 3]]))
    array([[1.5, 3. ]])
    """
    n = points.n
    out = np.empty(targets.shape, dtype=np.float64)
    for q, i in enumerate(queries):
        d = pair_distances(points, np.full(n, i), np.arange(n))
        for t, j in enumerate(targets[q]):
            other = np.ones(n, dtype=bool)
            other[[i, j]] = False
            out[q, t] = 1 + np.sum(d[other] < d[j]) + np.sum(d[other] == d[j]) / 2
    return out
