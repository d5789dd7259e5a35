r"""Rules that count the principal components that matter, on the eigenvalues of the covariance.

They answer how many directions carry variance, not the dimension of a curved set: a swiss roll has
three. Sources: Kaiser 1960 (10.1177/001316446002000116); Frontier 1976 and Jackson 1993 for the
broken stick (10.2307/1939574); Fukunaga, Olsen 1971 (10.1109/T-C.1971.223208); Fan, Gu, Qiao, Zhang
2010, arXiv:1002.2050; Horn 1965 for parallel analysis (10.1007/BF02289447); Minka 2000, NeurIPS 13,
"Automatic choice of dimensionality for PCA"; Marchenko, Pastur 1967; Gavish, Donoho 2014
(10.1109/TIT.2014.2323359).
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from hiddenscape.dimension.halves import checked_repeats, spread_of_halves
from hiddenscape.dimension.pca import pca_spectrum
from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import cloud
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector, checked_seed

__all__ = ["Rule", "count_components", "spectrum_dimension"]

Rule = Literal[
    "kaiser", "broken_stick", "fukunaga_olsen", "fan", "max_gap", "minka", "parallel",
    "marchenko_pastur", "gavish_donoho", "denoised",
]  # fmt: skip

_NEEDS_NOISE = ("marchenko_pastur", "gavish_donoho", "denoised")
_PERMUTATIONS = 100
_LEVEL = 0.95


def spectrum_dimension(
    points: ArrayLike,
    rule: Rule,
    *,
    noise: float | None = None,
    standardize: bool = False,
    repeats: int = 10,
    seed: int = 0,
) -> Dimension:
    r"""Number of principal components that a rule keeps.

    With the eigenvalues :math:`\lambda_1 \ge ... \ge \lambda_p` of the covariance (divisor n - 1),
    p = min(n - 1, d) of which can differ from zero, and d columns:

    ``kaiser``
        :math:`\lambda_i` above their mean.
    ``broken_stick``
        Leading shares :math:`\lambda_i / \sum \lambda` above :math:`\frac1p \sum_{j \ge i} 1/j`.
    ``fukunaga_olsen``
        :math:`\lambda_i > 0.05 \lambda_1`.
    ``fan``
        The mean of those after 95 % of the variance is taken off; then the first i with
        :math:`\lambda_i / \lambda_{i+1} > 10`, or with 80 % of what remains.
    ``max_gap``
        The i of the largest :math:`\lambda_i / \lambda_{i+1}`.
    ``minka``
        The most probable rank under a Bayesian model of PCA; needs n > d.
    ``parallel``
        Leading :math:`\lambda_i` above the 95 % quantile of the i-th over 100 draws in which every
        column is permuted by itself.
    ``marchenko_pastur``
        :math:`\lambda_i > \sigma^2 (1 + \sqrt{d/(n-1)})^2`, the edge of pure noise.
    ``gavish_donoho``
        :math:`\lambda_i > [2(b+1) + 8b/(b+1+\sqrt{b^2+14b+1})] \max(n-1, d) \sigma^2/(n-1)`, b the
        smaller of n - 1 and d over the larger.
    ``denoised``
        The fewest components whose rest has variance :math:`\le d \sigma^2`.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed. All rows enter, identical ones too (their share is noted).
    rule : str
        See above.
    noise : float, optional
        :math:`\sigma^2`, the variance of white noise per column in the unit of the points squared
        (after standardising, if asked for); for the last three rules, and only for them.
    standardize : bool
        Bring every column to variance 1 first; constant columns are left out (and not counted as
        columns).
    repeats : int
        Pairs of complementary halves for the error; 0 for none. Each costs as much as the whole.
    seed : int
        Keys the halves, and the permutations of ``parallel``.

    Returns
    -------
    Dimension
        A whole number; 0 with ``collapsed`` where a rule keeps nothing, which is an answer of the
        rules that compare with noise (of ``kaiser`` it is none: NaN with ``undefined``, all
        eigenvalues are equal).
        stderr: the spread over random halves (``repeats``); 0 where all halves agree.
        It knows nothing of the bias of a rule, and rules that depend on n/d answer differently on
        halves: ``parameters["halves"]`` is their mean. No scale: it is a global measure. NaN with
        ``collapsed`` where fewer than 3 rows are distinct, with ``undefined`` where n <= d for
        ``minka`` (whose error is NaN where n/2 <= d).

    Raises
    ------
    InputError
        For an unknown rule, fewer than 3 rows, negative repeats, or a noise that is missing, not
        positive, or given to a rule without one.
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    ``parallel`` is unstable at the edge of detection. Rotations change it and the standardised
    rules; ``shift`` and a common scale change none.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 40)) + rng.normal(size=(500, 40))
    >>> [spectrum_dimension(points, rule).value for rule in ("kaiser", "minka", "parallel")]
    [3.0, 3.0, 3.0]
    >>> spectrum_dimension(points, "marchenko_pastur", noise=1.0).value
    3.0
    """
    seed = checked_seed(seed)
    _check(rule, noise)
    repeats = checked_repeats(repeats)
    data = cloud(points)
    if data.n < 3:
        raise InputError(f"a spectrum needs at least 3 rows, got {data.n}")
    same = find_duplicates(data.original)
    repeated = data.n - same.n_distinct
    note = join_notes(
        f"duplicates ({repeated} of {data.n} rows, all used)" if repeated else "",
        f"few_points ({data.n} rows)" if data.n < 100 else "",
    )
    parameters: dict[str, object] = {"rule": rule, "standardize": standardize}
    if noise is not None:
        parameters["noise"] = noise
    if rule == "parallel":
        parameters["seed"] = seed
    if noise is not None:
        # In the units of ``data.values``, whose squares neither overflow nor vanish.
        noise = math.ldexp(noise, -2 * data.exponent)
    value = math.nan
    if same.n_distinct < 3:
        note = join_notes(f"collapsed ({same.n_distinct} distinct of {data.n} rows)", note)
    else:
        value = _count(data.values, rule, noise, standardize, seed)
        if value == 0 and rule == "kaiser":
            value, note = math.nan, join_notes(note, "undefined (the rule keeps nothing)")
        elif value == 0:
            note = join_notes("collapsed (no component stands out of noise)", note)
        elif math.isnan(value):
            note = join_notes(note, f"few_points ({data.n} rows for the columns); undefined")
    halves: list[float] = []

    def of_half(rows: np.ndarray) -> float:
        halves.append(_count(data.values[rows], rule, noise, standardize, seed))
        return halves[-1]

    error = math.nan
    if math.isfinite(value):
        error = spread_of_halves(data.n, of_half, repeats, seed)
    if math.isfinite(error):
        parameters |= {"repeats": repeats, "seed": seed, "halves": float(np.nanmean(halves))}
    return Dimension(
        value=value,
        stderr=error,
        stderr_kind="repeats" if math.isfinite(error) else "",
        interval=normal_interval(value, error),
        n_used=data.n,
        method=rule,
        note=note,
        parameters=parameters,
    )


def _count(x: np.ndarray, rule: Rule, noise: float | None, standardize: bool, seed: int) -> float:
    """The number a rule keeps; NaN where the rows are too few for it, or all equal."""
    varies = x.max(axis=0) > x.min(axis=0)
    if not varies.any():
        return math.nan
    if standardize:
        x = x[:, varies]
    n, d = x.shape
    if rule == "minka" and n <= d:
        return math.nan
    values = pca_spectrum(x, standardize=standardize)[: min(n - 1, d)]
    if rule == "parallel":
        return float(_parallel(x, values, standardize, seed))
    return float(count_components(values, rule, n=n, d=d, noise=noise))


def count_components(
    eigenvalues: ArrayLike,
    rule: Rule,
    *,
    n: int | None = None,
    d: int | None = None,
    noise: float | None = None,
) -> int:
    """The rules of :func:`spectrum_dimension` on eigenvalues that are at hand.

    Parameters
    ----------
    eigenvalues : array (p,)
        Not negative, largest first, the first positive.
    rule : str
        Any but ``parallel``, which needs the points.
    n, d : int, optional
        Rows and columns behind them; n is needed by ``minka`` and the rules with noise. d is p by
        default.
    noise : float, optional
        Variance of the noise, for the rules that need it.

    Raises
    ------
    InputError
        For eigenvalues that are not as said, or what is missing.

    Examples
    --------
    >>> count_components([10, 1, 1, 1], "broken_stick")
    1
    """
    _check(rule, noise)
    values = np.asarray(eigenvalues, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or values[0] <= 0:
        raise InputError("eigenvalues must be one row of finite numbers, the first positive")
    if (np.diff(values) > 0).any() or values[-1] < 0:
        raise InputError("eigenvalues must not be negative and come largest first")
    if rule == "parallel":
        raise InputError("parallel analysis needs the points: use spectrum_dimension")
    columns = len(values) if d is None else d
    if n is None and rule in (*_NEEDS_NOISE, "minka"):
        raise InputError(f"{rule} needs n, the number of rows behind the eigenvalues")
    rows = len(values) if n is None else n
    # What is left of zero after rounding would make the largest gap.
    values = np.where(
        values < values[0] * max(rows, columns) * np.finfo(np.float64).eps, 0.0, values
    )
    if rule == "minka":
        return _minka(values, rows)
    if noise is not None:
        return _against_noise(values, rule, rows, columns, noise)
    return _of_shape(values, rule)


def _check(rule: str, noise: float | None) -> None:
    if rule not in get_args(Rule):
        raise InputError(f"rule must be one of {', '.join(get_args(Rule))}, got {rule!r}")
    if rule in _NEEDS_NOISE and not (noise is not None and noise > 0 and math.isfinite(noise)):
        raise InputError(f"{rule} needs noise, the variance of the noise per column, got {noise}")
    if rule not in _NEEDS_NOISE and noise is not None:
        raise InputError(f"{rule} knows no noise, got noise = {noise}")


def _leading(above: np.ndarray) -> int:
    return int(len(above) if above.all() else np.argmin(above))


def _of_shape(values: FloatVector, rule: str) -> int:
    p = len(values)
    if rule == "kaiser":
        return int(np.count_nonzero(values > values.mean()))
    if rule == "fukunaga_olsen":
        return int(np.count_nonzero(values > 0.05 * values[0]))
    if rule == "broken_stick":
        stick = np.cumsum(1 / np.arange(p, 0, -1))[::-1] / p
        return _leading(values / values.sum() > stick)
    if p == 1:
        return 1
    if rule == "max_gap":
        return int(np.argmax(_gaps(values))) + 1
    share = np.cumsum(values) / values.sum()
    rest = values - values[int(np.argmax(share > 0.95)) :].mean()
    mass = np.cumsum(rest) / rest.sum() > 0.8 if rest.sum() > 0 else np.ones(p, dtype=bool)
    far = np.append(_gaps(rest) > 10, True)
    return int(np.argmax(mass | far)) + 1


def _gaps(values: FloatVector) -> FloatVector:
    out = np.where(values[:-1] > 0, np.inf, 0.0)
    np.divide(values[:-1], values[1:], out=out, where=values[1:] != 0)
    return out


def _against_noise(values: FloatVector, rule: str, n: int, d: int, noise: float) -> int:
    if rule == "denoised":
        # The rest after 0, 1, 2, ... components.
        rest = np.append(np.cumsum(values[::-1])[::-1], 0.0)
        return int(np.argmax(rest <= d * noise))
    large, small = max(n - 1, d), min(n - 1, d)
    if rule == "marchenko_pastur":
        edge = noise * (1 + math.sqrt(d / (n - 1))) ** 2
    else:
        b = small / large
        root = math.sqrt(b * b + 14 * b + 1)
        edge = (2 * (b + 1) + 8 * b / (b + 1 + root)) * large / (n - 1) * noise
    return int(np.count_nonzero(values > edge))


def _minka(values: FloatVector, n: int) -> int:
    """Rank of the largest Laplace evidence; up to p - 1, like the model."""
    p = len(values)
    if p == 1:
        return 1
    x = values / values[0]
    best, found = -math.inf, 1
    for rank in range(1, p):
        if x[rank - 1] == 0:
            break
        evidence = _evidence(x, rank, n)
        if evidence > best:
            best, found = evidence, rank
    return found


def _evidence(x: FloatVector, rank: int, n: int) -> float:
    p = len(x)
    half = (p - np.arange(1, rank + 1) + 1) / 2
    prior = -rank * math.log(2) + float(np.sum(gammaln(half) - math.log(math.pi) * half))
    rest = max(float(x[rank:].mean()), 1e-15)
    fit = -n / 2 * float(np.log(x[:rank]).sum()) - n * (p - rank) / 2 * math.log(rest)
    m = p * rank - rank * (rank + 1) / 2
    smooth = np.concatenate([x[:rank], np.full(p - rank, rest)])
    i, j = np.triu_indices(p, 1)
    i, j = i[i < rank], j[i < rank]
    with np.errstate(divide="ignore"):
        curvature = np.log((x[i] - x[j]) * (1 / smooth[j] - 1 / smooth[i])) + math.log(n)
    return (
        prior
        + fit
        + math.log(2 * math.pi) * (m + rank) / 2
        - float(curvature.sum()) / 2
        - rank * math.log(n) / 2
    )


def _parallel(x: np.ndarray, values: FloatVector, standardize: bool, seed: int) -> int:
    rng = np.random.default_rng([seed, *x.shape])
    drawn = np.stack([
        pca_spectrum(rng.permuted(x, axis=0), standardize=standardize)[: len(values)]
        for _ in range(_PERMUTATIONS)
    ])  # fmt: skip
    return _leading(values > np.quantile(drawn, _LEVEL, axis=0))
