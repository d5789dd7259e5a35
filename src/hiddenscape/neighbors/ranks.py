"""At which rank does row j stand among the neighbours of row i? Exactly, without an n x n array."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.errors import InputError
from hiddenscape.kernels import direct
from hiddenscape.kernels.budget import parse_memory
from hiddenscape.kernels.cpu import PRECISIONS, Progress
from hiddenscape.kernels.dispatch import kernel
from hiddenscape.kernels.metrics import Space
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.neighbors.metrics import prepared
from hiddenscape.neighbors.search import checked_block
from hiddenscape.types import FloatVector

__all__ = ["ranks_of"]


def ranks_of(
    points: ArrayLike,
    targets: ArrayLike,
    *,
    queries: ArrayLike | None = None,
    metric: str = "euclidean",
    period: ArrayLike | None = None,
    precision: str = "auto",
    memory: int | str | None = None,
    block_rows: int | None = None,
    progress: Progress | None = None,
) -> FloatVector:
    r"""Exact mid-ranks of target rows by counting.

    .. math:: rank(i, j) = 1 + \#\{l: d_{il} < d_{ij}\} + \tfrac12 \#\{l \ne j: d_{il} = d_{ij}\}

    with l over all rows but i. One blocked pass over the points serves every column of ``targets``:
    concatenate several target sets along the second axis.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed.
    targets : int array (n, m) or (n,)
        Row numbers j whose rank is asked, one line per query row i; never i itself.
    queries : int array (q,), optional
        The rows i that the lines of ``targets`` belong to; all rows by default.
    metric, period
        As in :func:`find_neighbors`. ``angular`` and ``cosine`` rank by the chord between the
        directions, which both grow with.
    precision, memory
        As in :func:`find_neighbors`. The default does not start below float32: rougher bounds leave
        too many ranks to be settled one by one.
    block_rows : int, optional
        Rows per block. Changes time and memory, never the result.
    progress : callable, optional
        Called with (rows done, rows in all).

    Returns
    -------
    float64 array of the shape of ``targets``
        Ranks from 1 (nearest) to n - 1; halves where distances tie.

    Raises
    ------
    InputError
        If a target is out of range or the query row itself, the shapes disagree, or the metric or
        its period does not fit.
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    Ties are decided on the distances that :func:`find_neighbors` reports. O(n^2 d) time, memory of
    one block. Used for the information imbalance (Glielmo et al. 2022, arXiv:2104.15079).

    Examples
    --------
    >>> ranks_of([[0.0], [1.0], [-1.0], [3.0]], [[3], [0], [0], [1]]).ravel().tolist()
    [3.0, 1.0, 1.0, 1.0]
    >>> ranks_of([[0.0], [1.0], [-1.0], [3.0]], [[1, 3]], queries=[0])
    array([[1.5, 3. ]])
    """
    block_rows, budget = checked_block(block_rows), parse_memory(memory)
    if precision not in PRECISIONS:
        raise InputError(f"no precision {precision!r}; there are: {', '.join(PRECISIONS)}")
    data = prepared(points, metric, period)
    n = data.n
    wanted = np.asarray(targets)
    chosen = np.arange(n) if queries is None else np.asarray(queries)
    shape = wanted.shape
    if wanted.ndim == 1:
        wanted = wanted[:, None]
    if wanted.ndim != 2 or len(wanted) != len(chosen):
        raise InputError(f"targets need one line for each of {len(chosen)} rows, got shape {shape}")
    for name, rows in (("targets", wanted), ("queries", chosen)):
        if rows.dtype.kind not in "iu":
            raise InputError(f"{name} must be row numbers (integers), got {rows.dtype}")
        if rows.size and (rows.min() < 0 or rows.max() >= n):
            raise InputError(f"{name} must lie in 0..{n - 1}, got {rows.min()}..{rows.max()}")
    own = np.flatnonzero((wanted == chosen[:, None]).any(axis=1))
    if own.size:
        raise InputError(f"row {chosen[own[0]]} is its own target: a row has no rank among itself")
    chosen, wanted = chosen.astype(np.int64), wanted.astype(np.int64)
    ranks: np.ndarray
    if isinstance(data, Space):
        if precision != "auto":
            raise InputError(
                f"precision={precision!r} has no meaning for {metric}: no products there"
            )
        ranks = direct.mid_ranks(
            data, chosen, wanted, block_rows=block_rows, memory=budget, progress=progress
        )
        return ranks.reshape(shape)
    ranks = kernel().mid_ranks(
        data,
        chosen,
        wanted,
        representative=find_duplicates(data.original).representative,
        block_rows=block_rows,
        memory=budget,
        precision=precision,
        progress=progress,
    )
    return ranks.reshape(shape)
