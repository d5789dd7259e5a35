"""Exact neighbours and ranks with torch, on any of its devices: the contract of ``cpu``.

Scores of all pairs come from matrix products in the fastest arithmetic the device has, with a
proven bound on their error (:mod:`hiddenscape.kernels.gpu_rungs`). Every distance that leaves is
computed from float64 differences, bit for bit that of the reference. A row whose list is not proven
complete climbs to the next arithmetic; in float64, the last, everything that scores cannot exclude
is computed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hiddenscape.errors import HiddenscapeError, InputError
from hiddenscape.kernels.arrays import Cloud, blocks
from hiddenscape.kernels.certificate import Certificate
from hiddenscape.kernels.gpu_points import Source
from hiddenscape.kernels.gpu_ranks import count_ranks, count_whole_ranks
from hiddenscape.kernels.gpu_rungs import Rung, ladder
from hiddenscape.kernels.gpu_screen import Screen, exact_rung
from hiddenscape.kernels.gpu_select import among_all, among_candidates, among_whole
from hiddenscape.kernels.gpu_shares import (
    WHOLE,
    Lists,
    Progress,
    Share,
    on,
    open_devices,
    shares,
    together,
)
from hiddenscape.kernels.screen import largest_whole

__all__ = ["Progress", "mid_ranks", "nearest"]

_USEFUL = 0.5  # share of proven rows in the first block below which a rung is left


def nearest(
    points: Cloud,
    k: int,
    *,
    block_rows: int | None = None,
    memory: int | None = None,
    precision: str = "auto",
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    device: str | torch.device = "cuda",
    devices: Sequence[str | torch.device] | None = None,
    resident: torch.Tensor | None = None,
) -> tuple[np.ndarray, np.ndarray, Certificate]:
    """The ``k`` nearest rows of every row by (distance, row number), itself left out.

    The result does not depend on device, precision, memory or blocks.

    Parameters
    ----------
    points : Cloud
    k : int
        1 to n - 1.
    block_rows : int, optional
        Rows per block of scores; by default what the memory bears.
    memory : int, optional
        Bytes to use on each device; by default most of what is free. Points that do not fit are
        read from the host (or the file behind it) tile by tile.
    precision : str
        First rung of the ladder: ``bfloat16``, ``tf32``, ``bfloat16x3``, ``float32``, ``float64``;
        ``auto`` takes the fastest the device has. Devices without its units emulate it.
    progress : callable, optional
        Called with (rows done, rows in all).
    checkpoint : None
        This kernel keeps no state on disk.
    device : str or torch.device
    devices : sequence, optional
        Several devices; each takes a share of the rows.
    resident : tensor (n, d), optional
        ``points.values``, already on the one device: they are not sent again.

    Returns
    -------
    indices : int32 array (n, k)
    distances : float64 array (n, k)
    certificate : Certificate

    Raises
    ------
    InputError
        For an unknown device or precision, a checkpoint, or a resident copy of another kind.
    HiddenscapeError
        If distances contradict the float64 scores: the device does not compute as it should.

    Warns
    -----
    RuntimeWarning
        If distances contradict the scores of a lower rung: its rows are all done again.

    Examples
    --------
    >>> from hiddenscape.kernels.arrays import cloud
    >>> found = nearest(cloud([[0.0], [1.0], [3.0]]), 1, device="cpu")
    >>> found[0].ravel().tolist(), str(found[2])[:32]
    ([1, 0, 1], 'proven by whole numbers (3 rows)')
    """
    if checkpoint is not None:
        raise InputError("the torch kernel keeps no checkpoints: leave checkpoint out")
    chosen = open_devices(device, devices)
    if resident is not None and len(chosen) > 1:
        raise InputError(f"resident serves one device, {len(chosen)} are asked for")
    lists = Lists(points.n, k, progress)
    whole = largest_whole(points)

    def search(share: Share) -> None:
        where, a, b = share
        with on(where):
            rungs = ladder(precision, where, points.n * points.n * points.d)
            _search(points, where, rungs, whole, (a, b), lists, block_rows, memory, resident)

    together(search, list(shares(chosen, points.n)), lists)
    return lists.indices, lists.distances, lists.certificate()


def mid_ranks(
    points: Cloud,
    queries: np.ndarray,
    targets: np.ndarray,
    *,
    representative: np.ndarray | None = None,
    block_rows: int | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
    precision: str = "auto",
    device: str | torch.device = "cuda",
    devices: Sequence[str | torch.device] | None = None,
) -> np.ndarray:
    """Mid-ranks of the ``targets`` (q, m) among all other rows of each of the ``queries`` (q,).

    Scores are counted on either side of every target; what lies too close to be told apart is
    recomputed from differences. A narrow band pays here, so ``auto`` means float64.

    Parameters
    ----------
    points : Cloud
    queries : int array (q,)
    targets : int array (q, m)
        Must not name the query row itself.
    representative : int array (n,), optional
        A row equal to each row: identical rows are then recomputed once.
    block_rows, memory, progress, precision, device, devices
        As in :func:`nearest`.

    Raises
    ------
    InputError, HiddenscapeError
        As in :func:`nearest`.

    Examples
    --------
    >>> from hiddenscape.kernels.arrays import cloud
    >>> x = cloud([[0.0], [1.0], [-1.0], [3.0]])
    >>> mid_ranks(x, np.array([0]), np.array([[1, 3]]), device="cpu")
    array([[1.5, 3. ]])
    """
    chosen = open_devices(device, devices)
    lists = Lists(len(queries), 0, progress)
    out = np.empty(targets.shape, dtype=np.float64)
    same = np.arange(points.n) if representative is None else representative
    whole = largest_whole(points)

    def count(share: Share) -> None:
        where, a, b = share
        with on(where):
            first = "float64" if precision == "auto" else precision
            rungs = ladder(first, where, points.n * points.n * points.d)
            screen = _rank_screen(points, where, rungs, whole, memory)
            asked, goals, alike = (
                torch.from_numpy(np.array(x, dtype=np.int64)).to(where)
                for x in (queries[a:b], targets[a:b], same)
            )
            height, width = screen.block_shape(block_rows, 32)
            for s, e in blocks(b - a, height):
                lists.check()
                out[a + s : a + e] = _ranks(screen, asked[s:e], goals[s:e], alike, width)
                lists.count(e - s)

    together(count, list(shares(chosen, len(queries))), lists)
    return out


def _search(
    points: Cloud,
    device: torch.device,
    rungs: tuple[Rung, ...],
    whole: float,
    share: tuple[int, int],
    lists: Lists,
    block_rows: int | None,
    memory: int | None,
    resident: torch.Tensor | None,
) -> None:
    """Climb the ladder with the rows of one device."""
    k = lists.indices.shape[1]
    exact = exact_rung(rungs, points.n, points.d, whole)
    source = Source(points, device, memory, centered=exact is None, resident=resident)
    waiting = torch.arange(*share, device=device)
    if exact is not None:
        screen = Screen(source, exact, exact=True)
        height, width = screen.block_shape(block_rows, 24)
        for a, b in blocks(len(waiting), height):
            lists.check()
            lists.write(waiting[a:b], among_whole(screen, waiting[a:b], k, width), WHOLE)
        return
    for rung in rungs:
        screen = Screen(source, rung)
        last = rung is rungs[-1]
        if last or not screen.thin:
            waiting = _climb(screen, waiting, k, lists, block_rows, last=last)
        if not len(waiting):
            return
        del screen  # its factors make room for the next rung's


def _climb(
    screen: Screen,
    waiting: torch.Tensor,
    k: int,
    lists: Lists,
    block_rows: int | None,
    *,
    last: bool,
) -> torch.Tensor:
    """Prove what one rung can; the rows that must climb on."""
    m = min(screen.source.n - 1, 2 * k + 16)
    height, width = screen.block_shape(block_rows, 4, held=40 if last else 0)
    remain = []
    written = 0
    for a, b in blocks(len(waiting), height):
        lists.check()
        rows = waiting[a:b]
        if last:
            found = among_all(screen, rows, k, width)
        else:
            found = among_candidates(screen, rows, k, m, width)
        if bool(found.broken):
            lists.count(-written)
            _distrust(screen, last=last)
            return waiting
        lists.write(rows, found, screen.rung.name)
        remain.append(rows[~found.proven])
        written += b - a - len(remain[-1])
        if a == 0 and len(remain[0]) > (1 - _USEFUL) * b:
            remain.append(waiting[b:])
            break
    return torch.cat(remain) if remain else waiting[:0]


def _distrust(screen: Screen, *, last: bool) -> None:
    where, name = screen.source.device, screen.rung.name
    said = f"{name} products on {where} are less accurate than their proven bound"
    if last:
        raise HiddenscapeError(f"{said}: use another device, kernel('cpu') needs none")
    warnings.warn(f"{said}: rows done with them are done again", RuntimeWarning, stacklevel=2)


def _rank_screen(
    points: Cloud, device: torch.device, rungs: tuple[Rung, ...], whole: float, memory: int | None
) -> Screen:
    exact = exact_rung(rungs, points.n, points.d, whole)
    source = Source(points, device, memory, centered=exact is None)
    if exact is not None:
        return Screen(source, exact, exact=True)
    first = Screen(source, rungs[0])
    return Screen(source, rungs[-1]) if first.thin else first


def _ranks(
    screen: Screen, queries: torch.Tensor, targets: torch.Tensor, same: torch.Tensor, width: int
) -> np.ndarray:
    if screen.exact:
        return np.asarray(count_whole_ranks(screen, queries, targets, width).cpu().numpy())
    ranks, broken = count_ranks(screen, queries, targets, same, width)
    if bool(broken):
        _distrust(screen, last=True)
    return np.asarray(ranks.cpu().numpy())
