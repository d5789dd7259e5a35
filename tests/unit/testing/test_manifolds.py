from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from hiddenscape.errors import InputError
from hiddenscape.testing.manifolds import (
    MANIFOLDS,
    ball,
    pareto_graph,
    periodic_graph,
    rotated,
    sphere,
    torus,
)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_samples_are_seeded_and_finite(name: str) -> None:
    manifold = MANIFOLDS[name]
    x = manifold.sample(30, 5)
    assert len(x) == 30
    assert x.shape[1] >= manifold.dimension
    assert np.isfinite(x).all()
    assert np.array_equal(x, manifold.sample(30, 5))
    assert not np.array_equal(x, manifold.sample(30, 6))


def test_the_ball_is_filled_evenly() -> None:
    radius = np.linalg.norm(ball(4000, 5), axis=1)
    assert kstest(radius**5, "uniform").pvalue > 0.01
    assert np.linalg.norm(sphere(50, 3), axis=1) == pytest.approx(np.ones(50))


def test_the_torus_is_even_in_area() -> None:
    x = torus(5000)
    angle = np.arctan2(x[:, 2], np.hypot(x[:, 0], x[:, 1]) - 3)
    outside = np.mean(np.abs(angle) < np.pi / 2)
    assert outside == pytest.approx(0.5 + 1 / (3 * np.pi), abs=0.02)


def test_rotation_is_an_isometry() -> None:
    x = ball(40, 3)
    y = rotated(x, 11)
    assert y @ y.T == pytest.approx(x @ x.T)
    with pytest.raises(InputError, match="3 columns cannot be rotated into 2"):
        rotated(x, 2)


def test_ratios_of_the_model_graph_are_pareto() -> None:
    d = pareto_graph(5000, 7.0, k=4).distances
    assert kstest(np.log(d[:, 1] / d[:, 0]), "expon", args=(0, 1 / 7)).pvalue > 0.01
    assert kstest(d[:, 0] ** 7, "expon").pvalue > 0.01


def test_the_periodic_graph_wraps_around() -> None:
    g = periodic_graph(200, 3, k=3)
    # In a box with faces joined every ball has its full volume: mean n * 4/3 pi r_1^3 is 1.
    volume = 200 * 4 / 3 * np.pi * g.distances[:, 0] ** 3
    assert volume.mean() == pytest.approx(1, abs=0.3)
