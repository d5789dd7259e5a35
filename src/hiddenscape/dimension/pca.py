r"""Linear dimension: how many principal components hold the variance, and how evenly.

With the eigenvalues :math:`\lambda_1 \ge \lambda_2 \ge \dots` of the covariance. Curvature counts
as variance: a circle has 2 components, a swiss roll 3, a sphere of dimension d has d + 1. Sources:
Ansuini, Laio, Macke, Zoccolan 2019, arXiv:1905.12784 (PC-ID at 90 %); Gao et al. 2017, doi
10.1101/214262 (participation ratio).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.dimension.halves import checked_repeats, spread_of_halves
from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import Cloud, cloud
from hiddenscape.kernels.moments import Moments, moments
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector

__all__ = ["participation_ratio", "pca_dimension", "pca_map", "pca_spectrum"]

Convention = Literal["count", "published"]

# Rounding must not push an exact share (9 of 10 equal components) below its threshold.
_SLACK = 1e-12


def pca_spectrum(points: ArrayLike, *, standardize: bool = False) -> FloatVector:
    """Eigenvalues of the covariance (divisor n - 1), largest first, min(n, d) of them.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed.
    standardize : bool
        Bring every column to variance 1 first; constant columns are left out.

    Returns
    -------
    float64 array
        Negative rounding is set to zero. Computed from the n x n Gram matrix where n < d.

    Raises
    ------
    InputError
        For fewer than 3 rows.
    NonFiniteError
        If a row holds NaN or infinity.

    Examples
    --------
    >>> pca_spectrum([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]).tolist()
    [1.0, 0.0]
    """
    found = moments(_enough(points), standardize=standardize)
    return np.asarray(np.ldexp(_eigenvalues(found), 2 * found.exponent))


def pca_dimension(
    points: ArrayLike,
    *,
    threshold: float = 0.9,
    standardize: bool = False,
    convention: Convention = "count",
    repeats: int = 0,
    seed: int = 0,
) -> Dimension:
    r"""Smallest number of principal components with at least ``threshold`` of the variance.

    :math:`\min\{m : \sum_{i \le m} \lambda_i \ge t \sum_i \lambda_i\}`.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed. All rows enter, identical ones too (their share is noted).
    threshold : float
        t in (0, 1].
    standardize : bool
        Bring every column to variance 1 first; constant columns are left out.
    convention : str
        ``count``; ``published`` gives m - 1, the 0-based index or the count below the threshold,
        as the codes of arXiv:1905.12784 and arXiv:2405.15471 report it.
    repeats : int
        Pairs of complementary halves for the error; 0 for none. Each costs as much as the whole.
    seed : int
        Keys the halves.

    Returns
    -------
    Dimension
        stderr: the spread over random halves (``repeats``); 0 where all agree. NaN ``collapsed``
        where fewer than 3 rows are distinct. At equal dimension the value falls with n / d: never
        compare sites of different n / d by this number alone.

    Raises
    ------
    InputError
        For fewer than 3 rows, a threshold outside (0, 1], an unknown convention, or negative
        repeats.
    NonFiniteError
        If a row holds NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> t = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    >>> pca_dimension(np.stack([np.cos(t), np.sin(t), 0 * t], axis=1)).value
    2.0
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold must lie in (0, 1], got {threshold}")
    if convention not in get_args(Convention):
        raise InputError(f"convention must be count or published, got {convention!r}")
    x = _enough(points)
    parameters: dict[str, object] = {
        "threshold": threshold,
        "standardize": standardize,
        "convention": convention,
    }
    note, flat = _remarks(x)
    if flat:
        return Dimension(value=math.nan, n_used=x.n, method="pca", note=note, parameters=parameters)

    def count(part: Cloud) -> float:
        eigenvalues = _eigenvalues(moments(part, standardize=standardize))
        if not eigenvalues.sum() > 0:
            return math.nan
        share = np.cumsum(eigenvalues) / eigenvalues.sum()
        m = int(np.argmax(share >= threshold - _SLACK)) + 1
        return float(m if convention == "count" else m - 1)

    return _with_error(x, count, "pca", note, parameters, checked_repeats(repeats), seed)


