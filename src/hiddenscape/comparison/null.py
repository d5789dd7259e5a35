"""What overlaps look like by chance: one side's rows are permuted, the geometry stays.

The number of common directed edges of two graphs under a random relabelling of one of them is a
matrix-permutation statistic, whose first two moments are known exactly (Mantel 1967; Hubert and
Schultz 1976): the spread needs no draws. It is larger than for independent rows, because hubs make
the rows depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hiddenscape.comparison.labels import (
    Classes,
    Singletons,
    Weighting,
    label_overlap,
    same_label_counts,
)
from hiddenscape.comparison.overlap import (
    check_k,
    check_same_rows,
    common_counts,
    neighborhood_overlap,
)
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.types import FloatVector

__all__ = [
    "EdgeMoments",
    "Null",
    "edge_moments",
    "label_overlap_null",
    "overlap_chance_sd",
    "overlap_null",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Null:
    """An observed overlap against the same overlap with permuted rows.

    Attributes
    ----------
    observed : float
        The overlap of the rows as they are; NaN where it is undefined (then so is everything).
    mean, sd : float
        Exact mean and standard deviation over all permutations; where no formula applies
        (``class_fraction``) the sd of the draws.
    p : float
        (1 + number of draws >= observed) / (1 + draws): the smallest possible is 1 / (1 + draws).
    draws : int
        Permutations drawn.
    values : float64 array (draws,)
        The overlap of each draw.
    """

    observed: float
    mean: float
    sd: float
    p: float
    draws: int
    values: FloatVector

    @property
    def z(self) -> float:
        """(observed - mean) / sd; NaN where the null does not vary."""
        return (self.observed - self.mean) / self.sd if self.sd > 0 else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeMoments:
    """Sums over a weighted directed graph that fix the spread of its overlap with any other.

    ``total`` sum of weights; ``same`` sum of squares; ``mutual`` sum of w_ij w_ji; ``out``,
    ``into`` and ``chain`` sums of w_ij w_il, w_ij w_lj and w_ij w_li over distinct i, j, l.
    """

    n: int
    total: float
    same: float
    mutual: float
    out: float
    into: float
    chain: float

    def overlap_sd(self, other: EdgeMoments) -> float:
        """Standard deviation of sum_ij A_ij B_s(i)s(j) over all permutations s."""
        n = self.n
        if n < 4:
            return math.nan
        pairs = float(n * (n - 1))
        triples, quads = pairs * (n - 2), pairs * (n - 2) * (n - 3)
        a, b = self, other
        square = (
            (a.same * b.same + a.mutual * b.mutual) / pairs
            + (a.out * b.out + a.into * b.into + 2 * a.chain * b.chain) / triples
            + a._disjoint() * b._disjoint() / quads
        )
        variance = square - (a.total * b.total / pairs) ** 2
        # The difference of two large sums: what is left below their rounding error is zero.
        return math.sqrt(variance) if variance > 1e-12 * square else 0.0

    def _disjoint(self) -> float:
        rest = self.same + self.mutual + self.out + self.into + 2 * self.chain
        return self.total**2 - rest


def edge_moments(graph: NeighborGraph, *, k: int | None = None) -> EdgeMoments:
    """The sums of a neighbour graph that the spread of its chance overlap depends on.

    Make them once per site; every pair of sites then costs nothing.

    Parameters
    ----------
    graph : NeighborGraph
    k : int, optional
        Neighbours per row; by default as many as are stored.

    Raises
    ------
    InputError
        If k is not in 1..n-1 or not stored.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape.neighbors.graph import NeighborGraph
    >>> g = NeighborGraph.from_arrays(np.array([[1], [0], [3], [2]]), np.ones((4, 1)))
    >>> edge_moments(g).mutual
    4.0
    """
    k = graph.k if k is None else k
    check_k(graph, k)
    n = graph.n
    lists = graph.indices[:, :k].astype(np.int64)
    own = np.arange(n, dtype=np.int64)[:, None]
    # An unordered pair that occurs twice is an edge both ways.
    pairs = (np.minimum(lists, own) * n + np.maximum(lists, own)).ravel()
    pairs.sort()
    mutual = 2.0 * float(np.count_nonzero(pairs[1:] == pairs[:-1]))
    in_degree = np.bincount(lists.ravel(), minlength=n).astype(np.float64)
    total = float(n * k)
    return EdgeMoments(
        n=n,
        total=total,
        same=total,
        mutual=mutual,
        out=total * (k - 1),
        into=float(in_degree @ in_degree) - total,
        chain=k * float(in_degree.sum()) - mutual,
    )


def overlap_chance_sd(
    graph_a: NeighborGraph, graph_b: NeighborGraph, *, k: int | None = None
) -> float:
    """Exact standard deviation of the neighbourhood overlap under permuted rows.

    Parameters and errors as :func:`~hiddenscape.comparison.overlap.neighborhood_overlap`; NaN for
    fewer than 4 rows. No draws are made.

    References
    ----------
    Mantel 1967, Cancer Research 27, 209; Hubert and Schultz 1976, doi:10.1111/j.2044-8317.1976.
    tb00714.x.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape.neighbors.graph import NeighborGraph
    >>> g = NeighborGraph.from_arrays(np.array([[1], [0], [3], [2]]), np.ones((4, 1)))
    >>> round(overlap_chance_sd(g, g), 6)  # one of three pairings is the graph itself
    0.471405
    """
    check_same_rows(graph_a, graph_b)
    k = min(graph_a.k, graph_b.k) if k is None else k
    moments = edge_moments(graph_a, k=k), edge_moments(graph_b, k=k)
    return moments[0].overlap_sd(moments[1]) / (graph_a.n * k)


def overlap_null(
    graph_a: NeighborGraph,
    graph_b: NeighborGraph,
    *,
    k: int | None = None,
    draws: int = 199,
    seed: int = 0,
) -> Null:
    """The neighbourhood overlap against that of permuted rows.

    Parameters
    ----------
    graph_a, graph_b, k
        As for :func:`~hiddenscape.comparison.overlap.neighborhood_overlap`.
    draws : int
        Permutations; at least 199 for a claim.
    seed : int
        Keys the permutations.

    Returns
    -------
    Null
        ``mean`` = k / (n - 1) and ``sd`` are exact; the draws give ``p``.

    Raises
    ------
    InputError
        As the overlap, and if ``draws`` < 1.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape.neighbors.graph import NeighborGraph
    >>> i = np.arange(40)
    >>> ring = np.stack([(i + 1) % 40, (i - 1) % 40], axis=1)
    >>> g = NeighborGraph.from_arrays(ring, np.ones((40, 2)))
    >>> overlap_null(g, g, draws=99).p
    0.01
    """
    _check_draws(draws)
    observed = neighborhood_overlap(graph_a, graph_b, k=k)
    if math.isnan(observed.value) or observed.k is None:
        return _undefined(observed.chance)
    k = observed.k
    a, b = graph_a.indices[:, :k], graph_b.indices[:, :k]
    values = np.empty(draws)
    for draw, order in enumerate(_permutations(graph_a.n, draws, seed)):
        place = np.empty_like(order)
        place[order] = np.arange(len(order), dtype=order.dtype)
        values[draw] = common_counts(a, place[b[order]]).mean() / k
    sd = overlap_chance_sd(graph_a, graph_b, k=k)
    return _null(observed.value, observed.chance, sd, values)


def label_overlap_null(
    graph: NeighborGraph,
    labels: Sequence[Any] | np.ndarray,
    *,
    k: int | None = None,
    weighting: Weighting = "plain",
    class_fraction: float | None = None,
    singletons: Singletons = "exclude",
    draws: int = 199,
    seed: int = 0,
) -> Null:
    """The label overlap against that of permuted labels.

    Parameters
    ----------
    graph, labels, k, weighting, class_fraction, singletons
        As for :func:`~hiddenscape.comparison.labels.label_overlap`.
    draws : int
        Permutations; at least 199 for a claim.
    seed : int
        Keys the permutations.

    Returns
    -------
    Null
        ``mean`` is exact, and so is ``sd`` for a fixed k; with ``class_fraction`` (the size of a
        neighbourhood moves with its label) it is the sd of the draws.

    Raises
    ------
    InputError
        As the label overlap, and if ``draws`` < 1.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape.neighbors.graph import NeighborGraph
    >>> i = np.arange(40)
    >>> ring = np.stack([(i + 1) % 40, (i - 1) % 40], axis=1)
    >>> g = NeighborGraph.from_arrays(ring, np.ones((40, 2)))
    >>> label_overlap_null(g, i < 20, draws=99).p
    0.01
    """
    _check_draws(draws)
    observed = label_overlap(
        graph,
        labels,
        k=k,
        weighting=weighting,
        class_fraction=class_fraction,
        singletons=singletons,
    )
    if math.isnan(observed.value):
        return _undefined(observed.chance)
    classes = Classes.of(labels, graph)
    class_weights = classes.class_weights(weighting, singletons) / classes.counts
    weights = class_weights[classes.codes]
    if observed.k is None:
        ks = np.maximum(1, np.floor((class_fraction or 0.0) * classes.counts + 1e-9))
        per_row = ks.astype(np.int64)[classes.codes]
    else:
        per_row = np.full(graph.n, observed.k)
    values = np.empty(draws)
    for draw, order in enumerate(_permutations(graph.n, draws, seed)):
        codes, row_k = classes.codes[order], per_row[order]
        shares = same_label_counts(graph.indices, codes, row_k) / row_k
        values[draw] = shares @ weights[order]
    if observed.k is None:
        sd = float(values.std(ddof=1)) if draws > 1 else math.nan
    else:
        edges = edge_moments(graph, k=observed.k)
        sd = edges.overlap_sd(_label_moments(classes, class_weights)) / observed.k
    return _null(observed.value, observed.chance, sd, values)


def _label_moments(classes: Classes, w: np.ndarray) -> EdgeMoments:
    """Moments of the graph that joins every row with all of its class c, with weight w_c."""
    counts = classes.counts.astype(np.float64)
    pairs = counts * (counts - 1)
    same = float(w**2 @ pairs)
    shared = float(w**2 @ (pairs * (counts - 2)))
    return EdgeMoments(
        n=len(classes.codes),
        total=float(w @ pairs),
        same=same,
        mutual=same,
        out=shared,
        into=shared,
        chain=shared,
    )


def _permutations(n: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    for draw in range(draws):
        yield np.random.default_rng([seed, draw]).permutation(n).astype(np.int32)


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise InputError(f"a permutation null needs at least 1 draw, got {draws}")


def _undefined(chance: float) -> Null:
    nan = math.nan
    return Null(observed=nan, mean=chance, sd=nan, p=nan, draws=0, values=np.empty(0))


def _null(observed: float, mean: float, sd: float, values: np.ndarray) -> Null:
    # Sums in another order differ in the last bits: equal values must count as equal.
    reached = np.count_nonzero(values >= observed - 1e-12)
    p = (1 + int(reached)) / (1 + len(values))
    return Null(observed=observed, mean=mean, sd=sd, p=p, draws=len(values), values=values)
