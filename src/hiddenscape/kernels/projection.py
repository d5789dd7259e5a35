r"""Bounds from few coordinates: the leading directions of the points, and what is left of each row.

Let P be the orthogonal projection on m directions, :math:`p_i = P c_i` and :math:`t_i^2 = |c_i|^2 -
|p_i|^2`. What is left of two rows lies orthogonal to P, and by the triangle inequality its
difference has a length between :math:`|t_i - t_j|` and :math:`t_i + t_j`. So

.. math:: |p_i - p_j|^2 + (t_i - t_j)^2 \le r_{ij}^2
          \le |p_i - p_j|^2 + (t_i - t_j)^2 + 4 t_i t_j

The left side is a squared distance of rows :math:`(p_i, t_i)` of m + 1 coordinates, and
:math:`4 t_i t_j \le 2 t_i^2 + 2 t_j^2`: a screen like any other, whose products cost (m + 1) / d of
the full ones. Representations of networks often keep nearly all of their variance in a few
directions; where they do not, the bounds are too wide to be of use, and a sample of rows says so
before the work begins. The directions need not be good ones for the bounds to hold, only
orthogonal: they come from a seeded randomised range finder on a sample (Halko, Martinsson and Tropp
2011, doi:10.1137/090771806), and how far they are from orthogonal is measured and added.
"""

from __future__ import annotations

import numpy as np

from hiddenscape.kernels.arrays import Cloud, blocks
from hiddenscape.kernels.products import product_error
from hiddenscape.kernels.screen import Screen
from hiddenscape.kernels.threads import cores, in_threads, one_blas_thread

__all__ = ["DIRECTIONS", "RUNG", "project"]

RUNG = "projection"

DIRECTIONS = 256
"""Coordinates at most."""
FEWEST_COLUMNS = 128
"""Columns below which products are cheap enough as they are."""

_SAMPLE = 768
_FEWER = (32, 64, 128, DIRECTIONS)
_WORTH = 4  # times fewer coordinates than columns, at least
_ROOM = 0.85  # of the capacity, for what a sample does not show
# A column of a recomputed distance takes as long as a column of this many products (measured on two
# AVX2 cores that share a memory; a product serves two rows). It moves cost, never results.
_RECOMPUTED = 40
_GAIN = 0.8  # of the work without it, at most
_EXPLAINED = 0.9  # of a row, by all directions: below that no list is short
_BLOCK = 1 << 21


def project(points: Cloud, k: int, capacity: int, full: Screen) -> Screen | None:
    """A screen from few directions, or None where it would prove little.

    Parameters
    ----------
    points : Cloud
    k : int
        Neighbours that are wanted.
    capacity : int
        Entries of a short list.
    full : Screen
        A float32 screen of the same points: centre, scale and norms are its own.
    """
    n, d = points.n, points.d
    rows = np.arange(0, n, -(-n // _SAMPLE))
    sample = _centred(full, rows)
    wanted = [m for m in _FEWER if _WORTH * m <= d]
    if full.exact or not wanted:
        return None
    basis = _directions(sample, wanted[-1])
    chosen = _cheapest(sample, basis, wanted, k, n, capacity)
    if chosen is None:
        return None
    basis = np.ascontiguousarray(basis[:, :chosen])
    made = np.empty((n, chosen + 1), dtype=np.float32)
    left = np.empty(n)

    def work(at: tuple[int, int]) -> None:
        c = _centred(full, slice(*at))
        p = c @ basis
        squares = np.einsum("ij,ij->i", c, c)
        left[slice(*at)] = np.maximum(squares - np.einsum("ij,ij->i", p, p), 0.0)
        made[slice(*at), :-1] = p
        made[slice(*at), -1] = np.sqrt(left[slice(*at)])

    size = max(1, min(_BLOCK // d, -(-n // (4 * cores()))))
    with one_blas_thread():
        for _ in in_threads(work, list(blocks(n, size))):
            pass
    u, u64 = 2.0**-24, 2.0**-53
    # What directions that are not quite orthogonal and float64 sums lose of a square.
    skew = float(np.linalg.norm(basis.T @ basis - np.eye(chosen), 2))
    lost = skew + 2 * np.sqrt(chosen) * (d + chosen + 60) * u64
    # A small t is the root of a difference of large squares: its error is a root as well.
    kappa = product_error("float32", chosen + 1, 0.0, 0.0) + 12 * u + 2 * np.sqrt(lost)
    kappa += 8 * lost * np.sqrt(chosen)
    return Screen(
        cloud=points,
        rung=RUNG,
        dtype=full.dtype,
        centre=full.centre,
        exponent=full.exponent,
        norms=np.einsum("ij,ij->i", made, made, dtype=np.float64),
        kappa=1.05 * float(kappa),
        tau=full.tau,
        kept=(made,),
        left=left * (1 + 1e-6),
    )


def _centred(screen: Screen, rows: slice | np.ndarray) -> np.ndarray:
    x = screen.cloud.values[rows].astype(np.float64)
    x -= screen.centre
    return np.asarray(np.ldexp(x, screen.exponent, out=x))


def _directions(sample: np.ndarray, m: int) -> np.ndarray:
    """Orthonormal columns (d, m) that hold most of the sample."""
    start = np.random.default_rng([m, sample.shape[1]]).normal(size=(len(sample), m + 8))
    x = sample.T @ start
    x = sample.T @ (sample @ np.linalg.qr(x)[0])
    # The largest first: fewer of them are then still good ones.
    q = np.linalg.qr(x)[0]
    values, vectors = np.linalg.eigh((sample @ q).T @ (sample @ q))
    return np.linalg.qr(q @ vectors[:, np.argsort(-values)[:m]])[0]


def _cheapest(
    sample: np.ndarray, basis: np.ndarray, wanted: list[int], k: int, n: int, capacity: int
) -> int | None:
    """The number of directions that asks for the least work, None where all rows' products do.

    More directions make products dearer and lists shorter. The k-th of n neighbours stands for the
    (k s / n)-th among s rows of the sample; a list grows by the factor by which more rows of the
    sample lie below the upper bound of that one, and rows whose lists have no room for that need
    their full products.
    """
    s, d = sample.shape
    at = max(3, round(k * s / n))
    if at >= s - 1:
        return None
    squares = np.einsum("ij,ij->i", sample, sample)
    p = sample @ basis
    if np.median(np.einsum("ij,ij->i", p, p)) < _EXPLAINED * np.median(squares):
        return None
    chosen, least = None, _GAIN * (n * d + _RECOMPUTED * k * d)
    for m in wanted:
        q = p[:, :m]
        left = np.maximum(squares - np.einsum("ij,ij->i", q, q), 0.0)
        rows = np.column_stack([q, np.sqrt(left)])
        inner = rows @ rows.T
        size = np.diag(inner)
        lower = size[:, None] + size[None] - 2 * inner
        np.fill_diagonal(lower, np.inf)
        upper = lower + 2 * (left[:, None] + left[None])
        limit = np.partition(upper, at - 1, axis=1)[:, at - 1]
        length = np.count_nonzero(lower <= limit[:, None], axis=1) * (k / at)
        long = length > _ROOM * capacity
        work = n * (m + 1) + _RECOMPUTED * d * float(np.minimum(length, capacity).mean())
        # The products of the rows that climb serve one row each.
        work += 2 * float(long.mean()) * n * d
        if work < least:
            chosen, least = m, work
    return chosen
