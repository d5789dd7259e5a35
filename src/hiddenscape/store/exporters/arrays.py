"""Exports as plain arrays: npy, npz, safetensors. Written block by block."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from hiddenscape.store.exporters.progress import Ticker
from hiddenscape.store.exporters.selection import Field, Selection
from hiddenscape.store.shards import CODES, header_bytes

__all__ = ["write_npy", "write_npz", "write_safetensors"]

# Zip archives carry a time for each member; with a fixed one equal points make equal bytes.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def _put_npy(stream: IO[bytes], field: Field, ticker: Ticker) -> None:
    dtype = field.dtype.newbyteorder("<")
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": field.shape,
    }
    np.lib.format.write_array_header_1_0(stream, header)
    for block in ticker.blocks(field):
        stream.write(np.ascontiguousarray(block, dtype).tobytes())


def write_npy(
    folder: Path, selection: Selection, record: Mapping[str, Any], ticker: Ticker
) -> dict[str, str]:
    """One file per site; what says which token is which lies in a folder of its own."""
    places = {}
    for field in selection.fields:
        inner = "tokens/" if field in selection.tokens else ""
        places[field.name] = f"{inner}{field.stem}.npy"
        path = folder / places[field.name]
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as stream:
            _put_npy(stream, field, ticker)
    return places


def write_npz(
    folder: Path, selection: Selection, record: Mapping[str, Any], ticker: Ticker
) -> dict[str, str]:
    """One archive, uncompressed, with a member per array."""
    places = {}
    with zipfile.ZipFile(folder / "points.npz", "w", zipfile.ZIP_STORED) as archive:
        for field in selection.fields:
            info = zipfile.ZipInfo(f"{field.inner}.npy", _NO_TIME)
            with archive.open(info, "w", force_zip64=True) as stream:
                _put_npy(stream, field, ticker)
            places[field.name] = f"points.npz:{field.inner}"
    return places


def write_safetensors(
    folder: Path, selection: Selection, record: Mapping[str, Any], ticker: Ticker
) -> dict[str, str]:
    """One file; bfloat16 stays bfloat16, and the origin is in the header too."""
    order = sorted(selection.fields, key=lambda f: (-_size(f), f.name))
    layout = {f.name: (CODES[f.stored], f.shape, _size(f)) for f in order}
    metadata = {"provenance": json.dumps(record, sort_keys=True, ensure_ascii=False)}
    with (folder / "points.safetensors").open("wb") as stream:
        stream.write(header_bytes(layout, metadata))
        for field in order:
            for block in _words(field, ticker):
                stream.write(block.tobytes())
    return {f.name: f"points.safetensors:{f.name}" for f in order}


def _size(field: Field) -> int:
    return 2 if field.stored == "bfloat16" else field.dtype.itemsize


def _words(field: Field, ticker: Ticker) -> Iterator[np.ndarray]:
    for block in ticker.blocks(field):
        whole = np.ascontiguousarray(block, field.dtype.newbyteorder("<"))
        if field.stored == "bfloat16":  # widened on reading, so the lower half is zero
            whole = (whole.view("<u4") >> np.uint32(16)).astype("<u2")
        yield whole
