r"""k*: the largest neighbourhood of a point in which the density can be taken as constant.

Source: Rodriguez, d'Errico, Facco, Laio 2018, doi 10.1021/acs.jctc.7b00916 (PAk, section on the
optimal k); the test as in Glielmo et al. 2022, doi 10.1016/j.patter.2022.100589.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from scipy.special import chdtrc, chdtri

from hiddenscape.density.result import KStar
from hiddenscape.density.rows import checked_dimension, distinct_rows
from hiddenscape.errors import InputError
from hiddenscape.kernels.local_density import critical_ratios, first_change
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes

__all__ = ["DEFAULT_ALPHA", "k_star", "likelihood_ratio"]

DEFAULT_ALPHA = 1e-6
_LEAST = 5

Bonferroni = Literal["none", "points", "tests", "both"]


def k_star(
    graph: NeighborGraph,
    *,
    dimension: float,
    alpha: float = DEFAULT_ALPHA,
    threshold: float | None = None,
    bonferroni: Bonferroni = "none",
    force: bool = False,
) -> KStar:
    r"""How many neighbours of each row have its density.

    For k = 3, 4, ..., K - 2 the row i is compared with its next neighbour
    :math:`j = nn_{k+1}(i)`. Equal densities against different ones give the likelihood ratio

    .. math:: D_k = 4 k \log\cosh(u / 2), \quad u = d \log (r_k(j) / r_k(i)),

    which is :math:`-2 k [\log V_i + \log V_j - 2 \log(V_i + V_j) + \log 4]` without volumes.
    :math:`k^*_i` is the first k with :math:`D_k` above the quantile 1 - alpha of chi-squared with
    one degree of freedom, else the cap K - 1.

    Parameters
    ----------
    graph : NeighborGraph
        K neighbours per row, at least 5.
    dimension : float
        d, such as ``two_nn(graph).value``.
    alpha : float
        Level of one test, in (0, 1); 1e-6 is a threshold of 23.928.
    threshold : float, optional
        The threshold itself, instead of ``alpha``.
    bonferroni : str
        ``points``: alpha / n. ``tests``: alpha / (k - 2) at k. ``both``: their product. Never
        lowers k*.
    force : bool
        Accept a dimension below 1.

    Returns
    -------
    KStar
        Of identical rows the lowest is compared, among distinct rows; the others carry its value
        (note ``duplicates``). The note ``capped`` counts the rows whose k* is the depth of the
        graph: search deeper where they are many. -1 with the note ``collapsed`` where fewer than 3
        rows are distinct, ``few_points`` where fewer than 6 are, ``undefined`` where the dimension
        is NaN.

    Raises
    ------
    InputError
        For fewer than 5 stored neighbours, a dimension below 1 that is not forced or not a positive
        number, alpha outside (0, 1), a negative threshold, or a graph made elsewhere with zero
        distances.

    Notes
    -----
    Compared are distances with the ratio at which :math:`D_k` equals the threshold, so that nothing
    overflows or loses digits at any dimension or unit: k* does not change when the points are
    scaled. Other implementations raise distances to the power d, which leaves float64 in high
    dimension, and then answer K - 1 for every point. O(n k*) time. The test looks at one neighbour
    at a time and stops at the first rejection: at alpha = 1e-6 it is slow to notice a gradient, and
    k* is an upper estimate where the density changes smoothly.

    References
    ----------
    Rodriguez, d'Errico, Facco, Laio 2018, doi 10.1021/acs.jctc.7b00916.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> points = np.random.default_rng(0).normal(size=(1000, 2))
    >>> found = k_star(find_neighbors(points, k=100), dimension=2)
    >>> int(np.median(found.k)), round(found.share_capped, 3)
    (96, 0.488)
    """
    d = checked_dimension(dimension, force)
    if not isinstance(bonferroni, str) or bonferroni not in get_args(Bonferroni):
        known = ", ".join(get_args(Bonferroni))
        raise InputError(f"bonferroni must be one of {known}, got {bonferroni!r}")
    if not 0 < alpha < 1:
        raise InputError(f"alpha must lie in (0, 1), got {alpha}")
    if threshold is not None and (not threshold >= 0 or bonferroni != "none"):
        raise InputError(
            f"threshold must be at least 0 and is not corrected, got threshold = {threshold}, "
            f"bonferroni = {bonferroni!r}"
        )
    if graph.k < _LEAST:
        raise InputError(
            f"k* needs at least {_LEAST} neighbours per row, the graph stores {graph.k}: "
            f"use find_neighbors(points, k=100)"
        )
    found = distinct_rows(graph)
    used = found.graph
    thresholds = _thresholds(graph.k, found.n_distinct, alpha, threshold, bonferroni)
    level = alpha if threshold is None else float(chdtrc(1, threshold))
    depth = min(graph.k, used.k) if used is not None else 0
    parameters: dict[str, object] = {
        "dimension": d,
        "alpha": level,
        "threshold": float(thresholds[3]),
        "bonferroni": bonferroni,
        "stored": depth,
        "metric": graph.metric,
        "duplicates": "unique",
    }
    why = ""
    if used is not None and used.k < _LEAST:
        why = f"undefined (k* needs {_LEAST + 1} distinct rows)"
    elif used is not None and math.isnan(d):
        why = "undefined (no dimension)"
    if used is None or why:
        k, capped, share = np.full(found.n_distinct, -1), np.zeros(found.n_distinct, bool), math.nan
    else:
        k = np.empty(used.n, dtype=np.int64)
        first_change(
            used.indices, used.distances, used.distances, critical_ratios(thresholds, d), k
        )
        capped = k < 0
        k[capped] = used.k - 1
        share = float(capped.mean())
        if capped.any():
            why = f"capped ({int(capped.sum())} of {used.n} rows at k = {used.k - 1})"
    return KStar(
        k=k[found.inverse],
        capped=capped[found.inverse],
        share_capped=share,
        dimension=d,
        alpha=level,
        threshold=float(thresholds[3]),
        n_used=found.n_distinct,
        n_dropped=found.n - found.n_distinct,
        note=join_notes(found.note, why),
        parameters=parameters,
    )


def likelihood_ratio(
    k: float | np.ndarray, r_i: float | np.ndarray, r_j: float | np.ndarray, dimension: float
) -> np.ndarray:
    r""":math:`D_k = 4 k \log\cosh(u / 2)`, :math:`u = d \log (r_j / r_i)`, for any dimension.

    :math:`\log\cosh y` is :math:`\log(1 + 2 \sinh^2(y/2))` below 1, and
    :math:`y + \log(1 + e^{-2y}) - \log 2` beyond: no rounding noise at equal radii, no overflow.

    Parameters
    ----------
    k : number or array
    r_i, r_j : number or array
        Positive distances to the k-th neighbour of the two rows.
    dimension : float

    Examples
    --------
    >>> same, other = likelihood_ratio(10, 1.0, np.array([1.0, 9.0]), 3000.0)
    >>> float(same), round(float(other), 3)
    (0.0, 131805.749)
    """
    y = np.abs(0.5 * dimension * (np.log(r_j) - np.log(r_i)))
    near = np.minimum(y, 1.0)
    small = np.log1p(2 * np.sinh(near / 2) ** 2)
    large = y + np.log1p(np.exp(-2 * y)) - math.log(2)
    return np.asarray(4 * np.asarray(k) * np.where(y < 1, small, large))


def _thresholds(
    stored: int, n: int, alpha: float, threshold: float | None, bonferroni: str
) -> np.ndarray:
    """Entry k: the threshold of the test at k."""
    size = np.arange(max(stored, 3) + 1)
    if threshold is not None:
        return np.full(len(size), float(threshold))
    level = np.full(len(size), alpha)
    if bonferroni in ("points", "both"):
        level /= n
    if bonferroni in ("tests", "both"):
        level /= np.maximum(size - 2, 1)
    return np.asarray(chdtri(1, level))
