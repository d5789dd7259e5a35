"""Compiled selection: short lists of the rows that may be nearest, kept without sorting scores.

A short list of row i holds every j met so far whose lower bound L_ij does not exceed ``limit[i]``,
itself a proven upper bound on the k-th smallest distance. When a list is full, it is cut to what
the limit of its own k-th smallest upper bound leaves; a list that stays full is *crowded*: the
arithmetic cannot tell its rows apart, and the row climbs to the next rung.
"""

from __future__ import annotations

import math

import numpy as np

from hiddenscape.kernels.arrays import DISTANCE_ERROR
from hiddenscape.kernels.compiled import distances_from, forks, jit
from hiddenscape.kernels.spots import outside_bounds

__all__ = ["decide_full", "decide_short", "push_columns", "push_rows"]

_CHUNK = 32
_MARGIN = 1 + 4 * DISTANCE_ERROR
_SLACK = 1e-12


@jit
def _kth_smallest(values: np.ndarray, m: int, k: int) -> float:
    """The k-th smallest (k >= 1) of the first m values, which are reordered."""
    low, high = 0, m - 1
    wanted = k - 1
    while low < high:
        # Median of three: lists arrive nearly sorted as often as not.
        middle = (low + high) // 2
        if values[middle] < values[low]:
            values[middle], values[low] = values[low], values[middle]
        if values[high] < values[low]:
            values[high], values[low] = values[low], values[high]
        if values[high] < values[middle]:
            values[high], values[middle] = values[middle], values[high]
        pivot = values[middle]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            break
    return float(values[wanted])


@jit
def _limit(top: float, quantum: float) -> float:
    """What a lower bound must exceed for its recomputed distance to exceed that of an upper bound.

    Recomputed distances carry a relative error of DISTANCE_ERROR and, near underflow, a quantum.
    """
    root = math.sqrt(max(top, 0.0)) * _MARGIN + 4 * quantum
    return root * root * (1 + _SLACK)


@jit
def _cut(
    lower: np.ndarray,
    index: np.ndarray,
    m: int,
    own: float,
    width: np.ndarray,
    k: int,
    quantum: float,
    exact: bool,
    scratch: np.ndarray,
) -> tuple[int, float]:
    """Cut a list of m entries to what may be among the k nearest: the new length and limit."""
    as_stored = lower.dtype.type
    if m < k:
        return m, as_stored(np.inf)
    if exact:
        for t in range(m):
            scratch[t] = lower[t]
        last = _kth_smallest(scratch, m, k)
        room = k
        for t in range(m):
            if lower[t] < last:
                room -= 1
        # Of the tied ones the lowest row numbers stay.
        ties = 0
        for t in range(m):
            if lower[t] == last:
                scratch[ties] = index[t]
                ties += 1
        highest = _kth_smallest(scratch, ties, room)
        kept = 0
        for t in range(m):
            if lower[t] < last or (lower[t] == last and index[t] <= highest):
                lower[kept] = lower[t]
                index[kept] = index[t]
                kept += 1
        return kept, as_stored(last)
    for t in range(m):
        scratch[t] = np.float64(lower[t]) + own + width[index[t]]
    limit = as_stored(_limit(_kth_smallest(scratch, m, k), quantum))
    limit = np.nextafter(limit, as_stored(np.inf))
    kept = 0
    for t in range(m):
        if lower[t] <= limit:
            lower[kept] = lower[t]
            index[kept] = index[t]
            kept += 1
    return kept, limit


