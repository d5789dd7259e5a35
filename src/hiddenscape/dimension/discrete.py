r"""I3D: intrinsic dimension of points with whole coordinates, from counts in two lattice balls.

Model: where points are uniform over the sites of a lattice of dimension d, each of the k others
within radius :math:`l_k` of a row lies within :math:`l_n < l_k` with probability
:math:`p = V(l_n, d)/V(l_k, d)`, V the number of sites in a ball. Ratios of neighbour distances, on
which TwoNN and its kin rest, tie on a lattice and say nothing.

Source: Macocco, Glielmo, Grilli, Laio 2023, doi 10.1103/PhysRevLett.130.067401, arXiv:2207.09688.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import betaincinv, betaln

from hiddenscape.dimension.counts import model_p
from hiddenscape.dimension.lattice import (
    LARGEST_RADIUS,
    LATTICE_METRICS,
    Balls,
    adaptive_balls,
    fixed_balls,
    lattice_points,
    log_ball_points,
    too_far,
)
from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension, DimensionCurve
from hiddenscape.dimension.spatial import block_labels, block_stderr
from hiddenscape.errors import InputError
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.results import join_notes
from hiddenscape.types import checked_seed, whole

__all__ = ["i3d", "i3d_scan", "lattice_posterior", "lattice_root"]

Method = Literal["mle", "bayes"]
Stderr = Literal["fisher", "blocks"]

_NODES = 400
_TAIL = 1e-13
_SMALLEST = 2.0**-40


def i3d(
    points: ArrayLike,
    *,
    radius: int | None = None,
    inner: int | None = None,
    k: int | None = None,
    shells: int | None = None,
    ratio: float = 0.5,
    metric: str = "manhattan",
    period: ArrayLike | None = None,
    method: Method = "mle",
    stderr: Stderr = "fisher",
    blocks: ArrayLike | None = None,
    validate: bool = True,
    seed: int = 0,
) -> Dimension:
    r"""Intrinsic dimension of points with whole coordinates.

    Of the :math:`k_i` other rows within :math:`l_k` of row i, :math:`n_i` lie within :math:`l_n`.
    d maximises the binomial likelihood of all rows,
    :math:`\sum_i n_i \log p_i + (k_i - n_i) \log(1 - p_i)`, with
    :math:`p_i = V(l_n, d)/V(l_k, d)`. Under ``manhattan``
    :math:`V(t, d) = \sum_j 2^j \binom{d}{j} \binom{t}{j}`, under ``chebyshev`` :math:`(2t+1)^d`.

    Parameters
    ----------
    points : array (n, d)
        Whole numbers of any dtype; never changed. Identical rows all count: on a lattice they are
        no accident (their share is noted).
    radius : int, optional
        :math:`l_k`, the same for all rows. Exactly one of ``radius``, ``k`` and ``shells`` is
        given.
    inner : int, optional
        :math:`l_n`, with ``radius`` only; ``ceil(ratio radius)``, one less if equal, by default.
    k : int, optional
        :math:`l_k` of a row is the second largest distinct distance among itself and its k nearest
        others: the largest shell that is surely complete.
    shells : int, optional
        :math:`l_k` of a row is its ``shells``-th occupied distance above 0, at least 2.
    ratio : float
        :math:`l_n/l_k` in (0, 1). With ``k`` and ``shells`` :math:`l_n` is rounded to the nearest
        whole number (to the even one of two), one less if that is :math:`l_k`.
    metric : str
        ``manhattan`` or ``chebyshev`` (the largest difference of a coordinate).
    period : int or array (d,), optional
        Opposite faces of the box are joined: a difference counts modulo the period.
    method : str
        ``mle``; or ``bayes``: mean and deviation of d under a flat prior on p, for ``radius`` only.
    stderr : str
        ``fisher``: :math:`[\sum_i k_i (dp_i/dd)^2 / (p_i (1 - p_i))]^{-1/2}`, a lower bound, since
        balls overlap. ``blocks``: delete-one jackknife over ``blocks``.
    blocks : int array (n,), optional
        Block of every row, such as ``spatial_blocks(points)``; needed by ``stderr="blocks"``.
    validate : bool
        Hold the counts against the model at the estimate, as :func:`binomial_dimension` does; the
        p-value stands in ``parameters["model_p"]``. A small one says that density or dimension vary
        between rows or inside the outer ball.
    seed : int
        Keys the draws of the validation.

    Returns
    -------
    Dimension
        ``scale`` is the mean of :math:`(l_k + l_n)/2` over rows. NaN with ``collapsed`` where fewer
        than 3 rows are distinct, with ``few_points`` where no row has another within its outer
        ball, none lies in an inner one, or all do: neither bounds the dimension. ``capped``: the
        outer ball reaches around the period and meets itself.

    Raises
    ------
    InputError
        For coordinates that are not whole, not exactly one of ``radius``, ``k`` and ``shells``,
        values out of range, radii beyond 100,000, an unknown option, or ``bayes`` without
        ``radius``.
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    O(n^2 d) in blocks. Near a face of a box that is not periodic counts are too small in the outer
    ball first, and the dimension comes out too low. Not to be compared with continuous estimates at
    a scale of a few sites: 2-valued columns have no lattice beyond 1 (see
    :func:`binary_dimension`).

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).integers(0, 50, size=(1000, 3))
    >>> d = i3d(points, radius=12, period=50)
    >>> f"{d.value:.2f} +- {d.stderr:.2f} at scale {d.scale:.0f}"
    '2.98 +- 0.03 at scale 9'
    """
    seed = checked_seed(seed)
    _check(metric, method, stderr, ratio)
    if sum(x is not None for x in (radius, k, shells)) != 1:
        raise InputError(
            f"give exactly one of radius, k and shells, got radius = {radius}, k = {k}, "
            f"shells = {shells}"
        )
    if method == "bayes" and radius is None:
        raise InputError("bayes needs one pair of radii for all rows: give radius")
    x, sides = lattice_points(points, period)
    parameters: dict[str, object] = {"metric": metric, "method": method, "ratio": float(ratio)}
    if sides is not None:
        parameters["period"] = tuple(sides.tolist())
    if radius is not None:
        pair = _radii(whole("radius", radius), inner, ratio)
        parameters |= {"radius": pair[0], "inner": pair[1]}
        balls = fixed_balls(x, [pair], metric, sides)[0]
    else:
        if inner is not None:
            raise InputError("inner goes with radius; with k and shells the ratio decides")
        which, count = ("k", k) if k is not None else ("shells", shells)
        count = whole(which, count)
        if count < 2 or (which == "k" and count >= len(x)):
            raise InputError(f"site has {len(x)} rows, {which} must be at least 2 and k below the "
                             f"number of rows, got {which} = {count}")  # fmt: skip
        parameters[which] = count
        balls = adaptive_balls(x, count, which == "shells", ratio, metric, sides)
    return _answer(x, balls, parameters, sides, stderr, blocks, validate, seed)


def i3d_scan(
    points: ArrayLike,
    radii: Iterable[int],
    *,
    ratio: float = 0.5,
    metric: str = "manhattan",
    period: ArrayLike | None = None,
    method: Method = "mle",
    stderr: Stderr = "fisher",
    blocks: ArrayLike | None = None,
    validate: bool = False,
    seed: int = 0,
) -> DimensionCurve:
    """I3D against the outer radius, from one pass over the pairs.

    Parameters
    ----------
    points, ratio, metric, period, method, stderr, blocks, validate, seed
        As in :func:`i3d`; the inner radius is ``ceil(ratio radius)``, one less if equal.
    radii : iterable of int
        Outer radii, ascending, at least 1.

    Returns
    -------
    DimensionCurve
        One estimate per radius.

    Raises
    ------
    InputError
        For radii that are not ascending, or see :func:`i3d`.
    NonFiniteError
        If a row holds NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).integers(0, 50, size=(1000, 3))
    >>> i3d_scan(points, (6, 9, 12, 15), period=50).values.round(1).tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    seed = checked_seed(seed)
    _check(metric, method, stderr, ratio)
    wanted = [_radii(whole("radii", r), None, ratio) for r in radii]
    if not wanted or any(b[0] <= a[0] for a, b in pairwise(wanted)):
        raise InputError(f"radii must be ascending whole numbers, got {[a for a, _ in wanted]}")
    x, sides = lattice_points(points, period)
    curve = []
    for pair, balls in zip(wanted, fixed_balls(x, wanted, metric, sides), strict=True):
        parameters: dict[str, object] = {"metric": metric, "method": method, "ratio": float(ratio),
                                         "radius": pair[0], "inner": pair[1]}  # fmt: skip
        if sides is not None:
            parameters["period"] = tuple(sides.tolist())
        curve.append(_answer(x, balls, parameters, sides, stderr, blocks, validate, seed))
    return DimensionCurve(estimates=tuple(curve))


