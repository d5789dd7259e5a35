"""Text as data sets."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.data.dataset import check_ids, check_labels, count_identical, fingerprint
from hiddenscape.errors import InputError

__all__ = ["TextDataset", "text_dataset"]

_CSV_FIELD_LIMIT = 2**24
# A leading zero makes a code (007), which stays text.
_WHOLE = re.compile(r"-?(?:0|[1-9]\d{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][-+]?\d+)?|nan|-?inf")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TextDataset:
    """Rows of text. Made by :func:`text_dataset`."""

    texts: tuple[str, ...]
    name: str
    ids: tuple[str, ...]
    labels: Mapping[str, np.ndarray]
    fingerprint: str = field(init=False)
    identical: int = field(init=False)
    kind: str = "text"

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", fingerprint(self.ids, self.texts, self.labels))
        object.__setattr__(self, "identical", count_identical(self.texts))

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int]) -> list[str]:
        """Texts of some rows."""
        return [self.texts[i] for i in rows]


def text_dataset(
    source: str | Path | Sequence[str],
    *,
    text: str = "text",
    labels: Mapping[str, Any] | Sequence[Any] | None = None,
    label_columns: Sequence[str] | None = None,
    id_column: str | None = None,
    ids: Sequence[object] | None = None,
    name: str | None = None,
    limit: int | None = None,
) -> TextDataset:
    """A data set of texts.

    Parameters
    ----------
    source : path or sequence of str
        A list of texts; or a file: ``.txt`` (one text per line), ``.jsonl`` (one JSON object per
        line), ``.csv`` or ``.tsv`` (with a header). UTF-8.
    text : str
        Column that holds the text.
    labels, ids
        Given from outside; for files they are added to, or replace, the columns of the file.
    label_columns : sequence of str, optional
        Columns that become labels. None: every column but the text and the id.
    id_column : str, optional
        Column of row ids; ``id`` is used if there is one.
    name : str, optional
        Name for manifests.
    limit : int, optional
        Use the first rows only; labels and ids are those of all rows, and are cut alike.

    Raises
    ------
    InputError
        If the file cannot be read, a row lacks a field (the message names file, row and field), or
        ids repeat.

    Notes
    -----
    All texts are held in memory; activations, which are far larger, never are.

    Examples
    --------
    >>> data = text_dataset(["one", "two", "three"], labels=[1, 2, 3])
    >>> len(data), data.labels["label"].tolist()
    (3, [1, 2, 3])
    """
    if isinstance(source, str | Path):
        path = Path(source)
        table = _read_table(path)
        return _from_table(path, table, text, labels, label_columns, id_column, ids, name, limit)
    texts = list(source)
    title = name or "texts"
    for row, value in enumerate(texts):
        if not isinstance(value, str):
            raise InputError(f"{title}: row {row} is a {type(value).__name__}, expected text")
    return _built(texts, title, title, ids, labels, limit)


def _built(
    texts: Sequence[str],
    name: str,
    where: str,
    ids: Sequence[object] | None,
    labels: Mapping[str, Any] | Sequence[Any] | None,
    limit: int | None,
) -> TextDataset:
    named = check_ids(ids, len(texts), where=where)
    columns = check_labels(labels, len(texts), where=where)
    return TextDataset(
        texts=tuple(texts[:limit]),
        name=name,
        ids=named[:limit],
        labels={column: values[:limit] for column, values in columns.items()},
    )


def _from_table(
    path: Path,
    table: dict[str, list[Any]],
    text: str,
    labels: Mapping[str, Any] | Sequence[Any] | None,
    label_columns: Sequence[str] | None,
    id_column: str | None,
    ids: Sequence[object] | None,
    name: str | None,
    limit: int | None,
) -> TextDataset:
    for column in (text, *(label_columns or ()), *((id_column,) if id_column else ())):
        if column not in table:
            raise InputError(f"{path}: no column {column!r}; it has {', '.join(table)}")
    id_column = id_column or ("id" if "id" in table else None)
    if label_columns is None:
        label_columns = [c for c in table if c not in (text, id_column)]
    texts = table[text]
    for row, value in enumerate(texts):
        if not isinstance(value, str):
            raise InputError(f"{path}: row {row}, field {text!r}: expected text, got {value!r}")
    columns: dict[str, Any] = {c: _column(path, c, table[c]) for c in label_columns}
    if labels is not None:
        columns |= labels if isinstance(labels, Mapping) else {"label": labels}
    if ids is None and id_column is not None:
        ids = table[id_column]
    return _built(texts, name or path.stem, str(path), ids, columns, limit)


def _read_table(path: Path) -> dict[str, list[Any]]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}: line {line} is not UTF-8 (byte {raw[error.start]:#04x}); convert the file"
        ) from error
    suffix = path.suffix.lower()
    if suffix == ".txt":
        table: dict[str, list[Any]] = {"text": _lines(content)}
    elif suffix in (".jsonl", ".ndjson"):
        table = _read_jsonl(path, content)
    elif suffix in (".csv", ".tsv"):
        table = _read_csv(path, content, "\t" if suffix == ".tsv" else ",")
    else:
        raise InputError(f"{path}: expected .txt, .jsonl, .csv or .tsv")
    if not next(iter(table.values()), []):
        raise InputError(f"{path}: holds no rows")
    return table


def _lines(content: str) -> list[str]:
    # Only \n ends a line: str.splitlines would also cut at form feeds and Unicode separators.
    lines = content.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines and not lines[-1] else lines


def _read_jsonl(path: Path, content: str) -> dict[str, list[Any]]:
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(_lines(content), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number} is not valid JSON ({error})") from error
        if not isinstance(value, dict):
            raise InputError(f"{path}: line {number} is no JSON object")
        rows.append((number, value))
    columns = list(rows[0][1]) if rows else ["text"]
    for number, value in rows:
        for column in columns:
            if column not in value:
                raise InputError(f"{path}: line {number} has no field {column!r}, as line 1 has")
    return {c: [value[c] for _, value in rows] for c in columns}


def _read_csv(path: Path, content: str, delimiter: str) -> dict[str, list[Any]]:
    csv.field_size_limit(_CSV_FIELD_LIMIT)
    reader = csv.reader(content.splitlines(keepends=True), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        if not header or len(set(header)) < len(header):
            raise InputError(f"{path}: the first line must name each column once, got {header}")
        table: dict[str, list[Any]] = {c: [] for c in header}
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{path}: line {reader.line_num} has {len(row)} fields, the header has "
                    f"{len(header)}; put text with '{delimiter}' in quotes"
                )
            for column, value in zip(header, row, strict=True):
                table[column].append(value)
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}") from error
    return table


def _column(path: Path, name: str, values: list[Any]) -> Any:
    """Whole numbers where all are, floats where all are, else text."""
    for row, value in enumerate(values):
        if isinstance(value, list | dict):
            raise InputError(f"{path}: row {row}, field {name!r}: a label must be one value")
    if all(isinstance(v, str) for v in values):
        if all(map(_WHOLE.fullmatch, values)):
            return np.array([int(v) for v in values])
        if all(map(_FLOAT.fullmatch, values)):
            return np.array([float(v) for v in values])
        return np.array(values)
    if any(v is None or isinstance(v, str) for v in values):
        return np.array(["" if v is None else str(v) for v in values])
    return np.array(values)
