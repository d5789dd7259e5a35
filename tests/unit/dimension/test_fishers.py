from __future__ import annotations

import math

import numpy as np
import pytest

from hiddenscape.dimension.fishers import fishers_dimension
from hiddenscape.errors import InputError
from hiddenscape.results import note_words
from hiddenscape.testing.manifolds import cube, gaussian, rotated


def test_profile_is_its_formula() -> None:
    x = gaussian(120, 3)
    found = fishers_dimension(x, alphas=[0.6, 0.8], repeats=0)
    c = x - x.mean(axis=0)
    _, vectors = np.linalg.eigh(c.T @ c)
    y = c @ vectors
    y /= y.std(axis=0)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    products = (y @ y.T)[~np.eye(120, dtype=bool)]
    for alpha, n in zip((0.6, 0.8), found.parameters["profile"], strict=True):
        p = np.mean(products >= alpha)
        # n solves p = (1 - a^2)^((n - 1) / 2) / (a sqrt(2 pi n)).
        right = (1 - alpha**2) ** ((n - 1) / 2) / (alpha * math.sqrt(2 * math.pi * n))
        assert right == pytest.approx(p, rel=1e-9)
    assert found.parameters["components"] == 3


@pytest.mark.parametrize("d", [2, 5, 10])
def test_truth_on_gaussians(d: int) -> None:
    values = [fishers_dimension(gaussian(500, d, seed=s), repeats=0).value for s in range(5)]
    assert np.mean(values) == pytest.approx(d, rel=0.05)


def test_weak_directions_are_left_out() -> None:
    x = gaussian(400, 6) * np.array([1, 1, 1, 0.25, 0.25, 0.25])
    assert fishers_dimension(x, repeats=0).parameters["components"] == 3
    assert fishers_dimension(x, condition=100, repeats=0).parameters["components"] == 6


@pytest.mark.parametrize(
    "move",
    [lambda x: x[::-1], lambda x: x + 50, lambda x: x * 1e-4, lambda x: rotated(x, 9),
     lambda x: np.hstack([x, x]), lambda x: x * 2.0**600, lambda x: np.vstack([x, x[:9]])],
)  # fmt: skip
def test_invariance(move: object) -> None:
    x = gaussian(150, 4)
    before = fishers_dimension(x, repeats=0)
    after = fishers_dimension(move(x), repeats=0)  # type: ignore[operator]
    assert after.value == pytest.approx(before.value, rel=1e-9)


def test_fewer_rows_than_columns() -> None:
    x = gaussian(60, 4)
    wide = rotated(x, 100)
    assert fishers_dimension(wide, repeats=0).value == pytest.approx(
        fishers_dimension(x, repeats=0).value, rel=1e-9
    )


def test_error_covers_the_spread() -> None:
    found = [fishers_dimension(gaussian(200, 4, seed=s), repeats=4) for s in range(20)]
    spread = np.std([f.value for f in found])
    assert 0.8 < np.mean([f.stderr for f in found]) / spread < 4
    assert found[0].stderr_kind == "repeats"
    assert found[0].stderr == fishers_dimension(gaussian(200, 4), repeats=4).stderr
    assert math.isnan(fishers_dimension(gaussian(200, 4), repeats=0).stderr)


def test_bad_data() -> None:
    flat = fishers_dimension(np.ones((30, 4)))
    assert math.isnan(flat.value)
    assert note_words(flat.note)[0] == "collapsed"
    two = fishers_dimension(np.repeat(np.eye(2), 20, axis=0))
    assert note_words(two.note)[0] == "collapsed"
    # High dimension and few rows: no pair is close, and no number is made up.
    apart = fishers_dimension(gaussian(30, 200))
    assert math.isnan(apart.value)
    assert {"undefined", "few_points"} <= set(note_words(apart.note))
    for copies in (2, 3, 4):
        many = fishers_dimension(np.repeat(cube(120, 3), copies, axis=0), repeats=0)
        assert many.value == fishers_dimension(cube(120, 3), repeats=0).value
        assert many.n_dropped == 120 * (copies - 1)
        assert "duplicates" in many.note
    line = fishers_dimension(np.arange(50.0)[:, None], repeats=2)
    assert math.isnan(line.value) or line.value > 0
    assert line.note


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphas": [0.5, 1.0]}, r"ascending numbers in \(0, 1\)"),
        ({"alphas": [0.8, 0.7]}, "ascending"),
        ({"condition": 0.5}, "condition must be at least 1"),
        ({"repeats": -1}, "repeats must not be negative"),
    ],
)
def test_misuse_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fishers_dimension(cube(30, 2), **options)  # type: ignore[arg-type]
