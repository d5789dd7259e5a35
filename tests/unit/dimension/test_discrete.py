"""I3D: values on known lattices, laws, bad data, misuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hiddenscape.dimension.discrete import i3d, i3d_scan, lattice_root
from hiddenscape.dimension.lattice import log_ball_points
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.results import note_words

SIDE = 30


def box(n: int = 400, d: int = 3, seed: int = 0, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng([seed, 40]).integers(0, side, size=(n, d))


WAYS: dict[str, dict[str, Any]] = {
    "radius": {"radius": 9},
    "bayes": {"radius": 9, "method": "bayes"},
    "chebyshev": {"radius": 5, "metric": "chebyshev"},
    "k": {"k": 30},
    "shells": {"shells": 8},
}
each = pytest.mark.parametrize("way", WAYS)


@each
@pytest.mark.parametrize("d", [1, 2, 4])
def test_uniform_points_of_a_lattice(way: str, d: int) -> None:
    side = {1: 2000, 2: 60, 4: 15}[d]
    setting = dict(WAYS[way])
    if d == 1 and "radius" in setting:
        setting["radius"] = 40
    if d == 4 and "radius" in setting:
        setting["radius"] = 7
    found = i3d(box(1500, d, side=side), period=side, **setting)
    assert found.value == pytest.approx(d, abs=5 * found.stderr * 1.5)
    assert 0 < found.stderr < 0.25 * d
    assert found.interval[0] < found.value < found.interval[1]


def test_the_likelihood_is_at_its_maximum() -> None:
    outer, inner = np.array([3, 5, 8]), np.array([1, 2, 4])
    trials, found = np.array([40, 90, 200]), np.array([6, 12, 30])
    d, error = lattice_root(outer, inner, trials, found, "manhattan")

    def log_likelihood(at: float) -> float:
        v, _ = log_ball_points(8, at)
        p = np.exp(v[inner] - v[outer])
        return float(found @ np.log(p) + (trials - found) @ np.log1p(-p))

    around = [log_likelihood(d + s * error) for s in (-0.01, 0.0, 0.01)]
    assert around[1] > max(around[0], around[2])
    assert math.isfinite(error)


def test_bayes_approaches_the_likelihood_with_many_counts() -> None:
    x = box(1500)
    a, b = (i3d(x, radius=12, period=SIDE, method=m) for m in ("mle", "bayes"))
    assert b.value == pytest.approx(a.value, abs=0.05 * a.stderr + 1e-3)
    assert b.stderr == pytest.approx(a.stderr, rel=0.02)
    assert b.stderr_kind == "exact"
    assert b.interval == pytest.approx(a.interval, abs=0.1 * a.stderr)


@each
def test_invariance(way: str) -> None:
    x = box()
    before = i3d(x, period=SIDE, **WAYS[way])
    rng = np.random.default_rng(3)
    moved = {
        "permuted rows": x[rng.permutation(len(x))],
        "permuted columns": x[:, [2, 0, 1]],
        "shifted": x + np.array([100, -7, 3]),
        "mirrored": -x,
        "floats": x.astype(np.float32),
    }
    for name, y in moved.items():
        after = i3d(y, period=SIDE, validate=False, **WAYS[way])
        assert after.value == pytest.approx(before.value, rel=1e-12), name
        assert after.stderr == pytest.approx(before.stderr, rel=1e-12), name


def test_a_constant_column_changes_nothing_and_a_doubled_one_does() -> None:
    x = box()
    before = i3d(x, radius=9).value
    assert i3d(np.hstack([x, np.full((len(x), 1), 5)]), radius=9).value == before
    assert i3d(np.hstack([x, x]), radius=9).value != pytest.approx(before, rel=0.01)


def test_a_scan_is_its_single_radii() -> None:
    x = box()
    curve = i3d_scan(x, [4, 7, 10], period=SIDE, validate=True)
    for r, found in zip([4, 7, 10], curve.estimates, strict=True):
        one = i3d(x, radius=r, period=SIDE)
        assert (found.value, found.stderr, found.parameters) == (
            one.value,
            one.stderr,
            one.parameters,
        )
    assert [e.parameters["inner"] for e in curve.estimates] == [2, 4, 5]


def test_blocks_exceed_the_bound() -> None:
    x = box(1500)
    blocks = spatial_blocks(x)
    bound = i3d(x, radius=12, period=SIDE, validate=False)
    found = i3d(x, radius=12, period=SIDE, stderr="blocks", blocks=blocks, validate=False)
    assert found.value == bound.value
    assert found.stderr_kind == "blocks"
    assert 0.5 * bound.stderr < found.stderr < 20 * bound.stderr


def test_validation_rejects_two_dimensions_in_one_cloud() -> None:
    line = np.zeros((300, 3), dtype=int)
    line[:, 0] = np.random.default_rng(0).integers(0, 300, 300)
    mixed = np.vstack([line, box(300) + 1000])
    assert i3d(mixed, radius=9).parameters["model_p"] == 0.005
    assert i3d(box(600), radius=9, period=SIDE).parameters["model_p"] > 0.02


@pytest.mark.parametrize(
    ("points", "setting", "words"),
    [
        (np.full((50, 2), 3), {"radius": 4}, {"collapsed"}),
        (np.repeat(np.eye(2, dtype=int), 30, axis=0), {"k": 5}, {"collapsed"}),
        (np.arange(60)[:, None] * 100, {"radius": 9}, {"few_points"}),
        (np.arange(60)[:, None] * 5, {"radius": 9}, {"few_points"}),
        (np.repeat(np.arange(6)[:, None] * 50, 20, axis=0), {"radius": 9}, {"few_points"}),
    ],
    ids=["equal", "two distinct", "far apart", "none inside", "copies only"],
)
def test_no_answer_is_nan_with_a_reason(
    points: np.ndarray, setting: dict[str, Any], words: set[str]
) -> None:
    found = i3d(points, **setting)
    assert math.isnan(found.value)
    assert math.isnan(found.stderr)
    assert words <= set(note_words(found.note))


def test_copies_count_and_are_named() -> None:
    found = i3d(np.vstack([box(), box()[:40]]), radius=9)
    assert "duplicates (40 of 440 rows, all counted)" in found.note


def test_a_ball_around_the_period_is_named() -> None:
    assert "capped (the outer balls of 400 rows" in i3d(box(), radius=16, period=SIDE).note
    assert "capped" not in i3d(box(), radius=14, period=SIDE).note


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({}, "exactly one of radius, k and shells"),
        ({"radius": 3, "k": 5}, "exactly one of radius, k and shells"),
        ({"k": 400}, "site has 400 rows, k must be at least 2"),
        ({"shells": 1}, "shells must be at least 2"),
        ({"radius": 0}, "radius must be at least 1, got 0"),
        ({"radius": 3, "inner": 3}, r"inner must lie in 0\.\.2, got 3"),
        ({"k": 5, "inner": 1}, "inner goes with radius"),
        ({"k": 5, "method": "bayes"}, "bayes needs one pair of radii"),
        ({"radius": 3, "method": "map"}, "method must be mle or bayes, got 'map'"),
        ({"radius": 3, "metric": "euclidean"}, "metric must be one of manhattan, chebyshev"),
        ({"radius": 3, "ratio": 1.0}, r"ratio must lie in \(0, 1\)"),
        ({"radius": 3, "stderr": "blocks"}, "needs blocks=spatial_blocks"),
        ({"radius": 10**9}, "end at radius 100000, got 1000000000: at that scale .* use two_nn"),
        ({"radius": 2.5}, "radius must be a whole number, got 2.5"),
    ],
)
def test_misuse(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        i3d(box(), **setting)


def test_points_must_be_whole_and_finite() -> None:
    with pytest.raises(InputError, match=r"1 of 400 rows have others \(row 7\)"):
        i3d(box() + (np.arange(400) == 7)[:, None] * 0.5, radius=5)
    bad = box().astype(float)
    bad[3, 1] = np.nan
    with pytest.raises(NonFiniteError, match="rows 3"):
        i3d(bad, radius=5)
    with pytest.raises(InputError, match="ascending whole numbers"):
        i3d_scan(box(), [5, 4])


def test_sites_too_far_apart_to_be_a_lattice_are_refused() -> None:
    # Time and memory of a ball grow with its radius: these took for ever.
    with pytest.raises(InputError, match="coarser units"):
        i3d(box() * 10**8, k=5)
