r"""Differences of log density along the edges of a graph, from the gradients at both ends.

Source: Carli, Rodriguez, Laio, Glielmo 2024, arXiv:2407.08094.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.density.displacements import RIDGE, Displacements, Variance, displacements
from hiddenscape.density.gradients import row_parts
from hiddenscape.density.result import KStar, seal
from hiddenscape.kernels.lists import count_common
from hiddenscape.kernels.slopes import edge_slopes
from hiddenscape.kernels.threads import in_threads, one_blas_thread
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector, IntVector

__all__ = ["DensityDifferences", "density_differences", "edge_differences"]

_Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DensityDifferences:
    r"""How much the log density changes along every edge.

    Attributes
    ----------
    rows, columns : int64 arrays (m,)
        Edges lead from each distinct row to its k* - 1 nearest, in order; numbers are rows of the
        graph given. Empty where k* is undefined (the note says why).
    values : float64 array (m,)
        :math:`\delta F_{ij}`, the estimate of :math:`\log\rho_j - \log\rho_i`, in nats.
    variance : float64 array (m,)
        Of the values, in squared nats.
    correlation : float64 array (m,)
        The correlation p of what the two ends say.
    dimension : float
    n_used, n_dropped, note, parameters
        As in :class:`hiddenscape.density.result.LogDensity`.
    """

    rows: IntVector
    columns: IntVector
    values: FloatVector
    variance: FloatVector
    correlation: FloatVector
    dimension: float
    n_used: int
    n_dropped: int = 0
    note: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seal(self, "rows", "columns", "values", "variance", "correlation")


def density_differences(
    graph: NeighborGraph,
    points: ArrayLike,
    *,
    dimension: float,
    k: KStar | int | None = None,
    variance: Variance = "corrected",
    force: bool = False,
) -> DensityDifferences:
    r"""Differences of log density between every row and its k* - 1 nearest, with variances.

    With the gradients g and covariances C of
    :func:`hiddenscape.density.gradients.density_gradients` and :math:`x = x_j - x_i`,

    .. math:: \delta F_{ij} = \tfrac12 (g_i + g_j) \cdot x, \quad
        \mathrm{Var} = \tfrac14 (s_i^2 + s_j^2 + 2 p s_i s_j), \quad s_i^2 = x' C_i x,

    where p is the sign of :math:`(g_i \cdot x)(g_j \cdot x)` times the Jaccard index of the two
    neighbourhoods (each its own row and its k* - 1 nearest).

    Parameters
    ----------
    graph, points, dimension, k, variance, force
        As for :func:`hiddenscape.density.gradients.density_gradients`.

    Returns
    -------
    DensityDifferences

    Raises
    ------
    InputError, NonFiniteError
        As there.

    Notes
    -----
    Only the numbers :math:`g \cdot x` and :math:`x' C x` are made, from the inner products of
    displacements in one neighbourhood at a time: O(n k*^2 D) time and O(n k*) memory beside the
    points. (With covariance matrices it would be O(n D^2): 47 GB for 10,000 rows of 768 columns.)
    A variance is at least :math:`10^{-10} (d+2)^2 x^2 / r^2`, at the longer r of the two ends:
    where both see the same neighbours and opposite slopes, the published form gives 0, a certainty
    that nobody has. Values do not depend on the unit of length.

    References
    ----------
    Carli, Rodriguez, Laio, Glielmo 2024, arXiv:2407.08094.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> points = np.random.default_rng(0).normal(size=(2000, 2))
    >>> found = density_differences(find_neighbors(points, k=100), points, dimension=2)
    >>> truth = -(points**2).sum(axis=1) / 2
    >>> error = found.values - (truth[found.columns] - truth[found.rows])
    >>> bool(np.abs(error).mean() < 0.1)
    True
    """
    use = displacements(graph, points, dimension, k, variance, force)
    found = use.found
    note = found.note
    if found.graph is None:
        none = np.empty(0)
        rows = columns = np.empty(0, dtype=np.int64)
        values = var = p = none
    else:
        rows, columns, values, var, p = edge_differences(use)
        rows, columns = found.rows.first[rows], found.rows.first[columns]
        note = join_notes(note, use.rank_one)
    return DensityDifferences(
        rows=rows,
        columns=columns,
        values=values,
        variance=var,
        correlation=p,
        dimension=found.dimension,
        n_used=found.rows.n_distinct,
        n_dropped=found.rows.n - found.rows.n_distinct,
        note=note,
        parameters={"method": "differences", **found.parameters},
    )


def edge_differences(use: Displacements) -> _Arrays:
    """Rows, columns (of the distinct rows), values, variances and correlations of all edges."""
    found, used, size = use.found, use.found.graph, use.size
    assert used is not None
    starts = np.concatenate([[0], np.cumsum(size)])
    rows = np.repeat(np.arange(used.n), size)
    inside = np.arange(used.k) < size[:, None]
    columns = used.indices[inside].astype(np.int64)
    arrivals = np.argsort(columns, kind="stable")
    arrival_starts = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=used.n))])
    seen = np.empty((len(rows), 4))
    common = np.empty(len(rows), dtype=np.int64)

    def work(part: tuple[int, int]) -> None:
        edge_slopes(
            use.x, use.period, found.rows.first, used.indices, used.distances, starts, rows,
            arrivals, arrival_starts, *part, seen,
        )  # fmt: skip
        count_common(used.indices, starts, 1, *part, common)

    # Products of one neighbourhood are small: threads inside of them wait for each other.
    with one_blas_thread():
        list(in_threads(work, row_parts(used.n)))
    slope = found.dimension + 2
    # Each neighbourhood holds its own row too: k* of them.
    p = np.sign(seen[:, 0] * seen[:, 2]) * common / (found.k[rows] + found.k[columns] - common)
    length = used.distances[inside]
    ridges = [RIDGE * (slope * length / use.reach[end]) ** 2 for end in (rows, columns)]
    s_i, s_j = (
        np.sqrt(slope**2 * seen[:, c] * use.factor[end] + ridge)
        for c, end, ridge in zip(
            (1, 3),
            (rows, columns),
            ridges if use.variance == "corrected" else [RIDGE * length**2] * 2,
            strict=True,
        )
    )
    values = 0.5 * slope * (seen[:, 0] + seen[:, 2])
    # The square first: it is never negative, whatever rounding does to p = -1.
    variance = 0.25 * ((s_i - s_j) ** 2 + 2 * (1 + p) * s_i * s_j)
    return rows, columns, values, np.maximum(variance, np.minimum(*ridges)), p
