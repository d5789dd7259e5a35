from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.sparse.csgraph import shortest_path

from hiddenscape.dimension.isomap import isomap_dimension
from hiddenscape.errors import DuplicateRowsError, InputError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words
from hiddenscape.testing.manifolds import MANIFOLDS, cube, gaussian, rotated, sphere, swiss_roll


def by_hand(x: np.ndarray, k: int, top: int) -> list[float]:
    d = np.linalg.norm(x[:, None] - x, axis=2)
    near = np.argsort(d, axis=1, kind="stable")[:, 1 : k + 1]
    edge = np.full_like(d, np.inf)
    for i, row in enumerate(near):
        edge[i, row] = edge[row, i] = d[i, row]
    g = shortest_path(np.where(np.isfinite(edge), edge, 0), directed=False)
    h = np.eye(len(x)) - 1 / len(x)
    values, vectors = np.linalg.eigh(-0.5 * h @ (g * g) @ h)
    y = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    i, j = np.triu_indices(len(x), 1)
    return [
        1 - np.corrcoef(g[i, j], np.linalg.norm(y[i, :m] - y[j, :m], axis=1))[0, 1] ** 2
        for m in range(1, top + 1)
    ]


def test_formula() -> None:
    x = swiss_roll(150)
    found = isomap_dimension(find_neighbors(x, k=8), 8, max_components=6, repeats=0)
    curve = found.parameters["residual_variance"]
    assert curve == pytest.approx(by_hand(x, 8, 6), rel=1e-7, abs=1e-10)
    assert math.isnan(found.stderr)
    assert found.stderr_kind == ""


def test_large_clouds_take_the_other_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = find_neighbors(cube(300, 3), k=10)
    dense = isomap_dimension(graph, repeats=0).parameters["residual_variance"]
    monkeypatch.setattr("hiddenscape.dimension.isomap._DENSE", 50)
    monkeypatch.setattr("hiddenscape.dimension.isomap._ENTRIES", 1000)
    sparse = isomap_dimension(graph, repeats=0).parameters["residual_variance"]
    assert sparse == pytest.approx(dense, rel=1e-8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cube1", 1), ("cube2", 2), ("swiss_roll", 2), ("cube3", 3), ("cube5", 5), ("gaussian5", 5),
     ("paraboloid3", 3), ("cube8", 8),
     # What cannot be laid out flat needs room to bend.
     ("sphere1", 2), ("sphere2", 3)],
)  # fmt: skip
def test_truth_and_what_curvature_adds(name: str, expected: int) -> None:
    x = MANIFOLDS[name].sample(1000 if name == "swiss_roll" else 500, 0)
    found = isomap_dimension(find_neighbors(rotated(x, 30), k=10), repeats=3)
    assert found.value == expected
    assert found.stderr < 0.6
    assert found.parameters["share"] == 1


@pytest.mark.parametrize("d", [20, 30])
def test_more_dimensions_than_components_are_no_answer(d: int) -> None:
    """The plain rule says 17 and 18: nothing in the number shows that the curve goes on."""
    found = isomap_dimension(find_neighbors(cube(500, d), k=10), repeats=0)
    assert math.isnan(found.value)
    assert "undefined (no elbow: the residual variance still falls at 20)" in found.note


def test_a_linear_map_would_see_three() -> None:
    from hiddenscape.dimension.pca import pca_dimension

    x = swiss_roll(400)
    assert pca_dimension(x).value == 3
    assert isomap_dimension(find_neighbors(x, k=8), 8).value == 2


def test_only_the_largest_part_is_measured() -> None:
    near, far = cube(300, 2), cube(100, 5) + 50
    x = np.vstack([np.hstack([near, np.zeros((300, 3))]), far])
    found = isomap_dimension(find_neighbors(x, k=8), 8)
    assert found.value == 2
    assert (found.n_used, found.n_dropped) == (300, 100)
    assert found.parameters["share"] == 0.75
    assert "disconnected (100 of 400 rows are not joined)" in found.note
    pairs = np.repeat(np.arange(20.0) ** 3, 3)[:, None] + np.tile([0, 0.1, 0.25], 20)[:, None]
    scattered = isomap_dimension(find_neighbors(pairs, k=2), 2)
    assert math.isnan(scattered.value)
    assert {"disconnected", "few_points"} <= set(note_words(scattered.note))


