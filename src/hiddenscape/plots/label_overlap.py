"""How much the neighbours of a row share its label, over depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.plots.curves import SiteCurve, curve
from hiddenscape.plots.sites import SiteAxis, site_axis
from hiddenscape.plots.style import COLORS, axes, site_ticks
from hiddenscape.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "LabelOverlapData", "LabelSeries", "draw_label_overlap", "label_overlap_data", "label_series",
]  # fmt: skip

_ANALYSES = {"plain": "label_overlap", "macro": "label_overlap_macro"}


@dataclass(frozen=True, slots=True)
class LabelSeries:
    """One label column, weighting and neighbourhood size."""

    label: str
    weighting: str
    k: int

    def rows(self, table: Table, quantity: str) -> Table:
        """The rows of one quantity: ``overlap``, ``chance``, ``ceiling`` or ``adjusted``."""
        return table.select(
            analysis=_ANALYSES[self.weighting], quantity=quantity, label=self.label, k=self.k
        )


def label_series(table: Table) -> tuple[LabelSeries, ...]:
    """Every label overlap of a table: columns in order of appearance, plain before macro."""
    out: dict[LabelSeries, None] = {}
    for weighting, analysis in _ANALYSES.items():
        for r in table.select(analysis=analysis, quantity="overlap"):
            if r.k is not None:
                out[LabelSeries(r.label, weighting, r.k)] = None
    columns = {s.label: i for i, s in reversed(list(enumerate(out)))}
    return tuple(sorted(out, key=lambda s: (columns[s.label], s.weighting == "macro", s.k)))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LabelOverlapData:
    """What the label overlap draws; every part a curve over the same sites."""

    series: LabelSeries
    axis: SiteAxis
    overlap: SiteCurve
    chance: SiteCurve
    ceiling: SiteCurve
    adjusted: SiteCurve
    null: SiteCurve | None = None
    null_adjusted: SiteCurve | None = None


def label_overlap_data(
    table: Table,
    series: LabelSeries | None = None,
    *,
    null: Table | None = None,
    axis: SiteAxis | None = None,
) -> LabelOverlapData:
    """Label overlap over sites with its chance level, its ceiling and the untrained twin.

    Raises
    ------
    InputError
        If the table holds no label overlap.
    """
    known = label_series(table)
    if not known:
        raise InputError(
            "the table holds no label overlap; give the rows a label column and measure "
            "label_overlap"
        )
    series = known[0] if series is None else series
    axis = site_axis(table) if axis is None else axis

    def twin(quantity: str) -> SiteCurve | None:
        found = None if null is None else curve(series.rows(null, quantity), axis)
        return None if found is None or found.empty else found

    parts = {
        q: curve(series.rows(table, q), axis) for q in ("overlap", "chance", "ceiling", "adjusted")
    }
    return LabelOverlapData(
        series=series, axis=axis, null=twin("overlap"), null_adjusted=twin("adjusted"), **parts
    )


def draw_label_overlap(data: LabelOverlapData, ax: Axes | None = None) -> Axes:
    """Draw the overlap between chance and ceiling, with the twin as a ghost line."""
    ax = axes(ax)
    x = np.arange(len(data.axis))
    values, stderrs = data.overlap.values, np.nan_to_num(data.overlap.stderrs)
    drawn = [c.values for c in (data.overlap, data.chance, data.null) if c is not None]
    top = max((float(np.nanmax(v)) for v in drawn if np.isfinite(v).any()), default=1.0)
    ceiling = data.ceiling.values
    lowest = float(np.nanmin(ceiling)) if np.isfinite(ceiling).any() else top
    # A ceiling far above the curves would flatten them: it is then said, not drawn.
    near = lowest <= 2 * top
    name = "ceiling" if near else f"ceiling {lowest:.2f}, above the frame"
    ax.plot(x, ceiling, color=COLORS.ink, lw=0.8, ls="-.", label=name)
    ax.plot(x, data.chance.values, color=COLORS.ink, lw=0.8, ls=":", label="chance")
    if data.null is not None:
        ax.plot(x, data.null.values, color=COLORS.ghost, ls=(0, (4, 3)), label="untrained")
    ax.fill_between(x, values - stderrs, values + stderrs, color=COLORS.main, alpha=0.2, lw=0)
    ax.plot(x, values, color=COLORS.main, marker="o", ms=3.5, label="this network")
    site_ticks(ax, data.axis)
    reach = float(np.nanmax(ceiling)) if near and np.isfinite(ceiling).any() else top
    ax.set_ylim(0, 1.2 * max(top, reach))  # room for the legend
    ax.set_ylabel("label overlap")
    s = data.series
    ax.set_title(f"Label overlap with {s.label!r}, {s.weighting}, k = {s.k}")
    ax.legend(ncols=4, loc="upper left", fontsize=7)
    return ax
