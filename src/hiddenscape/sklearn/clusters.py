"""Clusters around the peaks of a density as estimators: ``fit``, ``labels_``, ``fit_predict``."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from hiddenscape.clustering.adp import DEFAULT_Z, adp
from hiddenscape.clustering.density_peaks import DecisionGraph, decision_graph, density_peaks
from hiddenscape.clustering.result import Clusters
from hiddenscape.density.kstar import DEFAULT_ALPHA
from hiddenscape.density.pak import pak_density
from hiddenscape.density.result import LogDensity
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.sklearn.base import BaseEstimator, ClusterMixin, checked, landscape_of
from hiddenscape.types import whole

__all__ = ["ADP", "DensityPeaks"]

_LEAST = 6


class _PeakClusters(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """PAk densities with k*, then clusters."""

    dimension: float | None
    k: int | None
    alpha: float
    metric: str

    def fit(self, X: Any, y: object = None) -> Self:
        """Find the clusters of the rows of X.

        Parameters
        ----------
        X : array (n, d)
            Real and finite, at least 6 rows.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For points that scikit-learn refuses, and for settings that make no sense.
        """
        points = checked(self, X, at_least=_LEAST)
        graph, stars, note = landscape_of(points, self.k, self.dimension, self.alpha, self.metric)
        self.dimension_ = stars.dimension
        self.density_ = pak_density(graph, dimension=self.dimension_, k=stars)
        self.result_ = self._clusters(graph, self.density_, points)
        self.labels_ = self._labels()
        self.n_clusters_ = self.result_.n_clusters
        self.centers_ = self.result_.centers
        self.note_ = join_notes(note, self.result_.note)
        return self

    def _labels(self) -> np.ndarray:
        return self.result_.labels.copy()

    def _clusters(self, graph: NeighborGraph, density: LogDensity, points: np.ndarray) -> Clusters:
        raise NotImplementedError


class ADP(_PeakClusters):
    """As many clusters as there are peaks that stand out of their errors, by ``hiddenscape.adp``.

    Densities are PAk with k*.

    Parameters
    ----------
    z : float
        How many errors a peak must rise above its saddles.
    dimension : float, optional
        Intrinsic dimension of the points; that of TwoNN by default, and 1 where that is below 1
        (``note_`` says so).
    k : int, optional
        Neighbours stored, the limit of k*, at most n - 1. By default a tenth of the rows, at least
        8 and at most 100: deeper lists of few rows reach from cluster to cluster.
    alpha : float
        Level of the test behind k*.
    halo : bool
        Give rows in the halo the label -1, as noise.
    metric : str
        As in ``hiddenscape.find_neighbors``.

    Attributes
    ----------
    labels_ : int64 array (n,)
        -1 for every row where there is no density (``note_`` says why), and for the halo if asked.
    n_clusters_ : int
    centers_ : int64 array (n_clusters,)
        Rows of the peaks.
    dimension_ : float
        What the densities were made with.
    density_ : hiddenscape.LogDensity
    note_ : str
    result_ : hiddenscape.Clusters
        The whole answer: peaks, saddles, halo, every setting.
    n_features_in_ : int
        Columns seen in ``fit``.

    References
    ----------
    d'Errico, Facco, Laio, Rodriguez 2021, doi 10.1016/j.ins.2021.01.010.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> points = np.vstack([rng.normal(size=(300, 2)), 6 + rng.normal(size=(200, 2))])
    >>> np.bincount(ADP().fit_predict(points)).tolist()
    [300, 200]
    """

    def __init__(
        self,
        *,
        z: float = DEFAULT_Z,
        dimension: float | None = None,
        k: int | None = None,
        alpha: float = DEFAULT_ALPHA,
        halo: bool = False,
        metric: str = "euclidean",
    ) -> None:
        self.z = z
        self.dimension = dimension
        self.k = k
        self.alpha = alpha
        self.halo = halo
        self.metric = metric

    def _clusters(self, graph: NeighborGraph, density: LogDensity, points: np.ndarray) -> Clusters:
        return adp(graph, density, z=self.z, points=points)

    def _labels(self) -> np.ndarray:
        return np.where(self.result_.halo & self.halo, -1, self.result_.labels)


class DensityPeaks(_PeakClusters):
    """A given number of clusters around dense rows far from denser ones.

    By ``hiddenscape.density_peaks`` on PAk densities with k*. Of the denser part of the rows, those
    farthest from any denser row are the centres.

    Parameters
    ----------
    n_clusters : int
        Centres wanted. Fewer are found where the next rows are equally far.
    denser : float
        Share of the rows, the densest ones, that may be centres, in (0, 1].
    dimension : float, optional
        Intrinsic dimension of the points; that of TwoNN by default, and 1 where that is below 1
        (``note_`` says so).
    k : int, optional
        Neighbours stored, the limit of k*, at most n - 1. By default a tenth of the rows, at least
        8 and at most 100: deeper lists of few rows reach from cluster to cluster.
    alpha : float
        Level of the test behind k*.
    metric : str
        As in ``hiddenscape.find_neighbors``.

    Attributes
    ----------
    labels_ : int64 array (n,)
        -1 for every row where there is no density (``note_`` says why).
    n_clusters_ : int
    centers_ : int64 array (n_clusters,)
        Rows of the centres.
    dimension_ : float
        What the densities were made with.
    density_ : hiddenscape.LogDensity
    decision_graph_ : hiddenscape.DecisionGraph
        To choose other centres by.
    note_ : str
    result_ : hiddenscape.Clusters
        The whole answer; its parameters hold the two thresholds.
    n_features_in_ : int
        Columns seen in ``fit``.

    Notes
    -----
    How the number of centres becomes two thresholds is ours; published work reads them off the
    decision graph. ``hiddenscape.density_peaks`` takes thresholds.

    References
    ----------
    Rodriguez, Laio 2014, doi 10.1126/science.1242072.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> points = np.vstack([rng.normal(size=(300, 2)), 6 + rng.normal(size=(200, 2))])
    >>> np.bincount(DensityPeaks(n_clusters=2).fit_predict(points)).tolist()
    [300, 200]
    """

    def __init__(
        self,
        n_clusters: int = 2,
        *,
        denser: float = 0.5,
        dimension: float | None = None,
        k: int | None = None,
        alpha: float = DEFAULT_ALPHA,
        metric: str = "euclidean",
    ) -> None:
        self.n_clusters = n_clusters
        self.denser = denser
        self.dimension = dimension
        self.k = k
        self.alpha = alpha
        self.metric = metric

    def _clusters(self, graph: NeighborGraph, density: LogDensity, points: np.ndarray) -> Clusters:
        self.decision_graph_ = decision_graph(graph, density, points=points)
        low, far = _thresholds(
            self.decision_graph_, graph, whole("n_clusters", self.n_clusters), self.denser
        )
        return density_peaks(graph, density, min_log_density=low, min_delta=far, points=points)


def _thresholds(
    found: DecisionGraph, graph: NeighborGraph, wanted: int, denser: float
) -> tuple[float, float]:
    """Limits that leave the wanted number of centres: just below the least dense, the next far."""
    if wanted < 1:
        raise InputError(f"n_clusters must be at least 1, got {wanted}")
    if not 0 < denser <= 1:
        raise InputError(f"denser must lie in (0, 1], got {denser}")
    if np.isnan(found.log_density).any():
        return -np.inf, 0.0
    # A copy is no second centre.
    distinct = np.arange(graph.n) if graph.distinct is None else graph.distinct.rows
    height, delta = found.log_density[distinct], found.delta[distinct]
    order = np.argsort(-height, kind="stable")
    may = order[: max(wanted, int(np.ceil(denser * len(order))))]
    if wanted > len(may):
        raise InputError(f"{len(may)} distinct rows cannot be the centres of {wanted} clusters")
    low = float(np.nextafter(height[may[-1]], -np.inf))
    far = np.sort(delta[may])[::-1]
    return low, float(far[wanted]) if wanted < len(far) else 0.0
