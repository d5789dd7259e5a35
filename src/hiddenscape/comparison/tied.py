"""Neighbourhoods in which tied rows share the last places, and the mean rank of their members.

Private to this package. Most rows have exactly k members of weight 1. Where the k-th neighbour is
tied (identical rows, data on a grid), the s strictly closer rows weigh 1 and each of the t tied
ones (k - s) / t. Rows with many tied members form a :class:`Crowd`; the others are padded into one
table, so that a single pass over a second space ranks them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import DISTANCE_ERROR, Cloud, blocks, cloud, pair_distances
from hiddenscape.kernels.screen import Screen, make_screen
from hiddenscape.neighbors.duplicates import Duplicates, find_duplicates
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.ranks import ranks_of

__all__ = ["Crowd", "Neighborhoods", "mean_ranks", "tied_neighborhoods"]

_PADDING = 8
_BLOCK_ENTRIES = 1 << 21


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """Identical rows and the large neighbourhood they share.

    ``members`` (with ``weights``) holds the rows themselves if they are more than one: whoever is
    asked leaves itself out.
    """

    rows: np.ndarray
    members: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Neighborhoods:
    """Weighted neighbourhoods of n rows; the weights of a row sum to k.

    ``targets`` and ``weights`` (n, m) are padded with weight 0; rows of a crowd weigh 0 there.
    """

    k: int
    targets: np.ndarray
    weights: np.ndarray
    crowds: tuple[Crowd, ...]

    @property
    def tied_share(self) -> float:
        """Share of rows whose k-th neighbour is tied with the next."""
        tied = (self.weights[:, : self.k] != 1).any(axis=1)
        return float(np.count_nonzero(tied)) / len(tied)


def tied_neighborhoods(points: np.ndarray, graph: NeighborGraph, k: int) -> Neighborhoods:
    """The neighbourhoods of a graph with ties resolved by shares.

    Parameters
    ----------
    points : array (n, d)
        Read only where ties run past the end of the stored lists.
    graph : NeighborGraph
        Must store min(k + 1, n - 1) neighbours.

    Raises
    ------
    InputError
        If the graph stores too few neighbours.
    """
    n = graph.n
    if graph.k < min(k + 1, n - 1):
        raise InputError(
            f"the graph stores {graph.k} neighbours per row; an imbalance with k = {k} needs "
            f"{min(k + 1, n - 1)} to see whether the last is tied: "
            f"find_neighbors(points, k={min(k + 1, n - 1)})"
        )
    plain = graph.indices[:, :k].astype(np.int64)
    if graph.k == k:
        return Neighborhoods(k, plain, np.ones(plain.shape), ())
    d = graph.distances
    tied = np.flatnonzero(d[:, k - 1] == d[:, k])
    width = min(k + _PADDING, n - 1) if tied.size else k
    targets = np.repeat(plain[:, :1], width, axis=1)
    targets[:, :k] = plain
    weights = np.zeros((n, width))
    weights[:, :k] = 1.0
    crowds: list[Crowd] = []
    for crowd in _tied_rows(points, graph, k, tied):
        # Identical rows are members of each other; a row alone is no member of its own.
        if len(crowd.members) - (len(crowd.rows) > 1) > width:
            crowds.append(crowd)
            weights[crowd.rows] = 0.0
            continue
        for i in crowd.rows:
            keep = crowd.members != i
            m = np.count_nonzero(keep)
            targets[i, :m] = crowd.members[keep]
            weights[i] = 0.0
            weights[i, :m] = crowd.weights[keep]
    return Neighborhoods(k, targets, weights, tuple(crowds))


def mean_ranks(
    points: np.ndarray,
    spaces: Sequence[Neighborhoods],
    progress: Callable[[int, int], object] | None = None,
    queries: np.ndarray | None = None,
) -> np.ndarray:
    """Mean rank, in the space of ``points``, of the neighbours in each of several other spaces.

    One pass of distances serves all spaces; only crowds cost another.

    Returns
    -------
    float64 array (len(spaces), n), or (len(spaces), q) of the ``queries`` only
    """
    asked = np.arange(len(points)) if queries is None else queries
    targets = np.concatenate([s.targets[asked] for s in spaces], axis=1)
    ranks = ranks_of(points, targets, queries=asked, progress=progress)
    out = np.empty((len(spaces), len(points)))
    start = 0
    for row, space in zip(out, spaces, strict=True):
        stop = start + space.targets.shape[1]
        row[asked] = (ranks[:, start:stop] * space.weights[asked]).sum(axis=1) / space.k
        start = stop
    for which, rows, means in _crowd_means(points, spaces, asked):
        out[which, rows] = means
    return out[:, asked]


def _tied_rows(
    points: np.ndarray, graph: NeighborGraph, k: int, tied: np.ndarray
) -> Iterator[Crowd]:
    """Neighbourhoods of the rows whose k-th neighbour is tied, identical rows together."""
    d = graph.distances
    complete = d[tied, -1] > d[tied, k - 1] if graph.k < graph.n - 1 else np.full(len(tied), True)
    for i in tied[complete]:
        inside = np.flatnonzero(d[i] <= d[i, k - 1])
        closer = d[i, inside] < d[i, k - 1]
        members = graph.indices[i, inside].astype(np.int64)
        yield Crowd(np.array([i]), members, _shares(closer, k, len(members) - closer.sum()))
    if complete.all():
        return
    if graph.metric != "euclidean":
        raise InputError(
            f"ties run past the {graph.k} stored neighbours of row {tied[~complete][0]} in a graph "
            f"of {graph.metric} distances: store more neighbours"
        )
    yield from _ties_beyond_the_lists(cloud(points), find_duplicates(points), k, tied[~complete])


def _ties_beyond_the_lists(
    data: Cloud, same: Duplicates, k: int, rows: np.ndarray
) -> Iterator[Crowd]:
    """Ties that the stored lists do not end: look at the distances to all distinct rows."""
    reps = same.distinct_rows
    group_of = np.searchsorted(reps, same.representative)
    by_group = np.argsort(group_of, kind="stable")
    edges = np.searchsorted(group_of[by_group], np.arange(len(reps) + 1))
    size = np.diff(edges)
    for own in np.unique(group_of[rows]):
        d = pair_distances(data, np.full(len(reps), reps[own]), reps)
        count = size.copy()
        count[own] -= 1
        order = np.argsort(d, kind="stable")
        last = d[order[np.searchsorted(np.cumsum(count[order]), k)]]
        chosen = np.flatnonzero((d <= last) & (count > 0))
        members = np.concatenate([by_group[edges[g] : edges[g + 1]] for g in chosen])
        closer = np.repeat(d[chosen] < last, size[chosen])
        n_tied = int(count[chosen][d[chosen] == last].sum())
        s = int(count[chosen][d[chosen] < last].sum())
        weights = np.where(closer, 1.0, (k - s) / n_tied)
        yield Crowd(by_group[edges[own] : edges[own + 1]], members, weights)


def _shares(closer: np.ndarray, k: int, n_tied: int) -> np.ndarray:
    return np.where(closer, 1.0, (k - np.count_nonzero(closer)) / n_tied)


def _crowd_means(
    points: np.ndarray, spaces: Sequence[Neighborhoods], asked: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Mean ranks of the rows of crowds, as (space, rows, means).

    So many members that ranking all rows costs less than asking for each: a block of rows is ranked
    once for all spaces in which it belongs to a crowd.
    """
    if not any(s.crowds for s in spaces):
        return
    data = cloud(points)
    same = find_duplicates(data.original).representative
    screen = make_screen(data, "float64")
    crowd_of = np.full((len(spaces), data.n), -1)
    for of, space in zip(crowd_of, spaces, strict=True):
        for c, crowd in enumerate(space.crowds):
            of[crowd.rows] = c
    waiting = asked[(crowd_of[:, asked] >= 0).any(axis=0)]
    waiting = waiting[np.lexsort(crowd_of[:, waiting])]
    for start, stop in blocks(len(waiting), max(1, _BLOCK_ENTRIES // data.n)):
        rows = waiting[start:stop]
        ranks = _all_mid_ranks(data, screen, rows, same)
        for which, space in enumerate(spaces):
            ids = crowd_of[which, rows]
            for c in np.unique(ids[ids >= 0]):
                crowd, lines = space.crowds[c], np.flatnonzero(ids == c)
                total = ranks[np.ix_(lines, crowd.members)] @ crowd.weights
                yield which, rows[lines], total / space.k


def _all_mid_ranks(data: Cloud, screen: Screen, rows: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Mid-ranks of all rows among the neighbours of some; 0 for a row itself. (rows, n)

    Rows are ordered by their scores. Neighbours in that order whose scores differ by less than
    twice the error of both form a run; the distances in a run are recomputed, and decide.
    """
    n = data.n
    scores = screen.scores(rows)
    order = np.argsort(scores, axis=1)
    apart = np.diff(np.take_along_axis(scores, order, axis=1), axis=1)
    apart = apart > _reach(screen, rows)[:, None]
    out = np.empty(scores.shape)
    places = np.broadcast_to(np.arange(1.0, n + 1), scores.shape)
    np.put_along_axis(out, order, places, axis=1)
    joined = np.zeros(scores.shape, dtype=bool)
    joined[:, 1:] = ~apart
    joined[:, :-1] |= ~apart
    line, place = np.nonzero(joined)
    if line.size:
        column = order[line, place]
        opens = np.concatenate([[True], (np.diff(line) > 0) | (np.diff(place) > 1)])
        opens[1:] |= apart[line[1:], place[1:] - 1] & (place[1:] > 0)
        run = np.cumsum(opens) - 1
        d = _distances_in_runs(data, rows[line], same[column], run)
        by = np.lexsort((d, run))
        tied = np.cumsum(
            np.concatenate([[True], (np.diff(run[by]) > 0) | (np.diff(d[by]) > 0)])
        ) - 1  # fmt: skip
        # Sorting moves entries within their run only, so place number t goes to entry by[t].
        mean = np.bincount(tied, place + 1.0) / np.bincount(tied)
        out[line[by], column[by]] = mean[tied]
    out[np.arange(len(rows)), rows] = 0.0
    return out


def _distances_in_runs(
    data: Cloud, row: np.ndarray, member: np.ndarray, run: np.ndarray
) -> np.ndarray:
    """Distances that order the members of runs; 0 throughout runs of identical rows."""
    first = np.flatnonzero(np.diff(run, prepend=-1))
    mixed = np.minimum.reduceat(member, first) < np.maximum.reduceat(member, first)
    asked = np.flatnonzero(mixed[run])
    pairs, inverse = np.unique(row[asked] * np.int64(data.n) + member[asked], return_inverse=True)
    out = np.zeros(len(run))
    out[asked] = pair_distances(data, pairs // data.n, pairs % data.n)[inverse]
    return out


def _reach(screen: Screen, rows: np.ndarray) -> np.ndarray:
    """Difference of two scores beyond which the recomputed distances are surely in that order.

    Twice the bound of :mod:`hiddenscape.kernels.screen`, with the errors of the recomputed
    distances, for the worst pair; and twice that again, for the norms are computed ones.
    """
    sizes = screen.norms[rows] + screen.norms.max()
    error = (screen.kappa + 8 * DISTANCE_ERROR) * sizes
    error += screen.tau + 8 * screen.cloud.d * screen.quantum
    return np.asarray(4 * error)
