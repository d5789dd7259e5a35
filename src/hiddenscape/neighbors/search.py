"""From points to their neighbour graph: the one exact search that every measurement shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.errors import InputError
from hiddenscape.kernels import direct
from hiddenscape.kernels.arrays import Cloud, blocks
from hiddenscape.kernels.budget import parse_memory
from hiddenscape.kernels.certificate import Certificate
from hiddenscape.kernels.cpu import Progress
from hiddenscape.kernels.dispatch import kernel
from hiddenscape.kernels.metrics import Space
from hiddenscape.neighbors.duplicates import Duplicates, find_duplicates
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.metrics import (
    METRICS,
    by_angle,
    pair_distances,
    prepared,
    selected,
    told_apart_by,
)
from hiddenscape.types import whole

__all__ = ["METRICS", "check_graph_of", "find_neighbors"]


def find_neighbors(
    points: ArrayLike,
    *,
    k: int,
    metric: str = "euclidean",
    period: ArrayLike | None = None,
    device: str = "cpu",
    precision: str = "auto",
    memory: int | str | None = None,
    block_rows: int | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> NeighborGraph:
    r"""The exact ``k`` nearest neighbours of every row.

    Lists are ordered by (distance, row number) and never hold the row itself, which is recognised
    by its number, not by its distance. Candidates come from a matrix product on centred points with
    a proven error bound; distances are recomputed from float64 differences of the values as given.
    Adding a constant to a column therefore changes nothing but the last bits that the caller's own
    dtype loses.

    Parameters
    ----------
    points : array (n, d)
        Real and finite, any float or integer dtype, memory-mapped or read-only; never changed.
    k : int
        Neighbours per row, 1 to n - 1.
    metric : str
        ``euclidean``; ``angular``, the angle :math:`\arccos\cos` in radians; ``cosine``,
        :math:`1 - \cos`, which is no length (dimensions come out halved: use ``angular``);
        ``manhattan``, :math:`\sum_c |x_c - y_c|`; ``hamming``, the number of columns that differ (a
        count: scipy and scikit-learn divide it by d); ``periodic``, Euclidean with every difference
        wrapped to at most half a period.
    period : number or array (d,), optional
        For ``periodic`` only: the period of all columns or of each, inf where one does not repeat.
    device : str
        ``cpu``, or ``cuda`` (``cuda:1``, ...) for the kernel in torch. The result is the same.
    precision : str
        The arithmetic of the first products: ``bfloat16``, ``bfloat16x3`` (each number split in
        two), ``float32`` or ``float64``. ``auto`` takes what is fastest on this machine (see
        ``hiddenscape doctor``), after a try with few coordinates where a sample says that they hold
        the points (:mod:`hiddenscape.kernels.projection`). Rows that a proven error bound leaves in
        doubt climb to the next; ``certificate`` says where each was proven. Changes time, never the
        result.
    memory : int or str, optional
        Working memory beside the points and the result, in bytes or as ``"2GB"``; 1 GB by default.
    block_rows : int, optional
        Rows per block of products. Changes time and memory, never the result.
    checkpoint : path, optional
        A file for the state of a long search, written every 30 seconds and removed at the end. The
        same search with the same file goes on where a killed one was (rows that climbed to a later
        arithmetic are searched there again). A file that is no such state is refused.
    progress : callable, optional
        Called with (rows done, rows in all), from a thread of the search; distinct rows count.

    Returns
    -------
    NeighborGraph
        With the multiplicity of every row, and in ``distinct`` the graph among distinct rows where
        some repeat. Rows are identical where their distance is zero: with equal values, with equal
        directions (``angular``, ``cosine``), or where they differ by whole periods (``periodic``),
        exactly, as the floating-point numbers they are: 0.5 and 1.5 for a period of 1, but not 0.1
        and 1.1, whose difference is 1.00000000000000008.

    Raises
    ------
    InputError
        If k is not in 1..n-1, the points are not a real (n, d) array, the metric is unknown, a
        row of zeros has no direction, or a period is missing, not positive, of another length or
        given for another metric; if ``memory`` is too small, or ``precision`` is unknown or asked
        of a metric without products; for a ``checkpoint`` of such a metric.
    NonFiniteError
        If rows hold NaN or infinity; ``rows`` names them.

    Notes
    -----
    O(n^2 d) time, half of it saved by symmetry. Products run in the fastest precision whose error
    can be bounded: with rows c centred and h = round(c), the squared distance differs from
    :math:`|c_i|^2 + |c_j|^2 - 2 h_i \cdot h_j` by at most :math:`\kappa (|c_i|^2 + |c_j|^2)`, where
    kappa is computed from what rounding lost on these very rows
    (:mod:`hiddenscape.kernels.products`). A row keeps every j that this does not place beyond its
    k-th nearest; their distances are recomputed. Each recomputed distance is held against its
    bounds, and 32 other pairs of every block too: products that break them are not used. (A single
    wrong product among a million that nobody looks at would pass: this finds faulty libraries and
    broken units, not one flipped bit.)

    Identical rows are found first and searched once. The last three metrics compute every pair in
    compiled loops, many times slower than a matrix product where d is large; Hamming distances of
    whole numbers from a range of up to 65,536 are counted 64 columns at a time. ``periodic`` holds
    the points as float64. The first search of a machine
    compiles for half a minute at most; compiled code is kept beside the package or in the user's
    cache folder (``NUMBA_CACHE_DIR`` names another).

    Examples
    --------
    >>> g = find_neighbors([[0.0], [1.0], [3.0]], k=2)
    >>> g.indices.tolist()
    [[1, 2], [0, 2], [1, 0]]
    >>> g.distances[0].tolist()
    [1.0, 3.0]
    """
    data = prepared(points, metric, period)
    k = whole("k", k)
    if k < 1:
        raise InputError(f"k must be a whole number of at least 1, got {k}")
    if k >= data.n:
        raise InputError(f"site has {data.n} rows, k = {k} needs at least {k + 1}")
    block_rows = checked_block(block_rows)
    on_cpu = _is_cpu(device)
    options: dict[str, Any] = {
        "block_rows": block_rows,
        # A device of its own is filled unless the caller says otherwise.
        "memory": None if memory is None and not on_cpu else parse_memory(memory),
        "progress": progress,
    }
    if isinstance(data, Cloud):
        options["precision"] = precision
        options["checkpoint"] = _checked_file(checkpoint)
        options |= {} if on_cpu else {"device": device}
    elif not on_cpu:
        raise InputError(f"device={device!r}: distances by {metric} are made on the processor only")
    elif precision != "auto":
        raise InputError(f"precision={precision!r} has no meaning for {metric}: no products there")
    elif checkpoint is not None:
        raise InputError(f"no checkpoint is kept of a search by {metric}: leave checkpoint= out")
    same = find_duplicates(told_apart_by(data))
    if same.n_distinct == data.n:
        return _search(data, k, metric, same.multiplicity, options)
    return _search_with_duplicates(data, k, metric, same, options)


def check_graph_of(points: ArrayLike, graph: NeighborGraph) -> None:
    """Refuse a graph that was made from other points: it would give a number of neither.

    The points must have the distances to the first neighbours that the graph states. Graphs made
    elsewhere may be rough, so only gross differences in most rows count.

    Raises
    ------
    InputError
        If the number of rows or the distances do not agree.
    NonFiniteError
        If a row holds NaN or infinity.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> check_graph_of(x, find_neighbors(x, k=1))
    """
    known = graph.metric in METRICS
    period = graph.period
    data = prepared(points, graph.metric if known else "euclidean", period if known else None)
    if graph.n != data.n:
        raise InputError(f"the graph has {graph.n} rows, the points have {data.n}")
    if not known:
        return
    d = pair_distances(data, np.arange(data.n), graph.indices[:, 0], graph.metric)
    stated = graph.distances[:, 0]
    off = np.abs(d - stated) > 0.1 * np.maximum(d, stated)
    if off.mean() > 0.5:
        raise InputError(
            f"the graph is of other points: in {int(off.sum())} of {data.n} rows these points do "
            "not have the stated distance to the first neighbour; same rows, same order?"
        )


def checked_block(block_rows: int | None) -> int | None:
    """Rows per block as a whole number of at least 1.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if block_rows is None:
        return None
    size = whole("block_rows", block_rows)
    if size < 1:
        raise InputError(f"block_rows must be at least 1, got {block_rows}")
    return size


