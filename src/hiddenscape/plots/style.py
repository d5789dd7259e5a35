"""Ink: colours, fonts and axes shared by the figures. No global state of matplotlib is touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hiddenscape.plots.sites import SiteAxis

__all__ = [
    "CATEGORIES",
    "COLORS",
    "DEPTH_MAP",
    "IMBALANCE_MAP",
    "OVERLAP_MAP",
    "axes",
    "figure",
    "ink",
    "site_ticks",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Colors:
    """The few colours of every figure."""

    main: str = "#0f6b7c"
    accent: str = "#c2571a"
    ghost: str = "#8a8f94"
    ink: str = "#1f2529"
    rule: str = "#d9d5cc"


COLORS = Colors()

CATEGORIES = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""Ten colours that remain distinct under colour-vision deficiency (Petroff 2021,
arXiv:2107.02270)."""

# Light to dark in even steps of lightness: they print in grey and read with any colour vision.
_SEA = ("#f1f6ee", "#c9e5d0", "#8ccfc0", "#4eb1b1", "#318a9f", "#2f6389", "#30406b", "#1f2140")
_EMBER = ("#2a1433", "#5c1f52", "#96285c", "#c83f53", "#e86f51", "#f3a376", "#f8d0ab", "#fdf1e2")
_DEPTH = ("#7ec8b4", "#44a3a6", "#2f7c97", "#33567f", "#3a335f", "#33193f")
_MISSING = "#e7e4dd"
OVERLAP_MAP = LinearSegmentedColormap.from_list("sea", _SEA).with_extremes(bad=_MISSING)
IMBALANCE_MAP = LinearSegmentedColormap.from_list("ember", _EMBER).with_extremes(bad=_MISSING)
DEPTH_MAP = LinearSegmentedColormap.from_list("depth", _DEPTH)

_RC: Any = {
    "svg.hashsalt": "hiddenscape",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": COLORS.ink,
    "axes.labelcolor": COLORS.ink,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": COLORS.ink,
    "ytick.color": COLORS.ink,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 160,
    # Text of a user may hold dollar signs.
    "text.parse_math": False,
}


@contextmanager
def ink() -> Iterator[None]:
    """The settings under which every figure is made and saved; they end with the block."""
    with mpl.rc_context(_RC):
        yield


def figure(width: float = 6.4, height: float = 3.6) -> Figure:
    """An empty figure with its own canvas, unknown to pyplot."""
    made = Figure(figsize=(width, height))
    FigureCanvasAgg(made)
    return made


def axes(ax: Axes | None = None) -> Axes:
    """The given axes, or those of a new figure."""
    return figure().subplots() if ax is None else ax


def site_ticks(ax: Axes, axis: SiteAxis, *, which: str = "x", every: int | None = None) -> None:
    """Name the sites along an axis, as many as fit."""
    n = len(axis)
    step = max(1, -(-n // 16)) if every is None else every
    at = list(range(0, n, step))
    labels = [_cut(axis.labels[i]) for i in at]
    crowded = which == "x" and sum(len(t) + 1 for t in labels) > 80
    if which == "x":
        ax.set_xticks(
            at, labels, rotation=45 if crowded else 0, ha="right" if crowded else "center"
        )
        ax.set_xlabel("site")
    else:
        ax.set_yticks(at, labels)


def _cut(text: str, limit: int = 18) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
