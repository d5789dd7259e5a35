from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import digamma

from hiddenscape.dimension.moments import mada_dimension, mom_dimension
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, pareto_graph


@pytest.fixture(scope="module")
def graph() -> NeighborGraph:
    return find_neighbors(cube(300, 3), k=20)


def test_mom_is_its_formula(graph: NeighborGraph) -> None:
    r = graph.distances[:, :11]
    for form, m in (("published", r.mean(axis=1)), ("corrected", r[:, :-1].mean(axis=1))):
        found = mom_dimension(graph, 11, form=form, per_point=True)
        each = m / (r[:, -1] - m)
        assert found.per_point == pytest.approx(each, rel=1e-12)
        assert found.value == pytest.approx(each.mean(), rel=1e-12)
        harmonic = mom_dimension(graph, 11, form=form, average="harmonic").value
        assert harmonic == pytest.approx(1 / np.mean(1 / each), rel=1e-12)
    assert (found.n1, found.n2, found.scale) == (1, 11, pytest.approx(r[:, -1].mean()))


def test_mada_is_its_formula(graph: NeighborGraph) -> None:
    r = graph.distances
    log = np.log(r[:, 12] / r[:, 5])  # k = 13: ranks 6 and 13
    found = mada_dimension(graph, 13, per_point=True)
    assert found.per_point == pytest.approx(math.log(2) / log, rel=1e-12)
    right = mada_dimension(graph, 13, form="corrected", average="harmonic")
    assert right.value == pytest.approx((digamma(13) - digamma(6)) / log.mean(), rel=1e-12)
    assert (right.n1, right.n2) == (6, 13)


def bias(estimate: Callable[[NeighborGraph], Dimension], d: float) -> float:
    values = [estimate(pareto_graph(1000, d, k=20, seed=s)).value for s in range(20)]
    return float(np.mean(values)) / d - 1


@pytest.mark.parametrize(
    ("d", "published", "corrected"), [(1, 0.144, -0.035), (2, 0.123, -0.020), (10, 0.111, -0.005)]
)
def test_mom_on_the_model(d: float, published: float, corrected: float) -> None:
    """As the docstring says; the spread of a mean of 20 is below 0.002."""
    assert bias(mom_dimension, d) == pytest.approx(published, abs=0.01)

    def right(graph: NeighborGraph) -> Dimension:
        return mom_dimension(graph, form="corrected", average="harmonic")

    assert bias(right, d) == pytest.approx(corrected, abs=0.01)


@pytest.mark.parametrize("d", [1, 5])
def test_mada_on_the_model(d: float) -> None:
    assert bias(mada_dimension, d) == pytest.approx(0.076, abs=0.015)
    assert bias(lambda g: mada_dimension(g, average="harmonic"), d) == pytest.approx(
        math.log(2) / (digamma(20) - digamma(10)) - 1, abs=0.01
    )
    right = bias(lambda g: mada_dimension(g, form="corrected", average="harmonic"), d)
    assert right == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("estimate", [mom_dimension, mada_dimension])
def test_errors(graph: NeighborGraph, estimate: Callable[..., Dimension]) -> None:
    blocks = spatial_blocks(cube(300, 3))
    plain, blocked = estimate(graph), estimate(graph, stderr="blocks", blocks=blocks)
    assert (plain.stderr_kind, blocked.stderr_kind) == ("bootstrap", "blocks")
    assert 0.4 < blocked.stderr / plain.stderr < 4
    found = [estimate(pareto_graph(400, 3, k=20, seed=s)) for s in range(100)]
    spread = np.std([f.value for f in found])
    assert np.mean([f.stderr for f in found]) == pytest.approx(spread, rel=0.25)


def test_equal_radii_have_no_value() -> None:
    rng = np.random.default_rng(0)
    cross = np.vstack([np.zeros((1, 2)), [[1, 0], [-1, 0], [0, 1], [0, -1]]])
    graph = find_neighbors(np.vstack([cross, rng.normal(size=(60, 2)) * 3 + 30]), k=4)
    for estimate in (mom_dimension, mada_dimension):
        found = estimate(graph, 4, per_point=True)
        assert found.per_point is not None
        assert math.isnan(found.per_point[0])
        assert found.n_dropped >= 1
        assert "rows have no value" in found.note


def test_misuse_is_refused(graph: NeighborGraph) -> None:
    with pytest.raises(InputError, match="form must be published or corrected, got 'both'"):
        mom_dimension(graph, form="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="form must be published or corrected"):
        mada_dimension(graph, form="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="mom needs at least 3 neighbours per row, got k = 2"):
        mom_dimension(graph, 2, form="corrected")
    with pytest.raises(InputError, match="mada needs 40 neighbours per row, the graph stores 20"):
        mada_dimension(graph, 40)
    with pytest.raises(InputError, match="k must be a whole number"):
        mom_dimension(graph, 2.5)  # type: ignore[arg-type]
