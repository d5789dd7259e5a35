from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import betaln

from hiddenscape.dimension.gride import gride, gride_scan
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.errors import DuplicateRowsError, InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, pareto_graph


@pytest.fixture(scope="module")
def graph() -> NeighborGraph:
    return find_neighbors(cube(500, 3), k=64)


def log_likelihood(d: float, log_mu: np.ndarray, n1: int, n2: int) -> float:
    return float(
        np.sum(
            math.log(d)
            + (n2 - n1 - 1) * np.log(np.expm1(d * log_mu))
            - (d * (n2 - 1) + 1) * log_mu
            - betaln(n2 - n1, n1)
        )
    )


@pytest.mark.parametrize(("n1", "n2"), [(1, 2), (1, 3), (2, 4), (5, 17), (32, 64)])
def test_root_and_information_are_those_of_the_likelihood(
    graph: NeighborGraph, n1: int, n2: int
) -> None:
    log_mu = np.log(graph.distances[:, n2 - 1] / graph.distances[:, n1 - 1])
    found = gride(graph, n1, n2)
    d, h = found.value, 1e-4
    # The published N - 1 tilts the likelihood by 1/d.
    slope = (log_likelihood(d + h, log_mu, n1, n2) - log_likelihood(d - h, log_mu, n1, n2)) / (
        2 * h
    )
    assert slope == pytest.approx(1 / d, abs=1e-3)
    bend = (
        log_likelihood(d + h, log_mu, n1, n2)
        - 2 * log_likelihood(d, log_mu, n1, n2)
        + log_likelihood(d - h, log_mu, n1, n2)
    ) / h**2
    assert found.stderr == pytest.approx(1 / math.sqrt(-bend), rel=1e-3)


def test_upper_rank_is_twice_the_lower_by_default(graph: NeighborGraph) -> None:
    a, b = gride(graph, 4), gride(graph, 4, 8)
    assert (a.value, a.n1, a.n2) == (b.value, 4, 8)
    assert a.scale == pytest.approx(graph.distances[:, [3, 7]].mean())
    assert a.stderr_kind == "fisher"
    assert a.interval == pytest.approx((a.value - 1.96 * a.stderr, a.value + 1.96 * a.stderr), 1e-4)


@pytest.mark.parametrize("power", [2.0, 0.5, 1e-3])
def test_a_power_of_the_distance_divides_the_dimension(graph: NeighborGraph, power: float) -> None:
    other = NeighborGraph(indices=graph.indices, distances=graph.distances**power)
    assert gride(other, 4).value * power == pytest.approx(gride(graph, 4).value, rel=1e-9)


@pytest.mark.parametrize("d", [0.01, 1e4])
def test_extreme_dimensions_neither_overflow_nor_hit_a_bound(d: float) -> None:
    # Ratios up to 1e300 and down to 1 + 1e-8: the score never forms mu^d.
    model = pareto_graph(500, d, k=8)
    spread = np.log10(model.distances.max()) - np.log10(model.distances.min())
    assert spread > 150 or d > 1
    for n1 in (1, 2, 4):
        assert gride(model, n1).value == pytest.approx(d, rel=0.15)


def test_ties_enter_through_the_limit() -> None:
    model = pareto_graph(400, 3.0, k=4)
    distances = model.distances.copy()
    distances[:40, 3] = distances[:40, 1]
    distances[:40, 2] = distances[:40, 1]
    tied = gride(NeighborGraph(indices=model.indices, distances=distances), 2, 4)
    assert math.isfinite(tied.value)
    assert tied.value > gride(model, 2, 4).value
    assert "ties (40 of 400 ratios are 1)" in tied.note


def test_all_ties_have_no_root_and_no_bound_is_an_answer() -> None:
    for n1 in (1, 2, 4):
        r = gride(find_neighbors(np.eye(40), k=8), n1)
        assert math.isnan(r.value)
        assert math.isnan(r.stderr)
        assert r.note == "ties (all 40 ratios are 1); undefined"


def test_blocks_jackknife(graph: NeighborGraph) -> None:
    blocks = spatial_blocks(cube(500, 3))
    blocked = gride(graph, 8, stderr="blocks", blocks=blocks)
    assert blocked.value == gride(graph, 8).value
    assert blocked.stderr_kind == "blocks"
    # Neighbourhoods of 16 overlap: the likelihood is too sure of itself.
    assert blocked.stderr > gride(graph, 8).stderr


def test_filter_trims_large_ratios() -> None:
    model = pareto_graph(2000, 0.5)
    plain, trimmed = gride(model), gride(model, mu_filter=True)
    assert trimmed.n_dropped > 0
    assert trimmed.n_used + trimmed.n_dropped == 2000
    assert trimmed.value > plain.value


