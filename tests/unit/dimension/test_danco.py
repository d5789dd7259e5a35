from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import i0

from hiddenscape.dimension.danco import danco_dimension
from hiddenscape.dimension.danco_balls import Balls, angle_statistics, ball_statistics
from hiddenscape.dimension.mind import mind_dimension
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import cloud
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import MANIFOLDS, cube, gaussian

TABLE = [[1.0, 2.1, 0.2], [2.0, 1.5, 1.7], [2.9, 1.5, 2.8], [3.7, 1.45, 4.0]]


def balls(k: int = 10) -> Balls:
    return Balls(300, k, 2, 0, 20, published=False)


def test_statistics_by_hand() -> None:
    x = cube(80, 3)
    graph = find_neighbors(x, k=6)
    found = angle_statistics(cloud(x), np.arange(80), graph.indices[:, :5], published=False)
    for row in (0, 41):
        v = x[graph.indices[row, :5]] - x[row]
        angles = [
            math.acos(v[i] @ v[j] / (np.linalg.norm(v[i]) * np.linalg.norm(v[j])))
            for i in range(5)
            for j in range(i)
        ]
        s, c = np.sin(angles).mean(), np.cos(angles).mean()
        assert found[row] == pytest.approx([math.atan2(s, c), math.hypot(s, c)], rel=1e-9)
    published = angle_statistics(cloud(x), np.arange(80), graph.indices[:, :5], published=True)
    beyond = found[:, 0] > math.pi / 2
    assert beyond.any()
    assert published[beyond, 0] == pytest.approx(found[beyond, 0] - math.pi)


@pytest.mark.parametrize(("d1", "d2", "k"), [(3.0, 4.5, 10), (5.0, 4.0, 2), (1.2, 1.0, 20)])
def test_divergence_is_that_of_the_densities(d1: float, d2: float, k: int) -> None:
    """Kullback-Leibler of the ratios and of two von Mises laws, by integration."""

    def density(r: float, d: float) -> float:
        return k * d * r ** (d - 1) * (1 - r**d) ** (k - 1)

    ratios = quad(
        lambda r: density(r, d1) * math.log(density(r, d1) / density(r, d2)), 0, 1, limit=200
    )[0]
    (nu1, t1), (nu2, t2) = (1.2, 3.0), (1.5, 5.0)

    def mises(a: float, nu: float, t: float) -> float:
        return math.exp(t * math.cos(a - nu)) / (2 * math.pi * float(i0(t)))

    angles = quad(
        lambda a: mises(a, nu1, t1) * math.log(mises(a, nu1, t1) / mises(a, nu2, t2)),
        -math.pi, math.pi,
    )[0]  # fmt: skip
    found = balls(k).divergence(np.array([d1, nu1, t1]), np.array([d2, nu2, t2]))
    assert found == pytest.approx(ratios + angles, rel=1e-6)
    same = np.array([d1, nu1, t1])
    assert balls(k).divergence(same, same) == pytest.approx(0, abs=1e-8)
    # Its derivative, along each of the three.
    for j in range(3):
        step = np.zeros(3)
        step[j] = 1e-5
        other = np.array([d2, nu2, t2])
        up, down = (balls(k).divergence(same, other + s * step) for s in (1, -1))
        assert balls(k).slope(same, other, step) == pytest.approx((up - down) / 2, rel=1e-4)


def test_a_ball_is_a_function_of_its_arguments() -> None:
    ball_statistics.cache_clear()
    once = ball_statistics(200, 4, 10, 3)
    ball_statistics.cache_clear()
    assert ball_statistics(200, 4, 10, 3) == once
    assert ball_statistics(200, 4, 10, 4) != once
    # The statistics are those that data would have.
    many = np.mean([ball_statistics(400, 3, 10, s) for s in range(8)], axis=0)
    data = [mind_dimension(find_neighbors(MANIFOLDS["ball3"].sample(400, s), k=11), 10).value
            for s in range(8)]  # fmt: skip
    assert many[0] == pytest.approx(np.mean(data), rel=0.02)


def test_large_balls_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.mean([ball_statistics(600, 3, 5, s) for s in range(20, 26)], axis=0)
    monkeypatch.setattr("hiddenscape.dimension.danco_balls._QUERIES", 300)
    ball_statistics.cache_clear()
    part = np.mean([ball_statistics(600, 3, 5, s) for s in range(20, 26)], axis=0)
    ball_statistics.cache_clear()
    assert part == pytest.approx(whole, rel=0.03)


