"""The specification of the kernels: slow, plain, exact. The fast ones must agree bit for bit."""

from __future__ import annotations

import numpy as np

from hiddenscape.kernels import arrays
from hiddenscape.kernels.arrays import Cloud
from hiddenscape.kernels.metrics import Space

__all__ = ["mid_ranks", "nearest", "pair_distances"]


def pair_distances(points: Cloud | Space, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    r"""Distances between rows ``i`` and rows ``j``, one per pair.

    A :class:`Cloud` is measured by :func:`hiddenscape.kernels.arrays.pair_distances`. In a
    :class:`Space` the terms of all columns are float64 numbers added from the first column to the
    last, one rounding each: the difference :math:`|x_c - y_c|` (manhattan), 1 where the columns
    differ (hamming), the square of the wrapped difference (periodic; root at the end). With h half
    a period, the wrapped difference is :math:`|x_c - y_c|` up to h and
    :math:`(h - |x_c|) + (h - |y_c|)` beyond. Where a sum of squares is below 2**-900 or above
    2**1000 the wrapped differences are first divided by the power of two above the largest.

    Examples
    --------
    >>> from hiddenscape.kernels.metrics import space
    >>> clock = space([[1.0], [11.5]], "periodic", 12)
    >>> pair_distances(clock, np.array([0]), np.array([1]))
    array([1.5])
    """
    if isinstance(points, Cloud):
        return arrays.pair_distances(points, i, j)
    x, y = points.values[i].astype(np.float64), points.values[j].astype(np.float64)
    if points.metric == "hamming":
        return np.asarray((x != y).sum(axis=1), dtype=np.float64)
    apart = np.abs(x - y)
    if points.metric == "manhattan":
        return _in_order(apart)
    assert points.period is not None
    half = points.period / 2
    w = np.where(apart > half, (half - np.abs(x)) + (half - np.abs(y)), apart)
    with np.errstate(over="ignore", under="ignore"):
        total = _in_order(w * w)
        out: np.ndarray = np.sqrt(total)
    for p in np.flatnonzero((total < 2.0**-900) | (total > 2.0**1000)):
        exponent = np.frexp(w[p].max())[1]
        scaled = np.ldexp(w[p], -exponent)
        out[p] = np.ldexp(np.sqrt(_in_order(scaled[None] ** 2)[0]), exponent)
    return out


def _in_order(terms: np.ndarray) -> np.ndarray:
    total = np.zeros(len(terms))
    for c in range(terms.shape[1]):
        total += terms[:, c]
    return total


def nearest(points: Cloud | Space, k: int) -> tuple[np.ndarray, np.ndarray]:
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


def mid_ranks(points: Cloud | Space, queries: np.ndarray, targets: np.ndarray) -> np.ndarray:
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
