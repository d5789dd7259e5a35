"""Laws and bad data for every dimension estimator that is called by hand (not in ``analyses``).

Scale, shift, rotation, constant and doubled columns change nothing, nor does the order of rows;
another scale per column does. Repeated rows change nothing, and no bad data is answered by NaN
without a reason, by zero, or by a search bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import ortho_group

from hiddenscape.dimension.abide import abide, agride
from hiddenscape.dimension.binomial import binomial_dimension
from hiddenscape.dimension.correlation import correlation_dimension
from hiddenscape.dimension.danco import danco_dimension
from hiddenscape.dimension.ess import ess_dimension
from hiddenscape.dimension.local_pca import local_pca_dimension
from hiddenscape.dimension.mind import mind_dimension
from hiddenscape.dimension.mle import mle_dimension, mle_global
from hiddenscape.dimension.moments import mada_dimension, mom_dimension
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.tle import tle_dimension
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words

N, D, K = 150, 4, 12
Estimator = Callable[[np.ndarray], Dimension]


def on_graph(estimate: Callable[[NeighborGraph], Dimension]) -> Estimator:
    return lambda x: estimate(find_neighbors(x, k=min(K, len(x) - 1)))


ESTIMATORS: dict[str, Estimator] = {
    "mle": on_graph(lambda g: mle_dimension(g, 10)),
    "mle median": on_graph(lambda g: mle_dimension(g, 10, average="median")),
    "mle global": on_graph(lambda g: mle_global(g, 60)),
    "mom": on_graph(lambda g: mom_dimension(g, 10)),
    "mada": on_graph(lambda g: mada_dimension(g, 10, form="corrected")),
    "mind": on_graph(lambda g: mind_dimension(g, 8)),
    "mind integer": on_graph(lambda g: mind_dimension(g, 8, integer=True)),
    "binomial": on_graph(lambda g: binomial_dimension(g, 10)),
    "abide": on_graph(abide),
    "agride": on_graph(agride),
    "correlation": lambda x: correlation_dimension(x, 5, min(10, len(x) - 1)),
    "ess a": lambda x: ess_dimension(x, min(10, len(x) - 1)),
    "ess b": lambda x: ess_dimension(x, min(10, len(x) - 1), form="b"),
    "danco": lambda x: danco_dimension(x, min(8, len(x) - 2), balls=2),
    "local pca": lambda x: local_pca_dimension(x, min(10, len(x) - 1), rule="participation"),
    "tle": lambda x: tle_dimension(x, min(10, len(x) - 1)),
}
each = pytest.mark.parametrize("name", ESTIMATORS)


def points(seed: int = 0, n: int = N) -> np.ndarray:
    rng = np.random.default_rng([21, seed])
    return rng.normal(size=(n, D)) * np.array([1.0, 2.0, 0.5, 1.5])


MOVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "permute": lambda x: x[np.random.default_rng(3).permutation(len(x))],
    "shift": lambda x: x + np.array([7.0, -3.0, 11.0, 0.5]),
    "orthogonal": lambda x: x @ ortho_group.rvs(D, random_state=5),
    "scale 1e-3": lambda x: x * 1e-3,
    "scale 1e4": lambda x: x * 1e4,
    "constant column": lambda x: np.hstack([x, np.full((len(x), 1), 3000.0)]),
    "double": lambda x: np.hstack([x, x]),
}


@each
@pytest.mark.parametrize("move", MOVES)
def test_invariance(name: str, move: str) -> None:
    estimate = ESTIMATORS[name]
    x = points()
    before, after = estimate(x), estimate(MOVES[move](x))
    assert math.isfinite(before.value)
    assert after.value == pytest.approx(before.value, rel=1e-9)
    assert after.stderr == pytest.approx(before.stderr, rel=1e-6, nan_ok=True)


@each
def test_the_scale_is_reported_and_moves_with_the_points(name: str) -> None:
    x = points()
    a, b = ESTIMATORS[name](x), ESTIMATORS[name](x * 10)
    assert a.scale > 0
    assert b.scale == pytest.approx(10 * a.scale, rel=1e-9)


@each
def test_another_scale_per_column_changes_the_value(name: str) -> None:
    x = points()
    stretched = x * np.array([10.0, 1.0, 0.1, 1.0])
    if name == "mind integer":
        stretched = x * np.array([100.0, 0.1, 0.01, 0.1])
    assert ESTIMATORS[name](stretched).value != pytest.approx(ESTIMATORS[name](x).value, rel=1e-3)


@each
@pytest.mark.parametrize("copies", [2, 3, 4])
def test_repeated_rows_change_nothing(name: str, copies: int) -> None:
    x = points()
    one, many = ESTIMATORS[name](x), ESTIMATORS[name](np.repeat(x, copies, axis=0))
    assert many.value == pytest.approx(one.value, rel=1e-12)
    assert many.n_used == one.n_used
    assert many.n_dropped == one.n_dropped + (copies - 1) * N
    assert "duplicates" in note_words(many.note)


@each
def test_one_tripled_row_changes_nothing(name: str) -> None:
    x = points()
    one, more = ESTIMATORS[name](x), ESTIMATORS[name](np.vstack([x, x[:1], x[:1]]))
    assert more.value == pytest.approx(one.value, rel=1e-12)


@each
@pytest.mark.parametrize(
    "bad",
    {
        "all equal": np.full((N, D), 3.0),
        "two distinct": np.repeat(np.eye(2, D), N // 2, axis=0),
        "simplex": np.eye(40),
    }.items(),
    ids=lambda item: item[0],
)
def test_no_dimension_is_nan_with_a_reason(name: str, bad: tuple[str, np.ndarray]) -> None:
    found = ESTIMATORS[name](bad[1])
    if bad[0] == "simplex" and name.startswith("ess"):
        # Angles exist where ratios of distances do not; the notes say what to think of them.
        assert {"ties", "low_for_high_dimension"} <= set(note_words(found.note))
        return
    assert math.isnan(found.value)
    word = "ties" if bad[0] == "simplex" else "collapsed"
    assert word in note_words(found.note)
    assert math.isnan(found.stderr)


@each
def test_too_few_distinct_rows_for_the_neighbors_asked_for(name: str) -> None:
    """A strange site, not misuse: the run must go on."""
    found = ESTIMATORS[name](np.repeat(points(n=6), 20, axis=0))
    assert math.isnan(found.value) or found.value > 0
    assert {"few_points", "duplicates"} <= set(note_words(found.note))


@each
def test_a_coarse_grid_gives_a_value_near_the_fine_one_and_a_note(name: str) -> None:
    x = points(n=400)
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    coarse = (bits & np.uint32(0xFFFF0000)).view(np.float32)  # bfloat16 by truncation
    fine, found = ESTIMATORS[name](x), ESTIMATORS[name](coarse)
    assert found.value == pytest.approx(fine.value, rel=0.1)
    integers = np.round(x * 1.5)  # most rows repeat, most distances tie
    rough = ESTIMATORS[name](integers)
    assert {"duplicates", "ties"} <= set(note_words(rough.note))
    assert math.isnan(rough.value) or 0.1 < rough.value < 50
