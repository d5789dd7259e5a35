r"""ABIDE and AGRIDE: the dimension at the scale that the density of each row allows.

The neighbourhood of a row is as large as its density can be taken as constant (k*, which needs the
dimension); the dimension is measured there; both are repeated until they agree.

Source: Di Noia, Macocco, Glielmo, Laio, Mira 2024, arXiv:2405.15132; k* of Rodriguez, d'Errico,
Facco, Laio 2018, doi 10.1021/acs.jctc.7b00916.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import chdtri

from hiddenscape.dimension.local import neighbor_lists, remarks_of, undefined_of
from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.spatial import block_labels, block_stderr
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.errors import InputError
from hiddenscape.kernels.local_density import critical_ratios, first_change
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import whole

__all__ = ["abide", "agride"]

_LEAST = 6
_BEST = 0.2032
_LARGEST_RATIO = 0.975
_MANY_CAPPED = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """What one iteration found: the statistics of the rows and how to read a dimension off them."""

    statistics: np.ndarray
    read: Callable[[np.ndarray], float]
    information: Callable[[float], float]
    scale: float


def abide(
    graph: NeighborGraph,
    *,
    start: float | None = None,
    alpha: float = 1e-6,
    max_rank: int | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 50,
    duplicates: str = "unique",
    stderr: str = "fisher",
    blocks: ArrayLike | None = None,
) -> Dimension:
    r"""Binomial dimension in neighbourhoods of size k*, iterated to a fixed point.

    With d of the last iteration: :math:`k^*_i` is the first k = 3, 4, ... at which the densities of
    row i and of its neighbour k + 1 differ at level alpha, else the cap;
    :math:`\tau = \min(0.975, 0.2032^{1/d})`, where the variance is least; :math:`n_i` neighbours
    lie strictly within :math:`\tau r_{k^*}`. Then

    .. math:: d = \frac{\log [\sum n_i / \sum (k^*_i - 1)]}{\log \tau}

    until d changes by less than ``tolerance`` d.

    Parameters
    ----------
    graph : NeighborGraph
        Deep: rows whose density never changes within the stored neighbours are capped. At least 6.
    start : float, optional
        First dimension; TwoNN by default.
    alpha : float
        Level of the test of k*, in (0, 1).
    max_rank : int, optional
        Neighbours used per row; all that are stored by default.
    tolerance : float
        Relative change at which the iteration has arrived.
    max_iterations : int
        At most this many.
    duplicates : str
        ``unique`` (neighbours among distinct rows) or ``error``.
    stderr : str
        ``fisher``: :math:`\sqrt{(\tau^{-d} - 1)/(\sum (k^*_i - 1) \log^2 \tau)}` at the last k*; a
        lower bound, since neighbourhoods overlap widely. ``blocks``: delete-one jackknife over
        ``blocks`` with k* and tau fixed.
    blocks : int array (n,), optional
        Block of every row, such as ``spatial_blocks(points)``; needed by ``stderr="blocks"``.

    Returns
    -------
    Dimension
        ``parameters`` holds ``path`` (d of every iteration, the start first), ``converged``,
        ``share_capped``, ``mean_k`` and the last ``ratio``; ``scale`` is the mean of
        :math:`(1 + \tau) r_{k^*}/2`. ``capped`` counts rows at the cap; above a fifth of them the
        value is the dimension at the cap, and says so. ``approximate``: no fixed point was
        reached. NaN ``undefined`` where no neighbour lies within an inner ball.

    Raises
    ------
    InputError
        For fewer than 6 neighbours, values out of range, an unknown option, or blocks that are
        missing or of another length.
    DuplicateRowsError
        For identical rows under ``duplicates="error"``.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> points = np.random.default_rng(0).normal(size=(1000, 2))
    >>> d = abide(find_neighbors(points, k=200))
    >>> round(d.value, 1), d.parameters["converged"]
    (2.0, True)
    """
    return _iterate(
        "abide", _binomial, graph, start, alpha, max_rank, tolerance, max_iterations, duplicates,
        stderr, blocks,
    )  # fmt: skip


def agride(
    graph: NeighborGraph,
    *,
    start: float | None = None,
    alpha: float = 1e-6,
    max_rank: int | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 50,
    duplicates: str = "unique",
    stderr: str = "fisher",
    blocks: ArrayLike | None = None,
) -> Dimension:
    r"""GRIDE at the ranks (k*/2, k*) of each row, iterated to a fixed point.

    As :func:`abide` with another measurement in each neighbourhood: odd k* are raised by one, and d
    is the root of the score of GRIDE with the ranks of each row,
    :math:`n_{2,i} = k^*_i = 2 n_{1,i}`:

    .. math:: \frac{N-1}{d} + \frac{1}{d} \sum_i (n_{2,i} - n_{1,i} - 1) \phi(d \log \mu_i)
       - \sum_i (n_{2,i} - 1) \log \mu_i = 0, \quad \phi(x) = \frac{x}{1 - e^{-x}}

    Parameters
    ----------
    graph, start, alpha, max_rank, tolerance, max_iterations, duplicates, stderr, blocks
        As in :func:`abide`; ``fisher`` is one over the root of the observed information.

    Returns
    -------
    Dimension
        As :func:`abide`; ``scale`` is the mean of :math:`(r_{n_1} + r_{n_2})/2`. NaN ``ties`` where
        all ratios are 1.

    Raises
    ------
    InputError
        As :func:`abide`.
    DuplicateRowsError
        For identical rows under ``duplicates="error"``.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors
    >>> points = np.random.default_rng(0).normal(size=(1000, 2))
    >>> d = agride(find_neighbors(points, k=200))
    >>> round(d.value, 1), d.parameters["converged"]
    (1.9, True)
    """
    return _iterate(
        "agride", _gride, graph, start, alpha, max_rank, tolerance, max_iterations, duplicates,
        stderr, blocks,
    )  # fmt: skip


def _iterate(
    method: str,
    measure: Callable[[np.ndarray, np.ndarray, float], _Step],
    graph: NeighborGraph,
    start: float | None,
    alpha: float,
    max_rank: int | None,
    tolerance: float,
    max_iterations: int,
    duplicates: str,
    stderr: str,
    blocks: ArrayLike | None,
) -> Dimension:
    depth = _checked(graph, start, alpha, max_rank, tolerance, max_iterations, duplicates, stderr)
    labels = block_labels(stderr, blocks, graph.n_rows)
    parameters: dict[str, object] = {
        "alpha": alpha,
        "max_rank": depth,
        "tolerance": tolerance,
        "max_iterations": max_iterations,
        "duplicates": duplicates,
        "metric": graph.metric,
    }
    lists = neighbor_lists(graph, depth, duplicates, method=method, parameters=parameters)
    if isinstance(lists, Dimension):
        return lists
    d = two_nn(graph, duplicates=duplicates).value if start is None else float(start)
    if not d > 0:
        return undefined_of(lists, method, "ties (TwoNN gives no dimension to start from)",
                            parameters)  # fmt: skip
    # Under both policies every neighbour is itself a row of the lists.
    indices = np.searchsorted(lists.rows, lists.neighbors).astype(np.int32)
    path = [d]
    converged = False
    while not converged and len(path) <= max_iterations:
        ks, capped = _k_star(indices, lists.distances, d, alpha)
        step = measure(lists.distances, ks, d)
        new = step.read(step.statistics)
        parameters |= {"path": (*path, new), "share_capped": float(capped.mean()),
                       "mean_k": float(ks.mean())}  # fmt: skip
        if not new > 0 or math.isinf(new):
            why = f"few_points (no dimension follows from the counts at d = {d:.3g})"
            return undefined_of(lists, method, why, parameters)
        converged = abs(new - d) < tolerance * d
        d = new
        path.append(d)
    if method == "abide":
        parameters["ratio"] = _ratio(path[-2])
    parameters["converged"] = converged
    if labels is None:
        error = 1 / math.sqrt(step.information(d))
    else:
        error = block_stderr(step.statistics, labels[lists.rows], step.read)
    return Dimension(
        value=d,
        stderr=error,
        stderr_kind=stderr,
        interval=normal_interval(d, error),
        n_used=len(lists.rows),
        n_dropped=lists.n_dropped,
        scale=step.scale,
        method=method,
        n1=1,
        n2=int(ks.max()),
        note=join_notes(remarks_of(lists, d), _capped(capped, depth), _unsettled(converged, path)),
        parameters=parameters,
    )


def _checked(
    graph: NeighborGraph,
    start: float | None,
    alpha: float,
    max_rank: int | None,
    tolerance: float,
    max_iterations: int,
    duplicates: str,
    stderr: str,
) -> int:
    if start is not None and not (start > 0 and math.isfinite(start)):
        raise InputError(f"start must be a positive dimension, got {start}")
    if not 0 < alpha < 1:
        raise InputError(f"alpha must lie in (0, 1), got {alpha}")
    if not (tolerance > 0 and whole("max_iterations", max_iterations) >= 1):
        raise InputError(
            f"tolerance must be positive and max_iterations at least 1, got {tolerance} and "
            f"{max_iterations}"
        )
    if duplicates not in ("unique", "error"):
        raise InputError(f"duplicates must be unique or error, got {duplicates!r}")
    if stderr not in ("fisher", "blocks"):
        raise InputError(f"stderr must be fisher or blocks, got {stderr!r}")
    depth = graph.k if max_rank is None else whole("max_rank", max_rank)
    if depth < _LEAST:
        raise InputError(f"k* needs at least {_LEAST} neighbours per row, got {depth}")
    if max_rank is None and graph.distinct is not None:
        # Fewer distinct rows than neighbours: use them all, if they are enough.
        depth = max(min(depth, graph.distinct.k), _LEAST)
    return depth


def _k_star(
    indices: np.ndarray, distances: np.ndarray, d: float, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """k* of every row, and which rows are at the cap."""
    n, stored = distances.shape
    ratios = critical_ratios(np.full(stored + 1, float(chdtri(1, alpha))), d)
    ks = np.empty(n, dtype=np.int64)
    first_change(indices, distances, distances, ratios, ks)
    capped = ks < 0
    ks[capped] = stored - 1
    return ks, capped


def _ratio(d: float) -> float:
    return min(_LARGEST_RATIO, math.exp(math.log(_BEST) / d))


def _binomial(distances: np.ndarray, ks: np.ndarray, d: float) -> _Step:
    ratio = _ratio(d)
    log = math.log(ratio)
    last = distances[np.arange(len(ks)), ks - 1]
    # Distances ascend and ratio < 1: whatever is closer than that lies before the k-th.
    inner = np.count_nonzero(distances < (ratio * last)[:, None], axis=1)
    counts = np.stack([inner, ks - 1], axis=1).astype(np.float64)

    def read(rows: np.ndarray) -> float:
        inside, trials = rows.sum(axis=0)
        return math.log(inside / trials) / log if 0 < inside < trials else math.nan

    trials = float(counts[:, 1].sum())
    return _Step(
        counts,
        read,
        lambda value: float(trials * log**2 / math.expm1(-value * log)),
        (1 + ratio) / 2 * float(last.mean()),
    )


def _gride(distances: np.ndarray, ks: np.ndarray, d: float) -> _Step:
    outer = ks + ks % 2
    inner = outer // 2
    row = np.arange(len(ks))
    near, far = distances[row, inner - 1], distances[row, outer - 1]
    log_mu = np.log1p((far - near) / near)
    statistics = np.stack([log_mu, inner.astype(np.float64)], axis=1)

    def information(value: float) -> float:
        y = value * log_mu / 2
        h = np.ones_like(y)
        np.divide(y, np.sinh(np.minimum(y, 700.0)), out=h, where=y > 0)
        return float(len(y) + np.sum((inner - 1) * h * h)) / value**2

    return _Step(statistics, _gride_root, information, float(np.mean(near / 2 + far / 2)))


def _gride_root(statistics: np.ndarray) -> float:
    """Root of the score at ranks (n1, 2 n1) of each row."""
    log_mu, inner = statistics.T
    n, total = len(log_mu), float(np.sum((2 * inner - 1) * log_mu))
    if total <= 0:
        return math.nan

    def score(d: float) -> float:
        x = d * log_mu
        phi = np.ones_like(x)
        np.divide(x, -np.expm1(-x), out=phi, where=x > 0)
        return (n - 1 + float(np.sum((inner - 1) * phi))) / (d * n) - total / n

    low = high = 1.0
    while score(high) > 0:
        low, high = high, 2 * high
    while score(low) < 0:
        low, high = low / 2, low
    return float(brentq(score, low, high, xtol=1e-13 * low, rtol=1e-14))


def _capped(capped: np.ndarray, depth: int) -> str:
    count, n = int(capped.sum()), len(capped)
    if not count:
        return ""
    many = ": the dimension at this scale, not an adaptive one" if count > _MANY_CAPPED * n else ""
    return f"capped ({count} of {n} rows at k = {depth - 1}{many})"


def _unsettled(converged: bool, path: list[float]) -> str:
    if converged:
        return ""
    return (
        f"approximate (no fixed point in {len(path) - 1} iterations, the last from {path[-2]:.6g} "
        f"to {path[-1]:.6g})"
    )
