"""Reading a store: every site is a virtual array over mapped shards; opening reads no tensor."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.errors import IncompleteStore, InputError, SiteError, StoreError
from hiddenscape.store.manifest import Manifest, read_manifest
from hiddenscape.store.rows import label_columns, read_rows, rows_path
from hiddenscape.store.shards import MappedFile, decode
from hiddenscape.store.writer import check_shard, shard_files
from hiddenscape.types import Mask, Site

__all__ = ["RepresentationSet", "SiteArray", "open_store", "store_folder"]

_BLOCK_BYTES = 64 * 2**20


class _RowError(InputError, IndexError):
    """A row number outside the array; IndexError ends a loop over rows as Python expects."""


def store_folder(path: str | Path) -> Path:
    """The folder with the manifest: ``path`` itself or ``path/acts``.

    Raises
    ------
    StoreError
        If there is none; says what was looked for.
    """
    path = Path(path)
    for folder in (path, path / "acts"):
        if (folder / "manifest.json").is_file():
            return folder
    if not path.exists():
        raise StoreError(f"{path}: no such folder: give a run folder or a store")
    raise StoreError(
        f"{path}: no store here (neither manifest.json nor acts/manifest.json): give a folder made "
        "by extract or import"
    )


def open_store(path: str | Path, *, partial: bool = False) -> RepresentationSet:
    """Open the store of a run for reading.

    Parameters
    ----------
    path : path
        A run folder, or the store inside it (``RUN/acts``).
    partial : bool
        Open also where rows are still missing. Row numbers stay what they will be; touching a
        missing row raises.

    Returns
    -------
    RepresentationSet

    Raises
    ------
    StoreError
        If there is no store, or its manifest cannot be read.
    ShardError
        If a shard is damaged or belongs to another store; names the file.
    IncompleteStore
        If rows are missing and ``partial`` is false; names the ranges.
    """
    folder = store_folder(path)
    manifest = read_manifest(folder / "manifest.json")
    parts = tuple(
        (span[0], span[1], MappedFile(file, check_shard(file, span, manifest)))
        for span, file in shard_files(folder).items()
    )
    have = {(start, stop) for start, stop, _ in parts}
    missing = tuple(span for span in manifest.ranges if span not in have)
    if missing and not partial:
        raise IncompleteStore(
            f"{folder}: {_ranges(missing)} of {manifest.rows} are missing: run the same command "
            "again to finish it, or open what is there with partial=True",
            missing,
        )
    return RepresentationSet(folder, manifest, parts, missing)


def _ranges(spans: tuple[tuple[int, int], ...], limit: int = 4) -> str:
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
            row = int(_inside(np.asarray(int(index)), len(self)))
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
            rows = max(1, _BLOCK_BYTES // max(1, self.nbytes // len(self)))
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
            return self._read(at, slice(start - first, stop - first))
        self._need(start, stop)
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        while start < stop:
            first, last = int(self._starts[at]), min(int(self._stops[at]), stop)
            where = slice(len(out) - (stop - start), len(out) - (stop - last))
            out[where] = self._read(at, slice(start - first, last - first))
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
        rows = _inside(index.reshape(-1), len(self))
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
                f"site {self.site.key!r}: {_ranges(lost)} are not written yet: finish the "
                "extraction, or pick rows that are there",
                lost,
            )


def _inside(rows: np.ndarray, n: int) -> np.ndarray:
    rows = rows.astype(np.int64, copy=False)
    wrong = (rows < -n) | (rows >= n)
    if wrong.any():
        raise _RowError(f"row {rows[wrong].flat[0]} is outside 0 to {n - 1}")
    return np.where(rows < 0, rows + n, rows)


class RepresentationSet:
    """All sites of a store over the same rows in the same order. Made by :func:`open_store`.

    ``rs["resid_post.7@mean"]`` is a :class:`SiteArray`; ``rs["resid_post.7"]`` suffices where the
    site was stored with one pooling only. ``len(rs)`` is the number of rows.

    Attributes
    ----------
    path : Path
        The store's folder.
    manifest : Manifest
    sites : tuple of Site
        Ordered by depth.
    keys : tuple of str
        ``NAME@POOLING`` of each site, in that order.
    partial : bool
        Whether rows are missing.
    missing : tuple of (start, stop)
        Which.
    """

    __iter__ = None  # len counts rows, a loop would run over sites: say which with .items()

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        parts: tuple[tuple[int, int, MappedFile], ...],
        missing: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.sites = manifest.sites
        self.keys = tuple(site.key for site in self.sites)
        self.missing = missing
        self._parts = parts

    @property
    def partial(self) -> bool:
        return bool(self.missing)

    @property
    def run_path(self) -> Path:
        """The folder with ``rows.csv``: the run folder, where the store is its ``acts``."""
        return rows_path(self.path).parent

    def __len__(self) -> int:
        return self.manifest.rows

    def __repr__(self) -> str:
        gap = f", {_ranges(self.missing)} missing" if self.missing else ""
        return f"<RepresentationSet {self.path}: {len(self.sites)} sites, {len(self)} rows{gap}>"

    def __contains__(self, key: object) -> bool:
        return key in self.keys

    def __getitem__(self, key: str | Site) -> SiteArray:
        site = self.sites[self.keys.index(self.find(key))]
        entry = self.manifest.entries[site.key]
        shape = (len(self), *entry["shape"])
        return SiteArray(site, shape, entry["dtype"], self._parts, self.missing)

    def find(self, key: str | Site) -> str:
        """The full key of a site given by full key, or by name where it has one pooling only.

        Raises
        ------
        SiteError
            If the name is unknown (names the nearest ones) or stands for several poolings.
        """
        wanted = key.key if isinstance(key, Site) else key
        if not isinstance(wanted, str):
            raise InputError(f"sites are picked by name, got {key!r}: rows are picked in a site")
        if wanted in self.keys:
            return wanted
        same = [site.key for site in self.sites if site.name == wanted]
        if len(same) == 1:
            return same[0]
        if same:
            raise SiteError(f"site {wanted!r} was stored with several poolings: say one of {same}")
        names = [*self.keys, *dict.fromkeys(site.name for site in self.sites)]
        near = difflib.get_close_matches(wanted, names, n=3) or list(self.keys[:6])
        raise SiteError(f"no site {wanted!r} in {self.path}: did you mean one of {near}?")

    def items(self) -> Iterator[tuple[Site, SiteArray]]:
        """Sites and their points, by depth."""
        return ((site, self[site.key]) for site in self.sites)

    @cached_property
    def _table(self) -> Mapping[str, np.ndarray]:
        path = rows_path(self.path)
        if not path.exists():
            return {"row": np.arange(len(self))}
        return read_rows(path, n=len(self), skip=("text",))

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Every column of ``rows.csv``, typed; the column ``row`` alone where there is no file."""
        path = rows_path(self.path)
        return read_rows(path, n=len(self)) if path.exists() else dict(self._table)

    @property
    def ids(self) -> np.ndarray:
        """Row ids of the data set; row numbers where there are none."""
        return self._table.get("id", self._table["row"])

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """Label columns by name."""
        return label_columns(self._table)

    @cached_property
    def status(self) -> np.ndarray:
        """uint8 (n,): 0 ok, 1 empty, 2 skipped, 3 failed; 255 where a row is not written yet."""
        return self._row_tensor("status", 255)

    @cached_property
    def n_tokens(self) -> np.ndarray:
        """int32 (n,): real tokens of each row; -1 = unknown."""
        return self._row_tensor("n_tokens", -1)

    @cached_property
    def n_content(self) -> np.ndarray:
        """int32 (n,): content tokens of each row; -1 = unknown."""
        return self._row_tensor("n_content", -1)

    def _row_tensor(self, name: str, fill: int) -> np.ndarray:
        out = np.full(len(self), fill, dtype="uint8" if name == "status" else "int32")
        for start, stop, file in self._parts:
            out[start:stop] = file.raw(name)
        out.flags.writeable = False
        return out

    def nonfinite_rows(self) -> dict[str, np.ndarray]:
        """For each site, the numbers of the rows that hold NaN or infinity. Reads every value."""
        found = {}
        for site, points in self.items():
            bad = []
            start = 0
            for block in points.blocks():
                finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
                bad.append(np.flatnonzero(~finite) + start)
                start += len(block)
            found[site.key] = np.concatenate(bad)
        return found

    def finite_rows(self) -> Mask:
        """Mask of the rows that are finite at every site.

        Rows never move: to leave rows out, use this mask in every site at once, labels included.
        """
        mask = np.ones(len(self), dtype=bool)
        for bad in self.nonfinite_rows().values():
            mask[bad] = False
        return mask
