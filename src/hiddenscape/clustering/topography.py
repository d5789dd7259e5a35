r"""Topography: in which order the clusters run together when the water falls.

Sources: d'Errico, Facco, Laio, Rodriguez 2021, doi 10.1016/j.ins.2021.01.010; single linkage as
scipy's.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from hiddenscape.clustering.result import Clusters
from hiddenscape.density.result import seal
from hiddenscape.errors import InputError
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector, IntVector

__all__ = ["MergeTree", "merge_tree"]

Method = Literal["single", "average"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MergeTree:
    r"""Clusters joined pair by pair, from the highest saddle down.

    Attributes
    ----------
    joined : int64 array (c - 1, 2)
        What each step joins: clusters are 0 to c - 1, step s makes c + s.
    heights : float64 array (c - 1,)
        :math:`\log\rho` at which they join, descending: of the saddle, or of the mean over the
        saddles between the two; NaN for parts that share no border and are joined last.
    saddle_rows : int64 array (c - 1,)
        The row of the highest saddle between them; -1 where there is none.
    peaks : float64 array (c,)
        :math:`\log\rho` of the peaks: how high each leaf ends.
    order : int64 array (c,)
        Clusters from left to right, so that no two branches cross.
    note : str
        That of the clusters; ``disconnected`` where parts share no border.
    parameters : mapping
        Of the clustering, and the linkage.
    """

    joined: np.ndarray
    heights: FloatVector
    saddle_rows: IntVector
    peaks: FloatVector
    order: IntVector
    note: str
    parameters: Mapping[str, object]

    def __post_init__(self) -> None:
        seal(self, "joined", "heights", "saddle_rows", "peaks", "order")

    def linkage(self) -> np.ndarray:
        r"""The tree as scipy draws it: ``scipy.cluster.hierarchy.dendrogram(tree.linkage())``.

        Distance of a step: the highest peak less the saddle. Steps without a saddle are drawn a
        twentieth beyond everything else; that position is no measurement.

        Returns
        -------
        float64 array (c - 1, 4)

        Raises
        ------
        InputError
            For a single cluster, which has nothing to draw.
        """
        if not len(self.joined):
            raise InputError(f"{len(self.peaks)} clusters have no tree, at least 2 do")
        top = float(self.peaks.max())
        distance = top - self.heights
        # A saddle may lie above every peak (Z = 0 leaves none such, other rules may).
        known = distance[np.isfinite(distance)]
        deepest = max([*known.tolist(), top - float(self.peaks.min()), 0.0])
        distance = np.where(np.isnan(distance), 1.05 * deepest or 1.0, distance)
        size = np.concatenate([np.ones(len(self.peaks)), np.zeros(len(self.joined))])
        for step, (a, b) in enumerate(self.joined):
            size[len(self.peaks) + step] = size[a] + size[b]
        return np.column_stack([self.joined, distance, size[len(self.peaks) :]])


def merge_tree(clusters: Clusters, *, method: Method = "single") -> MergeTree:
    r"""Join clusters in the order of their saddles.

    With :math:`D_{ab} = \max\log\rho - \log\rho_{s(ab)}` and no distance between clusters that
    share no border:

    ``single`` (default)
        The highest saddle joins first, and joins at its own height: single linkage on D.
    ``average``
        The two branches with the smallest mean D over their pairs of clusters that share a border,
        at the height :math:`\max\log\rho` less that mean. Where all clusters share borders this
        is average linkage (UPGMA).

    Parts without a border between them have no saddle, and are joined at the root, in the order of
    their first clusters.

    Parameters
    ----------
    clusters : Clusters
        With saddles: of ``adp``.
    method : str

    Returns
    -------
    MergeTree
        With the note ``disconnected`` and NaN heights where parts share no border; empty for no
        cluster.

    Raises
    ------
    InputError
        For a clustering of a method that measures no saddles, or an unknown method.

    Notes
    -----
    Between equal saddles the lower row joins first. Of two branches the one with the higher peak
    is on the left. DADApy gives pairs without a border the density :math:`\min\log\rho - 1`, and
    averages that filler.

    References
    ----------
    d'Errico, Facco, Laio, Rodriguez 2021, doi 10.1016/j.ins.2021.01.010.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import adp, find_neighbors, pak_density
    >>> rng = np.random.default_rng(0)
    >>> points = np.vstack([rng.normal(size=(200, 2)) + [c, 0] for c in (0, 20, 24)])
    >>> graph = find_neighbors(points, k=60)
    >>> tree = merge_tree(adp(graph, pak_density(graph, dimension=2)))
    >>> tree.joined.tolist(), tree.heights.round(2).tolist(), tree.note.split("; ")[-1]
    ([[1, 2], [0, 3]], [-4.24, nan], 'disconnected (2 parts share no border)')
    """
    if clusters.method != "adp":
        raise InputError(f"{clusters.method} measures no saddles: a tree needs those of adp")
    if method not in get_args(Method):
        known = ", ".join(get_args(Method))
        raise InputError(f"method must be one of {known}, got {method!r}")
    c = clusters.n_clusters
    joined, heights, rows = _joins(clusters, method)
    parts = c - int(np.count_nonzero(np.isfinite(heights)))
    note = f"disconnected ({parts} parts share no border)" if parts > 1 else ""
    pairs = np.array(joined, dtype=np.int64).reshape(-1, 2)
    return MergeTree(
        joined=pairs,
        heights=np.array(heights, dtype=np.float64),
        saddle_rows=np.array(rows, dtype=np.int64),
        peaks=clusters.heights,
        order=_order(pairs, clusters.heights),
        note=join_notes(clusters.note, note),
        parameters={**clusters.parameters, "linkage": method},
    )


@dataclass(frozen=True, slots=True, order=True)
class _Border:
    """The saddles between two branches: their sum, number, the highest and its row."""

    total: float
    count: int
    best: float
    row: int

    def __add__(self, other: _Border) -> _Border:
        best, row = min((-self.best, self.row), (-other.best, other.row))
        return _Border(self.total + other.total, self.count + other.count, -best, row)


def _joins(clusters: Clusters, method: str) -> tuple[list[tuple[int, int]], list[float], list[int]]:
    """Nodes that join, at what height, and the row of the highest saddle between them."""
    c = clusters.n_clusters
    near: list[dict[int, _Border]] = [{} for _ in range(c)]
    queue: list[tuple[float, int, int, int, _Border]] = []
    node, lowest, alive = list(range(c)), list(range(c)), [True] * c
    joined: list[tuple[int, int]] = []
    heights: list[float] = []
    rows: list[int] = []

    def border(a: int, b: int, found: _Border) -> None:
        near[a][b] = near[b][a] = found
        height = found.best if method == "single" else found.total / found.count
        heapq.heappush(queue, (-height, found.row, a, b, found))

    def join(a: int, b: int, height: float, row: int) -> int:
        """The branch with fewer borders becomes part of the other."""
        big, small = (a, b) if len(near[a]) >= len(near[b]) else (b, a)
        first, second = sorted((node[a], node[b]))
        joined.append((first, second))
        heights.append(height)
        rows.append(row)
        node[big], alive[small] = c + len(joined) - 1, False
        lowest[big] = min(lowest[a], lowest[b])
        for third, found in near[small].items():
            del near[third][small]
            if third != big:
                known = near[big].get(third)
                border(big, third, found if known is None else known + found)
        near[small] = {}
        return big

    for (a, b), height, row in zip(
        clusters.saddle_pairs.tolist(),
        clusters.saddles.tolist(),
        clusters.saddle_rows.tolist(),
        strict=True,
    ):
        border(a, b, _Border(height, 1, height, row))
    while queue:
        low, _, a, b, found = heapq.heappop(queue)
        if near[a].get(b) is found:  # else one of the two is gone, or they met elsewhere since
            join(a, b, -low, found.row)
    roots = sorted((a for a in range(c) if alive[a]), key=lambda a: lowest[a])
    for other in roots[1:]:
        roots[0] = join(roots[0], other, math.nan, -1)
    return joined, heights, rows


def _order(joined: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Leaves from left to right, the branch of the higher peak first."""
    leaves = [[a] for a in range(len(peaks))]
    top = [float(p) for p in peaks]
    for a, b in joined.tolist():
        left, right = (a, b) if (top[a], -leaves[a][0]) >= (top[b], -leaves[b][0]) else (b, a)
        leaves.append(leaves[left] + leaves[right])
        top.append(max(top[a], top[b]))
    return np.array(leaves[-1] if leaves else [], dtype=np.int64)
