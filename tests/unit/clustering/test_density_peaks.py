"""Density peaks: the decision graph by brute force, assignment, halo, and bad data."""

from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.clustering.density_peaks import decision_graph, density_peaks
from hiddenscape.density.knn import knn_density
from hiddenscape.density.pak import pak_density
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words


def clumps(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([51, seed])
    return np.vstack([rng.normal(size=(120, 2)), np.add(rng.normal(size=(80, 2)), [7, 0])])


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "angular"])
@pytest.mark.parametrize("k", [4, 20])
def test_delta_is_the_distance_to_the_nearest_denser_row(metric: str, k: int) -> None:
    points = clumps()
    graph = find_neighbors(points, k=k, metric=metric)
    density = knn_density(graph, dimension=2, k=4)
    found = decision_graph(graph, density, points=points)
    whole = find_neighbors(points, k=199, metric=metric)
    rho = density.values
    top = min(np.flatnonzero(rho == rho.max()))
    for i in range(200):
        if i == top:
            continue
        higher = [
            (d, j)
            for j, d in zip(whole.indices[i].tolist(), whole.distances[i].tolist(), strict=True)
            if (rho[j], -j) > (rho[i], -i)
        ]
        assert (found.delta[i], found.reference[i]) == min(higher)
    others = np.delete(found.delta, top)
    assert found.delta[top] == 1.05 * others.max()
    assert found.reference[top] == top


def test_ties_go_to_the_lower_row() -> None:
    points = np.stack(np.meshgrid(*[np.arange(6.0)] * 2), -1).reshape(-1, 2)
    graph = find_neighbors(points, k=4)
    density = knn_density(graph, dimension=2, k=2)
    found = decision_graph(graph, density, points=points)
    assert len(np.unique(density.values)) < 4
    assert (found.reference[1:] >= 0).all()
    equal = density.values[found.reference] == density.values
    assert (found.reference[equal] <= np.flatnonzero(equal)).all()


def test_clusters_follow_their_denser_neighbors() -> None:
    points = clumps()
    graph = find_neighbors(points, k=30)
    density = knn_density(graph, dimension=2, k=20)
    found = density_peaks(graph, density, min_log_density=-5, min_delta=2.5, points=points)
    assert found.sizes.tolist() == [120, 80]
    decision = decision_graph(graph, density, points=points)
    chosen = np.flatnonzero((decision.log_density > -5) & (decision.delta > 2.5))
    assert np.array_equal(found.centers, chosen)
    follower = np.ones(200, dtype=bool)
    follower[chosen] = False
    assert np.array_equal(found.labels[follower], found.labels[decision.reference[follower]])
    assert found.parameters["min_delta"] == 2.5


def test_the_halo_lies_below_the_highest_touching_row() -> None:
    rng = np.random.default_rng(52)
    points = np.vstack([rng.normal(size=(150, 2)), np.add(rng.normal(size=(150, 2)), [3, 0])])
    graph = find_neighbors(points, k=60)
    density = knn_density(graph, dimension=2, k=40)
    found = density_peaks(graph, density, min_log_density=-9, min_delta=1, points=points)
    assert found.n_clusters >= 2
    near = graph.indices[:, :40]
    touching = (found.labels[near] != found.labels[:, None]).any(axis=1)
    want = np.zeros(300, dtype=bool)
    for c in range(found.n_clusters):
        own = found.labels == c
        if (own & touching).any():
            want |= own & (density.values < density.values[own & touching].max())
    assert want.any()
    assert np.array_equal(found.halo, want)


def test_copies_and_points_without_extent() -> None:
    points = clumps()
    rows = np.repeat(np.arange(200), 3)
    graphs = [find_neighbors(p, k=30) for p in (points, points[rows])]
    alone, many = (
        decision_graph(g, pak_density(g, dimension=2), points=p)
        for g, p in zip(graphs, (points, points[rows]), strict=True)
    )
    assert np.array_equal(many.delta, alone.delta[rows])
    assert np.array_equal(rows[many.reference], alone.reference[rows])
    flat = find_neighbors(np.full((30, 2), 1.0), k=8)
    density = pak_density(flat, dimension=2)
    empty = decision_graph(flat, density)
    assert np.isnan(empty.delta).all()
    assert "collapsed" in note_words(empty.note)
    none = density_peaks(flat, density, min_log_density=0, min_delta=0)
    assert none.n_clusters == 0
    assert (none.labels == -1).all()
    assert "collapsed" in note_words(none.note)


def test_wrong_arguments_are_refused() -> None:
    points = clumps()
    graph = find_neighbors(points, k=5)
    density = knn_density(graph, dimension=2, k=5)
    with pytest.raises(InputError, match="rows have no denser row among their 5 neighbours"):
        decision_graph(graph, density)
    with pytest.raises(InputError, match="0 rows have log density > 100"):
        density_peaks(graph, density, min_log_density=100, min_delta=0, points=points)
    with pytest.raises(InputError, match="thresholds must be numbers"):
        density_peaks(graph, density, min_log_density=np.nan, min_delta=0, points=points)
    with pytest.raises(InputError, match="the graph is of other points"):
        decision_graph(graph, density, points=points[::-1])
