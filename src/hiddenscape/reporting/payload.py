"""From a run to the data that the page draws: one JSON object, NaN as null, seven digits."""

from __future__ import annotations

import base64
import gzip
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hiddenscape._version import __version__
from hiddenscape.plots.curves import SiteCurve, curve, sizes
from hiddenscape.plots.gride_scales import gride_scales_data
from hiddenscape.plots.id_profile import IdProfileData, dimension_series, id_profile_data
from hiddenscape.plots.label_overlap import label_overlap_data, label_series
from hiddenscape.plots.matrices import (
    MatrixData,
    imbalance_matrix_data,
    overlap_matrix_data,
    overlap_next_data,
)
from hiddenscape.plots.pca_maps import PcaMapsData, coloring, pca_maps_data
from hiddenscape.plots.training import training_dynamics_data
from hiddenscape.reporting import words
from hiddenscape.reporting.advice import advice_of, features_of
from hiddenscape.reporting.how import how, provenance, reproduce
from hiddenscape.reporting.missing import measure_command, missing
from hiddenscape.reporting.source import Source
from hiddenscape.reporting.warnings import warnings_of
from hiddenscape.table import Row, Table

__all__ = ["MAX_ROWS", "RESERVED", "build"]

MAX_ROWS = 5000
"""Rows of the map that the page holds; more are subsampled with seed 0."""
# Numbers that fit a page: above this the map holds fewer rows.
_MAX_POINTS = 300_000
_MAX_TEXT = 240
_MAX_COLUMNS = 12
_PLAIN_CSV = 400_000
RESERVED = frozenset({"row", "id", "text", "n_tokens", "n_content", "truncated", "status"})
"""Columns of ``rows.csv`` with a fixed meaning; the others are labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """The page's data, and the static figures' data by name."""

    payload: dict[str, Any]
    figures: dict[str, object] = field(default_factory=dict)


def build(source: Source, title: str | None = None) -> Built:
    """Everything the page shows."""
    axis, path = source.axis, source.run.path
    figures: dict[str, object] = {}
    dimension = _dimension(source, figures)
    parts = {
        "dimension": dimension,
        "gride": _gride(source, figures),
        "overlap": _overlap(source, figures),
        "next": _next(source, figures),
        "imbalance": _imbalance(source, figures),
        "labels": _labels(source, figures),
        "map": _map(source, figures),
        "training": _training(source, figures),
    }
    advice = advice_of(source.profile, axis, path)
    marks = _marks(source)
    if "missing" not in dimension:
        dimension |= {"marked": dimension["series"][0]["key"], "marks": marks}
    start = advice.sites[0] if advice.sites else (marks[0]["site"] if marks else 0)
    payload = {
        "title": title or _title(source),
        "provenance": provenance(source),
        "sites": _sites(source),
        "siteWord": _site_word(source),
        "start": start,
        "advice": {
            "say": advice.say, "why": advice.why, "sites": list(advice.sites),
            "flag": advice.flag, "command": advice.command,
        },
        "features": features_of(source.profile, axis),
        "facts": _facts(source, figures),
        "warnings": warnings_of(source),
        **parts,
        "table": _site_table(source),
        "measureCommand": measure_command(path),
        "reproduce": reproduce(source),
        "csv": _csv(source.table),
        "footer": f"Made by hiddenscape {__version__} from the tables of {path.name}/results. "
        "This page is one file and asks the network for nothing.",
    }  # fmt: skip
    return Built(plain(payload), figures)


def plain(value: Any) -> Any:
    """JSON without NaN: arrays as lists, floats to seven digits, NaN and infinity as null.

    Examples
    --------
    >>> plain({"a": np.array([1.0, float("nan")]), "b": (1, 2.123456789)})
    {'a': [1.0, None], 'b': [1, 2.123457]}
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value


def _title(source: Source) -> str:
    model = next((r.model for r in source.table if r.model), "") or source.run.path.resolve().name
    data = next((r.dataset for r in source.table if r.dataset), "")
    # A fingerprint is no title.
    named = data and not (len(data) >= 16 and all(c in "0123456789abcdef" for c in data.lower()))
    return f"{model} on {data}" if named else model


