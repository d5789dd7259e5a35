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
from hiddenscape.kernels.arrays import Cloud, cloud, pair_distances
from hiddenscape.neighbors.duplicates import Duplicates, find_duplicates
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.ranks import ranks_of

__all__ = ["Crowd", "Neighborhoods", "mean_ranks", "tied_neighborhoods"]

_PADDING = 8
_BATCH_ENTRIES = 1 << 21


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
        if len(crowd.members) - 1 > width:
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
) -> np.ndarray:
    """Mean rank, in the space of ``points``, of the neighbours in each of several other spaces.

    One pass of distances serves all spaces; only crowds cost another.

    Returns
    -------
    float64 array (len(spaces), n)
    """
    targets = np.concatenate([s.targets for s in spaces], axis=1)
    ranks = ranks_of(points, targets, progress=progress)
    out = np.empty((len(spaces), len(targets)))
    start = 0
    for row, space in zip(out, spaces, strict=True):
        stop = start + space.targets.shape[1]
        row[:] = (ranks[:, start:stop] * space.weights).sum(axis=1) / space.k
        start = stop
    for which, rows, members, weights in _crowd_batches(points, spaces):
        found = ranks_of(points, members, queries=rows)
        k = np.array([spaces[s].k for s in which])
        out[which, rows] = (found * weights).sum(axis=1) / k
    return out


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


def _crowd_batches(
    points: np.ndarray, spaces: Sequence[Neighborhoods]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of crowds, (space, row, members, weights), padded to tables of bounded size.

    Members that are identical in this space have one rank: each such group is asked once.
    """
    if not any(s.crowds for s in spaces):
        return
    same = find_duplicates(points).representative
    entries: list[tuple[int, int, np.ndarray, np.ndarray]] = []
    held = 0
    for which, space in enumerate(spaces):
        for crowd in space.crowds:
            for row, members, weights in _merged(crowd, same):
                entries.append((which, row, members, weights))
                held += len(members)
                if held >= _BATCH_ENTRIES:
                    yield from _tables(entries)
                    entries, held = [], 0
    yield from _tables(entries)


def _merged(crowd: Crowd, same: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    groups = same[crowd.members]
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    first = crowd.members[order[starts]]
    weight = np.add.reduceat(crowd.weights[order], starts)
    size = np.diff(starts, append=len(order))
    second = crowd.members[order[np.where(size > 1, starts + 1, starts)]]
    for row in crowd.rows:
        me = np.flatnonzero(crowd.members == row)
        if not me.size:
            yield int(row), first, weight
            continue
        g = int(np.searchsorted(groups[order[starts]], same[row]))
        members, weights = first.copy(), weight.copy()
        weights[g] -= crowd.weights[me[0]]
        if members[g] == row:
            members[g] = second[g]
        if size[g] == 1:
            members, weights = np.delete(members, g), np.delete(weights, g)
        yield int(row), members, weights


def _tables(
    entries: list[tuple[int, int, np.ndarray, np.ndarray]],
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of similar length together, longest first, so that little is padding."""
    entries.sort(key=lambda e: len(e[2]), reverse=True)
    start = 0
    while start < len(entries):
        width = len(entries[start][2])
        part = entries[start : start + max(16, _BATCH_ENTRIES // width)]
        start += len(part)
        members = np.stack([np.resize(e[2], width) for e in part])
        weights = np.zeros((len(part), width))
        for line, entry in zip(weights, part, strict=True):
            line[: len(entry[3])] = entry[3]
        which, rows = (np.array([e[c] for e in part]) for c in (0, 1))
        yield which, rows, members, weights
