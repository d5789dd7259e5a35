"""Exact ranks by counting: one pass over all pairs serves any number of targets, nothing is sorted.

rank(i, j) = 1 + #{l: r_il < r_ij} + #{l != j: r_il = r_ij} / 2. The bounds of a screen decide most
pairs; whatever lies between them is recomputed from differences, and equality is decided there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import DISTANCE_ERROR, Cloud, blocks, check_range
from hiddenscape.kernels.budget import DEFAULT_MEMORY
from hiddenscape.kernels.compiled import distances_from, fill_distances, fill_squares, forks, jit
from hiddenscape.kernels.machine import ladder
from hiddenscape.kernels.products import RUNGS
from hiddenscape.kernels.screen import Screen, largest_whole, make_screen
from hiddenscape.kernels.spots import Spoiled, faulty
from hiddenscape.kernels.threads import cores, in_threads
from hiddenscape.kernels.tiles import Scratch, Tiles, rounds

__all__ = ["mid_ranks"]

_Tile = tuple[tuple[int, int], tuple[int, int]]

_CHUNK = 256
_SMALLEST = 16
_SMALL = 1 << 28
_PROBE = 64
_OFTEN = 0.03  # share of recomputed pairs from which on float64 products are cheaper
_MARGIN = 4 * DISTANCE_ERROR
_SLACK = 1e-12
_PAIRS = 1 << 16


def mid_ranks(
    points: Cloud,
    queries: np.ndarray,
    targets: np.ndarray,
    *,
    representative: np.ndarray | None = None,
    block_rows: int | None = None,
    memory: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    precision: str = "auto",
) -> np.ndarray:
    """Mid-ranks of the ``targets`` (q, m) among all other rows of each of the ``queries`` (q,).

    Where all rows are queries in their order, a block of products serves its rows and its columns.

    Parameters
    ----------
    points : Cloud
    queries : int array (q,)
    targets : int array (q, m)
        Must not name the query row itself.
    representative : int array (n,), optional
        A row equal to each row: copies of a target then need no distance.
    block_rows, memory, progress, precision
        As for the search of neighbours.

    Examples
    --------
    >>> from hiddenscape.kernels.arrays import cloud
    >>> mid_ranks(cloud([[0.0], [1.0], [-1.0], [3.0]]), np.array([0]), np.array([[1, 3]]))
    array([[1.5, 3. ]])
    """
    n = points.n
    if not targets.size:
        return np.ones(targets.shape)
    same = np.arange(n) if representative is None else np.asarray(representative, dtype=np.int64)
    queries = np.ascontiguousarray(queries, dtype=np.int64)
    targets = np.ascontiguousarray(targets, dtype=np.int64)
    budget = memory or DEFAULT_MEMORY
    every = np.array_equal(queries, np.arange(n))
    while True:
        try:
            screen = _choose(points, queries, targets, same, precision, budget)
            counts = _Counts(points, screen, queries, targets, same)
            run = counts.symmetric if every else counts.plain
            run(_block(points, screen, block_rows, budget), progress)
        except Spoiled as error:
            if str(error) == RUNGS[-1]:
                raise faulty(RUNGS[-1]) from None
            precision = RUNGS[-1]
        else:
            return np.asarray(1.0 + counts.nearer + counts.tied / 2)


def _choose(
    points: Cloud,
    queries: np.ndarray,
    targets: np.ndarray,
    same: np.ndarray,
    precision: str,
    memory: int,
) -> Screen:
    """The screen whose products and recomputed pairs cost least."""
    whole = largest_whole(points)
    pairs = len(queries) * points.n
    names = [name for name, _ in ladder(precision, small=pairs * points.d <= _SMALL)]
    if precision == "auto":
        # Bounds of bfloat16 leave far too many pairs between them for ranks.
        names = [name for name in names if name in RUNGS[2:]]
    shares: list[tuple[float, Screen]] = []
    for name in names:
        keep = points.n * points.d * (8 if name == "float64" else 4) <= memory // 2
        screen = make_screen(points, name, whole, keep=keep)
        if screen.exact or (name == names[-1] and not shares):
            return screen
        if screen.thin:
            continue
        if precision != "auto":
            return screen
        at = np.arange(0, len(queries), max(1, len(queries) // _PROBE))
        probe = _Counts(points, screen, queries[at], targets[at], same)
        probe.plain(_block(points, screen, None, memory), None)
        shares.append((probe.recomputed / (len(at) * points.n), screen))
        if shares[-1][0] <= _OFTEN:
            return screen
    # Data full of ties leave them to be recomputed in any precision: then the first is cheapest.
    best = min(shares, key=lambda pair: pair[0])
    return best[1] if 2 * best[0] < shares[0][0] else shares[0][1]


def _block(points: Cloud, screen: Screen, wanted: int | None, memory: int) -> int:
    if wanted is not None:
        return min(wanted, points.n)
    item = screen.dtype.itemsize
    size = min(1024, max(128, points.n // (8 * cores())))
    held = points.n * points.d * item if screen.kept is not None else 0

    def needed(size: int) -> int:
        return cores() * (2 * size * size * item + 2 * size * points.d * (item + 16))

    while size > _SMALLEST and needed(size) > memory - held:
        size //= 2
    if needed(size) > memory:
        raise InputError(f"memory={memory} bytes are too few for rows of {points.d} columns")
    return min(size, points.n)


class _Counts:
    """How many rows are nearer than each target, and how many are as far."""

    def __init__(
        self,
        points: Cloud,
        screen: Screen,
        queries: np.ndarray,
        targets: np.ndarray,
        same: np.ndarray,
    ) -> None:
        self.points, self.screen, self.same = points, screen, same
        self.queries, self.targets = queries, targets
        self.tiles = Tiles(screen)
        self.near, self.width = self.tiles.near, self.tiles.width
        self.nearer = np.zeros(targets.shape, dtype=np.int64)
        self.tied = np.zeros(targets.shape, dtype=np.int64)
        self.recomputed = 0
        self._adding = threading.Lock()
        self._turned = Scratch(screen.dtype)
        self.exact = self._exact_distances()
        kind = screen.dtype.type
        if screen.exact:
            self.low = self.high = self.exact.astype(kind)
            return
        radius = np.ldexp(self.exact, screen.shift)
        low = np.maximum(radius * (1 - _MARGIN) - 4 * screen.quantum, 0.0) ** 2 * (1 - _SLACK)
        low -= self.width[queries][:, None]
        high = (radius * (1 + _MARGIN) + 4 * screen.quantum) ** 2 * (1 + _SLACK)
        self.low = low
        self.high = np.nextafter(high.astype(kind), kind(np.inf))

    def symmetric(self, size: int, progress: Callable[[int, int], object] | None) -> None:
        """All rows are queries, in order: each product is made once."""
        n = self.points.n
        tiles = [pair for pairs in rounds(list(blocks(n, size))) for pair in pairs]

        def work(tile: _Tile, worker: int) -> None:
            (a, b), (low, high) = tile
            g = self.tiles.multiply(slice(a, b), np.arange(a, b), (low, high), worker)
            self._count(g, np.arange(a, b), low)
            if (a, b) != (low, high):
                t = self._turned.take(worker, high - low, b - a)
                _turn(g, t)
                self._count(t, np.arange(low, high), a)

        self._run(
            work, tiles, lambda tile: frozenset((tile[0][0], tile[1][0])), len(tiles), n, progress
        )

    def plain(self, size: int, progress: Callable[[int, int], object] | None) -> None:
        """Some rows are queries."""
        n, q = self.points.n, len(self.queries)
        rows = list(blocks(q, min(size, max(16, -(-q // cores())))))
        tiles = [(mine, columns) for columns in blocks(n, size) for mine in rows]

        def work(tile: _Tile, worker: int) -> None:
            slots = np.arange(*tile[0])
            mine = self.queries[slots]
            self._count(self.tiles.multiply(mine, mine, tile[1], worker), slots, tile[1][0])

        self._run(work, tiles, lambda tile: frozenset((tile[0][0],)), len(tiles), q, progress)

    def _run(
        self,
        work: Callable[[_Tile, int], None],
        tiles: list[_Tile],
        places: Callable[[_Tile], frozenset[int]],
        total: int,
        rows: int,
        progress: Callable[[int, int], object] | None,
    ) -> None:
        finished = 0

        def done(_: _Tile) -> None:
            nonlocal finished
            finished += 1
            if progress is not None:
                progress(rows * finished // total, rows)

        self.tiles.run(work, tiles, places, done)

    def _exact_distances(self) -> np.ndarray:
        """Of every target, recomputed; squared (and whole) where the screen is exact."""
        m = self.targets.shape[1]
        out = np.empty(self.targets.size)
        i, j = np.repeat(self.queries, m), self.targets.ravel()

        def work(part: tuple[int, int]) -> None:
            at = slice(*part)
            if self.screen.exact:
                fill_squares(self.points.compiled()[0], i[at], j[at], out[at])
            else:
                fill_distances(*self.points.compiled(), i[at], j[at], out[at])

        for _ in in_threads(work, list(blocks(len(i), _PAIRS))):
            pass
        check_range(out)
        return out.reshape(self.targets.shape)

    def _count(self, g: np.ndarray, slots: np.ndarray, first_column: int) -> None:
        screen = self.screen
        if screen.exact:
            _count_exact(
                g, self.queries, slots, first_column, self.near, self.targets, self.high,
                self.nearer, self.tied,
            )  # fmt: skip
            return
        edges = np.arange(0, g.shape[1], _CHUNK)
        widest = np.maximum.reduceat(self.width[first_column : first_column + g.shape[1]], edges)
        found = _count_block(
            *self.points.compiled(), g, self.queries, slots, first_column, self.near, widest,
            self.same, self.targets, self.exact, self.low, self.high, self.nearer, self.tied,
        )  # fmt: skip
        with self._adding:
            self.recomputed += found


@jit
def _turn(g: np.ndarray, out: np.ndarray) -> None:
    """Transpose, by small squares."""
    for a in range(0, g.shape[0], 32):
        for b in range(0, g.shape[1], 32):
            for r in range(a, min(a + 32, g.shape[0])):
                for c in range(b, min(b + 32, g.shape[1])):
                    out[c, r] = g[r, c]


@jit
def _bounds(
    g: np.ndarray, r: int, c: int, end: int, i: int, first: int, near: np.ndarray, out: np.ndarray
) -> None:
    """Lower bounds of row i against columns c to end of a block; infinite against itself."""
    own = near[i]
    # Views, so that indices are plainly not negative: only then does the loop become vectors.
    line, across = g[r, c:end], near[first + c : first + end]
    for t in range(end - c):
        p = line[t]
        out[t] = (own + across[t]) - (p + p)
    if first + c <= i < first + end:
        out[i - first - c] = np.inf


@jit
def _count_exact(
    g: np.ndarray,
    queries: np.ndarray,
    slots: np.ndarray,
    first: int,
    near: np.ndarray,
    targets: np.ndarray,
    squares: np.ndarray,
    nearer: np.ndarray,
    tied: np.ndarray,
) -> None:
    """Count where scores carry no error."""
    columns = g.shape[1]
    scores = np.empty(_CHUNK, dtype=g.dtype)
    for r in range(len(slots)):
        s = slots[r]
        i = queries[s]
        for c in range(0, columns, _CHUNK):
            end = min(c + _CHUNK, columns)
            _bounds(g, r, c, end, i, first, near, scores)
            for t in range(targets.shape[1]):
                wanted = squares[s, t]
                below = np.int32(0)
                equal = np.int32(0)
                for u in range(end - c):
                    below += np.int32(scores[u] < wanted)
                    equal += np.int32(scores[u] == wanted)
                itself = first + c <= targets[s, t] < first + end
                nearer[s, t] += below
                tied[s, t] += equal - itself


@jit
def _count_block(
    values: np.ndarray,
    original: np.ndarray,
    exponent: int,
    g: np.ndarray,
    queries: np.ndarray,
    slots: np.ndarray,
    first: int,
    near: np.ndarray,
    widest: np.ndarray,
    same: np.ndarray,
    targets: np.ndarray,
    exact: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    nearer: np.ndarray,
    tied: np.ndarray,
) -> int:
    """Count a block of products for the queries ``slots``; how many pairs were recomputed.

    A lower bound below ``low`` less the widest bound of the columns at hand is surely nearer than
    the target, one above ``high`` surely farther.
    """
    kind = g.dtype.type
    columns, m = g.shape[1], targets.shape[1]
    scores = np.empty(_CHUNK, dtype=g.dtype)
    sure = np.empty(m, dtype=g.dtype)
    recomputed = 0
    room = forks()
    columns_asked = np.empty(_CHUNK, dtype=np.int64)
    lengths = np.empty(_CHUNK)
    for r in range(len(slots)):
        s = slots[r]
        i = queries[s]
        for c in range(0, columns, _CHUNK):
            end = min(c + _CHUNK, columns)
            _bounds(g, r, c, end, i, first, near, scores)
            unsure = 0
            for t in range(m):
                edge = np.nextafter(kind(low[s, t] - widest[c // _CHUNK]), kind(-np.inf))
                sure[t] = edge
                top = high[s, t]
                below = np.int32(0)
                reach = np.int32(0)
                for u in range(end - c):
                    below += np.int32(scores[u] < edge)
                    reach += np.int32(scores[u] <= top)
                nearer[s, t] += below
                unsure += int(reach - below)
            if unsure == 0:
                continue
            asked = 0
            for u in range(end - c):
                j = first + c + u
                for t in range(m):
                    if _in_doubt(scores[u], sure[t], high[s, t], j, targets[s, t], same):
                        columns_asked[asked] = j
                        asked += 1
                        break
            distances_from(values, original, exponent, i, columns_asked, asked, room, lengths)
            recomputed += asked
            next_asked = 0
            for u in range(end - c):
                j = first + c + u
                length = np.inf
                if next_asked < asked and columns_asked[next_asked] == j:
                    length = lengths[next_asked]
                    next_asked += 1
                for t in range(m):
                    target = targets[s, t]
                    if not sure[t] <= scores[u] <= high[s, t] or j == target:
                        continue
                    if same[j] == same[target] or length == exact[s, t]:
                        tied[s, t] += 1
                    elif length < exact[s, t]:
                        nearer[s, t] += 1
    return recomputed


@jit
def _in_doubt(
    score: float, sure: float, high: float, j: int, target: int, same: np.ndarray
) -> bool:
    """Whether only their distances can tell which of row j and the target is nearer."""
    return sure <= score <= high and j != target and same[j] != same[target]
