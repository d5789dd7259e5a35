from __future__ import annotations

import math

import numpy as np
import pytest

from hiddenscape.dimension.boxes import box_counting
from hiddenscape.errors import InputError
from hiddenscape.results import note_words
from hiddenscape.testing.manifolds import cube, flat_torus


def test_counts_by_hand() -> None:
    # One grid only, corner at 0: boxes of side 1, 2, 4 on the whole numbers 0..7.
    x = np.arange(8.0)[:, None] + 0.5
    found = box_counting(x, scales=[1, 2, 4], offsets=1, low=[0.0])
    assert found.parameters["counts"] == (8, 4, 2)
    assert found.value == pytest.approx(1, rel=1e-12)
    assert found.scale == pytest.approx(2)
    grid = np.stack(np.meshgrid(*[np.arange(8.0) + 0.5] * 2), -1).reshape(-1, 2)
    plane = box_counting(grid, scales=[1, 2, 4], offsets=1, low=[0.0, 0.0])
    assert plane.parameters["counts"] == (64, 16, 4)
    assert plane.value == pytest.approx(2, rel=1e-12)
    assert "few_points (64 boxes for 64 rows at the smallest side)" in plane.note


def test_the_least_count_over_shifts_and_the_smallest_of_equal_counts() -> None:
    # A pair across an edge of the first grid: another grid holds both in one box.
    x = np.array([[0.9], [1.1], [9.9], [10.1]])
    one = box_counting(x, scales=[1, 2], offsets=1, low=[0.0])
    many = box_counting(x, scales=[1, 2, 2.5, 100], offsets=4, low=[0.0])
    assert one.parameters["counts"] == (4, 3)
    assert many.parameters["counts"] == (2, 1)
    assert many.parameters["sides"] == (1.0, 100.0)


@pytest.mark.parametrize(
    ("make", "d", "ratio"),
    [(cube, 1, 0.982), (cube, 2, 0.939), (cube, 3, 0.954), (flat_torus, 1, 1.145)],
)
def test_truth_and_stated_bias(make: object, d: int, ratio: float) -> None:
    values = [box_counting(make(5000, d, seed=s)).value for s in range(2)]  # type: ignore[operator]
    assert np.mean(values) / d == pytest.approx(ratio, abs=0.03)


@pytest.mark.parametrize(
    "move",
    [lambda x: x[::-1], lambda x: x + 64, lambda x: x * 2.0**-30, lambda x: x * 2.0**600,
     lambda x: np.hstack([x, np.full((len(x), 1), 3.0)]), lambda x: np.hstack([x, x])],
)  # fmt: skip
def test_invariance(move: object) -> None:
    # Coordinates on a fine grid of binary fractions: the moves are exact.
    x = np.round(cube(500, 2) * 2**20) / 2**20
    assert box_counting(move(x)).value == pytest.approx(box_counting(x).value, rel=1e-9)  # type: ignore[operator]


def test_bad_data() -> None:
    flat = box_counting(np.ones((30, 3)))
    assert math.isnan(flat.value)
    assert note_words(flat.note)[0] == "collapsed"
    x = cube(300, 2)
    for copies in (2, 3, 4):
        many = box_counting(np.repeat(x, copies, axis=0))
        assert many.value == box_counting(x).value
        assert many.n_dropped == 300 * (copies - 1)
        assert "duplicates" in many.note
    wide = box_counting(x, scales=[10.0, 20.0])
    assert math.isnan(wide.value)
    assert {"ties", "undefined"} <= set(note_words(wide.note))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": [1.0]}, "at least two positive lengths"),
        ({"scales": [0.0, 1.0]}, "positive lengths"),
        ({"scales": [2.0, 1.0]}, "ascending"),
        ({"scales": [1e-300, 1.0]}, "beyond the digits"),
        ({"offsets": 0}, "offsets must be at least 1"),
        ({"low": [0.5, 0.5]}, "a corner below all points"),
        ({"low": [0.0]}, "of 2 numbers"),
    ],
)
def test_misuse_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        box_counting(cube(60, 2), **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at most 10 columns, got 11"):
        box_counting(np.eye(11))
