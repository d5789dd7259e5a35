"""Compiled loops over neighbour lists as sets of row numbers."""

from __future__ import annotations

import numpy as np

from hiddenscape.kernels.compiled import jit

__all__ = ["count_common"]


@jit
def count_common(
    indices: np.ndarray,
    starts: np.ndarray,
    own: int,
    low: int,
    high: int,
    common: np.ndarray,
) -> None:
    """For every edge i -> j, how many rows the lists of i and j share.

    Parameters
    ----------
    indices : int32 array (n, K)
    starts : int64 array (n + 1,)
        The list of row i are its nearest ``starts[i + 1] - starts[i]`` rows; to each leads an edge.
    own : int
        1 where a row belongs to its own list, else 0.
    low, high : int
        The rows i whose edges are counted.
    common : int64 array (edges,)
        Filled.
    """
    # Marked with the number of the row at hand: marks of earlier rows need no clearing.
    seen = np.full(len(indices), -1)
    for i in range(low, high):
        size = starts[i + 1] - starts[i]
        for l in range(size):  # noqa: E741
            seen[indices[i, l]] = i
        if own:
            seen[i] = i
        for l in range(size):  # noqa: E741
            j = indices[i, l]
            count = 1 if own and seen[j] == i else 0
            for m in range(starts[j + 1] - starts[j]):
                if seen[indices[j, m]] == i:
                    count += 1
            common[starts[i] + l] = count
