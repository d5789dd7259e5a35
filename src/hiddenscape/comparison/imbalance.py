"""Information imbalance: how well distances in one space predict neighbours in another.

Source: Glielmo, Zeni, Cheng, Csanyi, Laio 2022, PNAS Nexus 1, pgac039,
doi:10.1093/pnasnexus/pgac039, arXiv:2104.15079.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hiddenscape.comparison.jackknife import JACKKNIFE_ROWS, jackknife_stderr
from hiddenscape.comparison.overlap import notes_in_words, too_few_distinct, undefined_note
from hiddenscape.comparison.tied import Neighborhoods, mean_ranks, tied_neighborhoods
from hiddenscape.errors import InputError
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import check_graph_of, find_neighbors
from hiddenscape.results import Estimate, join_notes
from hiddenscape.types import FloatVector, IntVector, Points, whole

__all__ = [
    "Imbalance",
    "ImbalanceMatrix",
    "information_imbalance",
    "information_imbalance_matrix",
]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Imbalance(Estimate):
    """Information imbalance from a first space to a second.

    Attributes
    ----------
    k : int
        Neighbours averaged.
    per_point : float64 array (n,) or None
        2 / n times the mean rank of each row (of each query); their mean is the value.
    """

    k: int
    per_point: FloatVector | None = None

    @property
    def floor(self) -> float:
        """(k + 1) / n: the value of identical spaces without ties. Compare at equal n only."""
        return (self.k + 1) / self.n_used


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ImbalanceMatrix:
    """Imbalances between all pairs of sites: entry [i, j] reads i -> j.

    Attributes
    ----------
    values, stderr : float64 arrays (L, L)
        NaN where a side is undefined.
    notes : tuple of tuples of str
    k, n : int
        Neighbours averaged, rows compared.
    n_dropped : int
        Rows left out by ``subset``.
    stderr_kind : str
    """

    values: np.ndarray
    stderr: np.ndarray
    notes: tuple[tuple[str, ...], ...]
    k: int
    n: int
    n_dropped: int = 0
    stderr_kind: str = "bootstrap"
    parameters: dict[str, object] = field(default_factory=dict)

    def estimate(self, i: int, j: int) -> Imbalance:
        """The entry i -> j as a result of its own."""
        return Imbalance(
            value=float(self.values[i, j]),
            stderr=float(self.stderr[i, j]),
            stderr_kind=self.stderr_kind,
            n_used=self.n,
            n_dropped=self.n_dropped,
            note=self.notes[i][j],
            k=self.k,
            parameters=self.parameters,
        )


def information_imbalance(
    points_a: Points,
    points_b: Points,
    *,
    k: int = 1,
    graph_a: NeighborGraph | None = None,
    stderr: Literal["points", "jackknife"] = "points",
    subset: int | IntVector | None = None,
    queries: int | IntVector | None = None,
    seed: int = 0,
) -> Imbalance:
    """Information imbalance Delta(A -> B): low where near in A means near in B.

    Delta(A -> B) = (2 / n) mean over i and j in N_k^A(i) of rank_B(i, j), where rank_B(i, j) = 1 is
    the nearest row to i in B. Not symmetric: read both directions. (k + 1) / n for identical spaces
    without ties, 1 in expectation for independent ones; one draw of independent spaces spreads by
    about 0.70 / sqrt(n) at k = 1 and 0.24 / sqrt(n) at k = 10.

    Parameters
    ----------
    points_a, points_b : arrays (n, d_a), (n, d_b)
        The same rows in two spaces; anything with ``shape`` that slices like an array.
    k : int
        Neighbours in A that are averaged.
    graph_a : NeighborGraph, optional
        A graph of ``points_a`` that is at hand. It must store k + 1 neighbours, so that a tie at
        the k-th can be seen. Searched (Euclidean) if not given; its metric is that of A.
    stderr : {'points', 'jackknife'}
        ``points``: sd over rows / sqrt(n), the limit of a bootstrap over points with neighbours and
        ranks fixed. Rows share neighbours, so it is too small for the spread over new data: 0.7 to
        0.9 of it at k = 1, down to 0.5 at k = 10 (measured on Gaussian data, n = 100 and 300).
        ``jackknife``: every row left out in turn and everything recomputed,
        sqrt((n - 1) / n sum (Delta_(-i) - mean)^2); too large, 1.4 to 1.7 at k = 1 and 1.1 to 1.5
        at k = 10 (same data), as the jackknife is for ranks. The truth lies between the two. It
        costs O(n^2 k) and takes at most 4000 rows.
    subset : int or array of row numbers, optional
        Compare these rows only (a seeded draw without replacement if a number). The value then
        belongs to that n, which ``n_used`` states: never compare it with another n.
    queries : int or array of row numbers, optional
        Average over these rows only (a seeded draw if a number), each ranked among **all** rows: an
        unbiased estimate of the value of all n rows, with the standard error sd / sqrt(q) of a
        sample of q rows. Ranking costs the share q / n; the neighbours in A are still searched for
        all rows, unless ``graph_a`` is given. ``parameters`` states q, ``n_used`` the n.
    seed : int
        Keys the draws of subset and queries.

    Returns
    -------
    Imbalance

    Raises
    ------
    InputError
        If the spaces differ in rows, k is not in 1..n-1, the graph is of other points or stores too
        few neighbours, or an option makes no sense (the jackknife of a metric but the Euclidean).
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    Ranks are exact, by counting: rank_B(i, j) = 1 + #closer + #equally far / 2 (mid-rank),
    blockwise and without an n x n array. Where the k-th neighbour in A is tied, the strictly closer
    rows count fully and the tied ones share the remaining places equally. So m copies of a set of
    n / m rows against themselves give m / n at k = 1. Fewer than 3 distinct rows on a side: NaN,
    ``undefined``. Other packages replace ranks beyond their lists by random numbers.

    References
    ----------
    Glielmo et al. 2022, doi:10.1093/pnasnexus/pgac039.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> information_imbalance(x, 2 * x).value  # identical neighbours: 2 / n
    0.01
    >>> plane = information_imbalance(x, x[:, :2]), information_imbalance(x[:, :2], x)
    >>> plane[0].value < plane[1].value  # the whole predicts its part better
    True
    """
    if stderr not in ("points", "jackknife"):
        raise InputError(f"stderr must be 'points' or 'jackknife', got {stderr!r}")
    n_rows = _same_length([points_a, points_b])
    if subset is not None and graph_a is not None:
        raise InputError("give a graph of all rows or a subset, not both")
    rows = None if subset is None else _subset(n_rows, subset, seed)
    a, b = _load(points_a, rows), _load(points_b, rows)
    n = len(a)
    k = _checked_k(n, k)
    if stderr == "jackknife" and not k + 1 < n <= JACKKNIFE_ROWS:
        raise InputError(
            f"the jackknife needs between {k + 2} and {JACKKNIFE_ROWS} rows, got {n}: choose "
            "subset=... or stderr='points'"
        )
    if stderr == "jackknife" and graph_a is not None and graph_a.metric != "euclidean":
        raise InputError(
            f"the jackknife finds Euclidean neighbours, the graph is {graph_a.metric}: choose "
            "stderr='points'"
        )
    asked = None if queries is None else _subset(n, queries, seed, "queries")
    if asked is not None and stderr == "jackknife":
        raise InputError("the jackknife leaves out each row in turn: choose queries or 'jackknife'")
    space_a = _Space.of(a, k, graph_a)
    same_b = find_duplicates(b)
    reason = join_notes(space_a.reason, too_few_distinct(same_b.n_distinct))
    common: dict[str, Any] = {
        "k": k,
        "n_used": n,
        "n_dropped": n_rows - n,
        "parameters": _parameters(k, subset, seed, asked)
        | {"stderr": stderr, "metric_a": "euclidean" if graph_a is None else graph_a.metric},
    }
    if reason:
        note = join_notes(reason, "" if space_a.exact else "approximate")
        return Imbalance(value=math.nan, note=note, **common)
    ranks = mean_ranks(b, [space_a.neighborhoods], queries=asked)[0]
    per_point = 2 / n * ranks
    error = _points_stderr(per_point) if stderr == "points" else jackknife_stderr(a, b, k)
    return Imbalance(
        value=2 / n * float(ranks.mean()),
        stderr=error,
        stderr_kind="bootstrap" if stderr == "points" else "jackknife",
        note=notes_in_words(max(space_a.repeated, same_b.share), space_a.tied, space_a.exact),
        per_point=per_point,
        **common,
    )


def information_imbalance_matrix(
    sites: Sequence[Points],
    *,
    k: int = 1,
    graphs: Sequence[NeighborGraph] | None = None,
    subset: int | IntVector | None = None,
    queries: int | IntVector | None = None,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> ImbalanceMatrix:
    """Information imbalances between all pairs of sites, in both directions.

    Parameters
    ----------
    sites : sequence of arrays (n, d)
        The same rows at every site. Anything that ``numpy.asarray`` reads (and, for a subset, that
        can be indexed by rows); one site is held at a time.
    k, subset, queries, seed
        As for :func:`information_imbalance`; one draw for all sites.
    graphs : sequence of NeighborGraph, optional
        Graphs of the sites that are at hand, storing k + 1 neighbours.
    progress : callable, optional
        Called with (sites done, sites in all).

    Returns
    -------
    ImbalanceMatrix
        ``values[i, j]`` reads i -> j. The diagonal is computed, not assumed: (k + 1) / n without
        ties. ``stderr`` as with ``points`` there.

    Raises
    ------
    InputError
        As :func:`information_imbalance`, and if graphs and sites differ in number.

    Notes
    -----
    One pass of distances per site j ranks the neighbours from every site i: O(L n^2 d) time, and
    memory of one site, one block and L n k neighbours. Sites with fewer than 3 distinct rows give
    NaN in their row and column.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> information_imbalance_matrix([x, -x, x[:, :1]]).values[:2, :2].round(2).tolist()
    [[0.02, 0.02], [0.02, 0.02]]
    """
    if not len(sites):
        raise InputError("an imbalance matrix needs at least one site")
    n_rows = _same_length(sites)
    if graphs is not None and subset is not None:
        raise InputError("give graphs of all rows or a subset, not both")
    if graphs is not None and len(graphs) != len(sites):
        raise InputError(f"{len(graphs)} graphs for {len(sites)} sites: give one per site")
    rows = None if subset is None else _subset(n_rows, subset, seed)
    n = n_rows if rows is None else len(rows)
    k = _checked_k(n, k)
    asked = None if queries is None else _subset(n, queries, seed, "queries")
    size = len(sites)
    spaces = [
        _Space.of(_load(sites[i], rows), k, None if graphs is None else graphs[i])
        for i in range(size)
    ]
    usable = [i for i, space in enumerate(spaces) if not space.reason]
    values, errors = np.full((size, size), math.nan), np.full((size, size), math.nan)
    for j in range(size):
        if not spaces[j].reason:
            found = mean_ranks(
                _load(sites[j], rows), [spaces[i].neighborhoods for i in usable], queries=asked
            )
            for i, ranks in zip(usable, found, strict=True):
                values[i, j] = 2 / n * float(ranks.mean())
                errors[i, j] = _points_stderr(2 / n * ranks)
        if progress is not None:
            progress(j + 1, size)
    return ImbalanceMatrix(
        values=values,
        stderr=errors,
        notes=tuple(tuple(_pair_note(a, b) for b in spaces) for a in spaces),
        k=k,
        n=n,
        n_dropped=n_rows - n,
        parameters=_parameters(k, subset, seed, asked)
        | {"metric_a": "euclidean" if graphs is None else ", ".join({g.metric: 0 for g in graphs})},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Space:
    """A space that is read from: its neighbourhoods, or why it has none; what to note."""

    neighborhoods: Neighborhoods
    reason: str
    repeated: float
    tied: float
    exact: bool

    @classmethod
    def of(cls, points: Points, k: int, graph: NeighborGraph | None) -> _Space:
        n = len(points)
        if graph is None:
            graph = find_neighbors(points, k=min(k + 1, n - 1))
        else:
            check_graph_of(points, graph)
        reason = undefined_note(graph)
        if reason:
            nothing = np.empty((n, 0))
            return cls(Neighborhoods(k, nothing, nothing, ()), reason, 0.0, 0.0, graph.exact)
        found = tied_neighborhoods(points, graph, k)
        return cls(found, "", graph.n_duplicates / n, found.tied_share, graph.exact)


def _pair_note(a: _Space, b: _Space) -> str:
    if a.reason or b.reason:
        return join_notes(a.reason, b.reason, "" if a.exact else "approximate")
    return notes_in_words(max(a.repeated, b.repeated), a.tied, a.exact)


def _load(points: Points, rows: np.ndarray | None) -> np.ndarray:
    return np.asarray(points if rows is None else points[rows])


def _same_length(sites: Sequence[Points]) -> int:
    lengths = [len(site) for site in sites]
    if len(set(lengths)) > 1:
        raise InputError(
            f"the spaces have {', '.join(map(str, lengths))} rows: an imbalance needs the same "
            "rows, in the same order, in all of them"
        )
    return lengths[0]


def _checked_k(n: int, k: int) -> int:
    k = whole("k", k)
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    if k >= n:
        raise InputError(f"site has {n} rows, k = {k} needs at least {k + 1}")
    return k


def _subset(n: int, subset: int | IntVector, seed: int, name: str = "a subset") -> np.ndarray:
    if isinstance(subset, int | np.integer):
        if not 2 <= subset <= n:
            raise InputError(f"{name} of {n} rows are 2 to {n} rows, got {subset}")
        return np.sort(np.random.default_rng([seed, int(subset)]).permutation(n)[:subset])
    rows = np.asarray(subset)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) < 2:
        raise InputError(f"{name}: give a number of rows or an array of at least 2 row numbers")
    if rows.min() < 0 or rows.max() >= n or len(np.unique(rows)) < len(rows):
        raise InputError(f"{name}: rows must be distinct and lie in 0..{n - 1}")
    return rows


def _parameters(
    k: int, subset: int | IntVector | None, seed: int, asked: np.ndarray | None = None
) -> dict[str, object]:
    drawn = isinstance(subset, int | np.integer)
    return {
        "k": k,
        "metric_a": "euclidean",
        "metric_b": "euclidean",
        "duplicates": "keep",
        "subset": None if subset is None else int(subset) if drawn else "rows given",
        "seed": seed if drawn else None,
    } | ({} if asked is None else {"queries": len(asked)})


def _points_stderr(per_point: np.ndarray) -> float:
    return float(per_point.std(ddof=1)) / math.sqrt(len(per_point))
