"""Text as data sets, and tokens made of it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.data.dataset import check_ids, check_labels, count_identical, fingerprint
from hiddenscape.errors import InputError

__all__ = ["OVERLENGTH", "TextDataset", "Tokens", "fit_tokens", "text_dataset", "tokenize"]

OVERLENGTH = ("error", "truncate:head", "truncate:tail", "skip")
"""What to do with a row that is too long: refuse the run; keep its head or its tail; leave it out
(the row stays in the store, as NaN with status ``skipped``)."""

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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tokens:
    """Token ids of all rows, flags of special tokens, and what became of over-long rows."""

    ids: Sequence[np.ndarray]
    special: Sequence[np.ndarray]
    truncated: np.ndarray
    skipped: np.ndarray

    @classmethod
    def of(cls, ids: Sequence[np.ndarray], special: Sequence[np.ndarray]) -> Tokens:
        """Tokens of which none has been cut."""
        none = np.zeros(len(ids), dtype=bool)
        return cls(ids=ids, special=special, truncated=none, skipped=none)


def tokenize(tokenizer: Any, texts: Sequence[str], *, chunk: int = 1024) -> Tokens:
    """Token ids and the tokenizer's own report of which are special; nothing is cut or padded."""
    ids: list[np.ndarray] = []
    special: list[np.ndarray] = []
    for start in range(0, len(texts), chunk):
        out = tokenizer(
            list(texts[start : start + chunk]),
            add_special_tokens=True,
            return_special_tokens_mask=True,
            return_attention_mask=False,
            truncation=False,
            padding=False,
            verbose=False,
        )
        ids += [np.asarray(row, dtype=np.int32) for row in out["input_ids"]]
        special += [np.asarray(row, dtype=np.uint8) for row in out["special_tokens_mask"]]
    return Tokens.of(ids, special)


def fit_tokens(
    tokens: Tokens, limit: int | None, overlength: str, *, ids: Sequence[str], where: str
) -> Tokens:
    """Apply the policy for rows longer than ``limit`` tokens, specials included.

    ``truncate:head`` keeps the head of the content, ``truncate:tail`` its tail; special tokens in
    front and behind stay.

    Raises
    ------
    InputError
        Under ``error``, naming the first such row and the longest one.

    Examples
    --------
    >>> t = Tokens.of([np.int32([1, 5, 6, 7, 2])], [np.uint8([1, 0, 0, 0, 1])])
    >>> fit_tokens(t, 4, "truncate:tail", ids=["a"], where="x").ids[0].tolist()
    [1, 6, 7, 2]
    """
    if overlength not in OVERLENGTH:
        raise InputError(f"overlength {overlength!r} is not one of {', '.join(OVERLENGTH)}")
    lengths = np.array([len(r) for r in tokens.ids])
    long = np.flatnonzero(lengths > limit) if limit is not None else np.zeros(0, dtype=np.int64)
    if limit is None or not len(long):
        return tokens
    if overlength == "error":
        first, worst = int(long[0]), int(long[np.argmax(lengths[long])])
        raise InputError(
            f"{where}: {len(long)} of {len(lengths)} rows are longer than {limit} tokens, the "
            f"first is row {first} (id {ids[first]!r}, {lengths[first]} tokens), the longest row "
            f"{worst} ({lengths[worst]}); choose overlength 'truncate:head', 'truncate:tail' or "
            "'skip'"
        )
    marked = np.zeros(len(lengths), dtype=bool)
    marked[long] = True
    if overlength == "skip":
        return replace(tokens, skipped=marked)
    new_ids, new_special = list(tokens.ids), list(tokens.special)
    for row in long.tolist():
        keep = _kept(tokens.special[row], limit, overlength)
        new_ids[row], new_special[row] = tokens.ids[row][keep], tokens.special[row][keep]
    return replace(tokens, ids=new_ids, special=new_special, truncated=marked)


def _kept(special: np.ndarray, limit: int, overlength: str) -> np.ndarray:
    content = np.flatnonzero(special == 0)
    front = int(content[0]) if len(content) else len(special)
    back = len(special) - 1 - int(content[-1]) if len(content) else 0
    room = max(0, limit - front - back)
    body = np.arange(front, len(special) - back)
    body = body[:room] if overlength == "truncate:head" else body[len(body) - room :]
    kept = np.concatenate([np.arange(front), body, np.arange(len(special) - back, len(special))])
    return kept[:limit]
