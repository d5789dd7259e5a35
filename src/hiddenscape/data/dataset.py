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

from hiddenscape.errors import InputError

__all__ = [
    "Dataset",
    "canonical_bytes",
    "check_ids",
    "check_labels",
    "count_identical",
    "fingerprint",
]

_MINIMUM = 1


class Dataset(Protocol):
    """An ordered, finite set of rows.

    ``kind`` is ``text``, ``tokens``, ``arrays`` or ``images``. ``take(rows)`` gives the inputs of
    some rows: a list of strings, of id arrays or of images, or one array (rows first).
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
    named = tuple(map(str, ids))
    if len(named) != rows:
        raise InputError(f"{where}: {len(named)} ids for {rows} rows; give one per row")
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


_RESERVED = ("row", "id", "text", "n_tokens", "n_content", "truncated", "status")


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
        if name in _RESERVED:
            raise InputError(f"{where}: label column {name!r} has a reserved name; rename it")
        if hasattr(values, "detach"):
            values = values.detach().cpu().numpy()
        column = np.array(values)
        if column.dtype.kind == "O":
            column = np.array([str(v) for v in values])
        if column.ndim != 1 or len(column) != rows:
            raise InputError(
                f"{where}: label column {name!r} has shape {column.shape}, expected ({rows},): one "
                "label per row"
            )
        if column.dtype.kind not in "iufbU":
            raise InputError(f"{where}: label column {name!r} has dtype {column.dtype}")
        column.setflags(write=False)
        checked[str(name)] = column
    return checked


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


def fingerprint(ids: Sequence[str], inputs: Iterable[Any], labels: Mapping[str, np.ndarray]) -> str:
    """BLAKE2b (32 hex digits) over (row id, input, labels) in order."""
    digest = hashlib.blake2b(digest_size=16)
    names = sorted(labels)
    for part in names:
        _feed(digest, part.encode())
    for row, (name, value) in enumerate(zip(ids, inputs, strict=True)):
        _feed(digest, name.encode())
        _feed(digest, canonical_bytes(value))
        for column in names:
            _feed(digest, repr(labels[column][row].item()).encode())
    return digest.hexdigest()


def _feed(digest: Any, part: bytes) -> None:
    # The length in front keeps ("ab", "c") and ("a", "bc") apart.
    digest.update(len(part).to_bytes(8, "little"))
    digest.update(part)


def count_identical(inputs: Iterable[Any]) -> int:
    """How many rows repeat the input of an earlier row."""
    # 64 bits per row: two of a million different rows collide with probability 3e-8.
    keys = array("Q")
    for value in inputs:
        keys.frombytes(hashlib.blake2b(canonical_bytes(value), digest_size=8).digest())
    return len(keys) - len(np.unique(np.frombuffer(keys, dtype=np.uint64)))
