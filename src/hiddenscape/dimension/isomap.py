r"""Isomap: how many coordinates reproduce the distances along the neighbour graph.

Sources: Tenenbaum, de Silva, Langford 2000, "A global geometric framework for nonlinear
dimensionality reduction", doi 10.1126/science.290.5500.2319; landmarks: de Silva, Tenenbaum 2003,
"Global versus local methods in nonlinear dimensionality reduction", NeurIPS 15.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.sparse.linalg import eigsh

from hiddenscape.dimension.elbow import ELBOW_RULE, elbow
from hiddenscape.dimension.local import Lists, neighbor_lists, undefined_of
from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import blocks
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector, checked_seed, whole

__all__ = ["isomap_dimension"]

_ENTRIES = 1 << 22
_DENSE = 600
# A curve that starts this low has one dimension: what is left is the width of the curve.
_ONE = 0.01
# Steps after an elbow, in those before it: 0.04 in cubes of dimension 10, 0.5 where 20 components
# are too few for 20 dimensions.
_STEEP = 0.25
_LEAST = 10
_ALL = 5000
_MANY = 2000


def isomap_dimension(
    graph: NeighborGraph,
    k: int = 10,
    *,
    max_components: int = 20,
    landmarks: int | None = None,
    repeats: int = 5,
    seed: int = 0,
    duplicates: str = "unique",
) -> Dimension:
    r"""Elbow of the residual variance of Isomap.

    The neighbour graph (union of both directions, weighted by distance) gives shortest paths
    :math:`G_{ij}`; classical scaling of :math:`-\frac12 H G^2 H` gives coordinates, and

    .. math:: c(m) = 1 - \mathrm{corr}^2(G_{ij}, |y_i - y_j|_m)

    over pairs, with the first m coordinates. The answer is the elbow: the smallest m with
    :math:`c(m) \le c(m_{\max}) + 0.1 (c(1) - c(m_{\max}))`, and 1 where :math:`c(1) \le 0.01`.

    Parameters
    ----------
    graph : NeighborGraph
        Of any metric that is a length, with at least k neighbours per row.
    k : int
        Neighbours joined to each row, at least 2. Too few break the graph, too many cut corners:
        with 500 rows 10 join the layers of the swiss roll (3), 8 do not (2).
    max_components : int
        :math:`m_{\max}`, at least 5; fewer where there are not that many rows. The elbow must lie
        at least 3 below.
    landmarks : int, optional
        Rows between which paths are measured, through the graph of all; at least 10. By default
        all up to 5000 rows, 2000 beyond.
    repeats : int
        Draws of half the landmarks for the error; 0 for none.
    seed : int
        Keys the landmarks and the halves.
    duplicates : str
        ``unique`` (neighbours among distinct rows) or ``error``.

    Returns
    -------
    Dimension
        A whole number; ``parameters`` holds ``residual_variance`` c(1) to c(m_max) (publish the
        curve, the number is a summary of it), ``rule`` and ``share`` of the rows in the largest
        part, which alone is measured (``disconnected`` where there are others). ``repeats``: the
        spread over halves of the landmarks, paths fixed; it may be 0 where all agree. NaN with
        ``collapsed`` where fewer than 3 rows are distinct, with ``few_points`` where the largest
        part has fewer than 10, with ``undefined`` where there is no elbow: the last step takes
        more than 5 % of the whole fall, or the last three more than a quarter of the mean step up
        to the elbow, so that the dimension may lie beyond ``max_components``.

    Raises
    ------
    InputError
        For values out of range, or a graph that is too shallow.
    DuplicateRowsError
        For identical rows under ``duplicates="error"``.

    Notes
    -----
    O(L n (k + log n) + L^2 m) for L landmarks; memory of 3 L^2 float64 (600 MB for 5000) and some
    megabytes. Needs a manifold that can be laid out flat: 2 on the swiss roll, but d + 1 or no
    elbow on spheres and tori. With 1000 rows right in cubes of dimension 1 to 10; the tenth that
    the elbow leaves makes 14 of 15.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> t = np.random.default_rng(0).uniform(size=(2, 400))
    >>> roll = np.stack([np.cos(5 * t[0]), np.sin(5 * t[0]), 3 * t[1]], axis=1)
    >>> isomap_dimension(find_neighbors(roll, k=10)).value
    2.0
    """
    seed = checked_seed(seed)
    k, top = whole("k", k), whole("max_components", max_components)
    repeats = whole("repeats", repeats)
    count = None if landmarks is None else whole("landmarks", landmarks)
    if k < 2 or top < 5 or repeats < 0:
        raise InputError(
            "isomap needs k >= 2, max_components >= 5 and repeats >= 0, got "
            f"{k}, {max_components} and {repeats}"
        )
    if count is not None and count < _LEAST:
        raise InputError(f"landmarks must be at least {_LEAST}, got {landmarks}")
    if duplicates not in ("unique", "error"):
        raise InputError(f"duplicates must be unique or error, got {duplicates!r}")
    parameters: dict[str, object] = {
        "k": k,
        "max_components": top,
        "landmarks": landmarks,
        "repeats": repeats,
        "seed": seed,
        "rule": ELBOW_RULE,
        "duplicates": duplicates,
        "metric": graph.metric,
    }
    lists = neighbor_lists(graph, k, duplicates, method="isomap", parameters=parameters)
    if isinstance(lists, Dimension):
        return lists
    edges, inside = _largest_part(lists)
    n = len(inside)
    parameters["share"] = n / len(lists.rows)
    apart = len(lists.rows) - n
    note = f"disconnected ({apart} of {len(lists.rows)} rows are not joined)" if apart else ""
    if n < _LEAST:
        why = join_notes(note, f"few_points ({n} rows in the largest part)")
        return undefined_of(lists, "isomap", why, parameters)
    count = count or (n if n <= _ALL else _MANY)
    rng = np.random.default_rng([seed, n])
    chosen = np.sort(rng.choice(n, count, replace=False)) if count < n else np.arange(n)
    parameters["landmarks"] = len(chosen)
    paths = _paths(edges, chosen)
    curve = _residuals(paths, top)
    value = _elbow(curve)
    singles = [
        _elbow(_residuals(paths[np.ix_(half, half)], top))
        for half in (
            np.sort(rng.permutation(len(chosen))[: len(chosen) // 2]) for _ in range(repeats)
        )
        if len(half) >= _LEAST
    ]
    found = np.array([s for s in singles if math.isfinite(s)])
    error = float(found.std(ddof=1)) if len(found) > 1 and math.isfinite(value) else math.nan
    parameters["residual_variance"] = tuple(curve.tolist())
    without = len(singles) - len(found)
    return Dimension(
        value=value,
        stderr=error,
        stderr_kind="repeats" if math.isfinite(error) else "",
        interval=normal_interval(value, error),
        n_used=n,
        n_dropped=lists.n_dropped + apart,
        scale=lists.radius,
        method="isomap",
        n1=1,
        n2=k,
        note=join_notes(
            lists.note,
            note,
            f"few_points ({n} rows)" if n < 100 else "",
            ""
            if math.isfinite(value)
            else f"undefined (no elbow: the residual variance still falls at {len(curve)})",
            f"undefined ({without} of {len(singles)} halves have no elbow)"
            if without and math.isfinite(value)
            else "",
        ),
        parameters=parameters,
    )


def _largest_part(lists: Lists) -> tuple[csr_array, np.ndarray]:
    """Symmetric edges of the largest connected part (the first of equals), and its rows."""
    n, k = lists.distances.shape
    ends = np.searchsorted(lists.rows, lists.neighbors).ravel()
    # In units of the mean radius: squares neither overflow nor vanish.
    length = lists.distances.ravel() / lists.radius
    starts = np.repeat(np.arange(n), k)
    one_way = csr_array((length, (starts, ends)), shape=(n, n))
    edges = one_way.maximum(one_way.T).tocsr()
    _, part = connected_components(edges, directed=False)
    inside = np.flatnonzero(part == np.argmax(np.bincount(part)))
    return edges[inside][:, inside], inside


def _paths(edges: csr_array, chosen: np.ndarray) -> np.ndarray:
    """Shortest paths between the chosen rows through all: a block of them at a time."""
    n = edges.shape[0]
    out = np.empty((len(chosen), len(chosen)))
    for a, b in blocks(len(chosen), max(1, _ENTRIES // n)):
        out[a:b] = dijkstra(edges, directed=False, indices=chosen[a:b])[:, chosen]
    # The two directions add in another order.
    return np.minimum(out, out.T)


def _residuals(paths: np.ndarray, top: int) -> FloatVector:
    """Residual variance with 1, 2, ... coordinates of classical scaling."""
    n = len(paths)
    top = min(top, n - 2)
    square = paths * paths
    mean = square.mean(axis=0)
    square -= mean
    square -= mean[:, None]
    square += mean.mean()
    square *= -0.5
    if n <= _DENSE:
        values, vectors = np.linalg.eigh(square)
        values, vectors = values[-top:], vectors[:, -top:]
    else:
        start = np.random.default_rng(n).normal(size=n)
        values, vectors = eigsh(square, k=top, which="LA", v0=start)
    order = np.argsort(-values, kind="stable")
    coordinates = vectors[:, order] * np.sqrt(np.maximum(values[order], 0.0))
    del square
    return _unexplained(paths, coordinates)


def _unexplained(paths: np.ndarray, coordinates: np.ndarray) -> FloatVector:
    """1 - corr^2 of paths and distances over pairs, a block of rows at a time."""
    n, top = coordinates.shape
    pairs = n * (n - 1)
    middle = paths.sum() / pairs
    sums = np.zeros((top, 3))
    variance = 0.0
    for a, b in blocks(n, max(1, _ENTRIES // n)):
        off = np.arange(a, b)[:, None] != np.arange(n)
        g = np.where(off, paths[a:b] - middle, 0.0)
        variance += float(np.vdot(g, g))
        square = np.zeros((b - a, n))
        for m in range(top):
            step = coordinates[a:b, m, None] - coordinates[:, m]
            square += step * step
            # Off the diagonal about the mean path, so that little cancels in the sums.
            y = np.where(off, np.sqrt(square) - middle, 0.0)
            sums[m] += float(y.sum()), float(np.vdot(y, y)), float(np.vdot(g, y))
    spread = sums[:, 1] - sums[:, 0] ** 2 / pairs
    out = np.ones(top)
    np.divide(sums[:, 2] ** 2, variance * spread, out=out, where=spread > 0)
    return np.asarray(np.where(spread > 0, np.maximum(1 - out, 0.0), 1.0))


def _elbow(curve: FloatVector) -> float:
    """The elbow; NaN also where the curve is nearly as steep after it as before."""
    if curve[0] <= _ONE:
        return 1.0
    found = elbow(np.arange(1, len(curve) + 1), curve)
    if not 2 <= found <= len(curve) - 3:
        return math.nan
    at = int(found) - 1
    before, after = (curve[0] - curve[at]) / at, (curve[-4] - curve[-1]) / 3
    return found if after <= _STEEP * before else math.nan
