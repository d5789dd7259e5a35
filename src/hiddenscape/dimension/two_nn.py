r"""TwoNN: intrinsic dimension from the ratio of the distances to the two nearest neighbours.

Model: where the density is constant out to the second neighbour, :math:`\mu = r_2 / r_1` has the
density :math:`d \mu^{-d-1}` on [1, inf), so :math:`\log \mu` is exponential with rate d.

Sources: Facco, d'Errico, Rodriguez, Laio 2017, doi 10.1038/s41598-017-11873-y; the Gamma posterior
and N - 1 of the maximum likelihood as in Denti, Doimo, Laio, Mira 2022, arXiv:2104.13832.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaincinv

from hiddenscape.dimension.ratios import (
    collapsed,
    distance_ratios,
    normal_interval,
    remarks,
    undefined,
)
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.spatial import block_labels, block_stderr
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.types import checked_seed

__all__ = ["TWO_NN_PRESETS", "two_nn"]

Method = Literal["censored", "mle", "fit", "bayes", "naive"]
Positions = Literal["mid", "i/N", "(i-1)/N", "i/(N+1)"]

TWO_NN_PRESETS: Mapping[str, Mapping[str, object]] = {
    "facco17": {"method": "fit", "fraction": 0.9, "positions": "i/N", "duplicates": "error"},
    "dadapy": {"method": "fit", "fraction": 0.9, "positions": "i/N", "duplicates": "eps"},
    "doimo20": {"method": "fit", "fraction": 0.95, "positions": "i/N", "duplicates": "eps"},
    "valeriani23": {"method": "fit", "fraction": 0.98, "positions": "i/N", "duplicates": "eps"},
}
"""Settings of published work, to be passed as keywords. doimo20 also rounds to an integer and
valeriani23 works on decimated sets: do both outside."""

_DRAWS = 400
_QUANTILES = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class _Value:
    value: float
    stderr: float = math.nan
    kind: str = ""
    interval: tuple[float, float] = (math.nan, math.nan)


def two_nn(
    graph: NeighborGraph,
    *,
    method: Method = "censored",
    fraction: float = 0.9,
    positions: Positions = "mid",
    duplicates: str = "unique",
    prior: tuple[float, float] = (2.0, 5.0),
    stderr: Literal["model", "blocks"] = "model",
    blocks: ArrayLike | None = None,
    seed: int = 0,
    per_point: bool = False,
) -> Dimension:
    r"""Intrinsic dimension from the first two neighbours of every row.

    With the N ratios sorted, :math:`S = \sum \log \mu_i` and :math:`m = \lfloor f N \rfloor`:

    ``censored`` (default)
        :math:`(m-1)/T`, :math:`T = \sum_{i \le m} \log \mu_i + (N-m) \log \mu_m`;
        stderr :math:`d/\sqrt{m-2}`. The large ratios, which the model fits worst, count only as
        "larger than the m-th".
    ``mle``
        :math:`(N-1)/S`; stderr :math:`d/\sqrt{N-2}`.
    ``fit``
        Slope through the origin of :math:`-\log(1-F_i)` on :math:`\log \mu_i`, first m pairs; F by
        ``positions``. The slope over d has a law of its own, whatever d is: stderr and interval are
        those of 400 draws from it. (Published: a bootstrap over the ratios, which is a tenth too
        small with 300 of them.)
    ``bayes``
        Mean :math:`(a+N)/(b+S)` and standard deviation of the posterior under Gamma(a, b).
    ``naive``
        :math:`m / \sum_{i \le m} \log \mu_i`: trims without censoring and is 34 % too high at
        f = 0.9; only to reproduce published numbers. No stderr.

    Parameters
    ----------
    graph : NeighborGraph
        With at least 2 neighbours per row.
    method : str
        See above.
    fraction : float
        f, share of ratios kept, in (0, 1]; not used by ``mle`` and ``bayes``.
    positions : str
        F of ``fit``: ``mid`` (i - 1/2)/N, the least biased; ``i/N`` (published), ``(i-1)/N``,
        ``i/(N+1)``.
    duplicates : str
        ``unique`` (neighbours among distinct rows), ``drop_zero``, ``eps`` or ``error``.
    prior : tuple of float
        a, b of ``bayes``.
    stderr : str
        ``model``: as given above. ``blocks``: delete-one jackknife over ``blocks``, lists fixed.
    blocks : int array (n,), optional
        Block of every row, such as ``spatial_blocks(points)``; needed by ``stderr="blocks"``.
    seed : int
        Keys the draws of ``fit``.
    per_point : bool
        Keep :math:`\log \mu_i` of every row in ``per_point`` (NaN for rows left out).

    Returns
    -------
    Dimension
        ``stderr_kind`` is ``exact``, which takes ratios as independent. Those of neighbouring rows
        are not: on point clouds these errors are about a fifth too small, those of ``blocks`` are
        right. The interval of ``mle`` and ``censored`` is that of the chi-squared law with 2 m
        degrees of freedom. NaN with the note ``collapsed`` where fewer than 3 rows are distinct,
        with ``ties`` where all ratios are 1. Ratios of 1 are kept and counted.

    Raises
    ------
    InputError
        For a graph with one neighbour, an unknown method, fewer than 3 ratios to use,
        ``fit`` with fraction 1 and positions i/N, or a prior that is not positive.
    DuplicateRowsError
        For identical rows under ``duplicates="error"``.

    Notes
    -----
    Too low in high dimension: 26 to 33 for Gaussians of dimension 50 with 500 to 2000 rows;
    ``low_for_high_dimension`` warns above log2(N). A graph of 1 - cos, which is no length, gives
    half the dimension (``no_length``): take ``metric="angular"``. Hamming and other distances of
    whole numbers tie; where more than a tenth of the ratios are 1, the note says that the model, a
    continuum, does not hold. On two-valued data the Hamming distance is a squared Euclidean one and
    halves the dimension too. The metric stands in ``parameters``.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> points = np.random.default_rng(0).uniform(size=(1000, 2))
    >>> d = two_nn(find_neighbors(points, k=2))
    >>> f"{d.value:.2f} +- {d.stderr:.2f}"
    '1.93 +- 0.06'
    """
    seed = checked_seed(seed)
    _check(method, fraction, positions, graph)
    if not (prior[0] > 0 and prior[1] > 0):
        raise InputError(f"prior must be two positive numbers a, b of Gamma(a, b), got {prior}")
    if stderr not in ("model", "blocks"):
        raise InputError(f"stderr must be model or blocks, got {stderr!r}")
    labels = block_labels(stderr, blocks, graph.n_rows)
    parameters: dict[str, object] = {"duplicates": duplicates, "metric": graph.metric}
    if method in ("censored", "fit", "naive"):
        parameters["fraction"] = fraction
    if method == "fit":
        parameters |= {"positions": positions, "seed": seed}
    if method == "bayes":
        parameters["prior"] = prior
    ratios = distance_ratios(graph, 1, 2, duplicates)
    if ratios is None:
        return collapsed(graph, method, 1, 2, parameters)
    order = np.argsort(ratios.log_mu, kind="stable")
    log_mu = ratios.log_mu[order]
    n = len(log_mu)
    used = n if method in ("mle", "bayes") else _kept(n, fraction)
    if used < 3 or log_mu[used - 1] <= 0:
        return undefined(ratios, used, method, 1, 2, parameters)
    found = _estimate(log_mu, used, method, positions, prior)
    error, kind, interval = found.stderr, found.kind, found.interval
    if labels is not None:

        def without(rest: np.ndarray) -> float:
            m = len(rest) if method in ("mle", "bayes") else _kept(len(rest), fraction)
            return _estimate(rest, m, method, positions, prior).value

        error, kind = block_stderr(log_mu, labels[ratios.rows[order]], without), "blocks"
        interval = normal_interval(found.value, error)
    elif method == "fit":
        error, interval = _law_of_fit(found.value, n, _heights(n, used, positions), seed)
        kind = "exact"
    return Dimension(
        value=found.value,
        stderr=error,
        stderr_kind=kind,
        interval=interval,
        n_used=n,
        n_dropped=ratios.n_dropped,
        scale=ratios.scale,
        method=method,
        n1=1,
        n2=2,
        note=remarks(ratios, found.value),
        per_point=ratios.per_row() if per_point else None,
        parameters=parameters,
    )


def _check(method: str, fraction: float, positions: str, graph: NeighborGraph) -> None:
    if method not in get_args(Method):
        raise InputError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")
    if positions not in get_args(Positions):
        known = ", ".join(get_args(Positions))
        raise InputError(f"positions must be one of {known}, got {positions!r}")
    if not 0 < fraction <= 1:
        raise InputError(f"fraction must lie in (0, 1], got {fraction}")
    if method == "fit" and fraction == 1 and positions == "i/N":
        raise InputError(
            "fit with fraction 1 and positions i/N takes log 0 for the largest ratio: "
            "use positions='mid' or a fraction below 1"
        )
    used = graph.n if method in ("mle", "bayes") else _kept(graph.n, fraction)
    if used < 3:
        raise InputError(
            f"{graph.n} rows leave {used} ratios at fraction {fraction}, TwoNN needs at least 3"
        )


def _kept(n: int, fraction: float) -> int:
    # 0.29 * 100 is 28.999...: a product within rounding of a whole number means that number.
    return math.floor(fraction * n + 1e-9)


def _estimate(
    log_mu: np.ndarray, m: int, method: str, positions: str, prior: tuple[float, float]
) -> _Value:
    """The estimate from sorted ratios, with the error and interval that the model gives."""
    n = len(log_mu)
    if m < 3 or log_mu[m - 1] <= 0:
        return _Value(math.nan)
    if method in ("censored", "mle"):
        total = float(log_mu[:m].sum()) + (n - m) * float(log_mu[m - 1])
        value = (m - 1) / total
        low, high = (float(gammaincinv(m, q)) / total for q in _QUANTILES)
        return _Value(value, value / math.sqrt(m - 2), "exact", (low, high))
    if method == "bayes":
        shape, rate = prior[0] + n, prior[1] + float(log_mu.sum())
        low, high = (float(gammaincinv(shape, q)) / rate for q in _QUANTILES)
        return _Value(shape / rate, math.sqrt(shape) / rate, "exact", (low, high))
    if method == "naive":
        return _Value(m / float(log_mu[:m].sum()))
    return _Value(_slope(log_mu[:m], _heights(n, m, positions)))


def _heights(n: int, m: int, positions: str) -> np.ndarray:
    i = np.arange(1, m + 1, dtype=np.float64)
    f = {"mid": (i - 0.5) / n, "i/N": i / n, "(i-1)/N": (i - 1) / n, "i/(N+1)": i / (n + 1)}
    return np.asarray(-np.log1p(-f[positions]))


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y) / float(x @ x)


def _law_of_fit(
    value: float, n: int, heights: np.ndarray, seed: int
) -> tuple[float, tuple[float, float]]:
    """Error and 95 % interval of a slope, from slopes of exponential draws of rate 1.

    Logarithms of ratios are exponential with rate d, so that the slope over d has one law for all
    d. Gaps between sorted exponentials are independent (Renyi 1953, doi:10.1007/BF02127580).
    """
    if math.isnan(value):
        return math.nan, (math.nan, math.nan)
    rng = np.random.default_rng([seed, n])
    left = n - np.arange(len(heights), dtype=np.float64)
    draws = np.log(
        [_slope(np.cumsum(rng.exponential(size=len(left)) / left), heights) for _ in range(_DRAWS)]
    )
    middle, spread = float(draws.mean()), float(draws.std(ddof=1))
    low, high = (value * math.exp(-middle + side * 1.96 * spread) for side in (-1, 1))
    return value * math.exp(-middle) * float(np.exp(draws).std(ddof=1)), (low, high)
