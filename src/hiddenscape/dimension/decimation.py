"""Decimation: the same estimator on ever smaller random subsets, that is at ever larger scales.

Source: Facco, d'Errico, Rodriguez, Laio 2017, doi 10.1038/s41598-017-11873-y (scale analysis). The
subsets here are disjoint, so that repeats share no row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension, DimensionCurve
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import cloud
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import check_graph_of, find_neighbors
from hiddenscape.results import join_notes, note_words
from hiddenscape.types import checked_seed

__all__ = ["decimation"]

Estimator = Callable[[NeighborGraph], Dimension]


def decimation(
    points: ArrayLike,
    *,
    estimator: Estimator = two_nn,
    k: int = 2,
    min_rows: int = 20,
    seed: int = 0,
    graph: NeighborGraph | None = None,
) -> DimensionCurve:
    r"""Dimension against scale by thinning the rows.

    For s = 0, 1, ... the distinct rows are dealt into :math:`2^s` disjoint subsets of one seeded
    permutation (sizes equal or differing by one), neighbours are found anew inside each, and the
    estimates averaged. Stops before subsets have fewer than ``min_rows`` rows.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed.
    estimator : callable
        NeighborGraph -> Dimension; TwoNN (censored) by default.
    k : int
        Neighbours that the estimator needs.
    min_rows : int
        Smallest subset, at least 10.
    seed : int
        Keys the permutation.
    graph : NeighborGraph, optional
        The graph over all these points, to spare the first and longest search.

    Returns
    -------
    DimensionCurve
        From all rows (smallest scale) to the smallest subsets. ``n_used`` is the rows of one
        subset (rounded mean); ``stderr`` the standard deviation over the :math:`2^s` repeats over
        the root of their number (``repeats``; they share the data set, not its sampling error), for
        s = 0 the estimator's own. ``repeats`` holds the single estimates. Repeats without a value
        are left out of the mean and said so in the note.

    Raises
    ------
    InputError
        For fewer than 3 rows, a min_rows below 10 or below k + 1, or a graph of other points.
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    Costs twice the search over all rows. Thinning the list of ratios instead would leave the scale
    where it is.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).uniform(size=(400, 2))
    >>> curve = decimation(points)
    >>> curve.subset, [len(r) for r in curve.repeats]
    ((400, 200, 100, 50, 25), [1, 2, 4, 8, 16])
    """
    seed = checked_seed(seed)
    if min_rows < max(10, k + 1):
        raise InputError(f"min_rows must be at least {max(10, k + 1)}, got {min_rows}")
    data = cloud(points)
    if data.n < 3:
        raise InputError(f"decimation needs at least 3 rows, got {data.n}")
    if graph is not None and (graph.n != data.n or graph.k < k):
        raise InputError(
            f"the graph has {graph.n} rows and {graph.k} neighbours, the points have {data.n} rows "
            f"and the estimator needs k = {k}"
        )
    if graph is not None:
        check_graph_of(data.original, graph)
        if graph.metric != "euclidean":
            raise InputError(
                f"the subsets are searched by Euclidean distance, the graph is {graph.metric}"
            )
    else:
        graph = find_neighbors(data.original, k=min(k, data.n - 1))
    whole = estimator(graph)
    estimates = [whole]
    repeats: list[tuple[Dimension, ...]] = [(whole,)]
    distinct = find_duplicates(data.original).distinct_rows
    for s, subsets in _deals(distinct, min_rows, seed):
        singles = tuple(estimator(find_neighbors(data.original[subset], k=k)) for subset in subsets)
        estimates.append(_mean(singles, s, seed, whole))
        repeats.append(singles)
    return DimensionCurve(estimates=tuple(estimates), repeats=tuple(repeats))


def _deals(rows: np.ndarray, min_rows: int, seed: int) -> Iterator[tuple[int, list[np.ndarray]]]:
    order = np.random.default_rng([seed, len(rows)]).permutation(rows)
    s = 1
    while len(rows) // 2**s >= min_rows:
        yield s, [np.sort(part) for part in np.array_split(order, 2**s)]
        s += 1


def _mean(singles: tuple[Dimension, ...], s: int, seed: int, whole: Dimension) -> Dimension:
    values = np.array([e.value for e in singles])
    finite = values[np.isfinite(values)]
    missing = len(values) - len(finite)
    value = float(finite.mean()) if finite.size else math.nan
    stderr = float(finite.std(ddof=1) / math.sqrt(finite.size)) if finite.size > 1 else math.nan
    words = [word for e in singles for word in note_words(e.note)]
    said = [part for part in whole.note.split("; ") if part.startswith("duplicates")]
    said += [f"{w} ({words.count(w)} of {len(singles)} subsets)" for w in dict.fromkeys(words)]
    if missing:
        said.append(f"undefined ({missing} of {len(singles)} subsets)")
    used = round(sum(e.n_used for e in singles) / len(singles))
    return Dimension(
        value=value,
        stderr=stderr,
        stderr_kind="repeats" if math.isfinite(stderr) else "",
        interval=normal_interval(value, stderr),
        n_used=used,
        n_dropped=whole.n_dropped,
        scale=float(np.mean([e.scale for e in singles])),
        method=whole.method,
        n1=whole.n1,
        n2=whole.n2,
        note=join_notes(*said),
        parameters={**whole.parameters, "decimated": 2**s, "seed": seed},
    )
