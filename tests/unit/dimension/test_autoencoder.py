"""Autoencoder elbow: linear and curved clouds, seeds, bad data, misuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hiddenscape.dimension.autoencoder import autoencoder_dimension
from hiddenscape.dimension.elbow import elbow
from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.results import note_words

SMALL: dict[str, Any] = {"width": 16, "steps": 200}


def linear(n: int = 200, d: int = 2, columns: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, 70])
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, columns))


def test_a_plane() -> None:
    found = autoencoder_dimension(linear(), sizes=(1, 2, 3, 4), **SMALL)
    assert (found.value, found.stderr, found.stderr_kind) == (2.0, 0.0, "repeats")
    curve = found.parameters["errors"]
    assert found.value == elbow((1, 2, 3, 4), curve)
    low, high = found.parameters["lowest"], found.parameters["highest"]
    assert all(a <= b <= c for a, b, c in zip(low, curve, high, strict=True))
    assert curve[0] > 0.1 > curve[1]


def test_a_curved_sheet_counts_its_two_directions() -> None:
    u = np.random.default_rng(0).uniform(-1, 1, size=(400, 2))
    x = np.hstack([u, u**2, np.sin(2 * u)])
    found = autoencoder_dimension(x, sizes=(1, 2, 3, 4), width=24, steps=500)
    assert found.value == 2.0


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    a, b, c = (
        autoencoder_dimension(linear(60), sizes=(1, 2), seed=s, width=8, steps=20).parameters[
            "errors"
        ]
        for s in (3, 3, 4)
    )
    assert a == b
    assert a != c


def test_it_leaves_the_random_numbers_of_torch_alone() -> None:
    import torch

    before = torch.random.get_rng_state().clone()
    autoencoder_dimension(linear(40), sizes=(1, 2), width=4, steps=2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_shift_and_scale_change_nothing() -> None:
    x = linear(60)
    setting: dict[str, Any] = {"sizes": (1, 2, 3), "width": 8, "steps": 20}
    want = autoencoder_dimension(x, **setting).parameters["errors"]
    for y in (x + 100, x * 1e6, x * 1e-6):
        got = autoencoder_dimension(y, **setting).parameters["errors"]
        assert got == pytest.approx(want, rel=1e-3)


def test_copies_enter_once() -> None:
    x = linear(60)
    setting: dict[str, Any] = {"sizes": (1, 2), "width": 8, "steps": 20}
    one = autoencoder_dimension(x, **setting)
    two = autoencoder_dimension(np.vstack([x, x[:30]]), **setting)
    assert two.parameters["errors"] == one.parameters["errors"]
    assert "duplicates (30 of 90 rows)" in two.note


def test_no_elbow_is_nan_with_a_reason_and_the_curve_stays() -> None:
    noise = np.random.default_rng(0).normal(size=(200, 8))
    found = autoencoder_dimension(noise, sizes=(1, 2, 3, 4), **SMALL)
    assert math.isnan(found.value)
    assert "undefined" in note_words(found.note)
    assert len(found.parameters["errors"]) == 4


@pytest.mark.parametrize(
    ("points", "word"),
    [
        (np.full((50, 3), 2.0), "collapsed"),
        (np.repeat(np.eye(2), 20, axis=0), "collapsed"),
        (linear(15), "few_points"),
    ],
    ids=["equal", "two distinct", "fifteen"],
)
def test_bad_data(points: np.ndarray, word: str) -> None:
    found = autoencoder_dimension(points, **SMALL)
    assert math.isnan(found.value)
    assert word in note_words(found.note)


def test_progress_ends_at_the_last_step() -> None:
    seen: list[tuple[int, int]] = []
    autoencoder_dimension(
        linear(40), sizes=(1, 2), width=4, steps=120, progress=lambda a, b: seen.append((a, b))
    )
    assert seen == [(50, 120), (100, 120), (120, 120)]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"sizes": (3,)}, "sizes must be at least 2 ascending numbers"),
        ({"sizes": (2, 2)}, "sizes must be at least 2 ascending numbers"),
        ({"sizes": (0, 2)}, "sizes must be at least 2 ascending numbers"),
        ({"seeds": 2}, "seeds must be at least 3, got 2"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"held_out": 0.6}, r"held_out must lie in \(0, 0.5\], got 0.6"),
    ],
)
def test_misuse(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        autoencoder_dimension(linear(), **setting)


def test_rows_must_be_finite() -> None:
    bad = linear()
    bad[4, 0] = np.inf
    with pytest.raises(NonFiniteError, match="rows 4"):
        autoencoder_dimension(bad)
