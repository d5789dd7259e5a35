"""What an export takes from a store: sites and rows, as arrays that are read block by block."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.store.arrays import SiteArray
from hiddenscape.store.manifest import token_tensors
from hiddenscape.store.ragged import RaggedArray
from hiddenscape.store.reader import RepresentationSet
from hiddenscape.store.rows import format_rows, rows_path
from hiddenscape.types import Site

__all__ = ["Field", "Selection", "file_stem", "pick_rows", "select"]

_BLOCK_BYTES = 16 * 2**20
_LONGEST_STEM = 100  # file systems take 255 bytes for a whole name
Rows = str | Sequence[int] | np.ndarray | slice | None


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One array of an export.

    Attributes
    ----------
    name : str
        Site key, or the name of a token tensor.
    shape : tuple of int
    dtype : dtype
        Of the blocks; bfloat16 comes widened to float32.
    stored : str
        What the store holds.
    blocks : callable
        Gives an iterator over the array, block by block along the first axis.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stored: str
    blocks: Callable[[], Iterator[np.ndarray]]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def inner(self) -> str:
        """The name inside a container: as it is, unless it could lead out when unpacked."""
        parts = re.split(r"[/\\]", self.name.replace(":", "/"))
        hostile = "\\" in self.name or self.name.startswith("/") or {"", ".", ".."} & {*parts}
        return self.stem if hostile else self.name

    @property
    def stem(self) -> str:
        """The name as a file name."""
        return file_stem(self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Chosen sites and rows of a store.

    Attributes
    ----------
    rs : RepresentationSet
    sites : tuple of Site
        By depth.
    rows : array of int or None
        Row numbers in the order of the export; None = all.
    points : tuple of Field
        One per site with one point per row.
    ragged : tuple of Field
        The flat tokens of the other sites.
    tokens : tuple of Field
        ``offsets`` and what else says which token is which; empty without ragged sites.
    """

    rs: RepresentationSet
    sites: tuple[Site, ...]
    rows: np.ndarray | None
    points: tuple[Field, ...]
    ragged: tuple[Field, ...]
    tokens: tuple[Field, ...]

    @property
    def fields(self) -> tuple[Field, ...]:
        """All arrays."""
        return (*self.points, *self.ragged, *self.tokens)

    @property
    def n_rows(self) -> int:
        """Number of rows of every site."""
        return len(self.rs) if self.rows is None else len(self.rows)

    def table(self) -> dict[str, np.ndarray]:
        """The row table; where rows were picked, ``source_row`` says which they were."""
        columns = self.rs.rows
        if self.rows is None:
            return dict(columns)
        new = {name: values[self.rows] for name, values in columns.items()}
        return {"row": np.arange(self.n_rows), "source_row": self.rows} | {
            name: values for name, values in new.items() if name != "row"
        }

    def table_bytes(self) -> list[bytes]:
        """The bytes of ``rows.csv``: unchanged where all rows are taken."""
        path = rows_path(self.rs.path)
        if self.rows is None and path.exists():
            return [path.read_bytes()]
        return format_rows(self.table())


def file_stem(key: str) -> str:
    """A site key as a file name of its own: module paths may hold anything, of any length.

    Examples
    --------
    >>> file_stem("resid_post.3@mean"), file_stem("module:a/../b")
    ('resid_post.3@mean', 'module_a_.._b+cf68687d')
    """
    stem = re.sub(r"[^A-Za-z0-9@._-]", "_", key)
    if stem == key and len(stem) <= _LONGEST_STEM and not stem.startswith("."):
        return stem
    return f"{stem[:_LONGEST_STEM]}+{hashlib.blake2b(key.encode(), digest_size=4).hexdigest()}"


def pick_rows(rows: Rows, n: int) -> np.ndarray | None:
    """Row numbers from a selection: numbers, a mask, a slice, or text such as ``0:100,250,-1``.

    Raises
    ------
    InputError
        If a row is outside, occurs twice, or nothing is selected.

    Examples
    --------
    >>> pick_rows("0:3,7,-1", 10).tolist()
    [0, 1, 2, 7, 9]
    """
    if rows is None:
        return None
    if isinstance(rows, str):
        found = np.concatenate([_part(part.strip(), n) for part in rows.split(",")])
    elif isinstance(rows, slice):
        found = np.arange(n)[rows]
    else:
        found = np.asarray(rows)
        if found.dtype == bool:
            if found.shape != (n,):
                raise InputError(f"a mask needs shape ({n},), got {found.shape}")
            found = np.flatnonzero(found)
    if found.ndim != 1 or found.size == 0 or found.dtype.kind not in "iu":
        raise InputError(f"rows must be a list of row numbers, got {rows!r}")
    found = found.astype(np.int64)
    outside = (found < -n) | (found >= n)
    if outside.any():
        raise InputError(f"row {found[outside][0]} is outside 0 to {n - 1}")
    found = np.where(found < 0, found + n, found)
    if len(np.unique(found)) < len(found):
        raise InputError("a row is selected twice")
    return found