@pytest.mark.parametrize(
    ("name", "ratio"),
    [("cube1", 1.01), ("sphere1", 1.01), ("ball2", 1.01), ("sphere2", 1.02), ("swiss_roll", 1.02),
     ("cube5", 0.97), ("sphere5", 1.05), ("gaussian5", 1.09), ("flat_torus5", 1.19),
     ("cube10", 0.97), ("sphere10", 1.06), ("gaussian10", 1.10)],
)  # fmt: skip
def test_truth_and_stated_bias(name: str, ratio: float) -> None:
    manifold = MANIFOLDS[name]
    found = [danco_dimension(manifold.sample(1000, s)) for s in range(3)]
    assert np.mean([f.value for f in found]) / manifold.dimension == pytest.approx(ratio, abs=0.03)
    assert all(0 < f.stderr / f.value < 0.03 for f in found)


def test_a_ball_is_found_in_its_own_dimension_within_its_errors() -> None:
    z = []
    for d in (2, 6):
        for s in range(12):
            found = danco_dimension(MANIFOLDS[f"ball{d}"].sample(300, s))
            z.append((found.value - d) / found.stderr)
    assert abs(np.mean(z)) < 0.9
    assert 0.6 < np.std(z) < 1.9


def test_high_dimension_where_distances_alone_see_half() -> None:
    x = cube(800, 40)
    distances = mind_dimension(find_neighbors(x, k=11), 10).value
    found = danco_dimension(x)
    assert distances < 26
    assert found.value == pytest.approx(40, abs=3)
    assert found.stderr > 0.1


def test_whole_numbers_and_a_given_calibration() -> None:
    x = cube(300, 3)
    found = danco_dimension(x, integer=True, calibration=TABLE)
    assert found.value == 3
    assert found.interval[0] < 3.2
    assert "balls" not in found.parameters
    assert found.parameters["stderr_of_balls"] == 0
    # The last row of a calibration is a bound, not an answer.
    cut = danco_dimension(x, integer=True, calibration=TABLE[:3])
    assert math.isnan(cut.value)
    assert "undefined (the least divergence lies beyond the calibration)" in cut.note
    assert math.isnan(danco_dimension(cube(300, 9), largest=8, balls=2).value)
    assert math.isnan(danco_dimension(np.eye(60) + 1e-3 * gaussian(60, 60), balls=2).value)


def test_below_one_is_said() -> None:
    # Steps of random powers of ten: far fewer than one dimension's worth of neighbours.
    x = np.cumsum(10 ** np.random.default_rng(0).uniform(-4, 0, size=200))[:, None]
    found = danco_dimension(x, balls=2)
    assert 0 < found.value < 0.9
    assert "collapsed (estimate below 1)" in found.note


def test_blocks_and_float32() -> None:
    x = cube(300, 3)
    plain, blocked = (
        danco_dimension(x, balls=2),
        danco_dimension(x, balls=2, stderr="blocks", blocks=spatial_blocks(x)),
    )
    assert blocked.value == plain.value
    assert 0.4 < blocked.stderr / plain.stderr < 3
    narrow = danco_dimension(x.astype(np.float32), balls=2)
    assert narrow.value == pytest.approx(plain.value, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 21}, "k from 2 to 20, got 21"),
        ({"balls": 1}, "balls and largest must be at least 2"),
        ({"statistics": "mean"}, "statistics must be bounded or published"),
        ({"stderr": "fisher"}, "stderr must be bootstrap or blocks"),
        ({"stderr": "blocks"}, "needs blocks"),
        ({"calibration": [[1, 2]]}, "one row \\(dimension, direction, concentration\\)"),
        ({"calibration": [[1, 1, 1], [-2, 1, 1]]}, "positive dimensions"),
        ({"duplicates": "eps"}, "duplicates must be one of unique, drop_zero, error"),
    ],
)
def test_misuse_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        danco_dimension(cube(40, 2), **options)  # type: ignore[arg-type]


def test_other_seeds_make_other_balls() -> None:
    # They shared all but one, so that the spread over seeds was too small.
    mine, others = (Balls(60, 4, 4, seed, 50, False).each(3)[:, 0] for seed in (0, 1))
    assert not set(mine) & set(others)
