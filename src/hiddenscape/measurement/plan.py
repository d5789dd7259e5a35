"""The plan of a measurement: which rows enter, which parts exist already, what remains to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from hiddenscape._version import __version__
from hiddenscape.analyses import Analysis, Settings
from hiddenscape.errors import ConfigError, InputError
from hiddenscape.files import file_stem
from hiddenscape.store.reader import RepresentationSet
from hiddenscape.types import Site

__all__ = ["Unit", "finite_rows", "label_columns", "select_sites"]

# Raise when the meaning of a stored number changes: parts of another version are measured again.
_NUMBERS_VERSION = 3


@dataclass(frozen=True, slots=True)
class Unit:
    """One part of the results: an analysis at one site, at one pair, or over all sites.

    Two hashes name it: one over the parameters, one over the content of the rows and sites it
    read. A part whose parameters match but whose content does not is out of date.
    """

    analysis: str
    what: str
    params: str
    content: str

    @property
    def stem(self) -> str:
        """File name of the part."""
        return f"{self.analysis}-{self.params}-{self.what}-{self.content}"

    def done(self, folder: Path) -> bool:
        """Whether the part is on disk."""
        return (folder / f"{self.stem}.csv").exists()

    def outdated(self, folder: Path) -> list[Path]:
        """Parts of the same unit that were measured on other content."""
        prefix = f"{self.analysis}-{self.params}-{self.what}-"
        return [
            p
            for p in folder.glob("*")
            if p.stem.startswith(prefix)
            and "-" not in p.stem[len(prefix) :]
            and p.stem != self.stem
        ]


def digest(*parts: object) -> str:
    """Eight hex digits over the JSON form of the parts."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def content_of(rs: RepresentationSet, site: Site, rows: np.ndarray) -> str:
    """The hash over the rows of a site that are measured."""
    return digest(rs.points(site.key).content_hash, digest(rows.tolist()))


def params_hash(analysis: Analysis, settings: Settings) -> str:
    """The hash over what fixes the numbers of an analysis."""
    return digest(analysis.name, analysis.used(settings), _NUMBERS_VERSION)


def parameters(analysis: Analysis, settings: Settings) -> dict[str, object]:
    """What the hash stands for, in readable form."""
    return {
        "analysis": analysis.name,
        "group": analysis.group,
        "summary": analysis.summary,
        "citations": list(analysis.citations),
        "settings": analysis.used(settings),
        "hiddenscape": __version__,
    }


def unit(
    analysis: Analysis, settings: Settings, what: Sequence[str], content: Sequence[str]
) -> Unit:
    """The unit of an analysis over the named things with the given content hashes."""
    return Unit(
        analysis.name,
        "+".join(map(file_stem, what)) or "all",
        params_hash(analysis, settings),
        digest(list(what), list(content)),
    )


def select_sites(rs: RepresentationSet, wanted: Sequence[str] | None) -> tuple[Site, ...]:
    """The sites to measure, by key, by name or by pattern (``resid_post.*``); all for None.

    Sites that hold every token are left out: they have no single point per row.

    Raises
    ------
    SiteError
        For a site that is not stored (from the reader, with close matches), or if nothing but sites
        with every token is left.
    """
    if wanted is None:
        return rs.point_sites
    keys: set[str] = set()
    for name in wanted:
        fits = {s.key for s in rs.sites if fnmatchcase(s.name, name) or fnmatchcase(s.key, name)}
        keys |= fits or {rs.find(name)}
    chosen = tuple(site for site in rs.point_sites if site.key in keys)
    if not chosen:
        rs.points(min(keys))  # says why
    return chosen


def finite_rows(rs: RepresentationSet) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Rows to measure, rows left out, and sites that are no use, with the reason.

    A row that is not finite at some site is left out at every site. A site where fewer than half of
    the rows are finite would cost the others most of their rows: it is set aside instead. Rows that
    are finite nowhere (skipped, empty) say nothing of any site and do not count in that.

    Raises
    ------
    InputError
        If fewer than 3 rows remain: nothing can be measured.
    """
    if not rs.point_sites:
        raise InputError(
            f"{rs.path}: every site holds all tokens and no single point per row: extract with a "
            "pooling such as mean"
        )
    count = len(rs)
    bad = rs.nonfinite_rows()
    times = np.zeros(count, dtype=np.int64)
    for rows in bad.values():
        times[rows] += 1
    some = int((times < len(bad)).sum())
    silent = {
        key: f"only {count - len(rows)} of {count} rows are finite"
        for key, rows in bad.items()
        if count - len(rows) < max(1, some) / 2
    }
    good = np.ones(count, dtype=bool)
    for key, rows in bad.items():
        if key not in silent:
            good[rows] = False
    keep, lost = np.flatnonzero(good), np.flatnonzero(~good)
    if len(silent) == len(bad):
        keep = keep[:0]
    if len(keep) < 3:
        raise InputError(
            f"{rs.path}: {len(keep)} of {count} rows are finite at every site; "
            "at least 3 are needed: look at the status column of rows.csv, or extract again "
            "with dtype float32"
        )
    return keep, lost, silent


def label_columns(
    rs: RepresentationSet, wanted: Sequence[str] | None, rows: np.ndarray
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Label columns fit for the label overlap, restricted to ``rows``, and remarks on the others.

    Left out, with a remark: columns in which every label is different or all are the same, columns
    with missing labels, and columns of real numbers (they are continuous).

    Raises
    ------
    ConfigError
        If a wanted column does not exist.
    """
    stored: Mapping[str, np.ndarray] = rs.labels
    missing = [w for w in wanted or () if w not in stored]
    if missing:
        raise ConfigError(
            f"no label column {', '.join(missing)}; there are: {', '.join(stored) or 'none'}"
        )
    out: dict[str, np.ndarray] = {}
    remarks: list[str] = []
    for name in wanted if wanted is not None else stored:
        column = np.asarray(stored[name])[rows]
        texts = column.astype(str)
        distinct = len(np.unique(texts))
        if column.dtype.kind == "f" and not np.all(np.mod(column[np.isfinite(column)], 1) == 0):
            remarks.append(f"label {name!r} is continuous and was left out of the label overlap")
        elif (texts == "").any() or (column.dtype.kind == "f" and not np.isfinite(column).all()):
            remarks.append(f"label {name!r} is missing for some rows and was left out")
        elif distinct == len(column):
            remarks.append(f"label {name!r} differs in every row and was left out")
        elif distinct == 1:
            remarks.append(f"label {name!r} is the same in every row and was left out")
        else:
            out[name] = column
    return out, remarks
