"""The export itself: a folder that appears whole, with points, rows and their origin."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.errors import DiskFullError, InputError, StoreError
from hiddenscape.files import explain_failure, free_bytes, sync_folder, temporary_name
from hiddenscape.store.exporters.arrays import write_npy, write_npz, write_safetensors
from hiddenscape.store.exporters.containers import write_h5, write_parquet, write_zarr
from hiddenscape.store.exporters.labelled import write_anndata, write_xarray
from hiddenscape.store.exporters.progress import Ticker
from hiddenscape.store.exporters.selection import Rows, Selection, select
from hiddenscape.store.exporters.text import write_csv, write_projector
from hiddenscape.store.manifest import versions
from hiddenscape.store.reader import RepresentationSet, open_store

__all__ = ["FORMATS", "SCHEMA", "export_points"]

SCHEMA = "hiddenscape-export/1"
_Writer = Callable[[Path, Selection, Mapping[str, Any], Ticker], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class _Format:
    write: _Writer
    summary: str
    ragged: bool = False
    growth: float = 1.0  # bytes in the file per byte of points, at most


_FORMATS: Mapping[str, _Format] = {
    "npy": _Format(write_npy, "one .npy per site", ragged=True),
    "npz": _Format(write_npz, "points.npz, one array per site", ragged=True),
    "safetensors": _Format(
        write_safetensors, "points.safetensors, one tensor per site, bfloat16 kept", ragged=True
    ),
    "csv": _Format(write_csv, "one .csv per site, numbers that read back exactly", growth=6),
    "parquet": _Format(write_parquet, "points.parquet, one column per site, labels beside them"),
    "zarr": _Format(write_zarr, "points.zarr (format 3), one array per site", ragged=True),
    "h5": _Format(write_h5, "points.h5, one data set per site", ragged=True),
    "anndata": _Format(write_anndata, "points.h5ad, sites in obsm, row table in obs"),
    "xarray": _Format(write_xarray, "points.nc where netCDF can be written, else points.zarr"),
    "projector": _Format(write_projector, "TSV of vectors and metadata", growth=6),
}
FORMATS: Mapping[str, str] = {name: entry.summary for name, entry in _FORMATS.items()}
"""What can be written, and what it looks like."""


def export_points(
    run: str | Path | RepresentationSet,
    out: str | Path,
    *,
    format: str = "npz",
    sites: Sequence[str] | None = None,
    rows: Rows = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the points of a run in a format that other programs read.

    Parameters
    ----------
    run : path or RepresentationSet
        A run folder, a store, or an open one.
    out : path
        The folder to make. In it lie the points, ``rows.csv`` (what each row is) and
        ``provenance.json`` (where the points come from, which array is which site, dtypes).
    format : str
        One of :data:`FORMATS`.
    sites : sequence of str, optional
        Keys, names or patterns (``resid_post.*``); all by default.
    rows : optional
        Row numbers, a mask, a slice, or text such as ``"0:100,250"``; all by default. Then
        ``rows.csv`` has a column ``source_row``.
    overwrite : bool
        Replace an earlier export at ``out``; anything else that is there is never replaced.
    progress : callable, optional
        Called with (values written, values in all).

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    InputError
        If the format is unknown or cannot hold a site that has every token (named), if there is
        something at ``out``, or rows cannot be picked.
    SiteError
        If a site is not stored.
    MissingDependency
        If the format needs a package that is not installed.
    DiskFullError, StoreError
        If ``out`` cannot be written; nothing is left behind.

    Notes
    -----
    Values do not change: dtypes are those of the store, bfloat16 is widened to float32 where a
    format has none. Row i of every array is line i of ``rows.csv``; rows with NaN are kept.
    Ragged sites are written flat, with ``offsets`` beside them. The folder appears at once, when
    everything in it is written. Memory does not grow with the number of rows, but for ``xarray``.

    Examples
    --------
    >>> import tempfile, numpy as np, hiddenscape as hs
    >>> folder = tempfile.mkdtemp()
    >>> _ = hs.import_points({"l0": np.eye(4), "l1": np.eye(4)}, folder + "/run")
    >>> out = export_points(folder + "/run", folder + "/out", format="npz", sites=["l1"])
    >>> sorted(p.name for p in out.iterdir())
    ['points.npz', 'provenance.json', 'rows.csv']
    >>> np.load(out / "points.npz")["l1"].shape
    (4, 4)
    """
    if format not in _FORMATS:
        raise InputError(f"format {format!r} is not one of {', '.join(_FORMATS)}")
    chosen = _FORMATS[format]
    rs = run if isinstance(run, RepresentationSet) else open_store(run)
    selection = select(rs, sites, rows)
    if selection.ragged and not chosen.ragged:
        able = ", ".join(name for name, entry in _FORMATS.items() if entry.ragged)
        raise InputError(
            f"site {selection.ragged[0].name!r} holds every token, which {format} cannot: leave it "
            f"out (sites), or take one of {able}"
        )
    target = Path(out)
    _check_target(target, overwrite)
    record = _provenance(selection, format)
    total = sum(int(np.prod(f.shape)) for f in selection.fields)
    ticker = Ticker(total, progress)
    needed = int(chosen.growth * sum(f.nbytes for f in selection.fields))
    with _appearing(target, needed, overwrite) as folder:
        (folder / "rows.csv").write_bytes(b"".join(selection.table_bytes()))
        names = chosen.write(folder, selection, record, ticker)
        for entry in record["arrays"]:
            entry["place"] = names[entry["name"]]
        text = json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True)
        (folder / "provenance.json").write_text(text + "\n", encoding="utf-8")
    return target


