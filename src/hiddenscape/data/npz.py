"""Archives of arrays as data sets: sizes are checked in the directory before anything is read."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.data.arrays import NPY_ERRORS, ArrayDataset, array_dataset, plain_reason
from hiddenscape.data.labels import free_name
from hiddenscape.data.limits import LIMITS, Limits, title_of
from hiddenscape.errors import InputError

__all__ = ["npz_dataset"]

_INPUT_NAMES = ("inputs", "x", "X", "images", "data", "input_ids")
_ALWAYS = 2**26
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True, slots=True)
class _Member:
    """One array of an archive, as its header has it."""

    file: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def npz_dataset(
    path: str | Path,
    *,
    input: str | None = None,
    labels: Mapping[str, Any] | Sequence[Any] | np.ndarray | None = None,
    label_columns: Sequence[str] | None = None,
    ids: Sequence[object] | None = None,
    name: str | None = None,
    limits: Limits = LIMITS,
    **more: Any,
) -> ArrayDataset:
    """An ``.npz`` archive: one array of inputs, its labels and ids.

    Parameters
    ----------
    path : path
        The archive. Read are the array of inputs, the one called ``ids``, and every other
        one-dimensional array of that length, as a label column; nothing else.
    input : str, optional
        Name of the inputs; by default ``inputs``, ``x``, ``images`` or ``data``, or the only array
        with more than one axis.
    labels, label_columns, ids, name, limits, **more
        As in :func:`array_dataset`.

    Raises
    ------
    InputError
        If it is no archive of plain arrays, unpacks to more than the limits, or it cannot be told
        which array holds the inputs. Object arrays are pickles and are refused by name.
    """
    path = Path(path)
    try:
        with ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(path))
            members = _members(path, archive, limits)
            chosen = _input(path, members, input)
            rows = members[chosen].shape[0] if members[chosen].shape else 0
            columns: dict[str, Any] = {}
            for key, member in members.items():
                if key not in (chosen, "ids") and member.shape == (rows,):
                    columns[free_name(key, members, str(path))] = _array(archive, member)
            if ids is None and "ids" in members:
                ids = _array(archive, members["ids"]).tolist()
            inputs = _array(archive, members[chosen])
    except (*NPY_ERRORS, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        reason = plain_reason(error)
        raise InputError(f"{path}: not a readable .npz file of plain arrays ({reason})") from error
    if labels is not None:
        columns |= labels if isinstance(labels, Mapping) else {"label": labels}
    return array_dataset(
        inputs, labels=columns, label_columns=label_columns, ids=ids,
        name=name or title_of(path), limits=limits, **more,
    )  # fmt: skip


def _members(path: Path, archive: zipfile.ZipFile, limits: Limits) -> dict[str, _Member]:
    total = 0
    found: dict[str, _Member] = {}
    for info in archive.infolist():
        total += info.file_size
        if total > limits.bytes:
            raise limits.refuse(
                "bytes",
                f"{path}: unpacks to {total:,} bytes or more, at {info.filename!r} (an .npy file "
                "is not read into memory)",
            )
        packed = max(1, info.compress_size)
        if info.file_size > max(_ALWAYS, limits.ratio * packed):
            raise limits.refuse(
                "ratio",
                f"{path}: {info.filename!r} unpacks {packed:,} bytes to {info.file_size:,}, which "
                f"is {info.file_size // packed} times as much",
            )
        if not info.filename.endswith(".npy"):
            continue
        key = info.filename.removesuffix(".npy")
        if key in found:
            raise InputError(f"{path}: holds two arrays called {key!r}")
        found[key] = _header(path, archive, info)
    if not found:
        raise InputError(f"{path}: holds no arrays")
    return found


def _header(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise InputError(f"{path}: {info.filename!r} is no plain array (format {version})")
        shape, _, dtype = _HEADERS[version](stream)
        size = info.file_size - stream.tell()
    if dtype.hasobject:
        raise InputError(
            f"{path}: {info.filename!r} holds Python objects, a pickle, which is never opened; "
            "save numbers or text with np.savez"
        )
    # The header may promise an array that would not fit into any memory.
    if math.prod(shape) * dtype.itemsize != size or min(shape, default=0) < 0:
        raise InputError(
            f"{path}: {info.filename!r} is damaged: its header tells of shape {shape} and "
            f"{dtype}, but {size} bytes follow"
        )
    return _Member(info.filename, shape, dtype)


def _array(archive: zipfile.ZipFile, member: _Member) -> np.ndarray:
    with archive.open(member.file) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _input(path: Path, members: Mapping[str, _Member], wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in members:
            raise InputError(f"{path}: no array {wanted!r}; it has {', '.join(members)}")
        return wanted
    named = [n for n in _INPUT_NAMES if n in members]
    deep = [n for n, m in members.items() if len(m.shape) > 1]
    if named:
        return named[0]
    if len(deep) != 1:
        raise InputError(
            f"{path}: cannot tell which array holds the inputs among {', '.join(members)}; "
            "name it with input="
        )
    return deep[0]
