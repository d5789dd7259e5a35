"""Which tensors a shard holds, of what shape and dtype, and whether given ones fit (S3, S4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.store.manifest import Manifest, is_ragged, row_tensors, token_tensors
from hiddenscape.store.shards import CODES

__all__ = ["bad_rows", "check_offsets", "ready_tensors", "shard_layout"]

_FILL = {"n_tokens": -1, "n_content": -1, "status": 0}
_UNKNOWN_ID = -1  # imports may not know ids


def shard_layout(
    manifest: Manifest, n: int, tokens: int = 0
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Code and shape of every tensor of a shard with ``n`` rows and ``tokens`` tokens."""
    layout = {
        key: (CODES[e["dtype"]], (tokens if is_ragged(e) else n, *e["shape"]))
        for key, e in manifest.entries.items()
    }
    layout |= {name: (CODES[dtype], (n,)) for name, dtype in row_tensors().items()}
    if manifest.ragged:
        layout |= {
            name: (CODES[dtype], (n + 1 if name == "offsets" else tokens,))
            for name, dtype in token_tensors().items()
        }
    return layout


def ready_tensors(
    manifest: Manifest, start: int, stop: int, tensors: Mapping[str, np.ndarray]
) -> dict[str, tuple[str, np.ndarray]]:
    """The tensors of a shard as they will lie in the file: (code, contiguous little-endian array).

    Raises
    ------
    InputError
        If a name, a shape, a dtype or a number is not what the manifest asks for.
    """
    n = stop - start
    given = {name: np.full(n, value) for name, value in _FILL.items()}
    given |= {name: np.asarray(array) for name, array in tensors.items()}
    given.setdefault("row", np.arange(start, stop))
    layout = shard_layout(manifest, n, _count_tokens(given) if manifest.ragged else 0)
    if set(given) != set(layout):
        absent, unknown = sorted(set(layout) - set(given)), sorted(set(given) - set(layout))
        raise InputError(f"a shard needs every site: missing {absent}, unknown {unknown}")
    if not np.array_equal(given["row"], np.arange(start, stop)):
        raise InputError(f"the rows of this shard must be {start} to {stop - 1} in order")
    ready = {}
    for name, (code, shape) in layout.items():
        array = given[name]
        if array.shape != shape:
            raise InputError(f"tensor {name!r} has shape {array.shape}, expected {shape}")
        words = _words(manifest, name, array)
        ready[name] = (code, np.ascontiguousarray(array, dtype=words.newbyteorder("<")))
    if manifest.ragged:
        problem = check_offsets({name: array for name, (_, array) in ready.items()})
        if problem:
            raise InputError(problem)
    return ready


def _count_tokens(given: Mapping[str, np.ndarray]) -> int:
    offsets = given.get("offsets", np.zeros(1, np.int64))
    counted = offsets.ndim == 1 and offsets.size and offsets.dtype.kind in "iu"
    return max(0, int(offsets[-1])) if counted else 0


def _words(manifest: Manifest, name: str, array: np.ndarray) -> np.dtype[Any]:
    if name in manifest.entries:
        stored = manifest.entries[name]["dtype"]
        words: np.dtype[Any] = np.dtype("uint16" if stored == "bfloat16" else stored)
        if array.dtype.newbyteorder("=") != words:
            raise InputError(f"tensor {name!r} has dtype {array.dtype}, the manifest says {stored}")
        return words
    words = np.dtype((row_tensors() | token_tensors())[name])
    if not np.array_equal(array.astype(words), array):
        raise InputError(f"tensor {name!r} holds numbers that {words} cannot hold")
    return words


def check_offsets(tensors: Mapping[str, np.ndarray]) -> str | None:
    """What is wrong with the token tensors of a shard, in words; None if they are good."""
    offsets, ids = tensors["offsets"], tensors["token_id"]
    if offsets[0] != 0 or (np.diff(offsets) < 0).any():
        return "tensor 'offsets' must rise from 0, without a step down"
    if offsets[-1] != len(ids):
        return f"tensor 'offsets' ends at {offsets[-1]}, there are {len(ids)} tokens"
    if (ids < _UNKNOWN_ID).any():
        return "tensor 'token_id' holds negative ids (only -1, unknown, may occur)"
    if (tensors["token_pos"] < 0).any():
        return "tensor 'token_pos' holds negative positions"
    if (tensors["token_content"] > 1).any():
        return "tensor 'token_content' holds numbers other than 0 and 1"
    return None


def bad_rows(code: str, array: np.ndarray, offsets: np.ndarray | None = None) -> int:
    """Rows with NaN or infinity; ``offsets`` says which tokens make a row, where it has several."""
    # bf16 words: NaN and infinity have all exponent bits set
    words = code == "BF16"
    finite = (array & np.uint16(0x7F80)) != 0x7F80 if words else np.isfinite(array)
    bad = ~finite.reshape(len(array), -1).all(axis=1) if len(array) else np.zeros(0, dtype=bool)
    if offsets is None:
        return int(bad.sum())
    before = np.concatenate([[0], np.cumsum(bad)])
    return int((before[offsets[1:]] > before[offsets[:-1]]).sum())
