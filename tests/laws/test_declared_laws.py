"""Every entry of ``analyses`` obeys the laws it declares, on points drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from hiddenscape.analyses import ANALYSES, Analysis, Chain, Measured, Settings
from hiddenscape.neighbors.search import find_neighbors

SETTINGS = Settings(
    k=(3, 10), max_rank=32, dimension_k=(8,), kstar_depth=40, alpha=0.05, z=0.2, z_scan=(0.0, 1.0),
    stability_draws=3, seed=3,
)  # fmt: skip
N, D = 150, 4


def _points(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([11, seed])
    a = rng.normal(size=(N, D)) * np.array([1.0, 2.0, 0.5, 1.5])
    b = np.hstack([a[:, :2], rng.normal(size=(N, 2))])
    return a, b, rng.integers(0, 3, size=N)


def _values(
    entry: Analysis, a: np.ndarray, b: np.ndarray, labels: np.ndarray
) -> dict[tuple[object, ...], tuple[float, float]]:
    """Every number of an analysis: {what it is: (value, stderr)}."""
    found = list(_computed(entry, a, b, labels))
    if entry.kind == "matrix":
        return {(i, j, m.quantity): (m.estimate.value, m.estimate.stderr) for i, j, m in found}
    return {
        (m.quantity, m.k, m.n1, m.subset, m.repeat, m.setting): (
            m.estimate.value,
            m.estimate.stderr,
        )
        for m in found
        if isinstance(m, Measured)
    }


def _computed(entry: Analysis, a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> Iterable[Any]:
    """What an analysis yields on two sites of the same rows."""
    k = max(1, entry.neighbors(SETTINGS, N))
    if entry.kind == "points":
        return entry.compute(a, SETTINGS)
    graph = find_neighbors(a, k=k)
    if entry.kind == "graph":
        return entry.compute(graph, SETTINGS)
    if entry.kind == "labels":
        return entry.compute(graph, labels, SETTINGS)
    if entry.kind == "chain":
        return entry.compute(Chain(a, graph, SETTINGS), SETTINGS)
    if entry.kind == "chain_labels":
        return entry.compute(Chain(a, graph, SETTINGS), labels, SETTINGS)
    other = find_neighbors(b, k=k)
    if entry.kind == "pair":
        return entry.compute(graph, other, SETTINGS)
    return entry.compute([a, b], [graph, other], SETTINGS)


def _rotation(rng: np.random.Generator) -> np.ndarray:
    return ortho_group.rvs(D, random_state=int(rng.integers(2**31)))


TRANSFORMS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "shift": lambda a, rng: a + rng.normal(size=D) * 7,
    "orthogonal": lambda a, rng: a @ _rotation(rng),
    "scale": lambda a, rng: a * float(rng.choice([1e-3, 0.3, 17.0, 1e4])),
    "feature_scale": lambda a, rng: a * np.array([10.0, 1.0, 0.1, 1.0]),
    "constant_column": lambda a, rng: np.hstack([a, np.full((N, 1), 3000.0)]),
    "double": lambda a, rng: np.hstack([a, a]),
}

CASES = [
    pytest.param(entry, law, kind, id=f"{entry.name}-{law}")
    for entry in ANALYSES.values()
    for law, kind in entry.laws.items()
    if law != "permute"
]


def _differs(x: tuple[float, float], y: tuple[float, float]) -> bool:
    return abs(x[0] - y[0]) > 1e-6 * (abs(x[0]) + abs(y[0]))


@pytest.mark.parametrize(("entry", "law", "kind"), CASES)
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_transformation_of_the_points(entry: Analysis, law: str, kind: str, seed: int) -> None:
    a, b, labels = _points(seed)
    moved = TRANSFORMS[law](a, np.random.default_rng([12, seed]))
    before, after = _values(entry, a, b, labels), _values(entry, moved, b, labels)
    assert before.keys() == after.keys()
    assert before
    if kind == "=":
        for key, (value, _) in before.items():
            assert after[key][0] == pytest.approx(value, rel=1e-9, abs=1e-12), key
    else:
        assert kind == "x"
        assert any(_differs(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [pytest.param(e, e.laws["permute"], id=e.name) for e in ANALYSES.values()],
)
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_permutation_of_the_rows(entry: Analysis, kind: str, seed: int) -> None:
    a, b, labels = _points(seed)
    order = np.random.default_rng([13, seed]).permutation(N)
    before = _values(entry, a, b, labels)
    after = _values(entry, a[order], b[order], labels[order])
    assert before.keys() == after.keys()
    for key, (value, stderr) in before.items():
        if kind == "=":
            assert after[key][0] == pytest.approx(value, rel=1e-9, abs=1e-12), key
        elif np.isfinite(stderr):
            assert kind == "~"
            assert abs(after[key][0] - value) < 6 * (stderr + after[key][1]) + 1e-9, key


@pytest.mark.parametrize("entry", ANALYSES.values(), ids=ANALYSES)
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_values_lie_in_their_bounds(entry: Analysis, seed: int) -> None:
    for key, (value, stderr) in _values(entry, *_points(seed)).items():
        low, high = entry.bounds
        assert np.isnan(value) or low <= value <= high, key
        assert np.isnan(stderr) or stderr >= 0, key


@pytest.mark.parametrize("entry", ANALYSES.values(), ids=ANALYSES)
def test_a_constant_site_is_nan_with_a_note(entry: Analysis) -> None:
    a, b, labels = np.ones((N, D)), *_points(0)[1:]
    if entry.name in {"duplicates", "norms"}:
        pytest.skip("counts and norms are defined on a constant site")
    found = list(_computed(entry, a, b, labels))
    if entry.kind == "matrix":
        found = [m for i, j, m in found if i != j]
    assert found
    found = [m for m in found if isinstance(m, Measured)]
    for m in found:
        if m.quantity not in {"chance", "chance_sd", "ceiling"}:
            assert np.isnan(m.estimate.value), m
            assert m.estimate.note, m