def participation_ratio(
    points: ArrayLike, *, centered: bool = True, repeats: int = 0, seed: int = 0
) -> Dimension:
    r"""Participation ratio :math:`(\sum \lambda)^2 / \sum \lambda^2` of the covariance spectrum.

    Computed as :math:`(\mathrm{tr}\, C)^2 / |C|_F^2`, without eigenvalues. Between 1 and
    min(n - 1, d).

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed. All rows enter, identical ones too (their share is noted).
    centered : bool
        Subtract the mean; without it the spectrum is that of :math:`X^T X`, and a large mean
        gives 1.
    repeats : int
        Pairs of complementary halves for the error; 0 for none. Each costs as much as the whole.
    seed : int
        Keys the halves.

    Returns
    -------
    Dimension
        stderr: the spread over random halves (``repeats``). NaN ``collapsed`` where fewer
        than 3 rows are distinct.

    Raises
    ------
    InputError
        For fewer than 3 rows.
    NonFiniteError
        If a row holds NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> round(participation_ratio(np.vstack([np.eye(5), -np.eye(5)])).value, 9)
    5.0
    """
    x = _enough(points)
    note, flat = _remarks(x)
    parameters: dict[str, object] = {"centered": centered}
    if flat:
        return Dimension(value=math.nan, n_used=x.n, method="participation_ratio", note=note,
                         parameters=parameters)  # fmt: skip

    def ratio(part: Cloud) -> float:
        matrix = moments(part, centered=centered).matrix
        square = float(np.vdot(matrix, matrix))
        return float(np.trace(matrix)) ** 2 / square if square > 0 else math.nan

    repeats = checked_repeats(repeats)
    return _with_error(x, ratio, "participation_ratio", note, parameters, repeats, seed)


def pca_map(points: ArrayLike, n_components: int = 2) -> tuple[np.ndarray, FloatVector]:
    """Coordinates of every row on the leading principal components, for a map.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed.
    n_components : int
        Number of coordinates; those beyond min(n, d) are zero.

    Returns
    -------
    coordinates : float32 array (n, n_components)
        The sign of each component is chosen so that its largest coordinate by magnitude (the first
        of equals) is positive.
    explained : float64 array (n_components,)
        Share of the variance; NaN where all rows are equal.

    Raises
    ------
    InputError
        For fewer than 3 rows or n_components below 1.
    NonFiniteError
        If a row holds NaN or infinity.

    Examples
    --------
    >>> coordinates, explained = pca_map([[2.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    >>> coordinates[:, 0].tolist(), explained.tolist()
    ([2.0, -1.0, -1.0], [1.0, 0.0])
    """
    if n_components < 1:
        raise InputError(f"n_components must be at least 1, got {n_components}")
    found = moments(_enough(points))
    vectors, values = _leading(found.matrix, n_components)
    coordinates = np.zeros((found.n, n_components))
    if found.gram:
        coordinates[:, : len(values)] = vectors * np.sqrt(values * (found.n - 1))
    else:
        coordinates[:, : len(values)] = found.project(vectors)
    total = float(np.trace(found.matrix))
    explained = np.full(n_components, 0.0 if total > 0 else math.nan)
    if total > 0:
        explained[: len(values)] = values / total
    largest = np.take_along_axis(coordinates, np.abs(coordinates).argmax(axis=0)[None], axis=0)
    coordinates *= np.where(largest < 0, -1.0, 1.0)
    return np.ldexp(coordinates, found.exponent).astype(np.float32), explained


def _with_error(
    x: Cloud,
    estimate: Callable[[Cloud], float],
    method: str,
    note: str,
    parameters: dict[str, object],
    repeats: int,
    seed: int,
) -> Dimension:
    value = estimate(x)
    error = spread_of_halves(x.n, lambda rows: estimate(cloud(x.original[rows])), repeats, seed)
    if math.isfinite(error):
        parameters |= {"repeats": repeats, "seed": seed}
    return Dimension(
        value=value,
        stderr=error,
        stderr_kind="repeats" if math.isfinite(error) else "",
        interval=normal_interval(value, error),
        n_used=x.n,
        method=method,
        note=note,
        parameters=parameters,
    )


def _enough(points: ArrayLike) -> Cloud:
    x = cloud(points)
    if x.n < 3:
        raise InputError(f"a spectrum needs at least 3 rows, got {x.n}")
    return x


def _remarks(x: Cloud) -> tuple[str, bool]:
    """What to say about the rows, and whether they have a spectrum at all."""
    same = find_duplicates(x.original)
    repeated = x.n - same.n_distinct
    if same.n_distinct < 3:
        return f"collapsed ({same.n_distinct} distinct of {x.n} rows)", True
    return join_notes(
        f"duplicates ({repeated} of {x.n} rows, all used)" if repeated else "",
        f"few_points ({x.n} rows)" if x.n < 100 else "",
    ), False


def _eigenvalues(found: Moments) -> np.ndarray:
    values = np.linalg.eigvalsh(found.matrix)[::-1]
    # The Gram matrix of n centred rows has rank n - 1 at most; what remains is rounding.
    values = np.where(values > len(values) * np.finfo(np.float64).eps * values[0], values, 0.0)
    return np.asarray(values)


def _leading(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(matrix)
    count = min(count, len(values))
    return vectors[:, ::-1][:, :count], np.maximum(values[::-1][:count], 0.0)
