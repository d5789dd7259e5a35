"""Batches through the network: memory that runs out, and copies that do not hold it up."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hiddenscape.errors import InputError, NetworkError
from hiddenscape.extraction.inputs import Rows
from hiddenscape.models.memory import out_of_memory
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.sites import Place

__all__ = ["ON_OOM", "Copies", "Reading"]

ON_OOM = ("fail", "skip", "cpu")
"""What to do with a row that alone does not fit into the memory of the device: end the run; leave
it out (NaN, status ``failed``); run it on the processor."""

Found = tuple[np.ndarray, dict[str, torch.Tensor]]


class Copies:
    """Results on their way from the device to the host.

    On CUDA a batch is copied into pinned memory while the next one is computed; its event is waited
    for before anybody reads it. Elsewhere results are there at once.
    """

    def __init__(self, depth: int = 1) -> None:
        self.depth = depth
        self._waiting: deque[tuple[np.ndarray, dict[str, torch.Tensor], list[Any]]] = deque()

    def put(self, pieces: np.ndarray, found: dict[str, torch.Tensor]) -> Iterator[Found]:
        """Send one batch on its way; gives the batches that have arrived."""
        devices = {v.device for v in found.values() if v.device.type == "cuda"}
        hosts = {key: self._start(value) for key, value in found.items()}
        events = [torch.cuda.current_stream(device).record_event() for device in devices]
        self._waiting.append((pieces, hosts, events))
        while len(self._waiting) > (self.depth if devices else 0):
            yield self._take()

    def drain(self) -> Iterator[Found]:
        """The batches still on their way."""
        while self._waiting:
            yield self._take()

    @staticmethod
    def _start(value: torch.Tensor) -> torch.Tensor:
        if value.device.type != "cuda":
            return value.cpu()
        host = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        return host.copy_(value, non_blocking=True)

    def _take(self) -> Found:
        pieces, hosts, events = self._waiting.popleft()
        for event in events:
            event.synchronize()
        return pieces, hosts


@dataclass(slots=True, eq=False)
class Reading:
    """Reads batches of rows, and remembers what the device could not hold.

    Attributes
    ----------
    limits : list of (length, tokens)
        Pieces of at least this length are read with at most so many padded tokens at a time: what
        was learned when memory ran out.
    splits : list of dict
        Every time it did: length, rows, and what was done.
    failed : list of int
        Pieces that were left out.
    """

    network: TorchNetwork
    rows: Rows
    requests: Sequence[tuple[Place, str]]
    ids: Sequence[str]
    on_oom: str = "fail"
    limits: list[tuple[int, int]] = field(default_factory=list)
    splits: list[dict[str, object]] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.on_oom not in ON_OOM:
            raise InputError(f"on_oom {self.on_oom!r} is not one of {', '.join(ON_OOM)}")
        devices = {tensor.device for tensor in self.network.module.parameters()}
        if self.on_oom == "cpu" and len(devices) > 1:
            raise InputError(
                f"on_oom 'cpu': the network lies on {len(devices)} devices and cannot be moved to "
                "the processor and back; use 'skip', or a device map that leaves more room"
            )

    def read(self, batches: Iterator[np.ndarray]) -> Iterator[Found]:
        """(pieces, {SITE@POOLING: tensor on the host}), in the order of the batches."""
        copies = Copies()
        for batch in batches:
            for part in self._allowed(batch):
                for pieces, found in self._one(part):
                    yield from copies.put(pieces, found)
                    del found  # or it would lie on the device through the next pass
        yield from copies.drain()

    def _allowed(self, batch: np.ndarray) -> Iterator[np.ndarray]:
        """The batch, in parts where batches like it did not fit before."""
        length = int(self.rows.lengths[batch].max())
        tokens = min((most for known, most in self.limits if length >= known), default=None)
        count = len(batch) if tokens is None else max(1, tokens // length)
        for at in range(0, len(batch), count):
            yield batch[at : at + count]

    def _one(self, batch: np.ndarray) -> Iterator[Found]:
        try:
            found = self.network.pooled(self.rows.batch(batch), self.requests)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if len(batch) == 1 and self.on_oom == "fail":
                raise NetworkError(self._alone(int(batch[0]))) from error
        else:
            yield batch, found
            return
        # Outside the handler, where the traceback would keep the failed pass's tensors alive.
        if len(batch) == 1:
            yield from self._single(batch)
            return
        half = (len(batch) + 1) // 2
        length = int(self.rows.lengths[batch].max())
        self.limits.append((length, half * length))
        self.splits.append({"rows": len(batch), "length": length, "then": "halved"})
        for part in (batch[:half], batch[half:]):
            for allowed in self._allowed(part):
                yield from self._one(allowed)

    def _single(self, batch: np.ndarray) -> Iterator[Found]:
        piece = int(batch[0])
        row = int(self.rows.row[piece])
        note = {"row": row, "id": self.ids[row], "length": int(self.rows.lengths[piece])}
        self.splits.append({**note, "then": self.on_oom})
        if self.on_oom == "skip":
            self.failed.append(piece)
            return
        device = self.network.device
        module = self.network.module
        try:
            module.to("cpu")
            found = self.network.pooled(self.rows.batch(batch), self.requests)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise NetworkError(self._alone(piece)) from error
        finally:
            module.to(device)
        yield batch, found

    def _alone(self, piece: int) -> str:
        row = int(self.rows.row[piece])
        tokens = int(self.rows.n_tokens[row])
        size = f", {tokens} tokens" if tokens >= 0 else ""
        return (
            f"row {row} (id {self.ids[row]!r}{size}) alone does not fit into the memory of the "
            "device: cut long rows (overlength, max_length), leave such rows out (on_oom 'skip'), "
            "run them on the processor (on_oom 'cpu'), or use another device"
        )
