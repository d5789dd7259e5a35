r"""Local PCA: how many directions the neighbours of each row spread in.

Sources: Fukunaga, Olsen 1971, "An algorithm for finding intrinsic dimensionality of data", doi
10.1109/T-C.1971.223208; Fan, Gu, Qiao, Zhang 2010, arXiv:1002.2050; for the rules see
:mod:`hiddenscape.dimension.spectrum`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.dimension.local import (
    Average,
    Lists,
    Stderr,
    estimate_of,
    neighbor_lists,
    undefined_of,
)
from hiddenscape.dimension.patches import graph_for, patch_products
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.spectrum import count_components
from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import Cloud, blocks
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector, whole

__all__ = ["local_pca_dimension"]

LocalRule = Literal[
    "fukunaga_olsen", "fan", "max_gap", "ratio", "participation", "kaiser", "broken_stick", "minka",
]  # fmt: skip

_ENTRIES = 1 << 21
# Rounding must not push an exact share below its threshold.
_SLACK = 1e-12
_FULL = 0.9


def local_pca_dimension(
    points: ArrayLike,
    k: int = 30,
    *,
    rule: LocalRule = "fukunaga_olsen",
    threshold: float = 0.95,
    include_row: bool = True,
    graph: NeighborGraph | None = None,
    average: Average = "arithmetic",
    duplicates: str = "unique",
    stderr: Stderr = "bootstrap",
    blocks: ArrayLike | None = None,
    per_point: bool = False,
) -> Dimension:
    r"""Principal components that a rule keeps of every row with its k neighbours.

    On the eigenvalues of the covariance of the neighbourhood, :math:`p = \min(k, d)` of them (one
    fewer than rows in it at most; d counts columns that vary), the rules of
    :func:`spectrum_dimension` and

    ``ratio``
        The fewest components with at least ``threshold`` of the variance.
    ``participation``
        :math:`(\sum \lambda)^2 / \sum \lambda^2`, the one that is not a whole number.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed. Distances are Euclidean.
    k : int
        Neighbours per row, at least 2; more than the dimension, or nothing can be told. Ranks
        (1, k) stand in the result, the scale is the mean of :math:`r_k`.
    rule : str
        ``fukunaga_olsen`` (default), ``fan``, ``max_gap``, ``kaiser``, ``broken_stick``, ``minka``
        or one of the above.
    threshold : float
        Of ``ratio``, in (0, 1].
    include_row : bool
        Whether the row itself belongs to its neighbourhood; scikit-dimension leaves it out.
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
        Keep the number of every row in ``per_point`` (NaN for rows left out).

    Returns
    -------
    Dimension
        Rows of which a rule keeps nothing (nearly equal eigenvalues under ``kaiser`` and
        ``broken_stick``) have no value and are counted. NaN with ``undefined`` where that is most
        of the rows; with ``capped`` where most values exceed 0.9 k and columns are more than k
        (k + 1 rows span k dimensions, and a bound is no answer); with ``collapsed`` where fewer
        than 3 rows are distinct; with ``few_points`` where fewer than k + 1 are, or where ``minka``
        has no more rows in a neighbourhood than columns.

    Raises
    ------
    InputError
        For k below 2 or beyond the rows, a threshold outside (0, 1], an unknown option, a graph
        that is not Euclidean or of other points, or blocks that are missing or of another length.
    NonFiniteError
        If a row holds NaN or infinity.
    DuplicateRowsError
        For identical rows under ``duplicates="error"``.

    Notes
    -----
    O(n k^2 d) through Gram matrices, or O(n k d^2) where d < k, in blocks: never all
    neighbourhoods at once. A scale is chosen by k: with few neighbours noise counts, with many
    curvature does. The default counts directions with more than a twentieth of the largest
    variance: right on flat sheets, one too many where they bend by a fifth of their width.
    ``fan`` stops at 80 % and sees 3 of 5; ``broken_stick`` sees little where all directions are
    alike.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> points = rng.uniform(size=(500, 3)) @ rng.normal(size=(3, 50))
    >>> local_pca_dimension(points, 20).value
    3.0
    >>> round(local_pca_dimension(points, 20, rule="participation").value, 1)
    2.6
    """
    k = whole("k", k)
    if rule not in get_args(LocalRule):
        raise InputError(f"rule must be one of {', '.join(get_args(LocalRule))}, got {rule!r}")
    if not 0 < threshold <= 1:
        raise InputError(f"threshold must lie in (0, 1], got {threshold}")
    data, graph = graph_for(points, k, graph)
    parameters: dict[str, object] = {
        "k": k,
        "rule": rule,
        "include_row": include_row,
        "average": average,
        "duplicates": duplicates,
        "metric": graph.metric,
    }
    if rule == "ratio":
        parameters["threshold"] = float(threshold)
    lists = neighbor_lists(graph, k, duplicates, method="local_pca", parameters=parameters)
    if isinstance(lists, Dimension):
        return lists
    columns = np.flatnonzero(data.values.max(axis=0) > data.values.min(axis=0))
    rows = k + include_row
    if rule == "minka" and rows <= len(columns):
        why = f"few_points (neighbourhoods of {rows} rows, {len(columns)} columns)"
        return undefined_of(lists, "local_pca", why, parameters)
    values = np.full(len(lists.rows), np.nan)
    for a, b, spectra in _spectra(data, columns, lists, include_row):
        values[a:b] = _counted(spectra, rule, threshold, rows, len(columns))
    without = int(np.isnan(values).sum())
    if 2 * without > len(values):
        why = f"undefined (the rule keeps nothing of {without} of {len(values)} neighbourhoods)"
        return undefined_of(lists, "local_pca", why, parameters)
    full = int(np.count_nonzero(values > _FULL * k)) if len(columns) > k else 0
    if full:
        capped = f"capped ({full} of {len(values)} neighbourhoods fill the {k} dimensions they can)"
        if 2 * full > len(values):
            return undefined_of(lists, "local_pca", capped, parameters)
        lists = replace(lists, note=join_notes(lists.note, capped))
    return estimate_of(
        lists,
        values,
        method="local_pca",
        average=average,
        stderr=stderr,
        blocks=blocks,
        parameters=parameters,
        per_point=per_point,
    )


def _spectra(
    data: Cloud, columns: np.ndarray, lists: Lists, include_row: bool
) -> Iterator[tuple[int, int, np.ndarray]]:
    """For blocks of rows: eigenvalues (rows, p) up to a common factor, largest first."""
    k, d = lists.neighbors.shape[1], len(columns)
    p = min(k + include_row - 1, d)
    for a, b, scatter in _scatter(data, columns, lists, include_row):
        found = np.linalg.eigvalsh(scatter)[:, ::-1][:, :p]
        rounding = max(k, d) * np.finfo(np.float64).eps * found[:, :1]
        yield a, b, np.where(found > rounding, found, 0.0)


def _scatter(
    data: Cloud, columns: np.ndarray, lists: Lists, include_row: bool
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Sums of products about the mean of each neighbourhood: of rows, or of columns if fewer."""
    k, d = lists.neighbors.shape[1], len(columns)
    if d > k:
        for a, b, products in patch_products(data, lists.rows, lists.neighbors):
            gram = np.pad(products, ((0, 0), (1, 0), (1, 0))) if include_row else products
            mean = gram.mean(axis=1, keepdims=True)
            about = gram - mean - mean.transpose(0, 2, 1) + mean.mean(axis=2, keepdims=True)
            yield a, b, about
        return
    for a, b in blocks(len(lists.rows), max(1, _ENTRIES // (k * d))):
        base = data.values[np.ix_(lists.rows[a:b], columns)].astype(np.float64)[:, None]
        patch = data.values[lists.neighbors[a:b][:, :, None], columns].astype(np.float64) - base
        if include_row:
            patch = np.pad(patch, ((0, 0), (1, 0), (0, 0)))
        patch -= patch.mean(axis=1, keepdims=True)
        yield a, b, patch.transpose(0, 2, 1) @ patch


def _counted(
    spectra: np.ndarray, rule: str, threshold: float, rows: int, columns: int
) -> FloatVector:
    """Components kept of every neighbourhood; NaN where it has no extent or none is kept."""
    top = spectra[:, 0]
    out = np.full(len(spectra), np.nan)
    some = np.flatnonzero(top > 0)
    # In units of the largest, so that sums neither overflow nor vanish.
    unit = spectra[some] / top[some, None]
    if rule == "participation":
        out[some] = unit.sum(axis=1) ** 2 / (unit * unit).sum(axis=1)
    elif rule == "ratio":
        share = np.cumsum(unit, axis=1) / unit.sum(axis=1, keepdims=True)
        out[some] = np.argmax(share >= threshold - _SLACK, axis=1) + 1
    else:
        counts = [count_components(u, rule, n=rows, d=columns) for u in unit]  # type: ignore[arg-type]
        out[some] = np.where(np.array(counts) > 0, counts, np.nan)
    return out