def _sites(source: Source) -> list[dict[str, Any]]:
    axis = source.axis
    return [
        {"name": name, "label": label, "depth": float(depth), "key": axis.key(i)}
        for i, (name, label, depth) in enumerate(
            zip(axis.names, axis.labels, axis.depths, strict=True)
        )
    ]


def _site_word(source: Source) -> str:
    for name, label in zip(source.axis.names, source.axis.labels, strict=True):
        stem, _, number = name.rpartition(".")
        if label == number:
            return f"site (numbers: {stem})"
    return "site"


def _curve(c: SiteCurve) -> dict[str, Any]:
    return {
        "values": c.values, "stderr": c.stderrs, "kind": c.stderr_kind, "scale": c.scales,
        "n": c.n_used, "notes": c.notes if any(c.notes) else [],
    }  # fmt: skip


def _maybe(c: SiteCurve | None) -> dict[str, Any] | None:
    return None if c is None else _curve(c)


def _dimension(source: Source, figures: dict[str, object]) -> dict[str, Any]:
    table = _shown(source)
    series = dimension_series(table)
    if not series:
        return missing("dimension", source.run.path)
    data = [id_profile_data(table, s, null=source.null, axis=source.axis) for s in series]
    figures["id_profile"] = data[0]
    return {
        "lead": words.dimension_words(data[0]),
        "how": how(source, "dimension"),
        "series": [_series(d) for d in data],
    }


def _series(d: IdProfileData) -> dict[str, Any]:
    return {
        "key": d.series.key, "group": d.series.group, "label": d.series.label,
        "curve": _curve(d.curve), "null": _maybe(d.null), "repeats": d.repeats,
        "text": words.dimension_caption(d),
    }  # fmt: skip


def _shown(source: Source) -> Table:
    return source.table.select(pooling=source.axis.pooling)


def _gride(source: Source, figures: dict[str, object]) -> dict[str, Any]:
    table = _shown(source)
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


def _overlap(source: Source, figures: dict[str, object]) -> dict[str, Any]:
    table = _shown(source).select(analysis="neighborhood_overlap", quantity="overlap")
    if not sizes(table):
        return missing("neighborhood_overlap", source.run.path)
    data = [overlap_matrix_data(_shown(source), k=k, axis=source.axis) for k in sizes(table)]
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


def _next(source: Source, figures: dict[str, object]) -> dict[str, Any]:
    table = _shown(source)
    found = sizes(table.select(analysis="neighborhood_overlap", quantity="overlap"))
    if not found:
        return missing("neighborhood_overlap", source.run.path)
    data = [overlap_next_data(table, k=k, null=source.null, axis=source.axis) for k in found]
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


def _imbalance(source: Source, figures: dict[str, object]) -> dict[str, Any]:
    table = _shown(source)
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


def _labels(source: Source, figures: dict[str, object]) -> dict[str, Any]:
    table = _shown(source)
    series = label_series(table)
    if not series:
        return missing("label_overlap", source.run.path)
    data = [label_overlap_data(table, s, null=source.null, axis=source.axis) for s in series]
    figures["label_overlap"] = data[0]
    return {
        "lead": words.label_words(data[0]),
        "how": how(source, "labels"),
        "series": [
            {
                "label": d.series.label, "weighting": d.series.weighting, "k": d.series.k,
                "overlap": _curve(d.overlap), "chance": _curve(d.chance),
                "ceiling": _curve(d.ceiling), "adjusted": _curve(d.adjusted),
                "null": _maybe(d.null), "nullAdjusted": _maybe(d.null_adjusted),
                "text": words.label_caption(d),
            }
            for d in data
        ],
    }  # fmt: skip


def label_columns(source: Source) -> list[str]:
    """Columns of the row table to colour by: the measured labels first."""
    measured = [c for c in source.measured.get("labels", ()) if c in source.rows]
    others = [c for c in source.rows if c not in RESERVED and c not in measured]
    extra = [c for c in ("n_tokens",) if c in source.rows and any(source.rows[c])]
    return [*measured, *others, *extra][:_MAX_COLUMNS]


