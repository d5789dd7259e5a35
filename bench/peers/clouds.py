"""Points to measure on, and how far a contender's lists are from the truth."""

from __future__ import annotations

from typing import Any

import numpy as np

from hiddenscape.kernels.arrays import cloud, pair_distances

KINDS = ("sheet", "gaussian", "offset")


def points(kind: str, n: int, d: int, seed: int = 0) -> np.ndarray:
    """float32 points: a curved 12-dimensional sheet with noise, a Gaussian, or that far off zero.

    The sheet has the neighbourhoods of real representations; every direction of the Gaussian is
    full, so that its distances concentrate and every bound is put to the test.
    """
    rng = np.random.default_rng([seed, n, d])
    if kind == "sheet":
        # One set of latent points for all seeds: sites of one network know of each other.
        latent = np.random.default_rng(n).normal(size=(n, 12)).astype(np.float32)
        a, b = rng.normal(size=(2, 12, d)).astype(np.float32)
        x = np.tanh(latent @ a / 4) + np.sin(latent @ b / 6 + seed)
        x += 0.01 * rng.standard_normal((n, d), dtype=np.float32)
        return np.ascontiguousarray(x, dtype=np.float32)
    x = rng.standard_normal((n, d), dtype=np.float32)
    return x + np.float32(300) if kind == "offset" else x


def landscape(kind: str, n: int, data: Any = None) -> tuple[np.ndarray, float]:
    """float64 points with peaks and their dimension: ``planar`` or a ``sheet`` of 64 columns.

    ``planar`` is Fig1.dat of DADApy's examples where its folder is given, else clumps like it.
    """
    if kind == "sheet":
        return points("sheet", n, 64).astype(np.float64), 12.0
    if data is not None:
        return np.loadtxt(data / "Fig1.dat")[:n], 2.0
    rng = np.random.default_rng([8, n])
    middles = rng.uniform(size=(9, 2)) * 10
    clump = rng.integers(0, 12, size=n)
    background = rng.uniform(size=(n, 2)) * 10
    spread = middles[clump % 9] + rng.normal(size=(n, 2)) * (0.2 + 0.08 * (clump % 9))[:, None]
    return np.where((clump < 9)[:, None], spread, background), 2.0


def agreement(
    x: np.ndarray, k: int, truth: np.ndarray, indices: np.ndarray, distances: np.ndarray
) -> dict[str, float]:
    """Share of true neighbours found, wrong rows, and the worst relative error of a distance.

    A listed row counts where its exact distance is at most the true k-th: ties are no error.
    """
    data = cloud(x)
    q = len(indices)
    rows = np.repeat(np.arange(q), k)
    exact = pair_distances(data, rows, np.asarray(indices, np.int64).ravel()).reshape(q, k)
    right = exact <= truth[:q, k - 1 : k]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(distances - exact) / exact
    worst = np.where(exact > 0, error, np.abs(distances) > 0)
    return {
        "recall": float(right.mean()),
        "wrong_rows": float((~right.all(axis=1)).mean()),
        "max_relative_error": float(np.nanmax(worst)),
    }


def verified(x: np.ndarray, indices: np.ndarray, distances: np.ndarray, rows: int = 64) -> int:
    """Rows of a graph that were compared, bit for bit, with all n - 1 float64 distances."""
    data, k = cloud(x), indices.shape[1]
    chosen = np.random.default_rng(7).permutation(len(x))[:rows]
    for i in chosen:
        others = np.delete(np.arange(len(x)), i)
        d = pair_distances(data, np.full(len(others), i), others)
        order = np.lexsort((others, d))[:k]
        if not (
            np.array_equal(others[order], indices[i]) and np.array_equal(d[order], distances[i])
        ):
            raise AssertionError(f"row {i} differs from the distances to all other rows")
    return len(chosen)


def summary(seconds: list[float]) -> dict[str, Any]:
    """All times, their median and their spread."""
    return {
        "seconds": [round(s, 5) for s in seconds],
        "median": round(float(np.median(seconds)), 5),
        "spread": round(float(max(seconds) / min(seconds) - 1), 3),
    }
