r"""BMTI: the log density whose differences agree best with the gradients of all neighbourhoods.

Source: Carli, Rodriguez, Laio, Glielmo 2024, arXiv:2407.08094 (binless multidimensional
thermodynamic integration).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import connected_components

from hiddenscape.density.differences import edge_differences
from hiddenscape.density.displacements import Displacements, Variance, displacements
from hiddenscape.density.knn import log_ball_density
from hiddenscape.density.neighborhoods import answer
from hiddenscape.density.result import KStar, LogDensity
from hiddenscape.density.springs import Springs
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import checked_seed, whole

__all__ = ["bmti_density"]

Weights = Literal["uncorr", "identity"]

_EXACT_ROWS = 1500
_STRONG = 1e8
_BATCH = 16
_ENOUGH = 1e-11
_ENOUGH_FOR_PROBES = 1e-3
_STREAM = 2407_08094


def bmti_density(
    graph: NeighborGraph,
    points: ArrayLike,
    *,
    dimension: float,
    k: KStar | int | None = None,
    alpha: float = 1.0,
    weights: Weights = "uncorr",
    variance: Variance = "corrected",
    probes: int = 64,
    seed: int = 0,
    force: bool = False,
) -> LogDensity:
    r"""Log density of every row, integrated from the gradients along the edges of the graph.

    With the differences :math:`\delta F_{ij}` of
    :func:`hiddenscape.density.differences.density_differences` over the edges from each row to its
    k* - 1 nearest, the log densities F minimise

    .. math:: \alpha \sum_{ij} w_{ij} (F_j - F_i - \delta F_{ij})^2
        + (1 - \alpha) \sum_i k^*_i (F_i - \log\rho_i)^2,

    where :math:`\log\rho` is that of k*NN.

    Parameters
    ----------
    graph : NeighborGraph
        Euclidean or periodic, with at least 5 neighbours per row (3 for a fixed k).
    points : array (n, D)
        The points of the graph; float32 files mapped into memory are not copied.
    dimension : float
        d, such as ``two_nn(graph, ...).value``.
    k : KStar or int, optional
        By default ``k_star(graph, dimension=dimension)``; a number of at least 3 is the k* of every
        row.
    alpha : float
        Weight of the differences, 0 to 1. At 1 they fix F up to a constant for each connected part
        of the graph: the mean of each part is then that of k*NN. At 0 the answer is k*NN.
    weights : str
        ``uncorr``: :math:`w = 1 / (\mathrm{Var}\,\delta F_{ij} \sqrt{k^*_i k^*_j})`, where the root
        stands for how often edges repeat each other. ``identity``: 1.
    variance : str
        Errors of the gradients, ``corrected`` or ``published``, as in
        :func:`hiddenscape.density.gradients.density_gradients`.
    probes : int
        Random right-hand sides that estimate the errors where more than 1500 rows are distinct: a
        standard error is then known to 1 part in :math:`\sqrt{2\,\mathrm{probes}}`. 0 makes none
        (the errors are NaN).
    seed : int
        Keys the probes.
    force : bool
        Accept a dimension below 1.

    Returns
    -------
    LogDensity
        Errors are roots of the diagonal of the inverse of the matrix of the equations (for
        ``identity``, of the errors of differences carried through them). At alpha = 1 they are
        those of the shape: the constant of a part has an error of its own. Notes of k*;
        ``disconnected`` where the graph falls into parts; ``few_points`` counts rows with
        k* = 3. NaN where k* is undefined.

    Raises
    ------
    InputError
        For alpha outside 0..1, unknown options, a metric without displacements, points that are not
        those of the graph, and as :func:`hiddenscape.density.kstar.k_star`.
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    O(n k*^2 D) time and O(n k*) memory beside the points: nothing of the size D x D or n x n.
    Equations are solved by conjugate gradients with an incomplete Cholesky factor, to errors far
    below the standard errors. Scaling the points by c subtracts exactly d log c.

    Differences between parts of the graph rest on k*NN alone. The errors take edges for independent
    but for the root in w, and see no curvature: on Gaussians of 1400 rows true errors were 1.0
    times the stated ones in 5 dimensions, and 2.2 times (1.3 with ``identity``) in 2 dimensions,
    where k* is large. Values suffer less: both ways they lie nearer the truth than k*NN and PAk.

    References
    ----------
    Carli, Rodriguez, Laio, Glielmo 2024, arXiv:2407.08094.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> points = np.random.default_rng(0).normal(size=(1000, 2))
    >>> density = bmti_density(find_neighbors(points, k=100), points, dimension=2)
    >>> truth = -np.log(2 * np.pi) - (points**2).sum(axis=1) / 2
    >>> bool(np.abs(density.values - truth).mean() < 0.2)
    True
    """
    alpha = float(alpha)
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha must lie in 0..1, got {alpha}")
    if weights not in get_args(Weights):
        known = ", ".join(get_args(Weights))
        raise InputError(f"weights must be one of {known}, got {weights!r}")
    probes, seed = whole("probes", probes), checked_seed(seed)
    if probes < 0:
        raise InputError(f"probes must not be negative, got {probes}")
    use = displacements(graph, points, dimension, k, variance, force)
    found = use.found
    found.parameters.update({"weights": weights, "regularization": 1 - alpha})
    if found.graph is None:
        return answer(found, "bmti", found.last, found.last)
    system = _equations(use, alpha, weights)
    values, left = system.values()
    exact = found.graph.n <= _EXACT_ROWS
    found.parameters["errors"] = "inverse" if exact else f"{probes} probes, seed {seed}"
    stderr = system.exact_errors() if exact else system.probed_errors(probes, seed)
    said = f"disconnected ({system.parts} parts, each with the mean of k*NN)"
    note = join_notes(
        use.rank_one,
        said if system.parts > 1 and alpha == 1 else "",
        f"disconnected ({system.parts} parts)" if system.parts > 1 and 0 < alpha < 1 else "",
        f"approximate (equations solved to {left:.1g} standard errors)" if left > 1e-6 else "",
    )
    return answer(found, "bmti", values, stderr, note=note)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Equations:
    """The equations, what stands on their right, and how uncertain that is.

    ``strength`` and ``noise``: weight of each edge, and standard deviation of weight times
    difference; ``tied`` and ``tied_noise`` the same for rows. ``offset`` is the k*NN mean of the
    part a row belongs to, ``part`` its number where nothing ties the parts down.
    """

    springs: Springs
    rows: np.ndarray
    columns: np.ndarray
    differences: np.ndarray
    strength: np.ndarray
    noise: np.ndarray
    tied_noise: np.ndarray
    base: np.ndarray
    part: np.ndarray
    parts: int
    uncorrelated: bool

    @property
    def floating(self) -> bool:
        return not self.springs.tied.any()

    def values(self) -> tuple[np.ndarray, float]:
        """The log densities, and what was left of their errors when the solver stopped."""
        offset = _part_means(self.base, self.part)
        start = self.base - offset
        right = self._gather(self.strength * self.differences) + self.springs.tied * start
        found, left = self.springs.solve(right[:, None], start[:, None], _ENOUGH)
        return self._anchored(found)[:, 0] + offset, left

    def exact_errors(self) -> np.ndarray:
        """From the inverse of A, where ``uncorr`` makes the right-hand side of covariance A."""
        # Edges between near copies would cost the inverse its digits, and hold as well with less.
        strength = np.minimum(self.strength, _STRONG * np.median(self.strength))
        matrix = _dense(self.rows, self.columns, strength, self.springs.tied)
        if self.floating:
            # A spring to a common point for each part: invertible, and taken out of the inverse.
            same = (self.part[:, None] == self.part) / np.bincount(self.part)[self.part]
            scale = matrix.diagonal().mean()
            inverse = np.linalg.inv(matrix + scale * same) - same / scale
        else:
            inverse = np.linalg.inv(matrix)
        if self.uncorrelated:
            return np.asarray(np.sqrt(inverse.diagonal()))
        noise = _dense(self.rows, self.columns, self.noise**2, self.tied_noise**2)
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", inverse @ noise, inverse)))

    def probed_errors(self, probes: int, seed: int) -> np.ndarray:
        """Root mean square of solutions for random right-hand sides of covariance M."""
        n = len(self.base)
        total = np.zeros(n)
        if not probes:
            return np.full(n, np.nan)
        for first in range(0, probes, _BATCH):
            columns = []
            for number in range(first, min(first + _BATCH, probes)):
                rng = np.random.default_rng([seed, _STREAM, number])
                edges = self._gather(self.noise * rng.standard_normal(len(self.rows)))
                columns.append(edges + self.tied_noise * rng.standard_normal(n))
            right = np.stack(columns, axis=1)
            found, _ = self.springs.solve(right, np.zeros(right.shape), _ENOUGH_FOR_PROBES)
            total += (self._anchored(found) ** 2).sum(axis=1)
        return np.sqrt(total / probes)

    def _gather(self, force: np.ndarray) -> np.ndarray:
        """What edges pull at their ends: to the row they lead to, from the row they start at."""
        n = len(self.base)
        pulled = np.bincount(self.columns, force, n) - np.bincount(self.rows, force, n)
        return np.asarray(pulled)

    def _anchored(self, x: np.ndarray) -> np.ndarray:
        if not self.floating:
            return x
        return np.stack([c - _part_means(c, self.part) for c in x.T], axis=1)


def _equations(use: Displacements, alpha: float, weights: str) -> _Equations:
    found = use.found
    rows, columns, differences, variance, _ = edge_differences(use)
    repeats = np.sqrt(found.k[rows].astype(np.float64) * found.k[columns])
    sure = 1 / (variance * repeats)
    strength = alpha * (sure if weights == "uncorr" else np.ones(len(rows)))
    noise = np.sqrt(strength) if weights == "uncorr" else strength / np.sqrt(sure)
    tied = (1 - alpha) * found.k.astype(np.float64)
    springs = Springs.of(rows, columns, strength, tied)
    parts, part = connected_components(springs.weights, directed=False)
    return _Equations(
        springs=springs,
        rows=rows,
        columns=columns,
        differences=differences,
        strength=strength,
        noise=noise,
        tied_noise=np.sqrt(tied) if weights == "uncorr" else tied / np.sqrt(found.k),
        base=log_ball_density(found, np.log(found.k)),
        part=part,
        parts=int(parts),
        uncorrelated=weights == "uncorr",
    )


def _part_means(x: np.ndarray, part: np.ndarray) -> np.ndarray:
    """For every row the mean over its part."""
    return np.asarray((np.bincount(part, x) / np.bincount(part))[part])


def _dense(
    rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, tied: np.ndarray
) -> np.ndarray:
    n = len(tied)
    one_way = np.bincount(rows * n + columns, weights, n * n).reshape(n, n)
    both = one_way + one_way.T
    return np.asarray(np.diag(both.sum(axis=1) + tied) - both)
