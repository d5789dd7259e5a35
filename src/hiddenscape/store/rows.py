"""``rows.csv``: what each row of every site is. Text is quoted and numbers are not, so that types
survive the way to the disk and back without a second file."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.errors import InputError, StoreError
from hiddenscape.files import write_atomic

__all__ = [
    "RESERVED",
    "format_rows",
    "label_columns",
    "read_csv",
    "read_rows",
    "row_ids_hash",
    "rows_hash",
    "rows_path",
    "write_rows",
]

_ROWS_AT_ONCE = 8192

RESERVED = ("row", "id", "text", "n_tokens", "n_content", "truncated", "status")
"""Columns with a fixed meaning; every other column is a label."""
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_CODE = re.compile(r"[-+]?0[0-9]+|\+[0-9]+")  # 007: a code, not a count
_CELL = re.compile(r'("[^"]*(?:""[^"]*)*"|[^,"]*)(,|\Z)')
_AFTER_LABELS = ("text", "n_tokens", "n_content", "truncated", "status")


def rows_path(store: Path) -> Path:
    """Where the row table of a store lies: ``RUN/rows.csv`` for ``RUN/acts``."""
    in_run = store.name == "acts" or store.name.startswith("acts.")
    return (store.parent if in_run else store) / "rows.csv"


def row_ids_hash(ids: Iterable[Any]) -> str:
    """BLAKE2b (128 bits, hex) over row ids in order, for ``dataset.row_ids_hash``."""
    digest = hashlib.blake2b(digest_size=16)
    for one in ids:
        word = str(one).encode("utf-8", "backslashreplace")
        digest.update(len(word).to_bytes(8, "little") + word)
    return digest.hexdigest()


def write_rows(path: str | Path, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> str:
    """Write ``rows.csv`` atomically; return the BLAKE2b hash (hex) of its bytes.

    Parameters
    ----------
    path : path
        ``RUN/rows.csv``.
    columns : mapping
        Column name to one value per row: ``id``, ``text``, ``n_tokens``, ``n_content``,
        ``truncated``, ``status`` and labels under any other name. ``row`` is filled in. Values are
        text, integers, floats, booleans or None (an empty cell).

    Raises
    ------
    InputError
        If columns differ in length, ``row`` is not 0, 1, 2, ..., or a value is of another type.
    DiskFullError, StoreError
        If the file cannot be written.
    """
    body = format_rows(columns)
    write_atomic(Path(path), body, needed=sum(map(len, body)))
    return rows_hash(body)


def rows_hash(body: Iterable[bytes]) -> str:
    """BLAKE2b (128 bits, hex) of the bytes of a row table, for ``dataset.rows_hash``."""
    digest = hashlib.blake2b(digest_size=16)
    for part in body:
        digest.update(part)
    return digest.hexdigest()


def format_rows(columns: Mapping[str, Sequence[Any] | np.ndarray]) -> list[bytes]:
    """The bytes of ``rows.csv`` in parts; parameters and errors as in :func:`write_rows`."""
    lengths = {name: len(values) for name, values in columns.items()}
    if not lengths:
        raise InputError("a row table needs at least one column")
    first, n = next(iter(lengths.items()))
    for name, length in lengths.items():
        if length != n:
            raise InputError(f"column {name!r} has {length} rows, column {first!r} has {n}")
    if "row" in columns and not np.array_equal(np.asarray(columns["row"]), np.arange(n)):
        raise InputError(f"column 'row' must count 0 to {n - 1}: rows never move")
    order = ["row", *(["id"] if "id" in columns else [])]
    order += [c for c in columns if c not in RESERVED]
    order += [c for c in _AFTER_LABELS if c in columns]
    whole: dict[str, Any] = {**columns, "row": np.arange(n)}
    parts = [_encode([",".join(map(_quote, order))])]
    for at in range(0, n, _ROWS_AT_ONCE):
        cells = [_cells(name, whole[name][at : at + _ROWS_AT_ONCE]) for name in order]
        parts.append(_encode(map(",".join, zip(*cells, strict=True))))
    return parts


def _encode(lines: Iterable[str]) -> bytes:
    # Half a surrogate pair is no UTF-8: written as an escape.
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _cells(name: str, values: Sequence[Any] | np.ndarray) -> list[str]:
    plain = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [_cell(name, value) for value in plain]


def _cell(name: str, value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return ""
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    raise InputError(f"column {name!r} holds {value!r}: give text, numbers, booleans or None")


def read_rows(
    path: str | Path, *, n: int | None = None, skip: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Read ``rows.csv`` as typed columns.

    Parameters
    ----------
    path : path
        The file.
    n : int, optional
        Rows it must have.
    skip : collection of str
        Columns to leave out (``text`` may be large).

    Returns
    -------
    dict
        Column name to array (n,): int64, float64, bool or text.

    Raises
    ------
    StoreError
        If the file cannot be read or parsed, has another number of rows, or its rows were moved.
    """
    columns = read_csv(path, skip=skip)
    found = len(next(iter(columns.values())))
    if n is not None and found != n:
        raise StoreError(f"{path}: {found} rows, but the store has {n}: restore the original")
    row = columns.get("row")
    if row is None or not np.array_equal(row, np.arange(found)):
        raise StoreError(f"{path}: column 'row' must count 0 to {found - 1}: rows never move")
    return columns


