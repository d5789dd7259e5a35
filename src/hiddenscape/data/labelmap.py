"""Label maps: a table with an id column and any number of labels, joined to rows by their ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.data.labels import cell_labels, free_name, split_name, typed_labels
from hiddenscape.data.limits import LIMITS, Limits, kind_of
from hiddenscape.data.tables import TABLES, Columns, read_table
from hiddenscape.errors import ConfigError, InputError

__all__ = ["MISSING", "chosen_labels", "mapped_labels"]

MISSING = ("error", "nan")
"""What to do with rows that a label map does not have: refuse, or leave their labels missing."""
_SHOWN = 5


def chosen_labels(
    own: Mapping[str, np.ndarray],
    ids: Sequence[str],
    *,
    where: str,
    label_map: str | Path | None = None,
    missing: str = "error",
    wanted: Sequence[str] | None = None,
    limits: Limits = LIMITS,
) -> dict[str, np.ndarray]:
    """The labels of a data set and of its label map; some of them if some are wanted.

    Raises
    ------
    ConfigError
        If a wanted column is in neither.
    InputError
        As :func:`mapped_labels`.
    """
    found = dict(own)
    if label_map is not None:
        found |= mapped_labels(
            label_map, ids, missing=missing, columns=wanted, taken=found, limits=limits
        )
    if wanted is None:
        return found
    out: dict[str, np.ndarray] = {}
    for ask in wanted:
        base, _, kind = (ask, "", "") if {ask, f"{ask}_"} & set(found) else ask.rpartition(":")
        title = next((t for t in (base, f"{base}_") if t and t in found), None)
        if title is None or kind not in ("", "text", "number"):
            has = ", ".join(found) or "no labels"
            raise ConfigError(f"labels: {where} has no column {ask!r}; it has {has}")
        column = found[title]
        if kind and (column.dtype.kind in "UO") != (kind == "text"):
            place = f"{where}: label {title!r}, row"
            column = typed_labels(column.tolist(), lambda row, p=place: f"{p} {row}", kind)  # type: ignore[misc]
        out[title] = column
    return out


def mapped_labels(
    path: str | Path,
    ids: Sequence[str],
    *,
    missing: str = "error",
    columns: Sequence[str] | None = None,
    taken: Collection[str] = (),
    limits: Limits = LIMITS,
) -> dict[str, np.ndarray]:
    """Labels of ``ids`` from a table.

    Parameters
    ----------
    path : path
        ``.tsv``, ``.csv``, ``.jsonl`` or ``.parquet``. Its column ``id``, else its first column,
        holds the ids; every other column is a label. Rows of other ids are ignored.
    ids : sequence of str
        Row ids of the data set.
    missing : {"error", "nan"}
        For ids that the table lacks: an error that names them, or a missing label (NaN among
        numbers, empty text).
    columns : sequence of str, optional
        Label columns to take (``NAME``, ``NAME:text``, ``NAME:number``); all by default. Names
        that the table lacks are left to the data set itself.
    taken : collection of str
        Label columns that the data set has already.

    Raises
    ------
    InputError
        If an id is missing or occurs twice, or a label column exists already.
    """
    if missing not in MISSING:
        raise ConfigError(f"missing must be one of {', '.join(MISSING)}, got {missing!r}")
    source = Path(path)
    if kind_of(source) not in TABLES:
        raise InputError(f"{source}: a label map is a table with a header ({', '.join(TABLES)})")
    table = read_table(source, limits)
    key = "id" if "id" in table.columns else next(iter(table.columns))
    rows = _rows(table, key)
    absent = [i for i in ids if i not in rows]
    if absent and (missing == "error" or len(absent) == len(ids)):
        shown = ", ".join(map(repr, absent[:_SHOWN])) + (", ..." if len(absent) > _SHOWN else "")
        remedy = (
            f"; the map has ids such as {next(iter(rows))!r}"
            if len(absent) == len(ids)
            else "; add them, or take missing='nan' (--missing-labels nan)"
        )
        raise InputError(
            f"{source}: column {key!r} lacks {len(absent)} of {len(ids)} row ids: {shown}{remedy}"
        )
    return _labels(table, [rows.get(i) for i in ids], key, columns, taken)


def _rows(table: Columns, key: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for row, name in enumerate(table.ids(key) or ()):
        if name in found:
            raise InputError(f"{table.at(row, key)}: id {name!r} stands in row {found[name]} too")
        found[name] = row
    return found


def _labels(
    table: Columns,
    rows: Sequence[int | None],
    key: str,
    columns: Sequence[str] | None,
    taken: Collection[str],
) -> dict[str, np.ndarray]:
    known = [c for c in table.columns if c != key]
    asked = known if columns is None else [c for c in columns if _known(c, known)]
    out: dict[str, np.ndarray] = {}
    for ask in asked:
        name, kind = split_name(ask, known, table.where)
        values, lost = table.columns[name], None if table.typed else ""
        cells: list[Any] = [lost if row is None else values[row] for row in rows]
        title = free_name(name, known, table.where)
        if title in taken:
            raise InputError(f"{table.where}: the data has a label {title!r} already; rename one")

        def at(number: int, name: str = name) -> str:
            row = rows[number]
            return table.at(row, name) if row is not None else f"{table.where}: field {name!r}"

        out[title] = (typed_labels if table.typed else cell_labels)(cells, at, kind)
    return out


def _known(ask: str, known: Sequence[str]) -> bool:
    return ask in known or ask.rpartition(":")[0] in known
