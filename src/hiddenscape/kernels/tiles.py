"""Blocks of products, made by several workers: what a search and a count of ranks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hiddenscape.kernels.screen import Screen
from hiddenscape.kernels.spots import check_block
from hiddenscape.kernels.threads import apart, one_blas_thread

__all__ = ["Scratch", "Tiles", "rounds"]

Range = tuple[int, int]


def rounds(parts: Sequence[Range]) -> list[list[tuple[Range, Range]]]:
    """All pairs of parts, each once, in rounds in which no part is in more than two pairs.

    Round s pairs every part with the one s places on, round and round.

    Examples
    --------
    >>> rounds([(0, 1), (1, 2), (2, 3)])[1]
    [((0, 1), (1, 2)), ((1, 2), (2, 3)), ((2, 3), (0, 1))]
    """
    size = len(parts)
    return [
        [
            (parts[i], parts[(i + shift) % size])
            for i in range(size if 2 * shift != size else size // 2)
        ]
        for shift in range(size // 2 + 1)
    ]


class Scratch:
    """One growing array for each worker."""

    def __init__(self, dtype: np.dtype[np.floating]) -> None:
        self._dtype = dtype
        self._held: dict[int, np.ndarray] = {}

    def take(self, worker: int, rows: int, columns: int) -> np.ndarray:
        """An array (rows, columns) of the worker's own, overwritten by its next."""
        size = rows * columns
        if worker not in self._held or self._held[worker].size < size:
            self._held[worker] = np.empty(size, dtype=self._dtype)
        return self._held[worker][:size].reshape(rows, columns)


class Tiles:
    """Makes blocks of products of a screen, and tests each against its bounds."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.near, self.width = screen.near, screen.width
        self._scratch = Scratch(screen.dtype)

    def run(
        self,
        work: Callable[[Any, int], None],
        items: Sequence[Any],
        places: Callable[[Any], frozenset[int]],
        done: Callable[[Any], object] | None,
    ) -> None:
        """:func:`hiddenscape.kernels.threads.apart`, with linear algebra left to the workers."""
        with one_blas_thread(), self.screen.ready():
            apart(work, items, places, done)

    def multiply(
        self, which: slice | np.ndarray, rows: np.ndarray, columns: Range, worker: int
    ) -> np.ndarray:
        """Products of some rows, named twice, with a range of columns.

        Raises
        ------
        Spoiled
            If a tested pair lies outside its bounds.
        """
        g = self._scratch.take(worker, len(rows), columns[1] - columns[0])
        left = self.screen.operand(which)
        same = isinstance(which, slice) and (which.start, which.stop) == columns
        self.screen.product(left, left if same else self.screen.operand(slice(*columns)), g)
        check_block(self.screen, g, rows, columns[0], self.near, self.width)
        return g