@jit
def push_rows(
    g: np.ndarray,
    rows: np.ndarray,
    first_column: int,
    near: np.ndarray,
    width: np.ndarray,
    k: int,
    quantum: float,
    exact: bool,
    slots: np.ndarray,
    lower: np.ndarray,
    index: np.ndarray,
    count: np.ndarray,
    limit: np.ndarray,
) -> None:
    """Offer all columns of a block of products to the lists of its rows.

    ``g[r, c]`` is the product of row ``rows[r]``, whose list is ``slots[r]``, with row
    ``first_column + c``. ``limit`` has the type of the products; -inf marks a crowded list.
    """
    columns = g.shape[1]
    capacity = lower.shape[1]
    scratch = np.empty(capacity)
    # Views, so that indices are plainly not negative: only then do the comparisons become vectors.
    across = near[first_column : first_column + columns]
    for r in range(len(rows)):
        line = g[r]
        s = slots[r]
        top = limit[s]
        if top == -np.inf:
            continue
        i = rows[r]
        own = near[i]
        m = count[s]
        for c in range(0, columns, _CHUNK):
            end = min(c + _CHUNK, columns)
            few = False
            for t in range(c, end):
                p = line[t]
                few |= (own + across[t]) - (p + p) <= top
            if not few:
                continue
            for t in range(c, end):
                p = line[t]
                value = (own + across[t]) - (p + p)
                j = first_column + t
                if value <= top and j != i:
                    lower[s, m] = value
                    index[s, m] = j
                    m += 1
                    if m == capacity:
                        m, top = _cut(
                            lower[s], index[s], m, width[i], width, k, quantum, exact, scratch
                        )
                        if m == capacity:
                            top = lower.dtype.type(-np.inf)
                            break
            if top == -np.inf:
                break
        count[s] = m
        limit[s] = top


@jit
def push_columns(
    g: np.ndarray,
    first_row: int,
    first_column: int,
    first_slot: int,
    near: np.ndarray,
    width: np.ndarray,
    k: int,
    quantum: float,
    exact: bool,
    lower: np.ndarray,
    index: np.ndarray,
    count: np.ndarray,
    limit: np.ndarray,
) -> None:
    """Offer all rows of a block of products to the lists of its columns.

    ``g[r, c]`` is the product of rows ``first_row + r`` and ``first_column + c``, which differ; the
    list of the latter is ``first_slot + c``.
    """
    capacity = lower.shape[1]
    scratch = np.empty(capacity)
    columns = g.shape[1]
    across = near[first_column : first_column + columns]
    tops = limit[first_slot : first_slot + columns]
    for r in range(g.shape[0]):
        line = g[r]
        i = first_row + r
        own = near[i]
        for c in range(0, columns, _CHUNK):
            end = min(c + _CHUNK, columns)
            few = False
            for t in range(c, end):
                p = line[t]
                few |= (own + across[t]) - (p + p) <= tops[t]
            if not few:
                continue
            for t in range(c, end):
                p = line[t]
                value = (own + across[t]) - (p + p)
                if value <= tops[t]:
                    s = first_slot + t
                    m = count[s]
                    lower[s, m] = value
                    index[s, m] = i
                    m += 1
                    if m == capacity:
                        j = first_column + t
                        m, top = _cut(
                            lower[s], index[s], m, width[j], width, k, quantum, exact, scratch
                        )
                        limit[s] = -np.inf if m == capacity else top
                    count[s] = m


@jit
def _before(d: float, i: int, e: float, j: int) -> bool:
    return d < e or (d == e and i < j)


