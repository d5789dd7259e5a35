"""Threads for blocks that do not depend on each other: numpy releases the interpreter in loops."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["cores", "in_threads"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def cores() -> int:
    """Cores this process may use: its affinity, or less where ``OMP_NUM_THREADS`` says so.

    Examples
    --------
    >>> cores() >= 1
    True
    """
    affinity = getattr(os, "sched_getaffinity", None)
    have = len(affinity(0)) if affinity else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(have, int(asked)) if asked.isdecimal() else have)


def in_threads(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Results of ``work`` on every item, in order, one thread per core.

    An error or an interruption ends the iteration without starting what still waits.

    Examples
    --------
    >>> list(in_threads(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    waiting = list(items)
    if cores() == 1 or len(waiting) < 2:
        yield from map(work, waiting)
        return
    pool = ThreadPoolExecutor(max_workers=cores())
    try:
        yield from pool.map(work, waiting)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
