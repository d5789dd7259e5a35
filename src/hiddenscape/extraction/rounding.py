"""What storing fewer digits does to neighbours, measured on a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hiddenscape.errors import InputError

__all__ = ["check_range", "neighbor_agreement", "rounded", "widened"]

_SAMPLE = 512
_NEIGHBORS = 10


def rounded(key: str, points: np.ndarray, dtype: str, start: int) -> np.ndarray:
    """Float32 points as they are stored; bfloat16 as 16-bit words.

    Raises
    ------
    InputError
        If a finite value does not fit into the dtype; names site and row.
    """
    if dtype == "float32":
        return points
    if dtype == "bfloat16":
        words = torch.from_numpy(points).to(torch.bfloat16).view(torch.int16).numpy()
        return words.view(np.uint16)
    for at, row in enumerate(points):
        check_range(key, row, dtype, start + at)
    return points.astype(dtype)


def check_range(key: str, values: np.ndarray, dtype: Any, row: int) -> None:
    """Refuse finite values of a row that do not fit into float16.

    Raises
    ------
    InputError
        Naming site and row.
    """
    if np.dtype(dtype) != np.float16:
        return
    limit = float(np.finfo(np.float16).max)
    over = np.isfinite(values) & (np.abs(values) > limit)
    if over.any():
        raise InputError(
            f"site {key!r}, row {row}: value {np.abs(values[over]).max():.4g} does not fit into "
            f"float16 (largest {limit:.4g}); use store_dtype 'float32' or 'bfloat16'"
        )


def widened(stored: np.ndarray) -> np.ndarray:
    """Stored values as float32; exact."""
    if stored.dtype == np.uint16:
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return stored.astype(np.float32)


def neighbor_agreement(points: np.ndarray, stored: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Share of the first neighbour, and of the first ten, that rounding leaves in place.

    Measured among at most 512 finite rows, drawn with ``seed``.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    >>> neighbor_agreement(x, x)["first"]
    1.0
    """
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    rows = np.sort(np.random.default_rng([seed, 41]).permutation(finite)[:_SAMPLE])
    k = min(_NEIGHBORS, len(rows) - 1)
    if k < 1:
        return {"rows": len(rows), "first": None, "ten": None}
    exact, coarse = (_nearest(x[rows], k) for x in (points, widened(stored)))
    shared = [len(np.intersect1d(a, b)) for a, b in zip(exact, coarse, strict=True)]
    return {
        "rows": len(rows),
        "first": float((exact[:, 0] == coarse[:, 0]).mean()),
        "ten": float(np.sum(shared) / (k * len(rows))),
    }


def _nearest(points: np.ndarray, k: int) -> np.ndarray:
    centred = points.astype(np.float64) - points.astype(np.float64).mean(axis=0)
    square = (centred**2).sum(axis=1)
    distance = square[:, None] + square[None, :] - 2 * centred @ centred.T
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, :k]
