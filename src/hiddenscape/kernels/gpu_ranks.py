"""Mid-ranks of targets for a block of queries, by counting scores on a torch device."""

from __future__ import annotations

import torch

from hiddenscape.kernels.arrays import DISTANCE_ERROR
from hiddenscape.kernels.gpu_pairs import pair_distances
from hiddenscape.kernels.gpu_points import Source
from hiddenscape.kernels.gpu_screen import Screen

__all__ = ["count_ranks", "count_whole_ranks"]

_MARGIN = 3 * DISTANCE_ERROR
_PAIRS = 1 << 22  # pairs recomputed at a time


def count_whole_ranks(
    screen: Screen, queries: torch.Tensor, targets: torch.Tensor, width: int
) -> torch.Tensor:
    """Mid-ranks (q, m) from scores without error: less and equal are decided by the scores."""
    source = screen.source
    squares = pair_distances(source, *_pairs(queries, targets)).square_().round_()
    goal = squares.view(targets.shape) - source.norms[queries][:, None]
    doubled = torch.zeros(targets.shape, dtype=torch.int64, device=source.device)
    for a, b, scores in screen.tiles(queries, width):
        _hide(scores, queries, a, b)
        for t in range(targets.shape[1]):
            edge = goal[:, t : t + 1]
            doubled[:, t] += (scores < edge).sum(1) + (scores <= edge).sum(1)
    return (doubled + 1).double() / 2


def count_ranks(
    screen: Screen,
    queries: torch.Tensor,
    targets: torch.Tensor,
    same: torch.Tensor,
    width: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mid-ranks (q, m), and whether a target itself lay outside its bound.

    A row is nearer when its upper bound lies below the target's distance, farther when its lower
    bound lies above; the rest is recomputed, where equality is decided. Rows that ``same`` calls
    equal to the target tie with it and are not recomputed.
    """
    source, norms = screen.source, screen.source.norms
    exact = pair_distances(source, *_pairs(queries, targets)).view(targets.shape)
    radius, quantum = source.radius(exact), 3 * source.quantum
    own = screen.own(queries)[:, None]
    twice = 2 * screen.kappa
    high = (radius * (1 + _MARGIN) + quantum) ** 2 - own
    low = (radius * (1 - _MARGIN) - quantum).clamp_min_(0) ** 2
    low = low - own - twice * norms[queries][:, None] - 2 * screen.tau
    nearer = torch.zeros(targets.shape, dtype=torch.int64, device=source.device)
    equal = torch.zeros_like(nearer)
    broken = torch.zeros((), dtype=torch.bool, device=source.device)
    kin = same[queries][:, None] == same[targets]
    for a, b, scores in screen.tiles(queries, width):
        least = scores.double()
        _hide(least, queries, a, b)
        most = least + twice * norms[a:b]
        copies = torch.bincount(same[a:b], minlength=source.n)
        inside = ((queries >= a) & (queries < b))[:, None]
        alike = copies[same[targets]] - (kin & inside).long()
        equal += alike
        for t in range(targets.shape[1]):
            below = (most < low[:, t : t + 1]).sum(1)
            band = (least <= high[:, t : t + 1]).sum(1) - below
            nearer[:, t] += below
            broken = broken | (band < alike[:, t]).any()
            unsure = torch.nonzero(band > alike[:, t]).ravel()
            for part in _parts(unsure, band):
                close = (least[part] <= high[part, t : t + 1]) & (
                    most[part] >= low[part, t : t + 1]
                )
                close &= same[a:b] != same[targets[part, t]][:, None]
                less, tied = _decide(source, queries[part], exact[part, t], close, same, a)
                nearer[part, t] += less
                equal[part, t] += tied
    return 1.0 + nearer.double() + (equal.double() - 1) / 2, broken


def _decide(
    source: Source,
    queries: torch.Tensor,
    exact: torch.Tensor,
    close: torch.Tensor,
    same: torch.Tensor,
    start: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """How many of the close columns are nearer than, and as near as, each query's target."""
    local, column = torch.nonzero(close, as_tuple=True)
    keys = local * source.n + same[column + start]
    pairs, which = torch.unique(keys, return_inverse=True)
    row = torch.div(pairs, source.n, rounding_mode="floor")
    d = pair_distances(source, queries[row], pairs - row * source.n)[which]
    goal = exact[local]
    empty = torch.zeros(len(queries), dtype=torch.int64, device=source.device)
    less = empty.index_add(0, local, (d < goal).long())
    return less, empty.index_add(0, local, (d == goal).long())


def _pairs(queries: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return queries.repeat_interleave(targets.shape[1]), targets.reshape(-1)


def _parts(unsure: torch.Tensor, band: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Unsure queries in groups with about ``_PAIRS`` close columns together."""
    if not unsure.numel():
        return ()
    group = torch.div(torch.cumsum(band[unsure], 0), _PAIRS, rounding_mode="floor")
    sizes = torch.unique_consecutive(group, return_counts=True)[1]
    return torch.split(unsure, sizes.tolist())


def _hide(scores: torch.Tensor, queries: torch.Tensor, a: int, b: int) -> None:
    """A row does not count itself."""
    at = (queries - a).clamp(0, b - a - 1)[:, None]
    inside = ((queries >= a) & (queries < b))[:, None]
    scores.scatter_(1, at, scores.gather(1, at).masked_fill_(inside, torch.inf))
