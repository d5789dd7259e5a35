"""Import arrays of points as a store."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.store.importers.depths import order_sites
from hiddenscape.store.importers.report import ImportReport, SiteCounter, SiteReport
from hiddenscape.store.importers.sources import SUFFIXES, PointSource, open_file, sha256
from hiddenscape.store.manifest import Manifest, site_entry, versions
from hiddenscape.store.rows import format_rows, read_csv, row_ids_hash, rows_hash, write_rows
from hiddenscape.store.writer import StoreWriter
from hiddenscape.types import Site

__all__ = ["import_points"]

_Source = str | Path | Mapping[str, Any] | Sequence[str | Path]
_Labels = str | Path | Mapping[str, Sequence[Any]] | Sequence[Any] | np.ndarray


def import_points(
    source: _Source,
    out: str | Path,
    *,
    pattern: str | None = None,
    keys: Sequence[str] | None = None,
    depths: Mapping[str, float] | Sequence[float] | None = None,
    labels: _Labels | None = None,
    ids: Sequence[Any] | None = None,
    model: str | None = None,
    dataset: str | None = None,
    dtype: str = "auto",
    flatten: bool = False,
    shard_rows: int | None = None,
    overwrite: bool = False,
) -> ImportReport:
    """Make a store from points that were computed elsewhere.

    Parameters
    ----------
    source : path, list of paths, or mapping
        A file (``.npy``, ``.npz``, ``.safetensors``, ``.pt``), several of them, a folder of them,
        or a mapping from site names to files with one array or to arrays. In ``.npz``,
        ``.safetensors`` and ``.pt`` each key is a site, or the place in a list. A site name may
        carry its pooling: ``resid_post.7@mean``.
    out : path
        The run folder to make: ``out/acts`` and ``out/rows.csv``.
    pattern : str, optional
        Which files of a folder, such as ``l{block}.npy`` or ``{site}.npy``. ``{block}`` is a
        number and becomes the block and the depth.
    keys : sequence of str, optional
        Sites to take, as names or wildcards; all by default.
    depths : mapping or sequence, optional
        Depth of each site, by name or in the order of the sites. By default: canonical site names
        (``resid_post.3``) have their own depth; otherwise the number in names that differ by one
        number only; otherwise the order of files and keys.
    labels : optional
        A CSV file (each column is a label; columns ``id`` and ``text`` are taken as such), an
        ``.npy`` file, a mapping from names to columns, or one column. In row order.
    ids : sequence, optional
        One id per row.
    model, dataset : str, optional
        Where the points come from; null where not given, never guessed.
    dtype : {"auto", "float32", "float64"}
        ``auto`` stores float64 and integers over 16 bits as float64, everything else as float32:
        no value changes.
    flatten : bool
        Make (n, a, b, ...) into (n, a * b * ...); refused otherwise.
    shard_rows : int, optional
        Rows per file of the store; by default files of about 128 MB.
    overwrite : bool
        Delete a store that is there.

    Returns
    -------
    ImportReport
        Counts of NaN, zero rows, constant columns and exact duplicates, per site.

    Raises
    ------
    InputError
        If a file is missing, damaged or pickled, arrays are no points (n, d), two sites have
        different numbers of rows or one name, or labels have another length. Names the file.
    ManifestMismatch
        If ``out`` holds another store and ``overwrite`` is false.
    DiskFullError, StoreError
        If ``out`` cannot be written.

    Notes
    -----
    Reads block by block; memory does not grow with the number of rows. An import that was killed
    is finished by the same call.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> points = {"l0": np.eye(4), "l1": np.ones((4, 3))}
    >>> report = import_points(points, folder + "/run", labels=["a", "b", "a", "b"])
    >>> report.warnings
    ('l1: 3 of 4 rows repeat an earlier row exactly', 'l1: 3 of 3 columns are constant')
    >>> report.representations["l0"].shape
    (4, 4)
    """
    if dtype not in ("auto", "float32", "float64"):
        raise InputError(f"dtype must be auto, float32 or float64, got {dtype!r}")
    sources, hashes, in_order = _gather(source, pattern)
    if not sources:
        raise InputError("no files to import")
    sources = _select(sources, keys)
    n = _check_shapes(sources, flatten)
    sites = order_sites([s.name for s in sources], [s.number for s in sources], depths, in_order)
    columns = _row_table(n, labels, ids)
    run = Path(out)
    entries, ready = [], []
    for site, place in sites:
        origin = sources[place]
        stored = _stored_dtype(origin, dtype)
        entries.append(site_entry(site, (math.prod(origin.shape[1:]),), stored))
        ready.append((site, origin, stored))
    manifest = Manifest.create(
        kind="imported",
        sites=entries,
        rows=n,
        shard_rows=shard_rows,
        identity={
            "model": {"id": model},
            "dataset": {
                "id": dataset,
                "fingerprint": None,
                "row_ids_hash": row_ids_hash(columns["id"]),
                "rows_hash": rows_hash(format_rows(columns)),
            },
            "sources": [{"name": name, "sha256": digest} for name, digest in hashes],
            "origins": {site.key: s.origin for site, s, _ in ready},
        },
        recorded={"versions": versions()},
    )
    writer = StoreWriter(run / "acts", manifest, overwrite=overwrite)
    write_rows(run / "rows.csv", columns)
    counters = _copy(writer, ready)
    writer.finish()
    return ImportReport(run, tuple(_report(*r, c) for r, c in zip(ready, counters, strict=True)))


def _gather(
    source: _Source, pattern: str | None
) -> tuple[list[PointSource], list[tuple[str, str]], bool]:
    """Sources, (name, hash) of each file, and whether their order means something."""
    if isinstance(source, Mapping):
        return _gather_mapping(source)
    if hasattr(source, "shape"):
        raise InputError("give arrays by name: import_points({'NAME': array}, out)")
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            files, names = _folder(path, pattern)
        elif pattern is not None:
            raise InputError(f"{path}: a pattern needs a folder")
        else:
            files, names = [path], [None]
        in_order = not path.is_dir() and path.suffix.lower() != ".safetensors"
    else:
        files, in_order = [Path(p) for p in source], True
        names = [None] * len(files)
    found: list[PointSource] = []
    for file, name in zip(files, names, strict=True):
        inside = open_file(file)
        if name is not None and len(inside) == 1:
            inside = [replace(inside[0], name=name[0], number=name[1])]
        elif name is not None:
            raise InputError(f"{file}: a pattern needs files with one array, it has {len(inside)}")
        found += inside
    return found, [(file.name, sha256(file)) for file in files], in_order


def _gather_mapping(
    source: Mapping[str, Any],
) -> tuple[list[PointSource], list[tuple[str, str]], bool]:
    found, hashes = [], []
    for name, value in source.items():
        if isinstance(value, (str, Path)):
            inside = open_file(Path(value))
            if len(inside) != 1:
                raise InputError(f"{value}: site {name!r} needs a file with one array")
            found.append(replace(inside[0], name=name))
            hashes.append((Path(value).name, sha256(Path(value))))
            continue
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise InputError(f"site {name!r}: an array of Python objects, expected numbers")
        found.append(PointSource(name, "memory", array.shape, array.dtype.name, _rows_of(array)))
        digest = hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        hashes.append((f"memory:{name}", digest.hexdigest()))
    return found, hashes, True


def _rows_of(array: np.ndarray) -> Callable[[int, int], np.ndarray]:
    return lambda start, stop: array[start:stop]


def _folder(
    path: Path, pattern: str | None
) -> tuple[list[Path], list[tuple[str, int | None] | None]]:
    files = sorted(p for p in path.iterdir() if p.is_file())
    if pattern is None:
        files = [p for p in files if p.suffix.lower() in SUFFIXES]
        if not files:
            raise InputError(f"{path}: no {', '.join(SUFFIXES)} files in this folder")
        return files, [None] * len(files)
    fields = re.findall(r"\{(.*?)\}", pattern)
    if sorted(fields) not in (["block"], ["site"], ["block", "site"]):
        raise InputError(f"pattern {pattern!r} needs {{block}} or {{site}}, each once")
    expression = re.escape(pattern)
    expression = expression.replace(r"\{block\}", r"(?P<block>\d+)")
    expression = expression.replace(r"\{site\}", r"(?P<site>.+?)")
    matches = [(p, found) for p in files if (found := re.fullmatch(expression, p.name))]
    if not matches:
        raise InputError(f"{path}: no file matches {pattern!r}, the first is {_first(files)}")
    names: list[tuple[str, int | None] | None] = []
    for file, found in matches:
        groups = found.groupdict()
        block = int(groups["block"]) if "block" in groups else None
        site = groups.get("site")
        name = file.stem if site is None else site if block is None else f"{site}.{block}"
        names.append((name, block))
    return [file for file, _ in matches], names


def _first(files: list[Path]) -> str:
    return repr(files[0].name) if files else "none at all"


def _select(sources: list[PointSource], keys: Sequence[str] | None) -> list[PointSource]:
    if keys is not None:
        names = [s.name for s in sources]
        for key in keys:
            if not any(fnmatchcase(name, key) for name in names):
                raise InputError(f"no site matches {key!r}, there are {names[:8]}")
        sources = [s for s in sources if any(fnmatchcase(s.name, key) for key in keys)]
    seen: dict[str, str] = {}
    for one in sources:
        if one.name in seen:
            raise InputError(
                f"site {one.name!r} occurs twice, in {seen[one.name]} and {one.origin}: name the "
                "sites with a mapping"
            )
        seen[one.name] = one.origin
    return sources


def _check_shapes(sources: list[PointSource], flatten: bool) -> int:
    first = sources[0]
    for one in sources:
        if len(one.shape) < 2 or 0 in one.shape:
            raise InputError(
                f"{one.origin}: site {one.name!r} has shape {one.shape}, expected (n, d): leave it "
                "out with keys, or give labels as labels"
            )
        if len(one.shape) > 2 and not flatten:
            raise InputError(
                f"{one.origin}: site {one.name!r} has shape {one.shape}, expected (n, d): average "
                "the other axes, or flatten them with flatten=True (--flatten)"
            )
        if one.shape[0] != first.shape[0]:
            raise InputError(
                f"site {one.name!r} has {one.shape[0]} rows but site {first.name!r} has "
                f"{first.shape[0]} ({one.origin}, {first.origin}): all sites need the same rows"
            )
    return first.shape[0]


_NARROW = {"float32", "float16", "bfloat16", "bool", "uint8", "int8", "uint16", "int16"}
_NARROW |= {"F32", "F16", "BF16", "BOOL", "U8", "I8", "U16", "I16"}
_WIDE = {"float64", "int32", "int64", "uint32", "uint64", "F64", "I32", "I64", "U32", "U64"}


def _stored_dtype(source: PointSource, dtype: str) -> str:
    name = source.dtype
    if name not in _NARROW | _WIDE:
        raise InputError(
            f"{source.origin}: site {source.name!r} has dtype {source.dtype}, expected real numbers"
        )
    if dtype != "auto":
        return dtype
    return "float32" if name in _NARROW else "float64"


def _row_table(n: int, labels: _Labels | None, ids: Sequence[Any] | None) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    origin = "labels"
    if isinstance(labels, (str, Path)):
        origin = str(labels)
        columns = _read_labels(Path(labels))
    elif isinstance(labels, Mapping):
        columns = dict(labels)
    elif labels is not None:
        columns = {"label": labels}
    if ids is not None:
        columns["id"] = list(ids)
    for name, values in columns.items():
        if len(values) != n:
            raise InputError(
                f"{'ids' if name == 'id' and ids is not None else origin}: column {name!r} has "
                f"{len(values)} rows, the points have {n}"
            )
    row = columns.pop("row", None)
    if row is not None and not np.array_equal(row, np.arange(n)):
        raise InputError(f"{origin}: column 'row' must count 0 to {n - 1}, in the order of points")
    columns.setdefault("id", np.arange(n))
    columns.setdefault("status", ["ok"] * n)
    return columns


def _read_labels(path: Path) -> dict[str, Any]:
    if path.suffix.lower() == ".npy":
        (only,) = open_file(path)
        if len(only.shape) != 1:
            raise InputError(f"{path}: labels have shape {only.shape}, expected one column (n,)")
        return {path.stem: np.asarray(only.read(0, only.shape[0]))}
    return dict(read_csv(path))


def _copy(writer: StoreWriter, ready: Sequence[tuple[Site, PointSource, str]]) -> list[SiteCounter]:
    counters = [SiteCounter(math.prod(source.shape[1:])) for _, source, _ in ready]
    missing = set(writer.missing())
    for start, stop in writer.manifest.ranges:
        tensors = {}
        for (site, source, stored), counter in zip(ready, counters, strict=True):
            block = _convert(source, start, stop, stored)
            counter.add(block)
            tensors[site.key] = block
        if (start, stop) in missing:
            writer.commit(start, stop, tensors)
    return counters


def _convert(source: PointSource, start: int, stop: int, stored: str) -> np.ndarray:
    raw = np.asarray(source.read(start, stop)).reshape(stop - start, -1)
    with np.errstate(over="ignore"):
        block = np.ascontiguousarray(raw, dtype=stored)
    if stored == "float32" and raw.dtype.itemsize > 4 and raw.dtype.kind == "f":
        lost = np.isinf(block) & np.isfinite(raw)
        if lost.any():
            row = start + int(np.flatnonzero(lost.any(axis=1))[0])
            raise InputError(
                f"{source.origin}: row {row} holds a number that float32 cannot: import with "
                "dtype='float64' (--dtype float64)"
            )
    return block


def _report(site: Site, source: PointSource, stored: str, counter: SiteCounter) -> SiteReport:
    return SiteReport(
        key=site.key,
        depth=site.depth,
        origin=source.origin,
        source_dtype=source.dtype,
        stored_dtype=stored,
        rows=counter.rows,
        columns=math.prod(source.shape[1:]),
        nonfinite_rows=counter.nonfinite_rows,
        zero_rows=counter.zero_rows,
        constant_columns=counter.constant_columns,
        duplicate_rows=counter.duplicate_rows,
    )
