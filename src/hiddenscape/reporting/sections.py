"""The figures of the page that are made from the table, each as the data it draws."""

from __future__ import annotations

import math
from typing import Any

from hiddenscape.plots.curves import SiteCurve, sizes
from hiddenscape.plots.gride_scales import gride_scales_data
from hiddenscape.plots.id_profile import IdProfileData, dimension_series, id_profile_data
from hiddenscape.plots.label_overlap import label_overlap_data, label_series
from hiddenscape.plots.matrices import (
    MatrixData,
    imbalance_matrix_data,
    overlap_matrix_data,
    overlap_next_data,
)
from hiddenscape.plots.training import training_dynamics_data
from hiddenscape.reporting import words
from hiddenscape.reporting.how import how
from hiddenscape.reporting.missing import missing
from hiddenscape.reporting.source import LABELS, Source

__all__ = [
    "Figures",
    "curve_dict",
    "default_curve",
    "dimension",
    "gride",
    "imbalance",
    "labels",
    "next_overlap",
    "overlap",
    "training",
]

Figures = dict[str, object]
"""Static figures by name -> what their ``*_data`` function gave; filled by every section."""


def curve_dict(c: SiteCurve) -> dict[str, Any]:
    return {
        "values": c.values, "stderr": c.stderrs, "kind": c.stderr_kind, "scale": c.scales,
        "n": c.n_used, "notes": c.notes if any(c.notes) else [],
    }  # fmt: skip


def _maybe(c: SiteCurve | None) -> dict[str, Any] | None:
    return None if c is None else curve_dict(c)


def dimension(source: Source, figures: Figures) -> dict[str, Any]:
    table, null = source.of(*source.dimensions), source.twin(*source.dimensions)
    series = dimension_series(table)
    if not series:
        return missing("dimension", source.run.path)
    data = [id_profile_data(table, s, null=null, axis=source.axis) for s in series]
    figures["id_profile"] = data[0]
    return {
        "lead": words.dimension_words(data[0]),
        "how": how(source, "dimension"),
        "series": [_series(d) for d in data],
        "marked": data[0].series.key,
        "marks": _marks(source),
    }


def _series(d: IdProfileData) -> dict[str, Any]:
    return {
        "key": d.series.key, "group": d.series.group, "label": d.series.label,
        "curve": curve_dict(d.curve), "null": _maybe(d.null), "repeats": d.repeats,
        "text": words.dimension_caption(d),
    }  # fmt: skip


def default_curve(source: Source) -> SiteCurve | None:
    """The profile that the page opens with, if any dimension was measured."""
    table = source.of(*source.dimensions)
    if not dimension_series(table):
        return None
    return id_profile_data(table, axis=source.axis).curve


def _marks(source: Source) -> list[dict[str, Any]]:
    """Peaks beyond the noise, as ``profile.json`` has them."""
    c, names = default_curve(source), source.axis.names
    found = source.profile.get("peaks")
    peaks = [p for p in found if isinstance(p, dict)] if isinstance(found, list) else []
    if c is None:
        return []
    return [
        {"site": i, "text": f"peak, {words.number(c.values[i], c.stderrs[i])}"}
        for p in peaks
        if p.get("significant") and p.get("site") in names
        for i in [names.index(p["site"])]
    ]


def gride(source: Source, figures: Figures) -> dict[str, Any]:
    table = source.of("gride")
    if not len(table.select(analysis="gride", quantity="dimension")):
        return missing("gride", source.run.path)
    d = gride_scales_data(table, axis=source.axis)
    figures["gride_scales"] = d
    return {
        "lead": words.gride_words(d), "how": how(source, "scales"), "pairs": d.pairs,
        "values": d.values, "stderr": d.stderrs, "scales": d.scales, "n": d.n_used,
        "kind": d.stderr_kind,
    }  # fmt: skip


def _pair(d: MatrixData) -> dict[str, Any]:
    return {
        "k": d.k, "values": d.values, "stderr": d.stderrs, "kind": d.stderr_kind,
        "chance": d.chance, "chanceSd": d.chance_sd, "n": d.n_used,
    }  # fmt: skip


