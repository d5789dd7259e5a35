"""Reference cases of other packages and of the definitions: peaks, saddles, halo."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hiddenscape.clustering.adp import adp
from hiddenscape.clustering.density_peaks import decision_graph
from hiddenscape.density.pak import pak_density
from hiddenscape.density.result import LogDensity
from hiddenscape.dimension.two_nn import TWO_NN_PRESETS, two_nn
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors

pytestmark = pytest.mark.real

GROUPS = ("DP, ADP, topography",)


@pytest.fixture(scope="session")
def cases(shared: Path) -> dict[str, Any]:
    content = json.loads((shared / "reference" / "cases.json").read_text(encoding="utf-8"))
    wanted = {i for g in GROUPS for i in content["groups"][g]}
    return {c["id"]: c["expected"] for c in content["cases"] if c["id"] in wanted}


def landscape_of(points: np.ndarray, k: int) -> tuple[NeighborGraph, LogDensity]:
    graph = find_neighbors(points, k=k)
    dimension = two_nn(graph, **TWO_NN_PRESETS["dadapy"]).value
    return graph, pak_density(graph, dimension=dimension)


@pytest.fixture(scope="session")
def gaussians(shared: Path) -> np.ndarray:
    return np.load(shared / "reference" / "2gaussians_in_2d.npy")


@pytest.fixture(scope="session")
def figure(shared: Path) -> tuple[NeighborGraph, LogDensity, np.ndarray]:
    points = np.loadtxt(shared / "reference" / "Fig1.dat")[:5000]
    return *landscape_of(points, 100), points


def test_every_visible_case_is_tested(cases: dict[str, Any]) -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in cases)


def test_two_gaussians_of_dadapy(cases: dict[str, Any], gaussians: np.ndarray) -> None:
    graph, density = landscape_of(gaussians, 99)
    found = adp(graph, density)
    assert found.n_clusters == cases["dadapy-adp-2gaussians"]["n_clusters"]
    assert cases["dadapy-adp-2gaussians"]["labels"] == "0 for rows 0-49, 1 for rows 50-99"
    assert np.array_equal(found.labels, np.repeat([0, 1], 50))
    want = cases["c-2gauss-adp-topography"]
    assert found.centers.tolist() == want["centres"]
    assert found.saddle_rows.tolist() == [want["saddle_index"]]
    assert found.saddles[0] == pytest.approx(want["saddle"], rel=1e-6)
    assert found.saddle_errors[0] == pytest.approx(want["saddle_err"], rel=1e-9)
    assert found.halo.sum() == want["halo"]


def test_decision_graph_of_dadapy(cases: dict[str, Any], gaussians: np.ndarray) -> None:
    graph, density = landscape_of(gaussians, 99)
    delta = decision_graph(graph, density).delta
    assert np.count_nonzero(delta > 1) == cases["dadapy-dp-decision-graph"]


def test_figure_1_of_dadapy(
    cases: dict[str, Any], figure: tuple[NeighborGraph, LogDensity, np.ndarray]
) -> None:
    graph, density, points = figure
    scan = cases["c-fig1-adp-z-scan"]
    assert density.dimension == pytest.approx(scan["id"], rel=1e-9)
    found = adp(graph, density, points=points)
    assert found.n_clusters == cases["dadapy-adp-fig1-nclusters"]
    assert found.sizes.tolist() == cases["dadapy-adp-fig1-sizes"]
    assert found.halo.sum() == scan["halo"]
    assert found.parameters["putative"] == 14
    assert [adp(graph, density, z=z).n_clusters for z in (0.5, 1, 1.65, 3, 5)] == scan["n"]


def test_without_bound_on_z_connected_parts_remain(
    cases: dict[str, Any], figure: tuple[NeighborGraph, LogDensity, np.ndarray]
) -> None:
    assert cases["d-adp-infinite-z"].startswith("number of connected components")
    graph, density, _ = figure
    start = adp(graph, density, z=0)
    a, b = start.saddle_pairs.T
    size = (start.n_clusters, start.n_clusters)
    parts, _ = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=size))
    assert adp(graph, density, z=math.inf).n_clusters == parts
