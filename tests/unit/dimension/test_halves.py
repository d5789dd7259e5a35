"""Errors of global measures: the spread over halves against the spread over fresh samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hiddenscape.dimension.halves import spread_of_halves
from hiddenscape.dimension.pca import participation_ratio, pca_dimension
from hiddenscape.dimension.spectrum import spectrum_dimension
from hiddenscape.errors import InputError

SCALE = 0.8 ** np.arange(12)


def sample(seed: int, n: int = 300) -> np.ndarray:
    return np.random.default_rng([seed, 50]).normal(size=(n, 12)) * SCALE


def test_the_error_of_a_smooth_measure_is_that_of_fresh_samples() -> None:
    values = [participation_ratio(sample(s)).value for s in range(200)]
    errors = [participation_ratio(sample(s), repeats=20).stderr for s in range(20)]
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


def test_counts_carry_the_error_of_their_jumps() -> None:
    found = [pca_dimension(sample(s), threshold=0.897, repeats=20) for s in range(20)]
    spread = np.std([pca_dimension(sample(s), threshold=0.897).value for s in range(200)])
    assert np.mean([f.stderr for f in found]) == pytest.approx(spread, rel=0.5)
    assert {f.stderr_kind for f in found} == {"repeats"}


def test_all_halves_agree_where_there_is_no_doubt() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 20)) * 5 + rng.normal(size=(400, 20))
    found = spectrum_dimension(x, "marchenko_pastur", noise=1.0)
    assert (found.value, found.stderr, found.stderr_kind) == (3.0, 0.0, "repeats")
    assert found.parameters["halves"] == 3.0
    assert math.isnan(spectrum_dimension(x, "kaiser", repeats=0).stderr)


def test_minka_has_no_error_where_halves_have_too_few_rows() -> None:
    found = spectrum_dimension(sample(0, 20), "minka")
    assert math.isfinite(found.value)
    assert math.isnan(found.stderr)
    assert found.stderr_kind == ""


def test_errors_are_seeded() -> None:
    one, same, other = (
        spectrum_dimension(sample(0), "kaiser", seed=s).parameters["halves"] for s in (1, 1, 2)
    )
    assert one == same
    x = sample(0)
    errors = [participation_ratio(x, repeats=5, seed=s).stderr for s in (1, 1, 2)]
    assert errors[0] == errors[1] != errors[2]
    assert math.isfinite(other)


def test_few_rows_have_no_halves() -> None:
    assert math.isnan(spread_of_halves(7, lambda rows: 1.0, 10, 0))
    assert math.isnan(spread_of_halves(100, lambda rows: math.nan, 10, 0))
    for estimate in (
        lambda: participation_ratio(sample(0), repeats=-1),
        lambda: spectrum_dimension(sample(0), "kaiser", repeats=-1),
    ):
        with pytest.raises(InputError, match="repeats must not be negative, got -1"):
            estimate()
