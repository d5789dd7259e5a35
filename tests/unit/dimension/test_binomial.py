from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import digamma

from hiddenscape.dimension.binomial import binomial_dimension
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, pareto_graph


@pytest.fixture(scope="module")
def graph() -> NeighborGraph:
    return find_neighbors(cube(300, 3), k=60)


def test_fixed_k_is_its_formula(graph: NeighborGraph) -> None:
    r = graph.distances[:, :15]
    inner = (r[:, :-1] <= 0.7 * r[:, -1:]).sum()
    found = binomial_dimension(graph, 15, ratio=0.7)
    share = inner / (300 * 14)
    assert found.value == pytest.approx(math.log(share) / math.log(0.7), rel=1e-12)
    variance = (0.7**-found.value - 1) / (300 * 14 * math.log(0.7) ** 2)
    assert found.stderr == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert found.scale == pytest.approx(0.85 * r[:, -1].mean())
    assert (found.n1, found.n2, found.n_used) == (1, 15, 300)
    bayes = binomial_dimension(graph, 15, ratio=0.7, method="bayes")
    mean = (digamma(1 + inner) - digamma(2 + 300 * 14)) / math.log(0.7)
    assert bayes.value == pytest.approx(mean, rel=1e-12)
    assert bayes.stderr == pytest.approx(found.stderr, rel=0.01)


def test_fixed_radius_is_its_formula(graph: NeighborGraph) -> None:
    r = graph.distances
    found = binomial_dimension(graph, radius=0.15)
    outer, inner = (r <= 0.15).sum(axis=1), (r <= 0.075).sum(axis=1)
    want = math.log(inner.sum() / outer.sum()) / math.log(0.5)
    assert found.value == pytest.approx(want, rel=1e-12)
    assert found.scale == pytest.approx(0.1125)
    assert (found.n1, found.n2) == (None, None)
    lonely = int((outer == 0).sum())
    assert lonely > 0
    assert found.n_dropped == lonely
    assert f"undefined ({lonely} of 300 rows have no neighbour" in found.note


def test_lists_that_end_inside_the_ball_are_no_answer(graph: NeighborGraph) -> None:
    found = binomial_dimension(graph.take(20), radius=0.3)
    assert math.isnan(found.value)
    assert "capped (" in found.note
    # All others are stored: nothing can be missing.
    small = find_neighbors(cube(40, 3), k=39)
    assert binomial_dimension(small, radius=5.0, ratio=0.1).value > 0


def test_no_bound_is_an_answer(graph: NeighborGraph) -> None:
    empty = binomial_dimension(graph, 3, ratio=1e-6)
    assert math.isnan(empty.value)
    assert "no neighbour lies within the inner radius" in empty.note
    full = binomial_dimension(graph, 3, ratio=1 - 1e-12)
    assert math.isnan(full.value)
    assert "no neighbour lies between the radii" in full.note
    tiny = binomial_dimension(graph, radius=1e-6)
    assert math.isnan(tiny.value)
    assert "few_points (0 of 300 rows" in tiny.note
    for found in (empty, full, tiny):
        assert math.isnan(found.stderr)


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("method", ["mle", "bayes"])
def test_truth_on_the_model(d: int, method: str) -> None:
    ratio = 0.2032 ** (1 / d)
    found = [
        binomial_dimension(
            pareto_graph(300, d, k=12, seed=s), 12, ratio=ratio, method=method, validate=False
        )
        for s in range(200)
    ]
    z = np.array([(f.value - d) / f.stderr for f in found])
    assert abs(z.mean()) < 0.3
    assert z.std() == pytest.approx(1, abs=0.2)
    assert 0.9 < np.mean([f.interval[0] <= d <= f.interval[1] for f in found]) < 0.99


def test_the_p_value_is_level_on_the_model_and_small_off_it() -> None:
    good = [
        binomial_dimension(pareto_graph(400, 3, k=20, seed=s), 20).parameters["model_p"]
        for s in range(100)
    ]
    assert 0.01 <= np.mean([p < 0.1 for p in good]) <= 0.2  # 3 standard errors about 0.1
    assert 0.3 < np.mean([p < 0.5 for p in good]) < 0.7
    # Half of the rows have dimension 1, half 6: no common share.
    low, high = (pareto_graph(200, d, k=20, seed=7).distances for d in (1, 6))
    mixed = pareto_graph(400, 1, k=20)
    mixed = NeighborGraph(
        indices=mixed.indices, distances=np.vstack([low, high]), multiplicity=mixed.multiplicity
    )
    assert binomial_dimension(mixed, 20).parameters["model_p"] == 1 / 200
    # Trials that differ between rows.
    radius = binomial_dimension(find_neighbors(cube(400, 2), k=100), radius=0.1)
    assert 0 < radius.parameters["model_p"] <= 1
    assert "model_p" not in binomial_dimension(mixed, 20, validate=False).parameters


def test_draws_are_seeded(graph: NeighborGraph) -> None:
    a, b = (binomial_dimension(graph, 20, seed=3).parameters for _ in range(2))
    assert dict(a) == dict(b)


def test_blocks(graph: NeighborGraph) -> None:
    blocks = spatial_blocks(cube(300, 3))
    plain = binomial_dimension(graph, 20)
    blocked = binomial_dimension(graph, 20, stderr="blocks", blocks=blocks)
    assert blocked.value == plain.value
    assert (plain.stderr_kind, blocked.stderr_kind) == ("fisher", "blocks")
    assert 0.4 < blocked.stderr / plain.stderr < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give exactly one of k and radius, got k = None, radius = None"),
        ({"k": 5, "radius": 1.0}, "give exactly one"),
        ({"k": 1}, "binomial needs at least 2 neighbours"),
        ({"k": 61}, "binomial needs 61 neighbours per row, the graph stores 60"),
        ({"radius": 0.0}, "radius must be a positive length"),
        ({"k": 5, "ratio": 1.0}, r"ratio must lie in \(0, 1\), got 1.0"),
        ({"k": 5, "method": "fit"}, "method must be mle or bayes"),
        ({"k": 5, "stderr": "exact"}, "stderr must be fisher or blocks"),
        ({"k": 5, "stderr": "blocks"}, "needs blocks"),
    ],
)
def test_misuse_is_refused(graph: NeighborGraph, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        binomial_dimension(graph, **options)  # type: ignore[arg-type]