def lattice_root(
    outer: np.ndarray, inner: np.ndarray, trials: np.ndarray, found: np.ndarray, metric: str
) -> tuple[float, float]:
    """Maximum likelihood and Cramer-Rao error from radii and counts of rows.

    NaN where no trial or no success, or nothing but successes, is there.

    Examples
    --------
    >>> one = np.ones(1, dtype=int)
    >>> value, error = lattice_root(2 * one, one, 13000 * one, 5000 * one, "manhattan")
    >>> round(value, 6), error < 0.05
    (2.0, True)
    """
    kinds, which = np.unique(np.stack([outer, inner], axis=1), axis=0, return_inverse=True)
    k = np.bincount(which.ravel(), weights=trials)
    n = np.bincount(which.ravel(), weights=found)
    if n.sum() == 0 or n.sum() == k.sum():
        return math.nan, math.nan

    def score(d: float) -> float:
        p, slope, rest = _chance(kinds, d, metric)
        return float(np.sum(slope * (n - k * p) / rest))

    high = 1.0
    while score(high) > 0:
        high *= 2
    low = high / 2
    while score(low) < 0:
        low, high = low / 2, low
        if low < _SMALLEST:
            return math.nan, math.nan
    d = float(brentq(score, low, high, xtol=1e-12 * low, rtol=1e-13))
    p, slope, rest = _chance(kinds, d, metric)
    return d, 1 / math.sqrt(float(np.sum(k * p * slope**2 / rest)))


