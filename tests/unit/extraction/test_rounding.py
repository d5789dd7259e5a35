"""Fewer digits: what is stored, what does not fit, and what it does to neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hiddenscape.errors import InputError
from hiddenscape.extraction.rounding import neighbor_agreement, rounded, widened


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounding_is_that_of_torch_and_widening_is_exact(dtype):
    x = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
    stored = rounded("a", x, dtype, 0)
    expected = torch.from_numpy(x).to(getattr(torch, dtype)).float().numpy()
    np.testing.assert_array_equal(widened(stored), expected)


def test_nan_and_infinity_survive():
    x = np.array([[np.nan, np.inf, -np.inf, 1.0]], dtype=np.float32)
    for dtype in ("float16", "bfloat16"):
        np.testing.assert_array_equal(widened(rounded("a", x, dtype, 0)), x)


def test_what_does_not_fit_is_named():
    x = np.zeros((4, 2), dtype=np.float32)
    x[2, 1] = 1e6
    with pytest.raises(InputError, match=r"site 'a', row 102: value 1e\+06 does not fit"):
        rounded("a", x, "float16", 100)
    assert np.isfinite(widened(rounded("a", x, "bfloat16", 100))).all()


def test_a_common_offset_costs_neighbours_and_the_number_says_so():
    x = np.random.default_rng(0).normal(size=(400, 24)).astype(np.float32)
    far = x + np.float32(500)
    near_kept = neighbor_agreement(x, rounded("a", x, "bfloat16", 0))["first"]
    far_kept = neighbor_agreement(far, rounded("a", far, "bfloat16", 0))["first"]
    assert near_kept > 0.9 > 0.5 > far_kept
    assert neighbor_agreement(far, rounded("a", far, "float16", 0))["first"] > far_kept


def test_too_few_rows_have_no_agreement():
    x = np.zeros((1, 3), dtype=np.float32)
    assert neighbor_agreement(x, x) == {"rows": 1, "first": None, "ten": None}
