"""Exports as containers of arrays: HDF5, zarr, Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.store.exporters.progress import Ticker
from hiddenscape.store.exporters.selection import Field, Selection
from hiddenscape.store.optional import needs

__all__ = ["write_h5", "write_parquet", "write_zarr"]

_CHUNK_BYTES = 4 * 2**20


def write_h5(
    folder: Path, selection: Selection, record: Mapping[str, Any], ticker: Ticker
) -> dict[str, str]:
    """One file; a data set per array, the origin as an attribute of the root."""
    h5py = needs("h5py")
    with h5py.File(folder / "points.h5", "w", track_order=True) as file:
        file.attrs["provenance"] = json.dumps(record, ensure_ascii=False)
        for field in selection.fields:
            array = file.create_dataset(
                f"/{field.inner}", shape=field.shape, dtype=field.dtype, track_times=False
            )
            put_blocks(array, field, ticker)
    return {f.name: f"points.h5:/{f.inner}" for f in selection.fields}


def put_blocks(array: Any, field: Field, ticker: Ticker) -> None:
    """Write a field into anything that takes slices of rows."""
    at = 0
    for block in ticker.blocks(field):
        if len(block):
            array[at : at + len(block)] = block
        at += len(block)


def write_zarr(
    folder: Path, selection: Selection, record: Mapping[str, Any], ticker: Ticker
) -> dict[str, str]:
    """A zarr 3 group; every chunk is written, so that a lost one can be told from zeros."""
    zarr = needs("zarr")
    group = zarr.open_group(str(folder / "points.zarr"), mode="w", zarr_format=3)
    group.attrs["provenance"] = json.loads(json.dumps(record))
    for field in selection.fields:
        row_bytes = int(np.prod(field.shape[1:])) * field.dtype.itemsize
        rows = max(1, min(field.shape[0], _CHUNK_BYTES // max(1, row_bytes)))
        array = group.create_array(
            field.inner,
            shape=field.shape,
            chunks=(rows, *(max(1, s) for s in field.shape[1:])),
            dtype=field.dtype,
            config={"write_empty_chunks": True},
        )
        put_blocks(array, _in_steps(field, rows), ticker)
    return {f.name: f"points.zarr:{f.inner}" for f in selection.fields}


def _in_steps(field: Field, rows: int) -> Field:
    """The same array in blocks of ``rows`` rows: a chunk is then written once, not in pieces."""

    def blocks() -> Iterator[np.ndarray]:
        held: list[np.ndarray] = []
        count = 0
        for block in field.blocks():
            held.append(block)
            count += len(block)
            if count >= rows:
                whole = held[0] if len(held) == 1 else np.concatenate(held)
                full = count // rows * rows
                yield whole[:full]
                held, count = [whole[full:]], count - full
        if count:
            yield np.concatenate(held)

    return Field(field.name, field.shape, field.dtype, field.stored, blocks)


def write_parquet(
    folder: Path, selection: Selection, record: Mapping[str, Any], ticker: Ticker
) -> dict[str, str]:
    """One table: the columns of the row table, then one list column of fixed size per site."""
    pa, parquet = needs("pyarrow"), needs("pyarrow.parquet")
    table = selection.table()
    labels = {f"rows.{name}": _arrow(pa, values) for name, values in table.items()}
    widths = {f.name: int(np.prod(f.shape[1:])) for f in selection.points}
    kinds = [(name, values.type) for name, values in labels.items()]
    kinds += [
        (f.name, pa.list_(pa.from_numpy_dtype(f.dtype), widths[f.name])) for f in selection.points
    ]
    schema = pa.schema(kinds, {"hiddenscape": json.dumps(record, ensure_ascii=False)})
    step = max(1, _CHUNK_BYTES * 4 // max(1, sum(f.nbytes for f in selection.points)
               // max(1, selection.n_rows)))  # fmt: skip
    streams = [ticker.blocks(_in_steps(f, step)) for f in selection.points]
    cut = [_exactly(stream, step) for stream in streams]
    with parquet.ParquetWriter(folder / "points.parquet", schema) as writer:
        for at in range(0, selection.n_rows, step):
            columns = [values.slice(at, step) for values in labels.values()]
            for field, blocks in zip(selection.points, cut, strict=True):
                flat = np.ascontiguousarray(next(blocks)).reshape(-1)
                columns.append(
                    pa.FixedSizeListArray.from_arrays(pa.array(flat), widths[field.name])
                )
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    for blocks in cut:  # the last block is counted when the next one is asked for
        next(blocks, None)
    return {f.name: f"points.parquet:{f.name}" for f in selection.points}


def _exactly(stream: Iterator[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    for block in stream:
        for at in range(0, len(block), rows):
            yield block[at : at + rows]


def _arrow(pa: Any, values: np.ndarray) -> Any:
    return pa.array(values.tolist()) if values.dtype.kind in "OU" else pa.array(values)
