r"""Gradients of the log density by the mean shift of the neighbours, with their errors.

Sources: Fukunaga, Hostetler 1975, doi 10.1109/TIT.1975.1055330; with k* neighbours and errors as in
Carli, Rodriguez, Laio, Glielmo 2024, arXiv:2407.08094.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.density.displacements import RIDGE, Variance, displacements
from hiddenscape.density.result import KStar, seal
from hiddenscape.errors import InputError
from hiddenscape.kernels.slopes import mean_displacements
from hiddenscape.kernels.threads import cores, in_threads
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import IntVector

__all__ = ["DensityGradients", "density_gradients", "row_parts"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DensityGradients:
    r"""Gradient of the log density at every row.

    Attributes
    ----------
    values : float64 array (n, D)
        :math:`g_i`, in nats per unit of length. Copies carry the gradient of the row that they
        repeat. NaN where undefined (the note says why).
    stderr : float64 array (n, D)
        Standard error of every component.
    k : int64 array (n,)
        k* of every row: one more than the neighbours that entered.
    dimension : float
    n_used, n_dropped, note, parameters
        As in :class:`hiddenscape.density.result.LogDensity`.
    """

    values: np.ndarray
    stderr: np.ndarray
    k: IntVector
    dimension: float
    n_used: int
    n_dropped: int = 0
    note: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.shape != self.stderr.shape or len(self.k) != len(self.values):
            raise InputError(
                f"values {self.values.shape}, stderr {self.stderr.shape} and k {self.k.shape} "
                "must have one entry per row"
            )
        if np.isnan(self.values).any() and not self.note:
            raise InputError("gradients without values need a note that says why")
        seal(self, "values", "stderr", "k")


def density_gradients(
    graph: NeighborGraph,
    points: ArrayLike,
    *,
    dimension: float,
    k: KStar | int | None = None,
    variance: Variance = "corrected",
    force: bool = False,
) -> DensityGradients:
    r"""Gradient of the log density at every row, from where its neighbours lie on average.

    .. math:: g_i = \frac{d + 2}{r^2} \, \frac1n \sum_{j = 1}^n (x_j - x_i)

    over the :math:`n = k^*_i - 1` nearest neighbours, r the distance to the last of them. Its
    covariance matrix is that of a mean,

    .. math:: C_i = \frac{(d + 2)^2}{r^4} \, \frac{S_i}{n - 1},

    with the mean squared deviations :math:`S_i` of the displacements; :math:`10^{-10} (d+2)^2/r^2`
    is added to its diagonal.

    Parameters
    ----------
    graph : NeighborGraph
        Euclidean or periodic, with at least 5 neighbours per row (3 for a fixed k).
    points : array (n, D)
        The points of the graph; float32 files mapped into memory are not copied.
    dimension : float
        d, such as ``two_nn(graph, ...).value``.
    k : KStar or int, optional
        By default ``k_star(graph, dimension=dimension)``; a number of at least 3 is the k* of every
        row.
    variance : str
        ``corrected`` as above. ``published``: :math:`S_i (n + 1) / n^2`, and :math:`10^{-10}` on
        the diagonal in whatever unit the points have.
    force : bool
        Accept a dimension below 1.

    Returns
    -------
    DensityGradients
        Among distinct rows, with the notes of k*. NaN where k* is undefined. The note
        ``few_points`` counts rows with two displacements, whose covariance has rank one.

    Raises
    ------
    InputError
        For a metric without displacements, points that are not those of the graph, an unknown
        option, and as :func:`hiddenscape.density.kstar.k_star`.
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    Scaling the points by c divides gradients and errors by c. Directions normal to the manifold get
    a gradient from curvature and noise alone. O(n k* D) time and O(n D) memory: no covariance
    matrix is held.

    References
    ----------
    Carli, Rodriguez, Laio, Glielmo 2024, arXiv:2407.08094; Fukunaga, Hostetler 1975,
    doi 10.1109/TIT.1975.1055330.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> points = np.random.default_rng(0).normal(size=(2000, 2))  # the gradient is -x
    >>> found = density_gradients(find_neighbors(points, k=100), points, dimension=2)
    >>> inside = (points**2).sum(axis=1) < 1
    >>> ((found.values + points) / found.stderr)[inside].std().round(1)
    np.float64(1.0)
    """
    use = displacements(graph, points, dimension, k, variance, force)
    found, width = use.found, use.x.shape[1]
    used, back = found.graph, found.rows.inverse
    note = found.note
    if used is None:
        values = stderr = np.full((found.rows.n, width), math.nan)
    else:
        mean, spread = np.empty((used.n, width)), np.empty((used.n, width))

        def work(part: tuple[int, int]) -> None:
            mean_displacements(
                use.x, use.period, found.rows.first, used.indices, used.distances, use.size,
                *part, mean, spread,
            )  # fmt: skip

        list(in_threads(work, row_parts(used.n)))
        note = join_notes(note, use.rank_one)
        slope = ((found.dimension + 2) / use.reach)[:, None]
        spread *= use.factor[:, None]
        if variance == "corrected":
            spread += RIDGE
        values, stderr = mean * slope, np.sqrt(spread) * slope
        if variance == "published":
            stderr = np.sqrt(stderr**2 + RIDGE)
        if found.rows.n != used.n:
            values, stderr = values[back], stderr[back]
    return DensityGradients(
        values=values,
        stderr=stderr,
        k=found.k[back],
        dimension=found.dimension,
        n_used=found.rows.n_distinct,
        n_dropped=found.rows.n - found.rows.n_distinct,
        note=note,
        parameters={"method": "gradients", **found.parameters},
    )


def row_parts(n: int) -> list[tuple[int, int]]:
    """Ranges of rows for threads: results do not depend on them.

    Examples
    --------
    >>> row_parts(3)
    [(0, 3)]
    """
    size = max(64, -(-n // (8 * cores())))
    return [(a, min(a + size, n)) for a in range(0, n, size)]
