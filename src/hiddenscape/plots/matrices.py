"""Site by site: neighbourhood overlap and information imbalance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.plots.curves import pick, sizes
from hiddenscape.plots.sites import SiteAxis, site_axis
from hiddenscape.plots.style import COLORS, IMBALANCE_MAP, OVERLAP_MAP, axes, site_ticks
from hiddenscape.table import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

__all__ = [
    "MatrixData", "NextData", "draw_imbalance_matrix", "draw_overlap_matrix", "draw_overlap_next",
    "imbalance_matrix_data", "overlap_matrix_data", "overlap_next_data",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MatrixData:
    """A number for every pair of sites; NaN where a pair was not measured.

    Attributes
    ----------
    axis : SiteAxis
    k : int
        Neighbourhood size.
    values, stderrs : array (L, L)
        ``[i, j]`` belongs to the pair (site i, site j); an imbalance reads i -> j.
    stderr_kind : str
    chance, chance_sd : float
        Level of unrelated sites, and the spread around it.
    n_used : int or None
        Rows, where they are the same for all pairs.
    """

    axis: SiteAxis
    k: int
    values: np.ndarray
    stderrs: np.ndarray
    stderr_kind: str = ""
    chance: float = math.nan
    chance_sd: float = math.nan
    n_used: int | None = None


def overlap_matrix_data(
    table: Table, *, k: int | None = None, axis: SiteAxis | None = None
) -> MatrixData:
    """Neighbourhood overlap of every pair of sites; symmetric.

    Parameters
    ----------
    k : int, optional
        Neighbourhood size; the smallest measured by default.

    Raises
    ------
    InputError
        If the table holds no overlap of that k.
    """
    found = table.select(analysis="neighborhood_overlap")
    axis = site_axis(table) if axis is None else axis
    k = _size(found.select(quantity="overlap"), k, "neighborhood_overlap")
    found = found.select(k=k)
    return _matrix(
        found.select(quantity="overlap"),
        axis,
        k,
        symmetric=True,
        chance=_mean(found.select(quantity="chance")),
        chance_sd=_mean(found.select(quantity="chance_sd")),
    )


def imbalance_matrix_data(
    table: Table, *, k: int | None = None, axis: SiteAxis | None = None
) -> MatrixData:
    """Information imbalance of every ordered pair, ``[i, j]`` = i -> j.

    Raises
    ------
    InputError
        If the table holds no imbalance of that k.
    """
    found = table.select(analysis="information_imbalance", quantity="imbalance")
    axis = site_axis(table) if axis is None else axis
    k = _size(found, k, "information_imbalance")
    return _matrix(found.select(k=k), axis, k, symmetric=False, chance=1.0)


def _size(rows: Table, k: int | None, analysis: str) -> int:
    available = sizes(rows)
    chosen = pick(available, k)
    if chosen is None:
        wanted = "" if k is None else f" at k = {k} (there is: {available or 'none'})"
        raise InputError(f"the table holds no {analysis}{wanted}; measure it first")
    return chosen


def _mean(rows: Table) -> float:
    values = rows.values()
    good = values[np.isfinite(values)]
    return float(good.mean()) if good.size else math.nan


def _matrix(
    rows: Table,
    axis: SiteAxis,
    k: int,
    *,
    symmetric: bool,
    chance: float,
    chance_sd: float = math.nan,
) -> MatrixData:
    place = {name: i for i, name in enumerate(axis.names)}
    size = len(axis)
    values, stderrs = np.full((size, size), np.nan), np.full((size, size), np.nan)
    used: set[int | None] = set()
    kinds: dict[str, None] = {}

    def put(i: int, j: int, r: Row) -> None:
        values[i, j], stderrs[i, j] = r.value, r.stderr

    for r in rows:
        if r.pooling != axis.pooling or r.pooling_b not in ("", axis.pooling):
            continue
        if r.site not in place or r.site_b not in place:
            continue
        i, j = place[r.site], place[r.site_b]
        put(i, j, r)
        if symmetric:
            put(j, i, r)
        used.add(r.n_used)
        if r.stderr_kind:
            kinds[r.stderr_kind] = None
    return MatrixData(
        axis=axis,
        k=k,
        values=values,
        stderrs=stderrs,
        stderr_kind="/".join(kinds),
        chance=chance,
        chance_sd=chance_sd,
        n_used=used.pop() if len(used) == 1 else None,
    )


def _draw(data: MatrixData, ax: Axes | None, color_map: Colormap, label: str, top: float) -> Axes:
    ax = axes(ax)
    image = ax.imshow(
        np.ma.masked_invalid(data.values), cmap=color_map, vmin=0, vmax=top, interpolation="nearest"
    )
    site_ticks(ax, data.axis)
    site_ticks(ax, data.axis, which="y")
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(image, ax=ax, label=label, shrink=0.85)
    return ax


def draw_overlap_matrix(data: MatrixData, ax: Axes | None = None) -> Axes:
    """Draw the overlap of all pairs; the colour scale is 0 to 1."""
    ax = _draw(data, ax, OVERLAP_MAP, "neighbourhood overlap", 1.0)
    ax.set_title(f"Neighbourhood overlap, k = {data.k} (chance {data.chance:.3g})")
    return ax


def draw_imbalance_matrix(data: MatrixData, ax: Axes | None = None) -> Axes:
    """Draw the imbalance of all ordered pairs: row -> column, dark predicts well."""
    finite = data.values[np.isfinite(data.values)]
    ax = _draw(data, ax, IMBALANCE_MAP, "information imbalance", max(1.0, *finite, 0.0))
    ax.set_title(f"Information imbalance, row → column, k = {data.k}")
    ax.set_ylabel("from")
    ax.set_xlabel("to")
    return ax


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NextData:
    """Overlap of each site with the next one, ``values[i]`` between sites i and i + 1."""

    axis: SiteAxis
    k: int
    values: np.ndarray
    stderrs: np.ndarray
    stderr_kind: str = ""
    chance: float = math.nan
    null: np.ndarray | None = None


def overlap_next_data(
    table: Table,
    *,
    k: int | None = None,
    null: Table | None = None,
    axis: SiteAxis | None = None,
) -> NextData:
    """Overlap of consecutive sites, and that of the untrained twin.

    Raises
    ------
    InputError
        If the table holds no overlap of that k.
    """
    data = overlap_matrix_data(table, k=k, axis=axis)
    twin = None
    if null is not None and data.k in sizes(null.select(analysis="neighborhood_overlap")):
        twin = np.diag(overlap_matrix_data(null, k=data.k, axis=data.axis).values, 1)
        twin = twin if np.isfinite(twin).any() else None
    return NextData(
        axis=data.axis,
        k=data.k,
        values=np.diag(data.values, 1),
        stderrs=np.diag(data.stderrs, 1),
        stderr_kind=data.stderr_kind,
        chance=data.chance,
        null=twin,
    )


def draw_overlap_next(data: NextData, ax: Axes | None = None) -> Axes:
    """Draw the overlap between each site and the next against chance and the twin."""
    ax = axes(ax)
    x = np.arange(len(data.values)) + 0.5
    if data.null is not None:
        ax.plot(x, data.null, color=COLORS.ghost, ls=(0, (4, 3)), label="untrained")
    ax.errorbar(
        x, data.values, np.nan_to_num(data.stderrs), color=COLORS.main, marker="o", ms=3.5,
        label="this network",
    )  # fmt: skip
    if math.isfinite(data.chance):
        ax.axhline(data.chance, color=COLORS.ink, lw=0.8, ls=":", label="chance")
    ax.set_ylim(0, 1)
    site_ticks(ax, data.axis)
    ax.set_ylabel("overlap with the next site")
    ax.set_title(f"Neighbourhood overlap of consecutive sites, k = {data.k}")
    ax.legend()
    return ax
