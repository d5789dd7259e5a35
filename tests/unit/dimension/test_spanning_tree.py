from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from hiddenscape.dimension.spanning_tree import ph0_dimension, tree_lengths
from hiddenscape.errors import InputError
from hiddenscape.results import note_words
from hiddenscape.testing.manifolds import cube, flat_torus, rotated, sphere


def test_the_tree_is_that_of_scipy() -> None:
    for offset in (0.0, 1e5):
        x = cube(150, 3) + offset
        want = np.sort(minimum_spanning_tree(cdist(x, x)).data)
        assert tree_lengths(x) == pytest.approx(want, rel=1e-9)


def test_ties_and_copies_are_edges() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(5.0)] * 2), -1).reshape(-1, 2)
    assert tree_lengths(grid).tolist() == [1.0] * 24
    assert tree_lengths(np.vstack([grid, grid[:3]])).tolist() == [0.0] * 3 + [1.0] * 24
    assert tree_lengths(np.ones((4, 2))).tolist() == [0.0] * 3


def test_slope_is_that_of_the_page() -> None:
    x = cube(300, 2)
    found = ph0_dimension(x, sizes=(30, 60, 120), repeats=2, seed=5)
    b = []
    for repeat in range(2):
        rng = np.random.default_rng([5, repeat, 300])
        total = [tree_lengths(x[np.sort(rng.choice(300, size=m, replace=False))]).sum()
                 for m in (30, 60, 120)]  # fmt: skip
        b.append(np.polyfit(np.log([30, 60, 120]), np.log(total), 1)[0])
    assert found.value == pytest.approx(1 / (1 - np.mean(b)), rel=1e-9)
    assert found.parameters["slope"] == pytest.approx(np.mean(b))
    want = found.value**2 * np.std(b, ddof=1) / math.sqrt(2)
    assert found.stderr == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "d", "ratio"), [(cube, 2, 0.979), (sphere, 2, 1.002), (flat_torus, 1, 1.017),
                             (sphere, 5, 0.985), (cube, 5, 0.899)],
)  # fmt: skip
def test_truth_and_stated_bias(make: object, d: int, ratio: float) -> None:
    values = [ph0_dimension(make(2000, d, seed=s), repeats=3).value for s in range(2)]  # type: ignore[operator]
    assert np.mean(values) / d == pytest.approx(ratio, abs=0.06)


def test_power() -> None:
    x = cube(1200, 3)
    plain, other = ph0_dimension(x), ph0_dimension(x, power=0.5)
    assert other.value == pytest.approx(plain.value, rel=0.15)
    assert other.value != plain.value


@pytest.mark.parametrize(
    "move",
    [lambda x: x + 50, lambda x: x * 1e-4, lambda x: x * 2.0**600, lambda x: rotated(x, 9),
     lambda x: np.hstack([x, x]), lambda x: np.hstack([x, np.full((len(x), 1), 5.0)])],
)  # fmt: skip
def test_invariance(move: object) -> None:
    x = cube(200, 3)
    before, after = ph0_dimension(x), ph0_dimension(move(x))  # type: ignore[operator]
    assert after.value == pytest.approx(before.value, rel=1e-7)


def test_permuted_rows_agree_within_the_error() -> None:
    x = cube(600, 2)
    a, b = ph0_dimension(x), ph0_dimension(x[::-1])
    assert abs(a.value - b.value) < 6 * (a.stderr + b.stderr)


def test_bad_data() -> None:
    flat = ph0_dimension(np.ones((30, 4)))
    assert math.isnan(flat.value)
    assert note_words(flat.note)[0] == "collapsed"
    for copies in (2, 3, 4):
        many = ph0_dimension(np.repeat(cube(150, 2), copies, axis=0))
        assert many.value == ph0_dimension(cube(150, 2)).value
        assert many.n_dropped == 150 * (copies - 1)
        assert "duplicates" in many.note
    few = ph0_dimension(cube(8, 2))
    assert math.isnan(few.value)
    assert "few_points" in few.note
    assert math.isnan(ph0_dimension(cube(50, 2), sizes=(10, 20, 60)).value)
    # All distances are equal: the length grows like the number of rows.
    simplex = ph0_dimension(np.eye(60))
    assert math.isnan(simplex.value)
    assert math.isnan(simplex.stderr)
    assert "undefined" in simplex.note


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"power": 0.0}, "power must be positive"),
        ({"repeats": 1}, "repeats must be at least 2"),
        ({"sizes": (10, 20)}, "at least 3 ascending numbers"),
        ({"sizes": (3, 20, 30)}, "ascending numbers from 5 on"),
        ({"sizes": (30, 20, 40)}, "ascending"),
    ],
)
def test_misuse_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ph0_dimension(cube(60, 2), **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 2 rows"):
        tree_lengths([[1.0]])
