"""Stability: each variation is the clustering it says, and what is stable is seen to be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hiddenscape.clustering.adp import adp
from hiddenscape.clustering.agreement import label_agreement
from hiddenscape.clustering.stability import cluster_stability
from hiddenscape.density.knn import knn_density
from hiddenscape.density.pak import pak_density
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors


def clumps(gap: float, n: int = 200) -> np.ndarray:
    rng = np.random.default_rng([81, n])
    return np.vstack([rng.normal(size=(n, 2)), rng.normal(size=(n, 2)) + np.array([gap, 0.0])])


def test_every_variation_is_what_it_says() -> None:
    points = clumps(2.5)
    found = cluster_stability(
        points, dimension=2, stored=60, z_scan=(0.5, 3), k=(8, 20), subsamples=2, seed=5
    )
    graph = find_neighbors(points, k=60)
    density = pak_density(graph, dimension=2)
    reference = adp(graph, density, points=points)
    assert np.array_equal(found.reference.labels, reference.labels)
    want = [adp(graph, density, z=z, points=points) for z in (0.5, 3)]
    want += [adp(graph, knn_density(graph, dimension=2, k=k), points=points) for k in (8, 20)]
    for variation, other in zip(found.variations, want, strict=False):
        ari = label_agreement(other, reference.labels)["ari"].value
        assert variation.n_clusters == other.n_clusters
        assert variation.ari == ari or math.isnan(ari)
    assert [v.changed for v in found.variations] == ["z", "z", "k", "k", "rows", "rows"]
    assert [v.z for v in found.of("z")] == [0.5, 3.0]
    assert [v.k for v in found.of("k")] == [8, 20]
    assert [v.draw for v in found.of("rows")] == [0, 1]
    mean, deviation = found.spread("k")
    counts = [v.n_clusters for v in found.of("k")]
    assert (mean, deviation) == (np.mean(counts), np.std(counts, ddof=1))


def test_subsamples_come_from_the_seed() -> None:
    points = clumps(4)
    runs = [
        cluster_stability(points, dimension=2, z_scan=(), k=(8,), subsamples=4, seed=s)
        for s in (1, 1, 2)
    ]
    aris = [[v.ari for v in r.of("rows")] for r in runs]
    assert aris[0] == aris[1] != aris[2]
    assert len(set(aris[0])) > 1


def test_what_is_far_apart_is_stable() -> None:
    found = cluster_stability(
        clumps(12), dimension=2, z_scan=(2.5, 4), k=(32,), subsamples=4, z=2.5
    )
    assert found.reference.n_clusters == 2
    assert [v.n_clusters for v in found.of("rows")] == [2] * 4
    assert min(v.ari for v in found.of("rows")) == 1


def test_points_without_extent_and_few_distinct_rows() -> None:
    flat = cluster_stability(np.ones((30, 3)), dimension=2)
    assert flat.variations == ()
    assert "collapsed" in flat.note
    few = cluster_stability(np.repeat(clumps(5, 6), 4, axis=0), dimension=2, subsamples=0)
    assert [(v.n_clusters, math.isnan(v.ari)) for v in few.of("k")][1:] == [(0, True)] * 2
    assert "duplicates" in few.note


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match=r"share must lie in \(0, 1\)"):
        cluster_stability(clumps(3), dimension=2, share=1.0)
    with pytest.raises(InputError, match="6 of 8 rows are too few"):
        cluster_stability(clumps(3)[:8], dimension=2)
    with pytest.raises(InputError, match="subsamples must be a whole number"):
        cluster_stability(clumps(3), dimension=2, subsamples=2.5)