def _check_target(target: Path, overwrite: bool) -> None:
    if not (target.exists() or target.is_symlink()):
        return
    if not overwrite:
        raise InputError(f"{target}: exists: choose another place, or replace it (--overwrite)")
    try:
        known = json.loads((target / "provenance.json").read_text(encoding="utf-8"))["schema"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        known = None
    if known != SCHEMA or target.is_symlink():
        raise InputError(f"{target}: is no earlier export, and is not replaced: choose another")


def _provenance(selection: Selection, format: str) -> dict[str, Any]:
    rs = selection.rs
    sites = {site.key: site for site in selection.sites}
    return {
        "schema": SCHEMA,
        "format": format,
        "row_order": "row i of every array is line i of rows.csv (header not counted)",
        "rows": selection.n_rows,
        "rows_of_source": "all" if selection.rows is None else _ranges(selection.rows),
        "arrays": [
            {
                "name": field.name,
                "shape": list(field.shape),
                "stored_dtype": field.stored,
                "dtype": "bfloat16" if _keeps(format, field.stored) else field.dtype.name,
                **_of_site(rs, sites.get(field.name)),
            }
            for field in selection.fields
        ],
        "stores": [
            {
                "folder": manifest_folder,
                "manifest_hash": manifest.manifest_hash,
                "identity": json.loads(manifest.to_json())["identity"],
                "recorded": json.loads(manifest.to_json())["recorded"],
            }
            for manifest_folder, manifest in rs.manifests.items()
        ],
        "written_with": versions("h5py", "zarr", "anndata", "xarray", "pyarrow", "safetensors"),
    }


def _keeps(format: str, stored: str) -> bool:
    return format == "safetensors" and stored == "bfloat16"


def _of_site(rs: RepresentationSet, site: Any) -> dict[str, Any]:
    if site is None:
        return {}
    return {
        "site": site.name,
        "depth": site.depth,
        "block": site.block,
        "pooling": site.pooling,
        "content_hash": rs[site.key].content_hash,
    }


def _ranges(rows: np.ndarray) -> list[list[int]]:
    """Row numbers as half-open ranges, in their order."""
    cuts = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    return [[int(rows[a]), int(rows[b - 1]) + 1] for a, b in pairwise(cuts)]


@contextmanager
def _appearing(target: Path, needed: int, overwrite: bool) -> Iterator[Path]:
    """A folder to write in that becomes ``target`` at once, and is gone if anything fails."""
    temporary = target.parent / temporary_name()
    aside = target.parent / temporary_name()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if needed > (free := free_bytes(target.parent)):
            raise DiskFullError(
                f"{target}: the export needs up to {needed:,} bytes, {free:,} are free: choose "
                "fewer sites or another place"
            )
        temporary.mkdir()
        yield temporary
        _sync(temporary)
        if overwrite and target.exists():
            target.rename(aside)
        temporary.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        shutil.rmtree(temporary, ignore_errors=True)  # the free space told is that without it
        raise explain_failure(error, target, needed) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if aside.exists() and not target.exists():
            aside.rename(target)
        shutil.rmtree(aside, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