def test_landmarks() -> None:
    graph = find_neighbors(swiss_roll(800), k=8)
    whole = isomap_dimension(graph, 8)
    some = isomap_dimension(graph, 8, landmarks=200)
    assert some.value == whole.value == 2
    assert some.parameters["landmarks"] == 200
    a, b = (f.parameters["residual_variance"][:2] for f in (whole, some))
    assert a == pytest.approx(b, abs=0.01)
    again = isomap_dimension(graph, 8, landmarks=200)
    assert again.parameters == some.parameters
    assert isomap_dimension(graph, 8, landmarks=200, seed=1).parameters != some.parameters


def test_beyond_a_limit_landmarks_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hiddenscape.dimension.isomap._ALL", 200)
    monkeypatch.setattr("hiddenscape.dimension.isomap._MANY", 100)
    found = isomap_dimension(find_neighbors(swiss_roll(400), k=8), 8)
    assert (found.parameters["landmarks"], found.n_used, found.value) == (100, 400, 2)


@pytest.mark.parametrize("move", ["shift", "scale", "turn", "permute", "constant column", "double"])
def test_invariance(move: str) -> None:
    x = cube(200, 3)
    moved = {
        "shift": x + 7,
        "scale": x * 1e-150,
        "turn": x @ np.linalg.qr(gaussian(3, 3))[0],
        "permute": x[np.random.default_rng(0).permutation(200)],
        "constant column": np.hstack([x, np.full((200, 1), 9.0)]),
        "double": np.hstack([x, x]),
    }[move]
    a, b = (isomap_dimension(find_neighbors(p, k=8), 8, repeats=0) for p in (x, moved))
    assert a.value == b.value
    curves = [f.parameters["residual_variance"] for f in (a, b)]
    assert curves[1] == pytest.approx(curves[0], rel=1e-8)


def test_repeated_rows_change_nothing() -> None:
    x = cube(150, 2)
    one = isomap_dimension(find_neighbors(x, k=8), 8)
    for copies in (2, 3, 4):
        graph = find_neighbors(np.tile(x, (copies, 1)), k=8)
        many = isomap_dimension(graph, 8)
        for name in ("residual_variance", "share"):
            assert many.parameters[name] == pytest.approx(one.parameters[name], rel=1e-12)
        assert many.value == one.value
        assert "duplicates" in note_words(many.note)
    with pytest.raises(DuplicateRowsError, match="identical"):
        isomap_dimension(graph, 8, duplicates="error")


@pytest.mark.parametrize(
    ("points", "word"),
    [
        (np.full((60, 3), 2.0), "collapsed"),
        (np.repeat(np.eye(2, 3), 30, axis=0), "collapsed"),
        (np.repeat(gaussian(6, 3), 20, axis=0), "few_points"),
        (np.repeat(gaussian(9, 3), 20, axis=0), "few_points"),
        (np.eye(40), "undefined"),
    ],
)
def test_no_dimension_is_nan_with_a_reason(points: np.ndarray, word: str) -> None:
    found = isomap_dimension(find_neighbors(points, k=8), 8)
    assert math.isnan(found.value)
    assert math.isnan(found.stderr)
    assert word in note_words(found.note)


def test_embedding_of_scikit_learn() -> None:
    manifold = pytest.importorskip("sklearn.manifold")
    x = sphere(120, 2)
    theirs = manifold.Isomap(n_neighbors=8, n_components=5).fit(x)
    i, j = np.triu_indices(120, 1)
    far = np.linalg.norm(theirs.embedding_[i] - theirs.embedding_[j], axis=1)
    want = 1 - np.corrcoef(theirs.dist_matrix_[i, j], far)[0, 1] ** 2
    found = isomap_dimension(find_neighbors(x, k=8), 8, max_components=5, repeats=0)
    assert found.parameters["residual_variance"][4] == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 1}, "isomap needs k >= 2"),
        ({"k": 11}, "isomap needs 11 neighbours per row, the graph stores 10"),
        ({"max_components": 4}, "max_components >= 5"),
        ({"repeats": -1}, "repeats >= 0"),
        ({"landmarks": 5}, "landmarks must be at least 10, got 5"),
        ({"duplicates": "drop_zero"}, "duplicates must be unique or error"),
    ],
)
def test_misuse_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        isomap_dimension(find_neighbors(cube(60, 2), k=10), **options)  # type: ignore[arg-type]