@jit
def _order(d: np.ndarray, index: np.ndarray, m: int) -> None:
    """Sort the first m entries by (distance, row number): a merge sort that looks before merging.

    Lists come nearly in order of row number, and insertion puts runs of 16 in order.
    """
    for low in range(0, m, 16):
        for t in range(low + 1, min(low + 16, m)):
            value, row = d[t], index[t]
            u = t
            while u > low and _before(value, row, d[u - 1], index[u - 1]):
                d[u] = d[u - 1]
                index[u] = index[u - 1]
                u -= 1
            d[u] = value
            index[u] = row
    size = 16
    spare = np.empty(m // 2 + 16)
    spare_index = np.empty(m // 2 + 16, dtype=index.dtype)
    while size < m:
        for low in range(0, m - size, 2 * size):
            middle, high = low + size, min(low + 2 * size, m)
            if not _before(d[middle], index[middle], d[middle - 1], index[middle - 1]):
                continue
            if len(spare) < size:
                spare = np.empty(size)
                spare_index = np.empty(size, dtype=index.dtype)
            for t in range(size):
                spare[t] = d[low + t]
                spare_index[t] = index[low + t]
            left, right, t = 0, middle, low
            while left < size:
                if right < high and _before(d[right], index[right], spare[left], spare_index[left]):
                    d[t] = d[right]
                    index[t] = index[right]
                    right += 1
                else:
                    d[t] = spare[left]
                    index[t] = spare_index[left]
                    left += 1
                t += 1
        size *= 2


@jit
def _decide(
    values: np.ndarray,
    original: np.ndarray,
    exponent: int,
    shift: int,
    i: int,
    width: np.ndarray,
    k: int,
    quantum: float,
    exact: bool,
    lower: np.ndarray,
    index: np.ndarray,
    m: int,
    scratch: np.ndarray,
    room: np.ndarray,
    indices: np.ndarray,
    distances: np.ndarray,
) -> int:
    """The k nearest of row i from a list of m; how many pairs lay outside their bounds."""
    m, _ = _cut(lower, index, m, width[i], width, k, quantum, exact, scratch)
    if m < k:  # only products that are no numbers can leave a list so short
        return 1
    distances_from(values, original, exponent, i, index, m, room, scratch)
    outside = 0
    for t in range(m):
        claimed = np.float64(lower[t])
        length = math.ldexp(scratch[t], shift)
        outside += outside_bounds(claimed, width[i] + width[index[t]], length, quantum)
        if exact:
            scratch[t] = math.sqrt(claimed)
    _order(scratch, index, m)
    for t in range(k):
        indices[i, t] = index[t]
        distances[i, t] = scratch[t]
    return outside


@jit
def decide_short(
    values: np.ndarray,
    original: np.ndarray,
    exponent: int,
    shift: int,
    rows: np.ndarray,
    width: np.ndarray,
    k: int,
    quantum: float,
    exact: bool,
    lower: np.ndarray,
    index: np.ndarray,
    count: np.ndarray,
    limit: np.ndarray,
    slots: np.ndarray,
    indices: np.ndarray,
    distances: np.ndarray,
) -> int:
    """The k nearest of the rows of some lists, into ``indices[rows[s]]``, in the order given.

    Distances are recomputed (``2**shift`` takes them to the units of the bounds). Returns how many
    lay outside their claimed bounds: any such pair means that the products are wrong.
    """
    scratch = np.empty(lower.shape[1])
    outside = 0
    room = forks()
    for s in slots:
        if limit[s] == -np.inf:
            continue
        outside += _decide(
            values, original, exponent, shift, rows[s], width, k, quantum, exact,
            lower[s], index[s], count[s], scratch, room, indices, distances,
        )  # fmt: skip
    return outside


@jit
def decide_full(
    values: np.ndarray,
    original: np.ndarray,
    exponent: int,
    shift: int,
    g: np.ndarray,
    rows: np.ndarray,
    near: np.ndarray,
    width: np.ndarray,
    k: int,
    quantum: float,
    exact: bool,
    start: int,
    stop: int,
    indices: np.ndarray,
    distances: np.ndarray,
) -> int:
    """The k nearest of rows ``start`` to ``stop`` from their products with all rows, ``g`` (r, n).

    No list is too long here: the last resort of crowded rows. Returns what :func:`decide_short`
    returns.
    """
    n = g.shape[1]
    lower = np.empty(n, dtype=g.dtype)
    index = np.empty(n, dtype=np.int32)
    scratch = np.empty(n)
    outside = 0
    room = forks()
    for r in range(start, stop):
        i = rows[r]
        m = 0
        for j in range(n):
            p = g[r, j]
            value = (near[i] + near[j]) - (p + p)
            if j != i and value == value:
                lower[m] = value
                index[m] = j
                m += 1
        outside += _decide(
            values, original, exponent, shift, i, width, k, quantum, exact,
            lower, index, m, scratch, room, indices, distances,
        )  # fmt: skip
    return outside
