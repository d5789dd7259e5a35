"""What the estimators share: scikit-learn itself, checked points, a graph that fits them."""

from __future__ import annotations

from typing import Any

import numpy as np

from hiddenscape.density.kstar import k_star
from hiddenscape.density.result import KStar
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.errors import MissingDependency
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import join_notes
from hiddenscape.types import whole

try:
    from sklearn.base import BaseEstimator, ClusterMixin, DensityMixin
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise MissingDependency(
        'hiddenscape.sklearn needs scikit-learn 1.6 or newer: pip install "hiddenscape[sklearn]"'
    ) from error

__all__ = [
    "BaseEstimator",
    "ClusterMixin",
    "DensityMixin",
    "check_is_fitted",
    "checked",
    "graph_of",
    "landscape_of",
]


def checked(estimator: Any, X: Any, *, at_least: int, reset: bool = True) -> np.ndarray:
    """The points as scikit-learn checks them: numbers, finite, enough rows, as many columns.

    Raises
    ------
    ValueError
        As scikit-learn words it.
    """
    return np.asarray(
        validate_data(
            estimator, X, reset=reset, dtype=[np.float64, np.float32], ensure_min_samples=at_least
        )
    )


def graph_of(points: np.ndarray, k: int, metric: str) -> NeighborGraph:
    """The k nearest neighbours, or all n - 1 where there are fewer."""
    return find_neighbors(points, k=min(whole("k", k), len(points) - 1), metric=metric)


def landscape_of(
    points: np.ndarray, k: int | None, dimension: float | None, alpha: float, metric: str
) -> tuple[NeighborGraph, KStar, str]:
    """The graph, k* at the given dimension or that of TwoNN, and what to say of the latter."""
    depth = min(100, max(8, len(points) // 10)) if k is None else k
    graph = graph_of(points, depth, metric)
    note = ""
    if dimension is None:
        found = two_nn(graph)
        dimension, note = found.value, found.note
        if dimension < 1:
            dimension, note = 1.0, join_notes(note, f"collapsed ({found.value:.2g} taken as 1)")
    return graph, k_star(graph, dimension=dimension, alpha=alpha), note
