from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from hiddenscape.dimension.hidalgo import hidalgo
from hiddenscape.dimension.hidalgo_chains import Chain, Model, aligned, run_chain, split_rhat
from hiddenscape.dimension.mixture import DimensionMixture
from hiddenscape.errors import DuplicateRowsError, InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words
from hiddenscape.testing.manifolds import MANIFOLDS, cube, gaussian, pareto_graph

FAST = {"sweeps": 300, "burn_in": 400, "chains": 3}


def joined(*parts: tuple[int, float], k: int = 5, seed: int = 0) -> NeighborGraph:
    """The model itself: groups of rows with exact Pareto ratios, neighbours within the group."""
    indices, distances, first = [], [], 0
    for n, d in parts:
        graph = pareto_graph(n, d, k=k, seed=seed + 10 * first)
        indices.append(graph.indices + first)
        distances.append(graph.distances)
        first += n
    return NeighborGraph(indices=np.vstack(indices), distances=np.vstack(distances),
                         multiplicity=np.ones(first, dtype=np.int64))  # fmt: skip


def two(n: int, low: int, high: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A cube of each dimension through the same corner, in ten columns."""
    x = np.zeros((2 * n, 10))
    x[:n, :low] = cube(n, low, seed=seed)
    x[n:, :high] = cube(n, high, seed=seed + 50)
    order = np.random.default_rng([seed, 91]).permutation(2 * n)
    return x[order], (order >= n).astype(int)


@pytest.mark.parametrize(("low", "high"), [(1.0, 5.0), (2.0, 8.0), (2.0, 5.0), (5.0, 20.0)])
def test_truth_on_the_model(low: float, high: float) -> None:
    found = hidalgo(joined((300, high), (200, low)), (1, 2, 3), **FAST)  # type: ignore[arg-type]
    assert found.parameters["chosen"] == 2
    assert np.all(np.abs(found.dimensions - [low, high]) < 3.5 * found.stderrs)
    assert found.stderrs / found.dimensions == pytest.approx([200**-0.5, 300**-0.5], rel=0.3)
    assert found.shares == pytest.approx([0.4, 0.6], abs=0.03)
    assert np.mean(found.labels(0.5) == np.repeat([1, 0], [300, 200])) > 0.97
    assert found.rhat < 1.1
    assert found.value == pytest.approx(found.shares @ found.dimensions, rel=0.02)
    assert found.per_point is not None
    assert found.per_point.mean() == pytest.approx(found.value)
    assert found.probabilities.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(("low", "high"), [(1, 5), (2, 8)])
def test_two_manifolds_that_cross(low: int, high: int) -> None:
    x, truth = two(400, low, high)
    found = hidalgo(find_neighbors(x, k=5), (1, 2, 3), **FAST)  # type: ignore[arg-type]
    assert found.parameters["chosen"] == 2
    # The bias of two neighbours in a cube of dimension 8: some 0.8.
    assert found.dimensions[0] == pytest.approx(low, rel=0.12)
    assert 0.72 < found.dimensions[1] / high < 1.15
    sure = found.labels(0.8)
    assert (sure >= 0).mean() > 0.85
    assert np.mean(sure[sure >= 0] == truth[sure >= 0]) > 0.95
    gain = found.trials[1]
    assert gain.gain > 4 * gain.gain_stderr


@pytest.mark.parametrize("name", ["sphere1", "sphere2", "gaussian5", "cube8"])
def test_one_manifold_is_not_split(name: str) -> None:
    """With the published list (skip = 0) rows learn from neighbours that share a distance."""
    for seed in range(3):
        graph = find_neighbors(MANIFOLDS[name].sample(400, seed), k=5)
        found = hidalgo(graph, (1, 2), sweeps=200, burn_in=300, chains=2, seed=seed)
        assert found.parameters["chosen"] == 1, seed


def test_the_published_list_splits_a_sphere() -> None:
    graph = find_neighbors(MANIFOLDS["sphere2"].sample(600, 3), k=5)
    options = {"sweeps": 400, "burn_in": 600, "chains": 2, "seed": 3}
    assert hidalgo(graph, (1, 2), skip=0, **options).parameters["chosen"] == 2  # type: ignore[arg-type]
    assert hidalgo(graph, (1, 2), **options).parameters["chosen"] == 1  # type: ignore[arg-type]


def test_one_component_has_a_known_posterior() -> None:
    graph = pareto_graph(400, 6.0, k=5)
    total = float(np.log(graph.distances[:, 1] / graph.distances[:, 0]).sum())
    found = hidalgo(graph, 1, prior=(2.0, 3.0), sweeps=500, chains=4)
    mean, sd = 402 / (3 + total), math.sqrt(402) / (3 + total)
    assert found.dimensions[0] == pytest.approx(mean, abs=4 * sd / math.sqrt(1000))
    assert found.stderrs[0] == pytest.approx(sd, rel=0.1)
    # Without a rate the prior has the mean of all rows: the estimate is N/S itself.
    loose = hidalgo(graph, 1, sweeps=500)
    assert loose.dimensions[0] == pytest.approx(400 / total, abs=4 * sd / math.sqrt(1000))


def test_the_sampler_draws_from_the_posterior() -> None:
    """All 2^n assignments of a tiny cloud enumerated, dimensions and shares integrated out."""
    n, q, zeta, shape, rate, c = 7, 2, 0.7, 2.0, 1.5, 1.3
    rng = np.random.default_rng(4)
    log_mu = rng.exponential(0.5, size=n)
    near = np.stack([rng.choice([j for j in range(n) if j != i], q, replace=False)
                     for i in range(n)])  # fmt: skip
    model = Model.of(log_mu, near, zeta, shape, rate, c)

    def weight(z: np.ndarray) -> float:
        out = 1.0
        for k in (0, 1):
            m = int((z == k).sum())
            out *= math.gamma(c + m) * math.gamma(shape + m)
            out /= (rate + log_mu[z == k].sum()) ** (shape + m)
        for i in range(n):
            size, inside = int((z == z[i]).sum()), int((z[near[i]] == z[i]).sum())
            norm = sum(
                math.comb(size - 1, j) * math.comb(n - size, q - j)
                * zeta**j * (1 - zeta) ** (q - j)
                for j in range(q + 1)
            )  # fmt: skip
            out *= zeta**inside * (1 - zeta) ** (q - inside) / norm
        return out

    states = [np.array(z) for z in itertools.product((0, 1), repeat=n)]
    weights = np.array([weight(z) for z in states])
    weights /= weights.sum()
    # Labels are exchangeable: compare pairs of rows in one component.
    want = sum(w * (z[:, None] == z) for w, z in zip(weights, states, strict=True))
    got = np.zeros((n, n))
    draws = 0
    for s in range(16):
        chain = run_chain(model, 2, 5000, 200, np.random.default_rng(s), lambda more: None)
        for z in chain.components:
            got += z[:, None] == z
        draws += len(chain.components)
    # Draws are 20 sweeps apart: 4000 nearly independent ones, an error of 0.008.
    assert got / draws == pytest.approx(want, abs=0.03)


def test_components_are_brought_in_line() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [50, 30, 20])
    dimensions = np.array([7.0, 2.0, 4.0])

    def chain(seed: int) -> Chain:
        drawn, values = [], []
        for t in range(10):
            new = np.random.default_rng([seed, t]).permutation(3)
            z = new[np.where(rng.uniform(size=100) < 0.1, rng.integers(3, size=100), truth)]
            moved = np.empty(3)
            moved[new] = dimensions
            drawn.append(z)
            values.append(moved)
        stacked = np.array(values)
        return Chain(stacked, stacked / 13, np.array(drawn, dtype=np.int8), np.zeros(10),
                     np.zeros(100))  # fmt: skip

    for found in aligned([chain(0), chain(1)]):
        assert np.all(found.dimensions == [2.0, 4.0, 7.0])
        assert found.shares == pytest.approx(found.dimensions / 13)
        votes = np.array([np.bincount(z, minlength=3) for z in found.components.T]).argmax(axis=1)
        assert np.mean(votes == np.array([2, 0, 1])[truth]) > 0.95


def test_chains_that_disagree_are_told() -> None:
    rng = np.random.default_rng(0)
    agree = rng.normal(size=(4, 200, 2))
    assert np.all(split_rhat(agree) < 1.05)
    assert split_rhat(agree + np.array([0, 0, 0, 5.0])[:, None, None]).min() > 1.5
    drift = agree + np.linspace(0, 4, 200)[None, :, None]
    assert split_rhat(drift).min() > 1.3
    assert np.isnan(split_rhat(agree[:, :3])).all()


def test_components_without_rows_have_no_dimension() -> None:
    found = hidalgo(joined((300, 4.0)), 3, **FAST)  # type: ignore[arg-type]
    empty = np.isnan(found.dimensions)
    if empty.any():
        assert "components hold too little" in found.note
        assert found.shares[empty].max() < 0.02
    assert found.value == pytest.approx(4, rel=0.15)


def test_seed_progress_and_scale() -> None:
    graph = find_neighbors(two(100, 1, 4)[0], k=5)
    calls: list[tuple[int, int]] = []
    options = {"sweeps": 60, "burn_in": 40, "chains": 2}
    told = lambda done, total: calls.append((done, total))  # noqa: E731
    a = hidalgo(graph, (1, 2), progress=told, **options)  # type: ignore[arg-type]
    assert calls[-1] == (2 * 60 + 2 * 100, 2 * 60 + 2 * 100)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    b, c = (hidalgo(graph, (1, 2), seed=s, **options) for s in (0, 1))  # type: ignore[arg-type]
    assert np.array_equal(a.dimensions, b.dimensions)
    assert np.array_equal(a.probabilities, b.probabilities)
    assert not np.array_equal(a.dimensions, c.dimensions)
    first, second = graph.distances[:, 0], graph.distances[:, 1]
    assert a.scale == pytest.approx(np.mean((first + second) / 2))


@pytest.mark.parametrize("move", ["shift", "scale", "turn", "constant column"])
def test_invariance(move: str) -> None:
    x = two(100, 1, 4)[0]
    turn = np.linalg.qr(gaussian(10, 10))[0]
    moved = {
        "shift": x + 3.0,
        "scale": x * 1e-3,
        "turn": x @ turn,
        "constant column": np.hstack([x, np.full((200, 1), 50.0)]),
    }[move]
    options = {"sweeps": 60, "burn_in": 40, "chains": 2}
    a, b = (hidalgo(find_neighbors(p, k=5), 2, **options) for p in (x, moved))  # type: ignore[arg-type]
    assert b.dimensions == pytest.approx(a.dimensions, rel=1e-9)
    assert b.per_point == pytest.approx(a.per_point, rel=1e-9)


def test_repeated_rows_change_nothing() -> None:
    x = two(100, 1, 4)[0]
    options = {"sweeps": 60, "burn_in": 40, "chains": 2}
    one = hidalgo(find_neighbors(x, k=5), 2, **options)  # type: ignore[arg-type]
    for copies in (2, 3, 4):
        graph = find_neighbors(np.tile(x, (copies, 1)), k=5)
        many = hidalgo(graph, 2, **options)  # type: ignore[arg-type]
        assert many.dimensions == pytest.approx(one.dimensions, rel=1e-12)
        assert "duplicates" in note_words(many.note)
        assert many.n_dropped == (copies - 1) * 200
        assert many.labels()[200:].max() == -1
        assert np.isnan(many.probabilities[200:]).all()
    with pytest.raises(DuplicateRowsError, match="identical"):
        hidalgo(graph, 2, duplicates="error")


@pytest.mark.parametrize(
    ("points", "word"),
    [
        (np.full((60, 3), 2.0), "collapsed"),
        (np.repeat(np.eye(2, 3), 30, axis=0), "collapsed"),
        (np.repeat(gaussian(5, 3), 20, axis=0), "few_points"),
        (np.repeat(gaussian(8, 3), 20, axis=0), "few_points"),
        (np.eye(40), "ties"),
    ],
)
def test_no_dimension_is_nan_with_a_reason(points: np.ndarray, word: str) -> None:
    found = hidalgo(find_neighbors(points, k=5), (1, 2, 3), **FAST)  # type: ignore[arg-type]
    assert isinstance(found, DimensionMixture)
    assert math.isnan(found.value)
    assert word in note_words(found.note)
    assert not found.labels().size


def test_ratios_of_one_are_no_dimension() -> None:
    # Half the rows on a lattice: all its ratios are 1, and any dimension would do.
    grid = np.stack(np.meshgrid(*[np.arange(8.0)] * 2), -1).reshape(-1, 2) + 40
    found = hidalgo(
        find_neighbors(np.vstack([grid, gaussian(64, 2)]), k=5), 2, **FAST  # type: ignore[arg-type]
    )  # fmt: skip
    assert "ties" in note_words(found.note)
    assert np.isnan(found.dimensions[-1])
    assert "components hold too little" in found.note


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 0}, "components must lie in 1..20, got 0"),
        ({"components": ()}, "components must lie in 1..20"),
        ({"components": 21}, "components must lie in 1..20, got 21"),
        ({"zeta": 0.5}, "zeta must lie in \\(0.5, 1\\), got 0.5"),
        ({"q": 0}, "hidalgo needs q >= 1"),
        ({"chains": 1}, "chains >= 2"),
        ({"prior": (0.0, 1.0)}, "priors must be positive"),
        ({"prior": (np.inf, None)}, "priors must be positive and finite"),
        ({"concentration": np.inf}, "priors must be positive and finite"),
        ({"duplicates": "drop_zero"}, "duplicates must be unique or error"),
        ({"q": 4}, "hidalgo needs 6 neighbours per row, the graph stores 5"),
    ],
)
def test_misuse_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        hidalgo(find_neighbors(cube(40, 2), k=5), **options)  # type: ignore[arg-type]
