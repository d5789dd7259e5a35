"""The metrics by name: points brought to the form in which a kernel measures them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.errors import InputError
from hiddenscape.kernels import arrays, direct
from hiddenscape.kernels.arrays import Cloud, blocks, cloud
from hiddenscape.kernels.metrics import DIRECT, Space, checked_period, space

__all__ = ["METRICS", "by_angle", "pair_distances", "prepared", "selected", "told_apart_by"]

METRICS = ("euclidean", "angular", "cosine", *DIRECT)


def prepared(points: ArrayLike, metric: str, period: ArrayLike | None = None) -> Cloud | Space:
    """Checked points in the form of a metric: Euclidean rows, unit vectors, or a :class:`Space`.

    Raises
    ------
    InputError
        For an unknown metric, points or periods that do not fit it, or a row without direction.
    NonFiniteError
        If a row holds NaN or infinity.

    Examples
    --------
    >>> prepared([[3.0, 4.0]], "angular").values.tolist()
    [[0.6, 0.8]]
    """
    if metric not in METRICS:
        raise InputError(f"no metric {metric!r}; there are: {', '.join(METRICS)}")
    if metric in DIRECT:
        return space(points, metric, period)
    data = cloud(points)
    checked_period(metric, period, data.d)
    return data if metric == "euclidean" else _directions(data)


def told_apart_by(data: Cloud | Space) -> np.ndarray:
    """The values that are equal exactly in rows at distance zero."""
    return data.values if isinstance(data, Space) else data.original


def selected(data: Cloud | Space, rows: np.ndarray) -> Cloud | Space:
    """Some rows in the same form."""
    if isinstance(data, Space):
        return Space(data.metric, data.values[rows], data.period)
    values = data.values[rows]
    # Mostly one array: a second copy of large points would cost as much memory again.
    original = values if data.original is data.values else data.original[rows]
    return Cloud(values, data.exponent, original)


def pair_distances(data: Cloud | Space, i: np.ndarray, j: np.ndarray, metric: str) -> np.ndarray:
    """Distances of a metric between rows ``i`` and rows ``j``, one per pair.

    Examples
    --------
    >>> quarter = prepared([[1.0, 0.0], [0.0, 2.0]], "cosine")
    >>> pair_distances(quarter, np.array([0]), np.array([1]), "cosine").round(15)
    array([1.])
    """
    if isinstance(data, Space):
        return direct.pair_distances(data, i, j)
    d = arrays.pair_distances(data, i, j)
    return d if metric == "euclidean" else _of_chord(d, metric)


def by_angle(indices: np.ndarray, chord: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Lists by chords between unit vectors as lists by angle or by 1 - cos.

    Reordered by row number where rounding makes ties.
    """
    d = _of_chord(chord, metric)
    order = np.lexsort((indices, d), axis=1)
    return np.take_along_axis(indices, order, axis=1), np.take_along_axis(d, order, axis=1)


def _of_chord(chord: np.ndarray, metric: str) -> np.ndarray:
    half = np.minimum(chord / 2, 1.0)
    d: np.ndarray = 2 * half * half if metric == "cosine" else 2 * np.arcsin(half)
    return d


def _directions(data: Cloud) -> Cloud:
    """Rows scaled to unit length, in float64."""
    unit = np.empty(data.values.shape)
    for a, b in blocks(data.n, max(1, (1 << 21) // data.d)):
        x = data.original[a:b].astype(np.float64)
        largest = np.abs(x).max(axis=1, keepdims=True)
        if not largest.all():
            row = a + int(np.flatnonzero(largest == 0)[0])
            raise InputError(f"row {row} is zero and has no direction: use metric='euclidean'")
        x = np.ldexp(x, -np.frexp(largest)[1])
        unit[a:b] = x / np.sqrt(np.add.reduce(x * x, axis=1, keepdims=True))
    return Cloud(unit, 0, unit)
