"""Leave-one-out values of the information imbalance, neighbours and ranks recomputed. Private."""

from __future__ import annotations

import math

import numpy as np

from hiddenscape.kernels.arrays import cloud, pair_distances
from hiddenscape.types import Points

__all__ = ["JACKKNIFE_ROWS", "jackknife_stderr", "leave_one_out"]

JACKKNIFE_ROWS = 4000
"""Rows up to which the jackknife runs: it holds arrays of n x n."""


def jackknife_stderr(a: Points, b: Points, k: int) -> float:
    """sqrt((n - 1) / n sum (v_i - mean)^2) over the leave-one-out values v.

    The values differ from the imbalance of all rows in floor and n: only their spread is used.

    Examples
    --------
    >>> x = np.arange(5.0)[:, None] ** 1.5
    >>> jackknife_stderr(x, x, 1)
    0.0
    """
    left_out = leave_one_out(a, b, k)
    n = len(left_out)
    return math.sqrt((n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum()))


def leave_one_out(a: Points, b: Points, k: int) -> np.ndarray:
    """The imbalance of all rows but one, for each row left out. O(n^2 k) time, O(n^2) memory.

    Leaving out row l lowers the counts of closer and of tied rows of a pair (i, j) by what l
    contributed to them, in A (which pairs are neighbours) as in B (at which rank).

    Examples
    --------
    >>> x = np.arange(5.0)[:, None] ** 1.5
    >>> leave_one_out(x, x, 1).tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5]
    """
    n = len(a)
    d_a, d_b = _all_distances(a), _all_distances(b)
    closer, tied = _closer_and_tied(d_a)
    # Only rows with at most k closer ones can become neighbours when one row goes.
    i, j = np.nonzero((closer <= k) & np.isfinite(d_a))
    closer, tied = closer[i, j], tied[i, j]
    closer_b, tied_b = _closer_and_tied(d_b)
    rank = 1 + closer_b[i, j] + (tied_b[i, j] - 1) / 2
    pair_a, pair_b = d_a[i, j], d_b[i, j]
    out = np.empty(n)
    for gone in range(n):
        stays = (i != gone) & (j != gone)
        c = closer - (d_a[i, gone] < pair_a)
        t = tied - (d_a[i, gone] == pair_a)
        weight = np.clip((k - c) / np.maximum(t, 1), 0.0, 1.0) * stays
        r = rank - (d_b[i, gone] < pair_b) - (d_b[i, gone] == pair_b) / 2
        out[gone] = 2 / (n - 1) ** 2 / k * float(weight @ r)
    return out


def _all_distances(points: Points) -> np.ndarray:
    data = cloud(points)
    n = data.n
    rows, columns = np.triu_indices(n, 1)
    out = np.full((n, n), np.inf)
    out[rows, columns] = out[columns, rows] = pair_distances(data, rows, columns)
    return out


def _closer_and_tied(d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per pair (i, j), how many rows lie closer to i than j, and how many as far (j counted)."""
    ordered = np.sort(d, axis=1)
    below, upto = np.empty(d.shape, dtype=np.int64), np.empty(d.shape, dtype=np.int64)
    for i in range(len(d)):
        below[i] = np.searchsorted(ordered[i], d[i], side="left")
        upto[i] = np.searchsorted(ordered[i], d[i], side="right")
    return below, upto - below
