from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2, gamma

from hiddenscape.dimension.gride import gride
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.dimension.two_nn import TWO_NN_PRESETS, two_nn
from hiddenscape.errors import DuplicateRowsError, InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, pareto_graph

METHODS = ("censored", "mle", "fit", "bayes", "naive")


@pytest.fixture(scope="module")
def graph() -> NeighborGraph:
    return find_neighbors(cube(400, 3), k=2)


def logs(graph: NeighborGraph) -> np.ndarray:
    return np.sort(np.log(graph.distances[:, 1] / graph.distances[:, 0]))


def test_formulas(graph: NeighborGraph) -> None:
    x = logs(graph)
    n, m = 400, 360
    total = x[:m].sum() + (n - m) * x[m - 1]
    censored = two_nn(graph)
    assert censored.value == pytest.approx((m - 1) / total, rel=1e-12)
    assert censored.stderr == pytest.approx(censored.value / math.sqrt(m - 2), rel=1e-12)
    assert censored.interval == pytest.approx(chi2.ppf([0.025, 0.975], 2 * m) / (2 * total))
    mle = two_nn(graph, method="mle")
    assert mle.value == pytest.approx((n - 1) / x.sum(), rel=1e-12)
    assert mle.stderr == pytest.approx(mle.value / math.sqrt(n - 2), rel=1e-12)
    heights = -np.log1p(-(np.arange(1, m + 1) - 0.5) / n)
    fit = two_nn(graph, method="fit")
    assert fit.value == pytest.approx(x[:m] @ heights / (x[:m] @ x[:m]), rel=1e-12)
    assert two_nn(graph, method="naive").value == pytest.approx(m / x[:m].sum(), rel=1e-12)
    bayes = two_nn(graph, method="bayes", prior=(3.0, 0.5))
    law = gamma(3 + n, scale=1 / (0.5 + x.sum()))
    assert (bayes.value, bayes.stderr) == pytest.approx((law.mean(), law.std()))
    assert bayes.interval == pytest.approx(law.ppf([0.025, 0.975]))


def test_kinds_of_stderr(graph: NeighborGraph) -> None:
    kinds = {m: two_nn(graph, method=m).stderr_kind for m in METHODS}
    assert kinds == {
        "censored": "exact", "mle": "exact", "fit": "exact", "bayes": "exact", "naive": "",
    }  # fmt: skip
    assert math.isnan(two_nn(graph, method="naive").stderr)


