"""What an import reads from: one array of points at a time, block by block, in row order."""

from __future__ import annotations

import hashlib
import math
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from hiddenscape.errors import HiddenscapeError, InputError
from hiddenscape.store.shards import MappedFile, decode

__all__ = ["SUFFIXES", "PointSource", "open_file", "sha256"]

_MAGIC = b"\x93NUMPY"
_PICKLE = re.compile(rb"\x80[\x02-\x05]|\(dp|\(lp|cnumpy")
_MAX_STREAM = 32 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class PointSource:
    """One array (n, d) or (n, ...) somewhere.

    Attributes
    ----------
    name : str
        Name of the site, as the source spells it.
    origin : str
        File name, and the member where it has several. Never a path.
    shape : tuple of int
    dtype : str
        As stored by the source.
    read : callable
        ``read(start, stop)`` gives these rows as a numpy array; fastest in row order.
    number : int or None
        Place in a list of layers, where the source is one.
    """

    name: str
    origin: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[int, int], np.ndarray]
    number: int | None = None


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with _reading(path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_file(path: Path) -> list[PointSource]:
    """The arrays in a file, by its suffix; no values are read yet.

    Raises
    ------
    InputError
        If the file is missing, damaged, of an unknown kind, or holds pickled objects.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        raise InputError(f"{path}: cannot import {path.suffix!r}, only {', '.join(SUFFIXES)}")
    with _reading(path):
        sources = opener(path)
    if not sources:
        raise InputError(f"{path}: holds no arrays")
    return sources


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except HiddenscapeError as error:
        raise error if isinstance(error, InputError) else InputError(str(error)) from error
    except (EOFError, zipfile.BadZipFile, zlib.error, ValueError, RuntimeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: damaged or not what its name says ({line})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _npy_header(path: Path, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    magic = stream.read(len(_MAGIC))
    if magic != _MAGIC:
        if _PICKLE.match(magic):
            raise InputError(f"{path}: a pickle, which is never opened: save arrays with np.save")
        raise InputError(f"{path}: not an .npy array (no magic bytes)")
    major = stream.read(2)[:1]
    read = {b"\1": np.lib.format.read_array_header_1_0, b"\2": np.lib.format.read_array_header_2_0}
    if major not in read:
        raise InputError(f"{path}: .npy format {list(major)} is not read here")
    try:
        shape, fortran, dtype = read[major](stream)
    except tokenize.TokenError as error:  # numpy parses old headers as Python text
        raise InputError(f"{path}: damaged, its header cannot be read") from error
    if dtype.hasobject:
        raise InputError(
            f"{path}: holds pickled Python objects, which are never opened: save an array of "
            "numbers"
        )
    if any(type(s) is not int or s < 0 for s in shape):
        raise InputError(f"{path}: bad shape {shape}")
    return shape, fortran, dtype


def _open_npy(path: Path) -> list[PointSource]:
    with path.open("rb") as stream:
        shape, fortran, dtype = _npy_header(path, stream)
        offset = stream.tell()
    expected, found = offset + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if found < expected:
        raise InputError(f"{path}: truncated: {expected:,} bytes expected, {found:,} found")
    if math.prod(shape) == 0:
        values = np.empty(shape, dtype)
    else:
        values = np.memmap(
            path, dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C"
        )
    return [PointSource(path.stem, path.name, shape, dtype.name, lambda a, b: values[a:b])]


def _open_npz(path: Path) -> list[PointSource]:
    sources = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if not member.endswith(".npy"):
                raise InputError(f"{path}: member {member!r} is not an array")
            name = member.removesuffix(".npy")
            with archive.open(member) as stream:
                shape, fortran, dtype = _npy_header(path, stream)
            values = _Member(path, member, shape, fortran, dtype)
            origin = f"{path.name}:{name}"
            sources.append(PointSource(name, origin, shape, dtype.name, values.read))
    return sources


class _Member:
    """Rows of an array in a zip archive, read forward without holding the array."""

    def __init__(
        self, path: Path, member: str, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]
    ) -> None:
        self.path, self.member, self.shape, self.dtype = path, member, shape, dtype
        self.fortran = fortran and len(shape) > 1
        self._row_bytes = math.prod(shape[1:]) * dtype.itemsize
        self._stream: IO[bytes] | None = None
        self._at = 0
        self._whole: np.ndarray | None = None

    def read(self, start: int, stop: int) -> np.ndarray:
        with _reading(self.path):
            if self.fortran:  # its rows are spread over the whole member
                if self._whole is None:
                    self._open()
                    self._whole = self._take(self.shape[0] * self._row_bytes)
                    self._close()
                values = self._whole.view(self.dtype).reshape(self.shape, order="F")
                return values[start:stop]
            if self._stream is None or start < self._at:
                self._open()
            while self._at < start:
                rows = min(start - self._at, max(1, _MAX_STREAM // max(1, self._row_bytes)))
                self._take(rows * self._row_bytes)
                self._at += rows
            self._at = stop
            words = self._take((stop - start) * self._row_bytes)
            if stop == self.shape[0]:
                self._close()
            return words.view(self.dtype).reshape(stop - start, *self.shape[1:])

    def _open(self) -> None:
        # The member keeps the file open; the archive object itself is not needed afterwards.
        if self._stream is not None:
            self._stream.close()
        with zipfile.ZipFile(self.path) as archive:
            self._stream = archive.open(self.member)
        _npy_header(self.path, self._stream)
        self._at = 0

    def _close(self) -> None:
        assert self._stream is not None
        if self._stream.read(1):  # reading to the end also checks the CRC
            raise InputError(f"{self.path}: member {self.member!r} is longer than its header")
        self._stream.close()
        self._stream = None

    def _take(self, size: int) -> np.ndarray:
        assert self._stream is not None
        out = np.empty(size, np.uint8)
        at = 0
        while at < size:
            part = self._stream.read(min(size - at, _MAX_STREAM))
            if not part:
                raise InputError(f"{self.path}: member {self.member!r} is truncated")
            out[at : at + len(part)] = np.frombuffer(part, np.uint8)
            at += len(part)
        return out


def _open_safetensors(path: Path) -> list[PointSource]:
    file = MappedFile(path)

    def reader(name: str, code: str) -> Callable[[int, int], np.ndarray]:
        return lambda start, stop: decode(file.raw(name)[start:stop], code)

    return [
        PointSource(name, f"{path.name}:{name}", entry.shape, entry.code, reader(name, entry.code))
        for name, entry in file.header.tensors.items()
    ]


def _open_pt(path: Path) -> list[PointSource]:
    from hiddenscape.store.importers.pt import load_tensors

    sources = []
    for name, number, shape, dtype, read in load_tensors(path):
        origin = path.name if name == path.stem else f"{path.name}:{name}"
        sources.append(PointSource(name, origin, shape, dtype, read, number))
    return sources


_OPENERS: Mapping[str, Callable[[Path], list[PointSource]]] = {
    ".npy": _open_npy,
    ".npz": _open_npz,
    ".safetensors": _open_safetensors,
    ".pt": _open_pt,
    ".pth": _open_pt,
}
SUFFIXES: Sequence[str] = tuple(_OPENERS)
