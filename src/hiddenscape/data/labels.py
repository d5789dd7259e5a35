"""Label columns: one kind of value each, and nothing that becomes text, or a number, unseen.

A missing value is NaN among numbers and the empty text among texts. A column named ``NAME:text``
or ``NAME:number`` is taken as such, where a file does not tell: in CATH, 2.10 and 2.100 are two
architectures and one number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from hiddenscape.data.limits import check_characters
from hiddenscape.errors import ConfigError, InputError

__all__ = ["RESERVED", "cell_labels", "free_name", "split_name", "typed_labels"]

RESERVED = ("row", "id", "text", "n_tokens", "n_content", "truncated", "status")
"""Columns of ``rows.csv`` that are no labels."""
_KINDS = ("text", "number")
_WHOLE = re.compile(r"-?(?:0|[1-9]\d*)")
# A leading zero makes a code (007), which stays text.
_FLOAT = re.compile(r"-?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|-?(?:inf|Infinity)")
_ABSENT = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "null", "NULL", "None")
_TRUTH = {"true": True, "false": False, "True": True, "False": False}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_EXACT = 2**53
_LONGEST = 64

Where = Callable[[int], str]
"""Row number to a place in words: ``rows.csv: line 3 (row 1), field 'topic'``."""


def split_name(wanted: str, known: Collection[str], where: str) -> tuple[str, str | None]:
    """Column and kind of a wish such as ``topic`` or ``code:text``.

    Raises
    ------
    ConfigError
        If there is no such column.

    Examples
    --------
    >>> split_name("code:text", ["code"], "a.csv")
    ('code', 'text')
    """
    name, sign, kind = wanted.rpartition(":")
    if wanted in known:
        return wanted, None
    if sign and name in known and kind in _KINDS:
        return name, kind
    has = ", ".join(known) or "none"
    raise ConfigError(f"{where}: no column {wanted!r}; it has {has}")


def free_name(name: str, taken: Collection[str], where: str) -> str:
    """Name under which a column of a file is kept: one with a meaning of its own gets ``_``.

    Examples
    --------
    >>> free_name("status", ["status"], "a.csv")
    'status_'
    """
    if name not in RESERVED:
        return name
    if f"{name}_" in taken:
        raise InputError(
            f"{where}: column {name!r} has a reserved name, and {name + '_'!r} exists too; "
            "rename one"
        )
    return f"{name}_"


def typed_labels(values: Sequence[Any], where: Where, kind: str | None = None) -> np.ndarray:
    """Values that carry their types (JSON, Python, Arrow) as one column; None is missing.

    Whole numbers stay whole unless one is missing or some have decimals; true and false with a
    missing value become 1, 0 and NaN.

    Raises
    ------
    InputError
        If kinds are mixed, a value is no single value, or a number does not fit; names the row.

    Examples
    --------
    >>> typed_labels([3, None, 5], str).tolist()
    [3.0, nan, 5.0]
    """
    plain = [v.item() if isinstance(v, np.generic) else v for v in values]
    if kind is not None:
        return cell_labels(["" if v is None else str(v) for v in plain], where, kind)
    first: dict[type, int] = {}
    for row, value in enumerate(plain):
        if value is not None and type(value) not in first:
            if type(value) not in _WORDS:
                raise _no_label(where(row), value)
            first[type(value)] = row
    found = set(first)
    missing = len(plain) and any(v is None for v in plain)
    if found == {bool} and not missing:
        return np.array(plain, dtype=bool)
    if found <= {str}:
        return _texts(["" if v is None else v for v in plain], where)
    if found == {bool} or found <= {int, float}:
        return _numbers(plain, where, whole=found == {int} and not missing)
    (one, at_one), (other, at_other) = sorted(first.items(), key=lambda item: item[1])[:2]
    raise InputError(
        f"{where(at_other)}: {plain[at_other]!r} is {_WORDS[other]}, but row {at_one} holds "
        f"{_WORDS[one]} ({plain[at_one]!r}); write one kind of value in the whole column"
    )


def _no_label(where: str, value: Any) -> InputError:
    kind = type(value).__name__
    remedy = (
        "leave it out with label_columns (--labels), or write its parts as columns of their own"
        if isinstance(value, list | tuple | dict | np.ndarray)
        else "write it as text or as a number"
    )
    return InputError(f"{where}: a label must be one value, got a {kind}; {remedy}")


def cell_labels(cells: Sequence[str], where: Where, kind: str | None = None) -> np.ndarray:
    """Cells of a CSV or TSV file as one column.

    Whole numbers, else numbers, else true and false, if all filled cells can be read so; else
    text. Empty cells, and in columns of numbers also ``NA``, ``null`` and the like, are missing.

    Raises
    ------
    InputError
        If a column of numbers would lose something: two different cells that are one number,
        digits that do not fit. Names the rows.

    Examples
    --------
    >>> cell_labels(["1", "", "3"], str).tolist(), cell_labels(["007", "8"], str).tolist()
    ([1.0, nan, 3.0], ['007', '8'])
    """
    filled = [c for c in cells if c not in _ABSENT]
    if kind == "text" or not filled:
        return _texts(cells, where)
    if all(c in _TRUTH for c in filled) and kind is None:
        return typed_labels([_TRUTH.get(c) for c in cells], where)
    if all(map(_WHOLE.fullmatch, filled)):
        wide = any(len(c) > 18 and not -(2**63) <= int(c[:40]) < 2**63 for c in filled)
        if not wide:
            return typed_labels([None if c in _ABSENT else int(c) for c in cells], where)
        if kind is None:
            return _texts(cells, where)
    if kind == "number" or all(map(_FLOAT.fullmatch, filled)):
        return _floats(cells, where, sure=kind == "number")
    return _texts(cells, where)


def _floats(cells: Sequence[str], where: Where, *, sure: bool) -> np.ndarray:
    numbers: list[float] = []
    seen: dict[float, tuple[str, int]] = {}
    for row, cell in enumerate(cells):
        try:
            number = math.nan if cell in _ABSENT else float(cell.replace("_", "x"))
        except ValueError as error:
            raise InputError(f"{where(row)}: {cell!r} is no number") from error
        if math.isinf(number) and "inf" not in cell.lower():
            raise InputError(f"{where(row)}: {cell} does not fit into a float")
        if number and number == number and not sure:
            text, at = seen.setdefault(number, (cell, row))
            if text != cell:
                raise InputError(
                    f"{where(row)}: {cell!r} and {text!r} (row {at}) are one number and two texts; "
                    "say which you mean: give the label column as NAME:text or NAME:number"
                )
        numbers.append(number)
    return np.array(numbers)


def _numbers(values: Sequence[Any], where: Where, *, whole: bool) -> np.ndarray:
    for row, value in enumerate(values):
        if isinstance(value, int) and not isinstance(value, bool):
            room = 2**63 if whole else _EXACT
            if not -room <= value <= room - whole:
                why = "" if whole else " beside missing values or decimals"
                raise InputError(
                    f"{where(row)}: {value} has too many digits for a number{why}; write it as "
                    "text, or give the label column as NAME:text"
                )
    if whole:
        return np.array(values, dtype=np.int64)
    return np.array([math.nan if v is None else float(v) for v in values])


def _texts(values: Sequence[str], where: Where) -> np.ndarray:
    for row, value in enumerate(values):
        if not value.isascii():
            check_characters(value, where(row))
    # numpy's fixed-width text drops trailing NULs, and one long cell would widen every row.
    if max(map(len, values), default=0) > _LONGEST or any(v.endswith("\0") for v in values):
        return np.array(values, dtype=object)
    return np.array(values, dtype=str) if len(values) else np.zeros(0, dtype="<U1")
