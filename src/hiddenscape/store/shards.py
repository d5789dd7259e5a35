"""The safetensors container: header in, header out, tensors as views of a mapped file.

Written here rather than through the package of that name: the bytes then depend on nothing but the
content (S18), a shard is streamed without a second copy in memory, bf16 passes as raw words, and
reading needs numpy and json only (S19). Files are plain safetensors; a test reads them back with
the package.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.errors import InputError, ShardError

__all__ = [
    "CODES",
    "Header",
    "MappedFile",
    "content_hash",
    "decode",
    "header_bytes",
    "read_header",
    "serialize",
]

_LENGTH = 8
_MIN_PREFETCH = 64 * 2**10
_MAX_PREFETCH = 64 * 2**20
_MAX_HEADER = 100_000_000  # the limit of the safetensors format

_STORED = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",  # numpy has no bf16: raw words, see decode()
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
_SIZES = {code: np.dtype(kind).itemsize for code, kind in _STORED.items()}
CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "uint8": "U8",
}
"""Names of dtypes in a manifest and in a safetensors header."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a header; ``start`` and ``stop`` count bytes from the beginning of the file."""

    code: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says of itself, checked against its size."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, Entry]


def decode(words: np.ndarray, code: str) -> np.ndarray:
    """Values of a stored array: bf16 words widened to float32 (exact), anything else as it is."""
    if code != "BF16":
        return words
    return (words.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _bytes(array: np.ndarray) -> memoryview:
    # A zero-size array cannot be cast.
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def content_hash(tensors: Mapping[str, np.ndarray]) -> str:
    """BLAKE2b (256 bits, hex) over the bytes of the tensors in the order of their names."""
    digest = hashlib.blake2b(digest_size=32)
    for _, array in sorted(tensors.items()):
        digest.update(_bytes(np.ascontiguousarray(array)))
    return digest.hexdigest()


def serialize(
    tensors: Mapping[str, tuple[str, np.ndarray]], metadata: Mapping[str, str]
) -> tuple[int, Iterator[bytes | memoryview]]:
    """A safetensors file as its size and an iterator over its parts.

    ``tensors`` maps a name to (code, little-endian contiguous array); the array of a ``BF16``
    tensor holds raw uint16 words. The order in the file is by falling item size, then name, so
    that every tensor is aligned.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name][1].itemsize, name))
    for name, (code, array) in tensors.items():
        if array.dtype != np.dtype(_STORED[code]) or not array.flags.c_contiguous:
            raise InputError(f"tensor {name!r}: {code} needs a contiguous {_STORED[code]} array")
    layout = {n: (tensors[n][0], tensors[n][1].shape, tensors[n][1].itemsize) for n in order}
    head = header_bytes(layout, metadata)

    def parts() -> Iterator[bytes | memoryview]:
        yield head
        for name in order:
            yield _bytes(tensors[name][1])

    return len(head) + sum(array.nbytes for _, array in tensors.values()), parts()


def header_bytes(
    layout: Mapping[str, tuple[str, tuple[int, ...], int]], metadata: Mapping[str, str]
) -> bytes:
    """What a safetensors file begins with: length and header.

    ``layout`` maps names to (code, shape, bytes per number), in the order of the file.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name, (code, shape, itemsize) in layout.items():
        stop = at + math.prod(shape) * itemsize
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [at, stop]}
        at = stop
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_LENGTH, "little") + text


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file; no tensor is read.

    Raises
    ------
    ShardError
        If the file cannot be read, is truncated or too long, or its header is not a valid one
        (size limit, JSON, types, shapes, gaps or overlaps between tensors).
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(_LENGTH)
            length = int.from_bytes(head, "little")
            if len(head) < _LENGTH or length > size - _LENGTH:
                raise ShardError(f"{path}: truncated: {size:,} bytes do not hold its header")
            if length > _MAX_HEADER:
                raise ShardError(f"{path}: a header of {length:,} bytes is over the limit")
            text = stream.read(length)
    except OSError as error:
        if isinstance(error, ShardError):
            raise
        raise ShardError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        fields = json.loads(text.decode("utf-8"), object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError) as error:
        raise ShardError(f"{path}: its header is not valid JSON ({error})") from error
    if not isinstance(fields, dict):
        raise ShardError(f"{path}: its header is not a JSON object")
    metadata = fields.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ShardError(f"{path}: header metadata must map text to text")
    tensors = {name: _entry(path, name, entry, _LENGTH + length) for name, entry in fields.items()}
    _check_tiling(path, tensors, _LENGTH + length, size)
    return Header(metadata, tensors)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _natural(value: Any) -> bool:
    return type(value) is int and value >= 0


