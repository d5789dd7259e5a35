r"""BID: intrinsic dimension of rows of bits, from the distribution of their Hamming distances.

Model: were the bits d independent fair coins, distances would follow
:math:`\binom{d}{r} 2^{-d}`. Correlated bits behave like fewer coins, and like ever fewer or more of
them at larger distances: :math:`d(r) = d_0 + d_1 r`. The dimension is :math:`d_0`, that of the
limit of small distances.

Source: Acevedo, Rodriguez, Laio 2024, arXiv:2411.02126.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, gammaln, polygamma

from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import blocks, cloud
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.results import join_notes
from hiddenscape.types import Mask

__all__ = ["binarize", "binary_dimension", "fit_distances", "hamming_histogram"]

_ENTRIES = 1 << 22
_STARTS = 10
_STEPS = 100
_SETTLED = 1e-14
_ROUNDING = 1e-15
_FEWEST = 4
_LOG2 = math.log(2)


def binarize(points: ArrayLike, threshold: str | ArrayLike = "sign") -> Mask:
    """Activations as bits: True where a value exceeds its threshold.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed.
    threshold : str, float or array (d,)
        ``sign``: 0. ``median``: the median of every column over these rows, so that bits are nearly
        balanced. Or a number, or one for each column.

    Returns
    -------
    bool array (n, d)
        A value equal to its threshold is False (for ``sign``, so is every zero of a ReLU).

    Raises
    ------
    InputError
        For an unknown name, or thresholds of another length or not finite.
    NonFiniteError
        If a row holds NaN or infinity.

    Examples
    --------
    >>> binarize([[-1.0, 2.0], [3.0, 0.0], [5.0, 7.0]]).tolist()
    [[False, True], [True, False], [True, True]]
    >>> binarize([[-1.0, 2.0], [3.0, 0.0], [5.0, 7.0]], "median").tolist()
    [[False, False], [False, False], [True, True]]
    """
    x = cloud(points).original
    if isinstance(threshold, str):
        if threshold not in ("sign", "median"):
            raise InputError(f"threshold must be sign, median or numbers, got {threshold!r}")
        limit = np.zeros(1) if threshold == "sign" else np.median(x, axis=0)
    else:
        limit = np.atleast_1d(np.asarray(threshold, dtype=np.float64))
    if limit.shape not in ((1,), (x.shape[1],)) or not np.isfinite(limit).all():
        raise InputError(
            f"threshold must be one number or one for each of {x.shape[1]} columns, got shape "
            f"{limit.shape}"
        )
    return np.asarray(x > limit)


def binary_dimension(
    bits: ArrayLike,
    *,
    window: tuple[float, float] = (0.0, 0.2),
) -> Dimension:
    r"""Intrinsic dimension of rows of bits.

    With P(r) the share of pairs at Hamming distance r, :math:`d(r) = d_0 + d_1 r` and

    .. math:: Q(r) \propto \binom{d(r)}{r} 2^{-d(r)}

    (gamma functions for the binomial), the pair :math:`(d_0, d_1)` minimises the Kullback-Leibler
    divergence of Q from P over the distances observed between two quantiles of P.

    Parameters
    ----------
    bits : array (n, d)
        bool, or numbers of two values (0 and 1, -1 and 1): see :func:`binarize`.
    window : tuple of float
        Quantiles of the distances, in [0, 1]: from the first distance at which the share of pairs
        reaches the lower, to the last at which it does not exceed the upper. (0, 1) takes all.
        Small windows look at small scales and give larger errors.

    Returns
    -------
    Dimension
        :math:`d_0`; ``scale`` is the mean distance in the window, in bits. ``parameters`` holds
        ``d1``, ``log_kl`` (at the minimum: -10 or less fits well, above about -5 the model does not
        hold), ``distances`` (first and last of the window) and ``columns``. stderr: that
        of a mean over pairs that share rows, with the influence of a pair on the fit (infinitesimal
        ``jackknife``): :math:`[4(n-2)\zeta_1 + 2\zeta_2]/(n(n-1))`, :math:`\zeta_2` the mean square
        of an influence, :math:`\zeta_1` the mean product of two that share a row.
        Identical rows all count, their share is noted. NaN with ``collapsed`` where fewer than 3
        rows are distinct, ``few_points`` where the window holds fewer than 4 distances,
        ``undefined`` where the minimum is not at a positive d.

    Raises
    ------
    InputError
        For more than two values, a window out of range, or fewer than 3 rows.
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    O(n^2 d) products, O(n) memory per column. The minimum is found by Newton's method from several
    starts and tested; the published random walk of :math:`10^6` steps may stop earlier (at 99.86
    for 5000 rows of 100 fair coins; the minimum lies at 99.996). Flipping columns changes nothing,
    doubling them doubles distances and does.

    Examples
    --------
    >>> import numpy as np
    >>> bits = np.random.default_rng(0).integers(0, 2, size=(1000, 60))
    >>> d = binary_dimension(bits, window=(0, 1))
    >>> f"{d.value:.1f} +- {d.stderr:.1f}"
    '60.0 +- 0.1'
    """
    low, high = window
    if not 0 <= low < high <= 1:
        raise InputError(f"window must be two ascending quantiles in [0, 1], got {window}")
    x = _checked(bits)
    n, columns = x.shape
    distinct = find_duplicates(x).n_distinct
    parameters: dict[str, object] = {
        "window": (float(low), float(high)),
        "columns": columns,
    }
    note = join_notes(
        f"duplicates ({n - distinct} of {n} rows, all counted)" if distinct < n else "",
        f"few_points ({n} rows)" if n < 100 else "",
    )
    if distinct < 3:
        said = f"collapsed ({distinct} distinct of {n} rows)"
        return Dimension(value=math.nan, n_used=n, method="bid", note=join_notes(said, note),
                         parameters=parameters)  # fmt: skip
    every = _histogram(x)
    r = _window(every, low, high)
    total = float(every[r].sum())
    d0, d1, log_kl = fit_distances(r, every[r]) if len(r) >= _FEWEST else (math.nan,) * 3
    value = d0 if d0 > 0 else math.nan
    parameters |= {"d1": d1, "log_kl": log_kl, "distances": (int(r[0]), int(r[-1]))}
    error = _error(x, every, r, (d0, d1)) if math.isfinite(value) else math.nan
    return Dimension(
        value=value,
        stderr=error,
        stderr_kind="jackknife" if math.isfinite(error) else "",
        interval=normal_interval(value, error),
        n_used=n,
        scale=float(r @ every[r]) / total,
        method="bid",
        note=join_notes(
            note,
            f"few_points (the window holds {len(r)} distances); undefined"
            if len(r) < _FEWEST
            else "",
            "undefined (the fit has no minimum at a positive dimension)"
            if len(r) >= _FEWEST and math.isnan(value)
            else "",
            "collapsed (estimate below 1)" if value < 1 else "",
        ),
        parameters=parameters,
    )


def hamming_histogram(bits: ArrayLike) -> np.ndarray:
    """Number of unordered pairs of rows at every Hamming distance: int64 (d + 1,).

    Raises
    ------
    InputError
        For more than two values, or fewer than 3 rows.
    NonFiniteError
        If a row holds NaN or infinity.

    Examples
    --------
    >>> hamming_histogram([[0, 0, 1], [0, 1, 1], [0, 1, 1]]).tolist()
    [1, 2, 0, 0]
    """
    return _histogram(_checked(bits))


def fit_distances(
    r: np.ndarray, counts: np.ndarray, start: tuple[float, float] | None = None
) -> tuple[float, float, float]:
    """d0, d1 and log of the Kullback-Leibler divergence at its minimum; NaN where it is not found.

    Parameters
    ----------
    r : int array (m,)
        Distances, ascending, at least 4.
    counts : array (m,)
        Pairs at these distances.
    start : tuple of float, optional
        d0 and d1 to start from; by default the best of a grid.

    Examples
    --------
    >>> from math import comb
    >>> d0, d1, log_kl = fit_distances(np.arange(9), np.array([comb(8, r) for r in range(9)]))
    >>> round(d0, 6), round(abs(d1), 6)
    (8.0, 0.0)
    """
    x = np.asarray(r, dtype=np.float64)
    p = np.asarray(counts, dtype=np.float64)
    p = p / p.sum()
    middle = float(p @ x)
    if start is not None:
        starts = [np.array([start[0] + start[1] * middle, start[1]])]
    else:
        # The distances of d coins lie about d/2; a window shows but their lower part.
        grid = [
            np.array([size * middle, slope])
            for size in np.linspace(1.2, 6.0, _STARTS)
            for slope in np.linspace(-0.9, 1.8, _STARTS)
        ]
        grid.sort(key=lambda theta: _divergence(x, p, middle, theta)[0])
        starts = grid[:3]
    best = min((_descend(x, p, middle, theta) for theta in starts), key=lambda found: found[0])
    kl, at_middle, d1 = best
    if not math.isfinite(kl):
        return math.nan, math.nan, math.nan
    return at_middle - d1 * middle, d1, math.log(max(kl, 1e-300))


def _checked(bits: ArrayLike) -> np.ndarray:
    data = cloud(bits)
    x = data.original
    if data.n < 3:
        raise InputError(f"a distribution of distances needs at least 3 rows, got {data.n}")
    low, high = x.min(), x.max()
    if not ((x == low) | (x == high)).all():
        raise InputError("bits must have two values: use binarize(points) first")
    return np.where(x == high, np.float32(1), np.float32(-1))


def _pairs(x: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Distances of rows a..b to the rows from a on, as whole numbers."""
    n, d = x.shape
    for a, b in blocks(n, max(1, _ENTRIES // n)):
        # Whole numbers below 2**24: float32 products of signs are exact.
        yield a, b, ((d - x[a:b] @ x[a:].T) / 2).astype(np.int64)


def _histogram(x: np.ndarray) -> np.ndarray:
    d = x.shape[1]
    every = np.zeros(d + 1, dtype=np.int64)
    for a, b, distance in _pairs(x):
        both = np.bincount(distance[:, : b - a].ravel(), minlength=d + 1)
        both[0] -= b - a
        every += both // 2
        every += np.bincount(distance[:, b - a :].ravel(), minlength=d + 1)
    return every


def _error(x: np.ndarray, every: np.ndarray, r: np.ndarray, fit: tuple[float, float]) -> float:
    """Standard error of d0: a mean over pairs, of which those with a common row depend."""
    n, d = x.shape
    p = every[r] / every[r].sum()
    middle = float(p @ r)
    theta = np.array([fit[0] + fit[1] * middle, fit[1]])
    centered, _, curvature = _parts(r.astype(np.float64), p, middle, theta)
    influence = np.zeros(d + 1)
    influence[r] = np.array([1.0, -middle]) @ np.linalg.solve(curvature, centered)
    influence *= every.sum() / every[r].sum()
    row = np.zeros(n)
    for a, b, distance in _pairs(x):
        weight = influence[distance]
        weight[np.arange(b - a), np.arange(b - a)] = 0
        row[a:b] += weight.sum(axis=1)
        row[b:] += weight[:, b - a :].sum(axis=0)
    pairs = n * (n - 1)
    square = 2 * float(every @ influence**2) / pairs
    common = (float(row @ row) / pairs - square) / (n - 2)
    # Where pairs are independent the first term is noise about zero.
    return math.sqrt(max(4 * (n - 2) * common + 2 * square, square) / pairs)


def _window(every: np.ndarray, low: float, high: float) -> np.ndarray:
    """The distances between two quantiles, from an observed one to an observed one."""
    share = np.cumsum(every) / every.sum()
    seen = np.flatnonzero(every)
    slack = 1e-12
    first = seen[np.argmax(share[seen] >= low - slack)]
    below = seen[share[seen] <= high + slack]
    last = below[-1] if len(below) else first
    return np.arange(first, max(first, last) + 1)


def _descend(
    x: np.ndarray, p: np.ndarray, middle: float, start: np.ndarray
) -> tuple[float, float, float]:
    """Newton with halved steps from d = start[0] at the middle distance, slope start[1]."""
    theta = start
    value, descent, curvature = _divergence(x, p, middle, theta)
    for _ in range(_STEPS):
        if not math.isfinite(value):
            break
        step = _solve(curvature, descent)
        gain = float(descent @ step)
        size = 1.0
        after = _divergence(x, p, middle, theta + step)
        while not after[0] <= value - 1e-4 * size * gain + _ROUNDING and size > 1e-9:
            size /= 2
            after = _divergence(x, p, middle, theta + size * step)
        if gain <= _SETTLED:
            # The last step is free: it ends at the rounding of the gradient, not of the value.
            theta = theta + size * step
            return min(value, after[0]), float(theta[0]), float(theta[1])
        if size <= 1e-9:
            break
        theta = theta + size * step
        value, descent, curvature = after
    return math.inf, math.nan, math.nan


def _divergence(
    x: np.ndarray, p: np.ndarray, middle: float, theta: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Divergence of the model from p, the direction of steepest descent, and a curvature.

    The curvature is the Hessian where that is positive definite, else the information.
    """
    d = theta[0] + theta[1] * (x - middle)
    if not (d > np.maximum(x - 1, -1)).all():
        return math.inf, np.zeros(2), np.eye(2)
    centered, log_q, curvature = _parts(x, p, middle, theta)
    seen = p > 0
    value = float(np.sum(p[seen] * (np.log(p[seen]) - log_q[seen])))
    return max(value, 0.0), centered @ p, curvature


def _parts(
    x: np.ndarray, p: np.ndarray, middle: float, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of every distance about their mean (2, m), log Q, and the curvature."""
    d = theta[0] + theta[1] * (x - middle)
    log_q = gammaln(d + 1) - gammaln(x + 1) - gammaln(d - x + 1) - d * _LOG2
    top = log_q.max()
    log_q -= top + math.log(float(np.exp(log_q - top).sum()))
    q = np.exp(log_q)
    along = np.stack([np.ones_like(x), x - middle])
    rows = along * (digamma(d + 1) - digamma(d - x + 1) - _LOG2)
    centered = rows - (rows @ q)[:, None]
    information = (centered * q) @ centered.T
    bend = polygamma(1, d + 1) - polygamma(1, d - x + 1)
    hessian = information + (along * ((q - p) * bend)) @ along.T
    definite = hessian[0, 0] > 0 and np.linalg.det(hessian) > 1e-12 * np.prod(np.diag(hessian))
    return centered, log_q, hessian if definite else information


def _solve(curvature: np.ndarray, descent: np.ndarray) -> np.ndarray:
    # Scaled to a unit diagonal; a floor keeps a direction without curvature short.
    size = np.sqrt(np.maximum(np.diag(curvature), 1e-300))
    scaled = curvature / np.outer(size, size) + 1e-12 * np.eye(2)
    return np.asarray(np.linalg.solve(scaled, descent / size) / size)
