"""Every public dimension estimator against clouds of known dimension, from one table.

The table, ``hiddenscape.testing.suite``, declares how far from the truth noise, curvature and
boundaries may take an estimator, and whether its errors must explain its spread. ``bench/truth.py``
measures both with many more clouds (docs/accuracy.md).
"""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import numpy as np
import pytest

import hiddenscape
from hiddenscape.testing import suite
from hiddenscape.testing.suite import CLOUDS, ESTIMATORS, Entry, KnownCloud

OTHERWISE = {
    "gride_scan": "gride over ranks",
    "i3d_scan": "i3d over radii",
    "count_components": "the rules of spectrum_dimension on eigenvalues",
    "ess_of_patch": "ess_dimension on one neighbourhood",
    "tree_lengths": "edges, no dimension",
    "binarize": "bits, no dimension",
    "expected_dimension": "what an estimator gives, no estimate",
    "correlation_integral": "a curve; correlation_dimension is its slope",
}
"""Public functions of the room that are no estimators of their own."""

REPLICATES = 4


def _clouds(entry: Entry, every: bool) -> list[KnownCloud]:
    """The clouds an estimator is held to: all, or the first of each trait."""
    held = [c for c in CLOUDS.values() if c.trait in entry.bias]
    if every:
        return held
    return [next(c for c in held if c.trait == trait) for trait in entry.bias]


def _hold(entry: Entry, every: bool, replicates: int) -> None:
    second = []
    for cloud in _clouds(entry, every):
        found = [entry.run(cloud.sample(entry.rows, seed)) for seed in range(replicates)]
        values = np.array([f.value for f in found if math.isfinite(f.value)])
        # An extrapolation refuses now and then.
        assert len(values) >= 0.75 * replicates, [f.note for f in found]
        # The mean of few clouds may miss the declared bias by four of its own errors.
        own = 4 * float(values.std(ddof=1)) / math.sqrt(replicates) / cloud.dimension
        bias = float(values.mean()) / cloud.dimension - 1
        assert abs(bias) <= entry.bias[cloud.trait] + own, (cloud.trait, cloud.dimension, bias)
        if entry.spread is not None:
            errors = np.array([f.stderr for f in found if math.isfinite(f.value)])
            assert (errors > 0).all()
            second.append(float(np.var(values / errors.mean(), ddof=1)))
    if entry.spread is not None:
        low, high = entry.spread
        # An error of sd from few degrees of freedom: three of them on both sides.
        slack = 1 + 3 / math.sqrt(2 * len(second) * (replicates - 1))
        assert low / slack <= math.sqrt(np.mean(second)) <= high * slack


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * e.slow) for n, e in ESTIMATORS.items()]
)
def test_estimates_lie_where_the_table_says(name: str) -> None:
    _hold(ESTIMATORS[name], every=False, replicates=REPLICATES)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, e in ESTIMATORS.items() if not e.slow])
def test_estimates_lie_where_the_table_says_on_every_cloud(name: str) -> None:
    _hold(ESTIMATORS[name], every=True, replicates=4 * REPLICATES)


def test_the_table_holds_every_public_estimator() -> None:
    text = Path(inspect.getfile(suite)).read_text(encoding="utf-8")
    public = [
        name
        for name, home in hiddenscape._HOME.items()
        if home.startswith("dimension.") and name == name.lower()
    ]
    missing = [n for n in public if n not in OTHERWISE and f"{n}(" not in text.replace(",", "(")]
    assert not missing, f"add one line each to ESTIMATORS in testing/suite.py: {missing}"
    assert set(OTHERWISE) <= set(public)


def test_a_wrong_estimator_is_found() -> None:
    entry = ESTIMATORS["two_nn"]
    with pytest.raises(AssertionError, match="closed"):
        _hold(Entry(entry.run, {"closed": -1.0}), every=False, replicates=2)
