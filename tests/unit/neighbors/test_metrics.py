"""Graphs and ranks in every metric: the slow specification, duplicates, and whose graph it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.kernels import reference
from hiddenscape.kernels.metrics import DIRECT, space
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.metrics import METRICS, pair_distances, prepared
from hiddenscape.neighbors.ranks import ranks_of
from hiddenscape.neighbors.search import check_graph_of, find_neighbors

PERIOD = {"periodic": 3.0}


def all_but_self(n: int) -> np.ndarray:
    return (np.arange(n)[:, None] + np.arange(1, n)) % n


@given(st.integers(0, 2**32 - 1), st.integers(4, 40), st.integers(1, 3), st.sampled_from(DIRECT))
def test_repeated_rows_expand_to_what_a_plain_search_gives(
    seed: int, n: int, d: int, metric: str
) -> None:
    r = np.random.default_rng(seed)
    # Half-integers modulo 3: rows that differ by whole periods are many.
    x = r.integers(0, 2, size=(n, d)) / 2 + 3.0 * r.integers(-1, 2, size=(n, d))
    period = PERIOD.get(metric)
    k = int(r.integers(1, n))
    g = find_neighbors(x, k=k, metric=metric, period=period)
    s = space(x, metric, period)
    indices, distances = reference.nearest(s, k)
    assert np.array_equal(g.indices, indices)
    assert np.array_equal(g.distances, distances)
    zero = reference.pair_distances(s, np.repeat(np.arange(n), n), np.tile(np.arange(n), n)) == 0
    assert g.multiplicity is not None
    assert g.multiplicity.tolist() == zero.reshape(n, n).sum(axis=1).tolist()
    if g.distinct is not None:
        assert g.distinct.rows is not None
        assert (g.distinct.distances > 0).all()
        want = reference.nearest(space(x[g.distinct.rows], metric, period), g.distinct.k)
        assert np.array_equal(g.distinct.indices, want[0])
        assert np.array_equal(g.distinct.distances, want[1])


def test_rows_a_whole_period_apart_are_identical() -> None:
    x = [[0.25], [1.25], [-0.75], [0.5], [0.1], [1.1]]
    g = find_neighbors(x, k=5, metric="periodic", period=1)
    assert g.multiplicity is not None
    assert g.multiplicity.tolist() == [3, 3, 3, 1, 1, 1]
    assert g.distances[0, :2].tolist() == [0, 0]
    assert g.distances[0, 2] == pytest.approx(0.15)
    # 0.1 and 1.1 are not a whole period apart as the numbers they are: near, but no duplicates.
    near = g.distances[4, 0]
    assert g.indices[4, 0] == 5
    assert 0 < near < 1e-16
    assert find_neighbors(x, k=5).n_duplicates == 0


def test_zero_distance_and_duplicates_are_the_same_thing(rng: np.random.Generator) -> None:
    x = rng.choice([-2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 1e-300, -1e-300], size=(60, 2))
    for metric in (*DIRECT, "euclidean"):
        g = find_neighbors(x, k=59, metric=metric, period=PERIOD.get(metric))
        assert g.multiplicity is not None
        assert ((g.distances == 0).sum(axis=1) + 1).tolist() == g.multiplicity.tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_ranks_are_those_of_all_distances(metric: str, rng: np.random.Generator) -> None:
    period = PERIOD.get(metric)
    for x in (rng.normal(size=(40, 3)), rng.integers(1, 4, size=(40, 2)).astype(float)):
        data = prepared(x, metric, period)
        chord = "euclidean" if metric in ("angular", "cosine") else metric
        i, j = np.divmod(np.arange(40 * 40), 40)
        d = pair_distances(data, i, j, chord).reshape(40, 40)
        np.fill_diagonal(d, np.inf)
        closer = (d[:, None, :] < d[:, :, None]).sum(axis=2)
        tied = (d[:, None, :] == d[:, :, None]).sum(axis=2)
        want = np.take_along_axis(1 + closer + (tied - 1) / 2, all_but_self(40), axis=1)
        found = ranks_of(x, all_but_self(40), metric=metric, period=period)
        assert np.array_equal(found, want)
        graph = find_neighbors(x, k=39, metric=metric, period=period)
        ranks = ranks_of(x, graph.indices, metric=metric, period=period)
        assert (np.diff(ranks, axis=1) >= 0).all() or metric in ("angular", "cosine")


def test_ranks_in_other_metrics_keep_their_shape_and_refusals() -> None:
    x = [[0.0, 1.0], [1.0, 1.0], [3.0, 0.0]]
    assert ranks_of(x, [1, 0, 1], metric="manhattan").tolist() == [1, 1, 1]
    assert ranks_of(x, [[2, 1]], queries=[0], metric="hamming").tolist() == [[2, 1]]
    with pytest.raises(InputError, match="period is for metric='periodic'"):
        ranks_of(x, [1, 0, 1], period=2.0)
    with pytest.raises(InputError, match="no metric 'jaccard'; there are: euclidean, angular"):
        ranks_of(x, [1, 0, 1], metric="jaccard")
    with pytest.raises(InputError, match="row 0 is its own target"):
        ranks_of(x, [0, 0, 1], metric="hamming")


@pytest.mark.parametrize("metric", DIRECT)
def test_a_graph_belongs_to_its_points(metric: str, rng: np.random.Generator) -> None:
    period = PERIOD.get(metric)
    # Few letters near each other, many letters in the other points.
    x = rng.integers(0, 4, size=(60, 9)) / 8
    graph = find_neighbors(x, k=2, metric=metric, period=period)
    check_graph_of(x, graph)
    twice = np.vstack([x, x])
    check_graph_of(twice, find_neighbors(twice, k=2, metric=metric, period=period))
    with pytest.raises(InputError, match="the graph is of other points"):
        check_graph_of(rng.integers(0, 99, size=(60, 9)) / 8, graph)
    with pytest.raises(InputError, match="the graph has 60 rows, the points have 59"):
        check_graph_of(x[1:], graph)


def test_a_graph_keeps_its_period(rng: np.random.Generator) -> None:
    x = np.vstack([rng.uniform(size=(30, 2)), np.zeros((2, 2))])
    graph = find_neighbors(x, k=4, metric="periodic", period=[1.0, np.inf])
    for g in (graph, graph.take(2), graph.over_distinct()):
        assert g.metric == "periodic"
        assert g.period is not None
        assert g.period.tolist() == [1.0, np.inf]
        assert not g.period.flags.writeable
    assert find_neighbors(x, k=4).period is None
    with pytest.raises(InputError, match="period must be one number or one for each of 1 columns"):
        check_graph_of(x[:, :1], graph)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "periodic"}, "the metric 'periodic' needs a period"),
        ({"period": np.ones(2)}, "'periodic' is the only one with a period, got metric 'euclid"),
        ({"metric": "periodic", "period": np.zeros(2)}, "one positive period per column"),
        ({"metric": "periodic", "period": 1.0}, "one positive period per column"),
    ],
)
def test_a_graph_from_elsewhere_needs_its_period(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NeighborGraph.from_arrays(np.array([[1], [0]]), np.ones((2, 1)), **options)


@pytest.mark.parametrize("metric", DIRECT)
def test_bad_points_are_refused_as_ever(metric: str) -> None:
    period = PERIOD.get(metric)
    with pytest.raises(NonFiniteError, match="rows 1"):
        find_neighbors([[0.0], [np.nan], [2.0]], k=1, metric=metric, period=period)
    with pytest.raises(InputError, match="points must be real numbers"):
        find_neighbors(np.array([["a"], ["b"]]), k=1, metric=metric, period=period)


@pytest.mark.parametrize("metric", METRICS)
def test_blocks_and_dtypes_change_nothing(metric: str, rng: np.random.Generator) -> None:
    x = (rng.integers(1, 200, size=(90, 5)) / 4).astype(np.float32)
    period = PERIOD.get(metric)
    want = find_neighbors(x, k=7, metric=metric, period=period)
    frozen = x.copy()
    frozen.flags.writeable = False
    for same in (frozen, x.astype(np.float64), np.asfortranarray(x), x.tolist()):
        g = find_neighbors(same, k=7, metric=metric, period=period, block_rows=11)
        assert np.array_equal(g.indices, want.indices)
        assert np.array_equal(g.distances, want.distances)


def test_what_needs_products_is_refused_and_a_budget_is_obeyed(rng: np.random.Generator) -> None:
    x = rng.normal(size=(300, 20))
    want = find_neighbors(x, k=5, metric="manhattan")
    small = find_neighbors(x, k=5, metric="manhattan", memory="20 kB")
    assert np.array_equal(small.indices, want.indices)
    assert np.array_equal(small.distances, want.distances)
    with pytest.raises(InputError, match="precision='float32' has no meaning for hamming"):
        find_neighbors(x, k=5, metric="hamming", precision="float32")
    with pytest.raises(InputError, match="no checkpoint is kept of a search by manhattan"):
        find_neighbors(x, k=5, metric="manhattan", checkpoint="state.npz")


@pytest.mark.parametrize("metric", METRICS)
def test_every_row_is_proven(metric: str, rng: np.random.Generator) -> None:
    x = np.vstack([rng.normal(size=(30, 3)), np.ones((5, 3))])
    graph = find_neighbors(x, k=3, metric=metric, period=PERIOD.get(metric))
    assert graph.exact
    assert graph.certificate is not None
    assert sum(graph.certificate.counts().values()) == 35
    if metric in DIRECT:
        assert str(graph.certificate).startswith("proven by all distances (35 rows)")
