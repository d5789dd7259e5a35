from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from hiddenscape.dimension.correlation import correlation_dimension, correlation_integral
from hiddenscape.errors import DuplicateRowsError, InputError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, flat_torus, gaussian, sphere


def counts(x: np.ndarray, radii: np.ndarray) -> np.ndarray:
    distances = cdist(x, x)
    off = ~np.eye(len(x), dtype=bool)
    return np.array([(distances[off] < r).sum() for r in radii])


def test_the_curve_counts_pairs() -> None:
    x = cube(200, 3)
    radii = np.geomspace(0.05, 2, 12)
    curve = correlation_integral(x, radii)
    assert curve.share == pytest.approx(counts(x, radii) / (200 * 199), rel=1e-12)
    assert curve.share[-1] == 1.0
    steps = np.diff(np.log(curve.share)) / np.diff(np.log(radii))
    assert curve.slopes == pytest.approx(steps)


def test_strictly_closer_at_radii_that_are_distances() -> None:
    # Every radius is a distance, far from the origin: products alone could not tell.
    x = np.stack(np.meshgrid(*[np.arange(6.0)] * 2), -1).reshape(-1, 2)
    radii = np.unique(cdist(x, x).round(12))[1:]
    exact = np.sqrt(np.unique((x[:, None] - x).astype(int).astype(float) ** 2 @ np.ones(2)))[1:]
    want = counts(x, radii - 1e-6) / (36 * 35)
    for offset in (0.0, 1e5):
        assert correlation_integral(x + offset, exact).share == pytest.approx(want, rel=1e-12)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, radii = cube(90, 2), [0.1, 0.3]
    whole = correlation_integral(x, radii).share
    monkeypatch.setattr("hiddenscape.dimension.correlation._ENTRIES", 1000)
    assert np.array_equal(correlation_integral(x, radii).share, whole)


def test_fit() -> None:
    radii = np.array([1e-9, 0.1, 0.2, 0.4, 3.0])
    curve = correlation_integral(cube(150, 2), radii)
    assert curve.share[0] == 0
    assert math.isnan(curve.slopes[0])
    x, y = np.log(radii[1:4]), np.log(curve.share[1:4])
    found = curve.fit(high=1.0)
    assert found.value == pytest.approx(np.polyfit(x, y, 1)[0])
    assert found.scale == pytest.approx(np.exp(x.mean()))
    assert "few_points (1 radii hold no pair)" in found.note
    floored = curve.fit(high=1.0, floor=True)
    assert floored.value != found.value
    assert math.isnan(curve.fit(high=0.15).value)
    assert "undefined" in curve.fit(high=0.15).note
    flat = correlation_integral(np.array([[0.0], [1.0], [50.0]]), [2.0, 3.0]).fit()
    assert math.isnan(flat.value)
    assert "ties" in flat.note


def test_dimension_is_its_formula() -> None:
    x = gaussian(201, 3)
    found = correlation_dimension(x, 5, 12)
    r = find_neighbors(x, k=12).distances
    a, b = np.median(r[:, 4]), np.median(r[:, 11])
    assert found.parameters["radii"] == (a, b)
    near, far = counts(x, np.array([a, b]))
    assert found.value == pytest.approx(math.log(far / near) / math.log(b / a), rel=1e-12)
    assert (found.n1, found.n2, found.scale) == (5, 12, pytest.approx((a + b) / 2))
    # The jackknife, with each row really left out.
    left = []
    for i in range(201):
        near, far = counts(np.delete(x, i, axis=0), np.array([a, b]))
        left.append(math.log(far / near) / math.log(b / a))
    error = math.sqrt(200 / 201 * np.sum((np.array(left) - np.mean(left)) ** 2))
    assert found.stderr == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "d", "ratio"),
    [(flat_torus, 1, 1.007), (flat_torus, 2, 1.022), (sphere, 2, 1.003), (sphere, 5, 0.938),
     (cube, 2, 0.958), (gaussian, 5, 0.868)],
)  # fmt: skip
def test_truth_and_stated_bias(make: object, d: int, ratio: float) -> None:
    found = [correlation_dimension(make(500, d, seed=s)) for s in range(10)]  # type: ignore[operator]
    values = np.array([f.value for f in found])
    assert values.mean() / d == pytest.approx(ratio, abs=0.03)
    assert np.mean([f.stderr for f in found]) > 0.8 * values.std()


def test_repeated_rows() -> None:
    x = cube(80, 2)
    curve = correlation_integral(np.vstack([x, x[:7]]), [0.1, 0.2])
    assert np.array_equal(curve.share, correlation_integral(x, [0.1, 0.2]).share)
    assert (curve.n_used, curve.n_dropped) == (80, 7)
    assert "duplicates (7 of 87 rows)" in curve.note
    flat = correlation_integral(np.ones((20, 3)), [1.0, 2.0])
    assert np.isnan(flat.share).all()
    assert "collapsed" in flat.note
    assert math.isnan(flat.fit().value)
    with pytest.raises(DuplicateRowsError):
        correlation_dimension(np.vstack([x, x]), duplicates="error")


def test_huge_and_tiny_points() -> None:
    x = cube(100, 2)
    want = correlation_dimension(x).value
    for scale in (2.0**600, 2.0**-600):
        assert correlation_dimension(x * scale).value == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("radii", "message"),
    [([], "radii must be one row"), ([0.0, 1.0], "positive"), ([2.0, 1.0], "strictly ascending"),
     ([[1.0]], "one row")],
)  # fmt: skip
def test_radii_are_checked(radii: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        correlation_integral(cube(20, 2), radii)


def test_misuse_is_refused() -> None:
    x = cube(30, 2)
    with pytest.raises(InputError, match="ranks must satisfy 1 <= k1 < k2, got k1 = 5, k2 = 5"):
        correlation_dimension(x, 5, 5)
    with pytest.raises(InputError, match="site has 30 rows, k = 40 needs at least 41"):
        correlation_dimension(x, 5, 40)
    with pytest.raises(InputError, match="duplicates must be unique or error"):
        correlation_dimension(x, duplicates="keep")
