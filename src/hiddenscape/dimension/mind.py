r"""MiND_ML: intrinsic dimension from the nearest and the (k+1)-th distance of every row.

Model: where the density is constant out to neighbour k + 1, :math:`\rho = r_1/r_{k+1}` has the
density :math:`k d \rho^{d-1} (1 - \rho^d)^{k-1}`: the likelihood of GRIDE at ranks (1, k + 1).

Source: Rozza, Lombardi, Ceruti, Casiraghi, Campadelli 2012, "Novel high intrinsic dimensionality
estimators", doi 10.1007/s10994-012-5294-7.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from hiddenscape.dimension.local import neighbor_lists, remarks_of, undefined_of
from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.spatial import block_labels, block_stderr
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.types import FloatVector, whole

__all__ = ["likeliest", "mind_dimension", "mind_influence"]


def mind_dimension(
    graph: NeighborGraph,
    k: int = 10,
    *,
    integer: bool = False,
    duplicates: str = "unique",
    stderr: str = "fisher",
    blocks: ArrayLike | None = None,
) -> Dimension:
    r"""Intrinsic dimension that makes the ratios :math:`\rho_i = r_1/r_{k+1}` most likely.

    The maximum of

    .. math:: N \log(k d) + (d-1) \sum_i \log \rho_i + (k-1) \sum_i \log(1 - \rho_i^d)

    With :math:`L_i = -\log \rho_i` its derivative :math:`N/d - \sum L_i + (k-1) \sum
    L_i/(e^{d L_i} - 1)` falls strictly in d, so the maximum is unique: bracketed by doubling, then
    Brent's method. There is no largest dimension to stop at.

    Parameters
    ----------
    graph : NeighborGraph
        With at least k + 1 neighbours per row.
    k : int
        At least 1; the ranks compared are 1 and k + 1, the scale is the mean of :math:`r_{k+1}`.
    integer : bool
        The most likely whole number, at least 1 (the literature's MLi; False is its MLk).
    duplicates : str
        ``unique`` (neighbours among distinct rows), ``drop_zero`` or ``error``.
    stderr : str
        ``fisher``: one over the root of the observed information; a lower bound, since
        neighbourhoods overlap (1.1 to 1.5 times too small on point clouds at k = 10).
        ``blocks``: delete-one jackknife over ``blocks``, lists fixed. Both are of the continuous
        maximum, also where ``integer`` is asked for.
    blocks : int array (n,), optional
        Block of every row, such as ``spatial_blocks(points)``; needed by ``stderr="blocks"``.

    Returns
    -------
    Dimension
        NaN with ``collapsed`` where fewer than 3 rows are distinct, with ``few_points`` where fewer
        than k + 2 are, with ``ties`` where all ratios are 1. Single ratios of 1 enter through the
        limit. 1/N too high on the model (N = number of rows), where :func:`gride` is not.

    Raises
    ------
    InputError
        For k below 1 or beyond the graph, an unknown option, or blocks that are missing or of
        another length.
    DuplicateRowsError
        For identical rows under ``duplicates="error"``.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> graph = find_neighbors(np.random.default_rng(0).uniform(size=(1000, 2)), k=11)
    >>> d = mind_dimension(graph, 10)
    >>> f"{d.value:.2f} +- {d.stderr:.2f}", mind_dimension(graph, 10, integer=True).value
    ('1.93 +- 0.03', 2.0)
    """
    k = whole("k", k)
    if k < 1:
        raise InputError(f"MiND_ML needs k >= 1, got {k}")
    if stderr not in ("fisher", "blocks"):
        raise InputError(f"stderr must be fisher or blocks, got {stderr!r}")
    labels = block_labels(stderr, blocks, graph.n_rows)
    parameters: dict[str, object] = {
        "k": k,
        "integer": integer,
        "duplicates": duplicates,
        "metric": graph.metric,
    }
    lists = neighbor_lists(graph, k + 1, duplicates, method="mind", parameters=parameters)
    if isinstance(lists, Dimension):
        return lists
    first, last = lists.distances[:, 0], lists.distances[:, -1]
    log = np.log1p((last - first) / first)
    if len(log) < 3 or not (log > 0).any():
        few = len(log) < 3
        why = f"few_points ({len(log)} ratios)" if few else f"ties (all {len(log)} ratios are 1)"
        return undefined_of(lists, "mind", why, parameters)
    root = likeliest(log, k)
    if labels is None:
        error = 1 / math.sqrt(_information(root, log, k))
    else:
        error = block_stderr(log, labels[lists.rows], lambda rest: likeliest(rest, k))
    value = _whole_maximum(root, log, k) if integer else root
    return Dimension(
        value=value,
        stderr=error,
        stderr_kind=stderr,
        interval=normal_interval(root, error),
        n_used=len(log),
        n_dropped=lists.n_dropped,
        scale=lists.radius,
        method="mind",
        n1=1,
        n2=k + 1,
        note=remarks_of(lists, value),
        parameters=parameters,
    )


def _inverse_growth(x: np.ndarray) -> np.ndarray:
    """x / (exp(x) - 1), 1 at 0 and 0 far out."""
    out = np.ones_like(x)
    with np.errstate(over="ignore"):
        np.divide(x, np.expm1(x), out=out, where=x > 0)
    return out


def likeliest(log: FloatVector, k: int) -> float:
    r"""The dimension that makes :math:`L_i = \log(r_{k+1}/r_1)` most likely; NaN if all are 0.

    Examples
    --------
    >>> round(likeliest(np.array([0.1, 0.2, 0.3]), 1), 9)
    5.0
    """
    n, total = len(log), float(log.sum())
    if total <= 0:
        return math.nan

    def slope(d: float) -> float:
        tail = (k - 1) * float(_inverse_growth(d * log).sum()) if k > 1 else 0.0
        return (n + tail) / (d * n) - total / n

    low = high = 1.0
    while slope(high) > 0:
        low, high = high, 2 * high
    while slope(low) < 0:
        low, high = low / 2, low
    return float(brentq(slope, low, high, xtol=1e-13 * low, rtol=1e-14))


def mind_influence(d: float, log: FloatVector, k: int) -> FloatVector:
    """What each row adds to the estimate d, times the number of rows; of mean 0."""
    score = (1 + (k - 1) * _inverse_growth(d * log)) / d - log
    return np.asarray(len(log) * score / _information(d, log, k))


def _information(d: float, log: FloatVector, k: int) -> float:
    y = d * log / 2
    h = np.ones_like(y)
    # Beyond 700 sinh overflows and the ratio is zero in float64 anyway.
    np.divide(y, np.sinh(np.minimum(y, 700.0)), out=h, where=y > 0)
    return float(len(y) + (k - 1) * np.sum(h * h)) / d**2


def _likelihood(d: float, log: FloatVector, k: int) -> float:
    inside = log[log > 0]  # a ratio of 1 has the same (infinite) share at every d but for log d
    tail = float(np.log(-np.expm1(-d * inside)).sum()) + (len(log) - len(inside)) * math.log(d)
    return len(log) * math.log(k * d) - (d - 1) * float(log.sum()) + (k - 1) * tail


def _whole_maximum(root: float, log: FloatVector, k: int) -> float:
    low = max(1.0, float(math.floor(root)))
    return max(low, low + 1, key=lambda d: _likelihood(d, log, k))
