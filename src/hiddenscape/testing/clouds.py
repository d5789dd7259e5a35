"""Clouds of points chosen to break a search: ties, offsets, copies, extremes, odd shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["CLOUDS", "hostile_cloud", "mixed_cloud"]

_Draw = np.random.Generator


def hostile_cloud(name: str, *, seed: int = 0) -> np.ndarray:
    """One of :data:`CLOUDS`, read-only.

    Examples
    --------
    >>> hostile_cloud("one column").shape
    (110, 1)
    """
    x = np.asarray(CLOUDS[name](np.random.default_rng([41, seed])))
    x.flags.writeable = False
    return x


def mixed_cloud(seed: int) -> np.ndarray:
    """A cloud of random shape, scale and type, with offsets, copies, near copies and grids mixed.

    Examples
    --------
    >>> mixed_cloud(3).ndim
    2
    """
    r = np.random.default_rng([42, seed])
    n, d = int(r.integers(4, 90)), int(r.choice([1, 2, 3, 7, 8, 9, 17, 64, 129, 300]))
    x = r.normal(size=(n, d))
    if r.random() < 0.3:
        step = float(r.choice([1.0, 0.1, 1 / 255, 0.25]))
        x = np.rint(x * r.integers(1, 4)) * step
    if r.random() < 0.3:
        x += float(r.choice([300.0, 1e4, -1e6]))
    if r.random() < 0.3:
        x[:, r.integers(d)] *= 10.0 ** r.integers(-8, 9)
    if r.random() < 0.3:
        x *= 10.0 ** r.integers(-6, 7, size=(n, 1))
    if r.random() < 0.4:
        from_row = r.integers(n, size=n // 2)
        x[n - n // 2 :] = x[from_row]
        if r.random() < 0.5:
            x[n - n // 2 :] += 1e-6 * np.abs(x).mean() * r.normal(size=(n // 2, d))
    if r.random() < 0.2:
        x = np.ldexp(x, int(r.choice([-1060, -500, 400, 900])))
    kind = str(r.choice(["f8", "f4", "f2", "bfloat16"], p=[0.4, 0.4, 0.1, 0.1]))
    if kind != "f8" and np.abs(x).max() < 6e4:
        x = _bfloat16(x) if kind == "bfloat16" else x.astype(kind)
    return x


def _bfloat16(x: np.ndarray) -> np.ndarray:
    """float32 numbers on the grid of bfloat16 (cut off)."""
    bits = x.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def _grid(side: int, d: int) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(side)] * d), -1).reshape(-1, d)


def _copies(r: _Draw) -> np.ndarray:
    """Single rows and 2-, 3- and 4-fold ones in any order."""
    x = r.normal(size=(48, 6))
    repeated = np.repeat(x, np.arange(48) % 4 + 1, axis=0)
    return repeated[r.permutation(len(repeated))]


def _near_copies(r: _Draw) -> np.ndarray:
    x = np.repeat(r.normal(size=(30, 20)), 4, axis=0)
    return x + 1e-6 * r.normal(size=x.shape)


def _column(x: np.ndarray, factor: float) -> np.ndarray:
    x[:, 0] *= factor
    return x


CLOUDS: dict[str, Callable[[_Draw], np.ndarray]] = {
    "normal": lambda r: r.normal(size=(120, 16)),
    "normal float32": lambda r: r.normal(size=(120, 33)).astype("f4"),
    "offset": lambda r: r.normal(size=(110, 24)) + 1e4,
    "offset float32": lambda r: (r.normal(size=(110, 24)) + 1e4).astype("f4"),
    "huge column": lambda r: _column(r.normal(size=(110, 24)), 1e6),
    "huge column float32": lambda r: _column(r.normal(size=(110, 24)), 1e9).astype("f4"),
    "near copies": _near_copies,
    "near copies float32": lambda r: _near_copies(r).astype("f4"),
    "near copies far off": lambda r: _near_copies(r) + 1e4,
    "copies": _copies,
    "copies far off": lambda r: _copies(r) + 1e4,
    "grid": lambda r: _grid(5, 3)[r.permutation(125)],
    "grid of tenths": lambda r: 0.1 * _grid(5, 3)[r.permutation(125)],
    "grid of tenths float32": lambda r: (0.1 * _grid(5, 3)[r.permutation(125)]).astype("f4"),
    "halves": lambda r: r.integers(0, 4, size=(110, 3)) / 2,
    "image": lambda r: r.integers(0, 256, size=(90, 27)).astype("u1"),
    "image over 255": lambda r: (r.integers(0, 3, size=(110, 5)) / 255).astype("f4"),
    "binary": lambda r: r.integers(0, 2, size=(110, 7)).astype(bool),
    "one-hot": lambda r: np.eye(20)[r.integers(20, size=100)],
    "one-hot of tenths": lambda r: 0.1 * np.eye(60),
    "large whole": lambda r: r.integers(-(2**40), 2**40, size=(90, 3)),
    "subnormal": lambda r: r.normal(size=(90, 5)) * 1e-310,
    "subnormal float32": lambda r: (r.normal(size=(90, 5)) * 1e-41).astype("f4"),
    "tiny": lambda r: r.normal(size=(90, 5)) * 1e-200,
    "huge": lambda r: r.normal(size=(90, 5)) * 1e300,
    "huge float32": lambda r: (r.normal(size=(90, 5)) * 1e37).astype("f4"),
    "tiny and huge": lambda r: (
        r.normal(size=(90, 4)) * np.where(np.arange(90) % 2, 1e-200, 1e200)[:, None]
    ),
    "scale of a row": lambda r: r.normal(size=(110, 9)) * 10.0 ** r.integers(-9, 9, size=(110, 1)),
    "scale of a column": lambda r: r.normal(size=(110, 9)) * 10.0 ** np.arange(-9, 9, 2),
    "outliers": lambda r: np.vstack([r.normal(size=(100, 8)), 1e7 * r.normal(size=(3, 8))]),
    "tight clusters": lambda r: np.arange(4).repeat(28)[:, None] + 1e-5 * r.normal(size=(112, 12)),
    "beyond float32": lambda r: 1 + 1e-12 * r.normal(size=(100, 6)),
    "one constant column": lambda r: np.hstack([r.normal(size=(100, 5)), np.full((100, 1), 1e8)]),
    "constant columns": lambda r: np.full((100, 6), 0.1) + np.eye(6)[5] * r.normal(size=(100, 1)),
    "all alike": lambda r: np.full((40, 5), 0.3),
    "half alike": lambda r: np.vstack([np.tile(r.normal(size=6), (50, 1)), r.normal(size=(50, 6))]),
    "mirrored": lambda r: (lambda x: np.vstack([x, -x]))(r.normal(size=(50, 10))),
    "signed zeros": lambda r: np.where(r.random((60, 3)) < 0.5, -0.0, 0.0) + np.eye(60, 3),
    "float16": lambda r: r.normal(size=(110, 3)).astype("f2"),
    "bfloat16": lambda r: _bfloat16(r.normal(size=(110, 4))),
    "one column": lambda r: r.normal(size=(110, 1)),
    "squares on a line": lambda r: np.arange(100.0)[:, None] ** 2,
    "two rows": lambda r: r.normal(size=(2, 3)),
    "many columns": lambda r: r.normal(size=(24, 20_000)).astype("f4"),
    "many columns far off": lambda r: r.normal(size=(24, 20_000)).astype("f4") + 100,
}
"""By name: a function of a generator that draws the cloud."""
