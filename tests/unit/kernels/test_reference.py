"""The specification itself, on cases small enough to count by hand."""

from __future__ import annotations

import numpy as np

from hiddenscape.kernels.arrays import cloud
from hiddenscape.kernels.reference import mid_ranks, nearest


def test_neighbors_by_hand() -> None:
    indices, distances = nearest(cloud([[0.0], [1.0], [-1.0], [3.0], [0.0]]), 3)
    assert indices.tolist() == [[4, 1, 2], [0, 4, 2], [0, 4, 1], [1, 0, 4], [0, 1, 2]]
    assert distances[0].tolist() == [0.0, 1.0, 1.0]


def test_mid_ranks_by_hand() -> None:
    x = cloud([[0.0], [1.0], [-1.0], [3.0], [0.0]])
    ranks = mid_ranks(x, np.array([0, 3]), np.array([[4, 1, 3], [1, 0, 2]]))
    assert ranks.tolist() == [[1.0, 2.5, 4.0], [1.0, 2.5, 4.0]]
