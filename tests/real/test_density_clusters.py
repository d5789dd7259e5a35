"""Planted clusters on a background: what the peaks find of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hiddenscape.clustering.adp import adp
from hiddenscape.clustering.agreement import label_agreement
from hiddenscape.clustering.result import Clusters
from hiddenscape.clustering.topography import merge_tree
from hiddenscape.density.pak import pak_density
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.neighbors.search import find_neighbors

pytestmark = pytest.mark.real

SCAN = (1.0, 1.65, 2.5, 4.0)


def scan(folder: Path, points_file: str, truth_file: str) -> tuple[list[Clusters], np.ndarray]:
    points = np.loadtxt(folder / points_file)
    truth = np.loadtxt(folder / truth_file).astype(int)  # -1 is the background
    graph = find_neighbors(points, k=100)
    density = pak_density(graph, dimension=two_nn(graph).value)
    assert density.dimension == pytest.approx(2, abs=0.05)
    found = [adp(graph, density, z=z, points=points) for z in SCAN]
    counts = [f.n_clusters for f in found]
    assert counts == sorted(counts, reverse=True)
    return found, truth


def agreement(found: Clusters, truth: np.ndarray) -> tuple[float, float]:
    """ARI of the rows that were planted in a cluster, and of the rows outside the halo."""
    planted = truth >= 0
    inside = label_agreement(found.labels[planted], truth[planted])["ari"].value
    return inside, label_agreement(found, truth, halo="drop")["ari"].value


def test_eight_clusters_of_figure_1(data: Path) -> None:
    found, truth = scan(data / "dadapy_datasets", "Fig1.dat", "gt_F1.txt")
    usual = found[SCAN.index(1.65)]
    assert usual.n_clusters == len(np.unique(truth)) - 1 == 8
    inside, core = agreement(usual, truth)
    assert inside > 0.99
    assert core > 0.99
    # Saddles rejected at a larger Z are the lowest margins: fewer clusters, worse agreement.
    assert agreement(found[SCAN.index(4.0)], truth)[0] < inside
    tree = merge_tree(usual)
    assert "disconnected" not in tree.note
    assert (np.diff(tree.heights) <= 0).all()
    assert len(tree.heights) == 7


def test_two_clusters_of_figure_2(data: Path) -> None:
    found, truth = scan(data / "dadapy_datasets", "Fig2.dat", "gt_F2.txt")
    # Long flat ridges: at the usual Z noise along them still stands out.
    assert found[SCAN.index(1.65)].n_clusters > 2
    for z in (2.5, 4.0):
        two = found[SCAN.index(z)]
        assert two.n_clusters == len(np.unique(truth)) - 1 == 2
        inside, core = agreement(two, truth)
        assert inside > 0.98
        assert core > 0.98
