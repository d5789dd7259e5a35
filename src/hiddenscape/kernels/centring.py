"""Compiled: rows less a centre, scaled; read once, written once."""

from __future__ import annotations

import numpy as np

from hiddenscape.kernels.compiled import jit

__all__ = ["farthest", "shift"]


@jit
def farthest(x: np.ndarray, centre: np.ndarray, start: int, stop: int) -> float:
    """The largest coordinate, in magnitude, of rows ``start`` to ``stop`` about the centre."""
    top = np.zeros(x.shape[1])
    for i in range(start, stop):
        for c in range(x.shape[1]):
            t = abs(np.float64(x[i, c]) - centre[c])
            top[c] = t if t > top[c] else top[c]
    return float(top.max())


@jit
def shift(x: np.ndarray, centre: np.ndarray, first: float, second: float, out: np.ndarray) -> None:
    """``(x - centre) * first * second`` in float64, rounded to the type of ``out``."""
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            out[i, c] = (np.float64(x[i, c]) - centre[c]) * first * second
