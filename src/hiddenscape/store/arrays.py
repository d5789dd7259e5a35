"""The points of one site as a virtual array over mapped shards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from hiddenscape.errors import IncompleteStore, InputError
from hiddenscape.store.shards import MappedFile, decode
from hiddenscape.types import Site

__all__ = ["SiteArray", "inside", "name_ranges"]

_BLOCK_BYTES = 64 * 2**20


class _RowError(InputError, IndexError):
    """A row number outside the array; IndexError ends a loop over rows as Python expects."""


def name_ranges(spans: tuple[tuple[int, int], ...], limit: int = 4) -> str:
    """Half-open row ranges in words, neighbouring ones joined."""
    merged: list[list[int]] = []
    for start, stop in spans:
        if merged and merged[-1][1] == start:
            merged[-1][1] = stop
        else:
            merged.append([start, stop])
    words = [f"{start} to {stop - 1}" for start, stop in merged]
    more = f" and {len(words) - limit} more ranges" if len(words) > limit else ""
    return "rows " + ", ".join(words[:limit]) + more


class SiteArray:
    """The points of one site: a read-only virtual array (n, d) over mapped shards.

    Supports ``len``, ``shape``, ``dtype``, ``np.asarray``, iteration over rows, and indexing by
    row: an integer, a slice, a list of row numbers in any order, or a mask. A slice inside one
    shard is a view of the file (no copy); everything that is returned is read-only.

    Attributes
    ----------
    site : Site
    shape : tuple of int
        (n, d), or (n, ...) where a site was stored so.
    dtype : dtype
        What reading gives: bfloat16 is widened to float32, exactly.
    stored_dtype : str
        What the file holds.
    content_hash : str
        Hash of the site's name, layout and of the content hashes of its shards. Two stores with
        equal shards have equal hashes; nothing is read to find it.
    missing : tuple of (start, stop)
        Row ranges that an unfinished store does not hold yet.
    """

    def __init__(
        self,
        site: Site,
        shape: tuple[int, ...],
        stored_dtype: str,
        parts: tuple[tuple[int, int, MappedFile], ...],
        missing: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self.site = site
        self.shape = shape
        self.stored_dtype = stored_dtype
        self.dtype = np.dtype("float32" if stored_dtype == "bfloat16" else stored_dtype)
        self.missing = missing
        self._parts = parts
        self._starts = np.array([start for start, _, _ in parts], dtype=np.int64)
        self._stops = np.array([stop for _, stop, _ in parts], dtype=np.int64)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes that the whole array takes in memory."""
        return self.size * self.dtype.itemsize

    @cached_property
    def content_hash(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self.site.key, self.shape, self.stored_dtype)).encode())
        for start, stop, file in self._parts:
            digest.update(f"{start}:{stop}:{file.header.metadata['content_hash']};".encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<SiteArray {self.site.key} {self.shape} {self.stored_dtype}>"

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks():
            yield from block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[:]
        in_place = len(self._parts) == 1 and self.stored_dtype != "bfloat16"
        cast = dtype is not None and np.dtype(dtype) != whole.dtype
        if copy is False and (cast or not in_place):
            raise ValueError(
                f"site {self.site.key!r} cannot become one array without a copy: it lies in "
                f"{len(self._parts)} shards as {self.stored_dtype}"
            )
        if cast:
            return whole.astype(dtype)
        if copy and in_place:
            return whole.copy()
        if not in_place:
            whole.flags.writeable = True  # made just now, nobody else holds it
        return whole

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, tuple):
            return self._of_tuple(index)
        if index is Ellipsis:
            index = slice(None)
        if isinstance(index, slice):
            found = self._of_slice(index)
        elif isinstance(index, (int, np.integer)) and not isinstance(index, (bool, np.bool_)):
            row = int(inside(np.asarray(int(index)), len(self)))
            found = self._of_slice(slice(row, row + 1))[0]
        else:
            found = self._of_rows(np.asarray(index))
        if found.flags.writeable:
            found.flags.writeable = False
        return found

    def blocks(self, rows: int | None = None) -> Iterator[np.ndarray]:
        """The rows in order, ``rows`` at a time (default: about 64 MB), each block read-only.

        The blocks are the same whatever the shards are.
        """
        if rows is None:
            rows = max(1, _BLOCK_BYTES // max(1, self.nbytes // max(1, len(self))))
        if rows < 1:
            raise InputError(f"a block needs at least 1 row, got {rows}")
        for start in range(0, len(self), rows):
            yield self[start : start + rows]

    def _of_tuple(self, index: tuple[Any, ...]) -> np.ndarray:
        if not index:
            return self[:]
        first, rest = index[0], index[1:]
        if first is Ellipsis and rest:
            first, rest = slice(None), (Ellipsis, *rest)
        if any(not isinstance(i, (int, np.integer, slice)) and i is not Ellipsis for i in rest):
            raise InputError("columns are picked by a slice or a number: take the rows first")
        block = self[first]
        lead = block.ndim - (self.ndim - 1)  # axes that the rows take: 0 for one row, 1 for many
        found: np.ndarray = block[(*(slice(None),) * lead, *rest)]
        return found

    def _of_slice(self, index: slice) -> np.ndarray:
        start, stop, step = index.indices(len(self))
        if step != 1:
            return self._of_rows(np.arange(start, stop, step))
        if stop <= start:
            return np.empty((0, *self.shape[1:]), self.dtype)
        at = int(np.searchsorted(self._starts, start, side="right")) - 1
        if at >= 0 and stop <= self._stops[at]:
            first = int(self._starts[at])
            self._parts[at][2].prefetch(self.site.key, start - first, stop - first)
            return self._read(at, slice(start - first, stop - first))
        self._need(start, stop)
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        while start < stop:
            first, last = int(self._starts[at]), min(int(self._stops[at]), stop)
            where = slice(len(out) - (stop - start), len(out) - (stop - last))
            if self.stored_dtype == "bfloat16":
                out[where] = self._read(at, slice(start - first, last - first))
            else:
                file = self._parts[at][2]
                file.read_into(self.site.key, start - first, last - first, out[where])
            start, at = last, at + 1
        return out

    def _of_rows(self, index: np.ndarray) -> np.ndarray:
        if index.dtype == bool:
            if index.shape != (len(self),):
                raise InputError(f"a mask needs shape ({len(self)},), got {index.shape}")
            index = np.flatnonzero(index)
        if index.size == 0:
            return np.empty((*index.shape, *self.shape[1:]), self.dtype)
        if index.dtype.kind not in "iu":
            raise InputError(f"rows are picked by whole numbers, got {index.dtype}")
        rows = inside(index.reshape(-1), len(self))
        part = np.searchsorted(self._starts, rows, side="right") - 1
        lost = (part < 0) | (rows >= self._stops[part]) if len(self._parts) else rows >= 0
        if lost.any():
            row = int(rows[lost][0])
            self._need(row, row + 1)
        out = np.empty((rows.size, *self.shape[1:]), self.dtype)
        for at in np.unique(part):
            chosen = np.flatnonzero(part == at)
            out[chosen] = self._read(int(at), rows[chosen] - self._starts[at])
        return out.reshape(*index.shape, *self.shape[1:])

    def _read(self, at: int, rows: slice | np.ndarray) -> np.ndarray:
        file = self._parts[at][2]
        return decode(file.raw(self.site.key)[rows], file.header.tensors[self.site.key].code)

    def _need(self, start: int, stop: int) -> None:
        lost = tuple((a, b) for a, b in self.missing if a < stop and start < b)
        if lost:
            raise IncompleteStore(
                f"site {self.site.key!r}: {name_ranges(lost)} are not written yet: finish the "
                "extraction, or pick rows that are there",
                lost,
            )


def inside(rows: np.ndarray, n: int) -> np.ndarray:
    """Row numbers with negative ones counted from the end; refuses those outside."""
    rows = rows.astype(np.int64, copy=False)
    wrong = (rows < -n) | (rows >= n)
    if wrong.any():
        raise _RowError(f"row {rows[wrong].flat[0]} is outside 0 to {n - 1}")
    return np.where(rows < 0, rows + n, rows)
