"""The compiled metrics against the slow ones, bit for bit, and against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError
from hiddenscape.kernels import direct, reference, threads
from hiddenscape.kernels.metrics import DIRECT, Space, space

N = 75


def hostile() -> dict[str, np.ndarray]:
    r = np.random.default_rng(0)
    return {
        "normal": r.normal(size=(N, 7)),
        "wide": r.normal(size=(N, 131)).astype("f4") + 3000,
        "grid": np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3),
        "copies": np.repeat(r.normal(size=(15, 3)), 5, 0)[r.permutation(75)],
        "bits": r.integers(0, 2, (N, 70)),
        "signs": 2 * r.integers(0, 2, (N, 9)) - 1,
        "letters": r.integers(-3, 200, (N, 65)).astype("u1"),
        "tokens": r.integers(0, 2**16, (N, 3)),
        "large whole": r.integers(-(2**40), 2**40, (N, 3)),
        "few of a range": np.array([0, 2**16 + 1])[r.integers(0, 2, (N, 5))],
        "halves": r.integers(0, 4, (N, 3)) / 2,
        "thirds": r.integers(0, 4, (N, 66)) / 3,
        "tiny": r.normal(size=(N, 4)) * 1e-310,
        "huge": r.normal(size=(N, 4)) * 1e300,
        "both": np.vstack([r.normal(size=(30, 3)) * 1e-200, r.normal(size=(30, 3)) * 1e200]),
        "late copies": np.hstack([np.zeros((30, 70)), r.integers(0, 2, (30, 2)) * 1e-3]),
        "sorted": np.arange(N)[::-1, None] ** 2.0,
        "constant": np.ones((12, 4)),
    }


def spaces(x: np.ndarray) -> list[Space]:
    mixed = np.where(np.arange(x.shape[1]) % 2, np.inf, 1.5)
    return [
        space(x, "manhattan"),
        space(x, "hamming"),
        space(x, "periodic", 3.0),
        space(x, "periodic", mixed),
    ]


@pytest.mark.parametrize("name", hostile())
def test_neighbors_equal_the_reference(name: str) -> None:
    for s in spaces(hostile()[name]):
        for k in (1, 5, s.n - 1):
            want = reference.nearest(s, k)
            for block, memory in ((None, None), (7, 1)):
                got = direct.nearest(s, k, block_rows=block, memory=memory)
                assert np.array_equal(got[0], want[0]), (s.metric, k)
                assert np.array_equal(got[1], want[1]), (s.metric, k)
                assert got[2].counts() == {"all distances": s.n}


@pytest.mark.parametrize("name", hostile())
def test_ranks_equal_the_reference(name: str) -> None:
    for s in spaces(hostile()[name]):
        r = np.random.default_rng(1)
        queries = r.permutation(s.n)[:11]
        targets = (queries[:, None] + r.integers(1, s.n, size=(11, 9))) % s.n
        want = reference.mid_ranks(s, queries, targets)
        for block, memory in ((None, None), (3, 1)):
            got = direct.mid_ranks(s, queries, targets, block_rows=block, memory=memory)
            assert np.array_equal(got, want), s.metric


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 6), st.sampled_from(DIRECT))
def test_ties_are_ordered_by_row_number(seed: int, n: int, d: int, metric: str) -> None:
    r = np.random.default_rng(seed)
    x = r.integers(0, 3, size=(n, d)) * r.choice([0.5, 1.0, 1 / 3])
    s = space(x, metric, 2.0 if metric == "periodic" else None)
    k = int(r.integers(1, n))
    indices, distances, _ = direct.nearest(s, k, block_rows=int(r.integers(1, 9)), memory=1)
    full = reference.pair_distances(s, np.repeat(np.arange(n), n), np.tile(np.arange(n), n))
    full = full.reshape(n, n)
    assert np.array_equal(full, full.T)
    np.fill_diagonal(full, np.inf)
    order = np.argsort(full, axis=1, kind="stable")[:, :k]
    assert np.array_equal(indices, order)
    assert np.array_equal(distances, np.take_along_axis(full, order, axis=1))


@given(st.integers(0, 2**32 - 1), st.sampled_from(DIRECT))
def test_lists_follow_the_rows(seed: int, metric: str) -> None:
    r = np.random.default_rng(seed)
    x = r.normal(size=(40, 5))
    order = r.permutation(40)
    period = r.uniform(0.5, 4, size=5) if metric == "periodic" else None
    plain = direct.nearest(space(x, metric, period), 6)
    moved = direct.nearest(space(x[order], metric, period), 6)
    assert np.array_equal(moved[1], plain[1][order])
    if metric != "hamming":  # all ties
        assert np.array_equal(order[moved[0]], plain[0][order])


@given(
    st.lists(st.floats(-50, 50), min_size=3, max_size=3),
    st.lists(st.floats(-50, 50), min_size=3, max_size=3),
    st.lists(st.floats(0.01, 60), min_size=3, max_size=3),
)
def test_periodic_distance_is_that_of_exact_arithmetic(
    x: list[float], y: list[float], period: list[float]
) -> None:
    square = Fraction(0)
    for a, b, p in zip(x, y, period, strict=True):
        apart = (Fraction(a) - Fraction(b)) % Fraction(p)
        square += min(apart, Fraction(p) - apart) ** 2
    s = space([x, y], "periodic", period)
    found = direct.pair_distances(s, np.array([0]), np.array([1]))[0]
    assert found == direct.nearest(s, 1)[1][0, 0]
    assert (found == 0) == (square == 0)
    if square:
        # In units of the distance: its square may be below the smallest float.
        assert abs(float(Fraction(found) ** 2 / square) - 1) < 32 * 2.0**-53


@pytest.mark.parametrize("metric", ["manhattan", "periodic"])
def test_distances_agree_with_scipy(metric: str, rng: np.random.Generator) -> None:
    from scipy.spatial.distance import cdist

    x = rng.normal(size=(30, 17))
    name = "cityblock" if metric == "manhattan" else "euclidean"
    s = space(x, metric, np.inf if metric == "periodic" else None)
    want = np.sort(cdist(x, x, name), axis=1)[:, 1:]
    np.testing.assert_allclose(direct.nearest(s, 29)[1], want, rtol=1e-14)


def test_hamming_counts_columns_where_scipy_gives_a_share(rng: np.random.Generator) -> None:
    from scipy.spatial.distance import cdist

    x = rng.integers(0, 5, size=(30, 130))
    want = np.sort(np.rint(cdist(x, x, "hamming") * 130), axis=1)[:, 1:]
    assert np.array_equal(direct.nearest(space(x, "hamming"), 29)[1], want)
    # The same letters in another alphabet: values instead of bits are compared.
    assert direct._Form(space(x, "hamming")).words is not None
    assert direct._Form(space(x + 0.25, "hamming")).words is None
    assert np.array_equal(direct.nearest(space(x + 0.25, "hamming"), 29)[1], want)


def test_whole_turns_change_no_bit(rng: np.random.Generator) -> None:
    x = rng.integers(-512, 512, size=(60, 3)) / 64
    turned = x + 2.5 * rng.integers(-4, 5, size=x.shape)
    plain, moved = (direct.nearest(space(p, "periodic", 2.5), 59) for p in (x, turned))
    assert np.array_equal(plain[0], moved[0])
    assert np.array_equal(plain[1], moved[1])
    assert plain[1].max() <= np.sqrt(3) * 1.25


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    s = space(rng.normal(size=(150, 40)), "manhattan")
    alone = direct.nearest(s, 9)
    monkeypatch.setattr(threads, "cores", lambda: 3)
    monkeypatch.setattr(direct, "cores", lambda: 3)
    many = direct.nearest(s, 9)
    assert all(np.array_equal(a, b) for a, b in zip(alone[:2], many[:2], strict=True))


def test_progress_reaches_the_end(rng: np.random.Generator) -> None:
    seen: list[tuple[int, int]] = []
    s = space(rng.normal(size=(90, 4)), "manhattan")
    direct.nearest(s, 2, block_rows=20, memory=1, progress=lambda *done: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == (90, 90)
    assert len(seen) == 3 * 5  # three tiles of rows, five blocks of rows


def test_pairs_are_abandoned_early(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two far clusters: once a list is full of its own cluster, the other costs a few columns.
    x = np.zeros((128, 640))
    x[:, 0] = np.arange(128)
    x[64:, 1] = 1e6
    form = direct._Form(space(x, "manhattan"))
    d = np.empty((1, 128))
    direct._fill(0, x[:1], form.tiles(0, 128), form.half, np.array([5.0]), d)
    assert d[0, :6].tolist() == [0, 1, 2, 3, 4, 5]
    assert np.isinf(d[0, 6:]).all()


def test_distances_beyond_float64_are_refused() -> None:
    far = [[1.7e308], [-1.7e308]]
    for s in (space(far, "manhattan"), space(far, "periodic", np.inf)):
        with pytest.raises(InputError, match="distances between these points exceed float64"):
            direct.nearest(s, 1)
        with pytest.raises(InputError, match="distances between these points exceed float64"):
            direct.pair_distances(s, np.array([0]), np.array([1]))
