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
    tokens: Sequence[int] = (),
    tokens_dtype: str = "float32",
    identity: Mapping[str, Any] | None = None,
) -> Manifest:
    """A manifest with sites ``resid_post.0@mean``, ``resid_post.1@mean``, ... or those named.

    ``tokens`` adds ragged sites ``resid_post.0@tokens``, ... of these widths.

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
    entries += [
        site_entry(
            Site(f"resid_post.{b}", depth=b + 1, block=b, pooling="tokens"), (d,), tokens_dtype
        )
        for b, d in enumerate(tokens)
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

    bfloat16 sites come as uint16 words, as :meth:`StoreWriter.commit` wants them. Rows have 0 to 4
    tokens.
    """
    tensors = {}
    rows = range(start, stop)
    lengths = [int(np.random.default_rng([seed, 2**20, row]).integers(5)) for row in rows]
    for number, (key, entry) in enumerate(manifest.entries.items()):
        ragged = key in manifest.ragged
        points = [
            np.random.default_rng([seed, number, row]).normal(
                size=(length if ragged else 1, *entry["shape"])
            )
            for row, length in zip(rows, lengths, strict=True)
        ]
        tensors[key] = _as_stored(np.concatenate(points), entry["dtype"])
    if manifest.ragged:
        tensors |= _random_tokens(lengths, start, seed)
    return tensors


def _as_stored(points: np.ndarray, dtype: str) -> np.ndarray:
    if dtype != "bfloat16":
        return points.astype(dtype)
    return (points.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def _random_tokens(lengths: Sequence[int], start: int, seed: int) -> dict[str, np.ndarray]:
    position = np.concatenate([np.arange(n) for n in lengths])
    ids = [
        np.random.default_rng([seed, 2**21, start + i]).integers(0, 50_000, n)
        for i, n in enumerate(lengths)
    ]
    return {
        "offsets": np.concatenate([[0], np.cumsum(lengths)]),
        "token_id": np.concatenate(ids),
        "token_pos": position,
        "token_content": position > 0,
    }


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
