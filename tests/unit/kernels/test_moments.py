from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.kernels import moments as module
from hiddenscape.kernels.arrays import cloud
from hiddenscape.kernels.moments import moments


@pytest.mark.parametrize("shape", [(60, 7), (7, 60), (20, 20)])
def test_both_forms_have_the_spectrum_of_the_covariance(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    x = rng.normal(size=shape) * 3 + 100
    found = moments(cloud(x))
    assert found.gram == (shape[0] < shape[1])
    want = np.sort(np.linalg.eigvalsh(np.cov(x.T)))[::-1][: min(shape)]
    got = np.sort(np.linalg.eigvalsh(found.matrix))[::-1] * 4.0**found.exponent
    assert got == pytest.approx(want, rel=1e-9, abs=1e-9)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    for shape in ((60, 7), (7, 60)):
        x = cloud(rng.normal(size=shape).astype(np.float32))
        want = moments(x).matrix
        with monkeypatch.context() as m:
            m.setattr(module, "_BLOCK", 50)
            assert moments(x).matrix == pytest.approx(want, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("scale", [1e-300, 1e-180, 1e180, 1e300])
def test_extreme_scales_neither_underflow_nor_overflow(
    scale: float, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(30, 4))
    plain, scaled = moments(cloud(x)), moments(cloud(x * scale))
    ratio = scaled.matrix / np.trace(scaled.matrix)
    assert ratio == pytest.approx(plain.matrix / np.trace(plain.matrix), rel=1e-9)


def test_standardizing_drops_constant_columns(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 4)) * [1, 10, 100, 1000]
    x[:, 2] = 0.1
    matrix = moments(cloud(x), standardize=True).matrix
    assert np.diag(matrix) == pytest.approx([1, 1, 0, 1])


def test_uncentred_moments(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 4)) + 5
    found = moments(cloud(x), centered=False)
    assert found.matrix * 4.0**found.exponent * 49 == pytest.approx(x.T @ x)
