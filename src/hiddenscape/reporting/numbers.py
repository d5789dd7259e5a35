"""The numbers of the page outside its figures: facts, the table of sites, every number as CSV."""

from __future__ import annotations

import base64
import gzip
import math
from dataclasses import replace
from typing import Any

import numpy as np

from hiddenscape.plots.curves import SiteCurve, curve
from hiddenscape.plots.label_overlap import label_overlap_data, label_series
from hiddenscape.reporting import words
from hiddenscape.reporting.sections import default_curve
from hiddenscape.reporting.source import LABELS, Source
from hiddenscape.results import note_words
from hiddenscape.table import Row, Table

__all__ = ["csv_link", "facts", "site_table"]

_PLAIN_CSV = 400_000


def facts(source: Source) -> list[tuple[str, str]]:
    rows = max((r.n_used or 0 for r in source.table), default=0) or len(
        next(iter(source.rows.values()), ())
    )
    found = [("rows", words.count(rows)), ("sites", words.count(len(source.axis)))]
    c = default_curve(source)
    if c is not None and not c.empty:
        i = int(np.nanargmax(c.values))
        found.append(("largest dimension", f"{words.number(c.values[i], c.stderrs[i])}"))
        found.append(("found at", source.axis.names[i]))
    labels = source.of(*LABELS)
    series = label_series(labels)
    if series:
        d = label_overlap_data(labels, series[0], axis=source.axis)
        if not d.overlap.empty:
            i = int(np.nanargmax(d.overlap.values))
            found.append(
                (
                    f"most label overlap ({words.clip(series[0].label)})",
                    words.number(d.overlap.values[i]),
                )
            )
            found.append(("found at", source.axis.names[i]))
    return found


_TABLE = (
    ("dimension (TwoNN)", "two_nn", "dimension"),
    ("participation ratio", "pca", "participation_ratio"),
    ("mean norm", "norms", "mean"),
    ("repeated rows", "duplicates", "share"),
)


def site_table(source: Source) -> dict[str, Any]:
    axis = source.axis
    columns: list[tuple[str, SiteCurve]] = []
    for head, analysis, quantity in _TABLE:
        # The norm is called mean or mean_norm.
        names = (quantity, "mean_norm") if analysis == "norms" else (quantity,)
        c = curve(source.of(analysis).select(quantity=names), axis)
        if not c.empty:
            columns.append((head, c))
    table = source.of(*LABELS)
    for s in label_series(table)[:1]:
        c = curve(s.rows(table, "overlap"), axis)
        columns.insert(1, (f"label overlap ({words.clip(s.label)}, k = {s.k})", c))
    notes = _notes(source)
    return {
        "head": ["site", "depth", *(head for head, _ in columns), "notes"],
        "rows": [
            [name, f"{axis.depths[i]:g}",
             *(_cell(head, c, i) for head, c in columns), notes.get(name, "")]
            for i, name in enumerate(axis.names)
        ] if columns else [],
        "note": "Press a line to look at that site everywhere on this page.",
    }  # fmt: skip


def _cell(head: str, c: SiteCurve, i: int) -> str:
    v = float(c.values[i])
    if head == "repeated rows":
        return "–" if not math.isfinite(v) else f"{v:.1%}" if v else "0"
    return words.number(v, float(c.stderrs[i])) if math.isfinite(v) else "–"


def _notes(source: Source) -> dict[str, str]:
    """The words of every note on a site's own numbers, by site; the warnings hold the remarks."""
    found: dict[str, dict[str, None]] = {}
    for r in source.table:
        small = r.analysis == "decimation"  # its small subsets always carry a note
        if r.note and not r.site_b and not small and r.pooling == source.axis.pooling:
            found.setdefault(r.site, {}).update(dict.fromkeys(note_words(r.note)))
    return {site: ", ".join(parts).replace("_", " ") for site, parts in found.items()}


def csv_link(table: Table) -> dict[str, Any] | None:
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
