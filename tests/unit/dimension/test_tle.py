from __future__ import annotations

import math

import numpy as np
import pytest

from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.dimension.tle import tle_dimension
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, flat_torus, sphere


def by_hand(x: np.ndarray, neighbors: np.ndarray, row: int, cut: float) -> float:
    """The page, one pair at a time."""
    u = np.linalg.norm(x[neighbors] - x[row], axis=1)
    k, big = len(u), u[-1]
    total, dropped = 0.0, 0

    def reach(w2: float, i: int, j: int) -> float:
        if u[i] == big:
            return big * w2 / (big**2 + w2 - u[j] ** 2)
        h = u[i] ** 2 + w2 - u[j] ** 2
        room = big**2 - u[i] ** 2
        return big * (math.sqrt(h * h + 4 * w2 * room) - h) / (2 * room)

    for i in range(k):
        for j in range(k):
            if i == j:
                continue
            v2 = float(np.sum((x[neighbors[i]] - x[neighbors[j]]) ** 2))
            a, b = reach(v2, i, j), reach(2 * u[i] ** 2 + 2 * u[j] ** 2 - v2, i, j)
            if a < cut * big or b < cut * big:
                dropped += 1
            else:
                total += math.log(a / big) + math.log(b / big)
    return -2 * (k * k - dropped) / (total + 2 * np.log(u / big).sum())


def test_formula() -> None:
    x = cube(120, 3)
    graph = find_neighbors(x, k=9)
    found = tle_dimension(x, 9, graph=graph, per_point=True)
    assert found.per_point is not None
    for row in (0, 17, 90):
        want = by_hand(x, graph.indices[row], row, 1e-4)
        assert found.per_point[row] == pytest.approx(want, rel=1e-9)
    assert found.value == pytest.approx(found.per_point.mean(), rel=1e-12)
    # A cut that really drops pairs.
    wide = tle_dimension(x, 9, graph=graph, cut=0.2, per_point=True)
    assert wide.per_point is not None
    assert wide.per_point[0] != found.per_point[0]
    harmonic = tle_dimension(x, 9, average="harmonic")
    assert harmonic.value == pytest.approx(1 / np.mean(1 / found.per_point))
    assert tle_dimension(x, 9).value == found.value


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = cube(60, 3)
    whole = tle_dimension(x, 8, per_point=True).per_point
    monkeypatch.setattr("hiddenscape.dimension.patches._ENTRIES", 500)
    parts = tle_dimension(x, 8, per_point=True).per_point
    assert parts == pytest.approx(whole, rel=1e-12)


def test_an_offset_and_huge_values_cost_no_digits() -> None:
    x = cube(100, 3)
    want = tle_dimension(x, 8).value
    assert tle_dimension(x + 1e6, 8).value == pytest.approx(want, rel=1e-8)
    assert tle_dimension(x * 2.0**600, 8).value == pytest.approx(want, rel=1e-9)
    absolute = tle_dimension(x * 2.0**600, 8, cut=0.1 * 2.0**600, cut_unit="absolute")
    assert absolute.value == pytest.approx(tle_dimension(x, 8, cut=0.1, cut_unit="absolute").value)


def test_the_cut_in_units_of_the_radius_knows_no_scale() -> None:
    x = cube(100, 3)
    want = tle_dimension(x, 8, cut=0.05).value
    assert tle_dimension(x * 1e-6, 8, cut=0.05).value == pytest.approx(want, rel=1e-9)
    published = tle_dimension(x * 1e-6, 8, cut=0.05, cut_unit="absolute")
    assert math.isnan(published.value)
    assert "undefined" in published.note


@pytest.mark.parametrize(
    ("name", "d", "ratio"), [("torus", 1, 1.076), ("torus", 2, 1.124), ("sphere", 5, 1.078)]
)
def test_bias_is_as_stated(name: str, d: int, ratio: float) -> None:
    make = flat_torus if name == "torus" else sphere
    values = [tle_dimension(make(1000, d, seed=s), 20).value for s in range(3)]
    assert np.mean(values) / d == pytest.approx(ratio, abs=0.03)


def test_errors() -> None:
    x = cube(300, 3)
    plain = tle_dimension(x, 10)
    blocked = tle_dimension(x, 10, stderr="blocks", blocks=spatial_blocks(x))
    assert (plain.stderr_kind, blocked.stderr_kind) == ("bootstrap", "blocks")
    assert 0.4 < blocked.stderr / plain.stderr < 5


def test_copies_kept_are_noted_and_give_numbers() -> None:
    x = np.vstack([cube(80, 3), cube(80, 3)[:20]])
    for k in (3, 10):
        kept = tle_dimension(x, k, duplicates="keep", per_point=True)
        assert kept.value > 0
        assert "duplicates (40 of 100 rows at distance 0, keep)" in kept.note
    heap = np.vstack([cube(40, 3), np.ones((30, 3))])
    found = tle_dimension(heap, 10, duplicates="keep")
    # Rows whose neighbours all lie on top of them have no value and are counted.
    assert found.n_dropped == 30
    assert "undefined (30 of 70 rows have no value)" in found.note


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 2}, "tle needs at least 3 neighbours per row, got k = 2"),
        ({"k": 60}, "site has 50 rows, k = 60 needs at least 61"),
        ({"cut": 0.0}, "cut must be a small positive length, got 0.0"),
        ({"cut": 1.5}, "cut must be a small positive length"),
        ({"cut_unit": "metre"}, "cut_unit must be radius or absolute, got 'metre'"),
        ({"average": "mode"}, "average must be one of"),
    ],
)
def test_misuse_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tle_dimension(cube(50, 2), **options)  # type: ignore[arg-type]


def test_the_graph_must_be_of_these_points_and_euclidean() -> None:
    x = cube(50, 3)
    with pytest.raises(InputError, match="neighbourhoods are Euclidean, the graph is angular"):
        tle_dimension(x, 5, graph=find_neighbors(x, k=5, metric="angular"))
    with pytest.raises(InputError, match="the graph is of other points"):
        tle_dimension(x, 5, graph=find_neighbors(x * 9, k=5))
