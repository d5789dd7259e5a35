from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from hiddenscape.kernels import threads
from hiddenscape.kernels.threads import apart, in_threads, one_blas_thread


@pytest.fixture(params=[1, 4])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(threads, "cores", lambda: request.param)
    return int(request.param)


def test_items_that_share_a_place_never_run_together(workers: int) -> None:
    pairs = [(a, b) for a in range(6) for b in range(a, 6)]
    busy: set[int] = set()
    seen: list[tuple[int, int]] = []
    done: list[tuple[int, int]] = []
    lock = threading.Lock()

    def work(pair: tuple[int, int], worker: int) -> None:
        assert 0 <= worker < workers
        with lock:
            assert busy.isdisjoint(pair)
            busy.update(pair)
        time.sleep(0.001)
        with lock:
            busy.difference_update(pair)
            seen.append(pair)

    apart(work, pairs, lambda pair: frozenset(pair), done.append)
    assert sorted(seen) == pairs
    assert sorted(done) == pairs


@pytest.mark.parametrize("where", ["work", "done"])
def test_the_first_error_ends_all(workers: int, where: str) -> None:
    ran: list[int] = []

    def work(item: int, _: int) -> None:
        ran.append(item)
        if where == "work" and item == 3:
            raise KeyboardInterrupt

    def done(item: int) -> None:
        if where == "done" and item == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apart(work, list(range(500)), lambda item: frozenset([item]), done)
    assert len(ran) < 500


def test_results_keep_their_order(workers: int) -> None:
    assert list(in_threads(lambda x: x * x, range(50))) == [x * x for x in range(50)]


def test_linear_algebra_gets_its_threads_back() -> None:
    def now() -> list[int]:
        return [lib["num_threads"] for lib in threads._controller().info()]

    np.ones((2, 2)) @ np.ones((2, 2))
    before = now()
    with one_blas_thread():
        with one_blas_thread():
            assert set(now()) <= {1}
        assert set(now()) <= {1}
    assert now() == before
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        1 / 0
    assert now() == before
