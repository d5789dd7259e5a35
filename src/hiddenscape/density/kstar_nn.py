r"""Densities that use k* neighbours: k*NN, and k-peaks, which uses k* itself.

Sources: Glielmo et al. 2022, doi 10.1016/j.patter.2022.100589; k* of Rodriguez, d'Errico, Facco,
Laio 2018, doi 10.1021/acs.jctc.7b00916.
"""

from __future__ import annotations

import numpy as np

from hiddenscape.density.knn import log_ball_density
from hiddenscape.density.neighborhoods import answer, neighborhoods
from hiddenscape.density.result import KStar, LogDensity
from hiddenscape.neighbors.graph import NeighborGraph

__all__ = ["k_peaks", "kstar_density"]


def kstar_density(
    graph: NeighborGraph, *, dimension: float, k: KStar | None = None, force: bool = False
) -> LogDensity:
    r"""Log density of every row from the distance to its k*-th neighbour.

    .. math:: \log \rho_i = \log k^*_i - \log N - \log \omega_d - d \log r_{k^*}(i);

    standard error :math:`1 / \sqrt{k^*_i}`.

    Parameters
    ----------
    graph : NeighborGraph
        With at least 5 neighbours per row.
    dimension : float
        d, such as ``two_nn(graph).value``.
    k : KStar, optional
        By default ``k_star(graph, dimension=dimension)``.
    force : bool
        Accept a dimension below 1.

    Returns
    -------
    LogDensity
        With the notes of k* (``capped``, ``duplicates``, ...); NaN where k* is undefined.

    Raises
    ------
    InputError
        As :func:`hiddenscape.density.kstar.k_star`, and for a k* of other rows or another
        dimension.

    Notes
    -----
    The distance is chosen after looking for a change of density, so that the estimate bends towards
    it: at k* the k-th ball begins to feel the neighbouring density. ``pak_density`` corrects that.

    References
    ----------
    Glielmo et al. 2022, doi 10.1016/j.patter.2022.100589.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> points = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> density = kstar_density(find_neighbors(points, k=100), dimension=2)
    >>> inside = (np.abs(points - 0.5) < 0.3).all(axis=1)
    >>> bool(abs(np.median(density.values[inside])) < 0.1)  # log 1
    True
    """
    found = neighborhoods(graph, dimension, k, force=force)
    if found.graph is None:
        return answer(found, "kstar", found.last, found.last)
    return answer(found, "kstar", log_ball_density(found, np.log(found.k)), found.k**-0.5)


def k_peaks(
    graph: NeighborGraph, *, dimension: float, k: KStar | None = None, force: bool = False
) -> LogDensity:
    r"""k* in the place of a log density: points deep inside a smooth region stand high.

    Value :math:`k^*_i`; error :math:`\sqrt{\sum_j (k^*_j - k^*_i)^2 / k^*_i}` over the
    :math:`k^*_i - 1` nearest neighbours j.

    Parameters
    ----------
    graph, dimension, k, force
        As for :func:`kstar_density`.

    Returns
    -------
    LogDensity
        Method ``k_peaks``: the values are counts and no logarithms of densities. The spread is no
        error of a model (``stderr_kind`` is empty).

    Raises
    ------
    InputError
        As :func:`kstar_density`.

    References
    ----------
    Glielmo et al. 2022, doi 10.1016/j.patter.2022.100589 (its implementation).

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> points = np.random.default_rng(0).normal(size=(300, 2))
    >>> found = k_peaks(find_neighbors(points, k=100), dimension=2)
    >>> bool((found.values == found.k).all()), found.method
    (True, 'k_peaks')
    """
    found = neighborhoods(graph, dimension, k, force=force)
    if found.graph is None:
        return answer(found, "k_peaks", found.last, found.last, kind="")
    own = found.k.astype(np.float64)
    total = np.zeros(len(own))
    for j in range(int(found.k.max()) - 1):
        inside = j < found.k - 1
        gap = own[found.graph.indices[inside, j]] - own[inside]
        total[inside] += gap * gap
    return answer(found, "k_peaks", own, np.sqrt(total / own), kind="")
