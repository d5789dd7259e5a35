"""How the profile and the label overlap grew over training."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.plots.curves import SiteCurve, curve
from hiddenscape.plots.id_profile import Series, dimension_series
from hiddenscape.plots.label_overlap import LabelSeries, label_series
from hiddenscape.plots.sites import SiteAxis, site_axis
from hiddenscape.plots.style import DEPTH_MAP, figure, site_ticks
from hiddenscape.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TrainingData", "draw_training_dynamics", "step_of", "training_dynamics_data"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrainingData:
    """What the training dynamics draw.

    Attributes
    ----------
    axis : SiteAxis
    names : tuple of str
        Checkpoints in the order of their steps, the run itself last.
    steps : array (C,)
        Training step; NaN where neither the name nor the run says it.
    series, label : Series, LabelSeries or None
        What was measured.
    dimensions, overlaps : tuple of SiteCurve
        One curve per checkpoint; empty where there is nothing.
    """

    axis: SiteAxis
    names: tuple[str, ...]
    steps: np.ndarray
    series: Series | None = None
    label: LabelSeries | None = None
    dimensions: tuple[SiteCurve, ...] = ()
    overlaps: tuple[SiteCurve, ...] = ()
    chance: float = math.nan


def step_of(name: str) -> float:
    """The training step a checkpoint's name speaks of: its last number; NaN without one.

    Examples
    --------
    >>> step_of("step-000400"), step_of("epoch3_step20k"), step_of("first")
    (400.0, 20000.0, nan)
    """
    found = re.findall(r"(\d+)([kKmM]?)", name)
    if not found:
        return math.nan
    number, unit = found[-1]
    return float(number) * {"": 1, "k": 1e3, "m": 1e6}[unit.lower()]


def training_dynamics_data(
    table: Table,
    checkpoints: Mapping[str, Table],
    *,
    steps: Mapping[str, float] | None = None,
    axis: SiteAxis | None = None,
    final: str = "final",
) -> TrainingData:
    """Curves of every checkpoint, and of the run itself as the last.

    Parameters
    ----------
    table : Table
        The run.
    checkpoints : mapping
        Name -> table.
    steps : mapping, optional
        Name -> training step, where it is recorded; otherwise it is read from the name.
    final : str
        How the run itself is called.

    Raises
    ------
    InputError
        If there is no checkpoint.
    """
    if not checkpoints:
        raise InputError("there is no checkpoint; measure some in RUN/checkpoints/NAME")
    axis = site_axis(table) if axis is None else axis
    at = {name: (steps or {}).get(name, step_of(name)) for name in checkpoints}
    order = sorted(checkpoints, key=lambda n: (math.isnan(at[n]), at[n], n))
    tables = [*(checkpoints[n] for n in order), table]
    series = next(iter(dimension_series(table)), None)
    label = next(iter(label_series(table)), None)
    chance = math.nan
    if label is not None:
        chances = curve(label.rows(table, "chance"), axis).values
        chance = float(np.nanmean(chances)) if np.isfinite(chances).any() else math.nan
    return TrainingData(
        axis=axis,
        names=(*order, final),
        steps=np.array([*(at[n] for n in order), (steps or {}).get(final, math.nan)]),
        series=series,
        label=label,
        dimensions=tuple(curve(series.rows(t), axis) for t in tables) if series else (),
        overlaps=tuple(curve(label.rows(t, "overlap"), axis) for t in tables) if label else (),
        chance=chance,
    )


def draw_training_dynamics(data: TrainingData) -> Figure:
    """Draw dimension and label overlap over sites, one curve per checkpoint."""
    panels = [
        (curves, title)
        for curves, title in (
            (data.dimensions, "estimated dimension"),
            (data.overlaps, "label overlap"),
        )
        if curves
    ]
    made = figure(4.2 * max(1, len(panels)), 3.4)
    grid = made.subplots(1, max(1, len(panels)), squeeze=False)[0]
    x = np.arange(len(data.axis))
    for ax, (curves, title) in zip(grid, panels, strict=False):
        for i, (c, name) in enumerate(zip(curves, data.names, strict=True)):
            color = DEPTH_MAP(i / max(1, len(curves) - 1))
            ax.plot(x, c.values, color=color, lw=1.3, label=name)
        ax.set_ylim(bottom=0)
        ax.set_title(title)
        site_ticks(ax, data.axis)
        ax.legend(fontsize=6)
    return made
