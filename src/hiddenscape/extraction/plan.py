"""What a run will do, before it does it: sites, shapes, bytes, shards, free space, manifest."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hiddenscape.data.dataset import Dataset
from hiddenscape.errors import DiskFullError, InputError
from hiddenscape.extraction.inputs import Rows
from hiddenscape.models.fresh import weights_hash
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.sites import Place
from hiddenscape.store.manifest import Manifest, site_entry, versions
from hiddenscape.store.rows import row_ids_hash

__all__ = ["ExtractionPlan", "build_plan", "check_space", "probe_rows"]

_SHARD_BYTES = 128 * 2**20
_SHARD_ROWS = 4096
_RESERVE = 1.1
STORE_DTYPES = ("float32", "float16")


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
        Real tokens of all rows, and tokens the batches will hold with padding (0 for arrays).
    identical : int
        Rows whose input repeats an earlier row's.
    status : dict
        Number of rows that are ``ok``, ``empty``, ``skipped``.
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
    dtype: str
    requests: tuple[tuple[Place, str], ...]
    manifest: Manifest

    def __str__(self) -> str:
        lines = [
            f"network  {self.network} ({self.dtype})",
            f"data     {self.dataset}: {self.rows} rows, {self.identical} repeat an earlier one; "
            + ", ".join(f"{v} {k}" for k, v in self.status.items() if v),
        ]
        if self.tokens:
            waste = 1 - self.tokens / max(1, self.padded_tokens)
            lines.append(f"tokens   {self.tokens} in batches with {waste:.1%} padding")
        lines.append(
            f"store    {self.bytes / 2**20:.1f} MiB in {self.shards} shards, "
            f"{self.free_bytes / 2**30:.1f} GiB free"
        )
        lines.append(f"sites    {len(self.keys)}")
        for key, units, depth in zip(self.keys, self.shapes, self.depths, strict=True):
            lines.append(f"  {key:32s} depth {depth:<8.4g} {units} units")
        return "\n".join(lines)


def build_plan(
    network: TorchNetwork,
    dataset: Dataset,
    rows: Rows,
    requests: Sequence[tuple[Place, str]],
    out: Path,
    *,
    shard_rows: int | None,
    store_dtype: str,
) -> ExtractionPlan:
    """Probe the shapes on one row and lay out the store."""
    if store_dtype not in STORE_DTYPES:
        raise InputError(f"store_dtype {store_dtype!r} is not one of {', '.join(STORE_DTYPES)}")
    probe = probe_rows(rows, 1)
    shapes = {k: int(v.shape[1]) for k, v in network.pooled(rows.batch(probe), requests).items()}
    entries = [
        site_entry(
            replace(place.site, pooling=how),
            (shapes[f"{place.name}@{how}"],),
            store_dtype,
            path=place.path,
            io=place.io,
            index=place.index,
        )
        for place, how in requests
    ]
    row_bytes = sum(shapes.values()) * np.dtype(store_dtype).itemsize
    count = len(dataset)
    if shard_rows is None:
        shard_rows = max(1, min(count, _SHARD_ROWS, _SHARD_BYTES // max(1, row_bytes)))
    elif shard_rows < 1:
        raise InputError(f"shard_rows must be at least 1, got {shard_rows}")
    manifest = Manifest.create(
        sites=entries,
        rows=count,
        shard_rows=shard_rows,
        identity=_identity(network, dataset, rows),
        recorded=_recorded(network, dataset),
    )
    padded = 0
    if rows.settings()["kind"] == "tokens":
        for start, stop in manifest.ranges:
            padded += sum(len(b) * int(rows.n_tokens[b].max()) for b in rows.batches(start, stop))
    names = ("ok", "empty", "skipped")
    return ExtractionPlan(
        network=network.name,
        dataset=dataset.name,
        keys=tuple(e["key"] for e in entries),
        shapes=tuple(int(e["shape"][0]) for e in entries),
        depths=tuple(float(e["depth"]) for e in entries),
        rows=count,
        shards=len(manifest.ranges),
        bytes=row_bytes * count,
        free_bytes=_free(out),
        tokens=int(rows.n_tokens.clip(0).sum()),
        padded_tokens=padded,
        identical=int(getattr(dataset, "identical", 0)),
        status={n: int((rows.status == i).sum()) for i, n in enumerate(names)},
        dtype=str(network.dtype).removeprefix("torch."),
        requests=tuple(requests),
        manifest=manifest,
    )


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
            "another place, or store_dtype 'float16'"
        )


def probe_rows(rows: Rows, count: int) -> np.ndarray:
    """The first rows that have something in them, at most ``count``."""
    ready = np.flatnonzero((rows.n_tokens != 0) & (rows.status != 2))[:count]
    if not len(ready):
        raise InputError("every row is empty or was skipped; there is nothing to extract")
    return ready


def _free(out: Path) -> int:
    folder = out
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _identity(network: TorchNetwork, dataset: Dataset, rows: Rows) -> dict[str, Any]:
    facts = network.facts
    return {
        "model": {
            "id": facts.get("id", network.name),
            "commit": facts.get("commit"),
            "class": facts.get("class", type(network.module).__name__),
            "weights_hash": weights_hash(network.module),
            "dtype": str(network.dtype).removeprefix("torch."),
            "quantization": None,
            "remote_code_commit": facts.get("remote_code_commit"),
            "untrained_seed": facts.get("untrained_seed"),
        },
        "adapter": None,
        "attn_implementation": facts.get("attn_implementation"),
        "intervention_hash": None,
        "tokenizer": _tokenizer(network) if dataset.kind == "text" else None,
        "processor_hash": _processor(network) if dataset.kind == "images" else None,
        "dataset": {
            "fingerprint": dataset.fingerprint,
            "row_ids_hash": row_ids_hash(dataset.ids),
            "columns": sorted(dataset.labels),
            "split": None,
            "limit": None,
            "seed": None,
        },
        "input": rows.settings(),
        "pool_dtype": "float64" if network.dtype == torch.float64 else "float32",
    }


def _recorded(network: TorchNetwork, dataset: Dataset) -> dict[str, Any]:
    device = network.device
    title = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "versions": versions("torch", "transformers", "tokenizers", "safetensors"),
        "device": {"name": title},
        "network": network.name,
        "dataset": dataset.name,
        "family": None if network.map is None else network.map.family.name,
        "self_check": [
            {
                "name": c.name,
                "passed": c.passed,
                "size": float(np.nan_to_num(c.size, nan=-1.0, posinf=-1.0)),
                "where": c.where,
            }
            for c in network.checks
        ],
        "withdrawn": dict(network.withdrawn),
        "causal": network.facts.get("causal"),
    }


def _tokenizer(network: TorchNetwork) -> dict[str, Any]:
    tokenizer = network.tokenizer
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items()))
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else ""
    digest = hashlib.blake2b((vocabulary + rules).encode(), digest_size=16).hexdigest()
    return {
        "id": type(tokenizer).__name__,
        "commit": network.facts.get("commit"),
        "hash": digest,
        "specials": sorted(set(map(str, tokenizer.all_special_tokens))),
        "template_hash": None,
        "padding_side": "right",
    }


def _processor(network: TorchNetwork) -> str | None:
    if network.processor is None:
        return None
    text = network.processor.to_json_string()
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