def _part(text: str, n: int) -> np.ndarray:
    match = re.fullmatch(r"(-?\d+)|(-?\d*):(-?\d*)", text)
    if match is None:
        raise InputError(f"rows {text!r}: expected a number or START:STOP, such as 0:100")
    if match[1]:
        return np.array([int(match[1])])
    ends = [int(end) if end else None for end in (match[2], match[3])]
    return np.arange(n)[slice(*ends)]


def select(rs: RepresentationSet, sites: Sequence[str] | None, rows: Rows) -> Selection:
    """Choose sites (keys, names or patterns; all for None) and rows.

    Raises
    ------
    SiteError
        If a site is not stored.
    InputError
        If rows cannot be picked, or ragged sites disagree about their tokens.
    """
    wanted = _sites(rs, sites)
    picked = pick_rows(rows, len(rs))
    points = tuple(
        _point_field(rs, array, picked)
        for site in wanted
        if isinstance(array := rs[site.key], SiteArray)
    )
    arrays = [a for site in wanted if isinstance(a := rs[site.key], RaggedArray)]
    ragged = tuple(_ragged_field(rs, array, picked) for array in arrays)
    return Selection(rs, wanted, picked, points, ragged, _token_fields(arrays, picked))


def _sites(rs: RepresentationSet, wanted: Sequence[str] | None) -> tuple[Site, ...]:
    if wanted is None:
        return rs.sites
    keys: set[str] = set()
    for name in [wanted] if isinstance(wanted, str) else wanted:
        fits = {s.key for s in rs.sites if fnmatchcase(s.name, name) or fnmatchcase(s.key, name)}
        keys |= fits or {rs.find(name)}
    return tuple(site for site in rs.sites if site.key in keys)


def _point_field(rs: RepresentationSet, array: SiteArray, rows: np.ndarray | None) -> Field:
    step = max(1, _BLOCK_BYTES // max(1, array.nbytes // len(array)))

    def blocks() -> Iterator[np.ndarray]:
        count = len(array) if rows is None else len(rows)
        for at in range(0, count, step):
            yield array[at : at + step] if rows is None else array[rows[at : at + step]]
            rs.release()

    shape = (len(array) if rows is None else len(rows), *array.shape[1:])
    return Field(array.site.key, shape, array.dtype, array.stored_dtype, blocks)


def _ragged_field(rs: RepresentationSet, array: RaggedArray, rows: np.ndarray | None) -> Field:
    if rows is None:
        flat = array.flat
        if not len(flat):
            return Field(
                array.site.key, flat.shape, flat.dtype, flat.stored_dtype, lambda: iter(())
            )
        whole = _point_field(rs, flat, None)
        return Field(array.site.key, flat.shape, flat.dtype, flat.stored_dtype, whole.blocks)
    lengths = np.diff(array.offsets)[rows]

    def blocks() -> Iterator[np.ndarray]:
        for row in rows:
            yield array[int(row)]
        rs.release()

    shape = (int(lengths.sum()), array.width)
    return Field(array.site.key, shape, array.dtype, array.stored_dtype, blocks)


def _token_fields(arrays: Sequence[RaggedArray], rows: np.ndarray | None) -> tuple[Field, ...]:
    if not arrays:
        return ()
    first = _tokens(arrays[0], rows)
    for other in arrays[1:]:
        for name, values in _tokens(other, rows).items():
            if not np.array_equal(values, first[name]):
                raise InputError(
                    f"sites {arrays[0].site.key!r} and {other.site.key!r} hold other tokens "
                    f"({name} differs): export them one by one"
                )
    return tuple(
        Field(name, values.shape, values.dtype, values.dtype.name, _once(values))
        for name, values in first.items()
    )


def _once(values: np.ndarray) -> Callable[[], Iterator[np.ndarray]]:
    return lambda: iter([values])


def _tokens(array: RaggedArray, rows: np.ndarray | None) -> Mapping[str, np.ndarray]:
    offsets = array.offsets
    columns = {name: getattr(array, name) for name in token_tensors() if name != "offsets"}
    columns["token_content"] = columns["token_content"].view(np.uint8)
    if rows is None:
        return {"offsets": offsets, **columns}
    lengths = np.diff(offsets)[rows]
    new = np.concatenate([[0], np.cumsum(lengths)])
    # The token numbers of the picked rows, one row after the other.
    picked = np.arange(new[-1]) + np.repeat(offsets[rows] - new[:-1], lengths)
    return {"offsets": new, **{name: values[picked] for name, values in columns.items()}}
