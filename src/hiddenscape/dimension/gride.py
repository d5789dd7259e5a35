r"""GRIDE: intrinsic dimension from the ratio of the distances to two neighbours of any ranks.

Model: where the density is constant out to neighbour n2, :math:`\mu = r_{n2}/r_{n1}` has the
density :math:`d (\mu^d - 1)^{n2-n1-1} / (\mu^{d (n2-1) + 1} B(n2 - n1, n1))`; ranks (1, 2) are
TwoNN. Larger ranks look at larger scales without discarding rows.

Source: Denti, Doimo, Laio, Mira 2022, doi 10.1038/s41598-022-20991-1, arXiv:2104.13832.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from hiddenscape.dimension.ratios import (
    collapsed,
    distance_ratios,
    normal_interval,
    remarks,
    undefined,
)
from hiddenscape.dimension.result import Dimension, DimensionCurve
from hiddenscape.dimension.spatial import block_labels, block_stderr
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.types import whole

__all__ = ["gride", "gride_scan"]

Stderr = Literal["fisher", "blocks"]


def gride(
    graph: NeighborGraph,
    n1: int = 1,
    n2: int | None = None,
    *,
    duplicates: str = "unique",
    stderr: Stderr = "fisher",
    blocks: ArrayLike | None = None,
    mu_filter: bool = False,
    per_point: bool = False,
) -> Dimension:
    r"""Intrinsic dimension at the scale of neighbours ``n1`` and ``n2``.

    The root of the score, with :math:`x_i = d \log \mu_i`, :math:`\phi(x) = x/(1 - e^{-x})`,
    :math:`S = \sum \log \mu_i`:

    .. math:: \frac{N-1}{d} + \frac{n_2-n_1-1}{d} \sum_i \phi(x_i) - (n_2-1) S = 0

    N - 1 in place of N makes ranks (1, 2) the unbiased TwoNN ``mle``. The score decreases strictly
    in d, so the root is unique: bracketed by doubling, then Brent's method.

    Parameters
    ----------
    graph : NeighborGraph
        With at least n2 neighbours per row.
    n1, n2 : int
        Ranks, n1 < n2; n2 is 2 n1 by default.
    duplicates : str
        ``unique`` (neighbours among distinct rows), ``drop_zero``, ``eps`` or ``error``.
    stderr : str
        ``fisher``: one over the root of the observed information
        :math:`[N + (n_2-n_1-1) \sum h(x_i/2)^2]/d^2`, :math:`h(y) = y/\sinh y`; a lower bound,
        since neighbourhoods of different rows overlap. ``blocks``: delete-one jackknife over
        ``blocks``, lists fixed.
    blocks : int array (n,), optional
        Block of every row, such as ``spatial_blocks(points)``; needed by ``stderr="blocks"``.
    mu_filter : bool
        DADApy's filter: leave out ratios above q50 + 20 (q95 - q50). It trims without censoring
        (1.7 % too high at d = 1); only to reproduce published numbers.
    per_point : bool
        Keep :math:`\log \mu_i` of every row in ``per_point`` (NaN for rows left out).

    Returns
    -------
    Dimension
        ``scale`` is the mean of (r_n1 + r_n2)/2; the interval is value +- 1.96 stderr. NaN with
        ``collapsed`` where fewer than 3 rows are distinct, with ``few_points`` where fewer than
        n2 + 1 are, with ``ties`` where all ratios are 1: a search bound is never an answer. Single
        ties enter through the limit phi(0) = 1.

    Raises
    ------
    InputError
        For ranks that the graph does not bear, an unknown option, or ``blocks`` that are missing,
        of another length or all the same.
    DuplicateRowsError
        For identical rows under ``duplicates="error"``.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors, two_nn
    >>> graph = find_neighbors(np.random.default_rng(0).uniform(size=(1000, 2)), k=8)
    >>> d = gride(graph, 4)
    >>> f"{d.value:.2f} +- {d.stderr:.2f}", d.n2
    ('1.89 +- 0.03', 8)
    >>> abs(gride(graph).value - two_nn(graph, method="mle").value) < 1e-9
    True
    """
    n1 = whole("n1", n1)
    n2 = 2 * n1 if n2 is None else whole("n2", n2)
    if stderr not in ("fisher", "blocks"):
        raise InputError(f"stderr must be fisher or blocks, got {stderr!r}")
    labels = block_labels(stderr, blocks, graph.n_rows)
    parameters: dict[str, object] = {
        "n1": n1,
        "n2": n2,
        "duplicates": duplicates,
        "metric": graph.metric,
        "mu_filter": mu_filter,
    }
    ratios = distance_ratios(graph, n1, n2, duplicates)
    if ratios is None:
        return collapsed(graph, "gride", n1, n2, parameters)
    log_mu = _filter(ratios.log_mu) if mu_filter else ratios.log_mu
    if len(log_mu) < 3 or not (log_mu > 0).any():
        return undefined(ratios, len(log_mu), "gride", n1, n2, parameters)
    value = _root(log_mu, n1, n2)
    if labels is None:
        # DADApy takes the information over all ratios, also where the filter took some out.
        error = 1 / math.sqrt(_information(value, ratios.log_mu, n1, n2))
    else:
        keep = ratios.rows if not mu_filter else ratios.rows[_kept_by_filter(ratios.log_mu)]
        error = block_stderr(log_mu, labels[keep], lambda rest: _root(rest, n1, n2))
    return Dimension(
        value=value,
        stderr=error,
        stderr_kind=stderr,
        interval=normal_interval(value, error),
        n_used=len(log_mu),
        n_dropped=ratios.n_dropped + len(ratios.log_mu) - len(log_mu),
        scale=ratios.scale,
        method="gride",
        n1=n1,
        n2=n2,
        note=remarks(ratios, value),
        per_point=ratios.per_row() if per_point else None,
        parameters=parameters,
    )


def gride_scan(
    graph: NeighborGraph,
    *,
    max_rank: int | None = None,
    duplicates: str = "unique",
    stderr: Stderr = "fisher",
    blocks: ArrayLike | None = None,
    mu_filter: bool = False,
) -> DimensionCurve:
    """GRIDE at ranks (1, 2), (2, 4), (4, 8), ... as far as the graph and the rows allow.

    Parameters
    ----------
    graph : NeighborGraph
        With at least 2 neighbours per row.
    max_rank : int, optional
        Largest n2; by default as many neighbours as the graph stores.
    duplicates, stderr, blocks, mu_filter
        As in :func:`gride`.

    Returns
    -------
    DimensionCurve
        One estimate per pair of ranks; a single NaN ``collapsed`` where fewer than 3 rows are
        distinct. The curve drops at pairs that reach beyond a cluster: that is correct behaviour.

    Raises
    ------
    InputError
        If max_rank is below 2, or see :func:`gride`.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> graph = find_neighbors(np.random.default_rng(0).uniform(size=(500, 2)), k=16)
    >>> gride_scan(graph).n2
    (2, 4, 8, 16)
    """
    if max_rank is not None and whole("max_rank", max_rank) < 2:
        raise InputError(f"max_rank must be at least 2, got {max_rank}")
    top = graph.k if max_rank is None else min(max_rank, graph.k)
    if duplicates == "unique" and graph.distinct is not None:
        top = min(top, graph.distinct.k)
    if graph.n_distinct < 3:
        top = 2  # one NaN says it all
    curve = []
    n1 = 1
    while n1 == 1 or 2 * n1 <= top:
        curve.append(
            gride(
                graph,
                n1,
                duplicates=duplicates,
                stderr=stderr,
                blocks=blocks,
                mu_filter=mu_filter,
            )
        )
        n1 *= 2
    return DimensionCurve(estimates=tuple(curve))


def _phi(x: np.ndarray) -> np.ndarray:
    """x / (1 - exp(-x)), 1 at 0."""
    out = np.ones_like(x)
    np.divide(x, -np.expm1(-x), out=out, where=x > 0)
    return out


def _root(log_mu: np.ndarray, n1: int, n2: int) -> float:
    n, total = len(log_mu), float(log_mu.sum())
    if total <= 0:
        return math.nan

    def score(d: float) -> float:
        middle = (n2 - n1 - 1) * float(_phi(d * log_mu).sum()) if n2 - n1 > 1 else 0.0
        return (n - 1 + middle) / (d * n) - (n2 - 1) * total / n

    low = high = 1.0
    while score(high) > 0:
        low, high = high, 2 * high
    while score(low) < 0:
        low, high = low / 2, low
    return float(brentq(score, low, high, xtol=1e-13 * low, rtol=1e-14))


def _information(d: float, log_mu: np.ndarray, n1: int, n2: int) -> float:
    y = d * log_mu / 2
    h = np.ones_like(y)
    # Beyond 700 sinh overflows and the ratio is zero in float64 anyway.
    np.divide(y, np.sinh(np.minimum(y, 700.0)), out=h, where=y > 0)
    return float(len(y) + (n2 - n1 - 1) * np.sum(h * h)) / d**2


def _kept_by_filter(log_mu: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        mu = np.exp(log_mu)
    median, high = np.quantile(mu, [0.5, 0.95])
    return np.asarray(mu < median + 20 * (high - median))


def _filter(log_mu: np.ndarray) -> np.ndarray:
    return np.asarray(log_mu[_kept_by_filter(log_mu)])
