"""Import arrays of points as a store."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.errors import DiskFullError, InputError
from hiddenscape.files import free_bytes
from hiddenscape.store.importers.depths import order_sites
from hiddenscape.store.importers.gather import Gathered, Source, gather
from hiddenscape.store.importers.report import ImportReport, SiteCounter, SiteReport
from hiddenscape.store.importers.sources import How, PointSource, open_file
from hiddenscape.store.manifest import Manifest, site_entry, versions
from hiddenscape.store.rows import format_rows, read_csv, row_ids_hash, rows_hash, write_rows
from hiddenscape.store.writer import StoreWriter
from hiddenscape.types import Site

__all__ = ["import_points"]

_Labels = str | Path | Mapping[str, Sequence[Any]] | Sequence[Any] | np.ndarray


def import_points(
    source: Source,
    out: str | Path,
    *,
    pattern: str | None = None,
    keys: Sequence[str] | None = None,
    within: str | None = None,
    layout: str = "plain",
    order: str | Path | None = None,
    tokens: str = "ragged",
    blocks: int | None = None,
    densify: bool = False,
    depths: Mapping[str, float] | Sequence[float] | None = None,
    labels: _Labels | None = None,
    ids: Sequence[Any] | None = None,
    model: str | None = None,
    dataset: str | None = None,
    dtype: str = "auto",
    flatten: bool = False,
    shard_rows: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Make a store from points that were computed elsewhere.

    Parameters
    ----------
    source : path, list of paths, or mapping
        A file (``.npy``, ``.npz``, ``.safetensors``, ``.pt``, ``.h5``, ``.h5ad``, a ``.zarr``
        folder, ``.csv`` or ``.txt``), several of them, a folder of them, or a mapping from site
        names to files with one array or to arrays. In ``.npz``, ``.safetensors`` and ``.pt`` each
        key is a site, or the place in a list; in ``.h5`` and ``.zarr`` each array of two or more
        axes; in ``.h5ad`` X, the layers and obsm, and obs is the row table; a table of text is one
        site. A site name may carry its pooling: ``resid_post.7@mean``.
    out : path
        The run folder to make: ``out/acts`` and ``out/rows.csv``.
    pattern : str, optional
        Which files of a folder, such as ``l{block}.npy`` or ``{site}.npy``. ``{block}`` is a
        number and becomes the block and the depth.
    keys : sequence of str, optional
        Sites to take, as names or wildcards; all by default.
    within : str, optional
        Which data sets of an ``.h5`` file or arrays of a ``.zarr`` folder: a path, or a pattern
        such as ``/acts/{block}``.
    layout : {"plain", "fair-esm", "doimo24"}
        ``fair-esm``: a folder with a ``.pt`` file per sequence; sites are ``esm.LAYER``.
        ``doimo24``: a folder with ``l{layer}_target.pt``; sites are ``ln1_out.l``, ``final_norm``
        and ``logits`` at the last token.
    order : path, optional
        fair-esm: the FASTA file, or list of labels, whose order the rows take.
    tokens : {"ragged", "mean", "skip"}
        fair-esm: what becomes of points per residue.
    blocks : int, optional
        doimo24: how many blocks the network has.
    densify : bool
        Store sparse matrices with all their zeros; refused otherwise.
    depths : mapping or sequence, optional
        Depth of each site, by name or in the order of the sites. By default: canonical site names
        (``resid_post.3``) have their own depth; otherwise the number in names that differ by one
        number only; otherwise the order of files and keys.
    labels : optional
        A CSV file (each column is a label; columns ``id`` and ``text`` are taken as such), a JSON
        file (name to list), an ``.npy`` file, a mapping from names to columns, or one column. In
        row order.
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
    progress : callable, optional
        Called with (rows done, rows in all).

    Returns
    -------
    ImportReport
        Counts of NaN, zero rows, constant columns and exact duplicates, per site.

    Raises
    ------
    InputError
        If a file is missing, damaged or pickled, arrays are no points (n, d), two sites have
        different numbers of rows or one name, or labels have another length. Names the file. Also
        if an HDF5 or zarr array has chunks that were never written: they would read as zeros.
    MissingDependency
        If the format needs a package that is not installed.
    ManifestMismatch
        If ``out`` holds another store and ``overwrite`` is false.
    DiskFullError, StoreError
        If ``out`` cannot be written.

    Notes
    -----
    Reads block by block; memory does not grow with the number of rows (sparse matrices by column
    are the exception). Nothing is unpickled, links out of a file are not followed, and sizes are
    checked before anything is unpacked. An import that was killed is finished by the same call.

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
    how = How(
        within=within,
        densify=densify,
        order=None if order is None else Path(order),
        tokens=tokens,
        blocks=blocks,
    )
    found = gather(source, pattern, layout, how)
    if not found.sources:
        raise InputError("no files to import")
    sources = _select(found.sources, keys)
    n = _check_shapes(sources, flatten)
    sites = order_sites(
        [s.name for s in sources], [s.number for s in sources], depths, found.in_order
    )
    columns = _row_table(n, labels, ids, found)
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
        shard_rows=shard_rows or found.rows_per_shard,
        identity={
            "model": {"id": model},
            "dataset": {
                "id": dataset,
                "fingerprint": None,
                "row_ids_hash": row_ids_hash(columns["id"]),
                "rows_hash": rows_hash(format_rows(columns)),
            },
            "sources": [{"name": name, "sha256": digest} for name, digest in found.hashes],
            "origins": {site.key: s.origin for site, s, _ in ready},
        },
        recorded={"versions": versions()},
    )
    _check_space(run, manifest)
    writer = StoreWriter(run / "acts", manifest, overwrite=overwrite)
    write_rows(run / "rows.csv", columns)
    counters = _copy(writer, ready, progress)
    writer.finish()
    reports = tuple(_report(*r, c) for r, c in zip(ready, counters, strict=True))
    return ImportReport(run, reports, found.remarks)


def _check_space(run: Path, manifest: Manifest) -> None:
    """Refuse what cannot fit before anything is unpacked: a small file may claim to hold much."""
    needed = sum(
        manifest.rows * math.prod(e["shape"]) * (8 if e["dtype"] == "float64" else 4)
        for e in manifest.entries.values()
    )
    folder = run
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if needed > (free := free_bytes(folder)):
        raise DiskFullError(
            f"{run}: the points take {needed:,} bytes, {free:,} are free: take fewer sites (keys), "
            "or another place"
        )


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


def _row_table(
    n: int, labels: _Labels | None, ids: Sequence[Any] | None, found: Gathered
) -> dict[str, Any]:
    columns: dict[str, Any] = dict(found.columns)
    origin = "labels"
    if isinstance(labels, (str, Path)):
        origin = str(labels)
        columns |= _read_labels(Path(labels))
    elif isinstance(labels, Mapping):
        columns |= dict(labels)
    elif labels is not None:
        columns["label"] = labels
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
        (only,) = open_file(path).sources
        if len(only.shape) != 1:
            raise InputError(f"{path}: labels have shape {only.shape}, expected one column (n,)")
        return {path.stem: np.asarray(only.read(0, only.shape[0]))}
    if path.suffix.lower() == ".json":
        return _read_json(path)
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise InputError(f"{path}: a pickle, which is never opened: convert its labels to JSON")
    return dict(read_csv(path))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    columns = content if isinstance(content, dict) else {"label": content}
    for name, values in columns.items():
        plain = isinstance(values, list) and all(
            v is None or isinstance(v, (str, int, float)) for v in values
        )
        if not plain:
            raise InputError(f"{path}: {name!r} is no list of labels: give name to list")
    return columns


def _copy(
    writer: StoreWriter,
    ready: Sequence[tuple[Site, PointSource, str]],
    progress: Callable[[int, int], None] | None,
) -> list[SiteCounter]:
    counters = [SiteCounter(math.prod(source.shape[1:])) for _, source, _ in ready]
    missing = set(writer.missing())
    for start, stop in writer.manifest.ranges:
        tensors: dict[str, np.ndarray] = {}
        for (site, source, stored), counter in zip(ready, counters, strict=True):
            if source.ragged:
                rows = list(source.read(start, stop))
                _add_tokens(tensors, rows, source)
                raw = np.concatenate(rows)
            else:
                raw = np.asarray(source.read(start, stop)).reshape(stop - start, -1)
            block = _convert(raw, source, start, stored)
            if len(block):
                counter.add(block)
            tensors[site.key] = block
        if (start, stop) in missing:
            writer.commit(start, stop, tensors)
        if progress is not None:
            progress(stop, writer.manifest.rows)
    return counters


def _add_tokens(
    tensors: dict[str, np.ndarray], rows: Sequence[np.ndarray], source: PointSource
) -> None:
    """What the tokens are; every ragged site must have the same ones."""
    lengths = np.array([len(row) for row in rows])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if not np.array_equal(tensors.setdefault("offsets", offsets), offsets):
        raise InputError(f"{source.origin}: site {source.name!r} has other numbers of tokens")
    position = np.concatenate([np.arange(n) for n in lengths]) + source.first_token
    tensors |= {
        "token_id": np.full(offsets[-1], -1),  # not in the source
        "token_pos": position,
        "token_content": np.ones(offsets[-1], np.uint8),
        "n_content": lengths,
    }


def _convert(raw: np.ndarray, source: PointSource, start: int, stored: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        block = np.ascontiguousarray(raw, dtype=stored)
    if stored == "float32" and raw.dtype.itemsize > 4 and raw.dtype.kind == "f":
        lost = np.isinf(block) & np.isfinite(raw)
        if lost.any():
            number = int(np.flatnonzero(lost.any(axis=1))[0])
            where = (
                f"token {number} after row {start}" if source.ragged else f"row {start + number}"
            )
            raise InputError(
                f"{source.origin}: {where} holds a number that float32 cannot: import with "
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
        ragged=source.ragged,
    )
