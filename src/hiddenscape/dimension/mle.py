r"""Maximum likelihood dimension of Levina and Bickel, averaged as MacKay and Ghahramani say.

Model: where the density is constant out to the k-th neighbour, the k - 1 values
:math:`\log(r_k/r_j)` of a row are independent exponentials of rate d.

Sources: Levina, Bickel 2004, NeurIPS 17, "Maximum likelihood estimation of intrinsic dimension";
the average of 1/d in MacKay, Ghahramani 2005 (a note on the paper); noise in Haro, Randall, Sapiro
2008, "Translated Poisson mixture model for stratification learning", IJCV 80, 358-374.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline
from scipy.special import ndtr

from hiddenscape.dimension.local import (
    Average,
    Stderr,
    estimate_of,
    neighbor_lists,
    remarks_of,
    undefined_of,
)
from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.types import FloatVector, whole

__all__ = ["mle_dimension", "mle_global"]

# Beyond this many standard deviations from 0 the series of the mean logarithm is exact to 1e-12.
_FAR = 40.0
_GRID_STEP = 0.01
_NODES = 400
_REACH = 9.0


def mle_dimension(
    graph: NeighborGraph,
    k: int = 20,
    *,
    average: Average = "harmonic",
    unbiased: bool = False,
    noise: float = 0.0,
    duplicates: str = "unique",
    stderr: Stderr = "bootstrap",
    blocks: ArrayLike | None = None,
    per_point: bool = False,
) -> Dimension:
    r"""Intrinsic dimension from all distances up to the k-th neighbour.

    Each row gives :math:`d_i = (k-1) / \sum_{j<k} \log(r_k/r_j)`; the answer is their average.

    Parameters
    ----------
    graph : NeighborGraph
        With at least k neighbours per row.
    k : int
        Neighbours per row, at least 2 (3 if ``unbiased``). Ranks (1, k) stand in the result, the
        scale is the mean of :math:`r_k`.
    average : str
        ``harmonic`` (default): the mean of 1/d, which is the maximum likelihood of all rows
        together. ``arithmetic`` is the mean of Levina and Bickel, (k-1)/(k-2) too high on the model
        unless ``unbiased``; ``median`` is robust against single rows.
    unbiased : bool
        k - 2 in place of k - 1: right for one row and the arithmetic mean, (k-2)/(k-1) too low
        under the harmonic mean.
    noise : float
        Standard deviation s of Gaussian noise on the distances, in their unit; 0 for none.
        :math:`\log(r_k/r_j)` becomes :math:`\int f(x; r_j, s) \log(r_k/x) dx / \int f dx` over
        x > 0, f the normal density, to about 1e-10.
    duplicates : str
        ``unique`` (neighbours among distinct rows), ``drop_zero`` or ``error``.
    stderr : str
        ``bootstrap``: spread of the rows' values, lists fixed. Rows share neighbours, so on point
        clouds it is 1.2 to 1.8 times too small at k = 20 (d = 4 to 1). ``blocks``: delete-one
        jackknife over ``blocks``.
    blocks : int array (n,), optional
        Block of every row, such as ``spatial_blocks(points)``; needed by ``stderr="blocks"``.
    per_point : bool
        Keep :math:`d_i` of every row in ``per_point`` (NaN for rows left out, and for rows whose
        distances are all equal).

    Returns
    -------
    Dimension
        NaN with ``collapsed`` where fewer than 3 rows are distinct, with ``few_points`` where fewer
        than k + 1 are; ``ties`` counts equal neighbouring distances. A row whose k distances are
        all equal counts as 1/d = 0 in the harmonic mean and is left out of the others.

    Raises
    ------
    InputError
        For k below 2 or beyond the graph, a negative noise, an unknown option, or blocks that are
        missing or of another length.
    DuplicateRowsError
        For identical rows under ``duplicates="error"``.

    Notes
    -----
    O(n k). k = 2 and the harmonic mean give N/S of TwoNN. Too low in high dimension, more so than
    TwoNN: the neighbourhoods reach the boundary (42 for Gaussians of dimension 100, 2000 rows).

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> points = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> d = mle_dimension(find_neighbors(points, k=20), 20)
    >>> f"{d.value:.2f} at scale {d.scale:.2f}"
    '1.93 at scale 0.08'
    """
    k = whole("k", k)
    if not (noise >= 0 and math.isfinite(noise)):
        raise InputError(f"noise must be a standard deviation >= 0, got {noise}")
    parameters: dict[str, object] = {
        "k": k,
        "average": average,
        "unbiased": unbiased,
        "noise": float(noise),
        "duplicates": duplicates,
        "metric": graph.metric,
    }
    lists = neighbor_lists(
        graph,
        k,
        duplicates,
        method="mle",
        parameters=parameters,
        smallest_k=3 if unbiased else 2,
    )
    if isinstance(lists, Dimension):
        return lists
    total = _logs(lists.distances, float(noise))
    values = np.full(len(total), np.inf)
    np.divide(k - 2 if unbiased else k - 1, total, out=values, where=total != 0)
    # Noise may outweigh the logarithms of a row: no dimension follows from it.
    values[total < 0] = np.nan
    return estimate_of(
        lists,
        values,
        method="mle",
        average=average,
        stderr=stderr,
        blocks=blocks,
        parameters=parameters,
        per_point=per_point,
    )


def mle_global(
    graph: NeighborGraph, k: int = 20, *, neighbors: int | None = None, duplicates: str = "unique"
) -> Dimension:
    r"""The smallest distances of the whole cloud as if they were those of one row.

    With :math:`R_1 < ... < R_k` the k smallest distinct values among the first ``neighbors``
    distances of all rows: :math:`d = (k-1) / \sum_{j<k} \log(R_k/R_j)`.

    Parameters
    ----------
    graph : NeighborGraph
    k : int
        Distances used, at least 3.
    neighbors : int, optional
        Distances per row that are pooled; all that the graph stores by default.
    duplicates : str
        ``unique``, ``drop_zero`` or ``error``.

    Returns
    -------
    Dimension
        ``scale`` is :math:`R_k`; ``n_used`` counts rows, the information is that of k distances:
        stderr :math:`d/\sqrt{k-1}` (``fisher``). NaN ``ties`` where fewer than k distances differ.

    Raises
    ------
    InputError
        For k below 3, or a graph with fewer neighbours than asked for.
    DuplicateRowsError
        For identical rows under ``duplicates="error"``.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> points = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> d = mle_global(find_neighbors(points, k=10), 100)
    >>> f"{d.value:.1f} +- {d.stderr:.1f}"
    '2.1 +- 0.2'
    """
    k = whole("k", k)
    if k < 3:
        raise InputError(f"the global likelihood needs at least 3 distances, got k = {k}")
    per_row = graph.k if neighbors is None else whole("neighbors", neighbors)
    if neighbors is None and graph.distinct is not None and duplicates == "unique":
        per_row = min(per_row, graph.distinct.k)
    parameters: dict[str, object] = {
        "k": k,
        "neighbors": per_row,
        "duplicates": duplicates,
        "metric": graph.metric,
    }
    lists = neighbor_lists(
        graph, per_row, duplicates, method="mle_global", parameters=parameters, smallest_k=1
    )
    if isinstance(lists, Dimension):
        return lists
    positive = lists.distances[lists.distances > 0]
    smallest = np.unique(positive)[:k]
    if len(smallest) < k:
        why = f"ties ({len(smallest)} distances differ, k = {k})"
        return undefined_of(lists, "mle_global", why, parameters)
    value = (k - 1) / float(np.sum(np.log(smallest[-1] / smallest[:-1])))
    error = value / math.sqrt(k - 1)
    return Dimension(
        value=value,
        stderr=error,
        stderr_kind="fisher",
        interval=normal_interval(value, error),
        n_used=len(lists.rows),
        n_dropped=lists.n_dropped,
        scale=float(smallest[-1]),
        method="mle_global",
        n1=1,
        n2=per_row,
        note=remarks_of(lists, value),
        parameters=parameters,
    )


def _logs(distances: np.ndarray, noise: float) -> FloatVector:
    """Sum over j < k of log(r_k / r_j), or its mean under noise."""
    last, others = distances[:, -1:], distances[:, :-1]
    if noise == 0:
        # The difference is exact for close neighbours, where the quotient would lose digits.
        return np.asarray(np.log1p((last - others) / others).sum(axis=1))
    return np.asarray((np.log(last / noise) - _mean_log(others / noise)).sum(axis=1))


def _mean_log(a: np.ndarray) -> np.ndarray:
    """Mean of log x for x normal with mean a and deviation 1, given that x > 0."""
    far = a > _FAR
    inverse = 1 / np.where(far, a, _FAR) ** 2
    series = np.log(np.maximum(a, _FAR)) - inverse * (0.5 + inverse * (0.75 + 2.5 * inverse))
    return np.asarray(np.where(far, series, _near()(np.minimum(a, _FAR))))


@cache
def _near() -> CubicSpline:
    a = np.arange(0.0, _FAR + 1.5 * _GRID_STEP, _GRID_STEP)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    u, w = (nodes + 1) / 2, weights / 2
    low = np.maximum(0.0, a - _REACH)[:, None]
    width = a[:, None] + _REACH - low
    # The cube takes the edge off the logarithm at x = 0.
    x = low + width * u**3
    density = np.exp(-0.5 * (x - a[:, None]) ** 2) / math.sqrt(2 * math.pi)
    mean = ((density * np.log(x)) @ (w * 3 * u**2)) * width[:, 0] / ndtr(a)
    return CubicSpline(a, mean)
