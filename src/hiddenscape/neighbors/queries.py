"""The nearest rows of a sample to points that do not belong to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import Cloud, blocks, check_finite, rows
from hiddenscape.neighbors.metrics import by_angle, pair_distances, prepared

__all__ = ["nearest_in_sample"]

_ENTRIES = 1 << 23
_COLUMNS = 4096


def nearest_in_sample(
    sample: ArrayLike,
    queries: ArrayLike,
    k: int,
    *,
    metric: str = "euclidean",
    period: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of a sample to every query, by (distance, row number).

    Parameters
    ----------
    sample : array (n, D)
    queries : array (q, D)
    k : int
        1 to n.
    metric, period
        As in ``find_neighbors``.

    Returns
    -------
    indices : int32 array (q, k)
        Rows of the sample. A query that repeats one of them finds it at distance 0.
    distances : float64 array (q, k)
        The distances that ``find_neighbors`` would report, bit for bit.

    Raises
    ------
    InputError
        For arrays that do not fit together, an unknown metric, or k out of range.
    NonFiniteError
        If a query or a row of the sample holds NaN or infinity.

    Notes
    -----
    O(q n D) time. A matrix product in float64 on centred points leaves out what its error bound
    places beyond the k-th; the rest is measured from differences. One copy of sample and queries.

    Examples
    --------
    >>> nearest_in_sample([[0.0], [1.0], [3.0]], [[0.9], [3.0]], 2)[0].tolist()
    [[1, 0], [2, 1]]
    """
    a, b = rows(sample), rows(queries)
    if a.shape[1] != b.shape[1]:
        raise InputError(f"the sample has {a.shape[1]} columns, the queries have {b.shape[1]}")
    check_finite(b)
    n = len(a)
    if not 1 <= k <= n:
        raise InputError(f"k must lie in 1..{n}, the rows of the sample, got {k}")
    both = prepared(np.concatenate([a, b]), metric, period)
    indices = np.empty((len(b), k), dtype=np.int32)
    distances = np.empty((len(b), k))
    chord = "euclidean" if metric in ("angular", "cosine") else metric
    for low, high in blocks(len(b), max(1, _ENTRIES // n)):
        if isinstance(both, Cloud):
            maybe = _candidates(both.values, n, n + low, n + high, k)
        else:
            maybe = np.ones((high - low, n), dtype=bool)
        for q in range(low, high):
            at = np.flatnonzero(maybe[q - low])
            d = pair_distances(both, np.full(len(at), n + q), at, chord)
            order = np.lexsort((at, d))[:k]
            indices[q], distances[q] = at[order], d[order]
    return (indices, distances) if chord == metric else by_angle(indices, distances, metric)


def _candidates(x: np.ndarray, n: int, low: int, high: int, k: int) -> np.ndarray:
    """Which of the rows 0..n may be among the k nearest of the rows low..high."""
    center = x[: min(n, _COLUMNS)].mean(axis=0, dtype=np.float64)
    mine = x[low:high] - center
    own = np.einsum("ij,ij->i", mine, mine)
    square, slack = np.empty((high - low, n)), np.empty((high - low, n))
    # Rounding of the centred values, of a product of x.shape[1] terms and of two sums; generously.
    relative = (8 * x.shape[1] + 64) * 2.0**-53
    for a, b in blocks(n, _COLUMNS):
        y = x[a:b] - center
        norm = np.einsum("ij,ij->i", y, y)
        square[:, a:b] = own[:, None] + norm - 2 * (mine @ y.T)
        slack[:, a:b] = relative * (own[:, None] + norm)
    limit = np.partition(square + slack, k - 1, axis=1)[:, k - 1 : k]
    return np.asarray(square - slack <= limit)
