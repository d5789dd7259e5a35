"""The lines of a dendrogram: ends at peaks, joins at saddles, no crossings."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import dendrogram as scipy_dendrogram

from hiddenscape.clustering.dendrogram import dendrogram
from hiddenscape.clustering.topography import merge_tree
from hiddenscape.errors import InputError
from hiddenscape.testing.landscapes import written_landscape

HEIGHTS = [0.0, -1.0, -0.5, -1.5]
HILLS = {(0, 1): -2.0, (1, 2): -3.0, (0, 2): -2.5, (2, 3): -7.0}


def test_a_written_landscape() -> None:
    drawn = dendrogram(merge_tree(written_landscape(HEIGHTS, HILLS)))
    assert drawn.order.tolist() == [0, 1, 2, 3]
    assert drawn.x.tolist() == [0.5, 1.5, 2.5, 3.5, 1.0, 1.75, 2.625]
    assert drawn.y.tolist() == [*HEIGHTS, -2.0, -2.5, -7.0]
    assert drawn.brackets[0].tolist() == [[0.5, 0.0], [0.5, -2.0], [1.5, -2.0], [1.5, -1.0]]
    assert drawn.brackets[2].tolist() == [[1.75, -2.5], [1.75, -7.0], [3.5, -7.0], [3.5, -1.5]]
    assert drawn.measured.all()


def test_widths_are_the_room_of_each_cluster() -> None:
    tree = merge_tree(written_landscape(HEIGHTS, HILLS))
    drawn = dendrogram(tree, widths=[10, 1, 4, 5])
    assert drawn.x[:4].tolist() == [5.0, 10.5, 13.0, 17.5]
    for bad in ([1, 2], [1, 1, 1, 0], [1, 1, 1, np.nan]):
        with pytest.raises(InputError, match="widths must be 4 positive numbers"):
            dendrogram(tree, widths=bad)


def test_parts_without_a_saddle_join_below_everything_and_are_marked() -> None:
    tree = merge_tree(written_landscape([0.0, -1.0, -2.0], {(0, 1): -4.0}))
    drawn = dendrogram(tree)
    assert drawn.measured.tolist() == [True, False]
    assert drawn.y[-1] == pytest.approx(-4.2)
    assert "disconnected" in drawn.note


@pytest.mark.parametrize("method", ["single", "average"])
@pytest.mark.parametrize("seed", range(3))
def test_no_two_lines_cross_and_scipy_draws_the_same_tree(seed: int, method: str) -> None:
    rng = np.random.default_rng([74, seed])
    a, b = np.triu_indices(12, 1)
    some = rng.random(len(a)) < 0.6
    saddles = {
        (int(i), int(j)): float(s)
        for i, j, s in zip(a[some], b[some], rng.uniform(-9, -3, some.sum()), strict=True)
    }
    tree = merge_tree(written_landscape(rng.uniform(-3, 0, 12).tolist(), saddles), method=method)
    drawn = dendrogram(tree)
    bars = [(w[1, 0], w[2, 0], w[1, 1]) for w in drawn.brackets]
    stems = [(w[i, 0], w[j, 1], w[i, 1]) for w in drawn.brackets for i, j in ((0, 1), (3, 2))]
    for left, right, y in bars:
        for x, low, high in stems:
            assert not (left < x < right and low < y < high)
    assert (drawn.brackets[:, 0, 1] >= drawn.brackets[:, 1, 1]).all()
    theirs = scipy_dendrogram(tree.linkage(), no_plot=True)
    top = drawn.y.max() if np.isnan(tree.heights).any() else tree.peaks.max()
    depths = sorted(top - tree.heights[drawn.measured])
    assert sorted(max(d) for d in theirs["dcoord"])[: len(depths)] == pytest.approx(depths)


def test_one_cluster_and_none() -> None:
    one = dendrogram(merge_tree(written_landscape([-1.0], {})))
    assert (one.x.tolist(), one.y.tolist(), one.brackets.shape) == ([0.5], [-1.0], (0, 4, 2))
    none = dendrogram(merge_tree(written_landscape([], {}, note="collapsed")))
    assert (len(none.x), none.note) == (0, "collapsed")
