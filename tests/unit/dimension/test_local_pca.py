from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from hiddenscape.dimension.local_pca import local_pca_dimension
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.dimension.spectrum import count_components
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words
from hiddenscape.testing.manifolds import MANIFOLDS, ball, cube, gaussian, rotated, swiss_roll

RULES = ("fukunaga_olsen", "fan", "max_gap", "kaiser", "broken_stick", "ratio", "participation")


def spectrum(patch: np.ndarray, p: int) -> np.ndarray:
    return np.maximum(np.linalg.eigvalsh(np.cov(patch.T))[::-1][:p], 0)


@pytest.mark.parametrize("columns", [4, 30])  # by columns, by Gram matrices
@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("rule", [*RULES, "minka"])
def test_formula(rule: str, include: bool, columns: int) -> None:
    x = rotated(cube(120, 4) * [1, 2, 0.5, 0.1], columns) + 5
    graph = find_neighbors(x, k=12)
    options = {"rule": rule, "include_row": include, "threshold": 0.9}
    found = local_pca_dimension(x, 12, graph=graph, per_point=True, **options)  # type: ignore[arg-type]
    if rule == "minka" and columns > 12:
        assert math.isnan(found.value)
        assert f"few_points (neighbourhoods of {12 + include} rows, 30 columns)" in found.note
        return
    if found.per_point is None:
        # Most rows have nothing that stands out.
        assert rule == "broken_stick"
        return
    for row in (0, 50, 119):
        members = [row, *graph.indices[row]] if include else graph.indices[row]
        values = spectrum(x[members], min(11 + include, columns))
        if rule == "ratio":
            want: float = int(np.argmax(np.cumsum(values) / values.sum() >= 0.9)) + 1
        elif rule == "participation":
            want = values.sum() ** 2 / (values**2).sum()
        else:
            want = count_components(values, rule, n=12 + include, d=columns) or math.nan  # type: ignore[arg-type]
        assert found.per_point[row] == pytest.approx(want, rel=1e-9, nan_ok=True)
    assert found.value == pytest.approx(np.nanmean(found.per_point))
    assert (found.n1, found.n2) == (1, 12)
    assert found.scale == pytest.approx(graph.distances[:, 11].mean())


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cube1", 1.0), ("cube2", 2.0), ("cube3", 3.0), ("cube5", 5.0), ("gaussian5", 5.0),
     ("cube10", 9.99), ("sphere2", 2.0), ("sphere5", 5.1), ("swiss_roll", 2.03), ("torus", 2.7)],
)  # fmt: skip
def test_truth_and_what_curvature_adds(name: str, expected: float) -> None:
    x = rotated(MANIFOLDS[name].sample(1000, 0), 30)
    assert local_pca_dimension(x).value == pytest.approx(expected, abs=0.06)


def test_a_smaller_scale_sees_less_of_the_curvature() -> None:
    x = MANIFOLDS["torus"].sample(4000, 0)
    values = [local_pca_dimension(x, k).value for k in (100, 30, 15)]
    assert values[0] > values[1] > values[2] - 0.05
    assert values[2] == pytest.approx(2, abs=0.1)


def test_per_point_tells_two_manifolds_apart() -> None:
    x = np.zeros((400, 6))
    x[:200, 0] = np.arange(200) / 200
    x[200:, :4] = cube(200, 4) + 3
    found = local_pca_dimension(x, 12, per_point=True)
    assert found.per_point is not None
    assert np.all(found.per_point[:200] == 1)
    assert np.mean(found.per_point[200:]) == pytest.approx(4, abs=0.1)


