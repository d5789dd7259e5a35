"""The peaks of one site and the passes between them, as a tree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.plots.style import CATEGORIES, COLORS, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TopographyData", "draw_topography", "topography_data"]

_MOST_LEAVES = 60


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TopographyData:
    """What the tree of peaks draws.

    Attributes
    ----------
    site : str
    order : int array (c,)
        Clusters from left to right.
    peaks, errors : float arrays (c,)
        Log density of each peak, by cluster, and its standard error.
    sizes : int array (c,)
    names : tuple of str
        Commonest label of each cluster with its share; empty without labels.
    segments : float array (s, 2, 2)
        Lines of the tree: (x, log density) of both ends; x counts leaves from the left.
    lost : int
        Parts without a border between them, joined below everything else.
    caption : str
        What fixes the tree.
    """

    site: str
    order: np.ndarray
    peaks: np.ndarray
    errors: np.ndarray
    sizes: np.ndarray
    names: tuple[str, ...]
    segments: np.ndarray
    lost: int
    caption: str


def topography_data(
    arrays: Mapping[str, np.ndarray],
    parameters: Mapping[str, object],
    *,
    site: str = "",
    label: Sequence[str] | None = None,
) -> TopographyData:
    """Lay out the tree of a site.

    Parameters
    ----------
    arrays, parameters : mapping
        As ``Run.pointwise(site, "adp")`` holds them.
    site : str
    label : sequence of str, optional
        A label for every measured row, to name the peaks by.

    Raises
    ------
    InputError
        If the site has no cluster, or labels of another number of rows.
    """
    labels = np.asarray(arrays["labels"])
    peaks = np.asarray(arrays["heights"], dtype=float)
    if not len(peaks):
        raise InputError(f"{site or 'this site'} has no clusters")
    if label is not None and len(label) != len(labels):
        raise InputError(f"{len(label)} labels for {len(labels)} measured rows")
    order = np.asarray(arrays["tree_order"])
    heights = np.asarray(arrays["tree_heights"], dtype=float)
    segments, lost = _segments(order, peaks, np.asarray(arrays["tree_joined"]), heights)
    return TopographyData(
        site=site,
        order=order,
        peaks=peaks,
        errors=np.asarray(arrays["height_errors"], dtype=float),
        sizes=np.bincount(labels[labels >= 0], minlength=len(peaks)),
        names=() if label is None else _names(labels, label, len(peaks)),
        segments=segments,
        lost=lost,
        caption=_caption(parameters),
    )


def _names(labels: np.ndarray, label: Sequence[str], clusters: int) -> tuple[str, ...]:
    texts = np.asarray(label, dtype=object)
    out = []
    for c in range(clusters):
        values, counts = np.unique(texts[labels == c].astype(str), return_counts=True)
        best = int(np.argmax(counts))
        out.append(f"{values[best]} ({counts[best] / counts.sum():.0%})")
    return tuple(out)


def _segments(
    order: np.ndarray, peaks: np.ndarray, joined: np.ndarray, heights: np.ndarray
) -> tuple[np.ndarray, int]:
    """The lines of the tree: a riser per branch, a bar per saddle."""
    known = heights[np.isfinite(heights)]
    low = min(float(peaks.min()), float(known.min()) if known.size else float(peaks.min()))
    span = float(peaks.max()) - low or 1.0
    floor = low - 0.15 * span
    x = np.empty(len(peaks) + len(joined))
    y = np.empty_like(x)
    x[order] = np.arange(len(order))
    y[: len(peaks)] = peaks
    lines: list[tuple[tuple[float, float], tuple[float, float]]] = []
    lost = 0
    for step, (a, b) in enumerate(joined.tolist()):
        height = float(heights[step])
        lost += not math.isfinite(height)
        at = height if math.isfinite(height) else floor
        node = len(peaks) + step
        x[node], y[node] = (x[a] + x[b]) / 2, at
        lines += [((x[c], y[c]), (x[c], at)) for c in (a, b)]
        lines.append(((x[a], at), (x[b], at)))
    if not len(joined):
        lines.append(((0.0, float(peaks[0])), (0.0, floor)))
    return np.array(lines, dtype=float), lost


def _caption(parameters: Mapping[str, object]) -> str:
    """The settings in words."""
    d, source = parameters.get("dimension"), parameters.get("dimension_from", "")
    out = [f"dimension {d:.3g} ({source})" if isinstance(d, float) else "no dimension"]
    for key, name in (("density", "density"), ("density_k", "k"), ("alpha", "alpha"),
                      ("kstar_depth", "depth"), ("z", "Z")):  # fmt: skip
        value = parameters.get(key)
        if value is not None:
            out.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(out)


def draw_topography(data: TopographyData, ax: Axes | None = None) -> Axes:
    """Draw the tree: leaves end at the log density of their peak, bars lie at the saddles."""
    ax = axes(ax)
    for (x0, y0), (x1, y1) in data.segments:
        ax.plot([x0, x1], [y0, y1], color=COLORS.ink, lw=0.9, solid_capstyle="round")
    x = np.arange(len(data.order))
    heights, errors = data.peaks[data.order], data.errors[data.order]
    size = 8 + 110 * data.sizes[data.order] / max(1, data.sizes.max())
    ax.errorbar(x, heights, errors, fmt="none", ecolor=COLORS.ghost, elinewidth=0.9)
    ax.scatter(x, heights, s=size, color=CATEGORIES[0], zorder=3, lw=0)
    if len(x) <= _MOST_LEAVES:
        names = [data.names[c] if data.names else f"{data.sizes[c]} rows" for c in data.order]
        crowded = sum(map(len, names)) > 70
        ax.set_xticks(x, [n[:20] for n in names], rotation=90 if crowded else 0, fontsize=6)
    else:
        ax.set_xticks([])
    more = f"; {data.lost + 1} parts without a pass are joined at the foot" if data.lost else ""
    ax.set_xlabel(f"clusters (dots: area by rows){more}")
    ax.set_ylabel("log density (nats)")
    count = f"{len(data.order)} peaks" if len(data.order) > 1 else "1 peak"
    title = f"{data.site}: {count} and the passes between them\n{data.caption}"
    ax.set_title(title, fontsize=8)
    return ax