def _map(source: Source, figures: dict[str, object]) -> dict[str, Any]:
    axis, n_sites = source.axis, max(1, len(source.axis))
    have = [axis.key(i) for i in range(len(axis)) if axis.key(i) in source.maps]
    total = len(source.maps[have[0]]) if have else 0
    if not total or any(source.maps[k].shape != (total, 2) for k in have):
        return missing("map", source.run.path)
    columns = label_columns(source)
    d = pca_maps_data(
        source.maps,
        axis,
        explained=source.explained,
        column=(columns[0], source.rows[columns[0]]) if columns else None,
        max_rows=min(MAX_ROWS, max(500, _MAX_POINTS // n_sites)),
    )
    figures["pca_maps"] = d
    n = len(d.rows)
    shown = f"All {words.count(total)} rows."
    if n < total:
        shown = (
            f"{words.count(n)} of {words.count(total)} rows, drawn without replacement with seed "
            f"{d.seed}, the same at every site."
        )
    return {
        "lead": "Move through the network with the slider, the arrow keys or Play, and watch the "
        "rows rearrange.",
        "how": how(source, "map"),
        "caption": f"PCA of each site, {shown} Axes are drawn to one scale within a map, and each "
        "map in its own unit.",
        "n": n,
        "sites": d.names,
        "points": [_pack(p) for p in d.points],
        "widths": d.half_widths,
        "outside": d.outside,
        "explained": d.explained,
        "rows": d.rows,
        # Drawn in a random order, so that no class lies on top because it comes last.
        "order": np.random.default_rng([d.seed, 1]).permutation(n),
        "ids": _entries(source, "id", d),
        "texts": _entries(source, "text", d),
        "columns": [_column(source, c, d) for c in columns],
    }


def _pack(points: np.ndarray) -> str:
    """Coordinates in [-1, 1] as base64 of little-endian int16; NaN is -32768."""
    whole = np.where(np.isfinite(points), np.round(np.clip(points, -1, 1) * 32767), -32768)
    return base64.b64encode(whole.astype("<i2").tobytes()).decode("ascii")


def _take(source: Source, name: str, d: PcaMapsData) -> list[str]:
    column = source.rows.get(name, ())
    return [column[r] if r < len(column) else "" for r in map(int, d.rows)]


def _entries(source: Source, name: str, d: PcaMapsData) -> list[str] | None:
    texts = [t if len(t) <= _MAX_TEXT else t[: _MAX_TEXT - 1] + "…" for t in _take(source, name, d)]
    return texts if any(texts) else None


def _column(source: Source, name: str, d: PcaMapsData) -> dict[str, Any]:
    c = coloring(name, [t[:_MAX_TEXT] for t in _take(source, name, d)])
    return {
        "name": name, "kind": c.kind, "codes": c.codes, "classes": c.classes, "counts": c.counts,
    }  # fmt: skip


def _training(source: Source, figures: dict[str, object]) -> dict[str, Any] | None:
    if not source.checkpoints:
        return None
    d = training_dynamics_data(
        _shown(source), source.checkpoints, steps=source.steps, axis=source.axis
    )
    figures["training_dynamics"] = d
    return {
        "lead": words.training_words(d),
        "how": how(source, "training"),
        "names": d.names,
        "steps": d.steps,
        "dimensions": [_curve(c) for c in d.dimensions],
        "overlaps": [_curve(c) for c in d.overlaps],
        "label": d.label.label if d.label else "",
        "chance": d.chance,
        "caption": (f"Dimension: {d.series.label}. " if d.series else "")
        + (f"Label overlap: {d.label.label}, k = {d.label.k}." if d.label else ""),
    }


def _marks(source: Source) -> list[dict[str, Any]]:
    """The largest value of the default profile, named in the figure."""
    table = _shown(source)
    if not dimension_series(table):
        return []
    c = id_profile_data(table, axis=source.axis).curve
    if c.empty:
        return []
    i = int(np.nanargmax(c.values))
    return [{"site": i, "text": words.number(c.values[i], c.stderrs[i])}]


def _facts(source: Source, figures: Mapping[str, object]) -> list[tuple[str, str]]:
    rows = max((r.n_used or 0 for r in source.table), default=0) or len(
        next(iter(source.rows.values()), ())
    )
    facts = [("rows", words.count(rows)), ("sites", words.count(len(source.axis)))]
    profile = figures.get("id_profile")
    if isinstance(profile, IdProfileData) and not profile.curve.empty:
        c = profile.curve
        i = int(np.nanargmax(c.values))
        facts.append(("largest dimension", f"{words.number(c.values[i], c.stderrs[i])}"))
        facts.append(("found at", source.axis.names[i]))
    series = label_series(_shown(source))
    if series:
        d = label_overlap_data(_shown(source), series[0], axis=source.axis)
        if not d.overlap.empty:
            i = int(np.nanargmax(d.overlap.values))
            facts.append(
                (f"most label overlap ({series[0].label})", words.number(d.overlap.values[i]))
            )
            facts.append(("found at", source.axis.names[i]))
    return facts


_TABLE = (
    ("dimension (TwoNN)", "two_nn", "dimension"),
    ("participation ratio", "pca", "participation_ratio"),
    ("mean norm", "norms", "mean"),
    ("repeated rows", "duplicates", "share"),
)


def _site_table(source: Source) -> dict[str, Any]:
    table, axis = _shown(source), source.axis
    columns: list[tuple[str, SiteCurve]] = []
    for head, analysis, quantity in _TABLE:
        # The norm is called mean or mean_norm.
        names = (quantity, "mean_norm") if analysis == "norms" else (quantity,)
        c = curve(table.select(analysis=analysis, quantity=names), axis)
        if not c.empty:
            columns.append((head, c))
    labels = label_series(table)
    if labels:
        c = curve(labels[0].rows(table, "overlap"), axis)
        columns.insert(1, (f"label overlap ({labels[0].label}, k = {labels[0].k})", c))
    notes = [_site_notes(table, name) for name in axis.names]
    return {
        "head": ["site", "depth", *(head for head, _ in columns), "notes"],
        "rows": [
            [name, f"{axis.depths[i]:g}",
             *(_cell(head, c, i) for head, c in columns), notes[i]]
            for i, name in enumerate(axis.names)
        ] if columns else [],
        "note": "Press a line to look at that site everywhere on this page.",
    }  # fmt: skip


def _cell(head: str, c: SiteCurve, i: int) -> str:
    v = float(c.values[i])
    if head == "repeated rows":
        return "–" if not math.isfinite(v) else f"{v:.1%}" if v else "0"
    return words.number(v, float(c.stderrs[i])) if math.isfinite(v) else "–"


def _site_notes(table: Table, site: str) -> str:
    own: Iterable[Row] = (r for r in table if r.site == site and r.note and not r.site_b)
    parts = dict.fromkeys(p for r in own for p in r.note.split("; "))
    return words.listed((p if len(p) < 90 else p[:89] + "…" for p in parts), 3)


def _csv(table: Table) -> dict[str, Any] | None:
    """Every number as a link that holds its own data; compressed where it is long."""
    if not len(table):
        return None
    text = Table(_tame(r) for r in table).to_csv().encode()
    small = len(text) <= _PLAIN_CSV
    kind = "text/csv;charset=utf-8" if small else "application/gzip"
    data = text if small else gzip.compress(text, mtime=0)
    return {
        "name": "results.csv" if small else "results.csv.gz",
        "rows": len(table),
        "href": f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}",
    }


_TEXTS = ("run", "model", "revision", "dataset", "site", "run_b", "site_b", "label", "note")


def _tame(row: Row) -> Row:
    """A name that a spreadsheet would run as a formula, marked as text."""
    wild: dict[str, Any] = {
        name: f"'{value}"
        for name in _TEXTS
        if (value := getattr(row, name)) and value[0] in "=+-@\t\r"
    }
    return replace(row, **wild) if wild else row
