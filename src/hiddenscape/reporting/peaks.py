"""Density and peaks on the page: views over depth, and the tree of peaks of every site."""

from __future__ import annotations

from typing import Any

import numpy as np

from hiddenscape.errors import InputError, StoreError
from hiddenscape.plots.estimators import estimators_data
from hiddenscape.plots.landscape import LandscapeData, View, landscape_data
from hiddenscape.plots.topography import TopographyData, topography_data
from hiddenscape.reporting import words
from hiddenscape.reporting.how import how
from hiddenscape.reporting.missing import missing
from hiddenscape.reporting.sections import Figures, curve_dict
from hiddenscape.reporting.source import LANDSCAPE, Source

__all__ = ["estimators", "landscape", "topography"]

# A tree of more peaks than this says nothing on a page.
_MOST_PEAKS = 400


def estimators(source: Source, figures: Figures) -> dict[str, Any] | None:
    """One curve per estimator; None where there are fewer than two."""
    try:
        d = estimators_data(source.of(*source.dimensions), axis=source.axis)
    except InputError:
        return None
    figures["estimators"] = d
    return {
        "lead": words.estimators_words(d),
        "how": how(source, "estimators"),
        "views": [{
            "key": "all", "title": "all estimators", "unit": "estimated dimension", "top": None,
            "names": d.labels, "curves": [curve_dict(c) for c in d.curves],
        }],
    }  # fmt: skip


def landscape(source: Source, figures: Figures) -> dict[str, Any]:
    """k*, density, clusters and labels over depth."""
    try:
        d = landscape_data(source.of(*LANDSCAPE), axis=source.axis)
    except InputError:
        return missing("adp", source.run.path)
    figures["landscape"] = d
    return {
        "lead": words.landscape_words(d),
        "how": how(source, "landscape"),
        "views": [_view(v) for v in _first(d)],
    }


def _first(d: LandscapeData) -> list[View]:
    """The number of peaks opens the figure."""
    return sorted(d.views, key=lambda v: v.key != "clusters")


def _view(v: View) -> dict[str, Any]:
    return {
        "key": v.key, "title": v.title, "unit": v.unit, "top": v.top, "names": v.names,
        "curves": [curve_dict(c) for c in v.curves],
    }  # fmt: skip


def topography(source: Source, figures: Figures, start: int) -> dict[str, Any] | None:
    """The tree of peaks of every site that has its file; None without one."""
    axis, trees = source.axis, []
    for i, name in enumerate(axis.names):
        trees.append(_tree(source, axis.key(i), name))
    known = [t for t in trees if t is not None]
    if not known:
        return None
    shown = trees[start]
    figures["topography"] = known[0] if shown is None else shown
    return {
        "lead": words.topography_words(known),
        "how": how(source, "topography"),
        "trees": [None if t is None else _plain(t) for t in trees],
    }


def _tree(source: Source, key: str, name: str) -> TopographyData | None:
    try:
        found = source.run.pointwise(key, "adp")
    except (InputError, StoreError):
        return None  # never measured, or a file that was left behind
    if not 1 <= len(found["heights"]) <= _MOST_PEAKS:
        return None
    column = next((c for c in source.measured.get("labels") or () if c in source.rows), None)
    label = None
    if column is not None and len(source.rows[column]) > int(found.rows.max()):
        label = [source.rows[column][int(r)] for r in found.rows]
    return topography_data(found.arrays, found.parameters, site=name, label=label)


def _plain(t: TopographyData) -> dict[str, Any]:
    order = t.order
    return {
        "peaks": t.peaks[order], "errors": t.errors[order], "sizes": t.sizes[order],
        "names": [t.names[int(c)] for c in order] if t.names else [],
        "segments": np.round(t.segments.reshape(-1, 4), 4), "lost": t.lost, "caption": t.caption,
    }  # fmt: skip
