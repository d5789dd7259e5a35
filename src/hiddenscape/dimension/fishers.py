r"""FisherS: dimension from how well single points are separated from the others by a hyperplane.

Source: Albergante, Bac, Zinovyev 2019, "Estimating the effective dimension of large biological
datasets using Fisher separability analysis", arXiv:1901.06328.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import lambertw

from hiddenscape.dimension.halves import checked_repeats, spread_of_halves
from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import blocks, cloud
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector

__all__ = ["fishers_dimension"]

_ALPHAS = tuple(round(0.6 + 0.02 * i, 2) for i in range(20))
_CONDITION = 10.0
_ENTRIES = 1 << 22


def fishers_dimension(
    points: ArrayLike,
    *,
    alphas: ArrayLike = _ALPHAS,
    condition: float = _CONDITION,
    repeats: int = 10,
    seed: int = 0,
) -> Dimension:
    r"""Dimension of the sphere on which points would be as hard to separate.

    Points are centred, reduced to the principal components with variance above
    :math:`\lambda_1/c`, whitened, and projected to the unit sphere. With p(a) the share of ordered
    pairs with :math:`\langle x, y \rangle \ge a`, and :math:`w = \log(1 - a^2)`,

    .. math:: n(a) = \frac{W(-w / (2 \pi p^2 a^2 (1 - a^2)))}{-w}

    (W of Lambert). The value is n at the a nearest 0.9 times the largest at which p > 0.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed. Identical rows enter once.
    alphas : array (m,)
        Values of a in (0, 1), ascending.
    condition : float
        c, at least 1.
    repeats : int
        Pairs of complementary halves for the error; 0 for none.
    seed : int
        Keys the halves.

    Returns
    -------
    Dimension
        ``parameters`` holds ``profile`` (n at every a, NaN where no pair is that close),
        ``alpha`` (the one used) and ``components``. ``repeats``: the spread over random halves,
        up to twice the error of the whole. NaN with ``collapsed`` where fewer than 3 rows
        are distinct, with ``undefined`` where no pair of rows is close at any a (too few rows for
        the dimension). No scale: it is a global measure.

    Raises
    ------
    InputError
        For alphas outside (0, 1) or not ascending, or a condition below 1.
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    O(n^2 m) in blocks for m components. A global, linear view: curvature counts as for
    PCA (3 on the sphere of dimension 2, 2.9 on a swiss roll).

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).normal(size=(500, 5))
    >>> round(fishers_dimension(points, repeats=0).value, 1)
    5.0
    """
    a = np.asarray(alphas, dtype=np.float64)
    if a.ndim != 1 or not len(a) or not ((a > 0) & (a < 1)).all() or (np.diff(a) <= 0).any():
        raise InputError("alphas must be ascending numbers in (0, 1)")
    if not condition >= 1:
        raise InputError(f"condition must be at least 1, got {condition}")
    repeats = checked_repeats(repeats)
    data = cloud(points)
    same = find_duplicates(data.original)
    n = same.n_distinct
    parameters: dict[str, object] = {
        "alphas": tuple(a.tolist()),
        "condition": float(condition),
        "repeats": repeats,
        "seed": seed,
    }
    dropped = data.n - n
    note = f"duplicates ({dropped} of {data.n} rows)" if dropped else ""
    if n < 3:
        said = f"collapsed ({n} distinct of {data.n} rows)"
        return Dimension(value=math.nan, n_used=n, n_dropped=dropped, method="fishers",
                         note=join_notes(said, note), parameters=parameters)  # fmt: skip
    x = data.values[same.distinct_rows].astype(np.float64)
    profile, m = _profile(x, a, condition)
    value, at = _single(profile, a)
    error = spread_of_halves(n, lambda rows: _value(x[rows], a, condition), repeats, seed)
    parameters |= {"profile": tuple(profile.tolist()), "alpha": at, "components": m}
    note = join_notes(
        note,
        f"few_points ({n} rows)" if n < 100 else "",
        "undefined (no pair of rows is close at any alpha)" if math.isnan(value) else "",
        "collapsed (estimate below 1)" if value < 1 else "",
        f"low_for_high_dimension (estimate above log2 of {n} rows)" if value > math.log2(n) else "",
    )
    return Dimension(
        value=value,
        stderr=error if math.isfinite(value) else math.nan,
        stderr_kind="repeats" if math.isfinite(error) and math.isfinite(value) else "",
        interval=normal_interval(value, error),
        n_used=n,
        n_dropped=dropped,
        method="fishers",
        note=note,
        parameters=parameters,
    )


def _profile(x: np.ndarray, a: FloatVector, condition: float) -> tuple[FloatVector, int]:
    """n at every alpha, and the number of components kept."""
    sphere = _on_sphere(x, condition)
    n = len(sphere)
    count = np.zeros(len(a), dtype=np.int64)
    for low, high in blocks(n, max(1, _ENTRIES // n)):
        product = sphere[low:high] @ sphere.T
        product[np.arange(high - low), np.arange(low, high)] = -2.0
        count += [int(np.count_nonzero(product >= limit)) for limit in a]
    p = count / (n * (n - 1))
    w = np.log1p(-(a**2))
    out = np.full(len(a), np.nan)
    use = p > 0
    argument = -w[use] / (2 * math.pi * p[use] ** 2 * a[use] ** 2 * (1 - a[use] ** 2))
    out[use] = lambertw(argument).real / -w[use]
    return out, sphere.shape[1]


def _on_sphere(x: np.ndarray, condition: float) -> np.ndarray:
    """Whitened leading components of length 1; rows at the centre keep length 0."""
    centered = x - x.mean(axis=0)
    # In units of the largest value: squares neither overflow nor vanish.
    centered /= np.abs(centered).max()
    if x.shape[0] < x.shape[1]:
        values, vectors = np.linalg.eigh(centered @ centered.T)
        keep = values > values[-1] / condition
        white = vectors[:, keep]
    else:
        values, vectors = np.linalg.eigh(centered.T @ centered)
        keep = values > values[-1] / condition
        white = centered @ (vectors[:, keep] / np.sqrt(values[keep]))
    length = np.sqrt(np.einsum("ij,ij->i", white, white))
    return np.asarray(white / np.where(length > 0, length, 1.0)[:, None])


def _single(profile: FloatVector, a: FloatVector) -> tuple[float, float]:
    usable = np.flatnonzero(np.isfinite(profile))
    if not len(usable):
        return math.nan, math.nan
    at = usable[np.argmin(np.abs(a[usable] - 0.9 * a[usable[-1]]))]
    return float(profile[at]), float(a[at])


def _value(x: np.ndarray, a: FloatVector, condition: float) -> float:
    if not (x != x[0]).any():
        return math.nan
    return _single(_profile(x, a, condition)[0], a)[0]
