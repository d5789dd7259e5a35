"""The two sides of the bound never contradict the distances."""

from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.kernels.arrays import cloud, pair_distances
from hiddenscape.kernels.products import RUNGS
from hiddenscape.kernels.screen import Screen, largest_whole, make_screen

CLOUDS = {
    "normal": lambda r: r.normal(size=(60, 33)),
    "offset": lambda r: r.normal(size=(60, 5)) + 1e4,
    "outlier": lambda r: np.vstack([r.normal(size=(59, 5)), np.full((1, 5), 1e6)]),
    "wide": lambda r: r.normal(size=(60, 2000)),
    "uneven": lambda r: r.normal(size=(60, 6)) * 10.0 ** np.arange(-9, 9, 3),
    "single column": lambda r: r.normal(size=(60, 1)) * 1e-30,
    "halfway": lambda r: r.choice([-1, 1], size=(60, 64)) * (1 + 2.0**-8) * r.random((60, 1)),
}


def bounds(s: Screen) -> tuple[np.ndarray, np.ndarray]:
    n = s.cloud.n
    g = np.empty((n, n), s.dtype)
    every = s.operand(slice(0, n))
    s.product(every, every, g)
    lower = (s.near[:, None] + s.near[None, :]) - (g + g)
    return lower, lower.astype(np.float64) + s.width[:, None] + s.width[None, :]


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("name", CLOUDS)
def test_bounds_hold_every_distance(name: str, rung: str, rng: np.random.Generator) -> None:
    points = cloud(CLOUDS[name](rng))
    n = points.n
    s = make_screen(points, rung)
    i, j = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
    d = pair_distances(points, i, j).reshape(n, n)
    square = np.ldexp(d, s.shift) ** 2
    lower, upper = bounds(s)
    assert (lower <= square * (1 + 1e-12)).all()
    assert (upper >= square * (1 - 1e-12)).all()


def test_one_distant_row_spoils_no_other_bound(rng: np.random.Generator) -> None:
    points = cloud(np.vstack([rng.normal(size=(200, 64)), np.full((1, 64), 1e3)]))
    s = make_screen(points, "float32")
    lower, upper = bounds(s)
    near = slice(0, 200)
    width = (upper - lower)[near, near]
    typical = np.median(upper[near, near])
    assert width.max() < 1e-3 * typical
    assert (upper - lower)[200, 0] > 100 * width.max()


@pytest.mark.parametrize("rung", RUNGS)
def test_rows_need_not_be_kept(rung: str, rng: np.random.Generator) -> None:
    points = cloud(rng.normal(size=(50, 9)) + 7)
    kept = make_screen(points, rung)
    anew = make_screen(points, rung, keep=False)
    assert kept.kept is not None
    assert anew.kept is None
    assert anew.kappa == kept.kappa
    for index in (slice(3, 20), np.array([4, 1, 30])):
        for a, b in zip(kept.operand(index), anew.operand(index), strict=True):
            assert np.array_equal(a, b)
    assert np.array_equal(kept.scores(np.arange(9)), anew.scores(np.arange(9)))


def test_scores_leave_the_row_itself_out(rng: np.random.Generator) -> None:
    points = cloud(rng.normal(size=(30, 4)))
    s = make_screen(points, "float64")
    chosen = np.array([4, 9])
    found = s.scores(chosen)
    assert np.isposinf(found[[0, 1], chosen]).all()
    d = pair_distances(points, np.repeat(chosen, 30), np.tile(np.arange(30), 2)).reshape(2, 30)
    square = np.ldexp(d, s.shift) ** 2
    off = np.isfinite(found)
    assert np.allclose((found + s.norms[chosen][:, None])[off], square[off], rtol=1e-10)


def test_whole_numbers_carry_no_error(rng: np.random.Generator) -> None:
    x = rng.integers(-9, 10, size=(40, 7))
    points = cloud(x)
    s = make_screen(points, "float32", largest_whole(points))
    assert s.exact
    lower, upper = bounds(s)
    assert np.array_equal(lower, ((x[:, None] - x[None]) ** 2).sum(-1))
    assert np.array_equal(lower, upper)


def test_whole_numbers_whose_sums_could_round_are_bounded_instead() -> None:
    points = cloud(np.array([[0.0, 3000.0], [1.0, 2.0]]))
    assert not make_screen(points, "float32", largest_whole(points)).exact
    assert make_screen(points, "float64", largest_whole(points)).exact


def test_too_many_columns_for_a_precision() -> None:
    points = cloud(np.ones((3, 400_000), dtype=np.float32))
    assert make_screen(points, "float32", keep=False).thin
    assert not make_screen(points, "float64", keep=False).thin
