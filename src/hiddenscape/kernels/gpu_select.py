"""The nearest rows of a block of rows: candidates from scores, distances from differences, proof.

A candidate list holds the smallest lower bounds L of a row. The k-th smallest upper bound U caps
the k-th squared distance, so candidates with L above it need no distance. After the distances, a
row is proven when the smallest L that was *not* a candidate lies above its k-th distance. Distances
computed carry a relative error below DISTANCE_ERROR; every comparison leaves three times that, and
the spacing of the smallest float64 distances, as a margin, so that ties are never cut off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from hiddenscape.kernels.arrays import DISTANCE_ERROR
from hiddenscape.kernels.gpu_pairs import pair_distances, square_root
from hiddenscape.kernels.gpu_points import Source
from hiddenscape.kernels.gpu_screen import Screen

__all__ = ["Found", "among_all", "among_candidates", "among_whole", "smallest"]

_MARGIN = 3 * DISTANCE_ERROR
_PAIRS = 1 << 22  # pairs decided at a time


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The lists of some rows.

    Attributes
    ----------
    indices : int64 tensor (r, k)
    distances : float64 tensor (r, k)
    proven : bool tensor (r,)
    broken : bool tensor ()
        A recomputed distance lay outside the bound: the arithmetic is not what it claims.
    """

    indices: torch.Tensor
    distances: torch.Tensor
    proven: torch.Tensor
    broken: torch.Tensor


