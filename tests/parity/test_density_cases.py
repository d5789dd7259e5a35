"""Reference cases of other packages and of the definitions: k*, densities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenscape.density.knn import knn_density
from hiddenscape.density.kstar import k_star
from hiddenscape.density.kstar_nn import k_peaks, kstar_density
from hiddenscape.density.pak import pak_density
from hiddenscape.dimension.two_nn import TWO_NN_PRESETS, two_nn
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import ball

pytestmark = pytest.mark.real

GROUPS = ("k*", "kNN, k*NN, PAk")


@pytest.fixture(scope="session")
def cases(shared: Path) -> dict[str, Any]:
    content = json.loads((shared / "reference" / "cases.json").read_text(encoding="utf-8"))
    wanted = {i for g in GROUPS for i in content["groups"][g]}
    return {c["id"]: c["expected"] for c in content["cases"] if c["id"] in wanted}


@pytest.fixture(scope="session")
def gaussians(shared: Path) -> np.ndarray:
    return np.load(shared / "reference" / "2gaussians_in_2d.npy")


def published_dimension(graph: NeighborGraph) -> float:
    return two_nn(graph, **TWO_NN_PRESETS["dadapy"]).value


@pytest.fixture(scope="session")
def part(gaussians: np.ndarray) -> tuple[NeighborGraph, float]:
    graph = find_neighbors(gaussians[:25], k=24)
    return graph, published_dimension(graph)


def test_every_visible_case_is_tested(cases: dict[str, Any]) -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in cases)


def test_k_star_of_dadapy(cases: dict[str, Any], part: tuple[NeighborGraph, float]) -> None:
    graph, d = part
    found = k_star(graph, dimension=d)
    assert found.k.tolist() == cases["dadapy-kstar-25"]
    assert k_peaks(graph, dimension=d, k=found).values.tolist() == cases["dadapy-kpeaks-25"]
    assert found.share_capped == 24 / 25


def test_a_high_threshold_reaches_the_cap(cases: dict[str, Any]) -> None:
    points = [[0.01, 0], [0.12, 0], [0.23, 0], [4.0, 0], [4.11, 0], [4.22, 0]]
    graph = find_neighbors(points, k=5)
    found = k_star(graph, dimension=published_dimension(graph), alpha=1e-300)
    assert found.k.tolist() == cases["dadapy-kstar-high-threshold"]


def test_k_star_at_a_wrong_dimension(cases: dict[str, Any]) -> None:
    want = cases["d-kstar-d4-ball5"]
    points = np.hstack([ball(300, 5, seed=0), np.zeros((300, 5))])
    k = k_star(find_neighbors(points, k=299), dimension=4).k
    assert k[:10].tolist() == want["first10"]
    assert k.sum() == want["sum"]


def test_pak_of_dadapy(cases: dict[str, Any], part: tuple[NeighborGraph, float]) -> None:
    # The peer stops its iterations at a relative gradient of 1e-3.
    values = pak_density(part[0], dimension=part[1]).values
    assert values == pytest.approx(cases["dadapy-pak-25"], rel=1e-5)
    assert values == pytest.approx(cases["dadapy-pak-25"], abs=3e-6)


def test_knn_of_dadapy(
    cases: dict[str, Any], gaussians: np.ndarray, part: tuple[NeighborGraph, float]
) -> None:
    graph = find_neighbors(gaussians, k=10)
    found = knn_density(graph, dimension=published_dimension(graph), k=10)
    assert found.values == pytest.approx(cases["dadapy-knn10-100"], abs=1e-9)
    plain = knn_density(part[0], dimension=part[1], k=5)
    unbiased = knn_density(part[0], dimension=part[1], k=5, unbiased=True)
    offset = cases["dadapy-knn-interpolation-offset"]
    assert plain.values - unbiased.values == pytest.approx(np.full(25, offset))


def test_densities_in_eight_dimensions(cases: dict[str, Any]) -> None:
    want = cases["c-rng2024-density"]
    points = np.random.default_rng(2024).normal(size=(500, 8))
    assert points[0, 0] == pytest.approx(1.0288568740)
    graph = find_neighbors(points, k=100)
    size = k_star(graph, dimension=8)
    assert (size.k[:10].tolist(), size.k.sum()) == (want["kstar"], want["sum"])
    kstar = kstar_density(graph, dimension=8, k=size)
    pak = pak_density(graph, dimension=8, k=size)
    assert kstar.values[:5] == pytest.approx(want["kstarNN"], rel=1e-12)
    assert pak.values[:5] == pytest.approx(want["PAk"], abs=1e-5)
    assert pak.stderr[:5] == pytest.approx(want["PAk_err"], rel=1e-12)


def test_a_unit_of_length_in_sixty_dimensions(cases: dict[str, Any]) -> None:
    points = np.random.default_rng(7).normal(size=(400, 60))
    a, b = (
        pak_density(find_neighbors(p, k=50), dimension=60).values for p in (points, 30 * points)
    )
    assert a - b == pytest.approx(np.full(400, cases["d-pak-scale"]), abs=1e-8)
