"""Threads for blocks that do not depend on each other: numpy releases the interpreter in loops."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

__all__ = ["apart", "cores", "in_threads", "one_blas_thread"]

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


def apart(
    work: Callable[[_Item, int], object],
    items: Sequence[_Item],
    places: Callable[[_Item], frozenset[Hashable]],
    done: Callable[[_Item], object] | None = None,
) -> None:
    """Run ``work(item, number of the worker)`` on all items, never two that share a place at once.

    One worker per core; ``done(item)`` is called after each item, in the thread of its worker, one
    call at a time. The first
    error ends all: what has not begun is left, what runs is awaited, the error is raised.

    Examples
    --------
    >>> seen = []
    >>> apart(lambda item, worker: seen.append(item), [1, 2, 3], lambda item: frozenset([0]))
    >>> sorted(seen)
    [1, 2, 3]
    """
    workers = min(cores(), len(items))
    if workers < 2:
        for item in items:
            work(item, 0)
            if done is not None:
                done(item)
        return
    change = threading.Condition()
    waiting = {number: (item, places(item)) for number, item in enumerate(items)}
    busy: set[Hashable] = set()
    failed: list[BaseException] = []

    def next_item() -> tuple[_Item, frozenset[Hashable]] | None:
        with change:
            while waiting and not failed:
                free = (n for n, (_, at) in waiting.items() if busy.isdisjoint(at))
                chosen = next(free, None)
                if chosen is not None:
                    item, at = waiting.pop(chosen)
                    busy.update(at)
                    return item, at
                change.wait()
        return None

    def run(worker: int) -> None:
        while (taken := next_item()) is not None:
            item, at = taken
            error: BaseException | None = None
            try:
                work(item, worker)
            except BaseException as caught:  # noqa: BLE001 - raised again by the caller's thread
                error = caught
            with change:
                try:
                    if error is None and done is not None:
                        done(item)
                except BaseException as caught:  # noqa: BLE001 - as above
                    error = caught
                if error is not None:
                    failed.append(error)
                busy.difference_update(at)
                change.notify_all()

    threads = [threading.Thread(target=run, args=(w,), daemon=True) for w in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as interruption:
        with change:
            failed.append(interruption)
            change.notify_all()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        raise
    if failed:
        raise failed[0]


_ALONE = threading.Lock()
_inside: list[Any] = []


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let every caller of linear algebra have one thread, while there are callers of our own.

    Threads of a library that wait for work keep a core busy, and blocks run in threads already. The
    setting belongs to the process: the first to enter makes it, the last to leave takes it back.
    """
    with _ALONE:
        limit = _controller().limit(limits=1, user_api="blas") if not _inside else None
        _inside.append(limit)
    try:
        yield
    finally:
        with _ALONE:
            # The limiter that was there first is the one that knows what to restore.
            if len(_inside) == 1:
                _inside[0].restore_original_limits()
            _inside.pop()


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