def test_identities(graph: NeighborGraph) -> None:
    mle = two_nn(graph, method="mle")
    assert two_nn(graph, fraction=1.0).value == pytest.approx(mle.value, rel=1e-12)
    assert gride(graph, 1, 2).value == pytest.approx(mle.value, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_power_of_the_distance_divides_the_dimension(graph: NeighborGraph, method: str) -> None:
    squared = NeighborGraph(indices=graph.indices, distances=graph.distances**2)
    a, b = two_nn(graph, method=method), two_nn(squared, method=method)
    expected = 0.5 if method != "bayes" else b.value / a.value
    assert b.value / a.value == pytest.approx(expected, rel=1e-9)


def test_appended_copies_change_nothing(graph: NeighborGraph) -> None:
    points = cube(400, 3)
    more = find_neighbors(np.vstack([points, points[:50], points[:10]]), k=2)
    for method in METHODS:
        a, b = two_nn(graph, method=method), two_nn(more, method=method)
        assert a.value == b.value
        assert a.n_used == b.n_used
        assert a.scale == b.scale
        assert b.n_dropped == 60
        assert "duplicates (60 of 460 rows" in b.note


@pytest.mark.parametrize("copies", [2, 3, 4])
def test_wholly_repeated_rows_give_the_value_of_the_distinct(copies: int) -> None:
    points = cube(150, 2)
    one, many = find_neighbors(points, k=2), find_neighbors(np.repeat(points, copies, 0), k=2)
    assert two_nn(many).value == two_nn(one).value
    dropped = two_nn(many, duplicates="drop_zero")
    assert math.isnan(dropped.value)
    assert dropped.n_dropped == 150 * copies


def test_the_error_of_the_fit_is_seeded_and_of_the_right_size() -> None:
    exact = pareto_graph(2000, 4.0)
    a, b = two_nn(exact, method="fit"), two_nn(exact, method="fit")
    assert a.stderr == b.stderr
    assert a.stderr != two_nn(exact, method="fit", seed=1).stderr
    # The fit wastes little of the information of the censored likelihood.
    assert 0.8 < a.stderr / two_nn(exact).stderr < 1.6
    assert a.interval[0] < a.value < a.interval[1]


def test_blocks_give_another_error_for_the_same_value(graph: NeighborGraph) -> None:
    blocks = spatial_blocks(cube(400, 3))
    for method in ("censored", "mle", "fit"):
        plain = two_nn(graph, method=method)
        blocked = two_nn(graph, method=method, stderr="blocks", blocks=blocks)
        assert blocked.value == plain.value
        assert blocked.stderr_kind == "blocks"
        assert 0.4 < blocked.stderr / plain.stderr < 2.5


def test_blocks_follow_rows_through_the_removal_of_copies(graph: NeighborGraph) -> None:
    points = cube(400, 3)
    blocks = spatial_blocks(points)
    # Copies in front: the distinct graph keeps other row numbers than the data had.
    more = find_neighbors(np.vstack([points[-30:], points]), k=2)
    got = two_nn(more, stderr="blocks", blocks=np.concatenate([blocks[-30:], blocks]))
    want = two_nn(graph, stderr="blocks", blocks=blocks)
    assert got.stderr == pytest.approx(want.stderr, rel=1e-9)


def test_per_point_contributions_lie_at_their_rows() -> None:
    points = np.vstack([cube(100, 2), cube(100, 2)[:3]])
    result = two_nn(find_neighbors(points, k=2), method="mle", per_point=True)
    assert result.per_point is not None
    assert np.isnan(result.per_point).tolist() == [False] * 100 + [True] * 3
    assert result.value == pytest.approx(99 / np.nansum(result.per_point))
    assert two_nn(find_neighbors(points, k=2)).per_point is None


def test_presets_are_valid_settings(graph: NeighborGraph) -> None:
    for preset in TWO_NN_PRESETS.values():
        assert two_nn(graph, **preset).value > 0
    repeated = find_neighbors([[0.0], [1.0], [3.0], [1.0]], k=2)
    with pytest.raises(DuplicateRowsError):
        two_nn(repeated, **TWO_NN_PRESETS["facco17"])


def test_published_policy_eps_hides_copies_in_the_discarded_tail(graph: NeighborGraph) -> None:
    points = cube(400, 3)
    more = find_neighbors(np.vstack([points, points[:10]]), k=2)
    result = two_nn(more, **TWO_NN_PRESETS["dadapy"])
    assert result.value == pytest.approx(two_nn(graph, method="fit").value, rel=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_pathology_is_nan_with_a_reason(method: str) -> None:
    constant = two_nn(find_neighbors(np.ones((20, 3)), k=2), method=method)
    assert math.isnan(constant.value)
    assert constant.note == "collapsed (1 distinct of 20 rows)"
    pair = two_nn(find_neighbors([[0.0], [1.0]] * 10, k=2), method=method)
    assert pair.note == "collapsed (2 distinct of 20 rows)"
    simplex = two_nn(find_neighbors(np.eye(20), k=2), method=method)
    assert math.isnan(simplex.value)
    assert simplex.note.startswith("ties (all")


def test_few_distinct_rows_in_a_large_site_are_no_misuse() -> None:
    site = find_neighbors([[0.0], [1.0], [3.0]] * 10, k=2)
    result = two_nn(site)
    assert math.isnan(result.value)
    assert "few_points (2 ratios)" in result.note
    assert two_nn(site, method="mle").value > 0


def test_notes(graph: NeighborGraph) -> None:
    assert two_nn(graph).note == ""
    assert "few_points (60 rows)" in two_nn(find_neighbors(cube(60, 2), k=2)).note
    high = two_nn(find_neighbors(np.random.default_rng(0).normal(size=(300, 60)), k=2))
    assert "low_for_high_dimension" in high.note
    assert high.value < 60
    foreign = NeighborGraph.from_arrays(graph.indices, graph.distances)
    assert two_nn(foreign).note == "approximate"
    grid = np.stack(np.meshgrid(*[np.arange(12.0)] * 2), -1).reshape(-1, 2)
    jittered = grid + np.random.default_rng(0).normal(size=grid.shape) * (grid[:, :1] > 5) * 0.01
    assert "ties (" in two_nn(find_neighbors(jittered, k=2)).note


def test_parameters_say_what_was_done(graph: NeighborGraph) -> None:
    p = two_nn(graph, method="fit").parameters
    assert p["positions"] == "mid"
    assert p["fraction"] == 0.9
    assert p["duplicates"] == "unique"
    assert "fraction" not in two_nn(graph, method="mle").parameters
    r = two_nn(graph)
    assert (r.method, r.n1, r.n2) == ("censored", 1, 2)
    assert r.scale == pytest.approx(graph.distances.mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "method must be one of censored, mle, fit, bayes, naive"),
        ({"positions": "i"}, "positions must be one of mid, i/N"),
        ({"fraction": 0.0}, r"fraction must lie in \(0, 1\], got 0.0"),
        ({"fraction": 1.1}, "fraction must lie in"),
        ({"fraction": 0.005}, "400 rows leave 2 ratios at fraction 0.005, TwoNN needs at least 3"),
        ({"method": "fit", "fraction": 1.0, "positions": "i/N"}, "takes log 0"),
        ({"stderr": "fisher"}, "stderr must be model or blocks"),
        ({"stderr": "blocks"}, r"needs blocks=spatial_blocks\(points\)"),
        ({"duplicates": "keep"}, "duplicates must be one of"),
    ],
)
def test_misuse_is_refused(graph: NeighborGraph, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        two_nn(graph, **options)


def test_one_neighbor_is_not_enough() -> None:
    with pytest.raises(InputError, match="n2 = 2 needs 2 neighbours per row, the graph stores 1"):
        two_nn(find_neighbors(cube(20, 2), k=1))
    with pytest.raises(InputError, match=r"3 rows leave 2 ratios at fraction 0.9"):
        two_nn(find_neighbors(cube(3, 2), k=2))


@pytest.mark.parametrize(("n", "fraction", "kept"), [(100, 0.29, 29), (1000, 0.9, 900)])
def test_the_kept_share_is_rounded_as_meant(n: int, fraction: float, kept: int) -> None:
    r = two_nn(pareto_graph(n, 2.0), fraction=fraction)
    assert r.value / r.stderr == pytest.approx(math.sqrt(kept - 2))


@pytest.mark.parametrize("prior", [(-400.0, 5.0), (2.0, 0.0), (float("nan"), 5.0)])
def test_a_prior_is_positive(prior: tuple[float, float], rng: np.random.Generator) -> None:
    graph = find_neighbors(rng.normal(size=(30, 2)), k=2)
    with pytest.raises(InputError, match="prior must be two positive numbers"):
        two_nn(graph, method="bayes", prior=prior)


def test_a_metric_without_lengths_is_noted(rng: np.random.Generator) -> None:
    x = rng.normal(size=(200, 4))
    assert "no_length (1 - cos halves" in two_nn(find_neighbors(x, k=2, metric="cosine")).note
    assert two_nn(find_neighbors(x, k=2, metric="angular")).note == ""


def test_whole_distances_are_noted_where_they_tie(rng: np.random.Generator) -> None:
    # Letters: hamming distances are small whole numbers, most ratios are 1.
    words = rng.integers(0, 20, size=(500, 5))
    tied = two_nn(find_neighbors(words, k=2, metric="hamming"))
    assert "ties (" in tied.note
    assert "ratios are 1: the distances lie on a grid" in tied.note
    # Few ties: only their number is said.
    fine = two_nn(find_neighbors(rng.integers(0, 2, size=(200, 8000)), k=2, metric="hamming"))
    assert "ratios are 1)" in fine.note
    # Half of all distances are equal: no number at all.
    bits = find_neighbors(rng.integers(0, 2, size=(500, 10)), k=2, metric="hamming")
    assert math.isnan(two_nn(bits).value)
    assert "ties (all" in two_nn(bits).note
