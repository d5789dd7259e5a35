"""How a figure was computed, where the run comes from, and how to make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hiddenscape.reporting.methods import CITATIONS, METHODS
from hiddenscape.reporting.missing import measure_command
from hiddenscape.reporting.source import Source
from hiddenscape.reporting.words import count

__all__ = ["how", "is_fingerprint", "provenance", "reproduce"]


def how(source: Source, figure: str) -> list[tuple[str, str]]:
    """Formula, reading, parameters and source of one figure, as pairs of name and text."""
    method = METHODS[figure]
    out = [("Formula", method.formula), ("How to read it", method.reading)]
    settings = _settings(source, method.analyses)
    if settings:
        out.append(("Settings", settings))
    rows = _rows(source, method.analyses)
    if rows:
        out.append(("Rows", rows))
    if method.citations:
        out.append(("Source", " · ".join(CITATIONS[c] for c in method.citations)))
    return out


def _settings(source: Source, analyses: tuple[str, ...]) -> str:
    """The recorded settings of the analyses whose numbers the table holds."""
    used = {r.params_hash: r.analysis for r in source.table if r.analysis in analyses}
    known = source.measured.get("parameters")
    said: dict[str, None] = {}
    for key in used:
        entry = known.get(key) if isinstance(known, Mapping) else None
        settings = entry.get("settings") if isinstance(entry, Mapping) else None
        if isinstance(settings, Mapping):
            said[", ".join(f"{k} = {_short(v)}" for k, v in settings.items())] = None
    return " / ".join(said)


def _short(value: object) -> str:
    if value is None:
        return "automatic"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _rows(source: Source, analyses: tuple[str, ...]) -> str:
    used = [r for r in source.table if r.analysis in analyses and r.n_used and r.repeat is None]
    if not used:
        return ""
    full = [r for r in used if r.subset is None] or used
    low, high = min(r.n_used or 0 for r in full), max(r.n_used or 0 for r in full)
    span = count(high) if low == high else f"{count(low)} to {count(high)}"
    dropped = max((r.n_dropped or 0 for r in full), default=0)
    kinds = ", ".join(sorted({r.stderr_kind for r in used if r.stderr_kind})) or "none"
    left = f"; up to {count(dropped)} left out" if dropped else ""
    return f"N = {span}{left}. Standard errors: {kinds}."


def provenance(source: Source, title: str) -> list[str]:
    """One line: model and data (unless the title names them), rows, sites, pooling, day, run."""
    info, axis = source.info, source.axis
    first = source.table[0] if len(source.table) else None
    rows = max((r.n_used or 0 for r in source.table), default=0)
    parts = [
        first.model if first and first.model not in title else "",
        _data(first.dataset) if first and first.dataset not in title else "",
        f"revision {first.revision[:12]}" if first and first.revision else "",
        f"{count(rows)} rows" if rows else "",
        f"{len(axis)} sites" if len(axis) != 1 else "1 site",
        f"{axis.pooling} pooling" if axis.pooling else "",
        _text(info, "start", "started", "created")[:10],
        f"run {source.run.path.resolve().name}",
    ]
    return [p for p in parts if p]


def is_fingerprint(name: str) -> bool:
    """Whether a data set is called by its hash, for want of a name.

    Examples
    --------
    >>> is_fingerprint("79f8b836fc4ca34213d4f7d7ff2b01d2"), is_fingerprint("digits")
    (True, False)
    """
    return len(name) >= 16 and all(c in "0123456789abcdef" for c in name.lower())


def _data(name: str) -> str:
    return f"data {name[:8]}" if is_fingerprint(name) else name


def _text(info: Mapping[str, Any], *names: str) -> str:
    return next((str(info[n]) for n in names if isinstance(info.get(n), str)), "")


def reproduce(source: Source) -> dict[str, Any]:
    """The command, the versions and seeds, and what to cite."""
    info, path = source.info, source.run.path
    blocks: list[tuple[str, str]] = []
    argv = info.get("argv") or info.get("command")
    if isinstance(argv, list) and argv:
        words = [Path(str(argv[0])).name, *map(str, argv[1:])]
        blocks.append(("The command", shlex.join(words)))
    elif isinstance(argv, str) and argv:
        blocks.append(("The command", argv))
    again = f"{measure_command(path)}\nhiddenscape report {shlex.quote(str(path))}"
    blocks.append(("Measure and report again", again))
    shown = {"argv", "command", "schema"}
    rest = {k: v for k, v in info.items() if k not in shown}
    if isinstance(rest.get("host"), Mapping):  # the page travels; the machine's name need not
        rest["host"] = {k: v for k, v in rest["host"].items() if k != "name"}
    if rest:
        text = "\n".join(_lines("", rest))
        blocks.append(("Settings, versions and seeds (run.json)", _clip(text)))
    else:
        note = "This run has no run.json: how its points were made is not recorded."
        blocks.append(("Settings, versions and seeds", note))
    used = {r.analysis for r in source.table}
    keys = dict.fromkeys(c for m in METHODS.values() if used & set(m.analyses) for c in m.citations)
    return {"blocks": blocks, "citations": [CITATIONS[k] for k in keys]}


def _lines(prefix: str, value: Mapping[str, Any]) -> Iterator[str]:
    """Settings as dotted names; what is empty is left out."""
    for name in sorted(value):
        entry = value[name]
        if isinstance(entry, Mapping):
            yield from _lines(f"{prefix}{name}.", entry)
        elif entry is not None and entry != [] and entry != "":
            yield f"{prefix}{name} = {json.dumps(entry, ensure_ascii=False)}"


def _clip(text: str, limit: int = 20_000) -> str:
    return text if len(text) <= limit else text[:limit] + "\n… (the rest is in run.json)"
