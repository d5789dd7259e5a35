from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from hiddenscape.density.kstar import k_star
from hiddenscape.dimension.abide import abide, agride
from hiddenscape.dimension.gride import gride
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.errors import DuplicateRowsError, InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, gaussian, pareto_graph, sphere

BOTH = pytest.mark.parametrize("estimate", [abide, agride])


@pytest.fixture(scope="module")
def graph() -> NeighborGraph:
    return find_neighbors(gaussian(600, 3), k=150)


def test_one_iteration_is_the_page(graph: NeighborGraph) -> None:
    d = 3.0
    ks = k_star(graph, dimension=d).k
    ratio = min(0.975, 0.2032 ** (1 / d))
    r = graph.distances
    inner = [int((r[i, : k - 1] < ratio * r[i, k - 1]).sum()) for i, k in enumerate(ks)]
    want = math.log(sum(inner) / (ks - 1).sum()) / math.log(ratio)
    found = abide(graph, start=d, max_iterations=1)
    assert found.value == pytest.approx(want, rel=1e-12)
    assert found.parameters["mean_k"] == ks.mean()
    variance = (ratio**-want - 1) / ((ks - 1).sum() * math.log(ratio) ** 2)
    assert found.stderr == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert found.scale == pytest.approx((1 + ratio) / 2 * r[np.arange(600), ks - 1].mean())


@BOTH
def test_the_end_is_a_fixed_point_whatever_the_start(
    graph: NeighborGraph, estimate: Callable[..., Dimension]
) -> None:
    ends = [estimate(graph, start=s).value for s in (1.0, 3.0, 30.0)] + [estimate(graph).value]
    assert ends == pytest.approx([ends[0]] * 4, rel=3e-3)
    again = estimate(graph, start=ends[0], max_iterations=1)
    assert again.value == pytest.approx(ends[0], rel=1e-3)
    assert estimate(graph).parameters["converged"] is True


@BOTH
def test_without_a_fixed_point_it_says_so(
    graph: NeighborGraph, estimate: Callable[..., Dimension]
) -> None:
    found = estimate(graph, start=50.0, max_iterations=1)
    assert found.parameters["converged"] is False
    assert "approximate (no fixed point in 1 iterations, the last from 50 to" in found.note


def test_constant_k_star_makes_agride_gride() -> None:
    # On a uniform set without boundary every k* is the cap.
    graph = find_neighbors(sphere(200, 2), k=17)
    found = agride(graph)
    assert found.parameters["share_capped"] == 1.0
    assert found.value == pytest.approx(gride(graph, 8, 16).value, rel=1e-12)
    assert found.stderr == pytest.approx(gride(graph, 8, 16).stderr, rel=1e-9)


@BOTH
@pytest.mark.parametrize("d", [2, 5])
def test_truth(estimate: Callable[..., Dimension], d: int) -> None:
    """Gaussians of 1000 rows: within 2 % in the plane, 5 to 10 % too low in dimension 5."""
    values = [estimate(find_neighbors(gaussian(1000, d, seed=s), k=100)).value for s in range(3)]
    low, high = (0.96, 1.02) if d == 2 else (0.9, 0.97)
    assert low < np.mean(values) / d < high


@BOTH
def test_on_the_model_every_row_is_capped_and_the_error_is_right(
    estimate: Callable[..., Dimension],
) -> None:
    # alpha so small that k* is the cap: then the rows are independent and the model exact.
    found = [
        estimate(pareto_graph(200, 3, k=20, seed=s), alpha=1e-300, tolerance=1e-9)
        for s in range(100)
    ]
    z = np.array([(f.value - 3) / f.stderr for f in found])
    assert abs(z.mean()) < 0.4
    assert z.std() == pytest.approx(1, abs=0.25)


@BOTH
def test_blocks(graph: NeighborGraph, estimate: Callable[..., Dimension]) -> None:
    blocks = spatial_blocks(gaussian(600, 3))
    plain, blocked = estimate(graph), estimate(graph, stderr="blocks", blocks=blocks)
    assert blocked.value == plain.value
    assert (plain.stderr_kind, blocked.stderr_kind) == ("fisher", "blocks")
    assert 0.5 < blocked.stderr / plain.stderr < 20


@BOTH
def test_notes_and_limits(graph: NeighborGraph, estimate: Callable[..., Dimension]) -> None:
    assert estimate(graph).note == ""
    few = estimate(graph, max_rank=100)
    assert 0 < few.parameters["share_capped"] < 0.2
    assert "rows at k = 99)" in few.note
    many = estimate(graph, max_rank=30)
    assert "rows at k = 29: the dimension at this scale, not an adaptive one)" in many.note
    assert estimate(graph, max_rank=40).n2 <= 40
    pairs = find_neighbors(np.repeat(cube(60, 2), 2, axis=0), k=40)
    assert estimate(pairs).value == estimate(find_neighbors(cube(60, 2), k=40)).value
    with pytest.raises(DuplicateRowsError):
        estimate(pairs, duplicates="error")


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 0.0}, "start must be a positive dimension"),
        ({"alpha": 1.0}, r"alpha must lie in \(0, 1\)"),
        ({"tolerance": 0.0}, "tolerance must be positive"),
        ({"max_iterations": 0}, "max_iterations at least 1"),
        ({"max_rank": 5}, r"k\* needs at least 6 neighbours per row, got 5"),
        ({"max_rank": 151}, "needs 151 neighbours per row, the graph stores 150"),
        ({"duplicates": "drop_zero"}, "duplicates must be unique or error"),
        ({"stderr": "exact"}, "stderr must be fisher or blocks"),
    ],
)
def test_misuse_is_refused(
    graph: NeighborGraph,
    estimate: Callable[..., Dimension],
    options: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        estimate(graph, **options)
