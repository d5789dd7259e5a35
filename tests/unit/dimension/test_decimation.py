from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from hiddenscape.dimension.decimation import decimation
from hiddenscape.dimension.gride import gride
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, rotated


def test_levels_are_means_of_their_repeats() -> None:
    curve = decimation(cube(330, 2))
    assert [len(r) for r in curve.repeats] == [1, 2, 4, 8, 16]
    assert curve.subset == (330, 165, 82, 41, 21)
    for level, singles in zip(curve.estimates[1:], curve.repeats[1:], strict=True):
        values = np.array([s.value for s in singles])
        assert level.value == pytest.approx(values.mean())
        assert level.stderr == pytest.approx(values.std(ddof=1) / math.sqrt(len(values)))
        assert level.stderr_kind == "repeats"
        assert sum(s.n_used for s in singles) == 330
    assert (np.diff(curve.scales) > 0).all()


def test_the_full_set_is_the_estimator_itself() -> None:
    points = cube(100, 2)
    whole = two_nn(find_neighbors(points, k=2))
    first = decimation(points).estimates[0]
    assert (first.value, first.stderr, first.stderr_kind) == (whole.value, whole.stderr, "exact")


def test_a_graph_at_hand_spares_the_first_search() -> None:
    points = cube(100, 2)
    with_graph = decimation(points, graph=find_neighbors(points, k=7))
    assert np.array_equal(with_graph.values, decimation(points).values)
    with pytest.raises(InputError, match="the graph has 50 rows and 2 neighbours, the points have"):
        decimation(points, graph=find_neighbors(points[:50], k=2))


def test_subsets_are_seeded() -> None:
    points = cube(200, 2)
    a, b = decimation(points, seed=3), decimation(points, seed=3)
    assert np.array_equal(a.values, b.values)
    assert not np.array_equal(a.values[1:], decimation(points, seed=4).values[1:])


def test_a_rotation_a_shift_and_a_scale_change_nothing() -> None:
    points = cube(200, 3)
    moved = rotated(points, 9) * 37 + 5
    assert decimation(moved).values == pytest.approx(decimation(points).values, rel=1e-9)


def test_copies_are_left_out_first() -> None:
    points = cube(160, 2)
    order = np.random.default_rng(0).permutation(200)
    repeated = np.vstack([points, points[:40]])[np.sort(order)]
    a, b = decimation(points), decimation(repeated)
    assert np.array_equal(a.values, b.values)
    assert {e.n_dropped for e in b.estimates} == {40}


def test_another_estimator() -> None:
    curve = decimation(cube(200, 2), estimator=partial(gride, n1=2), k=4)
    assert set(curve.n2) == {4}
    assert {e.method for e in curve.estimates} == {"gride"}


def test_noise_is_seen_at_small_scales_only(rng: np.random.Generator) -> None:
    t = rng.uniform(0, 2 * np.pi, size=3000)
    circle = np.stack([np.cos(t), np.sin(t)], axis=1) + rng.normal(size=(3000, 2)) * 0.005
    curve = decimation(circle)
    assert curve.values[0] > 1.7
    assert curve.values[-3] < 1.3


def test_notes_count_subsets() -> None:
    curve = decimation(cube(160, 2))
    assert curve.estimates[0].note == ""
    assert "few_points (2 of 2 subsets)" in curve.estimates[1].note


def test_pathology_is_nan_with_a_reason() -> None:
    curve = decimation(np.ones((100, 3)))
    assert len(curve) == 1
    assert math.isnan(curve.values[0])
    simplex = decimation(np.eye(80))
    assert np.isnan(simplex.values).all()
    assert "undefined (2 of 2 subsets)" in simplex.estimates[1].note


def test_misuse_is_refused() -> None:
    with pytest.raises(InputError, match="min_rows must be at least 10, got 5"):
        decimation(cube(100, 2), min_rows=5)
    with pytest.raises(InputError, match="at least 3 rows, got 2"):
        decimation(cube(2, 2))
    with pytest.raises(NonFiniteError):
        decimation(np.full((30, 2), np.nan))


def test_a_graph_of_other_points_is_refused(rng: np.random.Generator) -> None:
    x, other = rng.normal(size=(80, 3)), rng.normal(size=(80, 9))
    with pytest.raises(InputError, match="the graph is of other points"):
        decimation(x, graph=find_neighbors(other, k=2))
    with pytest.raises(InputError, match="searched by Euclidean distance, the graph is angular"):
        decimation(x, graph=find_neighbors(x, k=2, metric="angular"))
