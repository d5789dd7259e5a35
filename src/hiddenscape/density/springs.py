"""Linear equations of a graph: what each edge and each row says, solved for all rows at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array

from hiddenscape.kernels.laplacian import apply_springs, factor_springs, solve_factor

__all__ = ["Springs"]

_ROUNDS = 5000
# Rounds without progress after which rounding has the last word.
_PATIENCE = 30


@dataclass(frozen=True, slots=True, eq=False)
class Springs:
    r"""The matrix of :math:`\sum_e w_e (x_j - x_i)^2 + \sum_i t_i x_i^2`, edges e from i to j.

    Attributes
    ----------
    weights : scipy csr_array (n, n)
        Symmetric, without a diagonal.
    tied : float64 array (n,)
        Zero for rows that only edges hold.
    lower, diagonal : float64 arrays
        Its incomplete Cholesky factor.

    Notes
    -----
    Conjugate gradients with an incomplete factor, chosen by measurement: edges between rows that
    almost repeat weigh a million times the others, which a diagonal cannot balance (2700 rounds on
    20,000 planar points); a complete factor fills up where the points are not planar.
    """

    weights: csr_array
    tied: np.ndarray
    lower: np.ndarray
    diagonal: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, columns: np.ndarray, w: np.ndarray, tied: np.ndarray) -> Springs:
        """From edges; parallel ones add up."""
        n = len(tied)
        one_way = coo_array((w, (rows, columns)), shape=(n, n)).tocsr()
        both = csr_array(one_way + one_way.T)
        both.sort_indices()
        lower, diagonal = np.zeros(both.nnz), np.empty(n)
        factor_springs(both.indptr, both.indices, both.data, tied, lower, diagonal)
        return cls(both, tied, lower, diagonal)

    def times(self, x: np.ndarray) -> np.ndarray:
        """The matrix times the columns of x."""
        out = np.empty_like(x)
        w = self.weights
        apply_springs(w.indptr, w.indices, w.data, self.tied, x, out)
        return out

    def solve(self, b: np.ndarray, x: np.ndarray, enough: float) -> tuple[np.ndarray, float]:
        r"""Solutions for the columns of b, from a first guess x.

        Stops where the error e has :math:`e'Ae \le n\,\mathrm{enough}^2`, by the estimate of the
        incomplete factor: ``enough`` standard errors, where A is the inverse of a covariance.

        Returns
        -------
        x : float64 array (n, m)
        left : float
            The worst :math:`\sqrt{e'Ae / n}` that remains.
        """
        n = len(self.tied)
        x = x.copy()
        r = b - self.times(x)
        z = self._precondition(r)
        p = z.copy()
        size = np.einsum("ij,ij->j", r, z)
        best, idle = size.max(initial=0.0), 0
        for _ in range(_ROUNDS):
            open_ = size > n * enough**2
            if not open_.any() or idle > _PATIENCE:
                break
            q = self.times(p)
            curved = np.einsum("ij,ij->j", p, q)
            step = np.where(open_ & (curved > 0), size / np.where(curved > 0, curved, 1.0), 0.0)
            x += step * p
            r -= step * q
            z = self._precondition(r)
            new = np.einsum("ij,ij->j", r, z)
            p = z + np.where(size > 0, new / np.where(size > 0, size, 1.0), 0.0) * p
            size = new
            idle = 0 if size.max() < best else idle + 1
            best = min(best, size.max())
        return x, float(np.sqrt(max(size.max(), 0.0) / n))

    def _precondition(self, r: np.ndarray) -> np.ndarray:
        z = r.copy()
        w = self.weights
        solve_factor(w.indptr, w.indices, self.lower, self.diagonal, z)
        return z
