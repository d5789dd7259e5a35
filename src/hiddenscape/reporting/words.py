"""What the figures say, in sentences. Every sentence is a reading of numbers that are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hiddenscape.plots.curves import SiteCurve
from hiddenscape.plots.estimators import EstimatorsData
from hiddenscape.plots.gride_scales import GrideScalesData
from hiddenscape.plots.id_profile import IdProfileData
from hiddenscape.plots.label_overlap import LabelOverlapData
from hiddenscape.plots.landscape import LandscapeData
from hiddenscape.plots.matrices import MatrixData, NextData
from hiddenscape.plots.topography import TopographyData
from hiddenscape.plots.training import TrainingData
from hiddenscape.results import listed

__all__ = [
    "clip", "count", "dimension_caption", "dimension_words", "estimators_words", "gride_words",
    "imbalance_words", "label_caption", "label_words", "landscape_words", "next_words", "number",
    "overlap_words", "topography_words", "training_words",
]  # fmt: skip


def number(value: float | None, stderr: float | None = None) -> str:
    """A number with the digits its error allows, three where it has none.

    Examples
    --------
    >>> number(12.3456, 0.234), number(0.012345), number(float("nan")), number(1234.5)
    ('12.35 ± 0.23', '0.0123', 'no value', '1234')
    """
    if value is None or not math.isfinite(value):
        return "no value"
    if stderr is not None and math.isfinite(stderr) and stderr > 0:
        digits = min(6, max(0, 1 - math.floor(math.log10(stderr))))
        return f"{value:.{digits}f} ± {stderr:.{digits}f}".replace("-", "−")
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4 or size >= 7:
        return f"{value:.1e}".replace("-", "−")
    return f"{value:.{max(0, 2 - size)}f}".replace("-", "−")


def count(n: int | None) -> str:
    """A whole number with thousands set off.

    Examples
    --------
    >>> count(20000)
    '20,000'
    """
    return "an unknown number of" if n is None else f"{n:,}"


def clip(text: str, limit: int = 60) -> str:
    """A name short enough for a sentence.

    Examples
    --------
    >>> clip("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _best(curve: SiteCurve) -> int:
    return int(np.nanargmax(curve.values))


def _same_rows(curve: SiteCurve) -> str:
    used = {n for n in curve.n_used if n is not None}
    if not used:
        return ""
    low, high = min(used), max(used)
    return f"{count(low)} rows" if low == high else f"{count(low)} to {count(high)} rows"


def dimension_words(data: IdProfileData) -> str:
    """Where the profile is highest, and how it begins and ends."""
    c, names = data.curve, data.axis.names
    good = np.flatnonzero(np.isfinite(c.values))
    if not good.size:
        return "No site has a value; the notes say why."
    first, last, top = int(good[0]), int(good[-1]), _best(c)

    def at(i: int) -> str:
        return f"{number(c.values[i], c.stderrs[i])} at {names[i]}"

    if first == last:
        return f"The estimated dimension is {at(first)} ({data.series.label})."
    said = f"The estimated dimension begins with {at(first)}"
    if top in (first, last):
        said += f" and ends with {at(last)}; it is largest at the {'first' if top == first else 'last'} site."  # noqa: E501
    else:
        said += f", is largest with {at(top)} and ends with {at(last)}."
    if data.null is not None:
        twin = data.null.values[np.isfinite(data.null.values)]
        said += (
            " In the same network without training it lies between "
            f"{number(float(twin.min()))} and {number(float(twin.max()))}."
        )
    return said


def dimension_caption(data: IdProfileData) -> str:
    """Scale, rows and error of one series."""
    c = data.curve
    parts = []
    scales = c.scales[np.isfinite(c.scales)]
    if scales.size:
        low, high = float(scales.min()), float(scales.max())
        span = number(low) if math.isclose(low, high) else f"{number(low)} to {number(high)}"
        ranks = data.series.n1, data.series.n2
        between = f"neighbours {ranks[0]} and {ranks[1]}" if ranks[0] else "neighbours 1 and 2"
        parts.append(f"measured at the distance of {between}, {span} over the sites")
    if rows := _same_rows(c):
        parts.append(f"on {rows}")
    text = ", ".join(parts)
    text = text[:1].upper() + text[1:] + "." if text else ""
    if c.stderr_kind == "fisher":
        text += " The error is the Cramér–Rao bound, which is the least it can be: neighbourhoods overlap."  # noqa: E501
    elif c.stderr_kind == "exact":
        text += " The error follows from the sampling law of the estimator."
    elif c.stderr_kind:
        text += f" The error is of the kind “{c.stderr_kind}”."
    elif np.isfinite(c.values).any():
        text += " This estimator gives no error."
    if data.repeats is not None:
        text += f" Dots are the {len(data.repeats)} disjoint subsets."
    lost = [n for n, v in zip(data.axis.names, c.values, strict=True) if not math.isfinite(v)]
    if lost:
        text += f" Crosses mark sites without a value: {listed(lost)}."
    return text.strip()


def gride_words(data: GrideScalesData) -> str:
    """How much the estimate changes from the finest to the coarsest scale."""
    ratios = []
    for row in data.values:
        good = row[np.isfinite(row)]
        if good.size > 1 and good.min() > 0:
            ratios.append(float(good.max() / good.min()))
    if not ratios:
        return "There are too few scales to compare."
    middle = float(np.median(ratios))
    said = (
        f"Between ranks {_pair(data.pairs[0])} and {_pair(data.pairs[-1])} the estimate of a "
        f"typical site changes by a factor of {middle:.2g}"
    )
    if middle < 1.2:
        return f"{said}: the dimension hardly depends on the scale it is measured at."
    return f"{said}, so a dimension means little without its scale."


def _pair(pair: tuple[int, int]) -> str:
    return f"({pair[0]}, {pair[1]})"


def overlap_words(data: MatrixData) -> str:
    """The two sites that share least, and how first and last compare."""
    off = data.values.copy()
    np.fill_diagonal(off, np.nan)
    if not np.isfinite(off).any():
        return "No pair of sites has a value."
    names = data.axis.names
    ends = off[0, -1]
    said = ""
    if math.isfinite(ends):
        said = (
            f"From {names[0]} to {names[-1]} a row keeps {ends:.0%} of its {data.k} nearest "
            f"neighbours"
        )
        said += f"; unrelated sites would share {data.chance:.1%}." if _ok(data.chance) else "."
    i, j = np.unravel_index(int(np.nanargmin(off)), off.shape)
    low = f"The pair that shares least is {names[min(i, j)]} and {names[max(i, j)]}, {number(off[i, j])}."  # noqa: E501
    return f"{said} {low}".strip()


def _ok(value: float) -> bool:
    return math.isfinite(value)


def next_words(data: NextData) -> str:
    """Where neighbours change most between consecutive sites."""
    if not np.isfinite(data.values).any():
        return "No pair of consecutive sites has a value."
    i = int(np.nanargmin(data.values))
    names = data.axis.names
    said = (
        f"Neighbourhoods change most between {names[i]} and {names[i + 1]}: "
        f"{number(data.values[i], data.stderrs[i])} of the {data.k} nearest neighbours stay"
    )
    middle = float(np.nanmedian(data.values))
    return f"{said} (median over all steps {number(middle)})."


def imbalance_words(data: MatrixData) -> str:
    """The most one-sided pair of sites."""
    gap = data.values - data.values.T
    if not np.isfinite(gap[~np.eye(len(gap), dtype=bool)]).any():
        return "No pair of sites has both directions."
    np.fill_diagonal(gap, np.nan)
    i, j = np.unravel_index(int(np.nanargmin(gap)), gap.shape)
    names = data.axis.names
    return (
        f"The most one-sided pair: {names[i]} predicts {names[j]} "
        f"({number(data.values[i, j], data.stderrs[i, j])}) better than the reverse "
        f"({number(data.values[j, i], data.stderrs[j, i])}). "
        "0 is perfect prediction, 1 is none."
    )


def label_words(data: LabelOverlapData) -> str:
    """Where neighbours share the label most, against chance and the twin."""
    c = data.overlap
    if c.empty:
        return "No site has a value; the notes say why."
    i = _best(c)
    chance = data.chance.values[i]
    said = (
        f"Neighbours share “{clip(data.series.label)}” most often at {data.axis.names[i]}: "
        f"{number(c.values[i], c.stderrs[i])}"
    )
    said += f", where chance gives {number(chance)}." if _ok(chance) else "."
    if data.null is not None:
        said += f" Untrained, no site exceeds {number(float(np.nanmax(data.null.values)))}."
    return said


def label_caption(data: LabelOverlapData) -> str:
    """Rows, classes left out, and the kind of the error."""
    c = data.overlap
    text = f"Averaged over {'rows' if data.series.weighting == 'plain' else 'classes'}"
    if rows := _same_rows(c):
        text += f", {rows}"
    text += f", k = {data.series.k}."
    if c.stderr_kind:
        text += f" Error: {c.stderr_kind}."
    notes = list(dict.fromkeys(n for n in c.notes if n))
    return f"{text} {listed(notes, 2)}".strip()


def estimators_words(data: EstimatorsData) -> str:
    """Between which values the estimators lie, at the site where they differ most."""
    values = np.array([c.values for c in data.curves])
    with_all = np.isfinite(values).sum(axis=0) > 1
    if not with_all.any():
        return "No site has two estimates."
    low: np.ndarray = np.where(with_all, np.nanmin(np.where(with_all, values, 1.0), axis=0), np.nan)
    high: np.ndarray = np.where(
        with_all, np.nanmax(np.where(with_all, values, 1.0), axis=0), np.nan
    )
    i = int(np.nanargmax(high - low))
    names = [s.label for s in data.series]
    least, most = int(np.nanargmin(values[:, i])), int(np.nanargmax(values[:, i]))
    return (
        f"{len(names)} estimators, each at its own scale. They differ most at "
        f"{data.axis.names[i]}: {number(low[i])} ({names[least]}) to {number(high[i])} "
        f"({names[most]})."
    )


def landscape_words(data: LandscapeData) -> str:
    """How many peaks there are, and where they agree best with a label."""
    views = {v.key: v for v in data.views}
    said = []
    if "clusters" in views:
        c = views["clusters"].curves[0]
        if not c.empty:
            low, high = int(np.nanmin(c.values)), int(np.nanmax(c.values))
            if low == high:
                said.append(f"Every site has {low} {'peak' if low == 1 else 'peaks'}.")
            else:
                most = data.axis.names[_best(c)]
                said.append(f"Sites have {low} to {high} peaks, most at {most}.")
    if "ari" in views:
        view = views["ari"]
        tops = [_best(c) for c in view.curves]
        best = int(np.argmax([c.values[at] for c, at in zip(view.curves, tops, strict=True)]))
        shown, at = view.curves[best], tops[best]
        value, error = float(shown.values[at]), float(shown.stderrs[at])
        score = f"{number(value, error)} (0 is chance)"
        if value > 2 * error:
            where = f"“{clip(view.names[best])}” at {data.axis.names[at]}"
            said.append(f"They agree best with {where}: adjusted Rand index {score}.")
        else:
            said.append(f"They follow no label: the adjusted Rand index is at most {score}.")
    if not said and "kstar" in views:
        c = views["kstar"].curves[0]
        said.append(f"The density is constant over {number(float(np.nanmedian(c.values)))} "
                    "neighbours of a typical row.")  # fmt: skip
    return " ".join(said)


def topography_words(trees: Sequence[TopographyData]) -> str:
    """The site with most peaks."""
    most = max(trees, key=lambda t: len(t.peaks))
    if len(most.peaks) == 1:
        return "Every site is one hill at this Z."
    return (
        f"Peaks of the density and the passes between them, at the site looked at. {most.site} has "
        f"most, {count(len(most.peaks))}."
    )


def training_words(data: TrainingData) -> str:
    """Which numbers moved over training."""
    said = f"{len(data.names) - 1} checkpoints and the run itself."
    for curves, what in ((data.dimensions, "dimension"), (data.overlaps, "label overlap")):
        tops = [float(np.nanmax(c.values)) if not c.empty else math.nan for c in curves]
        if len(tops) > 1 and _ok(tops[0]) and _ok(tops[-1]):
            said += (
                f" The largest {what} goes from {number(tops[0])} ({data.names[0]}) to "
                f"{number(tops[-1])} ({data.names[-1]})."
            )
    return said


def table_text(values: Sequence[float], stderrs: Sequence[float], i: int) -> str:
    """A cell of the table of sites."""
    return number(values[i], stderrs[i]) if math.isfinite(values[i]) else "–"
