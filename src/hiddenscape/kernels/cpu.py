"""Exact neighbours on the processor: a ladder of arithmetics screens, differences decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import Cloud, blocks, check_range
from hiddenscape.kernels.budget import DEFAULT_MEMORY, Plan, plan_search
from hiddenscape.kernels.certificate import Certificate
from hiddenscape.kernels.checkpoint import Checkpoint, check_path
from hiddenscape.kernels.count import mid_ranks
from hiddenscape.kernels.machine import ladder
from hiddenscape.kernels.products import RUNGS
from hiddenscape.kernels.projection import DIRECTIONS, FEWEST_COLUMNS, project
from hiddenscape.kernels.screen import Screen, largest_whole, make_screen
from hiddenscape.kernels.select import decide_full
from hiddenscape.kernels.spots import Spoiled, faulty
from hiddenscape.kernels.stream import Pass, steps_of
from hiddenscape.kernels.threads import cores, in_threads

__all__ = ["PRECISIONS", "Progress", "mid_ranks", "nearest"]

Progress = Callable[[int, int], object]
"""Called with (rows done, rows in all) after every block."""

PRECISIONS = ("auto", *RUNGS)

_SMALL = 1 << 28  # multiply-adds below which float32 is not worth a second precision
_FULL = 1 << 26  # bytes of products with all rows, for rows that no list could hold
_PROBE = 64  # rows on which a rung is tried first
_PROBED = 4096  # rows from which on that pays


def nearest(
    points: Cloud,
    k: int,
    *,
    block_rows: int | None = None,
    memory: int | None = None,
    precision: str = "auto",
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> tuple[np.ndarray, np.ndarray, Certificate]:
    """The ``k`` nearest rows of every row by (distance, row number), itself left out.

    A row's candidates are all rows that the proven bound of an arithmetic does not place beyond
    the k-th nearest; their distances are recomputed from differences and sorted. Rows with more
    candidates than a list holds climb to the next arithmetic. Every recomputed distance, and a
    sample of the others, is compared with its bounds: if one lies outside, the arithmetic is given
    up for all rows. The result does not depend on any of the options.

    Parameters
    ----------
    points : Cloud
    k : int
        1 to n - 1.
    block_rows : int, optional
        Rows and columns of a block of products.
    memory : int, optional
        Bytes of working memory beside the points and the results.
    precision : str
        The first arithmetic to try; ``auto`` takes what is fastest on this machine.
    progress : callable, optional
        Called with (rows done, rows in all).
    checkpoint : Path, optional
        A file that holds the state of a long search; a search that finds its own state goes on.

    Returns
    -------
    indices : int32 array (n, k)
    distances : float64 array (n, k)
    certificate : Certificate
        Which arithmetic proved each row.

    Raises
    ------
    InputError
        For an unknown precision, too little memory or distances beyond float64.

    Examples
    --------
    >>> from hiddenscape.kernels.arrays import cloud
    >>> nearest(cloud([[0.0], [1.0], [3.0]]), 1)[0].ravel().tolist()
    [1, 0, 1]
    """
    if precision not in PRECISIONS:
        raise InputError(f"no precision {precision!r}; there are: {', '.join(PRECISIONS)}")
    search = _Search(points, k, block_rows, memory or DEFAULT_MEMORY, progress, checkpoint)
    search.climb(precision)
    check_range(search.distances)
    return search.indices, search.distances, search.certificate()


class _Search:
    """The state of one search: what is known of each row, and which rows still wait."""

    def __init__(
        self,
        points: Cloud,
        k: int,
        block: int | None,
        memory: int,
        progress: Progress | None,
        checkpoint: Path | None,
    ) -> None:
        n = points.n
        self.points, self.k, self.block, self.memory = points, k, block, memory
        self.progress, self.path = progress, checkpoint
        self.saved: Checkpoint | None = None
        if checkpoint is not None:
            check_path(checkpoint)
        self.indices = np.empty((n, k), dtype=np.int32)
        self.distances = np.empty((n, k), dtype=np.float64)
        self.names: list[str] = []
        self.rung = np.zeros(n, dtype=np.uint8)
        self.waiting: np.ndarray | None = None  # None: all rows
        self.whole = largest_whole(points)

    def climb(self, precision: str) -> None:
        """Rung by rung, until no row waits."""
        n, d = self.points.n, self.points.d
        names = ladder(precision, small=n * n * d <= _SMALL)
        for name, _ in names:  # too little memory must not show after hours
            self._plan(name)
        if precision == "auto" and names[0][0] != RUNGS[-1] and n >= _PROBED:
            self._project()
        for name, unit in names:
            if self._none_waits():
                break
            plan, screen = self._prepare(name, unit)
            if not screen.thin and self._promising(screen, plan):
                self._attempt(screen, plan)
        if not self._none_waits():
            self._last_resort(screen)
        if self.saved is not None:
            self.saved.remove()
        if self.progress is not None:
            self.progress(n, n)

    def _none_waits(self) -> bool:
        return self.waiting is not None and not self.waiting.size

    def _attempt(self, screen: Screen, plan: Plan) -> None:
        """One rung; an arithmetic that breaks its word proves nothing."""
        run = self._all if self.waiting is None else self._some
        try:
            crowded = run(screen, plan)
        except Spoiled:
            if screen.rung == RUNGS[-1]:
                raise faulty(screen.rung) from None
            return
        self._record(screen, crowded)

    def _project(self) -> None:
        """Few coordinates first, where they say enough."""
        if self.points.d < FEWEST_COLUMNS:
            return
        try:
            plan = plan_search(
                self.points.n, DIRECTIONS + 1, self.k, memory=self.memory, block=self.block,
                itemsize=4, copies=1, workers=cores(), spare=max(128, min(4 * self.k, 1024)),
            )  # fmt: skip
        except InputError:
            return  # no room for a rung that is not needed
        if not plan.keep:
            return
        full = make_screen(self.points, "float32", self.whole, keep=False)
        screen = None if full.thin else project(self.points, self.k, plan.capacity, full)
        if screen is not None and self._promising(screen, plan):
            self._attempt(screen, plan)

    def certificate(self) -> Certificate:
        """Which rung proved each row."""
        return Certificate(tuple(self.names), self.rung)

    def _plan(self, name: str) -> Plan:
        return plan_search(
            self.points.n, self.points.d, self.k, memory=self.memory, block=self.block,
            itemsize=8 if name == "float64" else 4, copies=1 + (name == "bfloat16x3"),
            workers=cores(),
        )  # fmt: skip

    def _prepare(self, name: str, unit: bool) -> tuple[Plan, Screen]:
        plan = self._plan(name)
        return plan, make_screen(self.points, name, self.whole, keep=plan.keep, unit=unit)

    def _promising(self, screen: Screen, plan: Plan) -> bool:
        """Whether most of a few rows can be proven: otherwise the rung only costs time."""
        n = self.points.n
        if screen.rung == RUNGS[-1] or screen.exact or self.waiting is not None or n < _PROBED:
            return True
        probe = Pass(screen, self.k, plan, np.arange(0, n, n // _PROBE))
        try:
            probe.offer_all()
        except Spoiled:
            return False
        return float(np.isneginf(probe.limit).mean()) < 0.5

    def _all(self, screen: Screen, plan: Plan) -> np.ndarray:
        """All rows against themselves; the rows that stay crowded."""
        n = self.points.n
        steps = steps_of(n, plan)
        total, done = sum(s.pairs for s in steps), 0
        crowded: list[np.ndarray] = []
        # Only a state on disk needs to know what the bounds are made of.
        made_of = "" if self.path is None else screen.fingerprint
        saved = Checkpoint(self.path, self.points, (self.k, plan, made_of))
        self.saved = saved
        first = saved.open(self.indices, self.distances, crowded)
        current: Pass | None = None

        def report(pairs: int) -> None:
            nonlocal done
            done += pairs
            if self.progress is not None:
                self.progress(min(n - 1, n * done // total), n)

        for number, step in enumerate(steps):
            if number < first:
                done += step.pairs
                continue
            if current is None:
                current = Pass(screen, self.k, plan, np.arange(*step.panel))
                if number == first:
                    saved.restore(current)
            current.step(step, report)
            if step.last:
                crowded.append(current.decide(self.indices, self.distances))
                current = None
            saved.save(number + 1, step.panel, current, self.indices, self.distances, crowded)
        return np.concatenate(crowded)

    def _some(self, screen: Screen, plan: Plan) -> np.ndarray:
        """The waiting rows against all; those that stay crowded."""
        assert self.waiting is not None
        crowded = []
        for a, b in blocks(len(self.waiting), max(plan.panel, plan.block)):
            part = Pass(screen, self.k, plan, self.waiting[a:b])
            part.offer_all()
            crowded.append(part.decide(self.indices, self.distances))
        return np.concatenate(crowded)

    def _last_resort(self, screen: Screen) -> None:
        """Crowded rows of the last rung: their products with all rows at once."""
        assert self.waiting is not None
        n = self.points.n
        near, width = screen.near, screen.width
        size = max(1, min(_FULL, self.memory // 4) // (8 * n))
        for a, b in blocks(len(self.waiting), size):
            rows = self.waiting[a:b]
            g = np.empty((len(rows), n))
            left = screen.operand(rows)
            for low, high in blocks(n, n if screen.kept is not None else 1024):
                part = np.empty((len(rows), high - low))
                screen.product(left, screen.operand(slice(low, high)), part)
                g[:, low:high] = part

            def work(part: tuple[int, int], g: np.ndarray = g, rows: np.ndarray = rows) -> int:
                return decide_full(
                    *self.points.compiled(), screen.shift, g, rows, near, width, self.k,
                    screen.quantum, screen.exact, *part, self.indices, self.distances,
                )  # fmt: skip

            if sum(in_threads(work, list(blocks(len(rows), 16)))):
                raise faulty(screen.rung)
        self._record(screen, np.empty(0, dtype=np.int64))

    def _record(self, screen: Screen, crowded: np.ndarray) -> None:
        """Rows that waited and are not crowded are proven."""
        name = "whole numbers" if screen.exact else screen.rung
        if name not in self.names:
            self.names.append(name)
        proven = slice(None) if self.waiting is None else self.waiting
        self.rung[proven] = self.names.index(name)
        self.waiting = crowded
