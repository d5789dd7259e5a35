"""The fast kernel against the slow one, bit for bit, on clouds chosen to break it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError
from hiddenscape.kernels import cpu, reference, stream
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
        for precision in cpu.PRECISIONS:
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
    order = rng.permutation(3000)
    x = cloud(mixed[order])
    got = cpu.nearest(x, 1, precision="float32", block_rows=500)
    assert set(got[2].counts()) == {"float32", "float64"}
    crowded = got[2].rung == got[2].rungs.index("float64")
    assert (order[crowded] < 800).mean() > 0.9  # the others have a whole cluster for neighbours
    want = cpu.nearest(x, 1, precision="float64")
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])


def test_a_rung_that_would_prove_little_is_left_out(rng: np.random.Generator) -> None:
    x = cloud(np.repeat(rng.normal(size=(5, 6)) * 1e4, 1000, 0) + rng.normal(size=(5000, 6)) * 1e-4)
    assert cpu.nearest(x, 3, precision="float32")[2].counts() == {"float64": 5000}


def test_crowds_that_no_precision_tells_apart(rng: np.random.Generator) -> None:
    """Two hundred rows at one distance from each other, to the last bit: longer than any list."""
    x = cloud(np.eye(250) * 0.1)
    got = cpu.nearest(x, 3, precision="float32")
    want = reference.nearest(x, 3)
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])


def test_progress_counts_rows(rng: np.random.Generator) -> None:
    x = cloud(rng.normal(size=(50, 3)))
    seen: list[tuple[int, int]] = []
    cpu.nearest(x, 2, block_rows=20, progress=lambda a, b: seen.append((a, b)))
    done = [a for a, _ in seen]
    assert done == sorted(done)
    assert done[-1] == 50
    assert max(done[:-1]) < 50
    assert {b for _, b in seen} == {50}
    seen.clear()
    targets = (np.arange(50)[:, None] + 1) % 50
    for queries in (np.arange(50), np.arange(50)[::-1].copy()):
        seen.clear()
        cpu.mid_ranks(
            x, queries, targets if queries[0] == 0 else (targets[::-1] + 1) % 50,
            block_rows=30, progress=lambda a, b: seen.append((a, b)),
        )  # fmt: skip
        assert seen[-1] == (50, 50)
        assert [a for a, _ in seen] == sorted(a for a, _ in seen)


@pytest.mark.parametrize("precision", ["bfloat16", "bfloat16x3", "float32", "float64"])
def test_little_memory_changes_nothing(precision: str, rng: np.random.Generator) -> None:
    """Operands made anew, lists in panels: products of two panels are made twice."""
    x = cloud(rng.normal(size=(700, 30)).astype("f4"))
    want = cpu.nearest(x, 5)[:2]
    seen: list[int] = []
    got = cpu.nearest(
        x, 5, memory=400_000, block_rows=16, precision=precision,
        progress=lambda a, _: seen.append(a),
    )  # fmt: skip
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])
    assert seen == sorted(seen)
    targets = (np.arange(700)[:, None] + np.arange(1, 4)) % 700
    assert np.array_equal(
        cpu.mid_ranks(x, np.arange(700), targets, memory=90_000, precision=precision),
        cpu.mid_ranks(x, np.arange(700), targets),
    )


def test_too_little_memory() -> None:
    x = cloud(np.eye(100))
    with pytest.raises(InputError, match="at least"):
        cpu.nearest(x, 5, memory=5000)
    with pytest.raises(InputError, match="too few for rows of 100 columns"):
        cpu.mid_ranks(x, np.arange(100), (np.arange(100)[:, None] + 1) % 100, memory=5000)


def test_too_little_memory_shows_before_the_work() -> None:
    """The last rung needs most: it is asked first."""
    r = np.random.default_rng(3)
    x = cloud(r.normal(size=(900, 300)))
    seen: list[int] = []
    with pytest.raises(InputError, match="at least"):
        cpu.nearest(
            x, 5, memory=950_000, precision="float32", block_rows=64,
            progress=lambda a, _: seen.append(a),
        )  # fmt: skip
    assert not seen


def test_unknown_precision() -> None:
    with pytest.raises(InputError, match="no precision 'half'; there are: auto, bfloat16"):
        cpu.nearest(cloud(np.eye(4)), 1, precision="half")


def test_distances_beyond_float64() -> None:
    x = cloud(np.array([[1.7e308, 1.7e308], [-1.7e308, -1.7e308], [0, 0]]))
    with pytest.raises(InputError, match="exceed float64"):
        cpu.nearest(x, 2)


def test_ranks_full_of_ties_choose_their_precision(rng: np.random.Generator) -> None:
    x = cloud(rng.integers(0, 3, size=(2000, 40)) * 0.1)
    queries = np.arange(0, 2000, 40)
    targets = (queries[:, None] + rng.integers(1, 2000, size=(50, 3))) % 2000
    want = reference.mid_ranks(x, queries, targets)
    assert np.array_equal(cpu.mid_ranks(x, queries, targets), want)
    every = (np.arange(2000)[:, None] + 1) % 2000
    assert np.array_equal(
        cpu.mid_ranks(x, np.arange(2000), every)[::200],
        reference.mid_ranks(x, np.arange(0, 2000, 200), every[::200]),
    )


def test_lists_decided_out_of_order(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_GROUP", 8)
    orders = []
    honest = stream.Pass._by_place
    monkeypatch.setattr(stream.Pass, "_by_place", lambda p: orders.append(honest(p)) or orders[-1])
    x = cloud(rng.normal(size=(700, 40)).astype("f4"))
    got = cpu.nearest(x, 9, precision="float32")
    want = reference.nearest(x, 9)
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])
    assert np.array_equal(np.sort(orders[0]), np.arange(700))
    assert not np.array_equal(orders[0], np.arange(700))
