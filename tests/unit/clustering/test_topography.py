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
from hiddenscape.testing.landscapes import written_landscape


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
    assert tree.note.endswith("disconnected (4 parts share no border)")
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


@pytest.mark.parametrize("seed", range(5))
def test_average_is_that_of_scipy_where_all_pairs_have_a_border(seed: int) -> None:
    rng = np.random.default_rng([63, seed])
    c = 9
    a, b = np.triu_indices(c, 1)
    saddles = rng.uniform(-8, -2, size=len(a))
    found = written_landscape(
        rng.uniform(-2, 0, size=c), {(i, j): s for i, j, s in zip(a, b, saddles, strict=True)}
    )
    tree = merge_tree(found, method="average")
    want = scipy_linkage(found.heights.max() - saddles, "average")
    assert tree.linkage()[:, 2] == pytest.approx(want[:, 2], rel=1e-12)
    assert tree.linkage()[:, 3].tolist() == want[:, 3].tolist()
    assert tree.parameters["linkage"] == "average"
    single = merge_tree(found).linkage()[:, 2]
    assert single == pytest.approx(scipy_linkage(found.heights.max() - saddles, "single")[:, 2])


def test_average_leaves_out_pairs_without_a_border() -> None:
    # 0-1 at -2; 2 borders on 0 only (-4); 3 on nobody.
    found = written_landscape([0.0, -0.5, -1.0, -1.5], {(0, 1): -2.0, (0, 2): -4.0})
    tree = merge_tree(found, method="average")
    assert tree.joined.tolist() == [[0, 1], [2, 4], [3, 5]]
    assert tree.heights[:2].tolist() == [-2.0, -4.0]
    assert np.isnan(tree.heights[2])
    # With a second border of 2 the mean of both is the height, and the higher row is named.
    found = written_landscape([0.0, -0.5, -1.0], {(0, 1): -2.0, (0, 2): -4.0, (1, 2): -3.0})
    tree = merge_tree(found, method="average")
    assert tree.heights.tolist() == [-2.0, -3.5]
    assert tree.saddle_rows.tolist() == [found.saddle_rows[0], found.saddle_rows[2]]


def test_an_unknown_linkage_is_refused() -> None:
    with pytest.raises(InputError, match="method must be one of single, average, got 'ward'"):
        merge_tree(hills(), method="ward")  # type: ignore[arg-type]
