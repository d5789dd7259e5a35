"""Distances between pairs on a torch device, with the bits of ``arrays.pair_distances``.

numpy adds a row of squares in a fixed order (Higham 1993, doi:10.1137/0914050): fewer than 8 terms
one by one; up to 128 terms in 8 lanes that are joined as ((0+1)+(2+3))+((4+5)+(6+7)), what is left
over one by one; longer rows as the sum of two parts, the first a multiple of 8 near the half. The
same additions in the same order give the same bits on every device with IEEE float64. No product is
fused with a sum because each is an operation of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch

from hiddenscape.kernels.arrays import Cloud
from hiddenscape.kernels.arrays import pair_distances as on_host
from hiddenscape.kernels.gpu_points import Source

__all__ = ["pair_distances", "pairwise_sum", "square_root"]

_RUN = 128
_LANES = 8
_TINY = 2.0**-890  # sums below this are decided by the host, which scales such pairs


def pairwise_sum(terms: torch.Tensor) -> torch.Tensor:
    """Sums of the rows of ``terms`` (p, d), float64, none negative, in numpy's order.

    Examples
    --------
    >>> pairwise_sum(torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)).tolist()
    [6.0]
    """
    d = terms.shape[1]
    if d < _LANES:
        return _one_by_one(terms[:, 0].clone(), terms[:, 1:])
    starts, counts = _runs(d)
    whole = d - d % _LANES
    lanes = terms[:, :whole].view(-1, whole // _LANES, _LANES)
    first = torch.tensor(starts, device=terms.device)
    total = lanes.index_select(1, first)
    shared = min(counts)
    for step in range(1, shared):
        total += lanes.index_select(1, first + step)
    for step in range(shared, max(counts)):
        longer = [r for r, c in enumerate(counts) if c > step]
        at = torch.tensor(longer, device=terms.device)
        total[:, at] += lanes.index_select(1, first[at] + step)
    for _ in range(3):
        total = total[..., 0::2] + total[..., 1::2]
    sums = list(total[..., 0].unbind(1))
    sums[-1] = _one_by_one(sums[-1].clone(), terms[:, whole:])
    return _joined(iter(sums), d)


def pair_distances(source: Source, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
    """Distances between rows ``i`` and rows ``j`` (p,), float64, on the device of ``source``.

    Pairs of scaled clouds, and pairs so close that their squares underflow, are computed by
    :func:`hiddenscape.kernels.arrays.pair_distances` on the host.
    """
    points = source.points
    if points.exponent:
        return _host(points, source, i, j)
    out = torch.empty(len(i), dtype=torch.float64, device=source.device)
    for at, left, right in source.pairs(i, j):
        difference = left.double()
        difference -= right
        out[at] = pairwise_sum(difference.square_())
    tiny = torch.nonzero(out < _TINY).ravel()
    out = square_root(out)
    if tiny.numel():
        # Equal rows are at distance zero; other tiny sums may have lost terms.
        apart = torch.empty(len(tiny), dtype=torch.bool, device=source.device)
        for at, left, right in source.pairs(i[tiny], j[tiny]):
            apart[at] = (left != right).any(1)
        tiny = tiny[apart]
    if tiny.numel():
        out[tiny] = _host(points, source, i[tiny], j[tiny])
    return out


def square_root(x: torch.Tensor) -> torch.Tensor:
    """Correctly rounded square roots, float64.

    CUDA's are; torch's own on the processor may come from a vector library that is an ulp off.

    Examples
    --------
    >>> square_root(torch.tensor([9.0], dtype=torch.float64)).tolist()
    [3.0]
    """
    return torch.from_numpy(np.sqrt(x.numpy())) if x.device.type == "cpu" else x.sqrt()


def _host(points: Cloud, source: Source, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
    found = on_host(points, i.cpu().numpy(), j.cpu().numpy())
    return torch.from_numpy(found).to(source.device)


def _one_by_one(total: torch.Tensor, terms: torch.Tensor) -> torch.Tensor:
    for column in terms.unbind(1):
        total += column
    return total


@lru_cache(maxsize=64)
def _runs(d: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First group of 8 columns of every run, and how many groups it has."""
    starts: list[int] = []
    counts: list[int] = []

    def walk(start: int, n: int) -> None:
        if n <= _RUN:
            starts.append(start // _LANES)
            counts.append(n // _LANES)
        else:
            half = _half(n)
            walk(start, half)
            walk(start + half, n - half)

    walk(0, d)
    return tuple(starts), tuple(counts)


def _half(n: int) -> int:
    return n // 2 - n // 2 % _LANES


def _joined(sums: Iterator[torch.Tensor], n: int) -> torch.Tensor:
    if n <= _RUN:
        return next(sums)
    half = _half(n)
    return _joined(sums, half) + _joined(sums, n - half)
