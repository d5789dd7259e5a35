"""What a run will do, before it does it: sites, shapes, bytes, shards, free space, manifest."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hiddenscape.data.dataset import Dataset
from hiddenscape.errors import DiskFullError, InputError
from hiddenscape.extraction.identity import identity_of, recorded_of
from hiddenscape.extraction.inputs import Rows
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.sites import Place
from hiddenscape.store.manifest import Manifest, site_entry

__all__ = ["ExtractionPlan", "build_plan", "check_space", "probe_rows"]

_SHARD_BYTES = 128 * 2**20
_SHARD_ROWS = 4096
_RESERVE = 1.1
STORE_DTYPES = ("auto", "float32", "bfloat16", "float16")
"""How points are stored: ``auto`` is float32, save that every token of a network that computes in
bfloat16 stays as it is, which loses nothing."""
_PROBE_TOKENS = 1024
_SHORT = 8
_COUNTED_SHARDS = 16


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExtractionPlan:
    """The plan of one extraction; ``extract(..., dry_run=True)`` returns it.

    Attributes
    ----------
    keys : tuple of str
        ``SITE@POOLING``, in the order of the manifest.
    shapes : tuple of int
        Units per key.
    rows, shards : int
    bytes, free_bytes : int
        Size of the tensors to be written, and free space where they go.
    tokens, padded_tokens : int
        Tokens that will be read, and tokens the batches will hold with padding (0 for arrays;
        counted in some of the shards where there are many).
    identical : int
        Rows whose input repeats an earlier row's.
    status : dict
        Number of rows that are ``ok``, ``empty``, ``skipped``.
    cut, windows : int
        Rows that were truncated; rows that are read in several windows.
    ragged : tuple of str
        Keys that hold every token.
    positions : int
        Positions of a row in networks that eat no tokens; 0 elsewhere.
    seconds : float or None
        Time it will take, from a probe; None unless asked for.
    manifest : Manifest
    """

    network: str
    dataset: str
    keys: tuple[str, ...]
    shapes: tuple[int, ...]
    depths: tuple[float, ...]
    rows: int
    shards: int
    bytes: int
    free_bytes: int
    tokens: int
    padded_tokens: int
    identical: int
    status: dict[str, int]
    cut: int
    windows: int
    ragged: tuple[str, ...]
    positions: int
    seconds: float | None
    dtype: str
    device: str
    requests: tuple[tuple[Place, str], ...]
    manifest: Manifest

    def __str__(self) -> str:
        lines = [
            f"network  {self.network} ({self.dtype})",
            f"data     {self.dataset}: {self.rows} rows, {self.identical} repeat an earlier one; "
            + ", ".join(f"{v} {k}" for k, v in self.status.items() if v)
            + (f", {self.cut} cut" if self.cut else "")
            + (f", {self.windows} in windows" if self.windows else ""),
        ]
        if self.tokens:
            waste = 1 - self.tokens / max(1, self.padded_tokens)
            lines.append(f"tokens   {self.tokens} in batches with {waste:.1%} padding")
        lines.append(
            f"store    {self.bytes / 2**20:.1f} MiB in {self.shards} shards, "
            f"{self.free_bytes / 2**30:.1f} GiB free"
        )
        if self.seconds is not None:
            lines.append(f"time     about {_words(self.seconds)} (from a probe on {self.device})")
        lines.append(f"sites    {len(self.keys)}")
        for key, units, depth in zip(self.keys, self.shapes, self.depths, strict=True):
            each = ", every token" if key in self.ragged else ""
            lines.append(f"  {key:32s} depth {depth:<8.4g} {units} units{each}")
        return "\n".join(lines)


def _words(seconds: float) -> str:
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(1.0, seconds):.0f} s"


def build_plan(
    network: TorchNetwork,
    dataset: Dataset,
    rows: Rows,
    requests: Sequence[tuple[Place, str]],
    out: Path,
    *,
    shard_rows: int | None,
    store_dtype: str,
    timed: bool = False,
) -> ExtractionPlan:
    """Probe the shapes on one row and lay out the store."""
    if store_dtype not in STORE_DTYPES:
        raise InputError(f"store_dtype {store_dtype!r} is not one of {', '.join(STORE_DTYPES)}")
    probe = network.pooled(rows.batch(probe_rows(rows, 1)), requests)
    shapes = {key: tuple(value.shape) for key, value in probe.items()}
    entries = [
        site_entry(
            replace(place.site, pooling=how),
            shapes[f"{place.name}@{how}"][1:],
            _stored(probe[f"{place.name}@{how}"].dtype, how, store_dtype),
            path=place.path,
            io=place.io,
            index=place.index,
        )
        for place, how in requests
    ]
    ragged = tuple(e["key"] for e in entries if e["pooling"] == "tokens")
    token_bytes = sum(_bytes(e) for e in entries if e["key"] in ragged)
    row_bytes = sum(_bytes(e) for e in entries if e["key"] not in ragged)
    positions = _positions(rows, {key: shapes[key][0] for key in ragged})
    count = len(dataset)
    total = positions * count if positions else int(rows.lengths.sum())
    size = row_bytes * count + (token_bytes + _TOKEN_BYTES) * total * bool(ragged)
    if shard_rows is None:
        shard_rows = max(1, min(count, _SHARD_ROWS, _SHARD_BYTES * count // max(1, size)))
    elif shard_rows < 1:
        raise InputError(f"shard_rows must be at least 1, got {shard_rows}")
    manifest = Manifest.create(
        sites=entries,
        rows=count,
        shard_rows=shard_rows,
        identity=identity_of(network, dataset, rows.settings()),
        recorded=recorded_of(network, dataset),
    )
    eats_tokens = rows.settings()["kind"] == "tokens"
    tokens = int(rows.lengths.sum()) if eats_tokens else 0
    names = ("ok", "empty", "skipped")
    return ExtractionPlan(
        network=network.name,
        dataset=dataset.name,
        keys=tuple(e["key"] for e in entries),
        shapes=tuple(int(np.prod(e["shape"])) for e in entries),
        depths=tuple(float(e["depth"]) for e in entries),
        rows=count,
        shards=len(manifest.ranges),
        bytes=size,
        free_bytes=_free(out),
        tokens=tokens,
        padded_tokens=_padded(rows, manifest, tokens) if eats_tokens else 0,
        identical=int(getattr(dataset, "identical", 0)),
        status={n: int((rows.status == i).sum()) for i, n in enumerate(names)},
        cut=int(rows.truncated.sum()),
        windows=int((np.bincount(rows.row, minlength=count) > 1).sum()),
        ragged=ragged,
        positions=positions,
        seconds=_seconds(network, rows, requests, manifest) if timed else None,
        dtype=str(network.dtype).removeprefix("torch."),
        device=str(network.device),
        requests=tuple(requests),
        manifest=manifest,
    )


_TOKEN_BYTES = 9  # id, position, content flag


def _stored(given: torch.dtype, how: str, store_dtype: str) -> str:
    if store_dtype != "auto":
        return store_dtype
    # What the site itself gives: a bfloat16 network may compute some of its sites in float32.
    exact = how == "tokens" and given == torch.bfloat16
    return "bfloat16" if exact else "float32"


def _bytes(entry: dict[str, Any]) -> int:
    return int(np.prod(entry["shape"])) * (4 if entry["dtype"] == "float32" else 2)


def _positions(rows: Rows, found: dict[str, int]) -> int:
    """Positions of each row, where a network of pixels or arrays stores them all."""
    if not found or rows.settings()["kind"] == "tokens":
        return 0
    if len(set(found.values())) > 1:
        text = ", ".join(f"{key} {count}" for key, count in found.items())
        raise InputError(
            f"sites of one store need equally many positions per row to be kept whole: {text}; "
            "extract them one by one"
        )
    return next(iter(found.values()))


def _padded(rows: Rows, manifest: Manifest, tokens: int) -> int:
    """Tokens with padding; from evenly chosen shards where there are many."""
    ranges = manifest.ranges
    chosen = [
        ranges[i] for i in np.unique(np.linspace(0, len(ranges) - 1, _COUNTED_SHARDS, dtype=int))
    ]
    padded = real = 0
    for start, stop in chosen:
        for batch in rows.batches(start, stop):
            padded += len(batch) * int(rows.lengths[batch].max())
            real += int(rows.lengths[batch].sum())
    return round(padded * tokens / real) if real else 0


def _seconds(
    network: TorchNetwork,
    rows: Rows,
    requests: Sequence[tuple[Place, str]],
    manifest: Manifest,
) -> float:
    """Time for all rows, from one batch of the first shard that has one."""
    first = next(b for span in manifest.ranges for b in rows.batches(*span))
    length = int(rows.lengths[first].max())
    batch = rows.batch(first[: max(1, _PROBE_TOKENS // length)])
    size = min(len(first), max(1, _PROBE_TOKENS // length)) * length
    network.pooled(batch, requests)
    begin = time.perf_counter()
    for value in network.pooled(batch, requests).values():
        value.cpu()
    whole = _padded(rows, manifest, int(rows.lengths.sum()))
    return (time.perf_counter() - begin) * whole / size


def check_space(plan: ExtractionPlan, still: int) -> None:
    """Refuse to begin where the rows still to be written do not fit.

    Raises
    ------
    DiskFullError
        With the bytes needed and free.
    """
    needed = int(_RESERVE * plan.bytes * still / max(1, plan.rows))
    if needed > plan.free_bytes:
        raise DiskFullError(
            f"the store needs {needed:,} bytes, {plan.free_bytes:,} are free: choose fewer sites, "
            "another place, or store_dtype 'bfloat16'"
        )


def probe_rows(rows: Rows, count: int) -> np.ndarray:
    """The first short pieces that have something in them, at most ``count``.

    Where none are short the shortest: a row too long for the device must not end the run before it
    has begun.
    """
    ready = np.flatnonzero(rows.lengths > 0)
    if not len(ready):
        raise InputError("every row is empty or was skipped; there is nothing to extract")
    order = np.argsort(np.maximum(rows.lengths[ready], _SHORT), kind="stable")
    return np.asarray(ready[order[:count]])


def _free(out: Path) -> int:
    folder = out
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
