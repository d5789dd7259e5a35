"""What an import found in the points: counts that decide how far they can be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hiddenscape.store.reader import RepresentationSet, open_store

__all__ = ["ImportReport", "SiteCounter", "SiteReport"]


@dataclass(frozen=True, slots=True)
class SiteReport:
    """Counts over the points of one imported site.

    Attributes
    ----------
    key, depth : str, float
        The site.
    origin, source_dtype : str
        Where it came from and what it was; ``stored_dtype`` is what the store holds.
    rows, columns : int
        Of a ragged site, rows are tokens here and below.
    nonfinite_rows : int
        Rows with NaN or infinity.
    zero_rows : int
        Rows in which every value is zero.
    constant_columns : int
        Columns that have one value in every row.
    duplicate_rows : int
        Rows that repeat an earlier row exactly.
    """

    key: str
    depth: float
    origin: str
    source_dtype: str
    stored_dtype: str
    rows: int
    columns: int
    nonfinite_rows: int
    zero_rows: int
    constant_columns: int
    duplicate_rows: int
    ragged: bool = False

    def warnings(self) -> Iterator[str]:
        """Sentences on what deserves a look."""
        what = "token" if self.ragged else "row"
        for count, words in (
            (self.nonfinite_rows, f"of {self.rows} {what}s hold NaN or infinity"),
            (self.zero_rows, f"of {self.rows} {what}s are all zero"),
            (self.duplicate_rows, f"of {self.rows} {what}s repeat an earlier {what} exactly"),
            (self.constant_columns, f"of {self.columns} columns are constant"),
        ):
            if count:
                yield f"{self.key}: {count} {words}"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What :func:`hiddenscape.import_points` made and found.

    Attributes
    ----------
    path : Path
        The run folder.
    sites : tuple of SiteReport
        Ordered by depth.
    remarks : tuple of str
        What else deserves a look: files that were not read, poolings taken here.
    """

    path: Path
    sites: tuple[SiteReport, ...]
    remarks: tuple[str, ...] = ()

    @property
    def representations(self) -> RepresentationSet:
        """The store, opened."""
        return open_store(self.path)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on NaN, zero rows, duplicates and constant columns; empty if all is well."""
        return (*self.remarks, *(s for site in self.sites for s in site.warnings()))


class SiteCounter:
    """Counts over the blocks of one site; holds 16 bytes per row and a few rows."""

    def __init__(self, columns: int) -> None:
        # Multilinear hashing (Carter and Wegman 1979, doi:10.1016/0022-0000(79)90044-8) with fixed
        # odd multipliers: 128 bits, so rows that hash alike are alike.
        rng = np.random.default_rng([20231, columns])
        words = 2 * columns  # a value takes one or two words of 32 bits
        self._factors = rng.integers(0, 2**63, (2, words), dtype=np.uint64) * 2 + 1
        self._hashes: list[np.ndarray] = []
        self._first: np.ndarray | None = None
        self._varies = np.zeros(columns, dtype=bool)
        self.nonfinite_rows = self.zero_rows = self.rows = 0

    def add(self, block: np.ndarray) -> None:
        """Count a contiguous block (rows, columns) of float32 or float64."""
        self.rows += len(block)
        self.nonfinite_rows += int((~np.isfinite(block).all(axis=1)).sum())
        self.zero_rows += int((~block.any(axis=1)).sum())
        if self._first is None:
            self._first = block[:1].copy()
        self._varies |= (block != self._first).any(axis=0)
        self._hashes.append(self._hash(block))

    def _hash(self, block: np.ndarray) -> np.ndarray:
        out = np.zeros((len(block), 2), np.uint64)
        step = max(1, 2**20 // max(1, block.shape[1]))
        for at in range(0, len(block), step):
            part = block[at : at + step] + 0.0  # minus zero equals zero
            words = np.ascontiguousarray(part).view(np.uint32)
            for j in range(2):
                factors = self._factors[j, : words.shape[1]]
                out[at : at + step, j] = (words * factors).sum(axis=1, dtype=np.uint64)
        return out

    @property
    def constant_columns(self) -> int:
        """Columns with one value in every row."""
        if not self.rows:
            return 0
        return int((~self._varies).sum())

    @property
    def duplicate_rows(self) -> int:
        """Rows that repeat an earlier row."""
        if not self._hashes:
            return 0
        hashes = np.concatenate(self._hashes).view("V16").ravel()
        return self.rows - len(np.unique(hashes))
