from __future__ import annotations

import math

import numpy as np
import pytest

from hiddenscape.kernels.products import (
    RUNGS,
    multiply,
    operands,
    product_error,
    round_bfloat16,
)


def test_rounding_is_that_of_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x = (rng.normal(size=5000) * 10.0 ** rng.integers(-40, 30, 5000)).astype(np.float32)
    x[:3] = 0.0, -0.0, 1e-45
    want = torch.from_numpy(x).to(torch.bfloat16).float().numpy()
    assert np.array_equal(round_bfloat16(x).view(np.uint32), want.view(np.uint32))


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("d", [3, 100, 3000])
def test_products_keep_their_bound(rung: str, d: int, unit: bool, rng: np.random.Generator) -> None:
    dtype = np.float64 if rung == "float64" else np.float32
    a, b = (rng.normal(size=(40, d)).astype(dtype) for _ in range(2))
    a[0] = b[0]
    a[1] = rng.choice([-1, 1], d) * (1 + 2.0**-8)  # halfway between two bfloat16 numbers
    left, right = operands(rung, a), operands(rung, b)
    out = np.empty((40, 40), dtype)
    multiply(left, right, out, unit and rung.startswith("bfloat16"))
    norms = [np.sqrt((x.astype(np.float64) ** 2).sum(1)) for x in (a, b)]

    def lost(parts: int) -> float:
        return max(
            float(np.max(np.sqrt(((x.astype("f8") - sum(p[:parts])) ** 2).sum(1)) / n))
            for x, p, n in ((a, [q.astype("f8") for q in left], norms[0]),
                            (b, [q.astype("f8") for q in right], norms[1]))
        )  # fmt: skip

    beta = product_error(rung, d, lost(1), lost(2))
    truth = np.array([[math.fsum(x * y) for y in b.astype("f8")] for x in a.astype("f8")])
    error = np.abs(out - truth) / np.outer(*norms)
    assert error.max() <= beta
    # A bound a thousand times too wide would prove nothing.
    if rung == "bfloat16" and d == 100:
        assert error.max() > beta / 20


def test_each_rung_is_surer_than_the_one_before() -> None:
    errors = [product_error(rung, 512, 2e-3, 4e-6) for rung in RUNGS]
    assert errors == sorted(errors, reverse=True)
