"""Densities at new points: the law at the sample, definitions, bad data."""

from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.density.interpolate import interpolate_density
from hiddenscape.density.knn import knn_density
from hiddenscape.density.kstar import k_star
from hiddenscape.density.kstar_nn import kstar_density
from hiddenscape.density.pak import pak_density
from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words

ALL = {
    "knn": lambda g, d: knn_density(g, dimension=d, k=7),
    "kstar": lambda g, d: kstar_density(g, dimension=d),
    "pak": lambda g, d: pak_density(g, dimension=d),
}
METHODS = pytest.mark.parametrize("method", list(ALL))
METRICS = [("euclidean", None), ("angular", None), ("manhattan", None), ("periodic", 3.0)]


def cloud(n: int = 200, width: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([91, width, seed])
    return np.vstack([rng.normal(size=(n // 2, width)), 3 + 0.5 * rng.normal(size=(n // 2, width))])


def chosen(method: str) -> dict[str, object]:
    return {"method": method, "k": 7 if method == "knn" else None}


@METHODS
@pytest.mark.parametrize(("metric", "period"), METRICS)
def test_at_the_sample_it_is_the_sample(method: str, metric: str, period: float | None) -> None:
    points = np.vstack([cloud(), cloud()[:30]]).astype(np.float32)
    graph = find_neighbors(points, k=40, metric=metric, period=period)
    want = ALL[method](graph, 3.0)
    found = interpolate_density(graph, points, points, dimension=3, **chosen(method))
    assert np.array_equal(found.values, want.values)
    assert found.stderr == pytest.approx(want.stderr, rel=1e-14)
    assert np.array_equal(found.k, want.k)
    assert (found.n_used, found.n_dropped) == (200, 30)
    assert "duplicates (30 of 230 rows" in found.note


def test_unbiased_at_the_sample() -> None:
    points = cloud()
    graph = find_neighbors(points, k=10)
    options = {"dimension": 3, "k": 5, "unbiased": True}
    found = interpolate_density(graph, points, points, method="knn", **options)
    assert np.array_equal(found.values, knn_density(graph, **options).values)
    assert found.parameters["unbiased"] is True


@METHODS
def test_a_query_counts_as_a_row_that_is_left_out(method: str) -> None:
    # Rows far apart in the sample hardly know of each other: taking one out and asking there
    # gives its density back, but for N and for lists that held it.
    points, asked = cloud(400), np.arange(0, 400, 50)
    rest = np.delete(points, asked, axis=0)
    graph = find_neighbors(rest, k=60)
    found = interpolate_density(graph, rest, points[asked], dimension=3, **chosen(method))
    whole = ALL[method](find_neighbors(points, k=60), 3.0)
    gap = found.values - whole.values[asked]
    assert np.abs(gap).mean() < 0.2
    if method == "knn":
        d = np.sort(np.linalg.norm(points[asked][:, None] - rest, axis=2), axis=1)[:, 6]
        ball = np.log(4 / 3 * np.pi)
        assert found.values == pytest.approx(np.log(7) - np.log(392) - ball - 3 * np.log(d))


def test_k_of_a_query_is_that_of_the_test() -> None:
    points, queries = cloud(300), cloud(20, seed=1)
    graph = find_neighbors(points, k=50)
    found = interpolate_density(graph, points, queries, dimension=3, method="kstar", alpha=0.01)
    threshold = k_star(graph, dimension=3, alpha=0.01).threshold
    d = np.linalg.norm(queries[:, None] - points, axis=2)
    for q in range(20):
        order = np.argsort(d[q])
        size = next(
            (
                k
                for k in range(3, 49)
                if 4
                * k
                * np.log(
                    np.cosh(1.5 * np.log(graph.distances[order[k], k - 1] / d[q, order[k - 1]]))
                )
                > threshold
            ),
            49,
        )
        assert found.k[q] == size


@METHODS
def test_unit_shift_and_turn(method: str) -> None:
    rng = np.random.default_rng(92)
    points, queries = cloud(), cloud(30, seed=2)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    a = interpolate_density(
        find_neighbors(points, k=40), points, queries, dimension=3, **chosen(method)
    )
    moved = 7.5 * (points @ turn + 2)
    b = interpolate_density(
        find_neighbors(moved, k=40), moved, 7.5 * (queries @ turn + 2), dimension=3,
        **chosen(method),
    )  # fmt: skip
    assert a.values - b.values == pytest.approx(np.full(30, 3 * np.log(7.5)), abs=1e-9)


@METHODS
def test_high_dimension_and_far_queries(method: str) -> None:
    points = cloud(200, 300)
    queries = np.vstack([cloud(5, 300, seed=3)[:4], np.full((1, 300), 1e6)])
    graph = find_neighbors(points, k=40)
    found = interpolate_density(graph, points, queries, dimension=300, **chosen(method))
    assert np.isfinite(found.values).all()
    assert found.values[-1] < found.values[:-1].min() - 1000


@METHODS
def test_a_sample_without_extent_has_no_density(method: str) -> None:
    points = np.full((50, 2), 3.0)
    found = interpolate_density(
        find_neighbors(points, k=12), points, [[0.0, 0.0]], dimension=2, **chosen(method)
    )
    assert np.isnan(found.values).all()
    assert (found.k == -1).all()
    assert "collapsed" in note_words(found.note)


def test_wrong_arguments_are_refused() -> None:
    points = cloud()
    graph = find_neighbors(points, k=20)

    def ask(**options):  # type: ignore[no-untyped-def]
        given = {"points": points, "queries": points[:3], "dimension": 3} | options
        return interpolate_density(graph, **given)

    with pytest.raises(InputError, match="method must be one of knn, kstar, pak, got 'bmti'"):
        ask(method="bmti")
    with pytest.raises(InputError, match="method='knn' needs k="):
        ask(method="knn")
    with pytest.raises(InputError, match="method='kstar' finds k itself"):
        ask(method="kstar", k=5)
    with pytest.raises(InputError, match="unbiased=True is for method='knn'"):
        ask(unbiased=True)
    with pytest.raises(InputError, match=r"k must lie in 1\.\.20, .* got 21"):
        ask(method="knn", k=21)
    with pytest.raises(InputError, match="the sample has 3 columns, the queries have 2"):
        ask(queries=points[:3, :2])
    with pytest.raises(InputError, match="the graph is of other points"):
        ask(points=points[::-1])
    with pytest.raises(InputError, match=r"alpha must lie in \(0, 1\), got 2"):
        ask(alpha=2)
    bad = points[:3].copy()
    bad[1, 0] = np.inf
    with pytest.raises(NonFiniteError, match="rows 1"):
        ask(queries=bad)
