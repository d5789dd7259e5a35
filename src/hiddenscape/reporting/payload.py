"""From a run to the data that the page draws: one JSON object, NaN as null, seven digits."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hiddenscape._version import __version__
from hiddenscape.reporting import peaks, sections
from hiddenscape.reporting.advice import advice_of
from hiddenscape.reporting.how import is_fingerprint, provenance, reproduce
from hiddenscape.reporting.maps import row_map
from hiddenscape.reporting.missing import measure_command
from hiddenscape.reporting.numbers import csv_link, facts, site_table
from hiddenscape.reporting.source import Source
from hiddenscape.reporting.warnings import warnings_of

__all__ = ["Built", "build", "plain"]

# Marks that turn the text after them around: a label must not reverse the number beside it.
_OVERRIDES = re.compile("[\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """The page's data, and the static figures' data by name."""

    payload: dict[str, Any]
    figures: dict[str, object] = field(default_factory=dict)


def build(source: Source, title: str | None = None) -> Built:
    """Everything the page shows."""
    axis, path = source.axis, source.run.path
    figures: sections.Figures = {}
    advice = advice_of(source.profile, axis, path)
    shown = title or _title(source)
    start = _start(source, advice.sites)
    payload = {
        "title": shown,
        "provenance": provenance(source, shown),
        "sites": _sites(source),
        "siteWord": _site_word(source),
        "start": start,
        "advice": advice.to_dict(),
        "facts": facts(source),
        "warnings": warnings_of(source),
        "dimension": sections.dimension(source, figures),
        "estimators": peaks.estimators(source, figures),
        "peaks": peaks.landscape(source, figures),
        "topography": peaks.topography(source, figures, start),
        "gride": sections.gride(source, figures),
        "overlap": sections.overlap(source, figures),
        "next": sections.next_overlap(source, figures),
        "imbalance": sections.imbalance(source, figures),
        "labels": sections.labels(source, figures),
        "map": row_map(source, figures),
        "training": sections.training(source, figures),
        "table": site_table(source),
        "measureCommand": measure_command(path),
        "reproduce": reproduce(source),
        "csv": csv_link(source.table),
        "footer": f"Made by hiddenscape {__version__} from the tables of {path.name}/results. "
        "This page is one file and asks the network for nothing.",
    }
    return Built(plain(payload), figures)


def _start(source: Source, advised: tuple[int, ...]) -> int:
    """The site looked at first: the advised one, else that of the largest dimension."""
    if advised:
        return advised[0]
    c = sections.default_curve(source)
    return 0 if c is None or c.empty else int(np.nanargmax(c.values))


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
    return _OVERRIDES.sub("\ufffd", value) if isinstance(value, str) else value


def _title(source: Source) -> str:
    config = source.info.get("config")
    given = config.get("title") if isinstance(config, Mapping) else None
    if isinstance(given, str) and given:
        return given
    model = next((r.model for r in source.table if r.model), "") or source.run.path.resolve().name
    data = next((r.dataset for r in source.table if r.dataset), "")
    return model if not data or is_fingerprint(data) else f"{model} on {data}"


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
        if stem and label == number:
            return f"site (numbers: {stem})"
    return "site"