def _entry(path: Path, name: str, entry: Any, origin: int) -> Entry:
    if not isinstance(entry, dict):
        raise ShardError(f"{path}: tensor {name!r} has no description")
    code, shape, offsets = (entry.get(f) for f in ("dtype", "shape", "data_offsets"))
    if not isinstance(code, str) or code not in _STORED:
        raise ShardError(f"{path}: tensor {name!r} has dtype {code!r}, which is not read here")
    # map rather than generators: a store has thousands of entries, all read when it is opened.
    if not isinstance(shape, list) or not all(map(_natural, shape)):
        raise ShardError(f"{path}: tensor {name!r} has a bad shape {shape!r}")
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(map(_natural, offsets))):
        raise ShardError(f"{path}: tensor {name!r} has bad offsets {offsets!r}")
    start, stop = offsets
    if stop - start != math.prod(shape) * _SIZES[code]:
        raise ShardError(
            f"{path}: tensor {name!r}: offsets {offsets} do not hold shape {shape} of {code}"
        )
    return Entry(code, tuple(shape), origin + start, origin + stop)


def _check_tiling(path: Path, tensors: Mapping[str, Entry], origin: int, size: int) -> None:
    at = origin
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != at:
            raise ShardError(f"{path}: tensor {name!r} leaves a gap or overlaps another")
        at = entry.stop
    if at > size:
        raise ShardError(f"{path}: truncated: {at:,} bytes expected, {size:,} found")
    if at < size:
        raise ShardError(f"{path}: {size - at:,} bytes follow the last tensor")


class MappedFile:
    """A safetensors file whose tensors are read-only views of the mapped file."""

    __slots__ = ("_map", "_pages", "header", "path")

    def __init__(self, path: Path, header: Header | None = None) -> None:
        self.path = path
        self.header = read_header(path) if header is None else header
        self._map: np.ndarray | None = None
        self._pages: mmap.mmap | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapped file travels to another process as its name, never as its bytes.
        return (MappedFile, (self.path, self.header))

    def raw(self, name: str) -> np.ndarray:
        """Tensor ``name`` as stored (bf16 as uint16 words): a view, nothing is read yet."""
        mapped = self._mapped()
        entry = self.header.tensors[name]
        if entry.stop > len(mapped):
            raise ShardError(f"{self.path}: it became shorter after it was opened")
        words = mapped[entry.start : entry.stop].view(_STORED[entry.code])
        return words.reshape(entry.shape)

    def _mapped(self) -> np.ndarray:
        if self._map is None:
            try:
                # Not numpy's memmap, which takes several times as long to open.
                with self.path.open("rb") as stream:
                    self._pages = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise ShardError(f"{self.path}: cannot be mapped ({error})") from error
            self._map = np.frombuffer(self._pages, np.uint8)
        return self._map

    def prefetch(self, name: str, start: int, stop: int) -> None:
        """Say that the rows start to stop - 1 of a tensor will be read soon; changes nothing else.

        Without it a mapped file is read from the disk page by page.
        """
        entry = self.header.tensors[name]
        if not hasattr(mmap, "MADV_WILLNEED") or not entry.shape[0]:
            return
        row = (entry.stop - entry.start) // entry.shape[0]
        first = (entry.start + start * row) // mmap.PAGESIZE * mmap.PAGESIZE
        length = min(entry.start + stop * row - first, _MAX_PREFETCH)
        if length < _MIN_PREFETCH:
            return
        if first + length <= len(self._mapped()) and self._pages is not None:
            self._pages.madvise(mmap.MADV_WILLNEED, first, length)

    def read_into(self, name: str, start: int, stop: int, out: np.ndarray) -> None:
        """Copy the rows start to stop - 1 of a tensor, not widened, into a contiguous array.

        For whole copies: a plain read is faster than a fault per page, and maps nothing.
        """
        entry = self.header.tensors[name]
        row = (entry.stop - entry.start) // entry.shape[0]
        if not hasattr(os, "preadv") or sys.byteorder != "little" or not out.size:
            out[...] = self.raw(name)[start:stop]
            return
        rest = _bytes(out)
        at = entry.start + start * row
        try:
            with self.path.open("rb", buffering=0) as stream:
                while rest:
                    count = os.preadv(stream.fileno(), [rest], at)
                    if not count:
                        raise ShardError(f"{self.path}: it became shorter after it was opened")
                    rest, at = rest[count:], at + count
        except OSError as error:
            if isinstance(error, ShardError):
                raise
            raise ShardError(f"{self.path}: cannot be read ({error.strerror or error})") from error

    def release(self) -> None:
        """Give back the memory of pages that were read; they are read again when needed.

        Pages of a mapped file count as memory of the process as long as it is mapped.
        """
        if self._pages is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._pages.madvise(mmap.MADV_DONTNEED)
