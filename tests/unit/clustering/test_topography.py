"""The tree of saddles: single linkage, drawn without crossings, honest where nothing joins."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import dendrogram, is_valid_linkage
from scipy.cluster.hierarchy import linkage as scipy_linkage

from hiddenscape.clustering.adp import adp
from hiddenscape.clustering.density_peaks import density_peaks
from hiddenscape.clustering.result import Clusters
from hiddenscape.clustering.topography import merge_tree
from hiddenscape.density.knn import knn_density
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors


def hills(seed: int = 0, n: int = 400, gap: float = 2.0) -> Clusters:
    rng = np.random.default_rng([61, seed])
    points = np.vstack([gap * rng.normal(size=2) + rng.normal(size=(n // 4, 2)) for _ in range(4)])
    graph = find_neighbors(points, k=30)
    return adp(graph, knn_density(graph, dimension=2, k=8), z=0.5, points=points)


@pytest.mark.parametrize("seed", range(5))
def test_heights_are_those_of_single_linkage(seed: int) -> None:
    found = hills(seed)
    c = found.n_clusters
    assert c > 4
    tree = merge_tree(found)
    far = 1e3
    distance = np.full((c, c), far)
    a, b = found.saddle_pairs.T
    distance[a, b] = distance[b, a] = found.heights.max() - found.saddles
    want = scipy_linkage(distance[np.triu_indices(c, 1)], "single")
    known = want[:, 2] < far
    assert np.count_nonzero(~known) == np.isnan(tree.heights).sum()
    got = found.heights.max() - tree.heights[np.isfinite(tree.heights)]
    assert got == pytest.approx(want[known, 2], rel=1e-12)
    assert (np.diff(tree.heights[np.isfinite(tree.heights)]) <= 0).all()
    assert is_valid_linkage(tree.linkage())


def test_the_order_is_one_without_crossings_and_scipy_draws_it() -> None:
    tree = merge_tree(hills(1))
    assert sorted(tree.order.tolist()) == list(range(len(tree.peaks)))
    drawn = dendrogram(tree.linkage(), no_plot=True)
    assert sorted(drawn["leaves"]) == sorted(tree.order.tolist())
    members = [{a} for a in range(len(tree.peaks))]
    place = {leaf: at for at, leaf in enumerate(tree.order.tolist())}
    for a, b in tree.joined:
        members.append(members[a] | members[b])
        spots = sorted(place[m] for m in members[-1])
        assert spots == list(range(spots[0], spots[0] + len(spots)))
    assert tree.order[0] == tree.peaks.argmax()


def test_parts_without_a_border_are_joined_last_and_noted() -> None:
    found = hills(2, gap=40.0)
    tree = merge_tree(found)
    assert tree.note == "disconnected (4 parts share no border)"
    assert np.isnan(tree.heights[-3:]).all()
    assert (tree.saddle_rows[-3:] == -1).all()
    assert np.isfinite(tree.heights[:-3]).all()
    drawn = tree.linkage()[:, 2]
    assert (drawn[-3:] > drawn[:-3].max()).all()
    assert is_valid_linkage(tree.linkage())


def test_one_cluster_none_and_methods_without_saddles() -> None:
    points = np.random.default_rng(62).normal(size=(200, 2))
    graph = find_neighbors(points, k=40)
    density = knn_density(graph, dimension=2, k=30)
    one = merge_tree(adp(graph, density, z=9))
    assert one.order.tolist() == [0]
    with pytest.raises(InputError, match="1 clusters have no tree"):
        one.linkage()
    flat = find_neighbors(np.ones((20, 2)), k=8)
    none = merge_tree(adp(flat, knn_density(flat, dimension=2, k=8)))
    assert none.order.size == 0
    assert "collapsed" in none.note
    plain = density_peaks(graph, density, min_log_density=-9, min_delta=1, points=points)
    with pytest.raises(InputError, match="density_peaks measures no saddles"):
        merge_tree(plain)
