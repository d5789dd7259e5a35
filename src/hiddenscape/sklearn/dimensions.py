"""Intrinsic dimension as estimators: ``fit`` and ``dimension_``."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from hiddenscape.dimension.abide import abide
from hiddenscape.dimension.gride import gride
from hiddenscape.dimension.local import Average
from hiddenscape.dimension.mle import mle_dimension
from hiddenscape.dimension.pca import Convention, pca_dimension
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.two_nn import Method, two_nn
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.sklearn.base import BaseEstimator, checked, graph_of

__all__ = ["ABIDE", "GRIDE", "MLE", "PCADimension", "TwoNN"]


class _DimensionEstimator(BaseEstimator):  # type: ignore[misc]
    _least = 3

    def fit(self, X: Any, y: object = None) -> Self:
        """Estimate the dimension of the rows of X.

        Parameters
        ----------
        X : array (n, d)
            Real and finite.
        y : ignored

        Returns
        -------
        self
        """
        self.result_ = self._estimate(checked(self, X, at_least=self._least))
        self.dimension_ = self.result_.value
        self.stderr_ = self.result_.stderr
        self.note_ = self.result_.note
        return self

    def _estimate(self, points: np.ndarray) -> Dimension:
        raise NotImplementedError


class TwoNN(_DimensionEstimator):
    """Dimension from the first two neighbours of every row, by :func:`hiddenscape.two_nn`.

    Parameters
    ----------
    method : str
        ``censored``, ``mle``, ``fit``, ``bayes`` or ``naive``.
    fraction : float
        Share of the ratios kept, for ``censored``, ``fit`` and ``naive``.
    metric : str
        As in ``hiddenscape.find_neighbors``; dimensions need a length, so not ``cosine``.

    Attributes
    ----------
    dimension_ : float
        NaN where there is none; ``note_`` says why.
    stderr_ : float
        Its standard error.
    note_ : str
        What the reader must know, in the words of ``hiddenscape.results.NOTE_WORDS``.
    result_ : hiddenscape.Dimension
        The whole answer: scale, interval, rows used and left out, every setting.
    n_features_in_ : int
        Columns seen in ``fit``.

    References
    ----------
    Facco, d'Errico, Rodriguez, Laio 2017, doi 10.1038/s41598-017-11873-y.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).normal(size=(1000, 3))
    >>> round(TwoNN().fit(points).dimension_, 1)
    2.9
    """

    _least = 4

    def __init__(
        self, *, method: Method = "censored", fraction: float = 0.9, metric: str = "euclidean"
    ) -> None:
        self.method = method
        self.fraction = fraction
        self.metric = metric

    def _estimate(self, points: np.ndarray) -> Dimension:
        graph = graph_of(points, 2, self.metric)
        return two_nn(graph, method=self.method, fraction=self.fraction)


class GRIDE(_DimensionEstimator):
    """Dimension from the neighbours of two ranks, by :func:`hiddenscape.gride`.

    Parameters
    ----------
    n1 : int
        Lower rank.
    n2 : int, optional
        Upper rank; twice the lower one by default.
    metric : str
        As in ``hiddenscape.find_neighbors``; dimensions need a length, so not ``cosine``.

    Attributes
    ----------
    dimension_ : float
        NaN where there is none; ``note_`` says why.
    stderr_ : float
        Its standard error.
    note_ : str
        What the reader must know, in the words of ``hiddenscape.results.NOTE_WORDS``.
    result_ : hiddenscape.Dimension
        The whole answer: scale, interval, rows used and left out, every setting.
    n_features_in_ : int
        Columns seen in ``fit``.

    References
    ----------
    Denti, Doimo, Laio, Mira 2022, doi 10.1038/s41598-022-20991-1.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).normal(size=(1000, 3))
    >>> round(GRIDE(n1=2).fit(points).dimension_, 1)
    2.9
    """

    def __init__(self, *, n1: int = 1, n2: int | None = None, metric: str = "euclidean") -> None:
        self.n1 = n1
        self.n2 = n2
        self.metric = metric

    def _estimate(self, points: np.ndarray) -> Dimension:
        upper = 2 * self.n1 if self.n2 is None else self.n2
        return gride(find_neighbors(points, k=upper, metric=self.metric), self.n1, upper)


class MLE(_DimensionEstimator):
    """Dimension by Levina and Bickel, by :func:`hiddenscape.mle_dimension`.

    Parameters
    ----------
    k : int
        Neighbours of every row, at most n - 1: where there are fewer, all are used.
    average : str
        How rows are averaged: ``harmonic``, ``arithmetic`` or ``median``.
    unbiased : bool
        Divide by k - 2 instead of k - 1.
    metric : str
        As in ``hiddenscape.find_neighbors``; dimensions need a length, so not ``cosine``.

    Attributes
    ----------
    dimension_ : float
        NaN where there is none; ``note_`` says why.
    stderr_ : float
        Its standard error.
    note_ : str
        What the reader must know, in the words of ``hiddenscape.results.NOTE_WORDS``.
    result_ : hiddenscape.Dimension
        The whole answer: scale, interval, rows used and left out, every setting.
    n_features_in_ : int
        Columns seen in ``fit``.

    References
    ----------
    Levina, Bickel 2004; MacKay, Ghahramani 2005.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).normal(size=(1000, 3))
    >>> round(MLE(k=20).fit(points).dimension_, 1)
    3.1
    """

    _least = 4

    def __init__(
        self,
        *,
        k: int = 20,
        average: Average = "harmonic",
        unbiased: bool = False,
        metric: str = "euclidean",
    ) -> None:
        self.k = k
        self.average = average
        self.unbiased = unbiased
        self.metric = metric

    def _estimate(self, points: np.ndarray) -> Dimension:
        graph = graph_of(points, self.k, self.metric)
        return mle_dimension(graph, graph.k, average=self.average, unbiased=self.unbiased)


class ABIDE(_DimensionEstimator):
    """Dimension at the scale at which densities are constant, by :func:`hiddenscape.abide`.

    Parameters
    ----------
    k : int
        Neighbours of every row, at most n - 1: where there are fewer, all are used.
    alpha : float
        Level of the test for a change of density.
    metric : str
        As in ``hiddenscape.find_neighbors``; dimensions need a length, so not ``cosine``.

    Attributes
    ----------
    dimension_ : float
        NaN where there is none; ``note_`` says why.
    stderr_ : float
        Its standard error.
    note_ : str
        What the reader must know, in the words of ``hiddenscape.results.NOTE_WORDS``.
    result_ : hiddenscape.Dimension
        The whole answer: scale, interval, rows used and left out, every setting.
    n_features_in_ : int
        Columns seen in ``fit``.

    References
    ----------
    Di Noia, Macocco, Glielmo, Laio, Mira 2024, arXiv:2405.15132.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).normal(size=(1000, 3))
    >>> round(ABIDE().fit(points).dimension_, 1)
    2.9
    """

    _least = 6

    def __init__(self, *, k: int = 100, alpha: float = 1e-6, metric: str = "euclidean") -> None:
        self.k = k
        self.alpha = alpha
        self.metric = metric

    def _estimate(self, points: np.ndarray) -> Dimension:
        return abide(graph_of(points, self.k, self.metric), alpha=self.alpha)


class PCADimension(_DimensionEstimator):
    """Principal components that hold a share of the variance, by :func:`hiddenscape.pca_dimension`.

    Parameters
    ----------
    threshold : float
        Share of the variance, in (0, 1].
    standardize : bool
        Divide every column by its standard deviation first.
    convention : str
        ``count``, or ``published``, one less.

    Attributes
    ----------
    dimension_ : float
        NaN where there is none; ``note_`` says why.
    stderr_ : float
        Its standard error.
    note_ : str
        What the reader must know, in the words of ``hiddenscape.results.NOTE_WORDS``.
    result_ : hiddenscape.Dimension
        The whole answer: scale, interval, rows used and left out, every setting.
    n_features_in_ : int
        Columns seen in ``fit``.

    References
    ----------
    Ansuini, Laio, Macke, Zoccolan 2019, arXiv:1905.12784 (the count as a dimension).

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).normal(size=(1000, 3))
    >>> PCADimension(threshold=0.9).fit(points).dimension_
    3.0
    """

    def __init__(
        self, *, threshold: float = 0.9, standardize: bool = False, convention: Convention = "count"
    ) -> None:
        self.threshold = threshold
        self.standardize = standardize
        self.convention = convention

    def _estimate(self, points: np.ndarray) -> Dimension:
        return pca_dimension(
            points,
            threshold=self.threshold,
            standardize=self.standardize,
            convention=self.convention,
        )
