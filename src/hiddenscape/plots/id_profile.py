"""Intrinsic dimension over depth, for every estimator and scale of a table."""

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
    "IdProfileData",
    "Series",
    "dimension_analyses",
    "dimension_series",
    "draw_id_profile",
    "id_profile_data",
]


@dataclass(frozen=True, slots=True)
class Series:
    """One way of measuring dimension: an estimator with its scale."""

    key: str
    group: str
    label: str
    analysis: str
    quantity: str
    n1: int | None = None
    n2: int | None = None
    subset: int | None = None
    k: int | None = None

    def rows(self, table: Table) -> Table:
        """The rows of this series (means, not single repeats)."""
        found = table.select(analysis=self.analysis, quantity=self.quantity, repeat=None)
        if self.analysis == "gride":
            return found.select(n1=self.n1, n2=self.n2)
        if self.analysis == "decimation":
            return found.select(subset=self.subset)
        return found if self.k is None else found.select(k=self.k)


_TWO_NN = (
    ("two_nn", "TwoNN, censored"),
    ("two_nn_mle", "TwoNN, maximum likelihood"),
    ("two_nn_fit", "TwoNN, linear fit"),
)
_PCA = (
    ("dimension_90", "PCA, 90 % of the variance"),
    ("dimension_99", "PCA, 99 % of the variance"),
    ("participation_ratio", "Participation ratio"),
)


_LOCAL = {
    "mle": "Maximum likelihood", "mom": "Method of moments", "mada": "MADA", "mind": "MiND",
    "binomial": "Binomial", "abide": "ABIDE, adaptive", "agride": "AGRIDE, adaptive",
    "tle": "TLE", "ess": "ESS", "correlation": "Correlation dimension", "fishers": "FisherS",
    "ph0": "PH0, spanning trees", "box_counting": "Box counting", "danco": "DANCo",
    "parallel_analysis": "Parallel analysis",
}  # fmt: skip
_KNOWN = {"two_nn", "two_nn_mle", "two_nn_fit", "gride", "decimation", "pca", "spectrum"}


def dimension_analyses(table: Table) -> tuple[str, ...]:
    """Names of the analyses of a table that measure a dimension."""
    return tuple(
        dict.fromkeys(
            r.analysis for r in table if r.quantity == "dimension" or r.analysis in _KNOWN
        )
    )


def _others(table: Table) -> list[Series]:
    """Every other analysis whose quantity is a dimension, for each number of neighbours."""
    out: dict[Series, None] = {}
    for r in table.select(quantity="dimension", subset=None):
        if r.analysis not in _KNOWN:
            name = _LOCAL.get(r.analysis, r.analysis)
            label = f"{name}, k = {r.k}" if r.k is not None else name
            key = r.analysis if r.k is None else f"{r.analysis}-{r.k}"
            out[Series(key, "Other estimators", label, r.analysis, "dimension", k=r.k)] = None
    for r in table.select(analysis="spectrum", subset=None):
        if not r.quantity.endswith(("_single", "_subset")):
            rule = r.quantity.replace("_", " ")
            out[Series(f"spectrum-{r.quantity}", "Linear", f"Components, rule of {rule}",
                       "spectrum", r.quantity)] = None  # fmt: skip
    return list(out)


