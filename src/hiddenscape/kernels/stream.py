"""One pass over all pairs in one arithmetic: products block by block, short lists row by row.

Points against themselves: the block of rows a and columns b also serves rows b, so that each
product is made once. Blocks run in threads, one single-threaded product each. Lists that do not fit
into memory together are made panel by panel; products of two panels are then made twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hiddenscape.kernels.arrays import blocks
from hiddenscape.kernels.budget import Plan
from hiddenscape.kernels.screen import Screen
from hiddenscape.kernels.select import decide_short, push_columns, push_rows
from hiddenscape.kernels.spots import Spoiled
from hiddenscape.kernels.threads import cores, in_threads, one_blas_thread
from hiddenscape.kernels.tiles import Tiles, rounds

__all__ = ["Pass", "Step", "Tile", "steps_of"]

_GROUP = 256  # lists that are decided one after the other by one thread


@dataclass(frozen=True, slots=True)
class Tile:
    """One block of products: rows, columns, and whether the columns are served too."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    both: bool

    @property
    def pairs(self) -> int:
        """Products in the block."""
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])

    @property
    def places(self) -> frozenset[int]:
        """The lists that are written: two blocks that share one must not run together."""
        return frozenset((self.rows[0], self.columns[0]) if self.both else (self.rows[0],))


@dataclass(frozen=True, slots=True)
class Step:
    """Blocks that may run in any order; after them the state of a panel can be kept."""

    panel: tuple[int, int]
    tiles: tuple[Tile, ...]
    last: bool

    @property
    def pairs(self) -> int:
        """Products of the step."""
        return sum(tile.pairs for tile in self.tiles)


def steps_of(n: int, plan: Plan) -> list[Step]:
    """All pairs of n rows, each once within a panel, as steps of blocks that hardly collide.

    Inside a panel they are the :func:`hiddenscape.kernels.tiles.rounds` of its blocks.
    """
    out = []
    for low in range(0, n, plan.panel):
        panel = (low, min(low + plan.panel, n))
        mine = [(low + a, low + b) for a, b in blocks(panel[1] - low, plan.block)]
        others = [*blocks(low, plan.block)]
        others += [(panel[1] + a, panel[1] + b) for a, b in blocks(n - panel[1], plan.block)]
        groups = [
            tuple(Tile(min(p), max(p), p[0] != p[1]) for p in pairs) for pairs in rounds(mine)
        ]
        for shift in range(len(others)):
            at = [others[(i + shift) % len(others)] for i in range(len(mine))]
            groups.append(tuple(Tile(a, b, False) for a, b in zip(mine, at, strict=True)))
        out += [Step(panel, g, g is groups[-1]) for g in groups]
    return out


class Pass:
    """The short lists of some rows in one arithmetic.

    ``lower``, ``index``, ``count`` and ``limit`` belong to the rows ``rows``; see
    :mod:`hiddenscape.kernels.select`.
    """

    def __init__(self, screen: Screen, k: int, plan: Plan, rows: np.ndarray) -> None:
        self.screen, self.k, self.plan = screen, k, plan
        self.tiles = Tiles(screen)
        self.near, self.width = self.tiles.near, self.tiles.width
        capacity = plan.capacity
        self.rows = rows
        self.lower = np.empty((len(rows), capacity), dtype=screen.dtype)
        self.index = np.empty((len(rows), capacity), dtype=np.int32)
        self.count = np.zeros(len(rows), dtype=np.int64)
        self.limit = np.full(len(rows), np.inf, dtype=screen.dtype)

    def step(self, step: Step, progress: Callable[[int], object] | None = None) -> None:
        """Offer the pairs of one step to the rows of its panel, which are the rows at hand."""
        low = step.panel[0]

        def work(tile: Tile, worker: int) -> None:
            rows = np.arange(*tile.rows)
            g = self.tiles.multiply(slice(*tile.rows), rows, tile.columns, worker)
            self._offer(g, rows, rows - low, tile.columns[0])
            if tile.both:
                push_columns(
                    g, tile.rows[0], tile.columns[0], tile.columns[0] - low, self.near, self.width,
                    self.k, self.screen.quantum, self.screen.exact, self.lower, self.index,
                    self.count, self.limit,
                )  # fmt: skip

        self.tiles.run(work, step.tiles, lambda tile: tile.places,
                  None if progress is None else lambda tile: progress(tile.pairs))  # fmt: skip

    def offer_all(self) -> None:
        """Offer all columns to rows that belong to no panel."""
        n, m = self.screen.cloud.n, len(self.rows)
        size = min(self.plan.block, max(16, -(-m // cores())))
        parts = list(blocks(m, size))
        pairs = [(rows, columns) for columns in blocks(n, self.plan.block) for rows in parts]

        def work(pair: tuple[tuple[int, int], tuple[int, int]], worker: int) -> None:
            slots = np.arange(*pair[0])
            mine = self.rows[slots]
            g = self.tiles.multiply(mine, mine, pair[1], worker)
            self._offer(g, mine, slots, pair[1][0])

        self.tiles.run(work, pairs, lambda pair: frozenset((pair[0][0],)), None)

    def decide(self, indices: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """Write the lists of all rows but the crowded ones, which are returned.

        Raises
        ------
        Spoiled
            If a recomputed distance lies outside its bounds.
        """
        screen = self.screen

        def work(slots: np.ndarray) -> int:
            return decide_short(
                *screen.cloud.compiled(), screen.shift, self.rows, self.width, self.k,
                screen.quantum, screen.exact, self.lower, self.index, self.count, self.limit,
                slots, indices, distances,
            )  # fmt: skip

        order = self._by_place()
        parts = [order[a:b] for a, b in blocks(len(order), _GROUP)]
        if sum(in_threads(work, parts)):
            raise Spoiled(screen.rung)
        return np.asarray(self.rows[np.isneginf(self.limit)])

    def _by_place(self) -> np.ndarray:
        """The lists in an order in which those that follow each other share many rows.

        Recomputing waits for memory: rows that lists have in common are then in the cache. Every
        row goes to the nearest of some rows of the panel, whatever the products say: the order
        changes no result.
        """
        m, screen = len(self.rows), self.screen
        if screen.kept is None or m < 16 * _GROUP:
            return np.arange(m)
        pivots = self.rows[::_GROUP]
        columns = screen.operand(pivots)
        half = screen.norms[pivots].astype(screen.dtype) / 2
        group = np.empty(m, dtype=np.int64)

        def work(at: tuple[int, int]) -> None:
            g = np.empty((at[1] - at[0], len(pivots)), dtype=screen.dtype)
            screen.product(screen.operand(self.rows[slice(*at)]), columns, g)
            group[slice(*at)] = np.argmax(g - half, axis=1)

        with one_blas_thread():
            for _ in in_threads(work, list(blocks(m, 4 * _GROUP))):
                pass
        return np.argsort(group, kind="stable")

    def _offer(self, g: np.ndarray, rows: np.ndarray, slots: np.ndarray, column: int) -> None:
        push_rows(
            g, rows, column, self.near, self.width, self.k, self.screen.quantum, self.screen.exact,
            slots, self.lower, self.index, self.count, self.limit,
        )  # fmt: skip
