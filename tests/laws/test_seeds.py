"""A seed that is none is refused in words, by everybody who draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hiddenscape as hs

POINTS = np.random.default_rng(0).normal(size=(60, 4))
GRAPH = hs.find_neighbors(POINTS, k=20)

DRAWERS: dict[str, Callable[[Any], object]] = {
    "two_nn": lambda seed: hs.two_nn(GRAPH, method="fit", seed=seed),
    "decimation": lambda seed: hs.decimation(POINTS, seed=seed),
    "danco": lambda seed: hs.danco_dimension(POINTS, 5, seed=seed),
    "hidalgo": lambda seed: hs.hidalgo(GRAPH, seed=seed),
    "isomap": lambda seed: hs.isomap_dimension(GRAPH, seed=seed),
    "i3d": lambda seed: hs.i3d(np.rint(9 * POINTS), radius=4, seed=seed),
    "spectrum": lambda seed: hs.spectrum_dimension(POINTS, "parallel", seed=seed),
    "bmti": lambda seed: hs.bmti_density(GRAPH, POINTS, dimension=4, seed=seed),
}


@pytest.mark.parametrize("name", DRAWERS)
@pytest.mark.parametrize("seed", [-1, 1.5, "a", None, True])
def test_a_seed_is_a_whole_number(name: str, seed: Any) -> None:
    with pytest.raises(hs.HiddenscapeError, match=r"seed must (be a whole number|not be negative)"):
        DRAWERS[name](seed)