def overlap(source: Source, figures: Figures) -> dict[str, Any]:
    table = source.of("neighborhood_overlap")
    found = sizes(table.select(quantity="overlap"))
    if not found:
        return missing("neighborhood_overlap", source.run.path)
    data = [overlap_matrix_data(table, k=k, axis=source.axis) for k in found]
    figures["overlap_matrix"] = data[0]
    return {
        "lead": words.overlap_words(data[0]),
        "how": how(source, "overlap"),
        "byK": [_pair(d) for d in data],
        "caption": _matrix_caption(data[0], "The mark beside the colours is chance."),
    }


def _matrix_caption(d: MatrixData, more: str) -> str:
    n = f"{words.count(d.n_used)} rows, " if d.n_used else ""
    kind = f", errors: {d.stderr_kind}" if d.stderr_kind else ""
    return f"{n}k = {d.k}{kind}. {more} Press a row to look at that site everywhere on this page."


def next_overlap(source: Source, figures: Figures) -> dict[str, Any]:
    table, null = source.of("neighborhood_overlap"), source.twin("neighborhood_overlap")
    found = sizes(table.select(quantity="overlap"))
    if not found:
        return missing("neighborhood_overlap", source.run.path)
    data = [overlap_next_data(table, k=k, null=null, axis=source.axis) for k in found]
    figures["overlap_next"] = data[0]
    return {
        "lead": words.next_words(data[0]),
        "how": how(source, "next"),
        "byK": [
            {"k": d.k, "values": d.values, "stderr": d.stderrs, "kind": d.stderr_kind,
             "chance": d.chance, "null": d.null}
            for d in data
        ],
    }  # fmt: skip


def imbalance(source: Source, figures: Figures) -> dict[str, Any]:
    table = source.of("information_imbalance")
    if not sizes(table.select(analysis="information_imbalance", quantity="imbalance")):
        return missing("information_imbalance", source.run.path)
    d = imbalance_matrix_data(table, axis=source.axis)
    figures["imbalance_matrix"] = d
    floor = (d.k + 1) / d.n_used if d.n_used else math.nan
    return {
        "lead": words.imbalance_words(d),
        "how": how(source, "imbalance"),
        "floor": floor,
        "caption": _matrix_caption(d, "Read from the row to the column."),
        **_pair(d),
    }


def labels(source: Source, figures: Figures) -> dict[str, Any]:
    table, null = source.of(*LABELS), source.twin(*LABELS)
    series = label_series(table)
    if not series:
        return missing("label_overlap", source.run.path)
    data = [label_overlap_data(table, s, null=null, axis=source.axis) for s in series]
    figures["label_overlap"] = data[0]
    return {
        "lead": words.label_words(data[0]),
        "how": how(source, "labels"),
        "series": [
            {
                "label": d.series.label, "weighting": d.series.weighting, "k": d.series.k,
                "overlap": curve_dict(d.overlap), "chance": curve_dict(d.chance),
                "ceiling": curve_dict(d.ceiling), "adjusted": curve_dict(d.adjusted),
                "null": _maybe(d.null), "nullAdjusted": _maybe(d.null_adjusted),
                "text": words.label_caption(d),
            }
            for d in data
        ],
    }  # fmt: skip


def _final(source: Source) -> str:
    """How the run itself is called beside its checkpoints."""
    checkpoint, adapter = source.info.get("checkpoint"), source.info.get("adapter")
    for found, key in ((checkpoint, "name"), (adapter, "id")):
        if isinstance(found, dict) and found.get(key):
            return f"this run ({found[key]})"
    return "final"


def training(source: Source, figures: Figures) -> dict[str, Any] | None:
    if not source.checkpoints:
        return None
    d = training_dynamics_data(
        source.of(*source.trained),
        source.checkpoints,
        steps=source.steps,
        axis=source.axis,
        final=_final(source),
    )
    figures["training_dynamics"] = d
    return {
        "lead": words.training_words(d),
        "how": how(source, "training"),
        "names": d.names,
        "steps": d.steps,
        "dimensions": [curve_dict(c) for c in d.dimensions],
        "overlaps": [curve_dict(c) for c in d.overlaps],
        "label": d.label.label if d.label else "",
        "chance": d.chance,
        "caption": (f"Dimension: {d.series.label}. " if d.series else "")
        + (f"Label overlap: {d.label.label}, k = {d.label.k}." if d.label else ""),
    }
