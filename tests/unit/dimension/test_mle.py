from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from hiddenscape.dimension.mle import mle_dimension, mle_global
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.errors import DuplicateRowsError, InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, pareto_graph


@pytest.fixture(scope="module")
def graph() -> NeighborGraph:
    return find_neighbors(cube(300, 3), k=20)


def test_formula_of_every_average(graph: NeighborGraph) -> None:
    r = graph.distances[:, :10]
    each = 9 / np.log(r[:, -1:] / r[:, :-1]).sum(axis=1)
    result = mle_dimension(graph, 10, per_point=True)
    assert result.per_point == pytest.approx(each, rel=1e-12)
    assert result.value == pytest.approx(1 / np.mean(1 / each), rel=1e-12)
    assert mle_dimension(graph, 10, average="arithmetic").value == pytest.approx(each.mean())
    assert mle_dimension(graph, 10, average="median").value == pytest.approx(np.median(each))
    unbiased = mle_dimension(graph, 10, unbiased=True).value
    assert unbiased == pytest.approx(result.value * 8 / 9, rel=1e-12)
    assert (result.n1, result.n2, result.n_used) == (1, 10, 300)
    assert result.scale == pytest.approx(r[:, -1].mean())


def test_two_neighbors_are_twonn(graph: NeighborGraph) -> None:
    total = np.log(graph.distances[:, 1] / graph.distances[:, 0]).sum()
    assert mle_dimension(graph, 2).value == pytest.approx(300 / total, rel=1e-12)


def test_squared_distances_halve_it(graph: NeighborGraph) -> None:
    squared = NeighborGraph(indices=graph.indices, distances=graph.distances**2)
    for average in ("harmonic", "arithmetic", "median"):
        a, b = (mle_dimension(g, 10, average=average).value for g in (graph, squared))
        assert b == pytest.approx(a / 2, rel=1e-9)


@pytest.mark.parametrize("noise", [1e-4, 0.002, 0.02, 0.05])
def test_noise_is_the_integral_of_the_page(graph: NeighborGraph, noise: float) -> None:
    r = graph.distances[0, :5]

    def mean(center: float) -> float:
        def density(x: float) -> float:
            return math.exp(-0.5 * ((x - center) / noise) ** 2)

        low, high = max(0.0, center - 12 * noise), center + 12 * noise
        exact = {"epsabs": 1e-13, "epsrel": 1e-13, "limit": 200}
        top = quad(lambda x: density(x) * math.log(r[-1] / x), low, high, **exact)[0]
        return top / quad(density, low, high, **exact)[0]

    total = sum(mean(x) for x in r[:-1])
    per_point = mle_dimension(graph, 5, noise=noise, per_point=True).per_point
    assert per_point is not None
    if total > 0:
        assert per_point[0] == pytest.approx(4 / total, rel=1e-8)
    else:
        assert math.isnan(per_point[0])


def test_noise_is_taken_off() -> None:
    # A thickened line: distances grow by noise, which the plain estimate takes for dimensions.
    rng = np.random.default_rng(4)
    line = np.hstack([rng.uniform(size=(600, 1)) * 60, rng.normal(size=(600, 1)) * 0.1])
    graph = find_neighbors(line, k=12)
    plain, aware = mle_dimension(graph, 12).value, mle_dimension(graph, 12, noise=0.1).value
    assert plain > 1.15
    assert abs(aware - 1) < abs(plain - 1)


def test_noise_of_zero_is_the_limit(graph: NeighborGraph) -> None:
    tiny = mle_dimension(graph, 10, noise=1e-9).value
    assert tiny == pytest.approx(mle_dimension(graph, 10).value, rel=1e-7)


def test_too_much_noise_is_no_number(graph: NeighborGraph) -> None:
    found = mle_dimension(graph, 10, noise=100.0)
    assert math.isnan(found.value)
    assert "undefined" in found.note


@pytest.mark.parametrize("d", [1, 2, 5, 10])
def test_unbiased_on_the_model_with_the_right_error(d: int) -> None:
    found = [mle_dimension(pareto_graph(300, d, k=10, seed=s), 10) for s in range(200)]
    values = np.array([f.value for f in found])
    spread = d / math.sqrt(300 * 9)
    assert values.mean() == pytest.approx(d, abs=4 * spread / math.sqrt(200) + d / 2700)
    assert values.std() == pytest.approx(spread, rel=0.2)
    assert np.mean([f.stderr for f in found]) == pytest.approx(spread, rel=0.05)
    inside = np.mean([f.interval[0] <= d <= f.interval[1] for f in found])
    assert 0.9 < inside < 0.99


def test_the_arithmetic_mean_needs_k_minus_2() -> None:
    graphs = [pareto_graph(500, 5.0, k=10, seed=s) for s in range(40)]
    plain = np.mean([mle_dimension(g, 10, average="arithmetic").value for g in graphs])
    right = [mle_dimension(g, 10, average="arithmetic", unbiased=True).value for g in graphs]
    assert plain / 5 == pytest.approx(9 / 8, rel=0.02)
    assert np.mean(right) / 5 == pytest.approx(1, rel=0.02)


