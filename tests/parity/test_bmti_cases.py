"""Reference cases of other packages: the graph of neighbourhoods, gradients, BMTI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenscape.density.bmti import bmti_density
from hiddenscape.density.gradients import density_gradients
from hiddenscape.density.kstar import k_star
from hiddenscape.kernels.slopes import edge_slopes
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.neighbors.similarities import neighbor_similarities, sparse_graph

pytestmark = pytest.mark.real

GROUPS = ("graph and BMTI",)


@pytest.fixture(scope="session")
def cases(shared: Path) -> dict[str, Any]:
    content = json.loads((shared / "reference" / "cases.json").read_text(encoding="utf-8"))
    wanted = {i for g in GROUPS for i in content["groups"][g]}
    return {c["id"]: c["expected"] for c in content["cases"] if c["id"] in wanted}


def six(middle: float) -> np.ndarray:
    return np.array([[0, 0], [0.15, 0], [0.2, 0], [4, 0], [middle, 0], [4.2, 0]])


def test_every_visible_case_is_tested(cases: dict[str, Any]) -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in cases)


def test_edges_and_similarities_of_dadapy(cases: dict[str, Any]) -> None:
    # A k* of 2 is a row and its nearest neighbour.
    graph = find_neighbors(six(4.09), k=5)
    edges = sparse_graph(graph, k=1, values="connectivity").tocoo()
    assert np.stack(edges.coords, axis=1).tolist() == cases["dadapy-neighbour-graph-edges"]
    found = neighbor_similarities(graph, k=1, measure="jaccard")
    assert found == pytest.approx(cases["dadapy-neighbourhood-jaccard"])


def test_gradients_of_dadapy(cases: dict[str, Any]) -> None:
    points = six(4.1)
    found = density_gradients(find_neighbors(points, k=5), points, dimension=1, k=3)
    assert found.values == pytest.approx(np.array(cases["dadapy-gradients"]), abs=1e-8)


def test_correlations_of_dadapy(cases: dict[str, Any]) -> None:
    # One displacement per row has a mean but no variance: below the k* >= 3 of the public call.
    points = six(4.1)
    graph = find_neighbors(points, k=5)
    every, starts = np.arange(6), np.arange(7)
    to = graph.indices[:, 0].astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(np.bincount(to, minlength=6))])
    seen = np.empty((6, 4))
    edge_slopes(
        points, np.empty(0), every, graph.indices, graph.distances, starts, every,
        np.argsort(to, kind="stable"), ends, 0, 6, seen,
    )  # fmt: skip
    jaccard = neighbor_similarities(graph, k=1, measure="jaccard")
    found = np.sign(seen[:, 0] * seen[:, 2]) * jaccard
    assert found == pytest.approx(cases["dadapy-pearson"])


def test_bmti_of_dadapy(cases: dict[str, Any], shared: Path) -> None:
    points = np.load(shared / "reference" / "2gaussians_in_2d.npy")[:25]
    graph = find_neighbors(points, k=10)
    size = k_star(graph, dimension=2)
    assert (size.k == 9).all()
    found = bmti_density(graph, points, dimension=2, k=size, alpha=0.99, variance="published")
    assert found.values == pytest.approx(cases["dadapy-bmti-25"], abs=1e-9)
