"""Which rows share a batch: the partition of least padded work, found exactly."""

from __future__ import annotations

import numpy as np

__all__ = ["OVERHEAD", "cut_batches"]

OVERHEAD = 192
"""What a batch costs beside its tokens, in tokens: calls and small kernels that do not grow with
it. Too small a value makes many small batches, too large a value pads."""


def cut_batches(
    lengths: np.ndarray,
    budget: int,
    *,
    max_rows: int | None = None,
    equal: bool = False,
    overhead: int = OVERHEAD,
) -> list[tuple[int, int]]:
    """Cut rows, longest first, into batches of least cost.

    A batch of the rows i to j - 1 costs ``(j - i) * lengths[i] + overhead`` (every row is padded to
    its first) and may hold at most ``budget`` padded tokens. The cheapest partition is found by
    dynamic programming from the end, in time proportional to the sum of the largest batches.

    Parameters
    ----------
    lengths : int (n,)
        Falling.
    budget : int
        Padded tokens per batch; a row that alone is longer makes a batch of its own.
    max_rows : int, optional
        Rows per batch at most.
    equal : bool
        Rows of unequal length must not share a batch.
    overhead : int
        Cost of a batch beside its tokens.

    Returns
    -------
    list of (i, j)

    Examples
    --------
    >>> cut_batches(np.array([100, 99, 10, 10, 9]), budget=400, overhead=20)
    [(0, 2), (2, 5)]
    """
    n = len(lengths)
    cap = np.maximum(1, budget // np.maximum(1, lengths.astype(np.int64)))
    if max_rows is not None:
        cap = np.minimum(cap, max_rows)
    if equal:
        ends = np.searchsorted(-lengths.astype(np.int64), -lengths.astype(np.int64), side="right")
        cap = np.minimum(cap, ends - np.arange(n))
    cap = np.minimum(cap, n - np.arange(n)).tolist()
    steps = np.arange(1, max(cap, default=0) + 1)
    cost = np.zeros(n + 1, dtype=np.int64)
    take = [1] * n
    for i in range(n - 1, -1, -1):
        m = cap[i]
        if m > 1:
            total = cost[i + 1 : i + 1 + m] + steps[:m] * int(lengths[i])
            # The last of equal ones: fewer, larger batches.
            take[i] = m - int(total[::-1].argmin())
        cost[i] = cost[i + take[i]] + take[i] * int(lengths[i]) + overhead
    cuts, at = [], 0
    while at < n:
        cuts.append((at, at + take[at]))
        at += take[at]
    return cuts
