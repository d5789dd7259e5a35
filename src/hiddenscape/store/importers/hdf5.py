"""Arrays in HDF5 files. Nothing that points out of the file is followed, no gap is filled."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.store.importers.sources import How, Opened, PointSource, reading
from hiddenscape.store.optional import needs

__all__ = ["array_source", "check_whole", "open_h5", "opened"]

_MAX_CHUNK = 2**31  # one chunk is unpacked at a time


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file, open for reading; a file left open by a killed writer is named as such."""
    h5py = needs("h5py")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        text = str(error)
        if "h5clear" in text or "open for write" in text:
            raise InputError(
                f"{path}: marked as open for writing: its writer is at work or was killed. If no "
                f"process writes it, clear the mark with `h5clear -s {path.name}` and import again"
            ) from error
        if "truncated" in text:
            raise InputError(
                f"{path}: truncated, its writer was killed: what it holds cannot be trusted, make "
                "it again"
            ) from error
        raise
    with file:
        yield file


def open_h5(path: Path, how: How) -> Opened:
    """Every data set of two or more axes, or those that ``how.within`` fits."""
    from hiddenscape.store.importers.gather import inner_sites

    items: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if hasattr(item, "shape"):
            items[name] = item

    with opened(path) as file:
        # Hard links only: a soft or external link could lead anywhere.
        file.visititems(visit)
        sites = inner_sites(path, {n: len(i.shape) for n, i in items.items()}, how.within)
        return Opened([array_source(path, items[name], *site) for name, site in sites.items()])


def array_source(path: Path, item: Any, site: str, number: int | None = None) -> PointSource:
    """A data set as points; checked to be whole, and to lie in this file."""
    check_whole(path, item)
    name = item.name
    return PointSource(
        site, f"{path.name}:{name}", item.shape, item.dtype.name, _reader(path, name), number
    )


def _reader(path: Path, name: str) -> Callable[[int, int], np.ndarray]:
    def read(start: int, stop: int) -> np.ndarray:
        with reading(path), opened(path) as file:
            return np.asarray(file[name][start:stop])

    return read


def check_whole(path: Path, item: Any) -> None:
    """Refuse a data set that lies elsewhere, holds objects, or has parts never written.

    Raises
    ------
    InputError
        Naming the data set and the first missing chunk.
    """
    where = f"{path}: data set {item.name!r}"
    if item.is_virtual or item.external:
        raise InputError(f"{where} lies in other files, which are not followed: copy it into one")
    if item.dtype.hasobject or item.dtype.kind == "V":
        raise InputError(f"{where} holds {item.dtype}, expected numbers")
    if math.prod(item.shape) == 0:
        return
    if item.chunks is None:
        if item.id.get_storage_size() == 0:
            raise InputError(f"{where} was declared but never written: it would read as zeros")
        return
    size = math.prod(item.chunks) * item.dtype.itemsize
    if size > _MAX_CHUNK:
        raise InputError(f"{where} has chunks of {size:,} bytes, over the limit: rechunk it")
    grid = [-(-n // c) for n, c in zip(item.shape, item.chunks, strict=True)]
    there = item.id.get_num_chunks()
    if there < math.prod(grid):
        first = _first_missing(item, grid, there)
        raise InputError(
            f"{where} has {math.prod(grid) - there} of {math.prod(grid)} chunks that were never "
            f"written, the first with rows {first * item.chunks[0]} to "
            f"{min((first + 1) * item.chunks[0], item.shape[0]) - 1}: they would read as zeros"
        )


def _first_missing(item: Any, grid: list[int], there: int) -> int:
    """Number along the first axis of the first missing chunk."""
    # Not an array over the grid, which a small file may declare to be of any size.
    count = Counter(
        item.id.get_chunk_info(i).chunk_offset[0] // item.chunks[0] for i in range(there)
    )
    return next(i for i in range(grid[0]) if count[i] < math.prod(grid[1:]))
