"""BID: coins, laws, bad data, misuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import gammaln

from hiddenscape.dimension import binary
from hiddenscape.dimension.binary import (
    binarize,
    binary_dimension,
    fit_distances,
    hamming_histogram,
)
from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.results import note_words


def coins(n: int = 600, d: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 41]).integers(0, 2, size=(n, d))


def law(r: np.ndarray, d0: float, d1: float) -> np.ndarray:
    d = d0 + d1 * r
    log = gammaln(d + 1) - gammaln(r + 1) - gammaln(d - r + 1) - d * math.log(2)
    return np.asarray(np.exp(log - log.max()))


@pytest.mark.parametrize(
    ("d0", "d1", "top"), [(8.0, 0.0, 8), (20.5, 0.3, 12), (100.0, -0.5, 40), (300.0, 0.9, 120)]
)
def test_the_law_itself_gives_its_parameters(d0: float, d1: float, top: int) -> None:
    r = np.arange(top)
    found = fit_distances(r, law(r, d0, d1))
    assert found[:2] == pytest.approx((d0, d1), rel=1e-4, abs=1e-4)
    assert found[2] < -20


@pytest.mark.parametrize("window", [(0.0, 1.0), (0.0, 0.2), (0.1, 0.6)])
@pytest.mark.parametrize("d", [20, 80])
def test_fair_coins(d: int, window: tuple[float, float]) -> None:
    found = binary_dimension(coins(d=d), window=window)
    assert found.value == pytest.approx(d, abs=4 * found.stderr)
    assert found.stderr < 0.1 * d
    assert found.stderr_kind == "jackknife"
    assert found.interval[0] < found.value < found.interval[1]


def test_copies_of_columns_are_one_coin_each() -> None:
    x = coins(d=30)
    one = binary_dimension(x, window=(0, 1))
    two = binary_dimension(np.hstack([x, x]), window=(0, 1))
    assert one.value == pytest.approx(30, abs=1)
    assert two.value != pytest.approx(one.value, rel=0.1)
    assert two.scale == pytest.approx(2 * one.scale)


def test_the_histogram_counts_pairs() -> None:
    x = coins(50, 12)
    distance = (x[:, None, :] != x[None]).sum(axis=2)[np.triu_indices(50, 1)]
    assert hamming_histogram(x).tolist() == np.bincount(distance, minlength=13).tolist()


def test_the_error_is_that_of_fresh_samples() -> None:
    """Fair coins, where pairs are independent, and copied coins with flips, where rows are not."""

    def copied(seed: int) -> np.ndarray:
        rng = np.random.default_rng([seed, 42])
        own = rng.integers(0, 2, size=(150, 8))
        wide = np.repeat(own, 5, axis=1)
        noise = rng.uniform(size=wide.shape) < rng.uniform(0.02, 0.3, size=(150, 1))
        return np.asarray(wide ^ noise)

    for make in (lambda s: coins(150, 30, s), copied):
        found = [binary_dimension(make(s), window=(0, 1)) for s in range(60)]
        spread = np.std([f.value for f in found], ddof=1)
        assert np.mean([f.stderr for f in found]) == pytest.approx(spread, rel=0.3)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = binary_dimension(coins(200))
    monkeypatch.setattr(binary, "_ENTRIES", 200 * 37)
    parts = binary_dimension(coins(200))
    assert parts.value == whole.value
    assert parts.stderr == pytest.approx(whole.stderr, rel=1e-9)


def test_invariance() -> None:
    x = coins()
    before = binary_dimension(x)
    rng = np.random.default_rng(5)
    flipped = x ^ rng.integers(0, 2, size=x.shape[1])
    for y in (flipped, x[:, rng.permutation(x.shape[1])], 2 * x - 1, x.astype(bool), x * 0.25):
        after = binary_dimension(y)
        assert after.value == before.value
        assert after.stderr == pytest.approx(before.stderr, rel=1e-9)
    mixed = binary_dimension(x[rng.permutation(len(x))])
    assert mixed.value == pytest.approx(before.value, rel=1e-9)


@pytest.mark.parametrize(
    ("bits", "word"),
    [
        (np.zeros((40, 8)), "collapsed"),
        (np.repeat(np.eye(2), 20, axis=0), "collapsed"),
        (np.eye(40), "few_points"),
        (coins(200, 3), "few_points"),
    ],
    ids=["equal", "two distinct", "simplex", "three bits"],
)
def test_no_answer_is_nan_with_a_reason(bits: np.ndarray, word: str) -> None:
    found = binary_dimension(bits)
    assert math.isnan(found.value)
    assert math.isnan(found.stderr)
    assert word in note_words(found.note)


def test_clusters_do_not_end_in_a_number_out_of_range() -> None:
    rng = np.random.default_rng(0)
    centers = rng.integers(0, 2, size=(2, 200))
    x = centers[rng.integers(0, 2, 400)] ^ (rng.uniform(size=(400, 200)) < 0.02)
    found = binary_dimension(x, window=(0, 1))
    assert math.isnan(found.value) or found.value > 0
    assert math.isnan(found.value) == ("undefined" in note_words(found.note))


def test_copies_count_and_are_named() -> None:
    assert "duplicates (30 of 630 rows, all counted)" in (
        binary_dimension(np.vstack([coins(), coins()[:30]])).note
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"window": (0.5, 0.5)}, "window must be two ascending quantiles"),
        ({"window": (0.0, 1.1)}, "window must be two ascending quantiles"),
    ],
)
def test_misuse(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        binary_dimension(coins(), **setting)


def test_bits_must_have_two_values() -> None:
    with pytest.raises(InputError, match="use binarize"):
        binary_dimension(coins() + 2 * coins(seed=1))
    with pytest.raises(NonFiniteError, match="rows 2"):
        binarize([[0.0], [1.0], [np.inf]])


def test_binarize() -> None:
    x = np.array([[-1.0, 0.0], [2.0, 0.0], [3.0, 5.0]])
    assert binarize(x).tolist() == [[False, False], [True, False], [True, True]]
    assert binarize(x, 2.5).tolist() == [[False, False], [False, False], [True, True]]
    assert binarize(x, [0.0, 6.0]).tolist() == [[False, False], [True, False], [True, False]]
    rows = np.random.default_rng(0).normal(size=(100, 5)) + 7
    assert binarize(rows, "median").mean(axis=0).tolist() == [0.5] * 5
    with pytest.raises(InputError, match="threshold must be sign, median or numbers, got 'mean'"):
        binarize(x, "mean")
    with pytest.raises(InputError, match="one for each of 2 columns"):
        binarize(x, [1.0, 2.0, 3.0])


def test_no_rows_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="at least 3 rows, got 0"):
        binary_dimension(np.zeros((0, 5), dtype=bool))
