"""The map of the rows: coordinates of every site, packed for the page."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from hiddenscape.plots.pca_maps import PcaMapsData, coloring, pca_maps_data
from hiddenscape.reporting import words
from hiddenscape.reporting.how import how
from hiddenscape.reporting.missing import missing
from hiddenscape.reporting.source import Source

__all__ = ["MAX_ROWS", "RESERVED", "row_map"]

MAX_ROWS = 5000
"""Rows of the map that the page holds; more are subsampled with seed 0."""
# Numbers that fit a page: above this the map holds fewer rows.
_MAX_POINTS = 300_000
_MAX_TEXT = 240
_MAX_COLUMNS = 12
RESERVED = frozenset({"row", "id", "text", "n_tokens", "n_content", "truncated", "status"})
"""Columns of ``rows.csv`` with a fixed meaning; the others are labels."""


def row_map(source: Source, figures: dict[str, object]) -> dict[str, Any]:
    axis, n_sites = source.axis, max(1, len(source.axis))
    have = [axis.key(i) for i in range(len(axis)) if axis.key(i) in source.maps]
    total = len(source.maps[have[0]]) if have else 0
    if not total or any(source.maps[k].shape != (total, 2) for k in have):
        return missing("map", source.run.path)
    columns = _label_columns(source)
    d = pca_maps_data(
        source.maps,
        axis,
        explained=source.explained,
        column=(columns[0], source.rows[columns[0]]) if columns else None,
        max_rows=min(MAX_ROWS, max(500, _MAX_POINTS // n_sites)),
    )
    figures["pca_maps"] = d
    n = len(d.rows)
    shown = f"all {words.count(total)} rows"
    if n < total:
        shown = (
            f"{words.count(n)} of {words.count(total)} rows, drawn without replacement with seed "
            f"{d.seed}, the same at every site"
        )
    return {
        "lead": "Move through the network with the slider, the arrow keys or Play, and watch the "
        "rows rearrange.",
        "how": how(source, "map"),
        "caption": f"PCA of each site: {shown}. Both axes of a map have "
        "one scale; each map has its own.",
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


def _label_columns(source: Source) -> list[str]:
    """Columns of the row table to colour by: the measured labels first."""
    measured = [c for c in source.measured.get("labels", ()) if c in source.rows]
    others = [c for c in source.rows if c not in RESERVED and c not in measured]
    extra = [c for c in ("n_tokens",) if c in source.rows and any(source.rows[c])]
    return [*measured, *others, *extra][:_MAX_COLUMNS]


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
    # What was measured as a label is one, even where its classes are many and called by numbers.
    labels = source.measured.get("labels") or ()
    most = len(d.rows) if name in labels else 24
    c = coloring(name, [t[:_MAX_TEXT] for t in _take(source, name, d)], max_classes=most)
    return {
        "name": name, "kind": c.kind, "codes": c.codes, "classes": c.classes, "counts": c.counts,
    }  # fmt: skip
