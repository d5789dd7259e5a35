"""Compiled loops for the equations of a graph: every edge a spring, every row perhaps tied down.

The matrix has ``tied[i] + sum_j weight[i, j]`` on its diagonal and ``-weight[i, j]`` beside it. It
is applied to differences of neighbouring rows, so that a common offset costs no digits, however
unequal the weights are.
"""

from __future__ import annotations

import math

import numpy as np

from hiddenscape.kernels.compiled import jit

__all__ = ["apply_springs", "factor_springs", "solve_factor"]

_LEAST = 1e-10


@jit
def apply_springs(
    starts: np.ndarray,
    columns: np.ndarray,
    weights: np.ndarray,
    tied: np.ndarray,
    x: np.ndarray,
    out: np.ndarray,
) -> None:
    """The matrix times each column of x.

    Parameters
    ----------
    starts, columns, weights : int, int and float64 arrays
        Symmetric, in rows (CSR), columns ascending, no diagonal.
    tied : float64 array (n,)
    x, out : float64 arrays (n, m)
    """
    n, m = x.shape
    for i in range(n):
        for c in range(m):
            out[i, c] = tied[i] * x[i, c]
        for e in range(starts[i], starts[i + 1]):
            j, w = columns[e], weights[e]
            for c in range(m):
                out[i, c] += w * (x[i, c] - x[j, c])


@jit
def factor_springs(
    starts: np.ndarray,
    columns: np.ndarray,
    weights: np.ndarray,
    tied: np.ndarray,
    lower: np.ndarray,
    diagonal: np.ndarray,
) -> None:
    """Incomplete Cholesky factor without fill, row by row (Meijerink, van der Vorst 1977).

    It exists because nothing beside the diagonal is positive. Where the matrix is singular (a part
    that is not tied down) its last pivot is replaced by a small one.

    Parameters
    ----------
    starts, columns, weights, tied
        As for :func:`apply_springs`.
    lower : float64 array (edges,)
        Filled where the column is below the row number.
    diagonal : float64 array (n,)
        Filled.
    """
    n = len(tied)
    own = np.zeros(n)
    for i in range(n):
        total = tied[i]
        for e in range(starts[i], starts[i + 1]):
            total += weights[e]
            if columns[e] < i:
                own[columns[e]] = -weights[e]
        pivot = total
        for e in range(starts[i], starts[i + 1]):
            k = columns[e]
            if k >= i:
                break
            value = own[k]
            for f in range(starts[k], starts[k + 1]):
                if columns[f] >= k:
                    break
                value -= lower[f] * own[columns[f]]
            value /= diagonal[k]
            own[k] = value
            lower[e] = value
            pivot -= value * value
        diagonal[i] = math.sqrt(max(pivot, _LEAST * total))
        for e in range(starts[i], starts[i + 1]):
            own[columns[e]] = 0.0


@jit
def solve_factor(
    starts: np.ndarray,
    columns: np.ndarray,
    lower: np.ndarray,
    diagonal: np.ndarray,
    x: np.ndarray,
) -> None:
    """Replace each column of x by the solution of (factor times its transpose) y = x."""
    n, m = x.shape
    for i in range(n):
        for e in range(starts[i], starts[i + 1]):
            k = columns[e]
            if k >= i:
                break
            w = lower[e]
            for c in range(m):
                x[i, c] -= w * x[k, c]
        for c in range(m):
            x[i, c] /= diagonal[i]
    for i in range(n - 1, -1, -1):
        for c in range(m):
            x[i, c] /= diagonal[i]
        for e in range(starts[i], starts[i + 1]):
            k = columns[e]
            if k >= i:
                break
            w = lower[e]
            for c in range(m):
                x[k, c] -= w * x[i, c]