def smallest(values: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``m`` smallest entries of every row (r, c) and their columns, in ascending order.

    Wide rows are cut in groups: the m smallest entries lie in the m groups with the smallest
    minima, so one reading and two short selections replace a selection among all.

    Examples
    --------
    >>> smallest(torch.tensor([[3.0, 1.0, 2.0]]), 2)[1].tolist()
    [[1, 2]]
    """
    r, c = values.shape
    m = min(m, c)
    group = 8
    while group * group * m < c and group < 256:
        group *= 2
    count = c // group
    if count <= 2 * m:
        return torch.topk(values, m, dim=1, largest=False)
    cut = count * group
    grouped = values[:, :cut].view(r, count, group)
    best = torch.topk(grouped.amin(2), m, dim=1, largest=False, sorted=False).indices
    inside = grouped.gather(1, best[:, :, None].expand(-1, -1, group)).flatten(1)
    steps = torch.arange(group, device=values.device)
    columns = (best[:, :, None] * group + steps).flatten(1)
    if cut < c:
        inside = torch.cat((inside, values[:, cut:]), 1)
        rest = torch.arange(cut, c, device=values.device)
        columns = torch.cat((columns, rest.expand(r, -1)), 1)
    found, at = torch.topk(inside, m, dim=1, largest=False)
    return found, columns.gather(1, at)


def among_candidates(screen: Screen, rows: torch.Tensor, k: int, m: int, width: int) -> Found:
    """The ``k`` nearest of some rows among ``m`` candidates each, proven or not."""
    source = screen.source
    witness = _witness(rows, source.n)
    # One more than there are candidates: the smallest score that was discarded.
    kept = _empty(len(rows), screen.rung.scores, source)
    seen = torch.zeros((len(rows), 2), dtype=torch.float64, device=source.device)
    watched = torch.stack((rows, witness), 1)
    for a, b, scores in screen.tiles(rows, width):
        inside = (watched >= a) & (watched < b)
        at = (watched - a).clamp_(0, b - a - 1)
        seen = torch.where(inside, scores.gather(1, at).double(), seen)
        _forget(scores, rows, a, b)
        values, columns = smallest(scores, m + 1)
        kept = _merged(kept, (values, columns + a), m + 1)
    values, columns = kept
    own = screen.own(rows)[:, None]
    lower = values.double() + own
    rest = lower[:, m] if lower.shape[1] > m else torch.full_like(lower[:, 0], torch.inf)
    lower, columns = lower[:, :m], columns[:, :m]
    upper = lower + screen.width(rows, columns)
    limit = _reach(source, smallest(upper, k)[0][:, -1].clamp_min(0).sqrt())
    indices, distances, broken = _recomputed(source, rows, columns, lower, upper, limit, k)
    at_self = seen + own
    spread = screen.width(rows, watched)
    away = source.radius(pair_distances(source, rows, witness))
    broken = broken | (at_self[:, 0] > 0).any() | (at_self[:, 0] + spread[:, 0] < 0).any()
    broken = broken | _outside(source, away, at_self[:, 1], at_self[:, 1] + spread[:, 1])
    proven = rest > _reach(source, source.radius(distances[:, -1]))
    return Found(indices, distances, proven, broken)


def among_whole(screen: Screen, rows: torch.Tensor, k: int, width: int) -> Found:
    """The ``k`` nearest of some rows of whole numbers: scores are exact, and so is their order."""
    source = screen.source
    own = source.norms[rows].to(torch.int64)[:, None]
    kept = _empty(len(rows), torch.int64, source)
    for a, b, scores in screen.tiles(rows, width):
        # Squared distance and row number in one key: the order of the lists, without ties.
        keys = scores.to(torch.int64).add_(own).mul_(source.n)
        keys += torch.arange(a, b, device=source.device)
        _forget(keys, rows, a, b)
        kept = _merged(kept, smallest(keys, k), k)
    squares = torch.div(kept[0], source.n, rounding_mode="floor")
    yes = torch.ones(len(rows), dtype=torch.bool, device=source.device)
    return Found(kept[0] - squares * source.n, square_root(squares.double()), yes, ~yes.any())


def among_all(screen: Screen, rows: torch.Tensor, k: int, width: int) -> Found:
    """The ``k`` nearest of some rows among everything their scores do not exclude: proven."""
    source = screen.source
    lower = torch.empty((len(rows), source.n), dtype=torch.float64, device=source.device)
    own = screen.own(rows)[:, None]
    for a, b, scores in screen.tiles(rows, width):
        _forget(scores, rows, a, b)
        lower[:, a:b] = scores
    lower += own
    norms = source.norms
    spread = 2 * screen.kappa * norms + 2 * screen.tau
    upper = lower + spread
    upper += 2 * screen.kappa * norms[rows][:, None]
    kth = smallest(upper, k)[0][:, -1]
    limit = _reach(source, kth.clamp_min(0).sqrt())
    chosen = lower <= limit[:, None]
    indices = torch.empty((len(rows), k), dtype=torch.int64, device=source.device)
    distances = torch.empty((len(rows), k), dtype=torch.float64, device=source.device)
    broken = torch.zeros((), dtype=torch.bool, device=source.device)
    for a, b in _batches(chosen.sum(1).tolist()):
        local, column = torch.nonzero(chosen[a:b], as_tuple=True)
        d = pair_distances(source, rows[a:b][local], column)
        at = (local + a, column)
        broken = broken | _outside(source, source.radius(d), lower[at], upper[at])
        indices[a:b], distances[a:b] = _first(d, local, column, b - a, k)
    yes = torch.ones(len(rows), dtype=torch.bool, device=source.device)
    return Found(indices, distances, yes, broken)


def _recomputed(
    source: Source,
    rows: torch.Tensor,
    columns: torch.Tensor,
    lower: torch.Tensor,
    upper: torch.Tensor,
    limit: torch.Tensor,
    k: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Nearest candidates, their distances, and whether one of them lay outside its bound."""
    order = torch.argsort(columns, dim=1)
    columns, lower, upper = (x.gather(1, order) for x in (columns, lower, upper))
    local, slot = torch.nonzero(lower <= limit[:, None], as_tuple=True)
    d = pair_distances(source, rows[local], columns[local, slot])
    broken = _outside(source, source.radius(d), lower[local, slot], upper[local, slot])
    table = torch.full(columns.shape, torch.inf, dtype=torch.float64, device=source.device)
    table[local, slot] = d
    # Columns ascend, so a stable sort by distance leaves ties in the order of row numbers.
    distances, order = torch.sort(table, dim=1, stable=True)
    return columns.gather(1, order[:, :k]), distances[:, :k], broken


def _first(
    d: torch.Tensor, local: torch.Tensor, column: torch.Tensor, count: int, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k first pairs of each of ``count`` rows by (distance, column); columns ascend."""
    order = torch.argsort(d, stable=True)
    order = order[torch.argsort(local[order], stable=True)]
    start = torch.searchsorted(local, torch.arange(count, device=local.device))
    take = order[start[:, None] + torch.arange(k, device=local.device)]
    return column[take], d[take]


def _reach(source: Source, radius: torch.Tensor) -> torch.Tensor:
    """A squared distance above this means a computed distance above what ``radius`` stands for."""
    return (radius * (1 + _MARGIN) + 3 * source.quantum) ** 2


def _outside(
    source: Source, radius: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor
) -> torch.Tensor:
    """Whether a recomputed distance contradicts its bound."""
    least = (radius * (1 - _MARGIN) - 3 * source.quantum).clamp_min(0) ** 2
    return ((_reach(source, radius) < lower) | (least > upper)).any()


def _witness(rows: torch.Tensor, n: int) -> torch.Tensor:
    """Another row for every row, spread over all: its distance is recomputed to check the bound."""
    return (rows + 1 + (rows * 7919) % (n - 1)) % n


def _forget(scores: torch.Tensor, rows: torch.Tensor, a: int, b: int) -> None:
    """Make a row's score against itself larger than all others, without waiting for the device."""
    at = (rows - a).clamp(0, b - a - 1)[:, None]
    largest = torch.inf if scores.is_floating_point() else torch.iinfo(scores.dtype).max
    inside = ((rows >= a) & (rows < b))[:, None]
    scores.scatter_(1, at, scores.gather(1, at).masked_fill_(inside, largest))


def _empty(r: int, dtype: torch.dtype, source: Source) -> tuple[torch.Tensor, torch.Tensor]:
    columns = torch.empty((r, 0), dtype=torch.int64, device=source.device)
    return columns.to(dtype), columns


def _merged(
    one: tuple[torch.Tensor, torch.Tensor], two: tuple[torch.Tensor, torch.Tensor], m: int
) -> tuple[torch.Tensor, torch.Tensor]:
    if not one[0].shape[1]:
        return two
    values, columns = (torch.cat(pair, 1) for pair in zip(one, two, strict=True))
    found, at = torch.topk(values, min(m, values.shape[1]), dim=1, largest=False)
    return found, columns.gather(1, at)


def _batches(counts: list[int]) -> Iterator[tuple[int, int]]:
    """Ranges of rows with about ``_PAIRS`` pairs together."""
    start, held = 0, 0
    for row, count in enumerate(counts):
        if held and held + count > _PAIRS:
            yield start, row
            start, held = row, 0
        held += count
    yield start, len(counts)
