from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.kernels.arrays import DISTANCE_ERROR, check_finite, cloud, pair_distances, rows


def all_pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    return i.ravel(), j.ravel()


def test_float_arrays_are_taken_without_a_copy(rng: np.random.Generator) -> None:
    for dtype in (np.float32, np.float64):
        x = rng.normal(size=(5, 3)).astype(dtype)
        assert np.shares_memory(rows(x), x)
        assert np.shares_memory(cloud(x).values, x)


@pytest.mark.parametrize(
    ("dtype", "working"),
    [("f2", "f4"), ("?", "f4"), ("i1", "f4"), ("u2", "f4"), ("i4", "f8"), ("i8", "f8")],
)
def test_other_types_are_converted_exactly(dtype: str, working: str) -> None:
    x = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    out = rows(x)
    assert out.dtype == np.dtype(working)
    assert np.array_equal(out, x)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([1.0, 2.0], r"shape \(n, d\), got \(2,\)"),
        (np.zeros((3, 0)), "no columns"),
        (np.zeros((3, 2), dtype=complex), "real numbers"),
        (np.array([["a"], ["b"]]), "real numbers"),
        (np.zeros((2, 2), dtype=np.longdouble), "at most 64 bits"),
        (np.array([[2**53 + 1], [0]]), "beyond 2\\*\\*53"),
    ],
)
def test_what_is_no_cloud_is_refused(points: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rows(points)


def test_rows_that_are_not_finite_are_named() -> None:
    x = np.zeros((20, 3), dtype=np.float32)
    x[[3, 17], [0, 2]] = np.nan, np.inf
    with pytest.raises(
        NonFiniteError, match=r"2 of 20 rows hold NaN or infinity .rows 3, 17."
    ) as e:
        check_finite(x)
    assert e.value.rows == (3, 17)
    with pytest.raises(NonFiniteError, match="rows 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"):
        check_finite(np.full((20, 2), np.nan))


def test_distances_meet_their_error_bound(rng: np.random.Generator) -> None:
    # Against extended precision, with an offset that would ruin an expanded square.
    for d in (1, 7, 130, 3000):
        x = rng.normal(size=(12, d)).astype(np.float32) + np.float32(1000)
        i, j = all_pairs(12)
        wide = x.astype(np.longdouble)
        want = np.sqrt(((wide[i] - wide[j]) ** 2).sum(axis=1))
        got = pair_distances(cloud(x), i, j)
        assert (np.abs(got - want) <= DISTANCE_ERROR * want).all()


def test_distances_are_symmetric_and_blind_to_batches(rng: np.random.Generator) -> None:
    x = cloud(rng.normal(size=(40, 777)))
    i, j = all_pairs(40)
    d = pair_distances(x, i, j)
    assert np.array_equal(d, pair_distances(x, j, i))
    single = [pair_distances(x, i[p : p + 1], j[p : p + 1])[0] for p in range(0, 1600, 37)]
    assert np.array_equal(d[::37], single)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-160, 1e160, 1e300])
def test_extreme_scales_keep_their_ratios(scale: float, rng: np.random.Generator) -> None:
    x = rng.normal(size=(15, 4))
    i, j = all_pairs(15)
    want = pair_distances(cloud(x), i, j) * scale
    got = pair_distances(cloud(x * scale), i, j)
    assert got == pytest.approx(want, rel=1e-12 if scale > 1e-300 else 1e-9, abs=0)


def test_tiny_differences_beside_huge_ones_are_not_zero() -> None:
    x = cloud([[1e-300, 0.0], [2e-300, 0.0], [1e200, 0.0]])
    d = pair_distances(x, np.array([0, 0]), np.array([1, 2]))
    assert d == pytest.approx([1e-300, 1e200], rel=1e-12, abs=0)


def test_distances_beyond_float64_are_refused() -> None:
    x = cloud([[1.7e308], [-1.7e308]])
    with pytest.raises(InputError, match="exceed float64"):
        pair_distances(x, np.array([0]), np.array([1]))
