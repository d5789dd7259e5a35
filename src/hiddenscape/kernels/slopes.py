"""Compiled loops over displacements to neighbours: mean-shift sums, projected on edges.

Rows are visited one at a time: what is held are the displacements of one neighbourhood and the
products among them, never a matrix of the width of the points. Displacements are differences of
the values as given, in float64, divided by the distance to the last neighbour used, so that
nothing depends on the unit of length.
"""

from __future__ import annotations

import numpy as np

from hiddenscape.kernels.compiled import jit

__all__ = ["edge_slopes", "mean_displacements"]

_CHUNK = 128


@jit
def _displace(
    x: np.ndarray, period: np.ndarray, i: int, j: int, scale: float, out: np.ndarray
) -> None:
    """(x_j - x_i) / scale, wrapped to half a period where columns have one."""
    for c in range(x.shape[1]):
        t = np.float64(x[j, c]) - np.float64(x[i, c])
        if len(period) > 0:
            if t > 0.5 * period[c]:
                t -= period[c]
            elif t < -0.5 * period[c]:
                t += period[c]
        out[c] = t / scale


@jit
def mean_displacements(
    x: np.ndarray,
    period: np.ndarray,
    place: np.ndarray,
    indices: np.ndarray,
    distances: np.ndarray,
    size: np.ndarray,
    low: int,
    high: int,
    mean: np.ndarray,
    spread: np.ndarray,
) -> None:
    """Mean and variance of the displacements of rows ``low`` to ``high``, column by column.

    Parameters
    ----------
    x : float32 or float64 array (N, D)
    period : float64 array (D,) or (0,)
    place : int64 array (n,)
        Which row of ``x`` each listed row is.
    indices, distances : arrays (n, K)
    size : int64 array (n,)
        Neighbours used; the last of them is the unit of length.
    mean, spread : float64 arrays (n, D)
        Filled: the mean and the mean squared deviation from it.
    """
    z = np.empty((indices.shape[1], x.shape[1]))
    for i in range(low, high):
        n = size[i]
        reach = distances[i, n - 1]
        for c in range(x.shape[1]):
            mean[i, c] = 0.0
            spread[i, c] = 0.0
        for l in range(n):  # noqa: E741
            _displace(x, period, place[i], place[indices[i, l]], reach, z[l])
            for c in range(x.shape[1]):
                mean[i, c] += z[l, c] / n
        for l in range(n):  # noqa: E741
            for c in range(x.shape[1]):
                t = z[l, c] - mean[i, c]
                spread[i, c] += t * t / n


@jit
def _moments(products: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> None:
    """Mean of every column, and the mean squared deviation from it."""
    rows, columns = products.shape
    for m in range(columns):
        mean[m] = 0.0
        spread[m] = 0.0
    for l in range(rows):  # noqa: E741
        for m in range(columns):
            mean[m] += products[l, m]
    for m in range(columns):
        mean[m] /= rows
    for l in range(rows):  # noqa: E741
        for m in range(columns):
            t = products[l, m] - mean[m]
            spread[m] += t * t
    for m in range(columns):
        spread[m] /= rows


@jit
def edge_slopes(
    x: np.ndarray,
    period: np.ndarray,
    place: np.ndarray,
    indices: np.ndarray,
    distances: np.ndarray,
    starts: np.ndarray,
    sources: np.ndarray,
    arrivals: np.ndarray,
    arrival_starts: np.ndarray,
    low: int,
    high: int,
    out: np.ndarray,
) -> None:
    """Slopes along every edge, as the neighbourhoods of its two ends see them.

    With y_l the displacements of the neighbourhood of a row, divided by the distance r to its last
    neighbour, and z the displacement along an edge, divided by r too: the mean of y_l . z over l,
    and the mean squared deviation from it. That is all a gradient and its covariance matrix have to
    say about the edge.

    Parameters
    ----------
    x, period, place, indices, distances
        As for :func:`mean_displacements`.
    starts : int64 array (n + 1,)
        The edges of row i are ``starts[i]`` to ``starts[i + 1]``, to its nearest rows in order.
    sources : int64 array (m,)
        The row that each edge starts from.
    arrivals : int64 array (m,)
        Edges ordered by the row in which they end; those of row j are ``arrival_starts[j]`` to
        ``arrival_starts[j + 1]``.
    low, high : int
        The rows whose neighbourhoods are looked at.
    out : float64 array (m, 4)
        Filled for the edges i -> j that start or end in these rows: mean and deviation as row i
        sees them, mean and deviation as row j sees them; z points from i to j in both.
    """
    most = 0
    for j in range(low, high):
        most = max(most, starts[j + 1] - starts[j])
    z = np.empty((most, x.shape[1]))
    other = np.empty((_CHUNK, x.shape[1]))
    edge = np.empty(_CHUNK, dtype=np.int64)
    mean, spread = np.empty(max(most, _CHUNK)), np.empty(max(most, _CHUNK))
    column = np.full(len(place), -1)
    for j in range(low, high):
        first, n = starts[j], starts[j + 1] - starts[j]
        reach = distances[j, n - 1]
        for l in range(n):  # noqa: E741
            _displace(x, period, place[j], place[indices[j, l]], reach, z[l])
            column[indices[j, l]] = l
        near = z[:n]
        _moments(np.dot(near, near.T), mean, spread)
        for l in range(n):  # noqa: E741
            out[first + l, 0] = mean[l]
            out[first + l, 1] = spread[l]
        waiting = 0
        last = arrival_starts[j + 1]
        for at in range(arrival_starts[j], last):
            e = arrivals[at]
            l = column[sources[e]]  # noqa: E741
            if l >= 0:
                # Seen from here the edge points the other way.
                out[e, 2] = -out[first + l, 0]
                out[e, 3] = out[first + l, 1]
            else:
                _displace(x, period, place[sources[e]], place[j], reach, other[waiting])
                edge[waiting] = e
                waiting += 1
            if waiting == _CHUNK or (waiting > 0 and at == last - 1):
                _moments(np.dot(near, other[:waiting].T), mean, spread)
                for m in range(waiting):
                    out[edge[m], 2] = mean[m]
                    out[edge[m], 3] = spread[m]
                waiting = 0
        for l in range(n):  # noqa: E741
            column[indices[j, l]] = -1
