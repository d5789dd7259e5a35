"""Rows that are equal: found by a hash of their bits, confirmed by comparing them."""

from __future__ import annotations

from functools import partial

import numpy as np

from hiddenscape.kernels.arrays import blocks
from hiddenscape.kernels.compiled import jit
from hiddenscape.kernels.threads import in_threads

__all__ = ["first_equal", "hashes"]

_ENTRIES = 1 << 20


def hashes(x: np.ndarray) -> np.ndarray:
    r"""A number of 64 bits for every row: rows with equal values (-0.0 equals 0.0) share it.

    :math:`\sum_c w_c b_c \bmod 2^{64}` over the words :math:`b_c` of 32 bits that a row consists
    of, with fixed weights drawn at random (multilinear hashing: Carter and Wegman 1979,
    doi:10.1016/0022-0000(79)90044-8). Two different rows share it by accident with a probability
    of at most 2**-33, for values that fill their type 2**-60 and less.

    Parameters
    ----------
    x : float32 or float64 array (n, d)
        May be memory-mapped: read once, in blocks of some megabytes.

    Examples
    --------
    >>> h = hashes(np.array([[0.0, 1.0], [1.0, 0.0], [-0.0, 1.0]]))
    >>> bool(h[0] == h[2]), bool(h[0] == h[1])
    (True, False)
    """
    words = x.shape[1] * x.dtype.itemsize // 4
    # The weights are constants of the hash, written down by their seed.
    weights = np.random.default_rng(0x9E3779B9).integers(2**64, size=words, dtype=np.uint64)
    out = np.empty(len(x), dtype=np.uint64)
    work = partial(_hash_block, x, weights, out)
    for _ in in_threads(work, blocks(len(x), max(1, _ENTRIES // x.shape[1]))):
        pass
    return out


def first_equal(x: np.ndarray) -> np.ndarray:
    """The lowest row that equals each row, value by value (-0.0 equals 0.0). int64 (n,)

    Parameters
    ----------
    x : float32 or float64 array (n, d)
        May be memory-mapped. Rows whose hash no other row shares are read once.

    Examples
    --------
    >>> first_equal(np.array([[1.0], [2.0], [1.0], [2.0]])).tolist()
    [0, 1, 0, 1]
    """
    out = np.arange(len(x))
    hashed = hashes(x)
    # Stable: the rows of a run of equal hashes stay in ascending order.
    order = np.argsort(hashed, kind="stable")
    run = np.cumsum(np.diff(hashed[order], prepend=hashed[order[:1]]) != 0)
    while order.size:
        opens = np.flatnonzero(np.diff(run, prepend=-1))
        leader = np.repeat(order[opens], np.diff(opens, append=len(order)))
        follows = order != leader
        order, leader, run = order[follows], leader[follows], run[follows]
        equal = _equal(x, order, leader)
        out[order[equal]] = leader[equal]
        # What shares a hash by accident is compared among itself.
        order, run = order[~equal], run[~equal]
    return out


def _hash_block(
    x: np.ndarray, weights: np.ndarray, out: np.ndarray, block: tuple[int, int]
) -> None:
    a, b = block
    _hash(_bits(x[a:b]), weights, out[a:b])


def _bits(rows: np.ndarray) -> np.ndarray:
    """Values as words of 32 bits that are equal where the values are."""
    # Adding zero turns -0.0 into 0.0, and makes an array of our own.
    return np.ascontiguousarray(rows + rows.dtype.type(0)).view(np.uint32)


def _equal(x: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Whether rows ``i`` equal rows ``j``, pair by pair."""
    out = np.empty(len(i), dtype=bool)
    for a, b in blocks(len(i), max(1, _ENTRIES // x.shape[1])):
        out[a:b] = (_bits(x[i[a:b]]) == _bits(x[j[a:b]])).all(axis=1)
    return out


@jit
def _hash(words: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    for i in range(len(words)):
        total = np.uint64(0)
        for c in range(words.shape[1]):
            total += np.uint64(words[i, c]) * weights[c]
        out[i] = total
