"""The check of the binomial model tells counts of the model from others, few or many of them."""

from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.dimension.counts import model_p


def p_of(trials: np.ndarray, inner: np.ndarray, seed: int) -> float:
    one = np.zeros(len(trials), dtype=int)
    return model_p(trials, inner, one, lambda n: n.sum(keepdims=True) / trials.sum(), seed=seed)


@pytest.mark.parametrize("most", [12, 900])  # few steps; so many that they are transformed
def test_counts_of_the_model_and_others(most: int) -> None:
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        trials = rng.integers(most // 2, most, 400)
        found.append(p_of(trials, rng.binomial(trials, 0.3), seed))
        spread = rng.choice([0.15, 0.45], 400)
        assert p_of(trials, rng.binomial(trials, spread), seed) == 1 / 200
    # Twelve values that are even over 0 to 1: two below 1 in 100 happen 6 times in 1000.
    assert np.sort(found)[1] > 0.01
    assert max(found) > 0.4
