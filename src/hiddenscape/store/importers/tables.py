"""Numbers as text: one site per .csv or .txt file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.store.importers.sources import Opened, PointSource, reading

__all__ = ["open_text"]

_MAX_LINE = 64 * 2**20


def open_text(path: Path) -> Opened:
    """A table of numbers, separated by commas, tabs or spaces; a first line of names may be there.

    It is read through once to count it, and again for the values.
    """
    lines = _Lines(path)
    width = rows = 0
    for number, cells in lines:
        values = _numbers(cells)
        if values is None:
            if rows == 0 and number == lines.first:  # names of columns
                width = len(cells)
                lines.skip = number
                continue
            bad = next(c for c in cells if _numbers([c]) is None)
            raise InputError(
                f"{path}: line {number}: {bad!r} is no number: give labels apart (--labels)"
            )
        if width and len(cells) != width:
            raise InputError(f"{path}: line {number} has {len(cells)} numbers, not {width}")
        width = len(cells)
        rows += 1
    table = _Table(path, lines.skip, width, rows)
    return Opened([PointSource(path.stem, path.name, (rows, width), "float64", table.read)])


def _numbers(cells: list[str]) -> list[float] | None:
    if any("_" in cell for cell in cells):  # Python reads 1_000 as a number
        return None
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return None


def _cells(line: str) -> list[str]:
    # An empty cell between commas is a missing number: it must not move the others.
    for separator in (",", "\t"):
        if separator in line:
            return [cell.strip() for cell in line.split(separator)]
    return line.split()


class _Lines:
    """Lines that are not empty, as cells, with their numbers."""

    def __init__(self, path: Path, skip: int = 0) -> None:
        self.path, self.skip = path, skip
        self.first = 0

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        with self.path.open(encoding="utf-8-sig") as stream:
            number = 0
            while line := stream.readline(_MAX_LINE):
                number += 1
                if len(line) == _MAX_LINE:
                    raise InputError(f"{self.path}: line {number} is over {_MAX_LINE:,} long")
                cells = _cells(line.strip())
                if not cells or number <= self.skip:
                    continue
                self.first = self.first or number
                yield number, cells


class _Table:
    """Rows of a text file, read forward."""

    def __init__(self, path: Path, skip: int, width: int, rows: int) -> None:
        self.path, self.skip, self.width, self.rows = path, skip, width, rows
        self._lines: Iterator[tuple[int, list[str]]] | None = None
        self._at = 0

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop - 1."""
        if self._lines is None or start < self._at:
            self._lines, self._at = iter(_Lines(self.path, self.skip)), 0
        out = np.empty((stop - start, self.width))
        with reading(self.path):
            while self._at < stop:
                _, cells = next(self._lines)
                if self._at >= start:
                    out[self._at - start] = [float(cell) for cell in cells]
                self._at += 1
        return out
