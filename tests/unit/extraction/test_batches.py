"""The cheapest partition, never over the budget."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hiddenscape.extraction.batches import OVERHEAD, cut_batches


def cost(lengths: list[int], cuts: list[tuple[int, int]], overhead: int) -> int:
    return sum((j - i) * lengths[i] + overhead for i, j in cuts)


def cheapest(lengths: list[int], budget: int, most: int, overhead: int) -> int:
    """By trying every partition."""
    n = len(lengths)
    best = None
    for bits in range(2 ** max(0, n - 1)):
        edges = [0, *(i + 1 for i in range(n - 1) if bits >> i & 1), n]
        cuts = list(pairwise(edges))
        if all((j - i == 1 or (j - i) * lengths[i] <= budget) and j - i <= most for i, j in cuts):
            found = cost(lengths, cuts, overhead)
            best = found if best is None else min(best, found)
    assert best is not None
    return best


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=9),
    st.integers(1, 120),
    st.integers(1, 9),
    st.integers(0, 60),
)
def test_no_partition_costs_less(lengths, budget, most, overhead):
    lengths = sorted(lengths, reverse=True)
    cuts = cut_batches(np.array(lengths), budget, max_rows=most, overhead=overhead)
    assert [i for i, _ in cuts] == [0, *(j for _, j in cuts[:-1])]
    assert cuts[-1][1] == len(lengths)
    assert all(j - i == 1 or (j - i) * lengths[i] <= budget for i, j in cuts)
    assert all(j - i <= most for i, j in cuts)
    assert cost(lengths, cuts, overhead) == cheapest(lengths, budget, most, overhead)


def test_rows_of_unequal_length_share_no_batch_where_they_must_not():
    lengths = np.array([9, 9, 9, 4, 4, 2])
    assert cut_batches(lengths, 1000, equal=True) == [(0, 3), (3, 5), (5, 6)]


def test_no_rows_make_no_batches():
    assert cut_batches(np.zeros(0, dtype=np.int64), 100) == []


def test_little_of_a_long_tailed_shard_is_padding():
    rng = np.random.default_rng(0)
    lengths = np.sort(np.clip(rng.lognormal(3.5, 0.9, 4096), 2, 1024).astype(int))[::-1]
    cuts = cut_batches(lengths, 4096)
    padded = sum((j - i) * int(lengths[i]) for i, j in cuts)
    assert 1 - lengths.sum() / padded < 0.05
    assert len(cuts) * OVERHEAD < 0.1 * padded
