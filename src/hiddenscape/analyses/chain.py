"""From the points of one site to its density and its peaks, each step computed once.

Every step is a public function and reads what the steps before it gave: dimension, k*, density,
clusters. The chain lives as long as the site is measured.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from hiddenscape.analyses.entry import Settings
from hiddenscape.clustering.adp import adp
from hiddenscape.clustering.result import Clusters
from hiddenscape.density.bmti import bmti_density
from hiddenscape.density.knn import knn_density
from hiddenscape.density.kstar import k_star
from hiddenscape.density.kstar_nn import k_peaks, kstar_density
from hiddenscape.density.pak import pak_density
from hiddenscape.density.result import KStar, LogDensity
from hiddenscape.dimension.gride import gride
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.neighbors.graph import NeighborGraph

__all__ = ["Chain", "depth"]


def depth(settings: Settings, n: int) -> int:
    """Neighbours per row that a chain over n rows reads."""
    return min(max(settings.kstar_depth, settings.density_k, settings.density_rank), n - 1)


class Chain:
    """Dimension -> k* -> density -> clusters of one site.

    Parameters
    ----------
    points : array (n, d)
        Distinct rows.
    graph : NeighborGraph
        Of these points, with :func:`depth` neighbours or more. What lies deeper is not read, so
        that nothing depends on what else the graph was made for.
    settings : Settings

    Examples
    --------
    >>> from hiddenscape.neighbors.search import find_neighbors
    >>> points = np.random.default_rng(0).normal(size=(300, 2))
    >>> chain = Chain(points, find_neighbors(points, k=100), Settings(z=2.5))
    >>> f"dimension {chain.dimension.value:.1f}, {chain.clusters.n_clusters} cluster"
    'dimension 2.2, 1 cluster'
    """

    def __init__(self, points: np.ndarray, graph: NeighborGraph, settings: Settings) -> None:
        self.points, self.settings = points, settings
        self.graph = graph.take(min(depth(settings, graph.n), graph.k))

    @cached_property
    def dimension(self) -> Dimension:
        """The dimension that densities are made with, at its stated ranks."""
        given, n2 = self.settings.density_dimension, self.settings.density_rank
        if given is not None:
            return Dimension(value=float(given), n_used=self.graph.n, method="given")
        return two_nn(self.graph) if n2 == 2 else gride(self.graph, n1=n2 // 2)

    @cached_property
    def why_not(self) -> str:
        """Why no density can be measured, in the words of a note; empty where one can."""
        d = self.dimension.value
        if d < 1:
            return f"collapsed (estimated dimension {d:.3g} is below 1, no density)"
        return "" if math.isfinite(d) else self.dimension.note

    @property
    def usable(self) -> float:
        """The dimension, NaN where densities refuse it."""
        return math.nan if self.why_not else self.dimension.value

    @property
    def k_star_depth(self) -> int:
        """Neighbours among which k* is sought."""
        return min(self.settings.kstar_depth, self.graph.k)

    @cached_property
    def k_star(self) -> KStar:
        used = self.graph.take(self.k_star_depth)
        return k_star(used, dimension=self.usable, alpha=self.settings.alpha)

    @cached_property
    def knn(self) -> LogDensity:
        return knn_density(self.graph, dimension=self.usable, k=self.settings.density_k)

    @cached_property
    def kstar(self) -> LogDensity:
        return kstar_density(self.graph, dimension=self.usable, k=self.k_star)

    @cached_property
    def pak(self) -> LogDensity:
        return pak_density(self.graph, dimension=self.usable, k=self.k_star)

    @cached_property
    def bmti(self) -> LogDensity:
        return bmti_density(
            self.graph, self.points, dimension=self.usable, k=self.k_star, seed=self.settings.seed
        )

    @cached_property
    def k_peaks(self) -> LogDensity:
        return k_peaks(self.graph, dimension=self.usable, k=self.k_star)

    @property
    def density(self) -> LogDensity:
        """The density that peaks are sought in."""
        found: LogDensity = getattr(self, self.settings.density)
        return found

    @cached_property
    def clusters(self) -> Clusters:
        return self.clusters_at(self.settings.z)

    def clusters_at(self, z: float) -> Clusters:
        """The clusters at another Z, in the same density."""
        if z == self.settings.z and "clusters" in self.__dict__:
            return self.clusters
        return adp(self.graph, self.density, z=z, points=self.points)

    @property
    def parameters(self) -> dict[str, Any]:
        """What fixes the densities of this site, with the dimension as it was estimated."""
        d, n2 = self.dimension, self.settings.density_rank
        name = "TwoNN" if n2 == 2 else "GRIDE"
        said = "given" if d.method == "given" else f"{name} at ranks ({n2 // 2}, {n2})"
        return {
            "dimension": d.value,
            "dimension_from": said,
            "dimension_scale": d.scale,
            "alpha": self.settings.alpha,
            "kstar_depth": self.k_star_depth,
        }
