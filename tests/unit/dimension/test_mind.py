from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from hiddenscape.dimension.gride import gride
from hiddenscape.dimension.mind import mind_dimension
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, pareto_graph


@pytest.fixture(scope="module")
def graph() -> NeighborGraph:
    return find_neighbors(cube(300, 3), k=21)


@pytest.mark.parametrize("k", [1, 2, 20])
def test_it_is_the_most_likely(graph: NeighborGraph, k: int) -> None:
    rho = graph.distances[:, 0] / graph.distances[:, k]

    def unlikely(d: float) -> float:
        value = len(rho) * math.log(k * d) + (d - 1) * np.log(rho).sum()
        return -float(value + (k - 1) * np.log1p(-(rho**d)).sum())

    best = minimize_scalar(unlikely, bounds=(0.1, 20), method="bounded", options={"xatol": 1e-9})
    found = mind_dimension(graph, k)
    assert found.value == pytest.approx(best.x, rel=1e-6)
    whole = mind_dimension(graph, k, integer=True).value
    assert whole == min(range(1, 20), key=unlikely)
    assert (found.n1, found.n2) == (1, k + 1)
    h = 1e-3
    curve = (unlikely(best.x + h) - 2 * unlikely(best.x) + unlikely(best.x - h)) / h**2
    assert found.stderr == pytest.approx(1 / math.sqrt(curve), rel=1e-3)


def test_it_is_gride_but_for_the_correction(graph: NeighborGraph) -> None:
    # GRIDE has N - 1 where the likelihood has N: a difference of order 1/N.
    a, b = mind_dimension(graph, 20).value, gride(graph, 1, 21).value
    assert 0 < a / b - 1 < 2 / 300


@pytest.mark.parametrize("d", [1, 2, 5, 10])
def test_truth_on_the_model(d: int) -> None:
    found = [mind_dimension(pareto_graph(300, d, k=11, seed=s), 10) for s in range(150)]
    z = np.array([(f.value - d) / f.stderr for f in found])
    assert abs(z.mean()) < 0.35
    assert z.std() == pytest.approx(1, abs=0.2)
    whole = [mind_dimension(pareto_graph(2000, d, k=11, seed=s), 10, integer=True).value
             for s in range(5)]  # fmt: skip
    assert whole == [d] * 5


def test_blocks(graph: NeighborGraph) -> None:
    blocks = spatial_blocks(cube(300, 3))
    plain, blocked = mind_dimension(graph), mind_dimension(graph, stderr="blocks", blocks=blocks)
    assert blocked.value == plain.value
    assert blocked.stderr_kind == "blocks"
    assert 0.4 < blocked.stderr / plain.stderr < 4


def test_no_bound_is_an_answer() -> None:
    # Nearly equal distances: the dimension is huge, and reported as what it is.
    rng = np.random.default_rng(0)
    graph = find_neighbors(np.eye(60) + 1e-3 * rng.normal(size=(60, 60)), k=11)
    found = mind_dimension(graph, 10)
    assert found.value > 500
    assert "low_for_high_dimension" in found.note
    assert mind_dimension(graph, 10, integer=True).value == pytest.approx(found.value, abs=1)


def test_single_ties_enter_through_the_limit() -> None:
    cross = np.vstack([np.zeros((1, 2)), [[1, 0], [-1, 0], [0, 1], [0, -1]]])
    rng = np.random.default_rng(0)
    graph = find_neighbors(np.vstack([cross, rng.normal(size=(60, 2)) * 3 + 30]), k=4)
    found = mind_dimension(graph, 3)
    assert found.n_used == 65
    assert math.isfinite(found.value)
    assert "ties (" in found.note
    assert mind_dimension(graph, 3, integer=True).value >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "MiND_ML needs k >= 1, got 0"),
        ({"k": 21}, "mind needs 22 neighbours per row, the graph stores 21"),
        ({"stderr": "bootstrap"}, "stderr must be fisher or blocks"),
        ({"stderr": "blocks"}, "needs blocks"),
        ({"duplicates": "eps"}, "duplicates must be one of unique, drop_zero, error"),
    ],
)
def test_misuse_is_refused(graph: NeighborGraph, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mind_dimension(graph, **options)  # type: ignore[arg-type]
