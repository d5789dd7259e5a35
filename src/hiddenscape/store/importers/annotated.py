"""AnnData files (.h5ad): X, layers and obsm are sites, obs is the row table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.store.importers.hdf5 import array_source, check_whole, opened
from hiddenscape.store.importers.sources import How, Opened, PointSource, reading

__all__ = ["open_h5ad"]


def open_h5ad(path: Path, how: How) -> Opened:
    """The matrices of an AnnData file, and its ``obs`` as ids and labels.

    Raises
    ------
    InputError
        If a matrix is sparse and ``how.densify`` is false; names its size.
    """
    with opened(path) as file:
        if file.attrs.get("encoding-type") != "anndata":
            raise InputError(f"{path}: no AnnData of version 0.7 or later: write it again with it")
        found = []
        for site, item in _matrices(file):
            if isinstance(site, str) and hasattr(item, "shape"):
                if len(item.shape) >= 2 and item.shape[1] == 0:
                    continue  # X of an object that has only obsm
                found.append(array_source(path, item, site))
            else:
                found.append(_sparse(path, item, site, how))
        columns = _table(path, file["obs"]) if "obs" in file else {}
    return Opened(found, columns)


def _matrices(file: Any) -> Iterator[tuple[str, Any]]:
    if "X" in file and file["X"].attrs.get("encoding-type") != "null":
        yield "X", file["X"]
    for group in ("layers", "obsm"):
        for name in file.get(group, {}):
            kind = file[group][name].attrs.get("encoding-type")
            if kind != "dataframe":  # columns of many types: no points
                yield name, file[group][name]


def _sparse(path: Path, group: Any, site: str, how: How) -> PointSource:
    kind = group.attrs.get("encoding-type")
    if kind not in ("csr_matrix", "csc_matrix"):
        raise InputError(f"{path}: {site!r} is stored as {kind}, which is not read here")
    shape = tuple(int(n) for n in group.attrs["shape"])
    if not how.densify:
        size = math.prod(shape) * group["data"].dtype.itemsize
        raise InputError(
            f"{path}: {site!r} is sparse; with all its zeros it takes {size:,} bytes: say so with "
            "densify=True (--densify), or leave it out with keys (--key)"
        )
    for name in ("data", "indices", "indptr"):
        check_whole(path, group[name])
    indptr = group["indptr"][:].astype(np.int64)
    stored = len(group["data"])
    major = shape[0] if kind == "csr_matrix" else shape[1]
    good = len(indptr) == major + 1 and indptr[0] == 0 and indptr[-1] == stored
    if not good or (np.diff(indptr) < 0).any() or len(group["indices"]) != stored:
        raise InputError(f"{path}: {site!r}: damaged, its index pointers do not fit its values")
    dtype = group["data"].dtype
    read = (_csr if kind == "csr_matrix" else _csc)(path, group.name, shape, indptr, dtype)
    return PointSource(site, f"{path.name}:{group.name}", shape, dtype.name, read)


_Read = Callable[[int, int], np.ndarray]


def _csr(
    path: Path, name: str, shape: tuple[int, ...], indptr: np.ndarray, dtype: np.dtype[Any]
) -> _Read:
    def read(start: int, stop: int) -> np.ndarray:
        first, last = int(indptr[start]), int(indptr[stop])
        with reading(path), opened(path) as file:
            values = file[name]["data"][first:last]
            columns = file[name]["indices"][first:last].astype(np.int64)
        rows = np.repeat(np.arange(stop - start), np.diff(indptr[start : stop + 1]))
        return _dense(path, name, (stop - start, shape[1]), rows, columns, values)

    return read


def _csc(
    path: Path, name: str, shape: tuple[int, ...], indptr: np.ndarray, dtype: np.dtype[Any]
) -> _Read:
    # Columns first: all of it is needed for any row, so it is read once and kept.
    held: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def read(start: int, stop: int) -> np.ndarray:
        if not held:
            with reading(path), opened(path) as file:
                rows = file[name]["indices"][:].astype(np.int64)
                values = file[name]["data"][:]
            columns = np.repeat(np.arange(shape[1]), np.diff(indptr))
            if rows.size and (rows.min() < 0 or rows.max() >= shape[0]):
                raise InputError(f"{path}: {name}: damaged, an index is outside {shape}")
            order = np.argsort(rows, kind="stable")
            held.append((rows[order], columns[order], values[order]))
        rows, columns, values = held[0]
        a, b = np.searchsorted(rows, [start, stop])
        size = (stop - start, shape[1])
        return _dense(path, name, size, rows[a:b] - start, columns[a:b], values[a:b])

    return read


def _dense(
    path: Path,
    name: str,
    shape: tuple[int, int],
    rows: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
) -> np.ndarray:
    if columns.size and (columns.min() < 0 or columns.max() >= shape[1]):
        raise InputError(f"{path}: {name}: damaged, an index is outside its {shape[1]} columns")
    out = np.zeros(shape, values.dtype)
    np.add.at(out, (rows, columns), values)  # an entry given twice counts twice, as everywhere
    return out


def _table(path: Path, obs: Any) -> dict[str, np.ndarray]:
    if obs.attrs.get("encoding-type") != "dataframe":
        raise InputError(f"{path}: obs is stored in an old way: write it again with AnnData 0.7+")
    index = str(obs.attrs["_index"])
    columns: dict[str, np.ndarray] = {"id": _column(path, obs, index)}
    for name in (str(n) for n in obs.attrs["column-order"]):
        if name in obs:
            columns[name] = _column(path, obs, name)
    return columns


def _column(path: Path, obs: Any, name: str) -> np.ndarray:
    item = obs[name]
    if hasattr(item, "shape"):
        return _plain(path, item)
    kind = item.attrs.get("encoding-type")
    if kind == "categorical":
        words, codes = _plain(path, item["categories"]), item["codes"][:].astype(np.int64)
        if codes.size and (codes.min() < -1 or codes.max() >= len(words)):
            raise InputError(f"{path}: obs column {name!r}: damaged, a category does not exist")
        if (codes >= 0).all():
            return np.asarray(words[codes])
        return np.array([words[c].item() if c >= 0 else None for c in codes], dtype=object)
    if str(kind).startswith("nullable"):
        values, gaps = _plain(path, item["values"]), item["mask"][:].astype(bool)
        if not gaps.any():
            return values
        return np.array([None if g else v.item() for v, g in zip(values, gaps)], dtype=object)  # noqa: B905
    raise InputError(f"{path}: obs column {name!r} is stored as {kind}, which is not read here")


def _plain(path: Path, item: Any) -> np.ndarray:
    """A column of numbers or of text."""
    import h5py

    if h5py.check_string_dtype(item.dtype) is not None:
        return np.array(item.asstr()[:].tolist(), dtype=object)
    check_whole(path, item)
    if item.dtype.kind not in "fiub":
        raise InputError(f"{path}: obs column {item.name!r} holds {item.dtype}")
    return np.asarray(item[:])