PEER = {
    # lPCA(ver=rule, alphaRatio=0.9).fit_pw(x, precomputed_knn=graph.indices).dimension_pw_ of
    # scikit-dimension 0.5.0, x = hyperBall(300, 5, seed 0), k = 20: the mean, the first eight.
    "fukunaga_olsen": (5.0, [5, 5, 5, 5, 5, 5, 5, 5]),
    "fan": (2.72, [3, 3, 2, 3, 3, 3, 2, 2]),
    "max_gap": (3.296666666666667, [4, 4, 3, 4, 4, 3, 1, 4]),
    "kaiser": (2.283333333333333, [3, 2, 2, 2, 2, 2, 2, 1]),
    "minka": (1.0833333333333333, [1, 1, 1, 1, 1, 1, 1, 1]),
    "ratio": (4.036666666666667, [4, 4, 4, 4, 4, 4, 4, 4]),
    "participation": (
        3.874730851059813,
        [4.058724487465539, 4.078972339624841, 3.4892957170681287, 3.757512359447913,
         3.805918316119099, 3.8117769655489133, 3.3718009687873596, 3.803722272634473],
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", PEER)
def test_numbers_of_scikit_dimension(rule: str) -> None:
    found = local_pca_dimension(
        ball(300, 5, seed=0), 20, rule=rule, threshold=0.9, include_row=False, per_point=True  # type: ignore[arg-type]
    )  # fmt: skip
    mean, first = PEER[rule]
    assert found.value == pytest.approx(mean, rel=1e-12)
    assert found.per_point is not None
    assert found.per_point[:8] == pytest.approx(first, rel=1e-12)


def test_nothing_kept_is_no_zero() -> None:
    # scikit-dimension counts 0 for 294 of these 300 rows, and 0.02 on average.
    found = local_pca_dimension(ball(300, 5, seed=0), 20, rule="broken_stick", include_row=False)
    assert math.isnan(found.value)
    assert "undefined (the rule keeps nothing of 294 of 300 neighbourhoods)" in found.note
    some = local_pca_dimension(rotated(swiss_roll(300), 10), 20, rule="broken_stick")
    assert 1 <= some.value <= 3


def test_a_neighborhood_that_is_full_is_no_answer() -> None:
    x = gaussian(300, 60)
    for rule in ("fukunaga_olsen", "ratio"):
        found = local_pca_dimension(x, 10, rule=rule, threshold=0.99)  # type: ignore[arg-type]
        assert math.isnan(found.value)
        assert "neighbourhoods fill the 10 dimensions they can)" in found.note
    # In as many columns as that it is what there is.
    assert local_pca_dimension(gaussian(300, 5), 10).value == pytest.approx(4.9, abs=0.1)
    assert local_pca_dimension(rotated(cube(300, 7), 20), 9).value < 7.1


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in (3, 40):
        x = rotated(cube(150, 3), columns)
        whole = local_pca_dimension(x, 8, rule="participation")
        with monkeypatch.context() as small:
            small.setattr("hiddenscape.dimension.patches._ENTRIES", 400)
            small.setattr("hiddenscape.dimension.local_pca._ENTRIES", 400)
            part = local_pca_dimension(x, 8, rule="participation")
        assert part.value == pytest.approx(whole.value, rel=1e-12)
    blocked = local_pca_dimension(
        x, 8, rule="participation", stderr="blocks", blocks=spatial_blocks(x)
    )
    assert 0.3 < blocked.stderr / whole.stderr < 4


def test_neighborhoods_are_never_all_in_memory() -> None:
    x = rotated(cube(3000, 3), 400)
    graph = find_neighbors(x, k=30)
    tracemalloc.start()
    local_pca_dimension(x, 30, rule="participation", graph=graph)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.25 * 8 * x.size * 30


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("move", ["shift", "scale", "turn", "permute", "constant column"])
def test_invariance(rule: str, move: str) -> None:
    x = cube(150, 4) * [1.0, 2.0, 0.6, 0.3]
    moved = {
        "shift": x + 11,
        "scale": x * 1e-170,
        "turn": x @ np.linalg.qr(gaussian(4, 4))[0],
        "permute": x[np.random.default_rng(0).permutation(150)],
        "constant column": np.hstack([x, np.full((150, 1), 50.0)]),
    }[move]
    a, b = (local_pca_dimension(p, 12, rule=rule) for p in (x, moved))  # type: ignore[arg-type]
    assert b.value == pytest.approx(a.value, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("rule", RULES)
def test_bad_data(rule: str) -> None:
    x = cube(120, 3)
    one = local_pca_dimension(x, 10, rule=rule)  # type: ignore[arg-type]
    for copies in (2, 3, 4):
        many = local_pca_dimension(np.tile(x, (copies, 1)), 10, rule=rule)  # type: ignore[arg-type]
        assert many.value == pytest.approx(one.value, rel=1e-12, nan_ok=True)
        assert "duplicates" in note_words(many.note)
    for bad, word in (
        (np.full((60, 3), 2.0), "collapsed"),
        (np.repeat(np.eye(2, 3), 30, axis=0), "collapsed"),
        (np.repeat(gaussian(5, 3), 20, axis=0), "few_points"),
    ):
        found = local_pca_dimension(bad, 10, rule=rule)  # type: ignore[arg-type]
        assert math.isnan(found.value)
        assert word in note_words(found.note)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 1}, "local_pca needs at least 2 neighbours"),
        ({"k": 60}, "k = 60 needs at least 61"),
        ({"rule": "parallel"}, "rule must be one of fukunaga_olsen"),
        ({"threshold": 0.0}, "threshold must lie in"),
        ({"duplicates": "eps"}, "duplicates must be one of unique"),
        ({"average": "mode"}, "average must be one of"),
    ],
)
def test_misuse_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        local_pca_dimension(cube(60, 2), **options)  # type: ignore[arg-type]