def test_errors_of_blocks_and_of_the_median(graph: NeighborGraph) -> None:
    blocks = spatial_blocks(cube(300, 3))
    for average in ("harmonic", "arithmetic", "median"):
        plain = mle_dimension(graph, 10, average=average)
        blocked = mle_dimension(graph, 10, average=average, stderr="blocks", blocks=blocks)
        assert blocked.value == plain.value
        assert (plain.stderr_kind, blocked.stderr_kind) == ("bootstrap", "blocks")
        assert 0.4 < blocked.stderr / plain.stderr < 5
    medians = [mle_dimension(pareto_graph(300, 3, k=10, seed=s), 10, average="median")
               for s in range(100)]  # fmt: skip
    spread = np.std([m.value for m in medians])
    assert np.mean([m.stderr for m in medians]) == pytest.approx(spread, rel=0.3)


def test_a_row_of_ties_counts_as_no_growth() -> None:
    # Row 0 sits in the middle of a regular cross: all its distances are 1.
    rng = np.random.default_rng(0)
    cross = np.vstack([np.zeros((1, 2)), [[1, 0], [-1, 0], [0, 1], [0, -1]]])
    x = np.vstack([cross, rng.normal(size=(60, 2)) * 3 + 30])
    graph = find_neighbors(x, k=4)
    harmonic = mle_dimension(graph, 4, per_point=True)
    mean = mle_dimension(graph, 4, average="arithmetic")
    assert harmonic.per_point is not None
    assert math.isnan(harmonic.per_point[0])
    assert harmonic.n_used == 65
    assert mean.n_used == 64
    assert mean.n_dropped == 1
    assert "undefined (1 of 65 rows have no value)" in mean.note
    assert "ties (" in harmonic.note


def test_global_is_its_formula(graph: NeighborGraph) -> None:
    smallest = np.unique(graph.distances[:, :5])[:30]
    found = mle_global(graph, 30, neighbors=5)
    assert found.value == pytest.approx(29 / np.log(smallest[-1] / smallest[:-1]).sum())
    assert found.stderr == pytest.approx(found.value / math.sqrt(29))
    assert found.scale == smallest[-1]


def test_global_misuse_and_ties(graph: NeighborGraph) -> None:
    with pytest.raises(InputError, match="at least 3 distances, got k = 2"):
        mle_global(graph, 2)
    grid = np.stack(np.meshgrid(*[np.arange(6.0)] * 2), -1).reshape(-1, 2)
    found = mle_global(find_neighbors(grid, k=4), 10)
    assert math.isnan(found.value)
    assert "ties (" in found.note


def test_policies(graph: NeighborGraph) -> None:
    points = cube(300, 3)
    more = find_neighbors(np.vstack([points, points[:10]]), k=11)
    assert mle_dimension(more, 10).value == mle_dimension(graph, 10).value
    dropped = mle_dimension(more, 10, duplicates="drop_zero")
    assert dropped.n_dropped == 20
    assert "duplicates (20 of 310 rows at distance 0, drop_zero)" in dropped.note
    with pytest.raises(DuplicateRowsError, match="20 of 310 rows"):
        mle_dimension(more, 10, duplicates="error")
    pairs = find_neighbors(np.repeat(points, 2, axis=0), k=11)
    empty = mle_dimension(pairs, 10, duplicates="drop_zero")
    assert math.isnan(empty.value)
    assert "few_points (0 of 0 rows have a value)" in empty.note
    elsewhere = NeighborGraph.from_arrays(more.indices, more.distances)
    with pytest.raises(InputError, match="does not say which rows repeat"):
        mle_dimension(elsewhere, 10)
    assert "approximate" in mle_dimension(elsewhere, 10, duplicates="drop_zero").note


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 1}, "mle needs at least 2 neighbours per row, got k = 1"),
        ({"k": 2, "unbiased": True}, "at least 3 neighbours"),
        ({"k": 21}, r"mle needs 21 neighbours per row, the graph stores 20: use find_neighbors"),
        ({"noise": -1.0}, "noise must be a standard deviation >= 0, got -1.0"),
        ({"noise": math.nan}, "noise must be"),
        ({"average": "mode"}, "average must be one of harmonic, arithmetic, median, got 'mode'"),
        ({"stderr": "fisher"}, "stderr must be bootstrap or blocks"),
        ({"stderr": "blocks"}, r"needs blocks=spatial_blocks\(points\)"),
        ({"duplicates": "keep"}, "duplicates must be one of unique, drop_zero, error"),
    ],
)
def test_misuse_is_refused(graph: NeighborGraph, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mle_dimension(graph, **options)
