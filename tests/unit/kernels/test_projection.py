"""Bounds from few coordinates hold for every pair, whatever the directions are."""

from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.kernels import cpu, projection, reference
from hiddenscape.kernels.arrays import Cloud, cloud, pair_distances
from hiddenscape.kernels.projection import RUNG, project
from hiddenscape.kernels.screen import Screen, make_screen


def sheet(rng: np.random.Generator, n: int, d: int, noise: float) -> np.ndarray:
    latent = rng.normal(size=(n, 5))
    return np.asarray(np.tanh(latent @ rng.normal(size=(5, d))) + noise * rng.normal(size=(n, d)))


CLOUDS = {
    "sheet": lambda r: sheet(r, 300, 160, 0.01),
    "float32, far off": lambda r: (sheet(r, 300, 160, 0.01) + 1e3).astype("f4"),
    "exactly of low rank": lambda r: r.normal(size=(300, 4)) @ r.normal(size=(4, 160)),
    "one row far out": lambda r: np.vstack([sheet(r, 299, 160, 0.01), np.full((1, 160), 1e5)]),
    "pairs": lambda r: np.repeat(sheet(r, 150, 160, 0.01), 2, 0) + 1e-7 * r.normal(size=(300, 160)),
    "wide": lambda r: sheet(r, 120, 5000, 0.003),
}


def made(x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> tuple[Cloud, Screen]:
    points = cloud(x)
    # Any directions will do for the bounds.
    monkeypatch.setattr(projection, "_cheapest", lambda *a: a[2][0])
    screen = project(points, 5, 60, make_screen(points, "float32", keep=False))
    assert screen is not None
    return points, screen


@pytest.mark.parametrize("name", CLOUDS)
def test_bounds_hold_every_distance(
    name: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, s = made(CLOUDS[name](rng), monkeypatch)
    n = points.n
    g = np.empty((n, n), np.float32)
    every = s.operand(slice(0, n))
    s.product(every, every, g)
    lower = (s.near[:, None] + s.near[None]) - (g + g)
    upper = lower.astype(np.float64) + s.width[:, None] + s.width[None]
    i, j = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
    square = np.ldexp(pair_distances(points, i, j).reshape(n, n), s.shift) ** 2
    off = ~np.eye(n, dtype=bool)
    assert (lower <= square * (1 + 1e-12))[off].all()
    assert (upper >= square * (1 - 1e-12))[off].all()
    assert s.kept is not None
    assert s.kept[0].shape == (n, 33)


def test_bad_directions_cost_time_only(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = lambda sample, m: np.linalg.qr(rng.normal(size=(sample.shape[1], m)))[0]  # noqa: E731
    monkeypatch.setattr(projection, "_directions", bad)
    test_bounds_hold_every_distance("sheet", rng, monkeypatch)


@pytest.fixture
def from_the_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_PROBED", 0)
    monkeypatch.setattr(cpu, "_SMALL", 0)


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("k", [1, 9])
def test_lists_equal_the_reference(
    name: str, k: int, rng: np.random.Generator, from_the_first_row: None
) -> None:
    x = cloud(CLOUDS[name](rng))
    want = reference.nearest(x, k)
    got = cpu.nearest(x, k, block_rows=90)
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])


def test_it_is_used_where_few_directions_hold_the_points(
    rng: np.random.Generator, from_the_first_row: None
) -> None:
    x = cloud(sheet(rng, 600, 300, 0.003))
    got = cpu.nearest(x, 5)
    assert got[2].counts()[RUNG] > 500
    want = reference.nearest(x, 5)
    assert np.array_equal(got[0], want[0])


def test_it_is_left_where_they_do_not(rng: np.random.Generator, from_the_first_row: None) -> None:
    assert RUNG not in cpu.nearest(cloud(rng.normal(size=(600, 300))), 5)[2].counts()
    assert RUNG not in cpu.nearest(cloud(sheet(rng, 600, 100, 0.01)), 5)[2].counts()


def test_more_directions_where_distances_are_dear(rng: np.random.Generator) -> None:
    x = sheet(rng, 700, 600, 0.02)
    x -= x.mean(axis=0)
    basis = projection._directions(x, 128)
    wanted = [8, 16, 32, 64, 128]

    def chosen(k: int, n: int) -> int | None:
        return projection._cheapest(x, basis, wanted, k, n, 10**6)

    many_pairs, few_pairs = chosen(100, 20_000), chosen(5, 1_000_000)
    assert many_pairs is not None
    assert few_pairs is not None
    assert many_pairs > few_pairs


def test_a_forced_arithmetic_is_not_preceded_by_it(
    rng: np.random.Generator, from_the_first_row: None
) -> None:
    x = cloud(sheet(rng, 600, 300, 0.003))
    assert cpu.nearest(x, 5, precision="float32")[2].counts() == {"float32": 600}


def test_damaged_coordinates_are_caught(
    rng: np.random.Generator, from_the_first_row: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = cloud(sheet(rng, 600, 300, 0.003))
    honest = Screen.product

    def product(self: Screen, rows: object, columns: object, out: np.ndarray) -> None:
        honest(self, rows, columns, out)  # type: ignore[arg-type]
        if self.rung == RUNG:
            out *= np.float32(1.05)

    monkeypatch.setattr(Screen, "product", product)
    got = cpu.nearest(x, 5)
    assert got[2].counts() == {"float32": 600}
    assert np.array_equal(got[0], reference.nearest(x, 5)[0])
