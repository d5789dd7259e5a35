r"""kNN densities: k points in the ball that reaches to the k-th neighbour.

Source: Loftsgaarden, Quesenberry 1965, doi 10.1214/aoms/1177700079; errors and the bias term as in
Glielmo et al. 2022, doi 10.1016/j.patter.2022.100589.
"""

from __future__ import annotations

import numpy as np

from hiddenscape.density.neighborhoods import (
    Neighborhoods,
    answer,
    log_unit_ball,
    neighborhoods,
)
from hiddenscape.density.result import LogDensity
from hiddenscape.neighbors.graph import NeighborGraph

__all__ = ["knn_density", "log_ball", "log_ball_density"]


def knn_density(
    graph: NeighborGraph,
    *,
    dimension: float,
    k: int,
    unbiased: bool = False,
    bias: bool = False,
    force: bool = False,
) -> LogDensity:
    r"""Log density of every row from the distance to its k-th neighbour.

    .. math:: \log \rho_i = \log k - \log N - \log \omega_d - d \log r_k(i),

    with the log volume of the unit ball :math:`\log \omega_d` and N distinct rows; standard error
    :math:`1 / \sqrt{k}`.

    Parameters
    ----------
    graph : NeighborGraph
        With at least k neighbours per row.
    dimension : float
        d, such as ``two_nn(graph).value``.
    k : int
        Neighbours used by every row.
    unbiased : bool
        Count k - 1 instead of k: the mean of :math:`(k-1)/V` is the density where that is constant.
        Needs k >= 2.
    bias : bool
        Add the term of a density that varies: :math:`\sqrt{1/k + (k/N)^{2/d}}`.
    force : bool
        Accept a dimension below 1.

    Returns
    -------
    LogDensity
        In nats. Of identical rows the lowest is measured, among distinct rows (note
        ``duplicates``). NaN with the note ``collapsed`` where fewer than 3 rows are distinct,
        ``undefined`` where k is not below the number of distinct rows or the dimension is NaN.

    Raises
    ------
    InputError
        For k below 1 (2 if unbiased) or above what is stored, a dimension below 1 that is not
        forced or not a positive number, or a graph made elsewhere with zero distances.

    Notes
    -----
    Published code counts k for the points of a sample and k - 1 for queries whose own copy stands
    in the first column; here a row is never its own neighbour. Scaling the points by c subtracts
    exactly d log c. With one k for all rows an error in d rescales the landscape and moves no peak.

    References
    ----------
    Loftsgaarden, Quesenberry 1965, doi 10.1214/aoms/1177700079.

    Examples
    --------
    >>> from hiddenscape import find_neighbors
    >>> line = find_neighbors([[0.0], [1.0], [2.0], [4.0]], k=1)
    >>> knn_density(line, dimension=1, k=1).values.round(3)  # 1 / (4 * 2 * distance)
    array([-2.079, -2.079, -2.079, -2.773])
    """
    found = neighborhoods(graph, dimension, k, least=2 if unbiased else 1, force=force)
    found.parameters.update({"unbiased": unbiased, "bias": bias})
    count = found.k - 1 if unbiased else found.k
    if found.graph is None:
        return answer(found, "knn", found.last, found.last)
    variance = 1.0 / found.k
    if bias:
        variance = variance + (found.k / found.graph.n) ** (2.0 / found.dimension)
    return answer(found, "knn", log_ball_density(found, np.log(count)), np.sqrt(variance))


def log_ball_density(found: Neighborhoods, log_count: np.ndarray) -> np.ndarray:
    """``log_count`` points in the ball of the k-th neighbour, per point of the set, as log density.

    Only logarithms: a volume of dimension 1000 is no float64.
    """
    return log_ball(log_count, found.rows.n_distinct, found.dimension, found.last)


def log_ball(log_count: np.ndarray, n: int, dimension: float, radius: np.ndarray) -> np.ndarray:
    """Log density of so many of n points in balls of these radii."""
    ball = log_unit_ball(dimension)
    return np.asarray(log_count - np.log(n) - ball - dimension * np.log(radius))
