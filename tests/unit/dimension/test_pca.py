from __future__ import annotations

import math

import numpy as np
import pytest

from hiddenscape.dimension.pca import participation_ratio, pca_dimension, pca_map, pca_spectrum
from hiddenscape.errors import InputError, NonFiniteError
from hiddenscape.testing.manifolds import gaussian, rotated, sphere, swiss_roll


def test_spectrum_equals_singular_values(rng: np.random.Generator) -> None:
    for shape in ((80, 6), (6, 80)):
        x = rng.normal(size=shape) * 5 + 1000
        want = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2 / (shape[0] - 1)
        got = pca_spectrum(x)
        assert len(got) == min(shape)
        assert got == pytest.approx(want, rel=1e-8, abs=1e-8)
        assert (np.diff(got) <= 0).all()


def test_more_columns_than_rows_use_the_other_side(rng: np.random.Generator) -> None:
    x = rng.normal(size=(40, 200)).astype(np.float32)
    assert pca_spectrum(x)[-1] == 0  # centring takes one direction away
    padded = np.vstack([x, x, x, x, x, x])  # the same cloud with n >= d
    assert pca_dimension(padded).value == pca_dimension(x).value
    assert participation_ratio(padded).value == pytest.approx(participation_ratio(x).value)


@pytest.mark.parametrize(("threshold", "m"), [(0.1, 1), (0.11, 2), (0.9, 9), (0.91, 10), (1.0, 10)])
def test_exact_shares_are_not_lost_to_rounding(threshold: float, m: int) -> None:
    points = np.vstack([np.eye(10), -np.eye(10)]) * 0.1
    assert pca_dimension(points, threshold=threshold).value == m
    published = pca_dimension(points, threshold=threshold, convention="published")
    assert published.value == m - 1


def test_curvature_counts_as_variance() -> None:
    assert pca_dimension(swiss_roll(500), threshold=0.99).value == 3
    assert pca_dimension(rotated(sphere(2000, 4), 12)).value == 5
    assert participation_ratio(sphere(4000, 4)).value == pytest.approx(5, rel=0.02)


def test_laws(rng: np.random.Generator) -> None:
    x = rng.normal(size=(120, 5)) * [5, 4, 3, 2, 1]
    value, ratio = pca_dimension(x).value, participation_ratio(x).value
    same = {
        "rows permuted": x[rng.permutation(120)],
        "shifted": x + 3000,
        "rotated": rotated(x, 9),
        "scaled": x * 1e-200,
        "constant column": np.hstack([x, np.full((120, 1), 7.0)]),
        "columns doubled": np.hstack([x, x]),
    }
    for name, y in same.items():
        assert pca_dimension(y).value == value, name
        assert participation_ratio(y).value == pytest.approx(ratio, rel=1e-9), name
    assert pca_dimension(x * [1, 10, 1, 1, 1]).value != value
    a = pca_spectrum(x, standardize=True)
    assert a == pytest.approx(pca_spectrum(x * [1, 10, 100, 1, 1], standardize=True))
    assert a.sum() == pytest.approx(5)


def test_participation_ratio_of_the_spectrum(rng: np.random.Generator) -> None:
    x = rng.normal(size=(70, 6)) * np.arange(1, 7)
    e = pca_spectrum(x)
    assert participation_ratio(x).value == pytest.approx(e.sum() ** 2 / (e**2).sum())
    assert participation_ratio(x + 1e4, centered=False).value == pytest.approx(1, abs=1e-3)


def test_map_is_the_projection_with_a_sign_rule(rng: np.random.Generator) -> None:
    for shape in ((90, 5), (20, 60)):
        x = rng.normal(size=shape) * np.linspace(1, 4, shape[1]) + 50
        coordinates, explained = pca_map(x, 3)
        c = x - x.mean(axis=0)
        u, s, _ = np.linalg.svd(c, full_matrices=False)
        want = u[:, :3] * s[:3]
        want *= np.sign(want[np.abs(want).argmax(axis=0), [0, 1, 2]])
        assert coordinates.dtype == np.float32
        assert coordinates == pytest.approx(want, rel=1e-5, abs=1e-5)
        assert explained == pytest.approx(s[:3] ** 2 / (s**2).sum())
        again, _ = pca_map(-x, 3)
        assert np.abs(again) == pytest.approx(np.abs(coordinates), abs=1e-4)
        assert (again.max(axis=0) >= -again.min(axis=0)).all()


def test_map_of_fewer_dimensions_than_asked_for() -> None:
    coordinates, explained = pca_map(gaussian(10, 1), 2)
    assert (coordinates[:, 1] == 0).all()
    assert explained == pytest.approx([1, 0])
    flat, share = pca_map(np.ones((5, 3)))
    assert (flat == 0).all()
    assert np.isnan(share).all()


def test_pathology_is_nan_with_a_reason() -> None:
    for points in (np.full((20, 3), 0.1), [[0.0, 1.0], [2.0, 1.0]] * 10):
        for result in (
            pca_dimension(points),
            pca_dimension(points, standardize=True),
            participation_ratio(points),
        ):
            assert math.isnan(result.value)
            assert result.note.startswith("collapsed (")


def test_copies_enter_and_are_noted(rng: np.random.Generator) -> None:
    x = rng.normal(size=(100, 4))
    result = pca_dimension(np.vstack([x, x[:5]]))
    assert result.note == "duplicates (5 of 105 rows, all used)"
    assert result.n_used == 105
    assert "few_points (50 rows)" in participation_ratio(x[:50]).note


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: pca_dimension(x, threshold=0), r"threshold must lie in \(0, 1\], got 0"),
        (lambda x: pca_dimension(x, convention="index"), "convention must be count or published"),
        (lambda x: pca_map(x, 0), "n_components must be at least 1"),
        (lambda x: pca_spectrum(x[:2]), "at least 3 rows, got 2"),
        (lambda x: participation_ratio(x[:2]), "at least 3 rows, got 2"),
    ],
)
def test_misuse_is_refused(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(gaussian(10, 3))
    with pytest.raises(NonFiniteError):
        pca_dimension(np.full((5, 2), np.inf))