def _check(metric: str, method: str, stderr: str, ratio: float) -> None:
    if metric not in LATTICE_METRICS:
        raise InputError(f"metric must be one of {', '.join(LATTICE_METRICS)}, got {metric!r}")
    if method not in get_args(Method):
        raise InputError(f"method must be mle or bayes, got {method!r}")
    if stderr not in get_args(Stderr):
        raise InputError(f"stderr must be fisher or blocks, got {stderr!r}")
    if not 0 < ratio < 1:
        raise InputError(f"ratio must lie in (0, 1), got {ratio}")


def _radii(radius: int, inner: int | None, ratio: float) -> tuple[int, int]:
    if radius < 1:
        raise InputError(f"radius must be at least 1, got {radius}")
    if radius > LARGEST_RADIUS:
        raise InputError(too_far(radius))
    if inner is None:
        # ceil(0.1 * 30) is 4 in float64: a product within rounding of a whole number means it.
        return radius, min(math.ceil(ratio * radius - 1e-9), radius - 1)
    inner = whole("inner", inner)
    if not 0 <= inner < radius:
        raise InputError(f"inner must lie in 0..{radius - 1}, got {inner}")
    return radius, inner


def _root_of(stack: np.ndarray, metric: str) -> tuple[float, float]:
    outer, inner, trials, found = stack.T
    return lattice_root(outer, inner, trials, found, metric)


