"""Densities against densities that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import digamma

from hiddenscape.density.bmti import bmti_density
from hiddenscape.density.differences import density_differences
from hiddenscape.density.gradients import density_gradients
from hiddenscape.density.knn import knn_density
from hiddenscape.density.kstar import k_star
from hiddenscape.density.kstar_nn import kstar_density
from hiddenscape.density.pak import pak_density
from hiddenscape.neighbors.search import find_neighbors


def torus_graph(n: int, d: int, k: int, seed: int):  # type: ignore[no-untyped-def]
    """Uniform points without a border: log density 0 everywhere."""
    points = np.random.default_rng([31, d, seed]).uniform(size=(n, d))
    return find_neighbors(points, k=k, metric="periodic", period=1)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_knn_of_uniform_points_has_the_known_bias_and_spread(d: int) -> None:
    k, n = 20, 1500
    z = []
    for seed in range(4):
        graph = torus_graph(n, d, k, seed)
        # N V(r_k) follows Gamma(k): E log = digamma(k); unbiased density has mean 1.
        found = knn_density(graph, dimension=d, k=k)
        # Neighbouring rows share neighbours: about n / k of them are independent.
        error = found.values.std() / np.sqrt(n / k)
        assert found.values.mean() == pytest.approx(np.log(k) - digamma(k), abs=4 * error)
        rho = np.exp(knn_density(graph, dimension=d, k=k, unbiased=True).values)
        assert rho.mean() == pytest.approx(1, abs=4 * rho.std() / np.sqrt(n / k))
        z.append((found.values / found.stderr).std())
    assert np.mean(z) == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_pak_of_uniform_points_has_the_stated_error(d: int) -> None:
    found = [pak_density(torus_graph(1500, d, 30, s), dimension=d, k=30) for s in range(3)]
    z = np.concatenate([f.values / f.stderr for f in found])
    assert z.std() == pytest.approx(1, abs=0.15)
    assert z.mean() == pytest.approx(0, abs=0.3)


def test_k_reaches_the_cap_where_the_density_is_constant() -> None:
    found = k_star(torus_graph(2000, 2, 60, 0), dimension=2)
    assert found.share_capped > 0.99
    # 56 tests per row that share most of their points: more than alpha, far less than 56 alpha.
    loose = k_star(torus_graph(2000, 2, 60, 0), dimension=2, alpha=0.01)
    assert 0.01 < 1 - loose.share_capped < 0.57


@pytest.mark.parametrize("d", [2, 5])
def test_gaussian(d: int) -> None:
    points = np.random.default_rng([32, d]).normal(size=(3000, d))
    truth = -0.5 * (points**2).sum(axis=1) - 0.5 * d * np.log(2 * np.pi)
    graph = find_neighbors(points, k=200)
    size = k_star(graph, dimension=d)
    pak = pak_density(graph, dimension=d, k=size)
    plain = kstar_density(graph, dimension=d, k=size)
    inner = (points**2).sum(axis=1) < d
    gap = (pak.values - truth)[inner]
    assert abs(gap.mean()) < 0.05
    assert (gap / pak.stderr[inner]).std() == pytest.approx(1, abs=0.2)
    assert np.abs(gap).mean() < 1.1 * np.sqrt(2 / np.pi) * pak.stderr[inner].mean()
    if d == 5:
        # Around the peak the ball is biased by the curvature; the tilt removes half of it.
        peak = (points**2).sum(axis=1) < d / 2
        bias = (plain.values - truth)[peak].mean()
        assert bias < -0.15
        assert abs((pak.values - truth)[peak].mean()) < 0.6 * abs(bias)


@pytest.mark.parametrize("d", [2, 5])
def test_gradients_and_their_integral_on_a_gaussian(d: int) -> None:
    points = np.random.default_rng([33, d]).normal(size=(1400, d))
    truth = -0.5 * (points**2).sum(axis=1) - 0.5 * d * np.log(2 * np.pi)
    inner = (points**2).sum(axis=1) < d
    graph = find_neighbors(points, k=100)
    size = k_star(graph, dimension=d)
    slopes = density_gradients(graph, points, dimension=d, k=size)
    z = ((slopes.values + points) / slopes.stderr)[inner]  # the gradient is -x
    assert z.std() == pytest.approx(1, abs=0.15)
    assert z.mean() == pytest.approx(0, abs=0.15)
    edges = density_differences(graph, points, dimension=d, k=size)
    gap = edges.values - (truth[edges.columns] - truth[edges.rows])
    both = inner[edges.rows] & inner[edges.columns]
    z = (gap / np.sqrt(edges.variance))[both]
    # A normal variable has a median of 0.674; where both ends err alike the tails are heavier.
    assert np.median(np.abs(z)) == pytest.approx(0.674, abs=0.12)
    assert abs(z.mean()) < 0.1
    gap = {
        "pak": pak_density(graph, dimension=d, k=size).values - truth,
        "kstar": kstar_density(graph, dimension=d, k=size).values - truth,
        "bmti": bmti_density(graph, points, dimension=d, k=size).values - truth,
    }
    error = {name: np.abs(g[inner]).mean() for name, g in gap.items()}
    assert error["bmti"] < error["kstar"]
    assert error["bmti"] < 0.65 * error["pak"]


def test_errors_of_bmti_hold_in_five_dimensions() -> None:
    points = np.random.default_rng(34).normal(size=(1400, 5))
    truth = -0.5 * (points**2).sum(axis=1)
    inner = (points**2).sum(axis=1) < 5
    graph = find_neighbors(points, k=100)
    for weights in ("uncorr", "identity"):
        found = bmti_density(graph, points, dimension=5, weights=weights)
        gap = (found.values - truth)[inner]
        z = (gap - gap.mean()) / found.stderr[inner]
        assert 0.75 < z.std() < 1.25


@pytest.mark.real
def test_double_well_of_dadapy(shared: Path) -> None:
    folder = shared / "data" / "dadapy_datasets"
    points = np.loadtxt(folder / "6d_double_well.txt")[::3]
    truth = np.loadtxt(folder / "6d_double_well_logdensities_and_grads.txt")[::3, 0]
    graph = find_neighbors(points, k=200)
    size = k_star(graph, dimension=6)
    error = {}
    for name, found in {
        "pak": pak_density(graph, dimension=6, k=size),
        "kstar": kstar_density(graph, dimension=6, k=size),
        "bmti": bmti_density(graph, points, dimension=6, k=size),
    }.items():
        gap = found.values - truth
        gap -= np.median(gap)  # the given log densities lack a constant
        error[name] = np.abs(gap).mean()
        assert np.corrcoef(gap + truth, truth)[0, 1] > 0.9
    assert error["pak"] < 0.6
    assert error["bmti"] < 0.4
    assert error["bmti"] < 0.9 * error["kstar"]
    exact = np.loadtxt(folder / "6d_double_well_logdensities_and_grads.txt")[::3, 1:]
    slopes = density_gradients(graph, points, dimension=6, k=size).values
    cosine = (slopes * exact).sum(axis=1)
    cosine /= np.linalg.norm(slopes, axis=1) * np.linalg.norm(exact, axis=1)
    assert np.median(cosine) > 0.85
    # A ball averages over a gradient that turns: slopes come out a fifth too flat.
    assert 0.7 < (slopes * exact).sum() / (exact**2).sum() < 1
