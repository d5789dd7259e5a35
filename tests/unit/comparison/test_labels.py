"""Label overlap: exact values, weights, chance and ceiling, any hashable label, bad input."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.comparison.labels import label_overlap
from hiddenscape.comparison.overlap import neighborhood_overlap
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors


def brute_graph(points: np.ndarray, k: int, **fields: object) -> NeighborGraph:
    x = np.asarray(points, dtype=np.float64)
    d = np.sqrt(((x[:, None, :] - x[None, :, :]) ** 2).sum(-1))
    multiplicity = (d == 0).sum(1)
    np.fill_diagonal(d, np.inf)
    order = np.argsort(d, axis=1, kind="stable")[:, :k]
    fields = {"multiplicity": multiplicity, **fields}
    return NeighborGraph(indices=order, distances=np.take_along_axis(d, order, axis=1), **fields)


def by_definition(
    graph: NeighborGraph, y: list[Any], k: int, weighting: str, fraction: float | None
) -> float:
    counts = {c: y.count(c) for c in set(y)}
    shares: dict[Any, list[float]] = {}
    for i, c in enumerate(y):
        if counts[c] == 1:
            continue
        ki = (
            k
            if fraction is None
            else max(1, int(Fraction(fraction).limit_denominator() * counts[c]))
        )
        near = graph.indices[i, :ki]
        shares.setdefault(c, []).append(sum(y[j] == c for j in near) / ki)
    if weighting == "macro":
        return float(np.mean([np.mean(s) for s in shares.values()]))
    return float(np.mean([v for s in shares.values() for v in s]))


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(8, 40),
    n_classes=st.integers(1, 6),
    weighting=st.sampled_from(["plain", "macro"]),
    fraction=st.sampled_from([None, 0.1, 0.3]),
)
def test_equals_the_definition(
    seed: int, n: int, n_classes: int, weighting: Any, fraction: float | None
) -> None:
    rng = np.random.default_rng(seed)
    graph = brute_graph(rng.normal(size=(n, 2)), n - 1)
    y = rng.integers(n_classes, size=n).tolist()
    result = label_overlap(
        graph, y, k=None if fraction else 4, weighting=weighting, class_fraction=fraction
    )
    assert result.value == pytest.approx(by_definition(graph, y, 4, weighting, fraction), rel=1e-12)


def test_one_class_gives_exactly_one_and_nothing_to_adjust(rng: np.random.Generator) -> None:
    graph = brute_graph(rng.normal(size=(30, 2)), 20)
    for k in (1, 7, 20):
        result = label_overlap(graph, ["a"] * 30, k=k)
        assert (result.value, result.chance, result.ceiling) == (1.0, 1.0, 1.0)
        assert np.isnan(result.adjusted)


def test_all_labels_different(rng: np.random.Generator) -> None:
    graph = brute_graph(rng.normal(size=(30, 2)), 5)
    result = label_overlap(graph, range(30))
    assert np.isnan(result.value)
    assert result.note == "undefined (no label occurs twice)"
    assert result.n_dropped == 30
    assert label_overlap(graph, range(30), singletons="zero").value == 0.0


def test_singletons_are_left_out_and_counted_but_stay_neighbours() -> None:
    line = np.array([[0.0], [1.0], [3.0], [10.0], [11.0], [13.0]])
    y = ["a", "single", "a", "b", "b", "b"]
    graph = brute_graph(line, 2)
    result = label_overlap(graph, y, k=1)
    assert result.n_used == 5
    assert result.n_dropped == 1
    # Both rows of class a have the single row next to them.
    np.testing.assert_array_equal(result.per_point, [0, np.nan, 0, 1, 1, 1])
    assert result.value == pytest.approx(3 / 5)
    assert result.chance == pytest.approx((2 * 1 + 3 * 2) / 5 / 5)
    kept = label_overlap(graph, y, k=1, singletons="zero")
    assert kept.value == pytest.approx(3 / 6)
    assert label_overlap(graph, y, k=1, weighting="macro").value == pytest.approx(1 / 2)
    assert label_overlap(graph, y, k=1, weighting="macro", singletons="zero").value == (
        pytest.approx(1 / 3)
    )


def test_chance_is_the_mean_over_all_permutations() -> None:
    from itertools import permutations

    graph = brute_graph(np.array([[0.0], [1.0], [2.5], [4.6], [5.0]]), 2)
    y = ["a", "a", "b", "b", "b"]
    for weighting in ("plain", "macro"):
        over_all = [
            label_overlap(graph, [y[i] for i in order], weighting=weighting).value
            for order in permutations(range(5))
        ]
        assert label_overlap(graph, y, weighting=weighting).chance == pytest.approx(
            np.mean(over_all), rel=1e-12
        )


def test_ceiling_is_reached_by_separated_classes(rng: np.random.Generator) -> None:
    y = np.repeat([0, 1, 2], [3, 6, 12])
    graph = brute_graph(rng.normal(size=(21, 2)) + 1000 * y[:, None], 8)
    for weighting in ("plain", "macro"):
        result = label_overlap(graph, y, k=8, weighting=weighting)
        assert result.value == pytest.approx(result.ceiling, rel=1e-12)
        assert result.ceiling < 1
        assert result.adjusted == pytest.approx(1.0)
    share = label_overlap(graph, y, class_fraction=0.34)
    assert share.value == share.ceiling == 1.0


def test_labels_of_any_kind_are_compared_not_cast(rng: np.random.Generator) -> None:
    graph = brute_graph(rng.normal(size=(40, 2)), 5)
    codes = rng.integers(2, size=40)
    want = label_overlap(graph, codes).value
    kinds: list[Any] = [
        np.where(codes, 0.7, 0.2),
        np.where(codes, "x", "y"),
        [("x", 1) if c else ("x", 2) for c in codes],
        [1 if c else "1" for c in codes],
        codes.astype(bool),
        [frozenset([int(c)]) for c in codes],
        np.array([b"u" if c else "u" for c in codes], dtype=object),
        (0.1 + codes * 2e-16).tolist(),
    ]
    for labels in kinds:
        assert label_overlap(graph, labels).value == want


def test_numbering_of_classes_does_not_matter(rng: np.random.Generator) -> None:
    graph = brute_graph(rng.normal(size=(60, 2)), 9)
    y = rng.integers(4, size=60)
    renamed = np.array(["d", "b", "a", "c"])[y]
    for options in ({"weighting": "macro"}, {"class_fraction": 0.3}):
        a, b = label_overlap(graph, y, **options), label_overlap(graph, renamed, **options)
        assert a.value == pytest.approx(b.value, rel=1e-14)
        assert a.stderr == pytest.approx(b.stderr, rel=1e-12)


@pytest.mark.parametrize("weighting", ["plain", "macro"])
def test_stderr_is_the_limit_of_the_bootstrap(weighting: Any, rng: np.random.Generator) -> None:
    y = np.repeat([0, 1, 2], [40, 80, 160])
    graph = brute_graph(rng.normal(size=(280, 2)) + 0.7 * y[:, None], 6)
    result = label_overlap(graph, y, weighting=weighting)
    draws = np.empty(3000)
    for i in range(3000):
        if weighting == "plain":
            draws[i] = rng.choice(result.per_point, size=280).mean()
        else:
            draws[i] = np.mean(
                [rng.choice(result.per_point[y == c], size=(y == c).sum()).mean() for c in range(3)]
            )
    assert result.stderr == pytest.approx(draws.std(), rel=0.06)


def test_first_neighbour_overlap_is_nearest_neighbour_accuracy(rng: np.random.Generator) -> None:
    y = rng.integers(3, size=80)
    graph = brute_graph(rng.normal(size=(80, 3)) + y[:, None], 1)
    assert label_overlap(graph, y).value == pytest.approx(np.mean(y[graph.indices[:, 0]] == y))


def test_constant_site_is_undefined() -> None:
    graph = brute_graph(np.zeros((20, 3)), 4)
    result = label_overlap(graph, [0, 1] * 10)
    assert np.isnan(result.value)
    assert result.note == "undefined (all rows are identical)"


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    graph = brute_graph(rng.normal(size=(50, 2)), 7)
    y = rng.integers(3, size=50)
    whole = label_overlap(graph, y, class_fraction=0.2).per_point
    monkeypatch.setattr("hiddenscape.comparison.labels._BLOCK_ENTRIES", 20)
    np.testing.assert_array_equal(label_overlap(graph, y, class_fraction=0.2).per_point, whole)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0] * 9, "9 labels for a graph of 10 rows"),
        ([0] * 9 + [None], r"1 rows have no label \(rows 9\)"),
        ([0.0] * 8 + [np.nan, np.nan], r"2 rows have no label \(rows 8, 9\)"),
        (np.array([0.0] * 9 + [np.nan]), r"rows 9\)"),
        (np.array(["2020-01-01"] * 9 + ["NaT"], dtype="M8[D]"), r"rows 9\)"),
        ([[0]] * 10, "labels must be hashable .*, got list"),
        (np.zeros((10, 2)), "one label per row is expected"),
    ],
)
def test_refuses_labels_that_cannot_be_used(labels: Any, message: str) -> None:
    graph = brute_graph(np.arange(10.0)[:, None] ** 2, 3)
    with pytest.raises(InputError, match=message):
        label_overlap(graph, labels)


def test_refuses_missing_values_of_pandas() -> None:
    pd = pytest.importorskip("pandas")
    graph = brute_graph(np.arange(10.0)[:, None] ** 2, 3)
    with pytest.raises(InputError, match=r"rows 2\)"):
        label_overlap(graph, ["a", "a", pd.NA, *["b"] * 7])
    column = pd.Series(["a"] * 5 + ["b"] * 5, index=range(100, 110))
    assert label_overlap(graph, column).value > 0


def test_labels_of_all_rows_for_a_graph_of_some_name_the_remedy() -> None:
    graph = brute_graph(np.arange(10.0)[:, None], 3, rows=np.arange(10) * 2, n_rows=20)
    with pytest.raises(InputError, match=r"use labels\[graph.rows\]"):
        label_overlap(graph, [0] * 20)


def test_refuses_options_that_make_no_sense() -> None:
    graph = brute_graph(np.arange(10.0)[:, None], 3)
    y = [0] * 10
    with pytest.raises(InputError, match="asked for k = 5: search again"):
        label_overlap(graph, y, class_fraction=0.5)
    with pytest.raises(InputError, match="not both"):
        label_overlap(graph, y, k=2, class_fraction=0.2)
    with pytest.raises(InputError, match=r"\(0, 1\], got 1.5"):
        label_overlap(graph, y, class_fraction=1.5)
    with pytest.raises(InputError, match="'plain' or 'macro'"):
        label_overlap(graph, y, weighting="mean")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'exclude' or 'zero'"):
        label_overlap(graph, y, singletons="drop")  # type: ignore[arg-type]


def test_class_sized_neighbourhood_is_not_cut_by_rounding(rng: np.random.Generator) -> None:
    # 0.29 * 100 is 28.999999999999996 in floating point.
    graph = brute_graph(rng.normal(size=(150, 2)), 40)
    y = np.repeat([0, 1], [100, 50])
    shares = label_overlap(graph, y, class_fraction=0.29).per_point
    near = y[graph.indices[:, :29]] == y[:, None]
    np.testing.assert_array_equal(shares[:100], near[:100].sum(axis=1) / 29)
    np.testing.assert_array_equal(shares[100:], near[100:, :14].sum(axis=1) / 14)


@pytest.mark.parametrize("labels", [set(range(6)), dict.fromkeys(range(6), 0), 3, iter("aabbcc")])
def test_labels_come_in_row_order(labels: object, rng: np.random.Generator) -> None:
    graph = find_neighbors(rng.normal(size=(6, 2)), k=2)
    with pytest.raises(InputError, match="labels must be a sequence, one per row in row order"):
        label_overlap(graph, labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [True, 1.5])
def test_k_is_a_whole_number(k: object, rng: np.random.Generator) -> None:
    graph = find_neighbors(rng.normal(size=(6, 2)), k=2)
    with pytest.raises(InputError, match="k must be a whole number"):
        label_overlap(graph, "aabbcc", k=k)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="k must be a whole number"):
        neighborhood_overlap(graph, graph, k=k)  # type: ignore[arg-type]