def _checked_file(checkpoint: object) -> Path | None:
    if checkpoint is None:
        return None
    if not isinstance(checkpoint, str | Path) or not str(checkpoint):
        raise InputError(f"checkpoint must be the path of a file, got {checkpoint!r}")
    return Path(checkpoint)


def _is_cpu(device: object) -> bool:
    if not isinstance(device, str) or device.split(":")[0] not in ("cpu", "cuda"):
        raise InputError(f"device must be 'cpu', 'cuda' or 'cuda:NUMBER', got {device!r}")
    if device.startswith("cpu:"):
        raise InputError(f"there is one 'cpu', got device={device!r}")
    return device == "cpu"


def _search(
    data: Cloud | Space,
    k: int,
    metric: str,
    multiplicity: np.ndarray,
    options: dict[str, Any],
    rows: np.ndarray | None = None,
    n_rows: int = -1,
) -> NeighborGraph:
    if isinstance(data, Space):
        indices, distances, certificate = direct.nearest(data, k, **options)
    else:
        name = "cuda" if "device" in options else "cpu"
        indices, distances, certificate = kernel(name).nearest(data, k, **options)
    if metric in ("angular", "cosine"):
        indices, distances = by_angle(indices, distances, metric)
    note = ""
    if metric == "euclidean" and isinstance(data, Cloud):
        note = _coarse(data, distances[:, 0])
    return NeighborGraph(
        indices=indices,
        distances=distances,
        metric=metric,
        certificate=certificate,
        multiplicity=multiplicity,
        rows=rows,
        n_rows=n_rows,
        note=note,
        period=_period_of(data),
    )


