r"""DANCo: the ball whose neighbourhoods have the distances and angles of the data.

Source: Ceruti, Bassis, Rozza, Lombardi, Casiraghi, Campadelli 2014, "DANCo: an intrinsic
dimensionality estimator exploiting angle and norm concentration", doi
10.1016/j.patcog.2014.02.013, arXiv:1206.3881.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.dimension.danco_balls import (
    Balls,
    angle_statistics,
    log_ratios,
    mean_angles,
)
from hiddenscape.dimension.local import Lists, neighbor_lists, remarks_of, undefined_of
from hiddenscape.dimension.mind import likeliest, mind_influence
from hiddenscape.dimension.patches import graph_for
from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.spatial import block_labels, block_stderr
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import checked_seed, whole

__all__ = ["danco_dimension"]

Statistics = Literal["bounded", "published"]

# The divergence of the ratios is an alternating sum of binomials: 20 leave 10 digits.
_LARGEST_K = 20


def danco_dimension(
    points: ArrayLike,
    k: int = 10,
    *,
    graph: NeighborGraph | None = None,
    integer: bool = False,
    statistics: Statistics = "bounded",
    calibration: ArrayLike | None = None,
    balls: int = 4,
    largest: int = 200,
    seed: int = 0,
    duplicates: str = "unique",
    stderr: str = "bootstrap",
    blocks: ArrayLike | None = None,
) -> Dimension:
    r"""Dimension of the uniform ball that the neighbourhoods of the data resemble most.

    Three statistics of the data, :math:`s_1 = (\hat d_1, \nu_1, \tau_1)`: the dimension by MiND_ML
    at ranks (1, k + 1), and the mean direction and concentration of the angles between the vectors
    to the first k neighbours. The same, :math:`s_2`, of balls of dimension m = 1, 2, ... with as
    many rows. With :math:`q = \hat d_2/\hat d_1` and :math:`A = I_1/I_0` the divergence is

    .. math:: K = H_k q - 1 - H_{k-1} - \log q
       - (k-1) \sum_{i=0}^k (-1)^i \binom ki \psi\!\left(1 + \frac iq\right)
       + \log \frac{I_0(\tau_2)}{I_0(\tau_1)}
       + A(\tau_1) (\tau_1 - \tau_2 \cos(\nu_1 - \nu_2))

    and the answer is the m where it is least: the statistics of the balls join linearly between
    whole numbers. What boundaries and the number of rows do to the data they do to the balls, so
    that most of the bias of MiND in high dimension is gone.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed. Distances are Euclidean.
    k : int
        From 2 to 20. Ranks (1, k + 1) stand in the result, the scale is the mean of
        :math:`r_{k+1}`.
    graph : NeighborGraph, optional
        The Euclidean graph of these points, with k + 1 neighbours, to spare the search.
    integer : bool
        The least over whole numbers, as published; the error is that of the real minimum.
    statistics : str
        ``bounded``: direction by arctan2, concentration of the mean resultant length.
        ``published``: arctan, which folds directions beyond pi/2 onto negative ones, and the mean
        of single rows' concentrations, in which the end of a curve outweighs all others.
    calibration : array (m, 3), optional
        :math:`s_2` of the dimensions 1 to m, in place of balls of our own.
    balls : int
        Balls of each dimension, at least 2; their statistics are averaged. Beyond 2048 rows the
        neighbourhoods of 2048 are looked at.
    largest : int
        Dimension beyond which no balls are made.
    seed : int
        Keys the balls.
    duplicates : str
        ``unique`` (neighbours among distinct rows), ``drop_zero`` or ``error``.
    stderr : str
        ``bootstrap``: spread of the rows' shares in :math:`s_1`, lists fixed (too small on point
        clouds, where rows share neighbours); ``blocks``: delete-one jackknife over ``blocks``. To
        both the spread over the balls is added.
    blocks : int array (n,), optional
        Block of every row, such as ``spatial_blocks(points)``; needed by ``stderr="blocks"``.

    Returns
    -------
    Dimension
        ``parameters`` holds ``divergence`` (K at the answer; far above 0.1 no ball is like the
        data), ``statistics_of_data`` :math:`s_1` and ``stderr_of_balls``. Below 1 the answer is
        :math:`\hat d_1/\hat d_2` of the 1-ball, ``collapsed``. NaN with ``collapsed`` where fewer
        than 3 rows are distinct, with ``few_points`` where fewer than k + 2 are, with ``ties``
        where all ratios are 1, with ``undefined`` where the least divergence lies beyond
        ``largest`` or at the last row of a given calibration: a bound is no answer.

    Raises
    ------
    InputError
        For a k out of range, an unknown option, a calibration that is not as said, a graph that is
        not Euclidean or of other points, or blocks that are missing or of another length.
    NonFiniteError
        If a row holds NaN or infinity.
    DuplicateRowsError
        For identical rows under ``duplicates="error"``.

    Notes
    -----
    O(n k^2 d) for the angles, and some 5 to 10 dimensions of balls at O(n min(n, 2048) m) each;
    those are kept in memory for the next site of as many rows.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).uniform(size=(500, 6))
    >>> d = danco_dimension(points)
    >>> f"{d.value:.1f} +- {d.stderr:.1f}", danco_dimension(points, integer=True).value
    ('5.7 +- 0.1', 6.0)
    """
    seed = checked_seed(seed)
    k, balls, largest = whole("k", k), whole("balls", balls), whole("largest", largest)
    if not 2 <= k <= _LARGEST_K:
        raise InputError(f"DANCo needs k from 2 to {_LARGEST_K}, got {k}")
    if statistics not in get_args(Statistics):
        raise InputError(f"statistics must be bounded or published, got {statistics!r}")
    if balls < 2 or largest < 2:
        raise InputError(f"balls and largest must be at least 2, got {balls} and {largest}")
    if stderr not in ("bootstrap", "blocks"):
        raise InputError(f"stderr must be bootstrap or blocks, got {stderr!r}")
    given = None if calibration is None else _checked(calibration)
    published = statistics == "published"
    data, graph = graph_for(points, k + 1, graph)
    labels = block_labels(stderr, blocks, graph.n_rows)
    parameters: dict[str, object] = {
        "k": k,
        "integer": integer,
        "statistics": statistics,
        "duplicates": duplicates,
        "metric": graph.metric,
    }
    if given is None:
        parameters |= {"balls": balls, "largest": largest, "seed": seed}
    lists = neighbor_lists(graph, k + 1, duplicates, method="danco", parameters=parameters)
    if isinstance(lists, Dimension):
        return lists
    logs = log_ratios(lists.distances)
    rows = np.column_stack(
        [logs, angle_statistics(data, lists.rows, lists.neighbors[:, :k], published)]
    )
    mine = _mean(rows, k, published)
    parameters["statistics_of_data"] = tuple(map(float, mine))
    if len(logs) < 3 or not np.isfinite(mine).all():
        few = len(logs) < 3
        why = f"few_points ({len(logs)} ratios)" if few else "ties (ratios of 1, or no angles)"
        return undefined_of(lists, "danco", why, parameters)
    table = Balls(len(logs), k, balls, seed, largest, published, given)
    best = table.best(mine, every=integer)
    if best is None or table.real(mine, best)[0] >= table.largest:
        word = f"{largest} dimensions of the largest balls" if given is None else "calibration"
        why = f"undefined (the least divergence lies beyond the {word})"
        return undefined_of(lists, "danco", why, parameters)
    return _answer(lists, rows, mine, table, best, labels, parameters)


def _answer(
    lists: Lists,
    rows: np.ndarray,
    mine: np.ndarray,
    table: Balls,
    best: int,
    labels: np.ndarray | None,
    parameters: dict[str, object],
) -> Dimension:
    k, published = table.k, table.published

    def read(statistics: np.ndarray) -> float:
        return table.real(statistics, best)[0]

    root, apart = table.real(mine, best)
    if labels is None:
        error = _spread(rows, mine, k, published, read)
    else:
        error = block_stderr(rows, labels[lists.rows], lambda rest: read(_mean(rest, k, published)))
    single = [
        table.real(mine, best, lambda m, b=b: table.each(m)[b])[0]  # type: ignore[misc]
        for b in range(len(table.each(best)))
    ]
    of_balls = float(np.std(single, ddof=1)) / math.sqrt(len(single)) if len(single) > 1 else 0.0
    error = math.hypot(error, of_balls)
    value = root
    if parameters["integer"]:
        value, apart = float(best), table.divergence(mine, table.mean(best))
    parameters |= {"divergence": apart, "stderr_of_balls": of_balls}
    return Dimension(
        value=value,
        stderr=error,
        stderr_kind="bootstrap" if labels is None else "blocks",
        interval=normal_interval(root, error),
        n_used=len(rows),
        n_dropped=lists.n_dropped,
        scale=lists.radius,
        method="danco",
        n1=1,
        n2=k + 1,
        note=join_notes(
            remarks_of(lists, value),
            "collapsed (estimate below 1)" if root < 1 else "",
        ),
        parameters=parameters,
    )


def _checked(calibration: ArrayLike) -> np.ndarray:
    table = np.asarray(calibration, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != 3 or len(table) < 2 or not np.isfinite(table).all():
        raise InputError(
            "a calibration has one row (dimension, direction, concentration) for each of the "
            f"dimensions 1, 2, ..., all finite; got shape {table.shape}"
        )
    if (table[:, 0] <= 0).any() or (table[:, 2] < 0).any():
        raise InputError("a calibration needs positive dimensions and no negative concentration")
    return table


def _mean(rows: np.ndarray, k: int, published: bool) -> np.ndarray:
    """Dimension, direction and concentration of rows (log ratio, direction, length)."""
    return np.array([likeliest(rows[:, 0], k), *mean_angles(rows[:, 1:], published)])


def _spread(
    rows: np.ndarray,
    mine: np.ndarray,
    k: int,
    published: bool,
    read: Callable[[np.ndarray], float],
) -> float:
    """Error if rows were independent: their influence on the statistics, and theirs on the value.

    The slopes are taken over a standard error to either side, wide enough to see past the corners
    at whole numbers.
    """
    n = len(rows)
    angles = np.where(np.isfinite(rows[:, 1:]), rows[:, 1:], np.nanmean(rows[:, 1:], axis=0))
    shares = np.column_stack([mind_influence(mine[0], rows[:, 0], k), angles])
    if not published:
        # The concentration follows the mean length: its slope there, by a small step.
        step = 1e-6
        lower, upper = (mean_angles(rows[:, 1:] + [0.0, s], published)[1] for s in (-step, step))
        shares[:, 2] *= (upper - lower) / (2 * step)
    covariance = np.cov(shares, rowvar=False) / n
    deviation = np.sqrt(np.diag(covariance))
    slope = np.zeros(3)
    for j in np.flatnonzero(deviation):
        move = np.zeros(3)
        move[j] = deviation[j]
        slope[j] = (read(mine + move) - read(mine - move)) / (2 * deviation[j])
    return math.sqrt(max(float(slope @ covariance @ slope), 0.0))
