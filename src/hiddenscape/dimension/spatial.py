"""Spatial blocks: parts of a cloud of nearly equal size, for errors that respect its geometry."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import cloud
from hiddenscape.types import IntVector

__all__ = ["spatial_blocks"]

_ITERATIONS = 30


def spatial_blocks(points: ArrayLike, *, splits: int = 4) -> IntVector:
    """Cut a cloud into ``2**splits`` blocks by median splits along each part's principal axis.

    Neighbouring rows fall mostly into one block, so that a jackknife over blocks feels that their
    neighbourhoods overlap.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed.
    splits : int
        Rounds of halving.

    Returns
    -------
    int64 array (n,)
        Block of every row, 0 to 2**splits - 1.

    Raises
    ------
    InputError
        If there are fewer rows than blocks.
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    The axis comes from power iterations started at the row farthest from the mean: the blocks turn
    with the cloud.

    Examples
    --------
    >>> spatial_blocks([[0.0], [9.0], [1.0], [8.0]], splits=1).tolist()
    [0, 1, 0, 1]
    """
    x = cloud(points).values
    if splits < 1 or len(x) < 2**splits:
        raise InputError(f"{len(x)} rows cannot be cut into 2**{splits} blocks")
    parts = [np.arange(len(x))]
    for _ in range(splits):
        parts = [half for part in parts for half in _halves(x, part)]
    # The halves of an axis come in no natural order: number blocks by their first row.
    parts.sort(key=lambda part: int(part[0]))
    out = np.empty(len(x), dtype=np.int64)
    for block, part in enumerate(parts):
        out[part] = block
    return out


def _halves(x: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    c = x[part].astype(np.float64)
    c -= c.mean(axis=0)
    largest = np.abs(c).max()
    if largest > 0:
        c /= largest
    axis = c[np.argmax(np.einsum("ij,ij->i", c, c))].copy()
    for _ in range(_ITERATIONS):
        length = np.sqrt(axis @ axis)
        if length == 0:
            break
        axis = (c @ (axis / length)) @ c
    order = np.argsort(c @ axis, kind="stable")
    middle = len(part) // 2
    return np.sort(part[order[:middle]]), np.sort(part[order[middle:]])
