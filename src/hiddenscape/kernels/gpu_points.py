"""Points on a torch device: whole where they fit, else streamed from the (memory-mapped) array."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import Cloud, blocks

__all__ = ["Budget", "Source", "budget", "open_device"]

_SAMPLE = 500  # rows that the centre is read from
_HOST_MEMORY = 1 << 30  # budget where the device is the processor itself
_LARGEST_TILE = 1 << 28  # bytes of one streamed tile, at most


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes of device memory that one search may fill, by use.

    Attributes
    ----------
    points, operands : int
        What may stay on the device through the search.
    scores : int
        One block of scores and what is selected from it.
    work : int
        Points in double precision, pairs, streamed tiles.
    """

    points: int
    operands: int
    scores: int
    work: int


def budget(device: torch.device, memory: int | None) -> Budget:
    """Split the memory of a device, or ``memory`` bytes of it.

    Raises
    ------
    InputError
        If ``memory`` is not positive.

    Examples
    --------
    >>> budget(torch.device("cpu"), 1200).points
    400
    """
    if memory is not None and memory <= 0:
        raise InputError(f"memory must be a positive number of bytes, got {memory}")
    free = _HOST_MEMORY
    if device.type == "cuda":
        # A margin for the context, the libraries' workspaces and fragmentation.
        free = int(0.8 * torch.cuda.mem_get_info(device)[0])
    have = free if memory is None else memory
    return Budget(points=have // 3, operands=have // 3, scores=have // 6, work=have // 12)


def open_device(name: str | torch.device) -> torch.device:
    """The torch device of a name.

    Raises
    ------
    InputError
        If there is no such device here.

    Examples
    --------
    >>> open_device("cpu")
    device(type='cpu')
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"no torch device is called {name!r}: {error}") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise InputError(f"device {name!r} is asked for, {count} are there: use device='cpu'")
    return device


class Source:
    """A cloud as one device sees it.

    Scores are made of centred rows ``(x - centre) * 2**exponent``, at most 1 in magnitude; any
    centre is exact, and medians are not dragged away by a few huge rows.

    Attributes
    ----------
    points : Cloud
    device : torch.device
    budget : Budget
    resident : tensor (n, d) or None
        The values on the device, where they fit.
    centre : float64 tensor (d,)
    exponent : int
    norms : float64 tensor (n,)
        Squared norms of the centred rows.
    """

    def __init__(
        self,
        points: Cloud,
        device: torch.device,
        memory: int | None = None,
        *,
        centered: bool = True,
        resident: torch.Tensor | None = None,
    ) -> None:
        self.points = points
        self.device = device
        self.budget = budget(device, memory)
        self.resident = resident
        kind = torch.float32 if points.values.dtype == np.float32 else torch.float64
        if resident is not None:
            want = (kind, points.values.shape, device.type)
            if (resident.dtype, tuple(resident.shape), resident.device.type) != want:
                raise InputError(
                    f"resident must be the cloud's values {want}, got {resident.dtype}, "
                    f"{tuple(resident.shape)}, {resident.device}"
                )
        elif points.values.nbytes <= self.budget.points:
            self.resident = torch.empty((points.n, points.d), dtype=kind, device=device)
            for a, b, tile in self._streamed(self._width(1)):
                self.resident[a:b] = tile
        else:
            self.budget = replace(self.budget, work=self.budget.work + self.budget.points)
        self.exponent = 0
        self.centre = torch.zeros(points.d, dtype=torch.float64, device=device)
        if centered:
            every = max(1, points.n // _SAMPLE)
            sample = self.rows(torch.arange(0, points.n, every, device=device)).double()
            # By sorting: torch refuses its own median where only deterministic operations may run.
            self.centre = sample.sort(0).values[len(sample) // 2].clone()
        self.norms, largest = self._measure()
        if centered and largest > 0:
            # Beyond 1000 the power itself would leave float64; scores then stay small, not wrong.
            self.exponent = min(1000, -int(np.frexp(largest)[1]))
            if 2.0**-200 < largest < 2.0**200:
                self.norms *= 4.0**self.exponent
            else:
                self.norms, _ = self._measure()

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.points.n

    @property
    def d(self) -> int:
        """Number of columns."""
        return self.points.d

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """Some rows, in their own type."""
        if self.resident is not None:
            return self.resident.index_select(0, index)
        return self._upload(self.points.values[index.cpu().numpy()])

    def centred(self, x: torch.Tensor) -> torch.Tensor:
        """Rows made ready for scores, float64."""
        c = x.double() - self.centre
        return c.mul_(2.0**self.exponent) if self.exponent else c

    def tiles(self, width: int) -> Iterator[tuple[int, int, torch.Tensor]]:
        """All rows in order, ``width`` at a time: (first, one past the last, rows)."""
        if self.resident is None:
            yield from self._streamed(min(width, self._width(4)))
            return
        for a, b in blocks(self.n, width):
            yield a, b, self.resident[a:b]

    def chunks(self) -> Iterator[tuple[int, int, torch.Tensor]]:
        """All rows in blocks whose double precision form fits in the budget."""
        return self.tiles(self._width(4))

    def pairs(
        self, i: torch.Tensor, j: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor | slice, torch.Tensor, torch.Tensor]]:
        """Both rows of every pair, in batches: (which pairs, rows i, rows j)."""
        size = max(1, self.budget.work // (32 * self.d))
        if self.resident is not None:
            for a, b in blocks(len(i), size):
                at = slice(a, b)
                yield at, self.rows(i[at]), self.rows(j[at])
            return
        # In order of j the host reads every row once, and reads forward.
        order = torch.argsort(j)
        for a, b in blocks(len(i), size):
            which = order[a:b]
            left, which_left = torch.unique(i[which], return_inverse=True)
            right, which_right = torch.unique(j[which], return_inverse=True)
            yield which, self.rows(left)[which_left], self.rows(right)[which_right]

    def radius(self, distances: torch.Tensor) -> torch.Tensor:
        """Recomputed distances in the units of the scores."""
        shift = self.exponent - self.points.exponent
        # In two steps: the whole power may lie outside float64.
        return distances * 2.0 ** (shift // 2) * 2.0 ** (shift - shift // 2)

    @property
    def quantum(self) -> float:
        """Spacing of the smallest float64 distances, in the units of the scores."""
        return float(np.ldexp(1.0, self.exponent - self.points.exponent - 1074))

    def _measure(self) -> tuple[torch.Tensor, float]:
        norms = torch.empty(self.n, dtype=torch.float64, device=self.device)
        largest = torch.zeros((), dtype=torch.float64, device=self.device)
        for a, b, x in self.chunks():
            c = self.centred(x)
            largest = torch.maximum(largest, c.abs().max())
            norms[a:b] = c.square_().sum(1)
        return norms, float(largest)

    def _width(self, copies: int) -> int:
        """Rows of which so many double precision copies fit in the budget for work."""
        room = min(self.budget.work, _LARGEST_TILE)
        return int(np.clip(room // (8 * copies * self.d), 1, self.n))

    def _upload(self, x: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(x))
        return tensor.to(self.device)

    def _streamed(self, width: int) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Tiles through two buffers: one travels to the device while the other is being used."""
        values = self.points.values
        spans = list(blocks(self.n, width))
        if self.device.type != "cuda":
            for a, b in spans:
                yield a, b, torch.from_numpy(np.array(values[a:b])).to(self.device)
            return
        kind = torch.float32 if values.dtype == np.float32 else torch.float64
        # Pinned memory, or the copies would wait for the kernels and the kernels for the copies.
        buffers = [
            torch.empty((min(width, self.n), self.d), dtype=kind, device="cpu", pin_memory=True)
            for _ in range(min(2, len(spans)))
        ]
        sent: list[torch.cuda.Event | None] = [None, None]
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

        def send(t: int) -> torch.Tensor:
            (a, b), slot = spans[t], t % 2
            before = sent[slot]
            if before is not None:
                before.synchronize()
            np.copyto(buffers[slot][: b - a].numpy(), values[a:b])
            with torch.cuda.stream(stream):
                tile = buffers[slot][: b - a].to(self.device, non_blocking=True)
                sent[slot] = stream.record_event()
            return tile

        ahead = send(0)
        for t, (a, b) in enumerate(spans):
            tile, arrived = ahead, sent[t % 2]
            if t + 1 < len(spans):
                ahead = send(t + 1)
            here = torch.cuda.current_stream(self.device)
            if arrived is not None:
                here.wait_event(arrived)
            tile.record_stream(here)
            yield a, b, tile
