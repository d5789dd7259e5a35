"""The positions that numbers are wanted for, and values read there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hiddenscape.errors import InputError
from hiddenscape.models.hooks import read_places
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.types import whole

__all__ = ["Ids", "Spots", "ids_at", "read_spots", "spots_of"]

Ids = int | Sequence[Any] | np.ndarray
"""Token ids: one for all, or one per row of the data set."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Spots:
    """Row of the batch and position of each number."""

    row: torch.Tensor
    position: torch.Tensor

    def take(self, value: torch.Tensor) -> torch.Tensor:
        """Values (n, ...) of a tensor (B, T, ...), or (B, ...) that has no positions."""
        if value.ndim == 2:
            return value[self.row.to(value.device)]
        return value[self.row.to(value.device), self.position.to(value.device)]


def spots_of(
    network: TorchNetwork, batch: Batch, width: int, rows: int, position: str | int
) -> Spots:
    """``last`` real position of each row, the i-th real one, or ``all`` real ones.

    Raises
    ------
    InputError
        If a row has no such position, or the network reads its logits at another one.
    """
    real = batch.masks.real
    real = torch.ones((rows, width), dtype=torch.bool) if real is None else real.cpu()
    family = None if network.map is None else network.map.family
    fixed = None if family is None else family.head_position
    if family is not None and family.head_input is not None:
        fixed = 0  # one answer per row
    if fixed is not None:
        if position not in ("last", fixed):
            raise InputError(f"this network reads its logits at position {fixed} alone")
        position = fixed
    if position == "all":
        where = real.nonzero()
        return Spots(row=where[:, 0], position=where[:, 1])
    if position != "last" and isinstance(position, str):
        raise InputError(f"position {position!r} is not 'last', 'all' or a whole number")
    index = -1 if position == "last" else whole("position", position)
    found = []
    for row, line in enumerate(real):
        places = line.nonzero().flatten()
        if not -len(places) <= index < len(places):
            raise InputError(f"row {row} has {len(places)} positions, none has the number {index}")
        found.append(places[index])
    return Spots(row=torch.arange(rows), position=torch.stack(found))


def read_spots(
    network: TorchNetwork, batch: Batch, names: Sequence[str], position: str | int
) -> tuple[Spots, dict[str, torch.Tensor]]:
    """Values (n, w) at the spots, on the host; only they leave the device."""
    taken: dict[str, torch.Tensor] = {}
    spots: list[Spots] = []
    # The stream entering block 0 says how many rows and positions there are.
    wanted = list(dict.fromkeys(["embed", *names]))

    def sink(place: object, value: torch.Tensor) -> None:
        if not spots:
            rows, width = value.shape[:2]
            spots.append(spots_of(network, batch, width, rows, position))
        taken[str(getattr(place, "name", ""))] = spots[0].take(value).detach().cpu()

    places = [network.places[name] for name in wanted]
    read_places(network.module, places, lambda: network.forward(batch), sink)
    return spots[0], taken


def ids_at(given: Ids | None, row: np.ndarray, size: int, name: str) -> torch.Tensor | None:
    """(n, K) ids of n results, from one for all, one per row, or K per row of the data set.

    Raises
    ------
    InputError
        If there are too few, or one is no id of the head.
    """
    if given is None:
        return None
    ids = np.asarray(given)
    if ids.dtype.kind not in "iu":
        raise InputError(f"{name} must be token ids, got {ids.dtype}")
    if ids.ndim == 0:
        ids = np.full((len(row), 1), int(ids))
    elif ids.ndim in (1, 2) and len(ids) > int(row.max()):
        ids = ids.reshape(len(ids), -1)[row]
    else:
        raise InputError(
            f"{name} of shape {ids.shape} for rows up to {int(row.max())}; give one per row"
        )
    if ids.min() < 0 or ids.max() >= size:
        raise InputError(f"{name} must lie in 0 to {size - 1}, got {ids.min()} to {ids.max()}")
    return torch.from_numpy(ids.astype(np.int64))
