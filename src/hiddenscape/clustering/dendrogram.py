r"""Where the lines of a dendrogram lie: the picture of a merge tree as numbers.

Leaves end at the height of their peaks, as in the dendrograms of d'Errico, Facco, Laio, Rodriguez
2021, doi 10.1016/j.ins.2021.01.010.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.clustering.topography import MergeTree
from hiddenscape.density.result import seal
from hiddenscape.errors import InputError
from hiddenscape.types import FloatVector, IntVector, Mask

__all__ = ["Dendrogram", "dendrogram"]

_BELOW = 0.05


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dendrogram:
    r"""Positions of peaks and joins: up is :math:`\log\rho`, from left to right the branches.

    Attributes
    ----------
    x, y : float64 arrays (2 c - 1,)
        Nodes numbered as in the tree: clusters 0 to c - 1, step s is c + s. ``y`` of a cluster is
        :math:`\log\rho` of its peak, of a step that of its saddle.
    brackets : float64 array (c - 1, 4, 2)
        The line of every step: up-left corner, low-left, low-right, up-right, each (x, y).
    measured : bool array (c - 1,)
        False for steps without a saddle, which are drawn a twentieth of the range below
        everything else: that position is no measurement.
    order : int64 array (c,)
        Clusters from left to right.
    widths : float64 array (c,)
        Room of every cluster along x; the clusters fill 0 to its sum.
    note : str
        That of the tree.
    parameters : mapping
        Of the tree.
    """

    x: FloatVector
    y: FloatVector
    brackets: np.ndarray
    measured: Mask
    order: IntVector
    widths: FloatVector
    note: str
    parameters: object

    def __post_init__(self) -> None:
        seal(self, "x", "y", "brackets", "measured", "order", "widths")


def dendrogram(tree: MergeTree, *, widths: ArrayLike | None = None) -> Dendrogram:
    r"""Coordinates of the dendrogram of a merge tree; nothing is drawn.

    Clusters stand side by side in the order of the tree, each in the middle of its own width; a
    step stands midway between the two nodes it joins.

    Parameters
    ----------
    tree : MergeTree
        Of :func:`merge_tree`, with either linkage.
    widths : array (c,), optional
        Positive room of every cluster along x: 1 each by default; ``clusters.sizes`` or
        ``np.log1p(clusters.sizes)`` show populations.

    Returns
    -------
    Dendrogram
        Empty, with the note of the tree, where there is no cluster.

    Raises
    ------
    InputError
        If widths are not one positive number per cluster.

    Notes
    -----
    No two lines cross: the clusters of every branch stand side by side. A saddle may lie above the
    peak that it joins where the merge rule allows it (Z = 0 excludes it). DADApy places the first
    joins of the clusters at the edge between them and truncates the logarithms of populations to
    integers.

    References
    ----------
    d'Errico, Facco, Laio, Rodriguez 2021, doi 10.1016/j.ins.2021.01.010.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import adp, find_neighbors, merge_tree, pak_density
    >>> rng = np.random.default_rng(0)
    >>> points = np.vstack([rng.normal(size=(300, 2)), 4 + rng.normal(size=(200, 2))])
    >>> graph = find_neighbors(points, k=60)
    >>> drawn = dendrogram(merge_tree(adp(graph, pak_density(graph, dimension=2))))
    >>> drawn.x.tolist(), drawn.y.round(1).tolist()
    ([0.5, 1.5, 1.0], [-2.0, -2.2, -4.7])
    """
    c = len(tree.peaks)
    room = np.ones(c) if widths is None else np.asarray(widths, dtype=np.float64)
    if room.shape != (c,) or not (np.isfinite(room) & (room > 0)).all():
        raise InputError(f"widths must be {c} positive numbers, one per cluster, got {widths!r}")
    x, y = np.empty(2 * c - 1 if c else 0), np.empty(2 * c - 1 if c else 0)
    right = np.cumsum(room[tree.order])
    x[tree.order] = right - room[tree.order] / 2
    y[:c] = tree.peaks
    y[c:] = _drawn_heights(tree)
    brackets = np.empty((len(tree.joined), 4, 2))
    for step, pair in enumerate(tree.joined):
        a, b = pair[np.argsort(x[pair])]
        top = c + step
        x[top] = (x[a] + x[b]) / 2
        brackets[step] = [(x[a], y[a]), (x[a], y[top]), (x[b], y[top]), (x[b], y[b])]
    return Dendrogram(
        x=x,
        y=y,
        brackets=brackets,
        measured=np.isfinite(tree.heights),
        order=tree.order,
        widths=room,
        note=tree.note,
        parameters=tree.parameters,
    )


def _drawn_heights(tree: MergeTree) -> np.ndarray:
    """Heights of the joins, with a place below everything for those that have none."""
    known = tree.heights[np.isfinite(tree.heights)]
    measured = np.concatenate([tree.peaks, known])
    if not len(measured):
        return tree.heights
    low = float(measured.min())
    span = float(measured.max()) - low
    return np.where(np.isnan(tree.heights), low - (_BELOW * span or 1.0), tree.heights)
