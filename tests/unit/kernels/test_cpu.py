"""The fast kernel against the slow one, bit for bit, on clouds chosen to break it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.kernels import cpu, reference
from hiddenscape.kernels.arrays import cloud
from hiddenscape.neighbors.duplicates import find_duplicates


def grid(side: int, d: int) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(side)] * d), -1).reshape(-1, d)


def hostile() -> dict[str, np.ndarray]:
    r = np.random.default_rng(0)
    return {
        "normal": r.normal(size=(120, 7)),
        "offset": r.normal(size=(120, 40)).astype("f4") + 3000,
        "grid": grid(5, 3),
        "copies": np.repeat(r.normal(size=(25, 3)), 5, 0)[r.permutation(125)],
        "binary": r.integers(0, 2, (120, 6)),
        "huge": r.normal(size=(90, 4)) * 1e300,
        "tiny": r.normal(size=(90, 4)) * 1e-310,
        "both": np.vstack([r.normal(size=(45, 3)) * 1e-200, r.normal(size=(45, 3)) * 1e200]),
        "outlier": np.vstack([r.normal(size=(90, 5)), r.normal(size=(2, 5)) * 1e9]).astype("f4"),
        "clusters": np.vstack([r.normal(size=(50, 8)) * 1e-5, 1 + r.normal(size=(50, 8)) * 1e-5]),
        "half": r.normal(size=(120, 3)).astype("f2"),
        "simplex": np.eye(60),
        "constant": np.ones((30, 4)),
        "halves": r.integers(0, 4, (100, 3)) / 2,
        "half alike": np.vstack([np.tile(r.normal(size=(1, 6)), (50, 1)), r.normal(size=(50, 6))]),
        "large whole": r.integers(-(2**40), 2**40, (80, 3)),
        "line": np.arange(100.0)[:, None] ** 2,
    }


@pytest.mark.parametrize("name", hostile())
def test_neighbors_equal_the_reference(name: str) -> None:
    x = cloud(hostile()[name])
    for k in (1, 4, x.n - 1):
        want = reference.nearest(x, k)
        for precision in ("auto", "float32", "float64"):
            for block in (None, 7):
                got = cpu.nearest(x, k, precision=precision, block_rows=block)
                assert np.array_equal(got[0], want[0])
                assert np.array_equal(got[1], want[1])


@pytest.mark.parametrize("name", hostile())
def test_ranks_equal_the_reference(name: str) -> None:
    x = cloud(hostile()[name])
    r = np.random.default_rng(1)
    queries = r.permutation(x.n)[:23]
    targets = (queries[:, None] + r.integers(1, x.n, size=(23, 5))) % x.n
    targets[:, 0] = reference.nearest(x, 1)[0][queries, 0]
    want = reference.mid_ranks(x, queries, targets)
    same = find_duplicates(x.original).representative
    for representative in (None, same):
        for block in (None, 7):
            got = cpu.mid_ranks(
                x, queries, targets, block_rows=block, representative=representative
            )
            assert np.array_equal(got, want)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(5, 40),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(-20, 20),
)
def test_integers_tie_the_same_way_everywhere(
    seed: int, n: int, d: int, spread: int, offset: int
) -> None:
    r = np.random.default_rng(seed)
    x = cloud(r.integers(0, spread + 1, size=(n, d)) + offset)
    k = int(r.integers(1, n))
    want, got = reference.nearest(x, k), cpu.nearest(x, k, precision="float32")
    assert np.array_equal(got[0], want[0])
    targets = (np.arange(n)[:, None] + r.integers(1, n, size=(n, 2))) % n
    ranks = cpu.mid_ranks(x, np.arange(n), targets)
    assert np.array_equal(ranks, reference.mid_ranks(x, np.arange(n), targets))


def test_rows_that_float32_cannot_tell_apart_climb(rng: np.random.Generator) -> None:
    tight = rng.normal(size=(400, 4)) * 1e-6
    mixed = np.vstack([tight, 1 + tight, rng.normal(size=(2200, 4)) * 30])
    x = cloud(mixed[rng.permutation(3000)])
    got = cpu.nearest(x, 1, precision="float32", block_rows=500)
    assert "float32 2" in got[2]
    assert "float64" in got[2]
    want = cpu.nearest(x, 1, precision="float64")
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])


def test_progress_counts_rows(rng: np.random.Generator) -> None:
    x = cloud(rng.normal(size=(50, 3)))
    seen: list[tuple[int, int]] = []
    cpu.nearest(x, 2, block_rows=20, progress=lambda a, b: seen.append((a, b)))
    assert seen == [(20, 50), (40, 50), (50, 50)]
    seen.clear()
    targets = (np.arange(50)[:, None] + 1) % 50
    cpu.mid_ranks(
        x, np.arange(50), targets, block_rows=30, progress=lambda a, b: seen.append((a, b))
    )
    assert seen == [(30, 50), (50, 50)]


def test_small_batches_of_pairs_change_nothing(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    x = cloud(rng.integers(0, 3, size=(80, 3)))
    targets = (np.arange(80)[:, None] + np.arange(1, 4)) % 80
    want = cpu.nearest(x, 5)[:2], cpu.mid_ranks(x, np.arange(80), targets)
    monkeypatch.setattr(cpu, "_PAIRS", 3)
    got = cpu.nearest(x, 5)[:2], cpu.mid_ranks(x, np.arange(80), targets)
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])
