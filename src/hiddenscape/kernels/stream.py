"""One pass over all pairs in one arithmetic: products block by block, short lists row by row.

Points against themselves: the block of rows a and columns b also serves rows b, so that each
product is made once. Lists that do not fit into memory together are made panel by panel; products
of two panels are then made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hiddenscape.kernels.arrays import blocks
from hiddenscape.kernels.budget import Plan
from hiddenscape.kernels.screen import Screen
from hiddenscape.kernels.select import decide_short, push_columns, push_rows
from hiddenscape.kernels.spots import Spoiled, check_block
from hiddenscape.kernels.threads import cores, in_threads

__all__ = ["Pass", "steps_of"]

_ROWS_PER_THREAD = 128


@dataclass(frozen=True, slots=True)
class _Step:
    """Rows start to stop of a panel, and the columns they meet."""

    panel: tuple[int, int]
    start: int
    stop: int
    last: bool

    def columns(self, n: int, block: int) -> Iterator[tuple[int, int]]:
        """Columns in ascending order: outside the panel, and inside from the own rows on."""
        low, high = self.panel
        yield from blocks(low, block)
        yield from ((a, min(a + block, high)) for a in range(self.start, high, block))
        yield from ((a, min(a + block, n)) for a in range(high, n, block))

    def work(self, n: int) -> int:
        """Pairs of the step."""
        return (self.stop - self.start) * (n - (self.start - self.panel[0]))


def steps_of(n: int, plan: Plan) -> list[_Step]:
    """The units of a pass over all rows, in order; each leaves the lists in a resumable state."""
    out = []
    for low in range(0, n, plan.panel):
        high = min(low + plan.panel, n)
        for start in range(low, high, plan.block):
            stop = min(start + plan.block, high)
            out.append(_Step((low, high), start, stop, stop == high))
    return out


class Pass:
    """The short lists of some rows in one arithmetic.

    ``lower``, ``index``, ``count`` and ``limit`` belong to the rows ``rows``; see
    :mod:`hiddenscape.kernels.select`.
    """

    def __init__(self, screen: Screen, k: int, plan: Plan, rows: np.ndarray) -> None:
        self.screen, self.k, self.plan = screen, k, plan
        self.near, self.width = screen.near, screen.width
        capacity = plan.capacity
        self.rows = rows
        self.lower = np.empty((len(rows), capacity), dtype=screen.dtype)
        self.index = np.empty((len(rows), capacity), dtype=np.int32)
        self.count = np.zeros(len(rows), dtype=np.int64)
        self.limit = np.full(len(rows), np.inf, dtype=screen.dtype)
        self._products = np.empty(plan.block * plan.block, dtype=screen.dtype)

    def step(self, step: _Step, progress: Callable[[int], object] | None = None) -> None:
        """Offer to the rows of a panel all pairs of one step, each once."""
        low, high = step.panel
        n = self.screen.cloud.n
        mine = np.arange(step.start, step.stop)
        left = self.screen.operand(slice(step.start, step.stop))
        for a, b in step.columns(n, self.plan.block):
            diagonal = a == step.start
            right = left if diagonal else self.screen.operand(slice(a, b))
            g = self._multiply(left, right, mine, a, b)
            self._push_rows(g, mine, mine - low, a)
            if not diagonal and low <= a < high:
                self._push_columns(g, step.start, a, a - low)
            if progress is not None:
                progress((step.stop - step.start) * (b - a))

    def offer_all(self) -> None:
        """Offer all columns to rows that belong to no panel."""
        n = self.screen.cloud.n
        for start, stop in blocks(len(self.rows), self.plan.block):
            mine, slots = self.rows[start:stop], np.arange(start, stop)
            left = self.screen.operand(mine)
            for a, b in blocks(n, self.plan.block):
                g = self._multiply(left, self.screen.operand(slice(a, b)), mine, a, b)
                self._push_rows(g, mine, slots, a)

    def decide(self, indices: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """Write the lists of all rows but the crowded ones, which are returned.

        Raises
        ------
        Spoiled
            If a recomputed distance lies outside its bounds.
        """
        screen = self.screen

        def work(part: tuple[int, int]) -> int:
            return decide_short(
                *screen.cloud.compiled(), screen.shift, self.rows, self.width, self.k,
                screen.quantum, screen.exact, self.lower, self.index, self.count, self.limit,
                *part, indices, distances,
            )  # fmt: skip

        if sum(in_threads(work, list(blocks(len(self.rows), 4 * _ROWS_PER_THREAD)))):
            raise Spoiled(screen.rung)
        return np.asarray(self.rows[np.isneginf(self.limit)])

    def _multiply(
        self,
        left: tuple[np.ndarray, ...],
        right: tuple[np.ndarray, ...],
        rows: np.ndarray,
        a: int,
        b: int,
    ) -> np.ndarray:
        screen = self.screen
        g = self._products[: len(rows) * (b - a)].reshape(len(rows), b - a)
        screen.product(left, right, g)
        check_block(screen, g, rows, a, self.near, self.width)
        return g

    def _push_rows(self, g: np.ndarray, rows: np.ndarray, slots: np.ndarray, a: int) -> None:
        screen = self.screen

        def work(part: tuple[int, int]) -> None:
            push_rows(
                g, rows, a, self.near, self.width, self.k, screen.quantum, screen.exact,
                slots, self.lower, self.index, self.count, self.limit, *part,
            )  # fmt: skip

        _over(work, len(rows))

    def _push_columns(self, g: np.ndarray, start: int, a: int, slot: int) -> None:
        screen = self.screen

        def work(part: tuple[int, int]) -> None:
            push_columns(
                g, start, a, slot, self.near, self.width, self.k, screen.quantum, screen.exact,
                self.lower, self.index, self.count, self.limit, *part,
            )  # fmt: skip

        _over(work, g.shape[1])


def _over(work: Callable[[tuple[int, int]], None], n: int) -> None:
    """Share n rows among the threads."""
    size = max(_ROWS_PER_THREAD, -(-n // cores()))
    for _ in in_threads(work, list(blocks(n, size))):
        pass