def _search_with_duplicates(
    data: Cloud | Space,
    k: int,
    metric: str,
    same: Duplicates,
    options: dict[str, Any],
) -> NeighborGraph:
    first, m, n = same.distinct_rows, same.n_distinct, data.n
    distinct = None
    if m >= 2:
        distinct = _search(
            selected(data, first),
            min(k, m - 1),
            metric,
            np.ones(m, dtype=np.int64),
            options,
            rows=first,
            n_rows=n,
        )
    indices, distances = _expand(distinct, same, k)
    return NeighborGraph(
        indices=indices,
        distances=distances,
        metric=metric,
        certificate=_certificate_of_all(distinct, same),
        multiplicity=same.multiplicity,
        distinct=distinct,
        note=distinct.note if distinct else "",
        period=_period_of(data),
    )


def _certificate_of_all(distinct: NeighborGraph | None, same: Duplicates) -> Certificate:
    """Copies are proven with the row that they repeat."""
    if distinct is None or distinct.certificate is None:
        return Certificate.by("all rows identical", len(same.representative))
    return distinct.certificate.take(np.searchsorted(same.distinct_rows, same.representative))


def _period_of(data: Cloud | Space) -> np.ndarray | None:
    return data.period if isinstance(data, Space) else None


def _coarse(data: Cloud, nearest: np.ndarray) -> str:
    """A note where over 1 % of rows have a neighbour nearer than the spacing of their values.

    The spacing is that of the type, or of bfloat16 or float16 where the values lie on its grid.
    """
    x = data.original
    integer, bits = (np.uint32, 23) if x.dtype == np.float32 else (np.uint64, 52)
    used = 0
    near = 0
    for a, b in blocks(data.n, max(1, (1 << 21) // data.d)):
        used |= int(np.bitwise_or.reduce(x[a:b].view(integer), axis=None)) & ((1 << bits) - 1)
    zeros = (used & -used).bit_length() - 1 if used else bits
    precision = max(bits - zeros, 7)
    eps = 2.0 ** -(precision if precision <= 10 else bits)
    for a, b in blocks(data.n, max(1, (1 << 21) // data.d)):
        v = data.values[a:b]
        norm = np.sqrt(np.einsum("ij,ij->i", v, v, dtype=np.float64))
        near += int(np.count_nonzero(np.ldexp(nearest[a:b], -data.exponent) < eps * norm))
    if near <= 0.01 * data.n:
        return ""
    return f"coarse_dtype ({near} of {data.n} rows have a neighbour within {eps:.1g} of their norm)"


def _expand(
    distinct: NeighborGraph | None, same: Duplicates, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Lists over all rows from the lists over distinct rows.

    The k first rows by (distance, row number) are copies of the k first distinct rows: every
    distinct row that precedes a copy's representative also precedes the copy.
    """
    n = len(same.representative)
    order = np.argsort(same.representative, kind="stable")
    edge = np.append(np.searchsorted(same.representative[order], same.distinct_rows), n)
    members = [order[edge[g] : edge[g + 1]] for g in range(same.n_distinct)]
    indices = np.empty((n, k), dtype=np.int32)
    distances = np.empty((n, k), dtype=np.float64)
    for g, own in enumerate(members):
        groups, lengths = np.array([g]), np.array([0.0])
        if distinct is not None:
            groups = np.concatenate([groups, distinct.indices[g]])
            lengths = np.concatenate([lengths, distinct.distances[g]])
        # More than k + 1 copies of one row can never be listed.
        copies = [members[h][: k + 1] for h in groups]
        index = np.concatenate(copies)
        d = np.repeat(lengths, [len(c) for c in copies])
        ranking = np.lexsort((index, d))
        index, d = index[ranking], d[ranking]
        for i in own:
            keep = np.flatnonzero(index != i)[:k]
            indices[i], distances[i] = index[keep], d[keep]
    return indices, distances
