r"""Exact neighbours and ranks in metrics that no matrix product gives: all pairs, differences only.

A distance is a function of the two rows alone, equal bit for bit in both directions: its terms are
computed in float64 and added column by column from the first to the last, one addition each. The
terms are never negative, so a sum only grows, and a pair is abandoned once its sum is beyond the
k-th nearest so far: an error-free proof. Compiled loops carry :data:`LANES` pairs at a time; they
share no sum, so neither blocks nor threads nor lanes are seen in a result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import blocks
from hiddenscape.kernels.certificate import Certificate
from hiddenscape.kernels.compiled import jit
from hiddenscape.kernels.metrics import DIRECT, Space
from hiddenscape.kernels.threads import cores, in_threads

__all__ = ["LANES", "mid_ranks", "nearest", "pair_distances"]

LANES = 32
"""Pairs of one row that are summed side by side."""

_STEP = 32  # columns between two looks at whether a pair is still worth it
_ROWS = 64  # rows of one task
_WIDTH = 1 << 11  # columns of distances that a task holds at a time
_MEMORY = 1 << 28
_ENTRIES = 1 << 21

_MANHATTAN, _HAMMING, _PERIODIC = range(3)
# Sums of squares outside have lost digits to underflow, or overflown: such a pair is scaled first.
_TINY = 2.0**-900
_HUGE = 2.0**1000
# sqrt(s) > r is certain for s > r * r * _SURE: three roundings.
_SURE = 1 + 8 * 2.0**-52


def nearest(
    points: Space,
    k: int,
    *,
    block_rows: int | None = None,
    memory: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[np.ndarray, np.ndarray, Certificate]:
    """The ``k`` nearest rows of every row by (distance, row number), itself left out.

    Parameters
    ----------
    points : Space
    k : int
        1 to n - 1.
    block_rows : int, optional
        Rows of one task. Changes time, never the result.
    memory : int, optional
        Bytes of working memory beside the points and the lists, 256 MB by default (a few MB per
        thread are the least).
    progress : callable, optional
        Called with (rows done, rows in all).

    Returns
    -------
    indices : int32 array (n, k)
    distances : float64 array (n, k)
    certificate : Certificate
        ``all distances`` for every row.

    Raises
    ------
    InputError
        If distances among neighbours exceed float64.

    Examples
    --------
    >>> from hiddenscape.kernels.metrics import space
    >>> nearest(space([[0, 0], [1, 1], [4, 0]], "manhattan"), 2)[1].tolist()
    [[2.0, 4.0], [2.0, 4.0], [4.0, 4.0]]
    """
    n = points.n
    # Per row a heap with the farthest of the list on top.
    distances = np.full((n, k), np.inf)
    indices = np.full((n, k), n, dtype=np.int32)
    form = _Form(points)

    def keep(at: slice, own: np.ndarray, d: np.ndarray, first: int) -> None:
        _push(d, first, min(n, first + d.shape[1]), own, distances[at], indices[at])

    form.sweep(
        np.arange(n),
        lambda at: distances[at, 0],
        keep,
        block_rows=block_rows,
        memory=memory,
        progress=progress,
    )
    for a, b in blocks(n, max(1, _ENTRIES // k)):
        order = np.lexsort((indices[a:b], distances[a:b]), axis=1)
        indices[a:b] = np.take_along_axis(indices[a:b], order, axis=1)
        distances[a:b] = np.take_along_axis(distances[a:b], order, axis=1)
    _check_range(distances[:, -1])
    return indices, distances, Certificate.by("all distances", n)


def mid_ranks(
    points: Space,
    queries: np.ndarray,
    targets: np.ndarray,
    *,
    block_rows: int | None = None,
    memory: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> np.ndarray:
    """Mid-ranks of the ``targets`` (q, m) among all other rows of each of the ``queries`` (q,).

    Parameters
    ----------
    points : Space
    queries : int array (q,)
    targets : int array (q, m)
        Must not name the query row itself.
    block_rows, memory, progress
        As in :func:`nearest`.

    Examples
    --------
    >>> from hiddenscape.kernels.metrics import space
    >>> line = space([[0.0], [0.125], [0.875], [0.5]], "periodic", 1.0)
    >>> mid_ranks(line, np.array([0]), np.array([[1, 2, 3]]))
    array([[1.5, 1.5, 3. ]])
    """
    m = targets.shape[1]
    exact = np.empty(targets.shape)
    for a, b in blocks(len(queries), max(1, _ENTRIES // max(m, 1))):
        exact[a:b] = pair_distances(
            points, np.repeat(queries[a:b], m), targets[a:b].ravel()
        ).reshape(b - a, m)
    if not exact.size:
        return exact
    order = np.argsort(exact, axis=1, kind="stable")
    ordered = np.take_along_axis(exact, order, axis=1)
    # below[p]: rows nearer than target p but not nearer than p - 1; equal[p]: as far as p, counted
    # at the first of equal targets.
    below, equal = np.zeros((2, *targets.shape), dtype=np.int64)
    form = _Form(points)

    def count(at: slice, own: np.ndarray, d: np.ndarray, first: int) -> None:
        _count(d, first, min(points.n, first + d.shape[1]), own, ordered[at], below[at], equal[at])

    form.sweep(
        queries,
        lambda at: ordered[at, -1],
        count,
        block_rows=block_rows,
        memory=memory,
        progress=progress,
    )
    opens = np.ones(ordered.shape, dtype=bool)
    opens[:, 1:] = ordered[:, 1:] > ordered[:, :-1]
    first = np.maximum.accumulate(np.where(opens, np.arange(m), 0), axis=1)
    nearer = np.cumsum(below, axis=1) + np.cumsum(equal, axis=1) - equal
    ranks = np.take_along_axis(nearer + (equal - 1) / 2, first, axis=1) + 1.0
    out = np.empty(targets.shape)
    np.put_along_axis(out, order, ranks, axis=1)
    return out


def pair_distances(points: Space, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Distances between rows ``i`` and rows ``j``, one per pair.

    Raises
    ------
    InputError
        If a distance exceeds float64.

    Examples
    --------
    >>> from hiddenscape.kernels.metrics import space
    >>> pair_distances(space([[0, 1, 1], [1, 1, 2]], "hamming"), np.array([0]), np.array([1]))
    array([2.])
    """
    form = _Form(points, packed=False)
    out = np.empty(len(i))
    for a, b in blocks(len(i), max(1, _ENTRIES // points.d)):
        _pairs(form.code, form.rows(i[a:b]), form.rows(j[a:b]), form.half, out[a:b])
    _check_range(out)
    return out


def _check_range(distances: np.ndarray) -> None:
    if np.isinf(distances).any():
        raise InputError("distances between these points exceed float64: rescale them")


class _Form:
    """Rows in the form that the compiled loops read: float64 values, or words of 64 bits."""

    def __init__(self, points: Space, *, packed: bool = True) -> None:
        self.points = points
        self.code = DIRECT.index(points.metric)
        # Half a period; never reached by the metrics that have none.
        self.half = np.full(points.d, np.inf) if points.period is None else points.period / 2
        self.words = _words(points.values) if packed and self.code == _HAMMING else None

    def rows(self, at: np.ndarray | slice) -> np.ndarray:
        if self.words is not None:
            return self.words[at].copy() if isinstance(at, slice) else self.words[at]
        out: np.ndarray = self.points.values[at].astype(np.float64)
        return out

    def tiles(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop, :data:`LANES` at a time with columns leading: (tiles, d, LANES).

        Words stay in rows: (rows, words, bits).
        """
        rows = self.rows(slice(start, stop))
        if self.words is not None:
            return rows
        count = -(-len(rows) // LANES)
        full = np.zeros((count * LANES, rows.shape[1]))
        full[: len(rows)] = rows
        return np.ascontiguousarray(full.reshape(count, LANES, -1).transpose(0, 2, 1))

    def sweep(
        self,
        queries: np.ndarray,
        reach: Callable[[slice], np.ndarray],
        use: Callable[[slice, np.ndarray, np.ndarray, int], None],
        *,
        block_rows: int | None,
        memory: int | None,
        progress: Callable[[int, int], object] | None,
    ) -> None:
        """Show the distances of all queries to all rows, block by block.

        Distances beyond ``reach(at)`` may be shown as infinity.
        """
        d = self.points.d if self.words is None else self.words[0].size
        # Twice: rows and their tiles.
        budget = (_MEMORY if memory is None else memory) // (16 * d)
        wide = max(LANES, min(budget, self.points.n) // LANES * LANES)
        step = _ROWS if block_rows is None else block_rows
        # Every thread a share, and enough of them to even out.
        step = min(step, max(1, -(-len(queries) // (4 * cores()))))
        parts = list(blocks(len(queries), step))
        done, total = 0, len(queries) * -(-self.points.n // wide)
        for start, stop in blocks(self.points.n, wide):
            task = partial(self._task, queries, reach, use, start, self.tiles(start, stop))
            for size in in_threads(task, parts):
                done += size
                if progress is not None:
                    progress(len(queries) * done // total, len(queries))

    def _task(
        self,
        queries: np.ndarray,
        reach: Callable[[slice], np.ndarray],
        use: Callable[[slice, np.ndarray, np.ndarray, int], None],
        start: int,
        tiles: np.ndarray,
        part: tuple[int, int],
    ) -> int:
        at = slice(*part)
        own = queries[at]
        rows = self.rows(own)
        lanes = LANES if self.words is None else 1
        for a, b in blocks(len(tiles), _WIDTH // lanes):
            d = np.empty((len(own), (b - a) * lanes))
            if self.words is not None:
                _fill_bits(rows, tiles[a:b], d)
            else:
                _fill(self.code, rows, tiles[a:b], self.half, self._limit(reach(at)), d)
            use(at, own, d, start + a * lanes)
        return len(own)

    def _limit(self, reach: np.ndarray) -> np.ndarray:
        """What a sum must exceed to prove its distance beyond reach."""
        if self.code != _PERIODIC:
            return reach.copy()
        with np.errstate(over="ignore"):
            sums: np.ndarray = np.maximum(reach * reach * _SURE, _TINY)
        return sums


def _words(x: np.ndarray) -> np.ndarray | None:
    """Whole numbers from a range of up to 2**16 as words of 64 bits; None for other data.

    Bit p of the numbers (counted from their minimum) in 64 columns makes word [row, word, p].
    """
    step = max(1, _ENTRIES // x.shape[1])
    low, high = float(x[0, 0]), float(x[0, 0])
    for a, b in blocks(len(x), step):
        low, high = min(low, float(x[a:b].min())), max(high, float(x[a:b].max()))
        if high - low >= 2**16 or (np.floor(x[a:b]) != x[a:b]).any():
            return None
    planes = max(1, int(high - low).bit_length())
    out = np.zeros((len(x), planes, -(-x.shape[1] // 64) * 8), dtype=np.uint8)
    for a, b in blocks(len(x), step):
        code = (x[a:b].astype(np.float64) - low).astype(np.uint16)
        for p in range(planes):
            bits = np.packbits((code >> p) & 1, axis=1)
            out[a:b, p, : bits.shape[1]] = bits
    words: np.ndarray = np.ascontiguousarray(out.view(np.uint64).transpose(0, 2, 1))
    return words


@jit
def _term(code: int, x: float, y: float, half: float) -> float:
    apart = abs(x - y)
    if code == 0:
        return apart
    if code == 1:
        return 1.0 if x != y else 0.0
    # Beyond half a period the way leads over the seam. Both steps to it are sums of numbers of one
    # sign, so that nothing cancels: the result is zero only for equal values.
    return (half - abs(x)) + (half - abs(y)) if apart > half else apart


@jit
def _add(
    code: int, x: np.ndarray, tile: np.ndarray, half: np.ndarray, a: int, b: int, sums: np.ndarray
) -> None:
    """Add the terms of columns a..b to the sums of all lanes."""
    if code == 0:
        for c in range(a, b):
            for lane in range(LANES):
                sums[lane] += abs(x[c] - tile[c, lane])
    elif code == 1:
        for c in range(a, b):
            for lane in range(LANES):
                sums[lane] += 1.0 if x[c] != tile[c, lane] else 0.0
    else:
        for c in range(a, b):
            for lane in range(LANES):
                w = _term(2, x[c], tile[c, lane], half[c])
                sums[lane] += w * w


@jit
def _root(x: np.ndarray, tile: np.ndarray, lane: int, half: np.ndarray, total: float) -> float:
    """The root of a sum of squares, computed again with scaled terms where it left its range."""
    if _TINY <= total <= _HUGE:
        return math.sqrt(total)
    largest = 0.0
    for c in range(len(x)):
        largest = max(largest, _term(2, x[c], tile[c, lane], half[c]))
    if largest == 0.0:
        return 0.0
    exponent = math.frexp(largest)[1]
    scaled = 0.0
    for c in range(len(x)):
        w = math.ldexp(_term(2, x[c], tile[c, lane], half[c]), -exponent)
        scaled += w * w
    return math.ldexp(math.sqrt(scaled), exponent)


@jit
def _fill(
    code: int,
    rows: np.ndarray,
    tiles: np.ndarray,
    half: np.ndarray,
    limit: np.ndarray,
    out: np.ndarray,
) -> None:
    """Distances of some rows to the rows of some tiles; infinity for tiles wholly beyond limit."""
    d = rows.shape[1]
    sums = np.empty(LANES)
    for t in range(len(tiles)):
        tile = tiles[t]
        first = t * LANES
        for i in range(len(rows)):
            sums[:] = 0.0
            c = 0
            near = True
            while near and c < d:
                stop = min(c + _STEP, d)
                _add(code, rows[i], tile, half, c, stop, sums)
                c = stop
                if c < d:
                    near = False
                    for lane in range(LANES):
                        near |= sums[lane] <= limit[i]
            for lane in range(LANES):
                v = np.inf
                if near and sums[lane] <= limit[i]:
                    v = sums[lane]
                    if code == 2:
                        v = _root(rows[i], tile, lane, half, v)
                out[i, first + lane] = v


@jit
def _pairs(code: int, a: np.ndarray, b: np.ndarray, half: np.ndarray, out: np.ndarray) -> None:
    for p in range(len(a)):
        total = 0.0
        for c in range(a.shape[1]):
            w = _term(code, a[p, c], b[p, c], half[c])
            total += w * w if code == 2 else w
        out[p] = total
        if code == 2:
            out[p] = _root(a[p], b[p].copy().reshape(-1, 1), 0, half, total)


@jit
def _fill_bits(rows: np.ndarray, columns: np.ndarray, out: np.ndarray) -> None:
    """In how many places some rows differ from others, from their words."""
    one, two, four, top = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
    m1, m2 = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
    m4, sum8 = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
    for i in range(len(rows)):
        for j in range(len(columns)):
            total = np.uint64(0)
            for w in range(rows.shape[1]):
                v = np.uint64(0)
                for p in range(rows.shape[2]):
                    v |= rows[i, w, p] ^ columns[j, w, p]
                v = v - ((v >> one) & m1)
                v = (v & m2) + ((v >> two) & m2)
                v = (v + (v >> four)) & m4
                total += (v * sum8) >> top
            out[i, j] = np.float64(np.int64(total))


@jit
def _push(
    d: np.ndarray,
    first: int,
    stop: int,
    own: np.ndarray,
    distances: np.ndarray,
    indices: np.ndarray,
) -> None:
    """Offer rows first..stop to heaps that hold the k first by (distance, row number)."""
    k = distances.shape[1]
    for i in range(len(d)):
        for j in range(first, stop):
            v = d[i, j - first]
            top = distances[i, 0]
            if v > top or (v == top and j > indices[i, 0]) or j == own[i]:
                continue
            hole = 0
            while True:
                child = 2 * hole + 1
                if child >= k:
                    break
                other = child + 1
                if other < k and (
                    distances[i, other] > distances[i, child]
                    or (
                        distances[i, other] == distances[i, child]
                        and indices[i, other] > indices[i, child]
                    )
                ):
                    child = other
                if distances[i, child] < v or (distances[i, child] == v and indices[i, child] < j):
                    break
                distances[i, hole] = distances[i, child]
                indices[i, hole] = indices[i, child]
                hole = child
            distances[i, hole] = v
            indices[i, hole] = j


@jit
def _count(
    d: np.ndarray,
    first: int,
    stop: int,
    own: np.ndarray,
    targets: np.ndarray,
    below: np.ndarray,
    equal: np.ndarray,
) -> None:
    """Count rows first..stop into the gaps between sorted target distances, or at them."""
    m = targets.shape[1]
    for i in range(len(d)):
        for j in range(first, stop):
            v = d[i, j - first]
            if v > targets[i, m - 1] or j == own[i]:
                continue
            p = np.searchsorted(targets[i], v)
            if targets[i, p] == v:
                equal[i, p] += 1
            else:
                below[i, p] += 1
