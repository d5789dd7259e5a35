"""Peaks in a plane: the definitions written out, distances that a plane holds, hand-made hills."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from hiddenscape.clustering.adp import adp
from hiddenscape.clustering.density_peaks import density_peaks
from hiddenscape.clustering.peak_map import peak_map, saddle_distances
from hiddenscape.clustering.result import Clusters
from hiddenscape.density.knn import knn_density
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words
from hiddenscape.testing.landscapes import written_landscape

# Two valleys: 0, 1 and 2 behind high passes, 3 beyond a low one that only 2 borders on.
HILLS = {(0, 1): -2.0, (1, 2): -3.0, (0, 2): -2.5, (2, 3): -7.0}


def hills() -> Clusters:
    return written_landscape([0.0, -1.0, -0.5, -1.5], HILLS)


def of_places(places: np.ndarray) -> Clusters:
    """A landscape whose saddle distances are the Euclidean ones between places."""
    a, b = np.triu_indices(len(places), 1)
    length = np.linalg.norm(places[a] - places[b], axis=1)
    return written_landscape(
        [0.0] * len(places), {(i, j): -d for i, j, d in zip(a, b, length, strict=True)}
    )


def test_distances_of_a_written_landscape() -> None:
    depth, direct = saddle_distances(hills())
    # 0 to 3 and 1 to 3 lead over 2 and the pass at -7.
    assert depth.tolist() == [
        [0.0, 2.0, 2.5, 7.0],
        [2.0, 0.0, 3.0, 7.0],
        [2.5, 3.0, 0.0, 7.0],
        [7.0, 7.0, 7.0, 0.0],
    ]
    assert direct.sum() == 2 * len(HILLS)
    assert not direct[0, 3]


def test_the_best_way_is_the_one_whose_lowest_pass_is_highest() -> None:
    saddles = {(0, 1): -5.0, (1, 2): -2.0, (0, 3): -3.0, (3, 2): -4.0}
    depth, _ = saddle_distances(written_landscape([0.0] * 4, saddles))
    assert depth[0, 2] == 4.0  # over 3, not over 1
    assert depth[1, 3] == 4.0
    assert depth[0, 1] == 5.0  # a border of its own is kept, though the way round is better


def test_peaks_without_a_way_are_far_and_noted() -> None:
    found = peak_map(written_landscape([0.0, -1.0, -2.0, -0.5], {(0, 1): -4.0, (2, 3): -3.0}))
    assert found.distances[0, 2] == pytest.approx(1.05 * 4.0)
    assert not found.direct[0, 2]
    assert "disconnected" in note_words(found.note)
    assert np.isfinite(found.coordinates).all()


def test_kernel_as_written() -> None:
    found = peak_map(hills())
    depth, _ = saddle_distances(hills())
    c = len(depth)
    s = sum(depth[a, b] for a in range(c) for b in range(a, c)) / (c * (c + 1) / 2)
    kernel = np.array(
        [[math.exp(-2 * depth[a, b] ** 2 / s**2) for b in range(c)] for a in range(c)]
    )
    h = np.eye(c) - np.ones((c, c)) / c
    centred = h @ kernel @ h
    for column, value in zip(found.coordinates.T, found.eigenvalues[:2], strict=True):
        assert centred @ column == pytest.approx(value * column, abs=1e-12)
        assert column @ column == pytest.approx(1, rel=1e-12)
        assert column[np.abs(column).argmax()] > 0
    assert found.eigenvalues == pytest.approx(np.linalg.eigvalsh(centred)[::-1], abs=1e-12)
    assert math.isnan(found.stress)
    # The lonely peak stands apart along the first direction.
    x = found.coordinates[:, 0]
    assert abs(x[3] - x[:3].mean()) > 3 * np.ptp(x[:3])


@pytest.mark.parametrize("seed", range(3))
def test_mds_finds_places_that_a_plane_holds(seed: int) -> None:
    places = np.random.default_rng([71, seed]).normal(size=(12, 2)) * [5.0, 2.0]
    found = peak_map(of_places(places), method="mds")
    assert found.stress < 1e-6
    x = found.coordinates
    length = np.linalg.norm(x[:, None] - x[None], axis=2)
    assert length == pytest.approx(found.distances, abs=1e-5)
    assert np.cov(x.T)[0, 1] == pytest.approx(0, abs=1e-5)
    assert x[:, 0].var() > x[:, 1].var()


def test_mds_beats_classical_scaling_and_equals_the_best_of_many_starts() -> None:
    manifold = pytest.importorskip("sklearn.manifold")
    places = np.random.default_rng(72).normal(size=(15, 6))
    found = peak_map(of_places(places), method="mds")
    depth = found.distances

    def stress(x: np.ndarray) -> float:
        length = np.linalg.norm(x[:, None] - x[None], axis=2)
        return math.sqrt(((depth - length) ** 2).sum() / (depth**2).sum())

    centred = depth**2 - (depth**2).mean(0) - (depth**2).mean(1)[:, None] + (depth**2).mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    assert found.stress == pytest.approx(stress(found.coordinates), rel=1e-9)
    assert found.stress < stress(vectors[:, -2:] * np.sqrt(values[-2:]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its defaults are being renamed
        peer, _ = manifold.smacof(depth, n_init=6, max_iter=500, eps=1e-8, random_state=0)
    assert found.stress < 1.05 * stress(peer)


def test_order_of_the_peaks_and_a_constant_change_nothing() -> None:
    order = [2, 0, 3, 1]
    new = {old: at for at, old in enumerate(order)}
    heights = [0.0, -1.0, -0.5, -1.5]
    moved = written_landscape(
        [heights[i] + 7 for i in order], {(new[a], new[b]): s + 7 for (a, b), s in HILLS.items()}
    )
    for method in ("kernel", "mds"):
        one, two = peak_map(hills(), method=method), peak_map(moved, method=method)
        assert two.distances == pytest.approx(one.distances[np.ix_(order, order)], abs=1e-12)
        gap = np.abs(np.abs(two.coordinates) - np.abs(one.coordinates[order])).max()
        assert gap < 1e-5, method


def test_peaks_alike_leave_the_plane_open() -> None:
    pairs = {(a, b): -3.0 for a in range(5) for b in range(a)}
    found = peak_map(written_landscape([0.0] * 5, pairs))
    assert "ties" in note_words(found.note)


@pytest.mark.parametrize("peaks", [1, 2])
def test_no_plane_for_one_or_two_peaks(peaks: int) -> None:
    found = peak_map(written_landscape([0.0, -1.0][:peaks], {(0, 1): -2.0} if peaks > 1 else {}))
    assert np.isnan(found.coordinates).all()
    assert found.coordinates.shape == (peaks, 2)
    assert found.note == f"few_points ({peaks} peaks span no plane)"


def test_saddles_as_high_as_the_peaks_are_undefined() -> None:
    pairs = {(a, b): 0.0 for a in range(4) for b in range(a)}
    for method in ("kernel", "mds"):
        found = peak_map(written_landscape([0.0] * 4, pairs), method=method)
        assert np.isnan(found.coordinates).all()
        assert "undefined" in note_words(found.note)


def test_no_cluster_and_misuse() -> None:
    none = peak_map(written_landscape([], {}, note="collapsed (1 distinct of 9 rows)"))
    assert none.coordinates.shape == (0, 2)
    assert none.note == "collapsed (1 distinct of 9 rows)"
    with pytest.raises(InputError, match="method must be one of kernel, mds, got 'tsne'"):
        peak_map(hills(), method="tsne")  # type: ignore[arg-type]
    points = np.random.default_rng(62).normal(size=(200, 2))
    graph = find_neighbors(points, k=40)
    density = knn_density(graph, dimension=2, k=30)
    plain = density_peaks(graph, density, min_log_density=-9, min_delta=1, points=points)
    with pytest.raises(InputError, match="density_peaks measures no saddles"):
        peak_map(plain)


def test_measured_hills_lie_as_on_the_map() -> None:
    """Five hills on a line: the map keeps their order along its first axis."""
    rng = np.random.default_rng(73)
    places = np.array([[5.0 * i, 0.0] for i in range(5)])
    points = np.vstack([p + rng.normal(size=(300, 2)) for p in places])
    graph = find_neighbors(points, k=60)
    found = adp(graph, knn_density(graph, dimension=2, k=30), z=2.0, points=points)
    assert found.n_clusters == 5
    place = points[found.centers, 0]
    depth, _ = saddle_distances(found)
    near = np.argsort(place)
    assert all(depth[near[0], near[1]] <= depth[near[0], j] for j in near[2:])
    x = peak_map(found, method="mds").coordinates
    assert np.isfinite(x).all()
