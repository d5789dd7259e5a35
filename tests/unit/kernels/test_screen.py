from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.kernels import screen as module
from hiddenscape.kernels.arrays import cloud, pair_distances
from hiddenscape.kernels.screen import largest_whole, make_screen

CLOUDS = {
    "normal": lambda r: r.normal(size=(60, 33)),
    "offset": lambda r: r.normal(size=(60, 5)) + 1e4,
    "outlier": lambda r: np.vstack([r.normal(size=(59, 5)), np.full((1, 5), 1e6)]),
    "wide": lambda r: r.normal(size=(60, 2000)),
    "uneven": lambda r: r.normal(size=(60, 6)) * 10.0 ** np.arange(-9, 9, 3),
    "single column": lambda r: r.normal(size=(60, 1)) * 1e-30,
}


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("name", CLOUDS)
def test_thresholds_never_contradict_the_distances(
    name: str, precision: type, rng: np.random.Generator
) -> None:
    points = cloud(CLOUDS[name](rng))
    n = points.n
    s = make_screen(points, precision)
    chosen = np.arange(n)
    scores = s.scores(chosen)
    assert np.isposinf(np.diag(scores)).all()
    i, j = np.repeat(chosen, n), np.tile(chosen, n)
    d = pair_distances(points, i, j).reshape(n, n)
    far = s.farthest(chosen[:, None].repeat(n, 1), np.where(np.isinf(scores), 0, scores))
    off = ~np.eye(n, dtype=bool)
    assert (s.radius(d)[off] <= far[off] * (1 + 1e-13)).all()
    for t in range(0, n, 7):
        nearer = scores < s.surely_nearer(chosen, s.radius(d[:, t]))[:, None]
        farther = scores > s.surely_farther(chosen, s.radius(d[:, t]))[:, None]
        assert (d < d[:, [t]])[nearer & off].all()
        assert (d > d[:, [t]])[farther & off].all()


def test_the_bound_is_not_vacuous(rng: np.random.Generator) -> None:
    points = cloud(np.vstack([rng.normal(size=(200, 64)), np.full((1, 64), 1e6)]))
    s = make_screen(points, np.float32)
    own = np.arange(200)
    d = pair_distances(points, own, (own + 1) % 200)
    width = s.surely_farther(own, s.radius(d)) - s.surely_nearer(own, s.radius(d))
    # Relative to the squared distance, and in spite of the one distant row.
    assert np.median(width / s.radius(d) ** 2) < 1e-3


def test_rows_need_not_be_kept(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    points = cloud(rng.normal(size=(50, 9)) + 7)
    kept = make_screen(points, np.float32)
    monkeypatch.setattr(module, "_KEEP", 0)
    monkeypatch.setattr(module, "_BLOCK", 90)
    anew = make_screen(points, np.float32)
    assert kept.kept is not None
    assert anew.kept is None
    rows = np.array([3, 40, 11])
    assert anew.scores(rows) == pytest.approx(kept.scores(rows), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("precision", "largest"), [(np.float32, 700), (np.float64, 9e6)])
def test_whole_numbers_have_exact_scores(
    precision: type, largest: float, rng: np.random.Generator
) -> None:
    points = cloud(np.rint(rng.uniform(-largest, largest, size=(50, 8))))
    whole = largest_whole(points)
    assert whole <= largest
    s = make_screen(points, precision, whole)
    assert s.exact
    i, j = np.repeat(np.arange(50), 49), np.tile(np.arange(1, 50), 50)
    j = (i + j) % 50
    exact = s.distances(i, s.scores(np.arange(50))[i, j])
    assert np.array_equal(exact, pair_distances(points, i, j))
    assert not make_screen(points, precision, 10 * whole).exact
    assert not make_screen(points, precision).exact


def test_too_many_columns_for_float32_are_said_to_be() -> None:
    points = cloud(np.zeros((2, 400_000), dtype=np.float32))
    assert make_screen(points, np.float32).thin
    assert not make_screen(points, np.float64).thin
