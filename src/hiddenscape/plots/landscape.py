"""Density and peaks over depth: k*, the spread of density, clusters, and labels beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.plots.curves import SiteCurve, curve
from hiddenscape.plots.sites import SiteAxis, site_axis
from hiddenscape.plots.style import CATEGORIES, COLORS, figure, site_ticks
from hiddenscape.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LandscapeData", "View", "draw_landscape", "landscape_data"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class View:
    """Curves that share one axis.

    Attributes
    ----------
    key, title, unit : str
    names : tuple of str
    curves : tuple of SiteCurve
    top : float or None
        Upper end of the axis where it is known.
    """

    key: str
    title: str
    unit: str
    names: tuple[str, ...]
    curves: tuple[SiteCurve, ...]
    top: float | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LandscapeData:
    """What the landscape over depth draws: one or more views."""

    axis: SiteAxis
    views: tuple[View, ...]


def landscape_data(table: Table, *, axis: SiteAxis | None = None) -> LandscapeData:
    """Every view that the table has numbers for.

    Raises
    ------
    InputError
        If the table holds neither densities nor clusters.
    """
    axis = site_axis(table) if axis is None else axis
    views = [*_density_views(table, axis), *_peak_views(table, axis), *_label_views(table, axis)]
    kept = tuple(v for v in views if v.curves)
    if not kept:
        raise InputError("the table holds no density and no clusters; measure k_star or adp first")
    return LandscapeData(axis=axis, views=kept)


def _view(
    axis: SiteAxis,
    key: str,
    title: str,
    unit: str,
    parts: dict[str, Table],
    top: float | None = None,
) -> View:
    found = {name: curve(rows, axis) for name, rows in parts.items()}
    kept = {name: c for name, c in found.items() if not c.empty}
    return View(
        key=key, title=title, unit=unit, names=tuple(kept), curves=tuple(kept.values()), top=top
    )


def _density_views(table: Table, axis: SiteAxis) -> list[View]:
    k_star = table.select(analysis="k_star")
    depth = next((r.k for r in k_star if r.k is not None), None)
    spread = {
        name: table.select(analysis=analysis, quantity="sd")
        for analysis, name in (
            ("pak_density", "PAk"), ("kstar_density", "k*NN"), ("knn_density", "kNN"),
            ("bmti_density", "BMTI"),
        )
    }  # fmt: skip
    return [
        _view(
            axis, "kstar", "Neighbours that share a density (k*)",
            f"k*, at most {depth - 1}" if depth else "k*",
            {"median": k_star.select(quantity="median"), "mean": k_star.select(quantity="mean")},
        ),
        _view(
            axis, "capped", "Rows whose k* is the depth of the search", "share of rows",
            {"share at the cap": k_star.select(quantity="share_capped")}, 1.0,
        ),
        _view(axis, "spread", "How uneven the density is", "sd of log density (nats)", spread),
        _view(
            axis, "used", "Dimension that densities are made with", "estimated dimension",
            {"used": k_star.select(quantity="dimension_used")},
        ),
    ]  # fmt: skip


def _peak_views(table: Table, axis: SiteAxis) -> list[View]:
    adp, scan = table.select(analysis="adp"), table.select(analysis="adp_z_scan")
    counts = {"as measured": adp.select(quantity="clusters")}
    counts |= {
        setting: scan.select(quantity="clusters", setting=setting)
        for setting in scan.unique("setting")
    }
    alike = {
        setting: scan.select(quantity="ari_to_reference", setting=setting)
        for setting in scan.unique("setting")
    }
    shares = {
        "core": adp.select(quantity="core_fraction"),
        "largest cluster": adp.select(quantity="largest_share"),
    }
    return [
        _view(axis, "clusters", "Number of peaks", "clusters", counts),
        _view(axis, "core", "Rows in the cores, and in the largest cluster", "share of rows",
              shares, 1.0),
        _view(axis, "alike", "Agreement with the clusters at other Z", "adjusted Rand index",
              alike, 1.0),
    ]  # fmt: skip


def _label_views(table: Table, axis: SiteAxis) -> list[View]:
    found = table.select(analysis="adp_labels", setting="")
    return [
        _view(
            axis, quantity, f"Clusters against labels: {words}", words,
            {f"{label}": found.select(quantity=quantity, label=label)
             for label in found.unique("label")}, 1.0,
        )
        for quantity, words in (
            ("ari", "adjusted Rand index"), ("ami", "adjusted mutual information"),
            ("purity", "purity"),
        )
    ]  # fmt: skip


_PANELS = ("kstar", "spread", "clusters", "core", "ari", "ami")


def draw_landscape(data: LandscapeData) -> Figure:
    """Draw the main views as small panels over one axis of sites."""
    by_key = {v.key: v for v in data.views}
    shown = [by_key[key] for key in _PANELS if key in by_key] or list(data.views[:1])
    lines = -(-len(shown) // 2)
    columns = min(2, len(shown))
    made = figure(4.4 * columns, 2.5 * lines)
    grid = made.subplots(lines, columns, squeeze=False)
    x = np.arange(len(data.axis))
    for ax, view in zip(grid.flat, shown, strict=False):
        for i, (name, c) in enumerate(zip(view.names, view.curves, strict=True)):
            color = COLORS.main if i == 0 else CATEGORIES[(i - 1) % len(CATEGORIES)]
            low, high = c.values - c.stderrs, c.values + c.stderrs
            ax.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
            faint = {"lw": 0.9, "ms": 1.5} if i else {"lw": 1.4, "ms": 3.0}
            ax.plot(x, c.values, color=color, marker="o", label=name[:24], **faint)
        lowest = min((float(np.nanmin(c.values)) for c in view.curves), default=0.0)
        ax.set_ylim(min(0.0, 1.1 * lowest), view.top and 1.02 * view.top)
        ax.set_title(view.title, fontsize=9)
        ax.set_ylabel(view.unit)
        site_ticks(ax, data.axis)
        if len(view.names) > 1:
            ax.legend(fontsize=6)
    for ax in grid.flat[len(shown) :]:
        ax.set_visible(False)
    return made
