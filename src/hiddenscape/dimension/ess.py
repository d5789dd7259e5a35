r"""ESS: expected simplex skewness, the shape of small simplices spanned by a neighbourhood.

Source: Johnsson, Soneson, Fontes 2015, "Low bias local intrinsic dimension estimation from expected
simplex skewness", doi 10.1109/TPAMI.2014.2343220.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from hiddenscape.dimension.local import Average, Stderr, estimate_of, neighbor_lists
from hiddenscape.dimension.patches import graph_for, patch_products
from hiddenscape.dimension.result import Dimension
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.types import FloatVector, whole

__all__ = ["ess_dimension", "ess_of_patch"]

Form = Literal["a", "b"]

_DOUBLINGS = 50
# Beyond this the references of neighbouring dimensions differ by rounding only.
_LARGEST = 1e6


def ess_dimension(
    points: ArrayLike,
    k: int = 20,
    *,
    form: Form = "a",
    graph: NeighborGraph | None = None,
    average: Average = "arithmetic",
    duplicates: str = "unique",
    stderr: Stderr = "bootstrap",
    blocks: ArrayLike | None = None,
    per_point: bool = False,
) -> Dimension:
    r"""Intrinsic dimension from the angles between the members of each neighbourhood.

    The row and its k neighbours are centred on their mean, giving vectors x. Over all pairs

    ``a``
        :math:`s = \sum |x \wedge y| / \sum |x||y|` (areas of parallelograms), compared with
        :math:`a(m) = \Gamma(m/2)^2/(\Gamma(\frac{m+1}2) \Gamma(\frac{m-1}2))`.
    ``b``
        :math:`s = \sum |\langle x, y \rangle| / \sum |x||y|`, compared with
        :math:`b(m) = \Gamma(m/2)/(\sqrt\pi\, \Gamma(\frac{m+1}2))`.

    The dimension is the m, interpolated linearly between whole numbers, whose reference is s: the
    mean of the same quantity over random directions.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed. Distances are Euclidean.
    k : int
        Neighbours per row, at least 2. Ranks (1, k) stand in the result, the scale is the mean of
        :math:`r_k`.
    form : str
        ``a`` or ``b``.
    graph : NeighborGraph, optional
        The Euclidean graph of these points, to spare the search.
    average : str
        ``arithmetic``, ``harmonic`` or ``median`` over rows.
    duplicates : str
        ``unique`` (neighbours among distinct rows), ``drop_zero`` or ``error``.
    stderr : str
        ``bootstrap``: spread of the rows' values, lists fixed; too small on point clouds, where
        rows share neighbours. ``blocks``: delete-one jackknife over ``blocks``.
    blocks : int array (n,), optional
        Block of every row, such as ``spatial_blocks(points)``; needed by ``stderr="blocks"``.
    per_point : bool
        Keep the dimension of every row in ``per_point`` (NaN for rows left out).

    Returns
    -------
    Dimension
        NaN with ``collapsed`` where fewer than 3 rows are distinct, with ``few_points`` where fewer
        than k + 1 are. At least 1. Rows whose vectors are all orthogonal, or whose s belongs to a
        dimension beyond a million, have no value and are counted.

    Raises
    ------
    InputError
        For k below 2 or beyond the rows, an unknown option, a graph that is not Euclidean or of
        other points, or blocks that are missing or of another length.
    NonFiniteError
        If a row holds NaN or infinity.
    DuplicateRowsError
        For identical rows under ``duplicates="error"``.

    Notes
    -----
    O(n k^2 d) time through the Gram matrix of each neighbourhood. Lengths hardly matter, only
    directions, so that a boundary biases little: with 1000 rows and k = 20 within 1 % on the square
    and Gaussians of dimension 5, 4 % too low in cubes of dimension 5 and 10. Curvature counts: 5 %
    too high on spheres of dimension 2 and 5, 10 % on the flat torus of dimension 2 (form a).

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).uniform(size=(1000, 3))
    >>> round(ess_dimension(points, 20).value, 1)
    3.0
    """
    k = whole("k", k)
    if form not in get_args(Form):
        raise InputError(f"form must be a or b, got {form!r}")
    data, graph = graph_for(points, k, graph)
    parameters: dict[str, object] = {
        "k": k,
        "form": form,
        "average": average,
        "duplicates": duplicates,
        "metric": graph.metric,
    }
    lists = neighbor_lists(graph, k, duplicates, method="ess", parameters=parameters)
    if isinstance(lists, Dimension):
        return lists
    values = np.full(len(lists.rows), np.nan)
    for a, b, products in patch_products(data, lists.rows, lists.neighbors):
        # The row itself joins as the origin, before all are centred.
        with_row = np.pad(products, ((0, 0), (1, 0), (1, 0)))
        values[a:b] = _dimension_of(_skewness(_centered(with_row), form), form, 1)
    return estimate_of(
        lists,
        values,
        method="ess",
        average=average,
        stderr=stderr,
        blocks=blocks,
        parameters=parameters,
        per_point=per_point,
    )


def ess_of_patch(points: ArrayLike, *, form: Form = "a", vectors: int = 1) -> tuple[float, float]:
    r"""Dimension and skewness of one neighbourhood, all rows together.

    Parameters
    ----------
    points : array (n, d)
        At least 3 rows (4 for two vectors).
    form : str
        ``a`` or ``b``, see :func:`ess_dimension`.
    vectors : int
        For ``a``: each simplex is spanned by one vector and this many more, 1 or 2. With q more the
        reference is :math:`[\Gamma(m/2)/\Gamma(\frac{m+1}2)]^q \Gamma(m/2)/\Gamma(\frac{m-q}2)`.

    Returns
    -------
    dimension, skewness : float
        NaN where all rows are equal.

    Raises
    ------
    InputError
        For too few rows or an unknown option.
    NonFiniteError
        If a row holds NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> d, s = ess_of_patch(np.random.default_rng(0).normal(size=(100, 4)))
    >>> round(d, 1), round(s, 2)
    (4.0, 0.85)
    """
    if form not in get_args(Form):
        raise InputError(f"form must be a or b, got {form!r}")
    if vectors not in (1, 2) or (form == "b" and vectors != 1):
        raise InputError(f"vectors must be 1 or, for form a, 2, got {vectors}")
    data, _ = graph_for(points, 1, None)
    if data.n < vectors + 2:
        raise InputError(f"a simplex needs at least {vectors + 2} rows, got {data.n}")
    x = data.values.astype(np.float64)
    x -= x.mean(axis=0)
    gram = (x @ x.T)[None]
    s = _skewness(gram, form) if vectors == 1 else _skewness_of_three(gram[0])
    return float(_dimension_of(s, form, vectors)[0]), float(s[0])


def _centered(products: np.ndarray) -> np.ndarray:
    """Gram matrices about the mean of their members."""
    mean = products.mean(axis=1, keepdims=True)
    return np.asarray(products - mean - mean.transpose(0, 2, 1) + mean.mean(axis=2, keepdims=True))


def _skewness(gram: np.ndarray, form: str) -> FloatVector:
    """Mean area, or mean |inner product|, over mean product of lengths, per patch."""
    square = np.maximum(np.einsum("pii->pi", gram), 0.0)
    both = square[:, :, None] * square[:, None, :]
    i, j = np.triu_indices(gram.shape[1], 1)
    lengths = np.sqrt(both[:, i, j]).sum(axis=1)
    if form == "a":
        top = np.sqrt(np.maximum(both - gram * gram, 0.0)[:, i, j]).sum(axis=1)
    else:
        top = np.abs(gram[:, i, j]).sum(axis=1)
    out = np.full(len(gram), np.nan)
    np.divide(top, lengths, out=out, where=lengths > 0)
    return out


def _skewness_of_three(gram: np.ndarray) -> FloatVector:
    """Volumes of parallelepipeds over products of lengths, all triples of one patch."""
    square = np.maximum(np.diag(gram), 0.0)
    volume, lengths = 0.0, 0.0
    for i in range(len(gram) - 2):
        j, k = np.triu_indices(len(gram) - i - 1, 1)
        j, k = j + i + 1, k + i + 1
        a, b, c = gram[i, j], gram[i, k], gram[j, k]
        p, q, r = square[i], square[j], square[k]
        determinant = p * q * r + 2 * a * b * c - p * c * c - q * b * b - r * a * a
        volume += float(np.sqrt(np.maximum(determinant, 0.0)).sum())
        lengths += float(np.sqrt(p * q * r).sum())
    return np.array([volume / lengths if lengths > 0 else math.nan])


def _reference(m: np.ndarray, form: str, vectors: int) -> np.ndarray:
    half, next_half = gammaln(m / 2), gammaln((m + 1) / 2)
    if form == "b":
        return np.asarray(np.exp(half - next_half) / math.sqrt(math.pi))
    inside = m > vectors
    below = gammaln(np.where(inside, m - vectors, 1.0) / 2)
    return np.where(inside, np.exp(vectors * (half - next_half) + half - below), 0.0)


def _dimension_of(s: FloatVector, form: str, vectors: int) -> FloatVector:
    """The m whose reference is s, linear between whole numbers; NaN where there is none."""
    sign = 1.0 if form == "a" else -1.0
    low = np.ones_like(s)
    high = np.full_like(s, _LARGEST)
    for _ in range(_DOUBLINGS):
        middle = np.floor((low + high) / 2)
        below = sign * _reference(middle, form, vectors) <= sign * s
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    # Several dimensions share the reference 0 of form a: simplices with two more vectors are flat
    # in one dimension and in two.
    left, right = _reference(low, form, vectors), _reference(low + 1, form, vectors)
    found = low + (s - left) / (right - left)
    return np.where(np.isfinite(s) & (low < _LARGEST - 1), found, np.nan)
