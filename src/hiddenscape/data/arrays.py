"""Arrays as data sets: any module input, and rows of token ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from hiddenscape.data.dataset import (
    check_ids,
    check_labels,
    count_identical,
    fingerprint,
    identify,
)
from hiddenscape.data.labelmap import chosen_labels
from hiddenscape.data.limits import LIMITS, Limits
from hiddenscape.errors import InputError, NonFiniteError

__all__ = ["ArrayDataset", "TokenDataset", "array_dataset", "token_dataset"]

_BLOCK_BYTES = 2**24
NPY_ERRORS = (ValueError, EOFError, OSError, SyntaxError, OverflowError, TokenError)
"""What numpy raises on files that are none of its own."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ArrayDataset:
    """Rows of one array; it may be memory-mapped. Made by :func:`array_dataset`."""

    inputs: np.ndarray
    name: str
    ids: tuple[str, ...]
    labels: Mapping[str, np.ndarray]
    fingerprint: str = field(init=False)
    identical: int = field(init=False)
    kind: str = "arrays"
    texts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check_finite(self.inputs, self.name, self.ids)
        found = identify(self.ids, self.inputs, self.labels)
        object.__setattr__(self, "fingerprint", found[0])
        object.__setattr__(self, "identical", found[1])

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Sequence[int]) -> np.ndarray:
        """Inputs of some rows, as one array."""
        return np.asarray(self.inputs[np.asarray(rows, dtype=np.int64)])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TokenDataset:
    """Rows of token ids, possibly of unequal length. Made by :func:`token_dataset`."""

    rows: tuple[np.ndarray, ...]
    special: tuple[np.ndarray, ...] | None
    name: str
    ids: tuple[str, ...]
    labels: Mapping[str, np.ndarray]
    fingerprint: str = field(init=False)
    identical: int = field(init=False)
    kind: str = "tokens"
    texts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        special = self.special or (np.zeros(0, np.uint8),) * len(self.rows)
        both = [np.concatenate([r, s]) for r, s in zip(self.rows, special, strict=True)]
        recipe = "" if self.texts is None else fingerprint(self.ids, self.texts, {})
        found = fingerprint(self.ids, both, self.labels, recipe=recipe)
        object.__setattr__(self, "fingerprint", found)
        object.__setattr__(self, "identical", count_identical(self.rows))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Sequence[int]) -> list[np.ndarray]:
        """Token ids of some rows."""
        return [self.rows[i] for i in rows]

    def lengths(self) -> np.ndarray:
        """Number of tokens per row."""
        return np.array([len(r) for r in self.rows], dtype=np.int64)


def array_dataset(
    inputs: Any,
    *,
    labels: Mapping[str, Any] | Sequence[Any] | np.ndarray | None = None,
    label_columns: Sequence[str] | None = None,
    label_map: str | Path | None = None,
    missing: str = "error",
    ids: Sequence[object] | None = None,
    name: str | None = None,
    limit: int | None = None,
    limits: Limits = LIMITS,
) -> ArrayDataset:
    """A data set from an array whose first axis is the row.

    Parameters
    ----------
    inputs : array (n, ...), tensor, or path of a ``.npy`` file
        Numbers of any kind, as the network wants them: nothing is scaled. Files are memory-mapped.
    labels : mapping, sequence or None
        Label columns; a bare sequence becomes the column ``label``.
    label_columns : sequence of str, optional
        Some of the columns.
    label_map : path, optional
        Table with more labels, joined by row id; ``missing`` ("error" or "nan") says what becomes
        of rows that it lacks.
    ids : sequence or None
        Row ids, unique; row numbers by default.
    name : str, optional
        Name for manifests.
    limit : int, optional
        Use the first rows only; labels and ids are those of all rows, and are cut alike.
    limits : Limits
        Bounds on the label map; the array itself is never copied.

    Raises
    ------
    NonFiniteError
        If rows hold NaN or infinity; they are named.
    InputError
        If shapes disagree, or the array holds no numbers.

    Examples
    --------
    >>> data = array_dataset(np.eye(3), labels=["a", "b", "c"])
    >>> len(data), data.ids, list(data.labels)
    (3, ('0', '1', '2'), ['label'])
    """
    if isinstance(inputs, str | Path):
        name = name or Path(inputs).stem
        inputs = _load_npy(Path(inputs))
    if hasattr(inputs, "detach"):
        inputs = inputs.detach().cpu().numpy()
    array = np.asanyarray(inputs)
    title = name or "arrays"
    if array.dtype.kind not in "iufb":
        raise InputError(f"{title}: expected numbers, got an array of dtype {array.dtype}")
    if array.ndim < 2:
        raise InputError(
            f"{title}: expected an array (rows, ...), got shape {array.shape}; add an axis"
        )
    named = check_ids(ids, len(array), where=title)
    columns = chosen_labels(
        check_labels(labels, len(array), where=title), named, where=title, label_map=label_map,
        missing=missing, wanted=label_columns, limits=limits,
    )  # fmt: skip
    return ArrayDataset(
        inputs=array[:limit],
        name=title,
        ids=named[:limit],
        labels={name: values[:limit] for name, values in columns.items()},
    )


