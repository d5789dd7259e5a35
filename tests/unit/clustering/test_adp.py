"""ADP: the definition row by row, its laws, and what it says of bad data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hiddenscape.clustering.adp import adp
from hiddenscape.clustering.result import Clusters
from hiddenscape.density.knn import knn_density
from hiddenscape.density.kstar_nn import k_peaks, kstar_density
from hiddenscape.density.pak import pak_density
from hiddenscape.density.result import LogDensity
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import note_words


def clumps(n: int = 300, width: int = 2, seed: int = 0, gap: float = 4.0) -> np.ndarray:
    rng = np.random.default_rng([41, width, seed])
    centers = gap * rng.normal(size=(4, width))
    return np.vstack([c + rng.normal(size=(n // 4, width)) for c in centers])


def as_density(values: np.ndarray, errors: np.ndarray, k: np.ndarray) -> LogDensity:
    return LogDensity(
        values=values, stderr=errors, k=k, method="pak", dimension=2.0, n_used=len(values)
    )


def by_definition(
    graph: NeighborGraph, density: LogDensity, points: np.ndarray, z: float
) -> tuple[list[int], set[tuple[int, int, int]], list[bool]]:
    """Labels, saddles (peak, peak, row) and halo, written as the steps read; slow."""
    rho, err, k, near = density.values, density.stderr, density.k, graph.indices
    n = graph.n
    g = rho - err
    order = sorted(range(n), key=lambda i: (-g[i], i))
    place = {i: at for at, i in enumerate(order)}
    hood = [set(near[i, : k[i]].tolist()) for i in range(n)]
    peaks = [i for i in range(n) if all(place[i] < place[j] for j in hood[i])]
    peaks = [i for i in peaks if not any(i in hood[j] and place[j] < place[i] for j in range(n))]
    label = dict(zip(peaks, peaks, strict=True))
    for i in order:
        if i in label:
            continue
        named = [j for j in near[i].tolist() if j in label]
        if not named:
            before = order[: place[i]]
            named = [min(before, key=lambda j: (((points[i] - points[j]) ** 2).sum(), j))]
        label[i] = label[named[0]]
    saddle: dict[frozenset[int], int] = {}
    for i in range(n):
        foreign = [j for j in near[i, : k[i]].tolist() if label[j] != label[i]]
        if i in peaks or not foreign:
            continue
        same = [p for p in near[foreign[0]].tolist() if label[p] == label[i]]
        if same and same[0] != i:
            continue
        pair = frozenset((label[i], label[foreign[0]]))
        if pair not in saddle or place[i] < place[saddle[pair]]:
            saddle[pair] = i

    def margin(c: int, s: int) -> float:
        return (rho[c] - rho[s]) / (err[c] + err[s])

    while True:
        low = [
            (-rho[s], s, sorted(p)) for p, s in saddle.items() if min(margin(c, s) for c in p) < z
        ]
        if not low:
            break
        _, s, pair = min(low)
        win = max(pair, key=lambda c: (margin(c, s), rho[c], -c))
        lose = next(c for c in pair if c != win)
        label = {i: win if c == lose else c for i, c in label.items()}
        fresh: dict[frozenset[int], int] = {}
        for p, row in saddle.items():
            q = frozenset(win if c == lose else c for c in p)
            if len(q) == 2 and (q not in fresh or (-rho[row], row) < (-rho[fresh[q]], fresh[q])):
                fresh[q] = row
        saddle = fresh
    top = {c: max([rho[s] for p, s in saddle.items() if c in p], default=-math.inf) for c in peaks}
    halo = [bool(rho[i] < top[label[i]]) for i in range(n)]
    saddles = {(*sorted(p), s) for p, s in saddle.items()}
    return [label[i] for i in range(n)], saddles, halo  # type: ignore[return-value]


def check(found: Clusters, graph: NeighborGraph, density: LogDensity, points: np.ndarray) -> None:
    labels, saddles, halo = by_definition(graph, density, points, found.parameters["z"])
    assert found.centers[found.labels].tolist() == labels
    got = {
        (*sorted(found.centers[pair].tolist()), row)
        for pair, row in zip(found.saddle_pairs, found.saddle_rows.tolist(), strict=True)
    }
    assert got == saddles
    assert found.halo.tolist() == halo
    assert (np.diff(found.centers) > 0).all()
    assert found.sizes.sum() == graph.n


@pytest.mark.parametrize("z", [0, 0.5, 1.65, 4, math.inf])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_partition_is_that_of_the_definition(z: float, seed: int) -> None:
    points = clumps(160, seed=seed, gap=2)
    graph = find_neighbors(points, k=24)
    for density in (pak_density(graph, dimension=2), knn_density(graph, dimension=2, k=5)):
        check(adp(graph, density, z=z, points=points), graph, density, points)


@pytest.mark.parametrize("seed", range(6))
def test_any_heights_with_ties_and_few_neighbors(seed: int) -> None:
    # Heights of no geometry, on few levels, and shallow lists: many rows find nobody labelled.
    rng = np.random.default_rng([42, seed])
    points = rng.normal(size=(120, 2))
    graph = find_neighbors(points, k=6)
    density = as_density(
        rng.integers(0, 7, 120) / 4, rng.integers(1, 4, 120) / 4, rng.integers(1, 7, 120)
    )
    for z in (0.0, 0.7, 1.65):
        check(adp(graph, density, z=z, points=points), graph, density, points)


def test_rows_without_a_labelled_neighbor_need_the_points() -> None:
    rng = np.random.default_rng(43)
    found = 0
    for _ in range(40):
        points = rng.normal(size=(60, 2))
        graph = find_neighbors(points, k=4)
        density = as_density(rng.normal(size=60), np.full(60, 0.1), rng.integers(1, 5, 60))
        without = adp(graph, density, z=0)
        assert (without.labels >= 0).all()
        exact = adp(graph, density, z=0, points=points)
        assert exact.note == "few_points (60 rows)"
        if without.note != exact.note:
            found += 1
            assert note_words(without.note) == ("few_points", "approximate")
            assert "follow their remover" in without.note
        else:
            assert np.array_equal(without.labels, exact.labels)
    assert found > 3


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_units_turns_and_shifts_do_not_matter(scale: float) -> None:
    rng = np.random.default_rng(44)
    points = clumps(320, 3)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    found = []
    for p in (points, scale * points, points @ turn + 7):
        graph = find_neighbors(p, k=60)
        found.append(adp(graph, pak_density(graph, dimension=3)))
    assert found[0].n_clusters > 1
    for other in found[1:]:
        assert np.array_equal(other.labels, found[0].labels)
        assert np.array_equal(other.halo, found[0].halo)
        assert np.array_equal(other.saddle_rows, found[0].saddle_rows)


def test_rows_in_another_order_give_the_same_partition() -> None:
    points = clumps(320)
    order = np.random.default_rng(45).permutation(320)
    found = []
    for p in (points, points[order]):
        graph = find_neighbors(p, k=60)
        found.append(adp(graph, pak_density(graph, dimension=2)))
    a, b = found
    assert np.array_equal(a.centers[a.labels][order], order[b.centers[b.labels]])
    assert np.array_equal(a.halo[order], b.halo)
    assert sorted(a.saddle_rows) == sorted(order[b.saddle_rows])


@pytest.mark.parametrize("seed", range(4))
def test_two_gaussians_are_two_where_they_are_apart(seed: int) -> None:
    rng = np.random.default_rng([46, seed])
    x = rng.normal(size=(1000, 2))
    for shift, want in ((6.0, 2), (1.0, 1)):
        points = x + np.repeat([[0.0, 0.0], [shift, 0.0]], 500, axis=0)
        graph = find_neighbors(points, k=150)
        found = adp(graph, pak_density(graph, dimension=2), z=2.5)
        assert found.n_clusters == want
        if want == 2:
            side = np.repeat([0, 1], 500)
            assert max(np.mean(found.labels == side), np.mean(found.labels != side)) > 0.98


def test_clusters_do_not_grow_in_number_with_z_and_end_at_the_connected_parts() -> None:
    points = clumps(400, gap=8)
    graph = find_neighbors(points, k=30)
    density = knn_density(graph, dimension=2, k=8)
    found = [adp(graph, density, z=z) for z in (0, 0.5, 1, 1.65, 3, 10, math.inf)]
    counts = [f.n_clusters for f in found]
    assert counts == sorted(counts, reverse=True)
    start = adp(graph, density, z=0)
    c = start.n_clusters
    a, b = start.saddle_pairs.T
    parts = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(c, c)), directed=False)
    assert found[-1].n_clusters == parts[0]
    assert parts[0] > 1
    assert len(found[-1].saddles) == 0
    assert not found[-1].halo.any()
    assert found[-1].core_fraction == 1


def test_saddles_lie_below_their_peaks_and_the_halo_below_its_saddle() -> None:
    points = clumps(400, gap=2)
    graph = find_neighbors(points, k=40)
    density = pak_density(graph, dimension=2)
    for z in (0, 1, 1.65):
        found = adp(graph, density, z=z)
        peaks = found.heights[found.saddle_pairs]
        errors = found.height_errors[found.saddle_pairs] + found.saddle_errors[:, None]
        assert (peaks - found.saddles[:, None] >= z * errors).all()
        assert np.array_equal(found.heights, density.values[found.centers])
        assert np.array_equal(found.saddles, density.values[found.saddle_rows])
        assert found.core_fraction == 1 - found.halo.mean()


@pytest.mark.parametrize("copies", [2, 3, 4])
def test_copies_carry_the_label_of_their_row(copies: int) -> None:
    points = clumps()
    rows = np.random.default_rng(47).permutation(np.repeat(np.arange(300), copies))
    first = np.array([np.flatnonzero(rows == i)[0] for i in range(300)])
    alone_graph = find_neighbors(points[rows[np.sort(first)]], k=40)
    alone = adp(alone_graph, pak_density(alone_graph, dimension=2))
    graph = find_neighbors(points[rows], k=40)
    many = adp(graph, pak_density(graph, dimension=2), points=points[rows])
    assert np.array_equal(many.labels[np.sort(first)], alone.labels)
    assert np.array_equal(many.centers, np.sort(first)[alone.centers])
    assert all(len(set(many.labels[rows == i])) == 1 for i in range(300))
    assert many.sizes.sum() == 300 * copies
    assert (many.n_used, many.n_dropped) == (300, 300 * (copies - 1))
    assert "duplicates" in note_words(many.note)


def test_points_without_extent_have_no_clusters() -> None:
    for points in (np.full((40, 3), 2.0), np.repeat([[0.0], [1.0]], 20, axis=0)):
        graph = find_neighbors(points, k=8)
        found = adp(graph, pak_density(graph, dimension=2))
        assert found.n_clusters == 0
        assert (found.labels == -1).all()
        assert math.isnan(found.core_fraction)
        assert "collapsed" in note_words(found.note)


def test_grids_and_equal_densities_end() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(12.0)] * 2), -1).reshape(-1, 2)
    graph = find_neighbors(grid, k=30)
    for density in (
        knn_density(graph, dimension=2, k=4),
        kstar_density(graph, dimension=2),
        k_peaks(graph, dimension=2),
    ):
        found = adp(graph, density, points=grid)
        assert (found.labels >= 0).all()
        check(found, graph, density, grid) if (density.stderr > 0).all() else None


def test_settings_stand_in_the_result() -> None:
    graph = find_neighbors(clumps(), k=40)
    found = adp(graph, pak_density(graph, dimension=2.5), z=2)
    want = {"dimension": 2.5, "alpha": 1e-6, "z": 2.0, "stored": 40, "k": "k*", "density": "pak"}
    assert {name: found.parameters[name] for name in want} == want
    fixed = adp(graph, knn_density(graph, dimension=2, k=16), z=2)
    assert fixed.parameters["k"] == 16


def test_published_variants() -> None:
    graph = find_neighbors(clumps(400, gap=2), k=30)
    density = knn_density(graph, dimension=2, k=8)
    total = adp(graph, density, z=1.0)
    root = adp(graph, density, z=1.0, errors="quadrature")
    assert root.n_clusters >= total.n_clusters
    # Equal errors: the root of two squares is the sum over sqrt 2.
    same = adp(graph, density, z=math.sqrt(2), errors="quadrature")
    assert np.array_equal(same.labels, total.labels)
    denser = adp(graph, density, z=1.0, survivor="denser")
    assert denser.labels.max() >= 0
    assert density.values.argmax() in denser.centers


def test_wrong_arguments_are_refused() -> None:
    points = clumps()
    graph = find_neighbors(points, k=40)
    density = pak_density(graph, dimension=2)
    with pytest.raises(InputError, match="z must be at least 0, got -1"):
        adp(graph, density, z=-1)
    with pytest.raises(InputError, match="z must be at least 0, got nan"):
        adp(graph, density, z=math.nan)
    with pytest.raises(InputError, match="errors must be one of sum, quadrature"):
        adp(graph, density, errors="max")
    with pytest.raises(InputError, match="the density has 300 rows, the graph 100"):
        adp(find_neighbors(points[:100], k=40), density)
    with pytest.raises(InputError, match="the graph stores 10 among distinct rows"):
        adp(find_neighbors(points, k=10), density)
    with pytest.raises(InputError, match="of metric 'euclidean', the graph of 'manhattan'"):
        adp(find_neighbors(points, k=40, metric="manhattan"), density)
