"""Densities as estimators: ``fit`` and ``score_samples`` on any points."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from hiddenscape.density.interpolate import Method, interpolate_density
from hiddenscape.density.kstar import DEFAULT_ALPHA
from hiddenscape.density.kstar_nn import kstar_density
from hiddenscape.density.pak import pak_density
from hiddenscape.density.result import KStar, LogDensity
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.sklearn.base import (
    BaseEstimator,
    DensityMixin,
    check_is_fitted,
    checked,
    landscape_of,
)

__all__ = ["KStarDensity", "PAkDensity"]

_LEAST = 6


class _Density(DensityMixin, BaseEstimator):  # type: ignore[misc]
    _method: Method

    def __init__(
        self,
        *,
        dimension: float | None = None,
        k: int | None = None,
        alpha: float = DEFAULT_ALPHA,
        metric: str = "euclidean",
    ) -> None:
        self.dimension = dimension
        self.k = k
        self.alpha = alpha
        self.metric = metric

    def fit(self, X: Any, y: object = None) -> Self:
        """Estimate the density at the rows of X.

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
        self.result_ = self._at_rows(graph, stars)
        self.dimension_ = stars.dimension
        self.log_density_ = self.result_.values
        self.stderr_ = self.result_.stderr
        self.k_star_ = stars.k
        self.note_ = join_notes(note, self.result_.note)
        self._sample, self._graph = points, graph
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Log density at the rows of X, in nats.

        Parameters
        ----------
        X : array (n, d)
            Any points; a row of the sample has the value that ``fit`` gave it.

        Returns
        -------
        float64 array (n,)
            NaN where the sample has no density (``note_`` says why).
        """
        check_is_fitted(self)
        queries = checked(self, X, at_least=1, reset=False)
        found = interpolate_density(
            self._graph,
            self._sample,
            queries,
            dimension=self.dimension_,
            method=self._method,
            alpha=self.alpha,
        )
        return found.values

    def score(self, X: Any, y: object = None) -> float:
        """Mean log density of the rows of X: higher means more likely under the sample."""
        return float(self.score_samples(X).mean())

    def _at_rows(self, graph: NeighborGraph, stars: KStar) -> LogDensity:
        raise NotImplementedError


class KStarDensity(_Density):
    """k*NN density: as many neighbours as share the density of a row.

    By ``hiddenscape.kstar_density``, and ``hiddenscape.interpolate_density`` on other points.
    Volumes are of the intrinsic dimension, so that values at different dimensions are not
    comparable.

    Parameters
    ----------
    dimension : float, optional
        Intrinsic dimension of the points; that of TwoNN by default, and 1 where that is below 1
        (``note_`` says so).
    k : int, optional
        Neighbours stored, the limit of k*, at most n - 1. By default a tenth of the rows, at least
        8 and at most 100.
    alpha : float
        Level of the test behind k*.
    metric : str
        As in ``hiddenscape.find_neighbors``.

    Attributes
    ----------
    log_density_, stderr_ : float64 arrays (n,)
        At the rows of the sample, in nats; NaN where there is none (``note_`` says why).
    k_star_ : int64 array (n,)
    dimension_ : float
        What volumes were made with.
    note_ : str
    result_ : hiddenscape.LogDensity
        The whole answer, with every setting.
    n_features_in_ : int
        Columns seen in ``fit``.

    References
    ----------
    Rodriguez, d'Errico, Facco, Laio 2018, doi 10.1021/acs.jctc.7b00916.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).normal(size=(1000, 2))
    >>> found = KStarDensity(dimension=2).fit(points)
    >>> found.score_samples([[0.0, 0.0], [3.0, 0.0]]).round(1)  # exactly -1.8 and -6.3
    array([-2. , -5.7])
    """

    _method = "kstar"

    def _at_rows(self, graph: NeighborGraph, stars: KStar) -> LogDensity:
        return kstar_density(graph, dimension=stars.dimension, k=stars)


class PAkDensity(_Density):
    """PAk density: k*NN with a correction for a density that changes within the ball.

    By ``hiddenscape.pak_density``, and ``hiddenscape.interpolate_density`` on other points.
    Volumes are of the intrinsic dimension, so that values at different dimensions are not
    comparable.

    Parameters
    ----------
    dimension : float, optional
        Intrinsic dimension of the points; that of TwoNN by default, and 1 where that is below 1
        (``note_`` says so).
    k : int, optional
        Neighbours stored, the limit of k*, at most n - 1. By default a tenth of the rows, at least
        8 and at most 100.
    alpha : float
        Level of the test behind k*.
    metric : str
        As in ``hiddenscape.find_neighbors``.

    Attributes
    ----------
    log_density_, stderr_ : float64 arrays (n,)
        At the rows of the sample, in nats; NaN where there is none (``note_`` says why).
    k_star_ : int64 array (n,)
    dimension_ : float
        What volumes were made with.
    note_ : str
    result_ : hiddenscape.LogDensity
        The whole answer, with every setting.
    n_features_in_ : int
        Columns seen in ``fit``.

    References
    ----------
    Rodriguez, d'Errico, Facco, Laio 2018, doi 10.1021/acs.jctc.7b00916.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).normal(size=(1000, 2))
    >>> found = PAkDensity(dimension=2).fit(points)
    >>> found.score_samples([[0.0, 0.0], [3.0, 0.0]]).round(1)  # exactly -1.8 and -6.3
    array([-1.8, -6.5])
    """

    _method = "pak"

    def _at_rows(self, graph: NeighborGraph, stars: KStar) -> LogDensity:
        return pak_density(graph, dimension=stars.dimension, k=stars)
