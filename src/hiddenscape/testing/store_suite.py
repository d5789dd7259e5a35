"""Stores with known content, for tests of anything that writes or reads one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.store.manifest import Manifest, site_entry, versions
from hiddenscape.store.reader import RepresentationSet
from hiddenscape.store.rows import write_rows
from hiddenscape.store.writer import StoreWriter
from hiddenscape.types import Site

__all__ = ["random_manifest", "random_shard", "random_store", "store_bytes"]


def random_manifest(
    *,
    rows: int = 20,
    shard_rows: int = 6,
    shapes: Mapping[str, tuple[int, ...]] | Sequence[tuple[int, ...]] = ((3,), (5,)),
    dtypes: str | Sequence[str] = "float32",
    identity: Mapping[str, Any] | None = None,
) -> Manifest:
    """A manifest with sites ``resid_post.0@mean``, ``resid_post.1@mean``, ... or those named.

    Examples
    --------
    >>> [site.key for site in random_manifest().sites]
    ['resid_post.0@mean', 'resid_post.1@mean']
    """
    if isinstance(shapes, Mapping):
        named = list(shapes.items())
    else:
        named = [(f"resid_post.{b}", shape) for b, shape in enumerate(shapes)]
    kinds = [dtypes] * len(named) if isinstance(dtypes, str) else list(dtypes)
    entries = [
        site_entry(Site(name, depth=i + 1, block=i, pooling="mean"), shape, kind)
        for i, ((name, shape), kind) in enumerate(zip(named, kinds, strict=True))
    ]
    return Manifest.create(
        sites=entries,
        rows=rows,
        shard_rows=shard_rows,
        identity={"model": {"id": "random"}, **(identity or {})},
        recorded={"versions": versions()},
    )


def random_shard(
    manifest: Manifest, start: int, stop: int, *, seed: int = 0
) -> dict[str, np.ndarray]:
    """The tensors of one shard: normal numbers that depend on the seed, the site and the row only.

    bfloat16 sites come as uint16 words, as :meth:`StoreWriter.commit` wants them.
    """
    tensors = {}
    for number, (key, entry) in enumerate(manifest.entries.items()):
        rows = [
            np.random.default_rng([seed, number, row]).normal(size=entry["shape"])
            for row in range(start, stop)
        ]
        points = np.array(rows)
        if entry["dtype"] == "bfloat16":
            words = points.astype(np.float32).view(np.uint32) >> np.uint32(16)
            tensors[key] = words.astype(np.uint16)
        else:
            tensors[key] = points.astype(entry["dtype"])
    return tensors


def random_store(
    run: str | Path, manifest: Manifest | None = None, *, seed: int = 0
) -> RepresentationSet:
    """A finished run folder with ``acts`` and ``rows.csv`` (ids, two label columns, text)."""
    manifest = random_manifest() if manifest is None else manifest
    writer = StoreWriter(Path(run) / "acts", manifest)
    for start, stop in writer.missing():
        writer.commit(start, stop, random_shard(manifest, start, stop, seed=seed))
    n = manifest.rows
    write_rows(
        Path(run) / "rows.csv",
        {
            "id": [f"r{i}" for i in range(n)],
            "label": np.arange(n) % 3,
            "group": [f"g{i % 2}" for i in range(n)],
            "text": [f'row {i}, "quoted"\nsecond line' for i in range(n)],
            "status": ["ok"] * n,
        },
    )
    return writer.finish()


def store_bytes(run: str | Path) -> dict[str, bytes]:
    """The bytes of every file of a store that has meaning, by name."""
    folder = Path(run) / "acts"
    files = [folder / "manifest.json", *sorted(folder.glob("rows-*.safetensors"))]
    return {file.name: file.read_bytes() for file in files}
