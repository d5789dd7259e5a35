r"""Advanced density peaks: as many clusters as there are peaks that stand out of their errors.

Source: d'Errico, Facco, Laio, Rodriguez 2021, doi 10.1016/j.ins.2021.01.010 (arXiv:1802.10549).
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.clustering.inputs import Landscape, landscape, nearest_earlier, no_clusters
from hiddenscape.clustering.result import Clusters
from hiddenscape.density.result import LogDensity
from hiddenscape.errors import InputError
from hiddenscape.kernels.ascent import border_rows, find_modes, first_higher, spread_labels
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes

__all__ = ["DEFAULT_Z", "adp"]

DEFAULT_Z = 1.65

Errors = Literal["sum", "quadrature"]
Survivor = Literal["margin", "denser"]


def adp(
    graph: NeighborGraph,
    density: LogDensity,
    *,
    z: float = DEFAULT_Z,
    points: ArrayLike | None = None,
    errors: Errors = "sum",
    survivor: Survivor = "margin",
) -> Clusters:
    r"""Clusters around the peaks of a density that are higher than their saddles by Z errors.

    With :math:`g = \log\rho - \mathrm{err}`, rows are ordered by decreasing g, ties by row number.

    1. A row is a putative peak if it comes before every one of its k* neighbours, and no row that
       comes before it has it among its own k* neighbours.
    2. In that order each row takes the label of its nearest stored neighbour that has one. If none
       has, that of the nearest of all rows that come before it.
    3. A row i of cluster c that is no peak, with the nearest foreign row j among its k* neighbours,
       is at the border of the cluster of j if no other member of c comes before i in the list of j.
       The saddle of two clusters is their border row of largest g, from either side.
    4. While some saddle s has
       :math:`\log\rho_c - \log\rho_s < Z (\mathrm{err}_c + \mathrm{err}_s)` for one of its two
       peaks c, the highest such saddle is taken. The peak with the larger
       :math:`(\log\rho_c - \log\rho_s) / (\mathrm{err}_c + \mathrm{err}_s)` survives (ties: the
       denser, then the lower row); of two saddles towards a third cluster the higher remains.
    5. The halo are the rows below the highest saddle of their cluster.

    Parameters
    ----------
    graph : NeighborGraph
        The graph the density was made of.
    density : LogDensity
        Such as ``pak_density(graph, dimension=d)``. Its ``k`` are the neighbourhoods of steps 1
        and 3.
    z : float
        Z, at least 0; inf keeps one cluster per connected part of the border graph. There is no
        universal value: 1.5 to 4.5 are in print. With k neighbours for all rows and kNN errors a
        peak must rise by 2 Z / sqrt(k) nats.
    points : array (n, d), optional
        The points of the graph. Needed only for rows of step 2 without a stored neighbour that has
        a label; without points those take the label of the row that removed them in step 1, as in
        the published code, and the note ``approximate`` counts them.
    errors : str
        ``sum`` as above, or ``quadrature``, the root of the sum of squares, in both places of 4.
    survivor : str
        ``margin`` as above, or ``denser``, the higher peak.

    Returns
    -------
    Clusters
        With peaks, saddles, halo and every setting of the density. Pairs of clusters without a
        border have no saddle and never merge. Identical rows share a label. Labels -1 where the
        density is undefined.

    Raises
    ------
    InputError
        If the density is of another graph, Z is negative or NaN, an option is unknown, or the
        points are not those of the graph.

    Notes
    -----
    Nothing depends on how ties are sorted, on threads or on block sizes: the same graph and density
    give the same partition, and rows in another order the same up to labels wherever no two g are
    equal. Moving all log densities by a constant changes nothing. O(n K) time and
    O(m log m) for m borders; no matrix of clusters.

    The partition depends on the dimension through k* and the errors, on alpha, on Z and on K: they
    stand in ``parameters``. Report how it varies with them.

    References
    ----------
    d'Errico, Facco, Laio, Rodriguez 2021, doi 10.1016/j.ins.2021.01.010.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors, pak_density
    >>> rng = np.random.default_rng(0)
    >>> points = np.vstack([rng.normal(size=(300, 2)), 6 + rng.normal(size=(200, 2))])
    >>> graph = find_neighbors(points, k=60)
    >>> found = adp(graph, pak_density(graph, dimension=2))
    >>> found.n_clusters, found.sizes.tolist()
    (2, [300, 200])
    """
    z = float(z)
    if not z >= 0:
        raise InputError(f"z must be at least 0, got {z}")
    for name, value, known in (
        ("errors", errors, get_args(Errors)),
        ("survivor", survivor, get_args(Survivor)),
    ):
        if value not in known:
            raise InputError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    found = landscape(graph, density)
    parameters = found.parameters | {"z": z, "errors": errors, "survivor": survivor}
    if found.graph is None:
        return no_clusters(found, "adp", parameters)
    first = _putative(graph, found, points)
    heights = _Heights(found.values, found.errors, errors)
    owner, saddles = _merge(first, heights, z, survivor)
    return _clusters(found, first, owner, saddles, parameters)


@dataclass(frozen=True, slots=True, eq=False)
class _Putative:
    """Clusters before merging: rows of their peaks, labels, and their saddles {(a, b): row}."""

    centers: np.ndarray
    labels: np.ndarray
    saddles: dict[tuple[int, int], int]
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class _Heights:
    values: np.ndarray
    errors: np.ndarray
    rule: str

    def margin(self, peak: int, saddle: int) -> float:
        """How many errors a peak stands above a saddle."""
        rise = float(self.values[peak] - self.values[saddle])
        a, b = float(self.errors[peak]), float(self.errors[saddle])
        error = a + b if self.rule == "sum" else math.hypot(a, b)
        if error > 0:
            return rise / error
        return math.copysign(math.inf, rise) if rise else 0.0


def _putative(graph: NeighborGraph, found: Landscape, points: ArrayLike | None) -> _Putative:
    used = found.graph
    assert used is not None
    order = np.argsort(-(found.values - found.errors), kind="stable")
    place = np.empty(used.n, dtype=np.int64)
    place[order] = np.arange(used.n)
    mode = np.empty(used.n, dtype=bool)
    remover = np.empty(used.n, dtype=np.int64)
    find_modes(used.indices, found.k, place, mode, remover)
    centers = np.flatnonzero(mode & (remover < 0))
    labels = np.full(used.n, -1)
    labels[centers] = np.arange(len(centers))
    # Only a removed peak can find nobody of its list labelled: any other row has one that comes
    # before it.
    column = np.empty(used.n, dtype=np.int64)
    first_higher(used.indices, place, column)
    alone = np.flatnonzero((column < 0) & (remover >= 0))
    alone = alone[(labels[used.indices[alone]] < 0).all(axis=1)]
    fallback = remover.copy()
    note = ""
    if len(alone) and points is not None:
        fallback[alone] = nearest_earlier(points, graph, found.rows, order, alone)[0]
    elif len(alone):
        note = (
            f"approximate ({len(alone)} rows follow their remover: without points the nearest "
            "higher row is unknown)"
        )
    spread_labels(used.indices, order, fallback, labels)
    is_center = np.zeros(used.n, dtype=bool)
    is_center[centers] = True
    other = np.empty(used.n, dtype=np.int64)
    border_rows(used.indices, found.k, labels, is_center, other)
    at = order[other[order] >= 0]
    low, high = np.minimum(labels[at], other[at]), np.maximum(labels[at], other[at])
    pairs, best = np.unique(np.stack([low, high], axis=1), axis=0, return_index=True)
    saddles = {(int(a), int(b)): int(row) for (a, b), row in zip(pairs, at[best], strict=True)}
    return _Putative(centers, labels, saddles, note)


def _merge(
    first: _Putative, heights: _Heights, z: float, survivor: str
) -> tuple[np.ndarray, dict[tuple[int, int], int]]:
    """Who each putative cluster ends in, and the saddles that remain."""
    value, peak = heights.values, first.centers
    borders: list[dict[int, int]] = [{} for _ in peak]
    queue: list[tuple[float, int, int, int]] = []

    def join(a: int, b: int, row: int) -> None:
        borders[a][b] = borders[b][a] = row
        if min(heights.margin(peak[a], row), heights.margin(peak[b], row)) < z:
            heapq.heappush(queue, (-float(value[row]), row, min(a, b), max(a, b)))

    for (a, b), row in first.saddles.items():
        join(a, b, row)
    owner = np.arange(len(peak))
    while queue:
        _, row, a, b = heapq.heappop(queue)
        if borders[a].get(b) != row:
            continue  # one of the two is gone, or a higher saddle took the place of this one
        rank = [
            (
                heights.margin(peak[c], row) if survivor == "margin" else 0.0,
                float(value[peak[c]]),
                -int(peak[c]),
            )
            for c in (a, b)
        ]
        winner, loser = (a, b) if rank[0] > rank[1] else (b, a)
        owner[loser] = winner
        for third, other_row in borders[loser].items():
            del borders[third][loser]
            if third == winner:
                continue
            known = borders[winner].get(third)
            if known is None or (value[other_row], -other_row) > (value[known], -known):
                join(winner, third, other_row)
        borders[loser] = {}
    for c in range(len(owner)):
        end = c
        while owner[end] != end:
            end = int(owner[end])
        owner[c] = end
    left = {(a, b): row for a, near in enumerate(borders) for b, row in near.items() if a < b}
    return owner, left


def _clusters(
    found: Landscape,
    first: _Putative,
    owner: np.ndarray,
    saddles: dict[tuple[int, int], int],
    parameters: dict[str, object],
) -> Clusters:
    # Putative clusters are numbered by the rows of their peaks, so this keeps that order.
    kept = np.unique(owner)
    labels = np.searchsorted(kept, owner)[first.labels]
    peaks = first.centers[kept]
    ends = sorted(saddles)
    pairs = np.searchsorted(kept, np.array(ends, dtype=np.int64).reshape(-1, 2))
    rows = np.array([saddles[pair] for pair in ends], dtype=np.int64)
    highest = np.full(len(kept), -np.inf)
    for side in (0, 1):
        np.maximum.at(highest, pairs[:, side], found.values[rows])
    back = found.rows
    return Clusters(
        labels=labels[back.inverse],
        halo=(found.values < highest[labels])[back.inverse],
        centers=back.first[peaks],
        heights=found.values[peaks],
        height_errors=found.errors[peaks],
        saddle_pairs=pairs,
        saddle_rows=back.first[rows],
        saddles=found.values[rows],
        saddle_errors=found.errors[rows],
        method="adp",
        n_used=back.n_distinct,
        n_dropped=back.n - back.n_distinct,
        note=join_notes(found.note, first.note),
        parameters=parameters | {"putative": len(first.centers)},
    )
