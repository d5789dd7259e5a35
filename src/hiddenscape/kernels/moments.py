"""Covariance or Gram matrix of rows, whichever is smaller, streamed in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hiddenscape.kernels.arrays import Cloud, blocks

__all__ = ["Moments", "moments"]

_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Second moments of n rows of d columns.

    Attributes
    ----------
    matrix : float64 array
        X'X / (n - 1) where d <= n, else X X' / (n - 1), the same nonzero spectrum; of rows
        multiplied by ``2**-exponent``.
    gram : bool
        Whether it is the n x n form.
    exponent : int
        See ``matrix``; keeps every square within float64.
    values, mean, weight : arrays
        What ``matrix`` was made of: (values - mean) * weight.
    """

    matrix: np.ndarray
    gram: bool
    exponent: int
    values: np.ndarray
    mean: np.ndarray
    weight: np.ndarray

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.values)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Scaled, centred rows times ``vectors`` (d, m)."""
        out = np.empty((self.n, vectors.shape[1]))
        for a, b in blocks(self.n, max(1, _BLOCK // self.values.shape[1])):
            out[a:b] = _form(self.values[a:b], self.mean, self.weight) @ vectors
        return out


def moments(points: Cloud, *, centered: bool = True, standardize: bool = False) -> Moments:
    """Second moments about the mean (or about zero), in float64, one block at a time.

    ``standardize`` divides every column by its standard deviation and drops constant columns.

    Examples
    --------
    >>> from hiddenscape.kernels.arrays import cloud
    >>> found = moments(cloud([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]))
    >>> (found.matrix * 4.0**found.exponent).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    x, n, d = points.values, points.n, points.d
    size = max(1, _BLOCK // d)
    mean = np.zeros(d)
    if centered or standardize:
        for a, b in blocks(n, size):
            mean += x[a:b].sum(axis=0, dtype=np.float64)
        mean /= n
    largest = max(float(np.abs(x[a:b] - mean).max()) for a, b in blocks(n, size))
    exponent = int(np.frexp(largest)[1]) if largest > 0 else 0
    weight = np.full(d, np.ldexp(1.0, -exponent))
    if standardize:
        weight = _standard(x, mean, weight, size)
        return _accumulate(x, mean, weight, 0, size)
    return _accumulate(x, mean, weight, exponent + points.exponent, size)


def _form(x: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.asarray((x - mean) * weight)


def _standard(x: np.ndarray, mean: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    """Weights that give every column variance 1, and constant columns 0."""
    square = np.zeros(x.shape[1])
    low, high = np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf)
    for a, b in blocks(len(x), size):
        c = _form(x[a:b], mean, weight)
        square += np.einsum("ij,ij->j", c, c)
        low, high = np.minimum(low, x[a:b].min(axis=0)), np.maximum(high, x[a:b].max(axis=0))
    moving = (high > low) & (square > 0)
    deviation = np.sqrt(np.where(moving, square, 1.0) / (len(x) - 1))
    return np.asarray(np.where(moving, weight / deviation, 0.0))


def _accumulate(
    x: np.ndarray, mean: np.ndarray, weight: np.ndarray, exponent: int, size: int
) -> Moments:
    n, d = x.shape
    gram = n < d
    matrix = np.zeros((n, n) if gram else (d, d))
    if gram:
        for a, b in blocks(d, max(1, _BLOCK // n)):
            c = _form(x[:, a:b], mean[a:b], weight[a:b])
            matrix += c @ c.T
    else:
        for a, b in blocks(n, size):
            c = _form(x[a:b], mean, weight)
            matrix += c.T @ c
    matrix /= n - 1
    return Moments(matrix, gram, exponent, x, mean, weight)
