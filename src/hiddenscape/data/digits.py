"""Handwritten digits with nuisance: the embedded demo data.

1797 digits of 8 x 8 pixels ship with the package. :func:`nuisance_digits` places them on a larger
canvas with a random position, slight rotation and scale, contrast, background and clutter cut
from other digits, so that neighbours in pixel space say little about the label. Every image is a
pure function of its arguments. The digits are split once, by digit: no digit of the ``test``
split, not even as clutter, is ever part of a ``train`` image.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998, doi 10.24432/C50P49 (CC BY 4.0), the part that scikit-learn distributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from hiddenscape.errors import InputError

__all__ = ["Nuisance", "digit_split", "load_digits", "nuisance_digits"]

Split = Literal["train", "test"]

_SIDE = 8
_LEVELS = 16.0
_SPLIT_SEED = 0
_N_TEST = 540


@dataclass(frozen=True, slots=True)
class Nuisance:
    """How far the digits are disturbed. Every quantity is drawn uniformly and independently.

    Parameters
    ----------
    canvas : int
        Side of the square canvas in pixels, at least 8.
    shift : float
        Largest displacement of the digit from the centre, in pixels, along each axis.
    rotation : float
        Largest rotation to either side, in degrees.
    scale : (float, float)
        Range of the size relative to the original 8 x 8 pixels.
    contrast : (float, float)
        Range of the factor applied to the ink.
    background : (float, float)
        Range of the grey level of the empty canvas, 0 = black.
    clutter : int
        Number of fragments of other digits of the same split.
    clutter_side : int
        Side of the square window through which a fragment is seen, in pixels.

    Raises
    ------
    InputError
        If the canvas is smaller than a digit or than a fragment, or a range is reversed.
    """

    canvas: int = 15
    shift: float = 3.5
    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    contrast: tuple[float, float] = (0.8, 1.0)
    background: tuple[float, float] = (0.0, 0.0)
    clutter: int = 1
    clutter_side: int = 3

    def __post_init__(self) -> None:
        if self.canvas < max(_SIDE, self.clutter_side):
            raise InputError(
                f"canvas must hold a digit of {_SIDE} pixels and the clutter, got {self.canvas}"
            )
        if self.clutter < 0 or self.clutter_side < 1:
            raise InputError(
                f"clutter must be >= 0 and clutter_side >= 1, got {self.clutter}, "
                f"{self.clutter_side}"
            )
        for name in ("scale", "contrast", "background"):
            low, high = getattr(self, name)
            if low > high:
                raise InputError(f"{name} must be (low, high) with low <= high, got {low}, {high}")


@cache
def _read() -> tuple[UInt8[np.ndarray, "n 8 8"], Int[np.ndarray, " n"]]:
    asset = files("hiddenscape") / "assets" / "digits" / "digits.npz"
    with asset.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"].astype(np.int64)
    for array in (images, labels):
        array.setflags(write=False)
    return images, labels


def load_digits() -> tuple[UInt8[np.ndarray, "1797 8 8"], Int[np.ndarray, " 1797"]]:
    """The original digits, in the order of scikit-learn.

    Returns
    -------
    images : (1797, 8, 8) uint8
        Ink per pixel, 0 to 16; read-only.
    labels : (1797,) int64
        The digit, 0 to 9; read-only.

    Examples
    --------
    >>> images, labels = load_digits()
    >>> images.shape, int(images.max()), labels[:5].tolist()
    ((1797, 8, 8), 16, [0, 1, 2, 3, 4])
    """
    return _read()


def digit_split(split: Split) -> Int[np.ndarray, " m"]:
    """Row numbers of the digits of one split: 540 for ``test``, the other 1257 for ``train``.

    Raises
    ------
    InputError
        If ``split`` is neither ``train`` nor ``test``.
    """
    if split not in ("train", "test"):
        raise InputError(f"split must be 'train' or 'test', got {split!r}")
    order = _rng(_SPLIT_SEED, 0).permutation(len(_read()[1]))
    return np.sort(order[:_N_TEST] if split == "test" else order[_N_TEST:])


def nuisance_digits(
    n: int, *, seed: int, split: Split = "test", nuisance: Nuisance | None = None
) -> tuple[UInt8[np.ndarray, "n canvas canvas"], Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Draw ``n`` images of one split, each a digit under its own nuisance.

    Digits of ``test`` take turns: after a random order of all 540 a fresh one begins, so that
    ``n`` = 2160 shows each digit four times, each time under different nuisance. Digits of
    ``train`` are drawn with replacement.

    Parameters
    ----------
    n : int
        Number of images, at least 1.
    seed : int
        Key of the random stream (PCG64), >= 0. Equal arguments give equal images.
    split : {"test", "train"}
        Which digits, and whose fragments, appear.
    nuisance : Nuisance or None
        The disturbance; None for the defaults, which the embedded network was trained on.

    Returns
    -------
    images : (n, canvas, canvas) uint8
        Grey levels, 0 = black, 255 = white.
    labels : (n,) int64
        The digit shown, 0 to 9.
    digit : (n,) int64
        Row number in :func:`load_digits` of the digit shown. Rows with equal ``digit`` show the
        same handwriting, which neighbour statistics may want to leave out.

    Raises
    ------
    InputError
        If ``n`` < 1, the seed is negative or the split is unknown.

    Examples
    --------
    >>> images, labels, digit = nuisance_digits(4, seed=0)
    >>> images.dtype, images.ndim, bool((load_digits()[1][digit] == labels).all())
    (dtype('uint8'), 3, True)
    """
    if n < 1:
        raise InputError(f"n must be at least 1, got {n}")
    if seed < 0:
        raise InputError(f"seed must be >= 0, got {seed}")
    how = nuisance or Nuisance()
    pool = digit_split(split)
    rng = _rng(seed, 1 if split == "train" else 2)
    if split == "train":
        digit = rng.choice(pool, n)
    else:
        turns = [rng.permutation(pool) for _ in range(-(-n // len(pool)))]
        digit = np.concatenate(turns)[:n]
    originals, labels = _read()
    ink = originals.astype(np.float32) / np.float32(_LEVELS)
    field = _place(ink[digit], how, how.shift, how.rotation, rng)
    for _ in range(how.clutter):
        # A fragment lies anywhere and any way up; the larger ink wins, as where strokes cross.
        other = _place(ink[rng.choice(pool, n)], how, how.canvas / 4, 180.0, rng)
        field = np.maximum(field, other * _windows(n, how, rng))
    background = _uniform(rng, *how.background, n)[:, None, None]
    contrast = _uniform(rng, *how.contrast, n)[:, None, None]
    grey = background + (1 - background) * contrast * field
    images = np.clip(np.rint(255 * grey), 0, 255).astype(np.uint8)
    return images, labels[digit], digit.astype(np.int64)


def _rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def _uniform(rng: np.random.Generator, low: float, high: float, n: int) -> Float[np.ndarray, " n"]:
    return rng.uniform(low, high, n).astype(np.float32)


def _windows(
    n: int, how: Nuisance, rng: np.random.Generator
) -> Bool[np.ndarray, "n canvas canvas"]:
    """One square window per image, at a random place."""
    start = rng.integers(0, how.canvas - how.clutter_side + 1, (2, n, 1))
    pixel = np.arange(how.canvas)
    rows, columns = (pixel >= start) & (pixel < start + how.clutter_side)
    return np.asarray(rows[:, :, None] & columns[:, None, :])


def _place(
    ink: Float[np.ndarray, "n 8 8"],
    how: Nuisance,
    shift: float,
    rotation: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "n canvas canvas"]:
    """Each digit on a black canvas, moved, turned and scaled by bilinear interpolation."""
    n = len(ink)
    angle = np.deg2rad(_uniform(rng, -rotation, rotation, n))
    scale = _uniform(rng, *how.scale, n)
    shifts = _uniform(rng, -shift, shift, 2 * n).reshape(2, n, 1, 1)
    centred = np.arange(how.canvas, dtype=np.float32) - np.float32((how.canvas - 1) / 2)
    y = centred[:, None] - shifts[0]
    x = centred[None, :] - shifts[1]
    cos, sin = (np.cos(angle) / scale)[:, None, None], (np.sin(angle) / scale)[:, None, None]
    # One pixel of padding on every side: whatever falls outside the digit reads 0.
    middle, last = (_SIDE - 1) / 2 + 1, _SIDE + 1 - 1e-3
    source_y = np.clip(cos * y + sin * x + middle, 0, last)
    source_x = np.clip(cos * x - sin * y + middle, 0, last)
    top, left = source_y.astype(np.int64), source_x.astype(np.int64)
    down, right = source_y - top, source_x - left
    padded = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    image = np.arange(n)[:, None, None]
    upper = (1 - right) * padded[image, top, left] + right * padded[image, top, left + 1]
    lower = (1 - right) * padded[image, top + 1, left] + right * padded[image, top + 1, left + 1]
    return np.asarray((1 - down) * upper + down * lower, dtype=np.float32)
