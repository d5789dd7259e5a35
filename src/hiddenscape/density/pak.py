r"""PAk: a density with a linear tilt inside the neighbourhood of k* points.

Source: Rodriguez, d'Errico, Facco, Laio 2018, doi 10.1021/acs.jctc.7b00916.
"""

from __future__ import annotations

import numpy as np

from hiddenscape.density.knn import log_ball_density
from hiddenscape.density.neighborhoods import answer, neighborhoods
from hiddenscape.density.result import KStar, LogDensity
from hiddenscape.kernels.local_density import shell_fit
from hiddenscape.neighbors.graph import NeighborGraph

__all__ = ["pak_density", "tilted_counts"]


def pak_density(
    graph: NeighborGraph,
    *,
    dimension: float,
    k: KStar | int | None = None,
    force: bool = False,
) -> LogDensity:
    r"""Log density of every row, corrected for its change within the neighbourhood.

    With the volumes :math:`v_l = \omega_d (r_l^d - r_{l-1}^d)` between the neighbours l - 1 and l,
    l = 1 to k, the likelihood of a log density F + a l in shell l is largest where

    .. math:: k F + a k (k+1) / 2 - \sum_l v_l e^{F + a l}

    is; :math:`\log \rho_i = F - \log N`, standard error :math:`\sqrt{(4k+2) / (k(k-1))}`.

    Parameters
    ----------
    graph : NeighborGraph
        With at least 5 neighbours per row (2 for a fixed k).
    dimension : float
        d, such as ``two_nn(graph).value``.
    k : KStar or int, optional
        By default ``k_star(graph, dimension=dimension)``; a number of at least 2 uses as many for
        every row.
    force : bool
        Accept a dimension below 1.

    Returns
    -------
    LogDensity
        With the notes of k*. Where ties leave the outer half of the shells without volume there is
        no maximum: such rows fall back to kNN with its error, and are counted in the note ``ties``.
        NaN where k* is undefined.

    Raises
    ------
    InputError
        As :func:`hiddenscape.density.kstar.k_star`; for a k* of other rows or another dimension, or
        a fixed k below 2 or above what is stored.

    Notes
    -----
    Volumes are divided by that of the k-th neighbour and kept as logarithms; F profiles out, and
    the one unknown a is the root of a monotone function, found to rounding by a safeguarded Newton
    step. Scaling the points by c subtracts exactly d log c, at any dimension. Other implementations
    clip volumes, and stop at a gradient that depends on the unit. The error is that of F given a
    tilt: twice that of kNN. O(n k*) time.

    References
    ----------
    Rodriguez, d'Errico, Facco, Laio 2018, doi 10.1021/acs.jctc.7b00916.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> points = np.random.default_rng(0).normal(size=(1000, 2))
    >>> density = pak_density(find_neighbors(points, k=100), dimension=2)
    >>> truth = -np.log(2 * np.pi) - (points**2).sum(axis=1) / 2
    >>> bool(np.mean(np.abs(density.values - truth)) < 0.25)
    True
    """
    found = neighborhoods(graph, dimension, k, least=2, force=force)
    if found.graph is None:
        return answer(found, "pak", found.last, found.last)
    log_count, stderr, note = tilted_counts(found.graph.distances, found.k, found.dimension)
    return answer(found, "pak", log_ball_density(found, log_count), stderr, note=note)


def tilted_counts(
    distances: np.ndarray, k: np.ndarray, dimension: float
) -> tuple[np.ndarray, np.ndarray, str]:
    """Log of how many points the ball would hold at the density of its middle, errors, a note.

    Parameters
    ----------
    distances : float64 array (n, K)
        Positive, ascending.
    k : int64 array (n,)
        Shells used in each row.
    dimension : float
    """
    fit = np.empty((len(k), 2))
    without = shell_fit(distances, k, dimension, fit)
    flat = np.isnan(fit[:, 0])
    size = k.astype(np.float64)
    log_count = np.where(flat, np.log(size), fit[:, 0])
    stderr = np.where(flat, size**-0.5, np.sqrt((4 * size + 2) / (size * (size - 1))))
    said = f"ties ({without} of {len(k)} rows by kNN: no volume in their outer shells)"
    return log_count, stderr, said if without else ""
