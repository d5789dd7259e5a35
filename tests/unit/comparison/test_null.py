"""Permutation nulls: the exact moments against full enumeration and against draws."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from hiddenscape.comparison.labels import label_overlap
from hiddenscape.comparison.null import label_overlap_null, overlap_chance_sd, overlap_null
from hiddenscape.comparison.overlap import neighborhood_overlap
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph


def brute_graph(points: np.ndarray, k: int) -> NeighborGraph:
    d = np.sqrt(((points[:, None, :] - points[None, :, :]) ** 2).sum(-1))
    np.fill_diagonal(d, np.inf)
    order = np.argsort(d, axis=1, kind="stable")[:, :k]
    return NeighborGraph(indices=order, distances=np.take_along_axis(d, order, axis=1))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_spread_is_that_of_all_permutations(k: int, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    a = brute_graph(x, k)
    values = [
        neighborhood_overlap(a, brute_graph(y[list(order)], k)).value
        for order in permutations(range(6))
    ]
    assert np.mean(values) == pytest.approx(k / 5, rel=1e-12)
    assert overlap_chance_sd(a, brute_graph(y, k)) == pytest.approx(np.std(values), rel=1e-10)


@pytest.mark.parametrize("weighting", ["plain", "macro"])
@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 2]])
def test_spread_of_labels_is_that_of_all_permutations(
    weighting: str, labels: list[int], rng: np.random.Generator
) -> None:
    graph = brute_graph(rng.normal(size=(6, 2)), 2)
    values = [
        label_overlap(graph, list(order), weighting=weighting).value
        for order in permutations(labels)
    ]
    null = label_overlap_null(graph, labels, weighting=weighting, draws=2)
    assert null.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert null.sd == pytest.approx(np.std(values), rel=1e-10)


def test_draws_agree_with_the_formula_where_hubs_widen_the_null(rng: np.random.Generator) -> None:
    a, b = (brute_graph(rng.normal(size=(250, 12)), 10) for _ in range(2))
    null = overlap_null(a, b, draws=1500)
    # sd of a mean of n independent hypergeometric rows
    p = 10 / 249
    independent = np.sqrt(p * (1 - p) * (249 - 10) / 248 / 10 / 250)
    assert null.values.std() == pytest.approx(null.sd, rel=0.08)
    assert null.values.mean() == pytest.approx(null.mean, abs=4 * null.sd / np.sqrt(1500))
    assert null.sd > 1.1 * independent


def test_p_counts_draws_that_reach_the_observed(rng: np.random.Generator) -> None:
    x = rng.normal(size=(60, 2))
    a = brute_graph(x, 5)
    same = overlap_null(a, a, draws=39)
    assert (same.observed, same.p) == (1.0, 1 / 40)
    assert same.z > 10
    ps = [
        overlap_null(a, brute_graph(rng.normal(size=(60, 2)), 5), draws=19, seed=s).p
        for s in range(60)
    ]
    assert np.mean(ps) == pytest.approx(0.55, abs=0.15)


def test_permuted_labels_are_reproducible_and_keyed_by_seed(rng: np.random.Generator) -> None:
    graph = brute_graph(rng.normal(size=(60, 2)), 5)
    labels = rng.integers(3, size=60)
    first = label_overlap_null(graph, labels, draws=9, seed=4)
    again = label_overlap_null(graph, labels, draws=9, seed=4)
    other = label_overlap_null(graph, labels, draws=9, seed=5)
    np.testing.assert_array_equal(first.values, again.values)
    assert (first.values != other.values).any()


def test_class_sized_neighbourhoods_take_their_spread_from_draws(rng: np.random.Generator) -> None:
    graph = brute_graph(rng.normal(size=(90, 2)), 40)
    labels = np.repeat([0, 1, 2], [10, 20, 60])
    null = label_overlap_null(graph, labels, class_fraction=0.3, weighting="macro", draws=400)
    assert null.values.mean() == pytest.approx(null.mean, abs=4 * null.sd / 20)
    assert null.sd == pytest.approx(null.values.std(ddof=1))


def test_undefined_stays_undefined(rng: np.random.Generator) -> None:
    constant = brute_graph(np.zeros((20, 2)), 4)
    other = brute_graph(rng.normal(size=(20, 2)), 4)
    assert np.isnan(overlap_null(constant, other).p)
    assert np.isnan(label_overlap_null(other, range(20)).observed)


def test_refuses_no_draws(rng: np.random.Generator) -> None:
    a = brute_graph(rng.normal(size=(20, 2)), 3)
    with pytest.raises(InputError, match="at least 1 draw, got 0"):
        overlap_null(a, a, draws=0)
