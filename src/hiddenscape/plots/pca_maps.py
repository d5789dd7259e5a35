"""The rows of every site on their first two principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.plots.sites import SiteAxis
from hiddenscape.plots.style import CATEGORIES, DEPTH_MAP, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Coloring", "PcaMapsData", "coloring", "draw_pca_maps", "pca_maps_data"]

Kind = Literal["classes", "numbers"]

# The frame shows this share of the rows; the others are drawn on its edge and counted.
_FRAME_SHARE = 0.99


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Coloring:
    """A column of the row table as colours.

    Attributes
    ----------
    name : str
    kind : str
        ``classes`` or ``numbers``.
    classes : tuple of str
        Class names, commonest first; the first ten have a colour of their own, the rest are grey.
    counts : tuple of int
        Rows of each class among all rows of the map.
    codes : array (n,)
        Class index per row, or the number itself (NaN where it is missing).
    """

    name: str
    kind: Kind
    codes: np.ndarray
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()


def coloring(name: str, column: Sequence[str], *, max_classes: int = 24) -> Coloring:
    """Read a column as numbers if it holds many different ones, as classes otherwise.

    Examples
    --------
    >>> coloring("species", ["cat", "dog", "cat"]).classes
    ('cat', 'dog')
    >>> coloring("length", [str(i / 7) for i in range(100)]).kind
    'numbers'
    """
    texts = [str(c) for c in column]
    values, codes, counts = np.unique(np.array(texts, dtype=object), return_inverse=True,
                                      return_counts=True)  # fmt: skip
    numbers = _numbers(texts) if len(values) > max_classes else None
    if numbers is not None:
        return Coloring(name=name, kind="numbers", codes=numbers)

    # Natural order for small sets of numbers (digits), commonest first where colours run out.
    def rank(i: int) -> tuple[float, float, str]:
        number = _number(values[i])
        common = -float(counts[i]) if len(values) > len(CATEGORIES) else 0.0
        return (common, np.inf if number is None else number, str(values[i]))

    order = sorted(range(len(values)), key=rank)
    place = np.empty(len(values), dtype=np.int64)
    place[order] = np.arange(len(values))
    return Coloring(
        name=name,
        kind="classes",
        codes=place[codes],
        classes=tuple(str(values[i]) for i in order),
        counts=tuple(int(counts[i]) for i in order),
    )


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None


def _numbers(texts: Sequence[str]) -> np.ndarray | None:
    out = [float("nan") if t == "" else _number(t) for t in texts]
    return None if any(v is None for v in out) else np.array(out, dtype=float)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PcaMapsData:
    """What the maps draw.

    Attributes
    ----------
    names : tuple of str
        Sites that have a map, shallow to deep.
    points : array (L, n, 2)
        Principal coordinates divided by the half-width of the frame: -1 to 1 lies inside. Each
        component is mirrored where that brings it closer to the site before.
    half_widths : array (L,)
        What the coordinates were divided by, in units of the representation.
    outside : tuple of int
        Rows beyond the frame (placed on its edge), per site.
    explained : array (L, 2)
        Share of the variance per component, NaN where it is unknown.
    rows : array (n,)
        Row numbers of the points shown.
    total : int
        Rows that the maps hold.
    seed : int
        Of the subsample, where ``total`` exceeds n.
    coloring : Coloring or None
        Of the rows shown.
    """

    names: tuple[str, ...]
    points: np.ndarray
    half_widths: np.ndarray
    outside: tuple[int, ...]
    explained: np.ndarray
    rows: np.ndarray
    total: int
    seed: int
    coloring: Coloring | None = None


def pca_maps_data(
    maps: Mapping[str, np.ndarray],
    axis: SiteAxis,
    *,
    explained: Mapping[str, Sequence[float | None]] | None = None,
    column: tuple[str, Sequence[str]] | None = None,
    max_rows: int = 5000,
    seed: int = 0,
) -> PcaMapsData:
    """Frame the maps, mirror their axes consistently, and subsample the rows once for all sites.

    Parameters
    ----------
    maps : mapping of array (n, 2)
        Site key -> coordinates; ``row`` -> row numbers (optional).
    axis : SiteAxis
        Which sites, in which order.
    explained : mapping, optional
        Site key -> share of variance of the two components.
    column : (str, sequence of str), optional
        Name and entries (one per row of the **row table**) to colour by.
    max_rows : int
        At most this many points are kept, drawn without replacement by ``seed``.

    Raises
    ------
    InputError
        If no site of the axis has a map, or the maps disagree in their number of rows.
    """
    keys = [k for k in (axis.key(i) for i in range(len(axis))) if k in maps]
    if not keys:
        raise InputError(f"no map for any of the sites {', '.join(axis.names)}")
    total = len(maps[keys[0]])
    wrong = [k for k in keys if maps[k].shape != (total, 2)]
    if wrong:
        raise InputError(f"maps must all be ({total}, 2); {wrong[0]!r} is {maps[wrong[0]].shape}")
    shown = np.arange(total)
    if total > max_rows:
        shown = np.sort(np.random.default_rng([seed, 0]).choice(total, max_rows, replace=False))
    rows = np.asarray(maps["row"]) if "row" in maps else np.arange(total)
    points, half_widths, outside = _frames([np.asarray(maps[k], dtype=float)[shown] for k in keys])
    shares = [(explained or {}).get(k, (None, None)) for k in keys]
    kept = rows[shown]
    colors = None
    if column is not None and len(column[1]) > int(kept.max(initial=-1)):
        colors = coloring(column[0], [column[1][int(r)] for r in kept])
    return PcaMapsData(
        names=tuple(k.split("@")[0] for k in keys),
        points=points,
        half_widths=half_widths,
        outside=outside,
        explained=np.array([[np.nan if v is None else v for v in s] for s in shares], dtype=float),
        rows=kept,
        total=total,
        seed=seed,
        coloring=colors,
    )


def _frames(maps: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    out, widths, outside = [], [], []
    before: np.ndarray | None = None
    for xy in maps:
        finite = np.isfinite(xy).all(axis=1)
        centred = xy - (np.median(xy[finite], axis=0) if finite.any() else 0.0)
        reach = np.abs(centred[finite]).max(axis=1) if finite.any() else np.zeros(1)
        width = 1.12 * float(np.quantile(reach, _FRAME_SHARE)) or 1.0
        framed = np.where(finite[:, None], centred / width, np.nan)
        if before is not None:
            agreement = np.nansum(framed * before, axis=0)
            framed = framed * np.where(agreement < 0, -1.0, 1.0)
        before = framed
        outside.append(int((np.abs(framed[finite]) > 1).any(axis=1).sum()))
        out.append(np.clip(framed, -1, 1))
        widths.append(width)
    return np.array(out), np.array(widths), tuple(outside)


def draw_pca_maps(data: PcaMapsData, *, columns: int = 4, at_most: int = 16) -> Figure:
    """Draw small multiples, evenly spaced over depth where there are many sites."""
    n = len(data.names)
    chosen = np.unique(np.linspace(0, n - 1, min(n, at_most)).round().astype(int))
    columns = min(columns, len(chosen))
    lines = -(-len(chosen) // columns)
    made = figure(2.0 * columns + (1.2 if data.coloring else 0), 2.1 * lines)
    grid = made.subplots(lines, columns, squeeze=False)
    colors = _colors(data)
    for ax, i in zip(grid.flat, chosen, strict=False):
        ax.scatter(*data.points[i].T, s=2, c=colors, lw=0, alpha=0.7, rasterized=True)
        ax.set(xlim=(-1.04, 1.04), ylim=(-1.04, 1.04), xticks=[], yticks=[], aspect="equal")
        ax.set_title(data.names[i], fontsize=8)
        ax.spines[:].set_visible(True)
    for ax in grid.flat[len(chosen) :]:
        ax.set_visible(False)
    if data.coloring is not None and data.coloring.kind == "classes":
        _legend(made, data.coloring)
    return made


def _colors(data: PcaMapsData) -> object:
    if data.coloring is None:
        return "#0f6b7c"
    codes = data.coloring.codes
    if data.coloring.kind == "numbers":
        low, high = np.nanmin(codes), np.nanmax(codes)
        return DEPTH_MAP((codes - low) / ((high - low) or 1.0))
    palette = [*CATEGORIES, "#c9c6bf"]
    return [palette[min(int(c), len(CATEGORIES))] for c in codes]


def _legend(made: Figure, colors: Coloring) -> None:
    from matplotlib.lines import Line2D

    shown = colors.classes[: len(CATEGORIES)]
    marks = [
        Line2D([], [], ls="", marker="o", ms=4, color=c, label=name[:20])
        for name, c in zip(shown, CATEGORIES, strict=False)
    ]
    if len(colors.classes) > len(shown):
        rest = f"{len(colors.classes) - len(shown)} others"
        marks.append(Line2D([], [], ls="", marker="o", ms=4, color="#c9c6bf", label=rest))
    made.legend(handles=marks, loc="outside right center", fontsize=7, title=colors.name[:24])
