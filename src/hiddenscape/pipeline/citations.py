"""BibTeX of what a run used, from ``references.bib``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

from hiddenscape.errors import InputError, StoreError
from hiddenscape.runs import Run

__all__ = ["citation_keys", "cite", "references"]

_KEY = re.compile(r"@\w+\{([^,\s]+),")


def cite(run: Run | None = None) -> str:
    """BibTeX entries of the methods and the data that a run used.

    Parameters
    ----------
    run : Run, optional
        A measured run; None gives every entry that hiddenscape knows.

    Returns
    -------
    str
        The entries, in the order of ``references.bib``.

    Raises
    ------
    InputError
        If nothing has been measured in the run yet.

    Examples
    --------
    >>> "facco2017twonn" in cite()
    True
    """
    known = references()
    if run is None:
        wanted: set[str] = set(known)
    else:
        wanted = set(citation_keys(run))
        if not wanted:
            raise InputError(f"{run.path}: nothing is measured yet; `hiddenscape measure` it first")
    return "\n\n".join(entry for key, entry in known.items() if key in wanted) + "\n"


def citation_keys(run: Run) -> list[str]:
    """Keys of ``references.bib`` that belong to the measures and the data of a run, sorted."""
    found: set[str] = set(run.info.get("citations", []))
    used = set(run.table.column("params_hash"))
    for name, settings in run.measured.get("parameters", {}).items():
        if name in used:
            found |= set(settings.get("citations", []))
    return sorted(found)


def references() -> dict[str, str]:
    """Every entry of ``references.bib`` by its key."""
    return dict(_entries(_text().splitlines()))


def _text() -> str:
    inside = files("hiddenscape") / "references.bib"
    if inside.is_file():
        return inside.read_text(encoding="utf-8")
    # A source tree keeps it at its root, where people look for it; the wheel carries a copy.
    beside = Path(__file__).parents[3] / "references.bib"
    try:
        return beside.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(f"references.bib is missing: {error}; install hiddenscape anew") from error


def _entries(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    key = ""
    held: list[str] = []
    for line in lines:
        if found := _KEY.match(line):
            key, held = found[1], []
        if key:
            held.append(line)
        if key and line == "}":
            yield key, "\n".join(held)
            key = ""
