"""Passes of one thread, and changes of how a network computes in another, one after the other.

A network reads the name of its attention implementation anew in every block. If another thread
changes it during a pass, the mask is that of one implementation and the attention that of another,
and a causal network may see the future. Passes share; a change is alone.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["alone", "passing"]

_FREE = threading.Condition()
_PASSING: Counter[int] = Counter()
_CHANGING: Counter[int] = Counter()


def _others(counts: Counter[int], me: int) -> bool:
    return any(thread != me for thread in counts)


@contextmanager
def _turn(own: Counter[int], wait_for: tuple[Counter[int], ...]) -> Iterator[None]:
    me = threading.get_ident()
    with _FREE:
        _FREE.wait_for(lambda: not any(_others(counts, me) for counts in wait_for))
        own[me] += 1
    try:
        yield
    finally:
        with _FREE:
            own[me] -= 1
            if not own[me]:
                del own[me]
            _FREE.notify_all()


@contextmanager
def passing() -> Iterator[None]:
    """A forward pass: waits for changes of other threads, not for their passes."""
    with _turn(_PASSING, (_CHANGING,)):
        yield


@contextmanager
def alone() -> Iterator[None]:
    """A change of how a network computes: no other thread is in a pass inside."""
    with _turn(_CHANGING, (_CHANGING, _PASSING)):
        yield
