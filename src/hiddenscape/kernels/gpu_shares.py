"""Several torch devices at work on one result: shares of the rows, one thread per device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from hiddenscape.errors import InputError
from hiddenscape.kernels.certificate import Certificate
from hiddenscape.kernels.gpu_points import open_device
from hiddenscape.kernels.gpu_rungs import RUNGS
from hiddenscape.kernels.gpu_select import Found

__all__ = ["WHOLE", "Lists", "Progress", "Share", "on", "open_devices", "shares", "together"]

Progress = Callable[[int, int], object]
"""Called with (rows done, rows in all) after every block."""

Share = tuple[torch.device, int, int]
"""A device and its half-open range of rows."""

WHOLE = "whole numbers"
_NAMES = (WHOLE, *RUNGS)


class Lists:
    """What all devices write to: disjoint rows of the results, and how far all are together."""

    def __init__(self, n: int, k: int, progress: Progress | None) -> None:
        self.indices = np.empty((n, k), dtype=np.int32)
        self.distances = np.empty((n, k), dtype=np.float64)
        self.rung = np.zeros(n, dtype=np.uint8)
        self.stopped = threading.Event()
        self._progress = progress
        self._done, self._n = 0, n
        self._lock = threading.Lock()

    def write(self, rows: torch.Tensor, found: Found, name: str) -> None:
        at = rows[found.proven].cpu().numpy()
        self.indices[at] = found.indices[found.proven].cpu().numpy()
        self.distances[at] = found.distances[found.proven].cpu().numpy()
        self.rung[at] = _NAMES.index(name)
        if len(at):
            self.count(len(at))

    def count(self, rows: int) -> None:
        with self._lock:
            self._done += rows
            if self._progress is not None and rows > 0:
                self._progress(self._done, self._n)

    def check(self) -> None:
        """Leave when another device has failed or the caller has interrupted."""
        if self.stopped.is_set():
            raise _Stopped

    def certificate(self) -> Certificate:
        used, rung = np.unique(self.rung, return_inverse=True)
        return Certificate(tuple(_NAMES[u] for u in used), rung)


class _Stopped(Exception):
    """Another device has failed; its error is the one to see."""


def open_devices(
    device: str | torch.device, devices: Sequence[str | torch.device] | None
) -> list[torch.device]:
    names = [device] if devices is None else list(devices)
    if not names:
        raise InputError("devices is empty: name at least one")
    return [open_device(name) for name in names]


def shares(devices: list[torch.device], n: int) -> Iterator[Share]:
    """Equal shares of the rows."""
    edges = np.linspace(0, n, len(devices) + 1).astype(int).tolist()
    for device, a, b in zip(devices, edges[:-1], edges[1:], strict=True):
        if b > a:
            yield device, a, b


def on(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def together(
    work: Callable[[Share], None],
    shares: list[Share],
    lists: Lists,
) -> None:
    """One thread per device; the first error stops all and is raised."""
    if len(shares) == 1:
        work(shares[0])
        return

    def guarded(share: Share) -> None:
        try:
            work(share)
        except BaseException:
            lists.stopped.set()
            raise

    with ThreadPoolExecutor(max_workers=len(shares)) as pool:
        tasks = [pool.submit(guarded, share) for share in shares]
        try:
            errors = [e for e in (task.exception() for task in tasks) if e is not None]
        except BaseException:
            lists.stopped.set()
            raise
    real = [e for e in errors if not isinstance(e, _Stopped)]
    if errors:
        raise (real or errors)[0]
