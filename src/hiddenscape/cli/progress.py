"""Progress on stderr: a bar with the time left on a terminal, else a line every half minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["LINE_EVERY", "Lines", "show_progress"]

LINE_EVERY = 30.0
"""Seconds between lines where stderr is not a terminal."""

Advance = Callable[[str, int, int], None]


@contextmanager
def show_progress(stream: TextIO | None = None) -> Iterator[Advance]:
    """Give a function ``advance(stage, done, total)`` that shows how far the work is."""
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield Lines(stream)
        return
    # rich is imported only where a bar is drawn.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(file=stream),
    )
    tasks: dict[str, int] = {}

    def advance(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]

    with bars:
        yield advance


class Lines:
    """One line per :data:`LINE_EVERY` seconds: counts, rate and time left.

    Examples
    --------
    >>> import io
    >>> times = iter([0.0, 10.0, 40.0])
    >>> out = io.StringIO()
    >>> advance = Lines(out, clock=lambda: next(times))
    >>> advance("extract", 0, 100)
    >>> advance("extract", 10, 100)
    >>> advance("extract", 40, 100)
    >>> out.getvalue()
    'extract: 40 of 100, 1.0 per second, 1 min left\\n'
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._stage = ""
        self._started = self._first = 0.0
        self._spoken: float | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note how far a stage is; write a line if the last one is old."""
        now = self._clock()
        if self._spoken is None:
            self._spoken = now
        if stage != self._stage:
            # What was already there when a stage resumes says nothing about the rate.
            self._stage, self._started, self._first = stage, now, done
        if now - self._spoken < LINE_EVERY:
            return
        self._spoken = now
        line = f"{stage}: {done} of {total}"
        rate = (done - self._first) / (now - self._started) if now > self._started else 0.0
        if rate > 0:
            line += f", {rate:.1f} per second, {_duration((total - done) / rate)} left"
        self._stream.write(line + "\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
