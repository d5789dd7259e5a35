"""From prepared rows to a :class:`Batch`: right padding, masks, dtypes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hiddenscape.errors import InputError, MissingDependency
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.pooling import Masks

__all__ = [
    "array_batch",
    "image_batch",
    "probe_batch",
    "start_tokens",
    "token_batch",
    "vocabulary",
]


def vocabulary(network: TorchNetwork) -> int | None:
    """Number of token ids the network knows; None where it is not declared."""
    config = getattr(network.module, "config", None)
    size = getattr(config, "vocab_size", None)
    return size if isinstance(size, int) else None


def start_tokens(
    network: TorchNetwork, ids: np.ndarray, special: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Put the family's start id in front and drop the last id, where the family wants that."""
    family = None if network.map is None else network.map.family
    if family is None or family.start_id is None or not len(ids):
        return ids, special
    start = family.start_id(network.module.config)
    if ids[0] == start and len(special) and special[0]:
        return ids, special
    return (
        np.concatenate([[start], ids[:-1]]).astype(ids.dtype),
        np.concatenate([[1], special[:-1]]).astype(special.dtype),
    )


def token_batch(
    network: TorchNetwork,
    rows: Sequence[np.ndarray],
    special: Sequence[np.ndarray],
    *,
    weight: Sequence[np.ndarray] | None = None,
    spans: Mapping[str, np.ndarray] | None = None,
    side: str = "right",
) -> Batch:
    """Rows of token ids, padded, with masks from lengths and special flags.

    Parameters
    ----------
    weight : sequence of array, optional
        How much each token counts in a mean; 1 where not given.
    spans : mapping, optional
        Name to (B, 2) token ranges, -1 where a row has none.
    side : {"right", "left"}
        Where the padding goes. Extraction pads on the right. On the left positions are counted
        from the mask and given to networks that take them.

    Raises
    ------
    InputError
        If all rows are empty.
    """
    lengths = torch.tensor([len(r) for r in rows])
    width = int(lengths.max())
    if width == 0:
        raise InputError("a batch needs at least one row with tokens")
    pad = getattr(network.tokenizer, "pad_token_id", None) or 0
    first = (width - lengths) if side == "left" else torch.zeros_like(lengths)
    place = torch.arange(width)[None, :] - first[:, None]
    real = (place >= 0) & (place < lengths[:, None])

    def laid(lists: Sequence[np.ndarray], fill: float, dtype: torch.dtype) -> torch.Tensor:
        out = torch.full((len(lists), width), fill, dtype=dtype)
        out[real] = torch.from_numpy(np.concatenate(lists)).to(dtype)
        return out

    ids = laid(rows, int(pad), torch.long)
    family = None if network.map is None else network.map.family
    masks = Masks(
        real=real,
        content=real & ~laid(special, 0, torch.bool),
        weight=None if weight is None else laid(weight, 0.0, torch.float32),
        spans={
            name: torch.from_numpy(np.where(r >= 0, r + first.numpy()[:, None], -1))
            for name, r in (spans or {}).items()
        },
        cls=None if family is None else family.cls,
    )
    names, rest = _parameters(network)
    kwargs = {"attention_mask": real.long()} if rest or "attention_mask" in names else {}
    if side == "left" and "position_ids" in names:
        kwargs["position_ids"] = place.clamp(min=0) + _first_position(network)
    if rest or "input_ids" in names:
        return Batch(kwargs={"input_ids": ids, **kwargs}, masks=masks)
    return Batch(args=(ids,), kwargs=kwargs, masks=masks)


def _first_position(network: TorchNetwork) -> int:
    """Position number of a row's first token."""
    count = None if network.map is None else network.map.family.first_position
    return 0 if count is None else count(network.module.config)


def _parameters(network: TorchNetwork) -> tuple[set[str], bool]:
    """Names that the network's ``forward`` takes, and whether it takes any others."""
    found = inspect.signature(network.module.forward).parameters
    return set(found), any(p.kind is p.VAR_KEYWORD for p in found.values())


def array_batch(network: TorchNetwork, rows: np.ndarray) -> Batch:
    """Rows of arrays: floats in the dtype of the network, whole numbers as they are."""
    tensor = torch.from_numpy(np.array(rows))
    if tensor.is_floating_point() or tensor.dtype == torch.bool:
        tensor = tensor.to(network.dtype)
    return _pixels(network, tensor)


def image_batch(network: TorchNetwork, images: Sequence[np.ndarray]) -> Batch:
    """Images (H, W, C) of bytes through the network's own image processor."""
    if network.processor is None:
        raise InputError(
            f"network {network.name!r} has no image processor; open the images with size=(H, W) "
            "(and mean, std) so that they become arrays"
        )
    try:
        out: Any = network.processor(images=list(images), return_tensors="pt")
    except ImportError as error:
        raise MissingDependency(
            f"the image processor of {network.name!r} needs another package ({error}); "
            'pip install "hiddenscape[images]"'
        ) from error
    return _pixels(network, out["pixel_values"].to(network.dtype))


def _pixels(network: TorchNetwork, tensor: torch.Tensor) -> Batch:
    family = None if network.map is None else network.map.family
    if family is None:
        return Batch(args=(tensor,))
    masks = Masks(cls=family.cls, prefix=network.map.prefix if network.map else 0)
    if family.kind == "pixels":
        return Batch(kwargs={"pixel_values": tensor}, masks=masks)
    return Batch(args=(tensor,), masks=masks)


_PROBE_LENGTHS = (7, 4)


def probe_batch(network: TorchNetwork) -> Batch | None:
    """Two short, different rows, made from the config; None if it does not say enough."""
    rng = np.random.default_rng([0, 20])
    config = getattr(network.module, "config", None)
    if network.kind == "tokens":
        size = vocabulary(network)
        if size is None:
            return None
        lengths = [min(n, network.max_length or n) for n in _PROBE_LENGTHS]
        avoid = set(getattr(network.tokenizer, "all_special_ids", ()) or ())
        avoid |= {getattr(config, k, None) for k in ("pad_token_id", "mask_token_id")}
        allowed = np.array([i for i in range(min(size, 5000)) if i not in avoid] or [0])
        rows = [rng.choice(allowed, n).astype(np.int32) for n in lengths]
        flags = [np.zeros(n, np.uint8) for n in lengths]
        pairs = [start_tokens(network, r, f) for r, f in zip(rows, flags, strict=True)]
        return token_batch(network, [p[0] for p in pairs], [p[1] for p in pairs])
    if network.map is not None and network.map.family.row_shape is not None:
        shape = network.map.family.row_shape(config)
        return array_batch(network, rng.normal(size=(2, *shape)))
    size = getattr(config, "image_size", None)
    channels = getattr(config, "num_channels", None)
    if size is None or channels is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return array_batch(network, rng.normal(size=(2, channels, height, width)))
