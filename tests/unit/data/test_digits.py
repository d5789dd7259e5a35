"""The embedded digits: what ships, what is drawn, and what never crosses the split."""

from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.data.digits import Nuisance, digit_split, load_digits, nuisance_digits
from hiddenscape.errors import InputError


def test_asset_equals_the_digits_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    bunch = datasets.load_digits()
    images, labels = load_digits()
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, bunch.images)
    np.testing.assert_array_equal(labels, bunch.target)


def test_loaded_digits_cannot_be_overwritten() -> None:
    images, labels = load_digits()
    assert not images.flags.writeable
    assert not labels.flags.writeable


def test_splits_part_the_digits_and_hold_every_class() -> None:
    test, train = digit_split("test"), digit_split("train")
    assert len(test) == 540
    assert np.array_equal(np.sort(np.concatenate([test, train])), np.arange(1797))
    labels = load_digits()[1]
    assert np.bincount(labels[test], minlength=10).min() >= 40


@pytest.mark.parametrize("split", ["test", "train"])
def test_drawing_is_a_pure_function_of_the_seed(split: str) -> None:
    first = nuisance_digits(30, seed=3, split=split)  # type: ignore[arg-type]
    again = nuisance_digits(30, seed=3, split=split)  # type: ignore[arg-type]
    other = nuisance_digits(30, seed=4, split=split)  # type: ignore[arg-type]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


def test_rows_name_their_digit() -> None:
    images, labels, digit = nuisance_digits(1300, seed=0)
    assert images.shape == (1300, 15, 15)
    np.testing.assert_array_equal(labels, load_digits()[1][digit])
    assert set(digit) <= set(digit_split("test"))
    # 1300 = 2 full turns of 540 and a part of a third.
    assert set(np.bincount(digit)[digit_split("test")]) == {2, 3}


def test_without_nuisance_the_digit_lies_unchanged_in_the_middle() -> None:
    still = Nuisance(canvas=12, shift=0, contrast=(1, 1), clutter=0)
    images, _, digit = nuisance_digits(50, seed=1, nuisance=still)
    expected = np.rint(load_digits()[0][digit] * (255 / 16))
    np.testing.assert_allclose(images[:, 2:10, 2:10], expected, atol=1)
    assert images.sum() == images[:, 2:10, 2:10].sum()


def test_a_shift_by_whole_pixels_only_moves_the_ink() -> None:
    near = Nuisance(shift=3.5, contrast=(1, 1), clutter=0)
    images, _, digit = nuisance_digits(200, seed=1, nuisance=near)
    ink = load_digits()[0][digit].sum((1, 2)) * (255 / 16)
    np.testing.assert_allclose(images.sum((1, 2)), ink, rtol=0.01)


def test_background_and_contrast_bound_the_grey_levels() -> None:
    grey = Nuisance(contrast=(0.5, 0.5), background=(0.2, 0.2))
    images, _, _ = nuisance_digits(100, seed=2, nuisance=grey)
    assert images.min() == 51
    assert images.max() <= np.ceil(255 * (0.2 + 0.8 * 0.5))


def test_pixel_neighbours_say_much_less_about_the_label_than_for_clean_digits() -> None:
    def share_of_same_label(points: np.ndarray, labels: np.ndarray) -> float:
        flat = points.reshape(len(points), -1).astype(np.float64)
        square = (flat**2).sum(1)
        distance = square[:, None] + square - 2 * flat @ flat.T
        np.fill_diagonal(distance, np.inf)
        nearest = np.argsort(distance, axis=1)[:, :10]
        return float((labels[nearest] == labels[:, None]).mean())

    test = digit_split("test")
    images, labels = load_digits()
    clean = share_of_same_label(images[test], labels[test])
    moved, moved_labels, _ = nuisance_digits(540, seed=0)
    assert clean > 0.85
    assert share_of_same_label(moved, moved_labels) < 0.45


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0, "seed": 0}, "n must be at least 1, got 0"),
        ({"n": 1, "seed": -1}, "seed must be >= 0, got -1"),
        ({"n": 1, "seed": 0, "split": "all"}, "split must be 'train' or 'test', got 'all'"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        nuisance_digits(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"canvas": 7}, "canvas must hold a digit of 8 pixels"),
        ({"clutter": -1}, "clutter must be >= 0"),
        ({"contrast": (1.0, 0.5)}, r"contrast must be \(low, high\)"),
    ],
)
def test_impossible_nuisance_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Nuisance(**arguments)  # type: ignore[arg-type]
