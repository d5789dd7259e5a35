"""Estimators of dimension beside one another, over depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.plots.curves import SiteCurve, curve
from hiddenscape.plots.id_profile import Series, dimension_series
from hiddenscape.plots.sites import SiteAxis, site_axis
from hiddenscape.plots.style import CATEGORIES, axes, site_ticks
from hiddenscape.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["EstimatorsData", "draw_estimators", "estimators_data"]

# GRIDE stands for the larger scales: the ranks most in use (Doimo et al. 2024).
_GRIDE_RANK = 32
_STYLES = ("-", (0, (4, 2)), ":")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EstimatorsData:
    """What the panel of estimators draws: one curve for each.

    Attributes
    ----------
    axis : SiteAxis
    series : tuple of Series
        One per analysis, with its scale.
    curves : tuple of SiteCurve
    """

    axis: SiteAxis
    series: tuple[Series, ...]
    curves: tuple[SiteCurve, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names with the scale: ranks, and the range of neighbour distances over the sites."""
        out = []
        for s, c in zip(self.series, self.curves, strict=True):
            known = c.scales[np.isfinite(c.scales)]
            at = f", scale {known.min():.3g} to {known.max():.3g}" if known.size else ", global"
            out.append(f"{s.label}{at}")
        return tuple(out)


def estimators_data(table: Table, *, axis: SiteAxis | None = None) -> EstimatorsData:
    """One curve per estimator: GRIDE near ranks (16, 32), local ones at their smallest k.

    Left out: the fit and the likelihood of TwoNN, which hardly differ from the censored form,
    decimation, which repeats it, and rules on the spectrum.

    Raises
    ------
    InputError
        If fewer than two estimators have a value.
    """
    axis = site_axis(table) if axis is None else axis
    known = dimension_series(table)
    chosen = [s for s in known if s.analysis == "two_nn"]
    pairs = [s for s in known if s.analysis == "gride" and s.n2 is not None]
    chosen += sorted(pairs, key=lambda s: abs((s.n2 or 0) - _GRIDE_RANK))[:1]
    seen: set[str] = set()
    for s in known:
        if s.group == "Other estimators" and s.analysis not in seen:
            seen.add(s.analysis)
            chosen.append(s)
    chosen += [s for s in known if s.quantity == "participation_ratio"]
    found = [(s, curve(s.rows(table), axis)) for s in chosen]
    found = [(s, c) for s, c in found if not c.empty]
    if len(found) < 2:
        raise InputError("fewer than two estimators have a value; measure mle, mind or tle too")
    return EstimatorsData(
        axis=axis, series=tuple(s for s, _ in found), curves=tuple(c for _, c in found)
    )


def draw_estimators(data: EstimatorsData, ax: Axes | None = None) -> Axes:
    """Draw one line per estimator with its band of one standard error."""
    ax = axes(ax)
    x = np.arange(len(data.axis))
    for i, (label, c) in enumerate(zip(data.labels, data.curves, strict=True)):
        color = CATEGORIES[i % len(CATEGORIES)]
        style = _STYLES[i // len(CATEGORIES) % len(_STYLES)]
        ax.fill_between(
            x, c.values - c.stderrs, c.values + c.stderrs, color=color, alpha=0.15, lw=0
        )
        ax.plot(x, c.values, color=color, ls=style, lw=1.3, marker="o", ms=2.5, label=label)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("estimated dimension, at the scale named")
    ax.set_title("Estimators beside one another (bands: \u00b1 1 stderr)")
    site_ticks(ax, data.axis)
    ax.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax
