from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest

from hiddenscape.dimension.pca import pca_spectrum
from hiddenscape.dimension.spectrum import Rule, count_components, spectrum_dimension
from hiddenscape.errors import InputError
from hiddenscape.results import note_words

NOISY = ("marchenko_pastur", "gavish_donoho", "denoised")
each = pytest.mark.parametrize("rule", get_args(Rule))


def options(rule: str, scale: float = 1.0) -> dict[str, float]:
    return {"noise": scale**2} if rule in NOISY else {}


def spiked(n: int = 400, d: int = 30, seed: int = 0) -> np.ndarray:
    """Three strong directions of 6, 5, 4 deviations in white noise of deviation 1, rotated."""
    rng = np.random.default_rng([31, seed])
    x = rng.normal(size=(n, d))
    x[:, :3] *= [6, 5, 4]
    return x @ np.linalg.qr(rng.normal(size=(d, d)))[0]


@each
def test_three_directions_in_noise(rule: str) -> None:
    if rule == "broken_stick":  # blind to weaker ones behind a strong one
        return
    if rule == "denoised":
        want = {1, 2}  # stops once no more than the variance of the noise is left
    elif rule == "fukunaga_olsen":
        want = {3}
    elif rule == "fan":
        want = {2, 3}
    else:
        want = {3}
    assert {spectrum_dimension(spiked(seed=s), rule, **options(rule)).value for s in range(3)} <= {
        float(w) for w in want
    } | ({3.0} if rule == "denoised" else set())


def test_broken_stick() -> None:
    assert count_components([10, 1, 1, 1], "broken_stick") == 1
    assert count_components([1, 1, 1, 1], "broken_stick") == 0
    # The sticks of p = 3 are 11/18, 5/18, 2/18.
    assert count_components([11.1, 5.0, 1.9], "broken_stick") == 2
    assert count_components([10.9, 5.5, 1.6], "broken_stick") == 0


def test_rules_on_eigenvalues_by_hand() -> None:
    x = [8.0, 4.0, 2.0, 0.2, 0.1, 0.1]  # mean 2.4
    assert count_components(x, "kaiser") == 2
    assert count_components(x, "fukunaga_olsen") == 3
    assert count_components(x, "max_gap") == 3
    assert count_components([3.0, 2.0, 0.0], "max_gap") == 2
    assert count_components([3.0, 2.0, 1e-20], "max_gap", n=50) == 2
    assert count_components([5.0], "max_gap") == 1
    # Less than a tenth of the noise is left behind two.
    assert count_components(x, "denoised", n=100, noise=0.5) == 2
    assert count_components([1.0, 1.0], "denoised", n=100, noise=1.0) == 0
    edge = (1 + math.sqrt(6 / 99)) ** 2
    assert count_components([edge * 1.01] + [0.5] * 5, "marchenko_pastur", n=100, noise=1.0) == 1
    assert count_components([edge * 0.99] + [0.5] * 5, "marchenko_pastur", n=100, noise=1.0) == 0


def test_square_data_have_the_known_threshold() -> None:
    # b = 1: the hard threshold is 4/sqrt(3), squared 16/3.
    for factor, want in ((1.01, 1), (0.99, 0)):
        x = [16 / 3 * factor] + [0.1] * 99
        assert count_components(x, "gavish_donoho", n=101, noise=1.0) == want


def test_minka_is_that_of_scikit_learn() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    rng = np.random.RandomState(0)
    scales = np.ones(20)
    scales[:5] = 3, 2.5, 2, 1.5, 1.3
    for _ in range(10):
        x = rng.randn(200, 20) * scales
        want = decomposition.PCA(n_components="mle").fit(x).n_components_
        assert spectrum_dimension(x, "minka").value == want


@each
def test_pure_noise(rule: str) -> None:
    """White noise: the rules that compare with noise keep nothing or nearly so."""
    x = np.random.default_rng(5).normal(size=(400, 20))
    found = spectrum_dimension(x, rule, **options(rule))
    if rule in ("marchenko_pastur", "gavish_donoho", "parallel", "broken_stick"):
        assert found.value <= 1
    assert 0 <= found.value <= 20
    assert ("collapsed" in found.note) == (found.value == 0)


@each
@pytest.mark.parametrize("move", ["permute", "shift", "scale", "constant column", "orthogonal"])
def test_invariance(rule: str, move: str) -> None:
    x = spiked(150, 8)
    rng = np.random.default_rng(9)
    y, scale = x, 1.0
    if move == "permute":
        y = x[rng.permutation(150)]
    elif move == "shift":
        y = x + 100
    elif move == "scale":
        y, scale = x * 1e3, 1e3
    elif move == "constant column":
        if rule in (*NOISY, "kaiser", "broken_stick", "max_gap", "fan", "minka", "parallel"):
            return  # one column more is one eigenvalue more
        y = np.hstack([x, np.full((150, 1), 7.0)])
    else:
        y = x @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
    before = spectrum_dimension(x, rule, **options(rule)).value
    assert spectrum_dimension(y, rule, **options(rule, scale)).value == before


@each
def test_bad_data(rule: str) -> None:
    flat = spectrum_dimension(np.ones((20, 4)), rule, **options(rule))
    assert math.isnan(flat.value)
    assert note_words(flat.note)[0] == "collapsed"
    pairs = spectrum_dimension(np.repeat(spiked(60, 5), 2, axis=0), rule, **options(rule))
    assert pairs.value >= 0
    assert "duplicates (60 of 120 rows, all used)" in pairs.note
    wide = spectrum_dimension(spiked(20, 40), rule, **options(rule))
    if rule == "minka":
        assert math.isnan(wide.value)
        assert {"few_points", "undefined"} <= set(note_words(wide.note))
    else:
        assert 0 <= wide.value <= 19


def test_standardizing() -> None:
    x = spiked(200, 6) * np.array([1, 100, 1, 1, 1, 1])
    got = spectrum_dimension(np.hstack([x, np.ones((200, 1))]), "kaiser", standardize=True)
    values = pca_spectrum(x, standardize=True)
    assert got.value == np.count_nonzero(values > values.mean())


def test_parallel_is_seeded() -> None:
    x = spiked(80, 6)
    a, b = (spectrum_dimension(x, "parallel", seed=4) for _ in range(2))
    assert a.value == b.value
    assert a.parameters["seed"] == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spectrum_dimension(np.eye(5), "scree"), "rule must be one of kaiser"),
        (lambda: spectrum_dimension(np.eye(2), "kaiser"), "at least 3 rows, got 2"),
        (lambda: spectrum_dimension(np.eye(5), "denoised"), "denoised needs noise"),
        (lambda: spectrum_dimension(np.eye(5), "kaiser", noise=1.0), "kaiser knows no noise"),
        (lambda: count_components([1.0], "parallel"), "needs the points"),
        (lambda: count_components([1.0], "minka"), "minka needs n"),
        (lambda: count_components([1.0, 2.0], "kaiser"), "largest first"),
        (lambda: count_components([0.0], "kaiser"), "the first positive"),
    ],
)
def test_misuse_is_refused(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("scale", [1e-200, 1e200])
@pytest.mark.parametrize("rule", ["kaiser", "parallel", "minka", "max_gap"])
def test_squares_beyond_float64_change_nothing(rule: Rule, scale: float) -> None:
    x = np.random.default_rng(2).normal(size=(60, 4)) * [3.0, 2.0, 1.0, 0.1]
    for standardize in (False, True):
        a = spectrum_dimension(x, rule, repeats=2, standardize=standardize)
        b = spectrum_dimension(x * scale, rule, repeats=2, standardize=standardize)
        assert (a.value, a.stderr) == (b.value, b.stderr)


def test_noise_beyond_float64_keeps_its_unit() -> None:
    x = np.random.default_rng(2).normal(size=(60, 4)) * [3.0, 2.0, 1.0, 0.1]
    found = [spectrum_dimension(x * c, "denoised", noise=c * c, repeats=0) for c in (1.0, 1e-152)]
    assert found[0].value == found[1].value == 2


def test_nothing_above_the_mean_is_no_dimension() -> None:
    found = spectrum_dimension(np.random.default_rng(0).normal(size=(200, 1)), "kaiser")
    assert math.isnan(found.value)
    assert "the rule keeps nothing" in found.note
