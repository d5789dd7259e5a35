"""Densities against densities that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import digamma

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


@pytest.mark.real
def test_double_well_of_dadapy(shared: Path) -> None:
    folder = shared / "data" / "dadapy_datasets"
    points = np.loadtxt(folder / "6d_double_well.txt")[::3]
    truth = np.loadtxt(folder / "6d_double_well_logdensities_and_grads.txt")[::3, 0]
    graph = find_neighbors(points, k=200)
    gap = pak_density(graph, dimension=6).values - truth
    gap -= np.median(gap)  # the given log densities lack a constant
    assert np.abs(gap).mean() < 0.6
    assert np.corrcoef(gap + truth, truth)[0, 1] > 0.9