def _chance(kinds: np.ndarray, d: float, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p of every pair of radii, d log p/dd, and 1 - p."""
    value, slope = log_ball_points(int(kinds.max()), d, metric)
    log_p = value[kinds[:, 1]] - value[kinds[:, 0]]
    return np.exp(log_p), slope[kinds[:, 1]] - slope[kinds[:, 0]], -np.expm1(log_p)


def lattice_posterior(
    pair: tuple[int, int], n: int, k: int, metric: str
) -> tuple[float, float, tuple[float, float]]:
    """Mean, deviation and 95 % interval of d under a flat prior on p.

    For radii (outer, inner), n successes of k trials, 0 < n < k.

    Examples
    --------
    >>> mean, deviation, interval = lattice_posterior((2, 1), 500, 1300, "manhattan")
    >>> round(mean, 2), interval[0] < 2 < interval[1]
    (2.0, True)
    """
    kinds = np.array([pair])
    a, b = 1.0 + n, 1.0 + k - n

    def dimension(q: float) -> float:
        p = float(betaincinv(a, b, q))
        return lattice_root(kinds[:, 0], kinds[:, 1], np.ones(1), np.array([p]), metric)[0]

    low, high = dimension(1 - _TAIL), dimension(_TAIL)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    d = low + (high - low) * (nodes + 1) / 2
    log = np.empty(_NODES)
    for i, at in enumerate(d):
        p, slope, rest = (float(v[0]) for v in _chance(kinds, float(at), metric))
        log[i] = a * math.log(p) + (b - 1) * math.log(rest) + math.log(-slope)
    density = weights * np.exp(log - betaln(a, b))
    density /= density.sum()
    mean = float(density @ d)
    deviation = math.sqrt(float(density @ (d - mean) ** 2))
    return mean, deviation, (dimension(0.975), dimension(0.025))


def _answer(
    x: np.ndarray,
    balls: Balls,
    parameters: dict[str, object],
    sides: np.ndarray | None,
    stderr: str,
    blocks: ArrayLike | None,
    validate: bool,
    seed: int,
) -> Dimension:
    labels = block_labels(stderr, blocks, len(x))
    same = find_duplicates(x)
    metric = str(parameters["metric"])
    rows = np.flatnonzero(balls.trials > 0)
    used = balls.of(rows)
    note, why = _notes(x, same.n_distinct, used, sides)
    scale = float((used.outer + used.inner).mean() / 2) if len(rows) else math.nan
    if why:
        return Dimension(value=math.nan, n_used=len(rows), n_dropped=len(x) - len(rows),
                         scale=scale, method="i3d", note=join_notes(why, note),
                         parameters=parameters)  # fmt: skip

    def estimate(stack: np.ndarray) -> float:
        return _root_of(stack, metric)[0]

    stack = used.stacked()
    value, error = _root_of(stack, metric)
    interval, kind = normal_interval(value, error), stderr
    if parameters["method"] == "bayes":
        pair = int(stack[0, 0]), int(stack[0, 1])
        value, error, interval = lattice_posterior(
            pair, int(used.found.sum()), int(used.trials.sum()), metric
        )
        kind = "exact"
    if labels is not None:
        error, kind = block_stderr(stack, labels[rows], estimate), "blocks"
        interval = normal_interval(value, error)
    if validate:
        parameters |= {"model_p": _fit(used, metric, seed), "seed": seed}
    return Dimension(
        value=value, stderr=error, stderr_kind=kind, interval=interval, n_used=len(rows),
        n_dropped=len(x) - len(rows), scale=scale, method="i3d",
        note=join_notes(
            note,
            "collapsed (estimate below 1)" if value < 1 else "",
            f"low_for_high_dimension (estimate above log2 of {len(rows)} rows)"
            if value > math.log2(len(rows))
            else "",
        ),
        parameters=parameters,
    )  # fmt: skip


def _notes(x: np.ndarray, distinct: int, used: Balls, sides: np.ndarray | None) -> tuple[str, str]:
    """What to say of the rows, and why there is no number, if so."""
    n, m = len(x), len(used.trials)
    wide = 0 if sides is None else int((2 * used.outer + 1 > sides.min()).sum())
    note = join_notes(
        f"duplicates ({n - distinct} of {n} rows, all counted)" if distinct < n else "",
        f"few_points ({n} rows)" if n < 100 else "",
        f"undefined ({n - m} of {n} rows have no other row within a radius)" if m < n else "",
        f"capped (the outer balls of {wide} rows reach around the period)" if wide else "",
    )
    inner, trials = int(used.found.sum()), int(used.trials.sum())
    if distinct < 3:
        return note, f"collapsed ({distinct} distinct of {n} rows)"
    if m < 3:
        return note, f"few_points ({m} of {n} rows have another within the outer radius)"
    if inner == 0:
        return note, "few_points (no row lies within an inner radius)"
    if inner == trials:
        return note, "few_points (no row lies between the radii)"
    return note, ""


def _fit(used: Balls, metric: str, seed: int) -> float:
    kinds, which = np.unique(
        np.stack([used.outer, used.inner], axis=1), axis=0, return_inverse=True
    )

    def chances(found: np.ndarray) -> np.ndarray:
        if len(kinds) == 1:
            return np.asarray(found.sum(keepdims=True) / used.trials.sum())
        d = lattice_root(used.outer, used.inner, used.trials, found, metric)[0]
        if math.isnan(d):
            return np.full(len(kinds), float(found.any()))
        return _chance(kinds, d, metric)[0]

    return model_p(used.trials, used.found, which.ravel(), chances, seed)
