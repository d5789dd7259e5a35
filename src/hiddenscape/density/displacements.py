"""What gradients and differences share: points in the form in which displacements are taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.density.neighborhoods import Neighborhoods, neighborhoods
from hiddenscape.density.result import KStar
from hiddenscape.errors import InputError
from hiddenscape.kernels.metrics import Space
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.metrics import prepared
from hiddenscape.neighbors.search import check_graph_of

__all__ = ["RIDGE", "Displacements", "Variance", "displacements"]

Variance = Literal["corrected", "published"]

RIDGE = 1e-10
_LEAST = 3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Displacements:
    """Points, and the neighbours whose displacements make a gradient.

    Attributes
    ----------
    found : Neighborhoods
        k* per distinct row; the k* - 1 nearest enter a gradient.
    x : float32 or float64 array (N, D)
        All rows, distinct or not.
    period : float64 array (D,) or (0,)
    variance : str
        ``corrected`` or ``published``.
    """

    found: Neighborhoods
    x: np.ndarray
    period: np.ndarray
    variance: Variance

    @property
    def size(self) -> np.ndarray:
        """Displacements per distinct row, k* - 1."""
        return np.asarray(self.found.k - 1)

    @property
    def reach(self) -> np.ndarray:
        """Distance to the last of them."""
        assert self.found.graph is not None
        return np.asarray(self.found.graph.distances[np.arange(len(self.size)), self.size - 1])

    @property
    def factor(self) -> np.ndarray:
        """What turns a mean squared deviation into the variance of a mean, per row."""
        n = self.size.astype(np.float64)
        return 1 / (n - 1) if self.variance == "corrected" else (n + 1) / n**2

    @property
    def rank_one(self) -> str:
        """A note on rows with two displacements."""
        few = int(np.count_nonzero(self.found.k == _LEAST))
        said = f"few_points ({few} of {len(self.found.k)} rows: a covariance of 2 displacements)"
        return said if few else ""


def displacements(
    graph: NeighborGraph,
    points: ArrayLike,
    dimension: float,
    k: KStar | int | None,
    variance: Variance,
    force: bool,
) -> Displacements:
    """Check points and options, and find the neighbourhoods.

    Raises
    ------
    InputError
        If displacements do not exist in the metric, the points are not those of the graph, k* is
        below 3, or an option is unknown.
    """
    if variance not in get_args(Variance):
        known = ", ".join(get_args(Variance))
        raise InputError(f"variance must be one of {known}, got {variance!r}")
    if graph.metric not in ("euclidean", "periodic"):
        raise InputError(
            f"gradients are made of displacements, which metric {graph.metric!r} does not have: "
            "use euclidean or periodic"
        )
    check_graph_of(points, graph)
    data = prepared(points, graph.metric, graph.period)
    x = data.values if isinstance(data, Space) else data.original
    # One compilation for arrays that may and may not be written to, mapped or not.
    x = x.view(np.ndarray)
    x.flags.writeable = False
    period = np.empty(0) if graph.period is None else np.array(graph.period)
    found = neighborhoods(graph, dimension, k, least=_LEAST, force=force)
    found.parameters["variance"] = variance
    return Displacements(found=found, x=x, period=period, variance=variance)
