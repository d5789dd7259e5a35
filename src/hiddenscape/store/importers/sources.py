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
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from hiddenscape.errors import HiddenscapeError, InputError, MissingDependency
from hiddenscape.store.shards import MappedFile, decode

__all__ = [
    "SUFFIXES",
    "How",
    "Opened",
    "PointSource",
    "open_file",
    "reading",
    "sha256",
    "suffix_of",
]

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
    ragged : bool
        ``read`` gives a list of arrays (T_i, d), one per row; ``shape`` is (n, d).
    first_token : int
        Position of the first token of a ragged row.
    """

    name: str
    origin: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[int, int], np.ndarray]
    number: int | None = None
    ragged: bool = False
    first_token: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What only some kinds of sources need.

    Attributes
    ----------
    within : str or None
        Which data sets of an HDF5 file or arrays of a zarr group: ``/path/{block}``.
    densify : bool
        Sparse matrices may be stored with all their zeros.
    order : Path or None
        The FASTA file, or list of labels, whose order the rows take.
    tokens : {"ragged", "mean", "skip"}
        What becomes of arrays with one point per token.
    blocks : int or None
        Blocks of the network.
    """

    within: str | None = None
    densify: bool = False
    order: Path | None = None
    tokens: str = "ragged"
    blocks: int | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The arrays of a file, and the row ids and labels it holds."""

    sources: list[PointSource]
    columns: Mapping[str, Any] = field(default_factory=dict)


def suffix_of(path: Path) -> str | None:
    """How a file is read, by its suffix; a zarr folder by what is in it. None: not at all."""
    if path.is_dir():
        signs = ("zarr.json", ".zgroup", ".zarray")
        return ".zarr" if any((path / sign).is_file() for sign in signs) else None
    suffix = path.suffix.lower()
    return suffix if suffix in _OPENERS and path.is_file() else None


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex; of a folder, over the names and hashes of its files."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
        return digest.hexdigest()
    with reading(path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_file(path: Path, how: How | None = None) -> Opened:
    """The arrays in a file, by its suffix; no values are read yet.

    Raises
    ------
    InputError
        If the file is missing, damaged, of an unknown kind, or holds pickled objects.
    MissingDependency
        If it needs a package that is not installed.
    """
    how = How() if how is None else how
    kind = suffix_of(path)
    if kind is None:
        if path.is_file():
            raise InputError(f"{path}: cannot import {path.suffix!r}, only {', '.join(SUFFIXES)}")
        raise InputError(f"{path}: no such file" if not path.exists() else f"{path}: a folder")
    if how.within is not None and kind not in (".h5", ".hdf5", ".zarr"):
        raise InputError(f"{path}: a path within (--dataset) belongs to .h5 and .zarr")
    with reading(path):
        opened = _OPENERS[kind](path, how)
    if not opened.sources:
        raise InputError(f"{path}: holds no arrays")
    return opened


@contextmanager
def reading(path: Path) -> Iterator[None]:
    try:
        yield
    except HiddenscapeError as error:
        if isinstance(error, (InputError, MissingDependency)):
            raise
        raise InputError(str(error)) from error
    except (EOFError, zipfile.BadZipFile, zlib.error, ValueError, RuntimeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: damaged or not what its name says ({line})") from error
    except OSError as error:
        line = error.strerror or (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read ({line})") from error


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


def _open_npy(path: Path, how: How) -> Opened:
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
    only = PointSource(path.stem, path.name, shape, dtype.name, lambda a, b: values[a:b])
    return Opened([only])


def _open_npz(path: Path, how: How) -> Opened:
    sources = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if not member.endswith(".npy"):
                raise InputError(f"{path}: member {member!r} is not an array")
            name = member.removesuffix(".npy")
            with archive.open(member) as stream:
                shape, fortran, dtype = _npy_header(path, stream)
                expected = stream.tell() + math.prod(shape) * dtype.itemsize
            _check_member(path, archive.getinfo(member), expected)
            values = _Member(path, member, shape, fortran, dtype)
            origin = f"{path.name}:{name}"
            sources.append(PointSource(name, origin, shape, dtype.name, values.read))
    return Opened(sources)


def _check_member(path: Path, member: zipfile.ZipInfo, expected: int) -> None:
    """The size in the archive's directory against the header: told before anything is inflated."""
    if member.file_size != expected:
        raise InputError(
            f"{path}: member {member.filename!r} is truncated or too long: {expected:,} bytes "
            f"expected, {member.file_size:,} found"
        )
    if member.flag_bits & 1:
        raise InputError(f"{path}: member {member.filename!r} is encrypted")


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
        with reading(self.path):
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


def _open_safetensors(path: Path, how: How) -> Opened:
    file = MappedFile(path)

    def reader(name: str, code: str) -> Callable[[int, int], np.ndarray]:
        return lambda start, stop: decode(file.raw(name)[start:stop], code)

    return Opened(
        [
            PointSource(
                name, f"{path.name}:{name}", entry.shape, entry.code, reader(name, entry.code)
            )
            for name, entry in file.header.tensors.items()
        ]
    )


def _open_pt(path: Path, how: How) -> Opened:
    from hiddenscape.store.importers.pt import load_tensors

    sources = []
    for name, number, shape, dtype, read in load_tensors(path):
        origin = path.name if name == path.stem else f"{path.name}:{name}"
        sources.append(PointSource(name, origin, shape, dtype, read, number))
    return Opened(sources)


def _open_h5(path: Path, how: How) -> Opened:
    from hiddenscape.store.importers.hdf5 import open_h5

    return open_h5(path, how)


def _open_zarr(path: Path, how: How) -> Opened:
    from hiddenscape.store.importers.zarrs import open_zarr

    return open_zarr(path, how)


def _open_h5ad(path: Path, how: How) -> Opened:
    from hiddenscape.store.importers.annotated import open_h5ad

    return open_h5ad(path, how)


def _open_text(path: Path, how: How) -> Opened:
    from hiddenscape.store.importers.tables import open_text

    return open_text(path)


_OPENERS: Mapping[str, Callable[[Path, How], Opened]] = {
    ".npy": _open_npy,
    ".npz": _open_npz,
    ".safetensors": _open_safetensors,
    ".pt": _open_pt,
    ".pth": _open_pt,
    ".h5": _open_h5,
    ".hdf5": _open_h5,
    ".h5ad": _open_h5ad,
    ".zarr": _open_zarr,
    ".csv": _open_text,
    ".txt": _open_text,
}
SUFFIXES: Sequence[str] = tuple(_OPENERS)
