"""The entropy of a sample: known values, copies, what may be compared."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest

from hiddenscape.density.bmti import bmti_density
from hiddenscape.density.entropy import Entropy, density_entropy
from hiddenscape.density.knn import knn_density
from hiddenscape.density.kstar_nn import k_peaks
from hiddenscape.density.pak import pak_density
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words


def cloud(n: int = 300, width: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([95, width, seed]).normal(size=(n, width))


@pytest.mark.parametrize("width", [1, 2, 4])
def test_gaussians_have_the_known_entropy(width: int) -> None:
    truth = 0.5 * width * math.log(2 * math.pi * math.e)
    z = []
    for seed in range(20):
        graph = find_neighbors(cloud(500, width, seed), k=5)
        # Of kNN the bias is known: log k - digamma(k).
        found = density_entropy(knn_density(graph, dimension=width, k=5))
        value = found.value + math.log(5) - 1.5061176684318
        z.append((value - truth) / found.stderr)
    # The tails add a bias of their own in more dimensions.
    assert abs(np.mean(z)) < 1 + 0.5 * width
    assert 0.7 < np.std(z) < 1.7


def test_a_unit_of_length_adds_d_log() -> None:
    points = cloud()
    a, b = (
        density_entropy(pak_density(find_neighbors(p, k=40), dimension=2))
        for p in (points, 7.5 * points)
    )
    assert b.value - a.value == pytest.approx(2 * math.log(7.5), abs=1e-9)
    assert b.stderr == pytest.approx(a.stderr)
    assert (b - a).value == b.value - a.value


def test_the_error_is_about_the_spread_over_draws() -> None:
    found = [
        density_entropy(knn_density(find_neighbors(cloud(300, 2, s), k=20), dimension=2, k=20))
        for s in range(40)
    ]
    spread = np.std([f.value for f in found])
    assert np.mean([f.stderr for f in found]) == pytest.approx(spread, rel=0.4)


@pytest.mark.parametrize("copies", [2, 3])
def test_copies_change_nothing(copies: int) -> None:
    points = cloud()
    rows = np.random.default_rng(96).permutation(np.repeat(np.arange(300), copies))
    alone = density_entropy(pak_density(find_neighbors(points, k=30), dimension=2))
    graph = find_neighbors(points[rows], k=30)
    many = pak_density(graph, dimension=2)
    with pytest.raises(InputError, match=f"{300 * (copies - 1)} of .* rows repeat another: give"):
        density_entropy(many)
    found = density_entropy(many, graph=graph)
    assert found.value == pytest.approx(alone.value, rel=1e-12)
    assert found.stderr == pytest.approx(alone.stderr, rel=1e-12)
    assert (found.n_used, found.n_dropped) == (300, 300 * (copies - 1))
    assert "duplicates" in note_words(found.note)


def test_no_density_has_no_entropy() -> None:
    graph = find_neighbors(np.full((50, 2), 3.0), k=12)
    found = density_entropy(pak_density(graph, dimension=2), graph=graph)
    assert math.isnan(found.value)
    assert "collapsed" in note_words(found.note)


def test_only_numbers_of_one_kind_are_compared() -> None:
    points = cloud(width=3)
    graph = find_neighbors(points, k=30)
    two, three = (density_entropy(pak_density(graph, dimension=d)) for d in (2, 3))
    with pytest.raises(InputError, match="an entropy at dimension 2 and one at 3 cannot be"):
        two - three
    other = density_entropy(bmti_density(graph, points, dimension=3))
    with pytest.raises(InputError, match="entropies of method 'pak' and 'bmti' cannot"):
        three - other
    angles = find_neighbors(points, k=30, metric="angular")
    third = density_entropy(pak_density(angles, dimension=3))
    with pytest.raises(InputError, match="entropies of metric 'euclidean' and 'angular' cannot"):
        three - third
    with pytest.raises(TypeError):
        three - 1.0
    with pytest.raises(TypeError):
        operator.lt(two, three)
    gap = three - Entropy(value=1.0, stderr=0.1, n_used=9, dimension=3, method="pak")
    assert gap.value == three.value - 1
    assert gap.stderr == pytest.approx(math.hypot(0.1, three.stderr))


def test_wrong_arguments_are_refused() -> None:
    graph = find_neighbors(cloud(), k=30)
    with pytest.raises(InputError, match="k-peaks are no log densities"):
        density_entropy(k_peaks(graph, dimension=2))
    density = pak_density(graph, dimension=2)
    with pytest.raises(InputError, match="the density has 300 rows, the graph 100"):
        density_entropy(density, graph=find_neighbors(cloud(100), k=30))
