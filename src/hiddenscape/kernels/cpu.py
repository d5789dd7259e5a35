"""Exact neighbours and ranks on the processor: a matrix product screens, differences decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from hiddenscape.kernels.arrays import Cloud, blocks, pair_distances
from hiddenscape.kernels.screen import Screen, largest_whole, make_screen
from hiddenscape.kernels.threads import cores, in_threads

__all__ = ["Progress", "mid_ranks", "nearest"]

Progress = Callable[[int, int], object]
"""Called with (rows done, rows in all) after every block."""

_SCORES = 1 << 26  # bytes of one block of scores
_PAIRS = 1 << 18  # pairs recomputed at a time
_SMALL = 1 << 28  # multiply-adds below which float32 is not worth a second precision


def nearest(
    points: Cloud,
    k: int,
    *,
    block_rows: int | None = None,
    progress: Progress | None = None,
    precision: str = "auto",
) -> tuple[np.ndarray, np.ndarray, str]:
    """The ``k`` nearest rows of every row by (distance, row number), itself left out.

    A row's candidates are all rows whose score does not prove them farther than the k-th nearest;
    their distances are recomputed from differences and sorted. Rows with too many candidates in
    float32 are screened again in float64. The result does not depend on blocks or precision.

    Parameters
    ----------
    points : Cloud
    k : int
        1 to n - 1.
    block_rows : int, optional
        Rows per block of scores; the default keeps a block within 64 MB.
    progress : callable, optional
        Called with (rows done, rows in all).
    precision : str
        ``float32`` or ``float64`` to screen in; ``auto`` chooses by size.

    Returns
    -------
    indices : int32 array (n, k)
    distances : float64 array (n, k)
    certificate : str
        How many rows each precision proved.

    Examples
    --------
    >>> from hiddenscape.kernels.arrays import cloud
    >>> nearest(cloud([[0.0], [1.0], [3.0]]), 1)[0].ravel().tolist()
    [1, 0, 1]
    """
    n = points.n
    indices = np.empty((n, k), dtype=np.int32)
    distances = np.empty((n, k), dtype=np.float64)
    ladder = _Ladder(points, precision)
    patience = 4 * k + 256
    for a, b in blocks(n, _block_rows(n, block_rows)):
        waiting = np.arange(a, b)
        for screen, last in ladder:
            scores = screen.scores(waiting)
            kth = np.partition(scores, k - 1, axis=1)[:, k - 1]
            limit = kth
            if not screen.exact:
                limit = screen.surely_farther(waiting, screen.farthest(waiting, kth))
            candidate = scores <= limit[:, None]
            count = np.count_nonzero(candidate, axis=1)
            proven = count <= (points.n if last or screen.exact else patience)
            decide = partial(_decide, points, screen, waiting, scores, candidate, k)
            parts = list(_batches(np.flatnonzero(proven), count))
            for part, found in zip(parts, in_threads(decide, parts), strict=True):
                indices[waiting[part]], distances[waiting[part]] = found
            ladder.record(screen, proven)
            waiting = waiting[~proven]
            if not waiting.size:
                break
        if progress is not None:
            progress(b, n)
    return indices, distances, ladder.certificate()


def mid_ranks(
    points: Cloud,
    queries: np.ndarray,
    targets: np.ndarray,
    *,
    representative: np.ndarray | None = None,
    block_rows: int | None = None,
    progress: Progress | None = None,
    precision: str = "auto",
) -> np.ndarray:
    """Mid-ranks of the ``targets`` (q, m) among all other rows of each of the ``queries`` (q,).

    Scores are sorted row by row; whatever lies too close to a target to be told apart by its score
    is recomputed from differences, where equality is decided.

    Parameters
    ----------
    points : Cloud
    queries : int array (q,)
    targets : int array (q, m)
        Must not name the query row itself.
    representative : int array (n,), optional
        A row equal to each row: identical rows are then recomputed once.
    block_rows, progress, precision
        As in :func:`nearest`.

    Examples
    --------
    >>> from hiddenscape.kernels.arrays import cloud
    >>> mid_ranks(cloud([[0.0], [1.0], [-1.0], [3.0]]), np.array([0]), np.array([[1, 3]]))
    array([[1.5, 3. ]])
    """
    out = np.empty(targets.shape, dtype=np.float64)
    same = np.arange(points.n) if representative is None else representative
    copies = np.bincount(same, minlength=points.n)[same]
    screen = make_screen(points, np.float64, largest_whole(points))

    def ranks(block: tuple[int, int]) -> np.ndarray:
        at = slice(*block)
        return _block_ranks(points, screen, queries[at], targets[at], same, copies)

    parts = list(blocks(len(queries), _block_rows(points.n, block_rows, 8 * cores())))
    for (a, b), found in zip(parts, in_threads(ranks, parts), strict=True):
        out[a:b] = found
        if progress is not None:
            progress(b, len(queries))
    return out


class _Ladder:
    """The precisions to try in turn, made when first needed, and what each has proven."""

    def __init__(self, points: Cloud, precision: str) -> None:
        small = points.n * points.n * points.d <= _SMALL
        self.points = points
        self.precisions: list[type[np.floating]] = [np.float32, np.float64]
        if precision == "float64" or (precision == "auto" and small):
            self.precisions = [np.float64]
        self.exact = False
        self.whole = largest_whole(points)
        self.screens: dict[type[np.floating], Screen] = {}
        self.proven = dict.fromkeys(self.precisions, 0)

    def __iter__(self) -> Iterator[tuple[Screen, bool]]:
        for p in tuple(self.precisions):
            if p not in self.screens:
                self.screens[p] = make_screen(self.points, p, self.whole)
            last = p is np.float64
            if last or not self.screens[p].thin:
                yield self.screens[p], last

    def record(self, screen: Screen, proven: np.ndarray) -> None:
        p = screen.dtype.type
        self.proven[p] += int(proven.sum())
        self.exact |= screen.exact
        if p is np.float32 and proven.mean() < 0.5:
            # Most rows climb: the first rung only costs time.
            self.precisions = [np.float64]
            self.screens.pop(np.float32, None)

    def certificate(self) -> str:
        parts = [f"{p.__name__} {c} rows" for p, c in self.proven.items() if c]
        how = "whole numbers without rounding" if self.exact else "proven bounds"
        return f"screened with {how} ({', '.join(parts)}), distances from differences"


def _block_rows(n: int, wanted: int | None, itemsize: int = 4) -> int:
    return wanted if wanted is not None else int(np.clip(_SCORES // (itemsize * n), 16, 1024))


def _batches(chosen: np.ndarray, count: np.ndarray) -> Iterator[np.ndarray]:
    """Rows in groups of about ``_PAIRS`` candidates."""
    if chosen.size:
        group = np.cumsum(count[chosen]) // _PAIRS
        yield from np.split(chosen, np.flatnonzero(np.diff(group)) + 1)


def _decide(
    points: Cloud,
    screen: Screen,
    waiting: np.ndarray,
    scores: np.ndarray,
    candidate: np.ndarray,
    k: int,
    part: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of some rows among their candidates."""
    local, column = np.nonzero(candidate[part])
    chosen = waiting[part]
    if screen.exact:
        d = screen.distances(chosen[local], scores[part[local], column])
    else:
        d = pair_distances(points, chosen[local], column)
    return _first(d, local, column, k)


