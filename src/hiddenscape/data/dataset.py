"""What a data set is: ordered rows, each with an id, labels of any number, and canonical bytes.

Order is identity: nothing here shuffles, drops or deduplicates. The fingerprint covers row id,
canonical bytes of the input and labels, in order, so that changing one character anywhere changes
it.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from hiddenscape.data.labels import RESERVED, typed_labels
from hiddenscape.data.limits import check_characters
from hiddenscape.errors import InputError

__all__ = [
    "Dataset",
    "Span",
    "canonical_bytes",
    "check_ids",
    "check_labels",
    "count_identical",
    "fingerprint",
    "identify",
]

Span = tuple[int, int] | None
"""Characters [start, stop) of a text; None where a row has no such span."""

_MINIMUM = 1


class Dataset(Protocol):
    """An ordered, finite set of rows.

    ``kind`` is ``text``, ``tokens``, ``arrays`` or ``images``. ``take(rows)`` gives the inputs of
    some rows: a list of strings, of id arrays or of images, or one array (rows first).

    Text may have more: ``spans`` (character ranges by name, one per row), ``template_hash`` (of
    the template that made the prompts) and ``origin`` (where the data came from, for the record).
    """

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def ids(self) -> tuple[str, ...]: ...

    @property
    def labels(self) -> Mapping[str, np.ndarray]: ...

    @property
    def texts(self) -> Sequence[str] | None: ...

    @property
    def fingerprint(self) -> str: ...

    def __len__(self) -> int: ...

    def take(self, rows: Sequence[int]) -> Any: ...


def check_ids(ids: Sequence[object] | None, rows: int, *, where: str) -> tuple[str, ...]:
    """Row ids as text; row numbers where none are given.

    Raises
    ------
    InputError
        If there are too few or too many, or one occurs twice.

    Examples
    --------
    >>> check_ids(None, 3, where="digits")
    ('0', '1', '2')
    """
    if rows < _MINIMUM:
        raise InputError(f"{where}: no rows; a data set needs at least {_MINIMUM}")
    if ids is None:
        return tuple(map(str, range(rows)))
    given = tuple(ids)
    if len(given) != rows:
        raise InputError(f"{where}: {len(given)} ids for {rows} rows; give one per row")
    named = tuple(map(str, given))
    for row, name in enumerate(named):
        if given[row] is None or not name:
            raise InputError(f"{where}: row {row} has no id; fill it in, or leave all ids out")
        check_characters(name, f"{where}: id of row {row}")
    if len(set(named)) < rows:
        seen: dict[str, int] = {}
        for row, name in enumerate(named):
            if name in seen:
                raise InputError(
                    f"{where}: rows {seen[name]} and {row} have the same id {name!r}; ids must be "
                    "unique, or be left out"
                )
            seen[name] = row
    return named


def check_labels(
    labels: Mapping[str, Any] | Sequence[Any] | np.ndarray | None, rows: int, *, where: str
) -> dict[str, np.ndarray]:
    """Label columns as one-dimensional arrays of whole numbers, floats or text.

    A bare sequence becomes the column ``label``.

    Raises
    ------
    InputError
        If a column has another length, is not one-dimensional, or has a reserved name.
    """
    if labels is None:
        return {}
    columns = labels if isinstance(labels, Mapping) else {"label": labels}
    checked: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        title = str(name)
        if title in RESERVED:
            raise InputError(f"{where}: label column {title!r} has a reserved name; rename it")
        check_characters(title, f"{where}: name of a label column")
        column = _column(values, f"{where}: label {title!r}")
        if column.ndim != 1 or len(column) != rows:
            raise InputError(
                f"{where}: label column {title!r} has shape {column.shape}, expected ({rows},): "
                "one label per row"
            )
        if column.dtype.kind not in "iufbUO":
            raise InputError(f"{where}: label column {title!r} has dtype {column.dtype}")
        column.setflags(write=False)
        checked[title] = column
    return checked


def _column(values: Any, where: str) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    if isinstance(values, np.ndarray) and (values.ndim != 1 or values.dtype.kind not in "OU"):
        return values.copy()
    if not isinstance(values, Iterable):
        raise InputError(f"{where}: got {values!r}, expected one label per row")
    return typed_labels(list(values), lambda row: f"{where}, row {row}")


def canonical_bytes(value: Any) -> bytes:
    """Bytes of one input that do not depend on memory layout or machine.

    Examples
    --------
    >>> canonical_bytes(np.float32([1])) == canonical_bytes(np.array([1], ">f4"))
    True
    """
    if isinstance(value, str):
        return b"s" + value.encode()
    found = np.asarray(value)
    little = np.ascontiguousarray(found, dtype=found.dtype.newbyteorder("<"))
    return f"a{little.dtype.str}{found.shape}".encode() + little.tobytes()


def fingerprint(
    ids: Sequence[str],
    inputs: Iterable[Any],
    labels: Mapping[str, np.ndarray],
    *,
    spans: Mapping[str, Sequence[Span]] | None = None,
    recipe: str = "",
) -> str:
    """BLAKE2b (32 hex digits) over (row id, input, labels, spans) in order, and the recipe."""
    return identify(ids, inputs, labels, spans=spans, recipe=recipe)[0]


def identify(
    ids: Sequence[str],
    inputs: Iterable[Any],
    labels: Mapping[str, np.ndarray],
    *,
    spans: Mapping[str, Sequence[Span]] | None = None,
    recipe: str = "",
) -> tuple[str, int]:
    """Fingerprint, and how many rows repeat the input of an earlier row, in one pass.

    ``recipe`` says how the inputs were made of what a file holds: a template, a choice of letters.
    """
    digest = hashlib.blake2b(digest_size=16)
    names = sorted(labels)
    marks = sorted(spans or {})
    for part in names + marks + ([recipe] if recipe else []):
        _feed(digest, part.encode())
    columns = [labels[name].tolist() for name in names] + [(spans or {})[mark] for mark in marks]
    keys = array("Q")
    for row, (name, value) in enumerate(zip(ids, inputs, strict=True)):
        body = canonical_bytes(value)
        keys.frombytes(hashlib.blake2b(body, digest_size=8).digest())
        _feed(digest, name.encode())
        _feed(digest, body)
        for column in columns:
            _feed(digest, repr(column[row]).encode())
    return digest.hexdigest(), _repeats(keys)


def _feed(digest: Any, part: bytes) -> None:
    # The length in front keeps ("ab", "c") and ("a", "bc") apart.
    digest.update(len(part).to_bytes(8, "little"))
    digest.update(part)


def count_identical(inputs: Iterable[Any]) -> int:
    """How many rows repeat the input of an earlier row."""
    keys = array("Q")
    for value in inputs:
        keys.frombytes(hashlib.blake2b(canonical_bytes(value), digest_size=8).digest())
    return _repeats(keys)


def _repeats(keys: array[int]) -> int:
    # 64 bits per row: two of a million different rows collide with probability 3e-8.
    return len(keys) - len(np.unique(np.frombuffer(keys, dtype=np.uint64)))
