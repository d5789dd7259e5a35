r"""Topography: in which order the clusters run together when the water falls.

Sources: d'Errico, Facco, Laio, Rodriguez 2021, doi 10.1016/j.ins.2021.01.010; single linkage as
scipy's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hiddenscape.clustering.result import Clusters
from hiddenscape.density.result import seal
from hiddenscape.errors import InputError
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector, IntVector

__all__ = ["MergeTree", "merge_tree"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MergeTree:
    r"""Clusters joined pair by pair, from the highest saddle down.

    Attributes
    ----------
    joined : int64 array (c - 1, 2)
        What each step joins: clusters are 0 to c - 1, step s makes c + s.
    heights : float64 array (c - 1,)
        :math:`\log\rho` of the saddle, descending; NaN for parts that share no border and are
        joined last.
    saddle_rows : int64 array (c - 1,)
        The row of the saddle; -1 where there is none.
    peaks : float64 array (c,)
        :math:`\log\rho` of the peaks: how high each leaf ends.
    order : int64 array (c,)
        Clusters from left to right, so that no two branches cross.
    note : str
        That of the clusters; ``disconnected`` where parts share no border.
    parameters : mapping
        Of the clustering.
    """

    joined: np.ndarray
    heights: FloatVector
    saddle_rows: IntVector
    peaks: FloatVector
    order: IntVector
    note: str
    parameters: object

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


def merge_tree(clusters: Clusters) -> MergeTree:
    r"""Join clusters in the order of their saddles.

    The highest saddle joins first, which is single linkage on
    :math:`D_{ab} = \max\log\rho - \log\rho_{s(ab)}`. Parts without a border between them have no
    saddle, and are joined at the root, in the order of their first clusters.

    Parameters
    ----------
    clusters : Clusters
        With saddles: of ``adp``.

    Returns
    -------
    MergeTree
        With the note ``disconnected`` and NaN heights where parts share no border; empty for no
        cluster.

    Raises
    ------
    InputError
        For a clustering of a method that measures no saddles.

    Notes
    -----
    Between equal saddles the lower row joins first. Of two branches the one with the higher peak
    is on the left.

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
    >>> tree.joined.tolist(), tree.note
    ([[1, 2], [0, 3]], 'disconnected (2 parts share no border)')
    """
    if clusters.method != "adp":
        raise InputError(f"{clusters.method} measures no saddles: a tree needs those of adp")
    c = clusters.n_clusters
    node = list(range(c))
    parts = list(range(c))

    def part_of(a: int) -> int:
        while parts[a] != a:
            parts[a] = parts[parts[a]]
            a = parts[a]
        return a

    joined: list[tuple[int, int]] = []
    heights: list[float] = []
    rows: list[int] = []

    def join(a: int, b: int, height: float, row: int) -> None:
        first, second = sorted((node[a], node[b]))
        joined.append((first, second))
        heights.append(height)
        rows.append(row)
        parts[max(a, b)] = min(a, b)
        node[min(a, b)] = c + len(joined) - 1

    for s in np.lexsort((clusters.saddle_rows, -clusters.saddles)):
        a, b = (part_of(int(x)) for x in clusters.saddle_pairs[s])
        if a != b:
            join(a, b, float(clusters.saddles[s]), int(clusters.saddle_rows[s]))
    roots = [a for a in range(c) if part_of(a) == a]
    for other in roots[1:]:
        join(roots[0], other, math.nan, -1)
    note = f"disconnected ({len(roots)} parts share no border)" if len(roots) > 1 else ""
    pairs = np.array(joined, dtype=np.int64).reshape(-1, 2)
    return MergeTree(
        joined=pairs,
        heights=np.array(heights, dtype=np.float64),
        saddle_rows=np.array(rows, dtype=np.int64),
        peaks=clusters.heights,
        order=_order(pairs, clusters.heights),
        note=join_notes(clusters.note, note),
        parameters=clusters.parameters,
    )


def _order(joined: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Leaves from left to right, the branch of the higher peak first."""
    leaves = [[a] for a in range(len(peaks))]
    top = [float(p) for p in peaks]
    for a, b in joined.tolist():
        left, right = (a, b) if (top[a], -leaves[a][0]) >= (top[b], -leaves[b][0]) else (b, a)
        leaves.append(leaves[left] + leaves[right])
        top.append(max(top[a], top[b]))
    return np.array(leaves[-1] if leaves else [], dtype=np.int64)