def _first(
    d: np.ndarray, local: np.ndarray, column: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k first candidates of each row by (distance, row number)."""
    # Candidates come in ascending row number, and lexsort is stable.
    order = np.lexsort((d, local))
    start = np.searchsorted(local, np.arange(local[-1] + 1))
    take = order[start[:, None] + np.arange(k)]
    return column[take].astype(np.int32), d[take]


def _block_ranks(
    points: Cloud,
    screen: Screen,
    queries: np.ndarray,
    targets: np.ndarray,
    same: np.ndarray,
    copies: np.ndarray,
) -> np.ndarray:
    m = targets.shape[1]
    scores = screen.scores(queries)
    ordered = np.sort(scores, axis=1)
    if screen.exact:
        low = high = np.take_along_axis(scores, targets, axis=1)
        below, above = _positions(ordered, low, high)
        return np.asarray(1.0 + below + (above - below - 1) / 2)
    exact = pair_distances(points, np.repeat(queries, m), targets.ravel()).reshape(targets.shape)
    radius = screen.radius(exact)
    low = screen.surely_nearer(queries, radius)
    high = screen.surely_farther(queries, radius)
    below, above = _positions(ordered, low, high)
    # The band of a target holds the target and its copies; if nothing else, they tie among
    # themselves and all is known.
    alike = copies[targets] - (same[queries][:, None] == same[targets])
    out: np.ndarray = 1.0 + below + (alike - 1) / 2
    unsure = np.flatnonzero((above - below > alike).ravel())
    out.ravel()[unsure] = 1.0 + below.ravel()[unsure]
    for part in _batches(unsure, (above - below).ravel()):
        rows, columns, which = [], [], []
        for u in part:
            q, t = divmod(int(u), m)
            close = np.flatnonzero((scores[q] >= low[q, t]) & (scores[q] <= high[q, t]))
            rows.append(np.full(len(close), q))
            columns.append(same[close])
            which.append(np.full(len(close), u))
        flat = np.concatenate(which)
        key = np.concatenate(rows) * np.int64(points.n) + np.concatenate(columns)
        pairs, inverse = np.unique(key, return_inverse=True)
        d = pair_distances(points, queries[pairs // points.n], pairs % points.n)[inverse]
        target = exact.ravel()[flat]
        nearer = np.bincount(flat[d < target], minlength=targets.size)[part]
        equal = np.bincount(flat[d == target], minlength=targets.size)[part]
        out.ravel()[part] += nearer + (equal - 1) / 2
    return out


def _positions(
    ordered: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many sorted scores lie below ``low`` and not above ``high``, row by row."""
    below, above = np.empty(low.shape, dtype=np.int64), np.empty(low.shape, dtype=np.int64)
    for q in range(len(ordered)):
        below[q] = np.searchsorted(ordered[q], low[q], side="left")
        above[q] = np.searchsorted(ordered[q], high[q], side="right")
    return below, above
