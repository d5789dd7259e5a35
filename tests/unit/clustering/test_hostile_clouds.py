"""Clouds made to break a search, all the way to clusters: a number, or a note that says why not."""

from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.clustering.adp import adp
from hiddenscape.clustering.density_peaks import decision_graph
from hiddenscape.clustering.topography import merge_tree
from hiddenscape.density.knn import knn_density
from hiddenscape.density.kstar import k_star
from hiddenscape.density.kstar_nn import k_peaks, kstar_density
from hiddenscape.density.pak import pak_density
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words
from hiddenscape.testing.clouds import CLOUDS, hostile_cloud

SAYS_WHY = {"collapsed", "undefined"}


@pytest.mark.parametrize("name", list(CLOUDS))
def test_a_number_or_a_reason(name: str) -> None:
    points = hostile_cloud(name)
    if len(points) < 6:
        pytest.skip("k* needs 6 rows")
    graph = find_neighbors(points, k=min(20, len(points) - 1))
    for dimension in (2.0, 500.0):
        size = k_star(graph, dimension=dimension)
        densities = [
            knn_density(graph, dimension=dimension, k=5),
            kstar_density(graph, dimension=dimension, k=size),
            k_peaks(graph, dimension=dimension, k=size),
            pak_density(graph, dimension=dimension, k=size),
        ]
        for density in densities:
            known = np.isfinite(density.values)
            assert known.all() == np.isfinite(density.stderr).all()
            if known.all():
                assert (density.k >= 1).all()
                assert not SAYS_WHY & set(note_words(density.note))
            else:
                assert not known.any()
                assert (density.k == -1).all()
                assert SAYS_WHY & set(note_words(density.note))
            found = adp(graph, density, points=points)
            decision = decision_graph(graph, density, points=points)
            assert len(merge_tree(found).peaks) == found.n_clusters
            if known.all():
                assert found.n_clusters >= 1
                assert set(found.labels.tolist()) == set(range(found.n_clusters))
                assert np.isfinite(decision.delta).all()
                assert (found.saddles < found.heights[found.saddle_pairs].T).all()
            else:
                assert found.n_clusters == 0
                assert SAYS_WHY & set(note_words(found.note))
                assert np.isnan(decision.delta).all()
            copies = graph.multiplicity
            assert copies is not None
            assert ("duplicates" in note_words(found.note)) == bool((copies > 1).any())
