from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import gamma

from hiddenscape.dimension.ess import ess_dimension, ess_of_patch
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, flat_torus, gaussian, sphere


def by_hand(x: np.ndarray, form: str) -> float:
    x = x - x.mean(axis=0)
    top = bottom = 0.0
    for i in range(len(x)):
        for j in range(i):
            inner, lengths = abs(x[i] @ x[j]), np.linalg.norm(x[i]) * np.linalg.norm(x[j])
            area = math.sqrt(max(lengths**2 - inner**2, 0.0))
            top += area if form == "a" else inner
            bottom += lengths
    return top / bottom


def reference(m: float, form: str) -> float:
    if form == "b":
        return gamma(m / 2) / (math.sqrt(math.pi) * gamma((m + 1) / 2))
    return gamma(m / 2) ** 2 / (gamma((m + 1) / 2) * gamma((m - 1) / 2)) if m > 1 else 0.0


@pytest.mark.parametrize("form", ["a", "b"])
def test_formula(form: str) -> None:
    x = cube(80, 3)
    graph = find_neighbors(x, k=7)
    found = ess_dimension(x, 7, form=form, graph=graph, per_point=True)
    assert found.per_point is not None
    for row in (0, 33):
        s = by_hand(x[[row, *graph.indices[row]]], form)
        m = math.floor(found.per_point[row])
        share = found.per_point[row] - m
        between = (1 - share) * reference(m, form) + share * reference(m + 1, form)
        assert between == pytest.approx(s, rel=1e-9)
    assert found.value == pytest.approx(found.per_point.mean())


def test_random_directions_have_the_reference_of_their_dimension() -> None:
    for d in (2, 3, 6, 40):
        for form in ("a", "b"):
            dimension, _ = ess_of_patch(gaussian(600, d), form=form)
            assert dimension == pytest.approx(d, rel=0.05)
        assert ess_of_patch(gaussian(80, d), vectors=2)[0] == pytest.approx(d, rel=0.12)


@pytest.mark.parametrize(
    ("make", "d", "ratio"),
    [(cube, 2, 1.010), (cube, 5, 0.958), (gaussian, 5, 1.005), (sphere, 2, 1.051),
     (flat_torus, 2, 1.098)],
)  # fmt: skip
def test_truth_and_stated_bias(make: object, d: int, ratio: float) -> None:
    values = [ess_dimension(make(1000, d, seed=s), 20).value for s in range(2)]  # type: ignore[operator]
    assert np.mean(values) / d == pytest.approx(ratio, abs=0.02)


def test_a_line_has_one_dimension() -> None:
    x = np.random.default_rng(0).uniform(size=(60, 1)) @ np.array([[3.0, 4.0]])
    # Areas are zero up to rounding of their squares.
    assert ess_dimension(x, 6).value == pytest.approx(1, abs=1e-6)
    assert ess_dimension(x, 6, form="b").value == pytest.approx(1, abs=1e-6)


def test_no_bound_is_an_answer() -> None:
    # Orthogonal vectors: about the dimension of the simplex, and no more than that.
    x = np.eye(60) + 1e-3 * np.random.default_rng(0).normal(size=(60, 60))
    found = ess_dimension(x, 12)
    assert math.isnan(found.value) or found.value < 1e5
    crossed = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    assert ess_of_patch(crossed)[0] == pytest.approx(2, abs=1)
    assert math.isnan(ess_of_patch(np.ones((5, 2)))[0])


def test_offset_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = cube(150, 3)
    whole = ess_dimension(x, 8)
    assert ess_dimension(x + 1e6, 8).value == pytest.approx(whole.value, rel=1e-7)
    blocked = ess_dimension(x, 8, stderr="blocks", blocks=spatial_blocks(x))
    assert 0.3 < blocked.stderr / whole.stderr < 4
    monkeypatch.setattr("hiddenscape.dimension.patches._ENTRIES", 400)
    assert ess_dimension(x, 8).value == pytest.approx(whole.value, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ess_dimension(x, 1), "ess needs at least 2 neighbours"),
        (lambda x: ess_dimension(x, 50), "k = 50 needs at least 51"),
        (lambda x: ess_dimension(x, form="c"), "form must be a or b"),
        (lambda x: ess_of_patch(x, vectors=3), "vectors must be 1 or"),
        (lambda x: ess_of_patch(x, form="b", vectors=2), "vectors must be 1 or"),
        (lambda x: ess_of_patch(x[:2]), "at least 3 rows, got 2"),
    ],
)
def test_misuse_is_refused(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(cube(40, 2))  # type: ignore[operator]