def read_csv(path: str | Path, *, skip: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Read any CSV file with a header line as typed columns.

    A column is text where its first filled cell is quoted; otherwise int64, bool or float64 where
    every cell can be read so (an empty cell is NaN and makes integers floats), else text. A number
    with a leading zero, such as a code 007, is text.

    Raises
    ------
    StoreError
        If the file cannot be read, is not UTF-8, has an open quote, or a line with another number
        of cells; names the file and the line.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            return _columns(path, stream, skip)
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path}: cannot be read ({error.strerror or error})") from error


def _columns(path: str | Path, stream: Iterable[str], skip: Collection[str]) -> dict[str, Any]:
    records = _records(path, stream)
    head = [text for text, _ in next(records, (0, []))[1]]
    if not head:
        raise StoreError(f"{path}: empty, expected a header line")
    if len(set(head)) < len(head):
        raise StoreError(f"{path}: a column name occurs twice in {head}")
    kept = [i for i, name in enumerate(head) if name not in skip]
    values: list[list[str]] = [[] for _ in kept]
    quoted = [False] * len(kept)
    undecided = set(range(len(kept)))
    for line, record in records:
        if len(record) != len(head):
            raise StoreError(f"{path}: line {line} has {len(record)} cells, not {len(head)}")
        for j, i in enumerate(kept):
            text, has_quotes = record[i]
            values[j].append(text)
            if j in undecided and (text or has_quotes):
                quoted[j] = has_quotes
                undecided.discard(j)
    return {head[i]: _typed(values[j], quoted[j]) for j, i in enumerate(kept)}


def _records(
    path: str | Path, stream: Iterable[str]
) -> Iterator[tuple[int, list[tuple[str, bool]]]]:
    # The csv module forgets which cells were quoted and limits their size by a global setting.
    pending: list[str] = []
    quotes, first = 0, 1
    for number, line in enumerate(stream, start=1):
        if not pending:
            first = number
        pending.append(line)
        quotes += line.count('"')
        if quotes % 2:
            continue
        whole = "".join(pending).removesuffix("\n").removesuffix("\r")
        pending, quotes = [], 0
        if whole:
            yield first, _split(path, first, whole)
    if pending:
        raise StoreError(f"{path}: line {first} opens a quote that is never closed")


def _split(path: str | Path, line: int, whole: str) -> list[tuple[str, bool]]:
    if '"' not in whole:
        return [(cell, False) for cell in whole.split(",")]
    cells: list[tuple[str, bool]] = []
    length = 0
    for cell, separator in _CELL.findall(whole):
        quoted = cell.startswith('"')
        cells.append((cell[1:-1].replace('""', '"') if quoted else cell, quoted))
        length += len(cell) + len(separator)
        if not separator:
            break
    if length != len(whole):  # findall skips what is no cell
        raise StoreError(f"{path}: line {line}: a quoted cell must end before a comma")
    return cells


def _typed(values: list[str], quoted: bool) -> np.ndarray:
    filled = [v for v in values if v]
    if quoted or not filled:
        return _text(values)
    if set(values) <= {"true", "false"}:
        return np.array([v == "true" for v in values])
    if all(map(_WHOLE.fullmatch, filled)):
        if not all(-(2**63) <= int(v) < 2**63 for v in filled):
            return _text(values)
        if len(filled) == len(values):
            return np.array([int(v) for v in values], dtype=np.int64)
    elif any(map(_CODE.fullmatch, filled)) or not all(map(_is_float, filled)):
        return _text(values)
    return np.array([float(v) if v else math.nan for v in values])


def _text(values: list[str]) -> np.ndarray:
    # numpy's fixed-width text drops trailing NULs, and one long cell would widen every row.
    longest = max(map(len, values), default=0)
    if longest > 64 or any(v.endswith("\0") for v in values):
        return np.array(values, dtype=object)
    return np.array(values, dtype=f"<U{max(1, longest)}")


def _is_float(text: str) -> bool:
    if "_" in text:  # Python reads 1_000 as a number, people do not
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def label_columns(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns of a row table that are labels."""
    return {name: values for name, values in columns.items() if name not in RESERVED}
