"""Tables from files: named columns, rows that know their line, labels and ids taken from them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.data.labels import cell_labels, free_name, split_name, typed_labels
from hiddenscape.data.limits import LIMITS, Limits, check_characters, kind_of, read_text
from hiddenscape.errors import InputError

__all__ = ["COLUMNAR", "TABLES", "Columns", "read_table"]

COLUMNAR = (".parquet", ".arrow", ".feather")
TABLES = (".jsonl", ".ndjson", ".csv", ".tsv", *COLUMNAR)
"""Files with named columns."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Columns:
    """A table as it was read.

    Attributes
    ----------
    where : str
        What to call it in messages.
    columns : mapping
        One value per row, by name.
    typed : bool
        Whether values carry their types; cells of CSV files are text that may stand for a number.
    lines : sequence of int, optional
        Line of each row.
    images : tuple of str
        Columns that hold the bytes of image files.
    """

    where: str
    columns: Mapping[str, Sequence[Any]]
    typed: bool
    lines: Sequence[int] | None = None
    images: tuple[str, ...] = ()
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", len(next(iter(self.columns.values()), ())))

    def at(self, row: int, column: str) -> str:
        """Where a cell is, in words."""
        line = f"line {self.lines[row]} (row {row})" if self.lines is not None else f"row {row}"
        return f"{self.where}: {line}, field {column!r}"

    def named(self, column: str) -> Sequence[Any]:
        """A column; :class:`ConfigError` if there is none of this name."""
        return self.columns[split_name(column, self.columns, self.where)[0]]

    def texts(self, column: str) -> list[str]:
        """A column of texts."""
        values = self.named(column)
        for row, value in enumerate(values):
            if not isinstance(value, str):
                raise InputError(f"{self.at(row, column)}: expected text, got {value!r}")
            if not value.isascii():
                check_characters(value, self.at(row, column))
        return list(values)

    def ids(self, column: str | None) -> list[str] | None:
        """Row ids; the column ``id`` if none is named and there is one."""
        if column is None and "id" not in self.columns:
            return None
        name = column or "id"
        values = self.named(name)
        for row, value in enumerate(values):
            if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
                raise InputError(f"{self.at(row, name)}: an id must be text or a whole number")
        return [str(v) for v in values]

    def labels(
        self, wanted: Sequence[str] | None, *, but: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Label columns: those wanted (``NAME`` or ``NAME:text``, ``NAME:number``), or all."""
        asked = [c for c in self.columns if c not in but] if wanted is None else list(wanted)
        out: dict[str, np.ndarray] = {}
        for ask in asked:
            name, kind = split_name(ask, self.columns, self.where)

            def at(row: int, name: str = name) -> str:
                return self.at(row, name)

            read = typed_labels if self.typed else cell_labels
            title = free_name(name, self.columns, self.where)
            out[title] = read(self.columns[name], at, kind)
        return out


def read_table(path: Path, limits: Limits = LIMITS) -> Columns:
    """Read ``.txt`` (one column, ``text``), ``.jsonl``, ``.csv``, ``.tsv``, any of them ``.gz``,
    or ``.parquet``, ``.arrow``, ``.feather``.

    Raises
    ------
    InputError
        If the file cannot be read, has no rows, is larger than the limits, or a row is damaged;
        names file, line and field.
    """
    kind = kind_of(path)
    if kind in COLUMNAR and path.suffix.lower() == kind:
        from hiddenscape.data.arrow import read_arrow

        table = read_arrow(path, limits)
    elif kind == ".txt":
        lines = _lines(read_text(path, limits))
        table = Columns(
            where=str(path), columns={"text": lines}, typed=True, lines=range(1, len(lines) + 1)
        )
    elif kind in (".jsonl", ".ndjson"):
        table = _jsonl(path, read_text(path, limits), limits)
    elif kind in (".csv", ".tsv"):
        table = _csv(path, read_text(path, limits), "\t" if kind == ".tsv" else ",", limits)
    else:
        raise InputError(f"{path}: expected .txt, {', '.join(TABLES)}")
    if not table.rows:
        raise InputError(f"{path}: holds no rows")
    _check_size(table, limits)
    return table


def _check_size(table: Columns, limits: Limits) -> None:
    if table.rows > limits.rows:
        raise limits.refuse("rows", f"{table.where}: {table.rows:,} rows")
    for name, values in table.columns.items():
        if name in table.images:
            continue
        for row, value in enumerate(values):
            if isinstance(value, str) and len(value) > limits.cell:
                raise limits.refuse("cell", f"{table.at(row, name)}: {len(value):,} characters")


def _lines(content: str) -> list[str]:
    # Only \n ends a line: str.splitlines would also cut at form feeds and Unicode separators.
    lines = content.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines and not lines[-1] else lines


def _jsonl(path: Path, content: str, limits: Limits) -> Columns:
    numbers: list[int] = []
    objects: list[dict[str, Any]] = []
    for number, line in enumerate(_lines(content), 1):
        if not line.strip():
            continue
        if len(objects) == limits.rows:
            raise limits.refuse("rows", f"{path}: more than {limits.rows:,} rows, at line {number}")
        try:
            value = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number} is not valid JSON ({error})") from error
        if not isinstance(value, dict):
            raise InputError(f"{path}: line {number} is no JSON object")
        numbers.append(number)
        objects.append(value)
    first: dict[str, int] = {}
    for number, value in zip(numbers, objects, strict=True):
        for name in value:
            first.setdefault(name, number)
    for name, line_with in first.items():
        for number, value in zip(numbers, objects, strict=True):
            if name not in value and name != "spans":
                raise InputError(
                    f"{path}: line {number} has no field {name!r}, as line {line_with} has; "
                    "write null where a value is missing"
                )
    columns = {name: [value.get(name) for value in objects] for name in first}
    return Columns(where=str(path), columns=columns, typed=True, lines=numbers)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} occurs twice")
    return found


def _csv(path: Path, content: str, delimiter: str, limits: Limits) -> Columns:
    # Lines end at \n and \r only; str.splitlines would cut cells at Unicode separators.
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    lines: list[int] = []
    try:
        with _wide_cells(limits.cell):
            header = next(reader, [])
            if not header or len(set(header)) < len(header) or "" in header:
                raise InputError(f"{path}: the first line must name each column once, got {header}")
            rows: list[list[str]] = []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise InputError(
                        f"{path}: line {reader.line_num} has {len(row)} fields, the header has "
                        f"{len(header)}; put text with '{delimiter}' in quotes"
                    )
                if len(rows) == limits.rows:
                    raise limits.refuse(
                        "rows",
                        f"{path}: more than {limits.rows:,} rows, at line {reader.line_num}",
                    )
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        if "field larger" in str(error):
            raise limits.refuse(
                "cell", f"{path}: line {reader.line_num}: a cell is longer than {limits.cell:,}"
            ) from error
        raise InputError(f"{path}: line {reader.line_num}: {error}") from error
    columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
    return Columns(where=str(path), columns=columns, typed=False, lines=lines)


@contextmanager
def _wide_cells(limit: int) -> Iterator[None]:
    before = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(before)