def test_appended_copies_change_nothing(graph: NeighborGraph) -> None:
    points = cube(500, 3)
    more = find_neighbors(np.vstack([points, points[:40]]), k=64)
    for n1 in (1, 8, 32):
        a, b = gride(graph, n1), gride(more, n1)
        assert (a.value, a.stderr, a.scale, a.n_used) == (b.value, b.stderr, b.scale, b.n_used)
        assert "duplicates (40 of 540 rows" in b.note
    scan = gride_scan(
        more, stderr="blocks", blocks=spatial_blocks(np.vstack([points, points[:40]]))
    )
    assert np.isfinite(scan.stderrs).all()


def test_pathology_is_nan_with_a_reason() -> None:
    for points in (np.ones((20, 3)), [[0.0], [1.0]] * 10):
        graph = find_neighbors(points, k=4)
        curve = gride_scan(graph)
        assert len(curve) == 1
        assert math.isnan(curve.values[0])
        assert curve.estimates[0].note.startswith("collapsed")
    triple = gride(find_neighbors(np.vstack([cube(200, 2), np.tile(cube(1, 2), (3, 1))]), k=4), 2)
    assert 1 < triple.value < 3


def test_scan_stops_where_the_rows_do() -> None:
    points = cube(64, 2)
    assert gride_scan(find_neighbors(points, k=63)).n2 == (2, 4, 8, 16, 32)
    assert gride_scan(find_neighbors(points, k=63), max_rank=16).n2 == (2, 4, 8, 16)
    assert gride_scan(find_neighbors(points, k=63), max_rank=15).n2 == (2, 4, 8)
    repeated = find_neighbors(np.vstack([points[:20], points[:20]]), k=39)
    assert gride_scan(repeated).n2 == (2, 4, 8, 16)


def test_a_scale_beyond_the_clusters_lowers_the_dimension(rng: np.random.Generator) -> None:
    points = np.vstack([rng.normal(size=(50, 2)), rng.normal(size=(50, 2)) + 50])
    curve = gride_scan(find_neighbors(points, k=64))
    assert curve.values[-1] < 1 < curve.values[0]
    assert "collapsed (estimate below 1)" in curve.estimates[-1].note


def test_per_point_contributions() -> None:
    graph = find_neighbors(cube(50, 2), k=4)
    r = gride(graph, 2, per_point=True)
    assert r.per_point == pytest.approx(np.log(graph.distances[:, 3] / graph.distances[:, 1]))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, 2), {}, "1 <= n1 < n2"),
        ((0,), {}, "1 <= n1 < n2"),
        ((64,), {}, "n2 = 128 needs 128 neighbours per row, the graph stores 64"),
        ((1,), {"stderr": "exact"}, "stderr must be fisher or blocks"),
        ((1,), {"stderr": "blocks"}, "needs blocks=spatial_blocks"),
        ((1,), {"stderr": "blocks", "blocks": [1, 2]}, "one entry for each of 500 rows"),
        ((1,), {"stderr": "blocks", "blocks": np.zeros(500)}, "at least 2 different blocks"),
    ],
)
def test_misuse_is_refused(
    graph: NeighborGraph,
    arguments: tuple[int, ...],
    options: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        gride(graph, *arguments, **options)


def test_scan_misuse_is_refused(graph: NeighborGraph) -> None:
    with pytest.raises(InputError, match="max_rank must be at least 2, got 1"):
        gride_scan(graph, max_rank=1)
    with pytest.raises(DuplicateRowsError):
        gride_scan(find_neighbors([[0.0], [0.0], [1.0], [2.0]], k=2), duplicates="error")


def test_any_metric_of_length_gives_the_dimension_and_cosine_half() -> None:
    rng = np.random.default_rng(0)
    x = np.hstack([np.full((1500, 1), 20.0), rng.normal(size=(1500, 4))])
    found = {
        metric: gride(find_neighbors(x, k=4, metric=metric), 2)
        for metric in ("euclidean", "angular", "cosine", "manhattan")
    }
    for metric, d in found.items():
        want = 2 if metric == "cosine" else 4
        assert d.value == pytest.approx(want, abs=4 * d.stderr), metric
        assert ("no_length (1 - cos halves" in d.note) == (metric == "cosine")
        assert d.parameters["metric"] == metric
    assert found["cosine"].value == pytest.approx(found["angular"].value / 2, rel=1e-3)


def test_a_period_is_felt() -> None:
    x = np.random.default_rng(1).uniform(size=(1000, 3))
    open_box = gride(find_neighbors(x, k=8), 4).value
    joined = gride(find_neighbors(x, k=8, metric="periodic", period=1.0), 4)
    assert open_box < joined.value - 0.1
    assert joined.value == pytest.approx(3, abs=6 * joined.stderr)