def dimension_series(table: Table) -> tuple[Series, ...]:
    """Every dimension a table holds, the default one (TwoNN, censored) first."""
    have = {(r.analysis, r.quantity) for r in table}
    out = [
        Series(name, "TwoNN", label, name, "dimension")
        for name, label in _TWO_NN
        if (name, "dimension") in have
    ]
    gride = table.select(analysis="gride", quantity="dimension")
    pairs = sorted({(r.n1, r.n2) for r in gride if r.n1 is not None and r.n2 is not None})
    out += [
        Series(f"gride-{a}-{b}", "GRIDE", f"GRIDE ({a}, {b})", "gride", "dimension", a, b)
        for a, b in pairs
    ]
    subsets = sorted(
        {r.subset for r in table.select(analysis="decimation", quantity="dimension") if r.subset},
        reverse=True,
    )
    out += [
        Series(f"decimation-{n}", "Decimation", f"TwoNN on subsets of {n} rows", "decimation",
               "dimension", subset=n)
        for n in subsets
    ]  # fmt: skip
    out += [
        Series(f"pca-{q}", "Linear", label, "pca", q) for q, label in _PCA if ("pca", q) in have
    ]
    return (*out, *_others(table))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IdProfileData:
    """What the ID profile draws.

    Attributes
    ----------
    series : Series
    axis : SiteAxis
    curve : SiteCurve
    null : SiteCurve or None
        The same numbers of the untrained twin.
    repeats : array (R, L) or None
        Single repeats, where the number is a mean over subsets.
    """

    series: Series
    axis: SiteAxis
    curve: SiteCurve
    null: SiteCurve | None = None
    repeats: np.ndarray | None = None


def id_profile_data(
    table: Table,
    series: Series | str | None = None,
    *,
    null: Table | None = None,
    axis: SiteAxis | None = None,
) -> IdProfileData:
    """Dimension over sites for one estimator and scale.

    Parameters
    ----------
    table : Table
        Results of a run.
    series : Series or str, optional
        One of :func:`dimension_series` or its key; the first by default.
    null : Table, optional
        Results of the untrained twin.
    axis : SiteAxis, optional
        Sites and their order; those of the table by default.

    Raises
    ------
    InputError
        If the table holds no dimension, or not the one asked for.
    """
    known = {s.key: s for s in dimension_series(table)}
    if not known:
        raise InputError("the table holds no dimension; measure two_nn or gride first")
    if series is None:
        series = next(iter(known.values()))
    elif isinstance(series, str):
        if series not in known:
            raise InputError(f"no dimension {series!r} in the table; there are: {', '.join(known)}")
        series = known[series]
    axis = site_axis(table) if axis is None else axis
    twin = None if null is None else curve(series.rows(null), axis)
    return IdProfileData(
        series=series,
        axis=axis,
        curve=curve(series.rows(table), axis),
        null=None if twin is None or twin.empty else twin,
        repeats=_repeats(table, series, axis),
    )


def _repeats(table: Table, series: Series, axis: SiteAxis) -> np.ndarray | None:
    if series.analysis != "decimation":
        return None
    single = table.select(
        analysis="decimation", quantity=("dimension_single", "dimension"), subset=series.subset
    )
    numbers = sorted({r.repeat for r in single if r.repeat is not None})
    if len(numbers) < 2:
        return None
    return np.array([curve(single.select(repeat=i), axis).values for i in numbers])


def draw_id_profile(data: IdProfileData, ax: Axes | None = None) -> Axes:
    """Draw the profile with its band of one standard error and the twin as a ghost line."""
    ax = axes(ax)
    x = np.arange(len(data.axis))
    if data.null is not None:
        ax.plot(x, data.null.values, color=COLORS.ghost, ls=(0, (4, 3)), lw=1.2, label="untrained")
    low, high = data.curve.values - data.curve.stderrs, data.curve.values + data.curve.stderrs
    ax.fill_between(x, low, high, color=COLORS.main, alpha=0.2, lw=0)
    if data.repeats is not None:
        for values in data.repeats:
            ax.plot(x, values, ".", ms=2, color=COLORS.main, alpha=0.5)
    ax.plot(x, data.curve.values, color=COLORS.main, marker="o", ms=3.5, label=data.series.label)
    kind = f" (band: ± 1 stderr, {data.curve.stderr_kind})" if data.curve.stderr_kind else ""
    ax.set_ylabel("estimated dimension")
    ax.set_title(f"{data.series.label}{kind}")
    ax.set_ylim(bottom=0)
    site_ticks(ax, data.axis)
    if data.null is not None:
        ax.legend()
    return ax
