from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, rotated


def test_blocks_have_equal_sizes() -> None:
    assert np.bincount(spatial_blocks(cube(160, 3))).tolist() == [10] * 16
    sizes = np.bincount(spatial_blocks(cube(171, 3)))
    assert (sizes.min(), sizes.max(), len(sizes)) == (10, 11, 16)
    assert len(np.unique(spatial_blocks(cube(40, 3), splits=2))) == 4


def test_neighbors_share_a_block() -> None:
    points = cube(2000, 2)
    blocks = spatial_blocks(points)
    nearest = find_neighbors(points, k=1).indices[:, 0]
    assert np.mean(blocks == blocks[nearest]) > 0.85


def test_blocks_turn_with_the_cloud() -> None:
    points = cube(160, 3) * [1, 2, 4]
    turned = rotated(points, 8) * 1e5 + 3
    assert np.array_equal(spatial_blocks(points), spatial_blocks(turned))


def test_constant_points_are_cut_anyhow() -> None:
    assert np.bincount(spatial_blocks(np.ones((32, 2)))).tolist() == [2] * 16


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(InputError, match=r"15 rows cannot be cut into 2\*\*4 blocks"):
        spatial_blocks(cube(15, 2))
