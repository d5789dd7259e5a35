"""Arrays of zarr 2 and 3 folders. A chunk that is missing is refused, not read as fill value."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.store.importers.sources import How, Opened, PointSource, reading
from hiddenscape.store.optional import needs

__all__ = ["open_zarr"]

_MAX_CHUNK = 2**31
_MAX_METADATA = 16 * 2**20
_TOO_MANY = 1000


def open_zarr(path: Path, how: How) -> Opened:
    """Every array of two or more axes in a local folder, or those that ``how.within`` fits."""
    from hiddenscape.store.importers.gather import inner_sites

    zarr = needs("zarr")
    _refuse_pickles(path)
    root = zarr.open(str(path), mode="r")
    if hasattr(root, "shape"):
        members = {path.name.removesuffix(".zarr"): root}
    else:
        members = dict(sorted(root.members(max_depth=None)))
    items = {name: item for name, item in members.items() if hasattr(item, "shape")}
    sites = inner_sites(path, {n: len(i.shape) for n, i in items.items()}, how.within)
    return Opened([_source(path, zarr, items[name], *site) for name, site in sites.items()])


def _refuse_pickles(path: Path) -> None:
    for file in sorted(path.rglob(".zarray")):
        if file.stat().st_size > _MAX_METADATA:
            raise InputError(f"{file}: {file.stat().st_size:,} bytes of metadata, over the limit")
        try:
            meta = json.loads(file.read_text(encoding="utf-8"))
        except RecursionError as error:
            raise InputError(f"{file}: nested too deeply") from error
        filters = [*(meta.get("filters") or []), meta.get("compressor") or {}]
        if any(f.get("id") == "pickle" for f in filters) or "O" in str(meta.get("dtype")):
            raise InputError(f"{path}: holds pickled Python objects, which are never opened")
    for file in sorted(path.rglob("zarr.json")):
        if file.stat().st_size > _MAX_METADATA:
            raise InputError(f"{file}: {file.stat().st_size:,} bytes of metadata, over the limit")


def _source(path: Path, zarr: Any, item: Any, site: str, number: int | None) -> PointSource:
    where = f"{path}: array {site!r}"
    if item.dtype.hasobject or item.dtype.kind not in "fiub":
        raise InputError(f"{where} holds {item.dtype}, expected numbers")
    stored = item.shards or item.chunks
    size = math.prod(stored) * item.dtype.itemsize
    if size > _MAX_CHUNK:
        raise InputError(f"{where} has chunks of {size:,} bytes, over the limit: rechunk it")
    missing = list(itertools.islice(_missing_chunks(path, item, stored), _TOO_MANY))
    if missing:
        shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        more = " or more" if len(missing) == _TOO_MANY else ""
        raise InputError(
            f"{where}: {len(missing)}{more} chunks are missing ({shown}) and would read as "
            f"{item.fill_value}: whether they were left out because they hold nothing else or were "
            "never written cannot be told: write it again with every chunk (write_empty_chunks)"
        )
    read = _by_sharding(path, zarr, item, site) if item.shards else _plain(path, item)
    return PointSource(site, f"{path.name}:{item.path}", item.shape, item.dtype.name, read, number)


def _missing_chunks(path: Path, item: Any, stored: tuple[int, ...]) -> Iterator[str]:
    folder = path / item.path
    grid = [range(-(-n // c)) for n, c in zip(item.shape, stored, strict=True)]
    for coordinates in itertools.product(*grid):
        key = item.metadata.encode_chunk_key(coordinates)
        if not (folder / key).is_file():
            yield key


def _plain(path: Path, item: Any) -> Callable[[int, int], np.ndarray]:
    def read(start: int, stop: int) -> np.ndarray:
        with reading(path):
            return np.asarray(item[start:stop])

    return read


def _by_sharding(path: Path, zarr: Any, item: Any, site: str) -> Callable[[int, int], np.ndarray]:
    # Inside a shard a chunk can be missing without a trace among the files: what changes with the
    # fill value was not there.
    inner = item.async_array
    zero, one = (
        zarr.Array(
            type(inner)(
                metadata=dataclasses.replace(item.metadata, fill_value=item.dtype.type(fill)),
                store_path=inner.store_path,
            )
        )
        for fill in (0, 1)
    )

    def read(start: int, stop: int) -> np.ndarray:
        with reading(path):
            found, other = np.asarray(zero[start:stop]), np.asarray(one[start:stop])
        same = np.ascontiguousarray(found).view(np.uint8) == np.ascontiguousarray(other).view(
            np.uint8
        )
        if not same.all():
            row = start + int(np.flatnonzero(~same.reshape(stop - start, -1).all(axis=1))[0])
            raise InputError(
                f"{path}: array {site!r}: the chunk with row {row} is missing in its shard: write "
                "it again with every chunk (write_empty_chunks)"
            )
        return found

    return read