def token_dataset(
    rows: Sequence[Any] | np.ndarray,
    *,
    special: Sequence[Any] | None = None,
    labels: Mapping[str, Any] | Sequence[Any] | np.ndarray | None = None,
    ids: Sequence[object] | None = None,
    name: str = "tokens",
) -> TokenDataset:
    """A data set from rows of token ids, for networks of tokens.

    Parameters
    ----------
    rows : sequence of sequences of int
        Token ids, special tokens included; rows may differ in length and may be empty.
    special : sequence of sequences of bool, optional
        For each token whether it is special (not content). None: all tokens are content.
    labels, ids, name
        As in :func:`array_dataset`.

    Raises
    ------
    InputError
        If a row does not hold whole numbers >= 0, or ``special`` disagrees with ``rows``.

    Examples
    --------
    >>> data = token_dataset([[1, 5, 7], [1, 4]], special=[[1, 0, 0], [1, 0]])
    >>> data.lengths().tolist()
    [3, 2]
    """
    checked = tuple(_token_row(i, row, name) for i, row in enumerate(rows))
    flags: tuple[np.ndarray, ...] | None = None
    if special is not None:
        flags = tuple(np.asarray(s, dtype=np.uint8).reshape(-1) for s in special)
        lengths = [len(s) for s in flags]
        if lengths != [len(r) for r in checked]:
            raise InputError(f"{name}: special must hold one flag per token of each row")
    return TokenDataset(
        rows=checked,
        special=flags,
        name=name,
        ids=check_ids(ids, len(checked), where=name),
        labels=check_labels(labels, len(checked), where=name),
    )


def _token_row(number: int, row: Any, name: str) -> np.ndarray:
    array = np.asarray(row)
    if array.size == 0:
        return np.zeros(0, np.int32)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.min() < 0:
        raise InputError(
            f"{name}: row {number} is no row of token ids (shape {array.shape}, dtype "
            f"{array.dtype}); expected whole numbers >= 0"
        )
    if array.max() > np.iinfo(np.int32).max:
        raise InputError(f"{name}: row {number} holds the number {array.max()}, which is no id")
    return array.astype(np.int32)


def plain_reason(error: Exception) -> str:
    """Why numpy could not read a file, without its advice to unpickle what it does not know."""
    text = str(error)
    if "pickle" in text or "Python objects" in text:
        return "a pickle, which is never opened, or no .npy at all; save numbers with np.save"
    return text


def _load_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except NPY_ERRORS as error:
        raise InputError(
            f"{path}: not a readable .npy file of numbers ({plain_reason(error)})"
        ) from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: holds several arrays; name one of them")
    return array


def _blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    row_bytes = max(1, array[:1].nbytes)
    step = max(1, _BLOCK_BYTES // row_bytes)
    for start in range(0, len(array), step):
        yield start, np.asarray(array[start : start + step])


def _check_finite(array: np.ndarray, name: str, ids: Sequence[str]) -> None:
    if array.dtype.kind != "f":
        return
    bad: list[int] = []
    for start, block in _blocks(array):
        finite = np.isfinite(block.reshape(len(block), -1)).all(axis=1)
        bad += (start + np.flatnonzero(~finite)).tolist()
    if bad:
        shown = ", ".join(f"{row} (id {ids[row]!r})" for row in bad[:5])
        raise NonFiniteError(
            f"{name}: {len(bad)} of {len(array)} rows hold NaN or infinity, the first: {shown}; "
            "remove or repair them",
            rows=bad,
        )
