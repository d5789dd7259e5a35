r"""Peaks as points of a plane: near where the pass between them is high.

Sources: Doimo, Glielmo, Ansuini, Laio 2020, arXiv:2007.03506 (``kernel``); de Leeuw 1977 and Borg,
Groenen 2005, doi 10.1007/0-387-28981-X (``mds``, stress majorisation).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from hiddenscape.clustering.result import Clusters
from hiddenscape.clustering.topography import MergeTree, merge_tree
from hiddenscape.density.result import seal
from hiddenscape.errors import InputError
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector

__all__ = ["PeakMap", "peak_map", "saddle_distances"]

Method = Literal["kernel", "mds"]
_STEPS = 2000
_SETTLED = 1e-12
_EQUAL = 1e-9


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PeakMap:
    r"""Two coordinates per peak.

    Attributes
    ----------
    coordinates : float64 array (c, 2)
        Centred; NaN where undefined (the note says why). For ``mds`` in nats, like the distances;
        for ``kernel`` unit eigenvectors, whose lengths mean nothing. Mirror images are equally
        good: the entry of largest magnitude of each column is positive.
    distances : float64 array (c, c)
        What is shown: :math:`D_{ab} = \max\log\rho - \log\rho_{s(ab)}`, in nats.
    direct : bool array (c, c)
        Pairs with a border of their own; the others have the distance of the best way.
    eigenvalues : float64 array (c,)
        Of the centred kernel, or of classical scaling, descending: two that stand out mean that a
        plane is enough.
    stress : float
        Of ``mds``: :math:`\sqrt{\sum (D_{ab} - |x_a - x_b|)^2 / \sum D_{ab}^2}` over pairs; 0 is
        perfect, above 0.2 the plane misleads. NaN for ``kernel``.
    method : str
    note : str
    parameters : mapping
    """

    coordinates: np.ndarray
    distances: np.ndarray
    direct: np.ndarray
    eigenvalues: FloatVector
    stress: float
    method: str
    note: str
    parameters: Mapping[str, object]

    def __post_init__(self) -> None:
        seal(self, "coordinates", "distances", "direct", "eigenvalues")


def saddle_distances(clusters: Clusters) -> tuple[np.ndarray, np.ndarray]:
    r"""How deep one must go between peaks, :math:`D_{ab} = \max\log\rho - \log\rho_{s(ab)}`.

    A pair without a border takes the way over other clusters whose lowest pass is highest; where
    there is no way at all, 1.05 times the depth of the deepest saddle or lowest peak (1 nat if that
    is 0), which is no measurement.

    Parameters
    ----------
    clusters : Clusters
        With saddles: of ``adp``.

    Returns
    -------
    tuple of float64 array (c, c), bool array (c, c)
        Distances with a diagonal of 0, and which pairs have a border of their own.

    Raises
    ------
    InputError
        For a clustering of a method that measures no saddles.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import adp, find_neighbors, pak_density
    >>> rng = np.random.default_rng(0)
    >>> points = np.vstack([rng.normal(size=(300, 2)), 4 + rng.normal(size=(200, 2))])
    >>> graph = find_neighbors(points, k=60)
    >>> depth, direct = saddle_distances(adp(graph, pak_density(graph, dimension=2)))
    >>> depth.round(1).tolist(), bool(direct[0, 1])
    ([[0.0, 2.7], [2.7, 0.0]], True)
    """
    c = clusters.n_clusters
    tree = merge_tree(clusters)
    depth = _best_ways(tree)
    direct = np.zeros((c, c), dtype=bool)
    if c:
        a, b = clusters.saddle_pairs.T
        direct[a, b] = direct[b, a] = True
        depth[a, b] = depth[b, a] = float(clusters.heights.max()) - clusters.saddles
    return depth, direct


def peak_map(clusters: Clusters, *, method: Method = "kernel") -> PeakMap:
    r"""The peaks of a density in a plane, by the saddles between them.

    With D of :func:`saddle_distances`:

    ``kernel`` (default)
        :math:`K = \exp(-2 D^2 / s^2)`, s the mean of the upper triangle of D with its diagonal;
        centred on both sides, :math:`H K H`, :math:`H = I - 11'/c`; the two leading eigenvectors,
        of length 1.
    ``mds``
        The points of least :math:`\sum_{a<b} (D_{ab} - |x_a - x_b|)^2`: stress majorisation from
        classical scaling, so that nothing is drawn at random; turned to its principal axes.

    Parameters
    ----------
    clusters : Clusters
        With saddles: of ``adp``.
    method : str

    Returns
    -------
    PeakMap
        NaN coordinates with a note for fewer than 3 peaks, which span no plane. ``disconnected``
        where some peaks share no way: their distances are no measurements. ``ties`` where the
        plane is one of many (equal second and third eigenvalue, as for peaks alike). ``undefined``
        where all saddles are as high as the highest peak.

    Raises
    ------
    InputError
        For a clustering of a method that measures no saddles, or an unknown method.

    Notes
    -----
    D is no metric in general: it may break the triangle inequality, and neither picture shows it
    exactly. ``mds`` says by its ``stress`` how far off it is, and finds a local minimum. ``kernel``
    blurs what is far: beyond about s, distances stop to matter. O(c^3) time.

    References
    ----------
    Doimo, Glielmo, Ansuini, Laio 2020, arXiv:2007.03506; Borg, Groenen 2005,
    doi 10.1007/0-387-28981-X.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import adp, find_neighbors, pak_density
    >>> rng = np.random.default_rng(0)
    >>> places = [(0, 0), (4, 0), (0, 5), (5, 5)]
    >>> points = np.vstack([p + rng.normal(size=(200, 2)) for p in places])
    >>> graph = find_neighbors(points, k=60)
    >>> found = peak_map(adp(graph, pak_density(graph, dimension=2)), method="mds")
    >>> found.coordinates.shape, round(found.stress, 2)
    ((4, 2), 0.1)
    """
    if method not in get_args(Method):
        known = ", ".join(get_args(Method))
        raise InputError(f"method must be one of {known}, got {method!r}")
    depth, direct = saddle_distances(clusters)
    c = clusters.n_clusters
    note, stress = merge_tree(clusters).note, math.nan
    if c < 3 or not depth.any():
        why = f"few_points ({c} peaks span no plane)" if c < 3 else "undefined (all saddles equal)"
        coordinates, values = np.full((c, 2), np.nan), np.full(c, np.nan)
        note = join_notes(note, why) if c else note
    else:
        coordinates, values = _kernel(depth) if method == "kernel" else _classical(depth)
        if abs(values[1] - values[2]) <= _EQUAL * abs(values[0]):
            note = join_notes(note, "ties (the plane is one of many)")
        if method == "mds":
            coordinates, stress, settled = _majorised(depth, coordinates)
            note = join_notes(note, "" if settled else f"approximate ({_STEPS} steps)")
    return PeakMap(
        coordinates=_fixed_signs(coordinates),
        distances=depth,
        direct=direct,
        eigenvalues=values,
        stress=stress,
        method=method,
        note=note,
        parameters={**clusters.parameters, "map": method},
    )


def _best_ways(tree: MergeTree) -> np.ndarray:
    """Depth of the lowest pass on the best way: the heights at which single linkage joins."""
    c = len(tree.peaks)
    depth = np.zeros((c, c))
    if c < 2:
        return depth
    members = [np.array([a]) for a in range(c)]
    for (a, b), distance in zip(tree.joined, tree.linkage()[:, 2], strict=True):
        depth[np.ix_(members[a], members[b])] = distance
        depth[np.ix_(members[b], members[a])] = distance
        members.append(np.concatenate([members[a], members[b]]))
    return depth


def _centred(matrix: np.ndarray) -> np.ndarray:
    once = matrix - matrix.mean(axis=0)
    return np.asarray(once - once.mean(axis=1)[:, None])


def _kernel(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = float(depth[np.triu_indices(len(depth))].mean())
    values, vectors = np.linalg.eigh(_centred(np.exp(-2 * (depth / scale) ** 2)))
    return vectors[:, ::-1][:, :2], values[::-1]


def _classical(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Torgerson's scaling: exact where D are distances in a plane."""
    values, vectors = np.linalg.eigh(-0.5 * _centred(depth**2))
    values, vectors = values[::-1], vectors[:, ::-1]
    return vectors[:, :2] * np.sqrt(np.maximum(values[:2], 0.0)), values


def _majorised(depth: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """Guttman's transform until the stress settles; stress never rises from step to step."""
    c, x = len(depth), start
    total = float((depth**2).sum())
    before = math.inf
    for _ in range(_STEPS):
        length = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=2))
        raw = float(((depth - length) ** 2).sum())
        if before - raw <= _SETTLED * total:
            break
        before = raw
        ratio = np.divide(depth, length, out=np.zeros_like(depth), where=length > 0)
        x = (np.diag(ratio.sum(axis=1)) - ratio) @ x / c
    else:
        return _turned(x), math.sqrt(raw / total), False
    return _turned(x), math.sqrt(raw / total), True


def _turned(x: np.ndarray) -> np.ndarray:
    """On its principal axes, the longer one first."""
    centred = x - x.mean(axis=0)
    return np.asarray(centred @ np.linalg.svd(centred, full_matrices=False)[2].T)


def _fixed_signs(x: np.ndarray) -> np.ndarray:
    if not len(x) or np.isnan(x).any():
        return x
    largest = np.abs(x).argmax(axis=0)
    return np.asarray(x * np.where(x[largest, np.arange(x.shape[1])] < 0, -1.0, 1.0))
