"""Neighbour lists as sets, the graph as a sparse matrix, and neighbours of queries."""

from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.errors import InputError
from hiddenscape.neighbors.queries import nearest_in_sample
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.neighbors.similarities import neighbor_similarities, sparse_graph


def cloud(n: int = 150, width: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([97, width, seed]).normal(size=(n, width))


FORMULAS = {
    "common": lambda c, a, b: c,
    "jaccard": lambda c, a, b: c / (a + b - c),
    "geometric": lambda c, a, b: c / np.sqrt(a * b),
    "squared_geometric": lambda c, a, b: c * c / (a * b),
}


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("measure", list(FORMULAS))
def test_measures_are_those_of_sets(measure: str, own: bool) -> None:
    graph = find_neighbors(cloud(), k=12)
    size = np.random.default_rng(98).integers(1, 13, size=150)
    found = neighbor_similarities(graph, k=size, measure=measure, own=own)
    sets = [{*graph.indices[i, : size[i]].tolist(), *([i] if own else [])} for i in range(150)]
    want = [
        FORMULAS[measure](len(sets[i] & sets[j]), len(sets[i]), len(sets[j]))
        for i in range(150)
        for j in graph.indices[i, : size[i]]
    ]
    assert found == pytest.approx(np.array(want), rel=1e-12)
    matrix = sparse_graph(graph, k=size, values=measure) if own else None
    assert matrix is None or np.array_equal(matrix.data, found)


def test_identical_lists_are_alike() -> None:
    graph = find_neighbors(cloud(20), k=19)
    for measure in ("jaccard", "geometric", "squared_geometric"):
        assert (neighbor_similarities(graph, measure=measure) == 1).all()
    assert (neighbor_similarities(graph, measure="common", own=False) == 18).all()


def test_rows_may_move() -> None:
    points, order = cloud(), np.random.default_rng(99).permutation(150)
    a = sparse_graph(find_neighbors(points, k=9), values="jaccard").toarray()
    b = sparse_graph(find_neighbors(7.5 * points[order] + 1, k=9), values="jaccard").toarray()
    assert np.array_equal(a[np.ix_(order, order)], b)


def test_the_matrix_holds_the_lists() -> None:
    graph = find_neighbors(np.vstack([cloud(), cloud()[:20]]), k=7)
    matrix = sparse_graph(graph)
    assert matrix.shape == (170, 170)
    assert matrix.nnz == 170 * 7  # zero distances of copies are entries
    assert np.array_equal(matrix.indices.reshape(170, 7), graph.indices)
    assert np.array_equal(matrix.data.reshape(170, 7), graph.distances)
    ones = sparse_graph(graph, k=3, values="connectivity")
    assert ones.nnz == 510
    assert np.array_equal(ones.sum(axis=1), np.full(170, 3))
    assert np.array_equal(ones.indices.reshape(170, 3), graph.indices[:, :3])
    matrix.data[:] = 0  # a copy: the graph is read-only
    assert graph.distances[0, 0] > 0 or graph.distances[0, 1] > 0


def test_scikit_learn_takes_the_matrix() -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    points = np.vstack([cloud(), cloud(seed=1) + 20])
    matrix = sparse_graph(find_neighbors(points, k=15))
    labels = cluster.DBSCAN(eps=2.0, metric="precomputed").fit(matrix).labels_
    assert set(labels[:150]) & set(labels[150:]) <= {-1}


def test_wrong_arguments_are_refused() -> None:
    graph = find_neighbors(cloud(), k=9)
    with pytest.raises(InputError, match="measure must be one of common, jaccard"):
        neighbor_similarities(graph, measure="dice")
    with pytest.raises(InputError, match="values must be one of distances, connectivity, common"):
        sparse_graph(graph, values="dice")
    with pytest.raises(InputError, match=r"k must lie in 1\.\.9, .* got 10\.\.10"):
        sparse_graph(graph, k=10)
    with pytest.raises(InputError, match=r"k must lie in 1\.\.9, .* got 0\.\.3"):
        sparse_graph(graph, k=np.arange(150) % 4)
    with pytest.raises(InputError, match="one for each of 150 rows, got int64 of shape \\(3,\\)"):
        sparse_graph(graph, k=[1, 2, 3])
    with pytest.raises(InputError, match=r"k must be a whole number, got 2\.5"):
        sparse_graph(graph, k=2.5)


@pytest.mark.parametrize("offset", [0.0, 300.0])
@pytest.mark.parametrize(
    ("metric", "period"),
    [("euclidean", None), ("angular", None), ("cosine", None), ("hamming", None), ("periodic", 2)],
)
def test_queries_find_what_a_search_of_all_finds(
    metric: str, period: float | None, offset: float
) -> None:
    points = (cloud(300, 6) + offset).astype(np.float32)
    if metric == "hamming":
        points = (points > offset).astype(np.float32)
    graph = find_neighbors(points, k=299, metric=metric, period=period)
    indices, distances = nearest_in_sample(
        points[:200], points[200:], 10, metric=metric, period=period
    )
    for q in range(100):
        keep = graph.indices[200 + q] < 200
        want = graph.indices[200 + q][keep][:10]
        assert np.array_equal(indices[q], want)
        assert np.array_equal(distances[q], graph.distances[200 + q][keep][:10])


def test_queries_among_ties_and_copies_take_the_lower_row() -> None:
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), -1).reshape(-1, 2)
    indices, distances = nearest_in_sample(np.vstack([grid, grid]), [[2.0, 2.0]], 6)
    assert distances[0].tolist() == [0, 0, 1, 1, 1, 1]
    assert indices[0].tolist() == [12, 37, 7, 11, 13, 17]
    with pytest.raises(InputError, match=r"k must lie in 1\.\.25"):
        nearest_in_sample(grid, grid[:2], 26)
