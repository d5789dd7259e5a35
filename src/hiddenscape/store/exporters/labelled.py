"""Exports with the row table inside: AnnData and xarray."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.store.exporters.containers import put_blocks
from hiddenscape.store.exporters.progress import Ticker
from hiddenscape.store.exporters.selection import Field, Rows, Selection, select
from hiddenscape.store.optional import needs
from hiddenscape.store.reader import RepresentationSet, open_store

__all__ = ["to_anndata", "to_xarray", "write_anndata", "write_xarray"]


def to_anndata(
    run: str | Path | RepresentationSet, *, sites: Sequence[str] | None = None, rows: Rows = None
) -> Any:
    """The points of a run as an ``AnnData``: sites in ``obsm``, the row table in ``obs``.

    Everything is read into memory. Parameters and errors as in :func:`export_points`; sites that
    hold every token are left out if ``sites`` is None, and refused otherwise.
    """
    anndata = needs("anndata")
    import pandas as pd

    selection = _points_only(run, sites, rows)
    names = _obsm_names(selection)
    obsm = {names[f.name]: _whole(f) for f in selection.points}
    var = pd.DataFrame(index=pd.Index([], dtype=object))
    found = anndata.AnnData(obs=_frame(selection), var=var, obsm=obsm)
    found.uns["hiddenscape"] = {"sites": json.dumps(_sites(selection))}
    return found


def to_xarray(
    run: str | Path | RepresentationSet, *, sites: Sequence[str] | None = None, rows: Rows = None
) -> Any:
    """The points of a run as an ``xarray.Dataset``: one variable per site over ``row`` and units.

    The columns of the row table are coordinates of ``row``. Everything is read into memory.
    Parameters and errors as in :func:`to_anndata`.
    """
    xarray = needs("xarray")
    selection = _points_only(run, sites, rows)
    return _dataset(xarray, selection, {"sites": json.dumps(_sites(selection))})


def _points_only(
    run: str | Path | RepresentationSet, sites: Sequence[str] | None, rows: Rows
) -> Selection:
    rs = run if isinstance(run, RepresentationSet) else open_store(run)
    if sites is None:
        sites = [site.key for site in rs.point_sites]
    selection = select(rs, sites, rows)
    for field in selection.ragged:
        rs.points(field.name)  # says why not
    return selection


def _whole(field: Field) -> np.ndarray:
    out = np.empty(field.shape, field.dtype)
    put_blocks(out, field, Ticker(0, None))
    return out


def _sites(selection: Selection) -> dict[str, dict[str, Any]]:
    return {
        s.key: {"site": s.name, "depth": s.depth, "block": s.block, "pooling": s.pooling}
        for s in selection.sites
    }


def _frame(selection: Selection) -> Any:
    import pandas as pd

    table = selection.table()
    columns = {
        n: pd.Series(v.tolist(), dtype=object) if v.dtype.kind in "OU" else v
        for n, v in table.items()
    }
    frame = pd.DataFrame(columns)
    frame.index = pd.Index(_index(table), dtype=object)
    return frame


def _index(table: Mapping[str, np.ndarray]) -> list[str]:
    ids = [str(one) for one in table.get("id", table["row"]).tolist()]
    # An index must be unique; where ids are not, row numbers are.
    return ids if len(set(ids)) == len(ids) else [str(i) for i in range(len(ids))]


def _obsm_names(selection: Selection) -> dict[str, str]:
    # A slash would nest groups, which AnnData does not read back as obsm.
    return {f.name: f.name if "/" not in f.name else f.stem for f in selection.points}


def write_anndata(
    folder: Path, selection: Selection, record: Mapping[str, Any], ticker: Ticker
) -> dict[str, str]:
    """``points.h5ad``, after the format that anndata documents (0.1.0), block by block.

    Not through anndata itself: that wants everything in memory, and what it can write depends on
    the version of pandas.
    """
    h5py = needs("h5py")
    table = selection.table()
    names = _obsm_names(selection)
    with h5py.File(folder / "points.h5ad", "w") as file:
        _encode(file, "anndata", "0.1.0")
        obs = _put_frame(file, "obs", [*table])
        _put_column(h5py, obs, "_index", np.array(_index(table), dtype=object))
        for name, values in table.items():
            _put_column(h5py, obs, _column_name(name), values)
        _put_column(h5py, _put_frame(file, "var", []), "_index", np.array([], dtype=object))
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            _encode(file.create_group(name), "dict", "0.1.0")
        for field in selection.points:
            array = file["obsm"].create_dataset(
                names[field.name], shape=field.shape, dtype=field.dtype, track_times=False
            )
            _encode(array, "array", "0.2.0")
            put_blocks(array, field, ticker)
        origin = file["uns"].create_dataset(
            "hiddenscape", data=json.dumps(record, ensure_ascii=False), track_times=False
        )
        _encode(origin, "string", "0.2.0")
    return {f.name: f"points.h5ad:/obsm/{names[f.name]}" for f in selection.points}


def _encode(element: Any, kind: str, version: str) -> None:
    element.attrs["encoding-type"] = kind
    element.attrs["encoding-version"] = version


def _put_frame(file: Any, name: str, columns: Sequence[str]) -> Any:
    group = file.create_group(name)
    _encode(group, "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    order = np.array([_column_name(c) for c in columns], dtype=object)
    group.attrs.create("column-order", order, dtype=needs("h5py").string_dtype())
    return group


def _column_name(name: str) -> str:
    # A slash would make a group, and _index is taken.
    return name.replace("/", "_") if name != "_index" else "index"


def _put_column(h5py: Any, group: Any, name: str, values: np.ndarray) -> None:
    text = values.dtype.kind in "OU"
    data = values.astype(object) if text else values
    kind = h5py.string_dtype() if text else values.dtype
    array = group.create_dataset(name, data=data, dtype=kind, track_times=False)
    _encode(array, "string-array" if text else "array", "0.2.0")


def _dataset(xarray: Any, selection: Selection, attributes: Mapping[str, str]) -> Any:
    table = selection.table()
    variables = {}
    for field in selection.points:
        units = [f"{field.stem}.unit{i}" for i in range(len(field.shape) - 1)]
        variables[field.stem] = (("row", *units), _whole(field), {"site": field.name})
    coordinates = {
        name: ("row", values.astype(object) if values.dtype.kind == "U" else values)
        for name, values in table.items()
        if name != "row"
    }
    coordinates["row"] = ("row", table["row"])
    return xarray.Dataset(variables, coords=coordinates, attrs=dict(attributes))


def write_xarray(
    folder: Path, selection: Selection, record: Mapping[str, Any], ticker: Ticker
) -> dict[str, str]:
    """``points.nc`` where a netCDF 4 package is there, else ``points.zarr``. Read into memory."""
    xarray = needs("xarray")
    data = _dataset(xarray, selection, {"provenance": json.dumps(record, ensure_ascii=False)})
    engine = next((e for e in ("h5netcdf", "netCDF4") if find_spec(e)), None)
    if engine is not None:
        name = "points.nc"
        data.to_netcdf(folder / name, engine=engine.lower())
    else:
        needs("zarr")
        name = "points.zarr"
        data.to_zarr(folder / name, mode="w", consolidated=False)
    ticker.tick(sum(int(np.prod(field.shape)) for field in selection.points))
    return {f.name: f"{name}:{f.stem}" for f in selection.points}
