"""Dimension against scale, one curve per site (GRIDE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.plots.curves import curve
from hiddenscape.plots.sites import SiteAxis, site_axis
from hiddenscape.plots.style import DEPTH_MAP, axes
from hiddenscape.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["GrideScalesData", "draw_gride_scales", "gride_scales_data"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GrideScalesData:
    """What the scale curves draw.

    Attributes
    ----------
    axis : SiteAxis
    pairs : tuple of (n1, n2)
        Neighbour ranks, ascending.
    values, stderrs, scales : array (L, S)
        Dimension, standard error and mean neighbour distance of site l at pair s.
    stderr_kind : str
    n_used : tuple of tuple of int or None
    """

    axis: SiteAxis
    pairs: tuple[tuple[int, int], ...]
    values: np.ndarray
    stderrs: np.ndarray
    scales: np.ndarray
    stderr_kind: str = ""
    n_used: tuple[tuple[int | None, ...], ...] = ()


def gride_scales_data(table: Table, *, axis: SiteAxis | None = None) -> GrideScalesData:
    """Dimension at every rank pair, per site.

    Raises
    ------
    InputError
        If the table holds no GRIDE dimension.
    """
    rows = table.select(analysis="gride", quantity="dimension")
    if not len(rows):
        raise InputError("the table holds no GRIDE dimension; measure gride first")
    axis = site_axis(table) if axis is None else axis
    pairs = sorted({(r.n1, r.n2) for r in rows if r.n1 is not None and r.n2 is not None})
    curves = [curve(rows.select(n1=a, n2=b), axis) for a, b in pairs]
    kinds = dict.fromkeys(c.stderr_kind for c in curves if c.stderr_kind)
    return GrideScalesData(
        axis=axis,
        pairs=tuple(pairs),
        values=np.column_stack([c.values for c in curves]),
        stderrs=np.column_stack([c.stderrs for c in curves]),
        scales=np.column_stack([c.scales for c in curves]),
        stderr_kind="/".join(kinds),
        n_used=tuple(zip(*(c.n_used for c in curves), strict=True)),
    )


def draw_gride_scales(data: GrideScalesData, ax: Axes | None = None) -> Axes:
    """Draw one curve per site against the neighbour rank n1, coloured by depth."""
    ax = axes(ax)
    n1 = [a for a, _ in data.pairs]
    names = {0, len(data.axis) // 2, len(data.axis) - 1}
    for i in range(len(data.axis)):
        color = DEPTH_MAP(i / max(1, len(data.axis) - 1))
        label = data.axis.names[i] if i in names else None
        ax.plot(n1, data.values[i], color=color, lw=1.3, marker="o", ms=2.5, label=label)
    ax.set_xscale("log", base=2)
    ax.set_xticks(n1, [str(n) for n in n1])
    ax.set_xlabel("scale: neighbour rank n1 (n2 = 2 n1)")
    ax.set_ylabel("estimated dimension")
    ax.set_ylim(bottom=0)
    ax.set_title("GRIDE: dimension against scale")
    ax.legend()
    return ax
