r"""What DANCo compares: distances and angles in small neighbourhoods, of data and of balls.

Source: Ceruti, Bassis, Rozza, Lombardi, Casiraghi, Campadelli 2014, "DANCo: an intrinsic
dimensionality estimator exploiting angle and norm concentration", doi
10.1016/j.patcog.2014.02.013, arXiv:1206.3881.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import binom, digamma, i0e, i1e, polygamma

from hiddenscape.dimension.mind import likeliest
from hiddenscape.dimension.patches import patch_products
from hiddenscape.kernels.arrays import Cloud, blocks, cloud, pair_distances

__all__ = [
    "Balls",
    "angle_statistics",
    "ball_statistics",
    "concentration",
    "log_ratios",
    "mean_angles",
]

# Rows of a ball whose neighbours are looked up: iid, so a part of a large ball stands for all.
_QUERIES = 2048
_ENTRIES = 1 << 22
# Candidates beyond the neighbours wanted, against rounding in the products.
_SPARE = 8
_MOVES = 20
# Resultants this long belong to neighbours in one direction, up to rounding.
_ONE_WAY = 1 - 1e-12


def log_ratios(distances: np.ndarray) -> np.ndarray:
    """log(last / first) of every row of ascending positive distances."""
    first, last = distances[:, 0], distances[:, -1]
    # The difference is exact for close neighbours, where the quotient would lose digits.
    return np.asarray(np.log1p((last - first) / first))


def angle_statistics(
    points: Cloud, rows: np.ndarray, neighbors: np.ndarray, published: bool
) -> np.ndarray:
    r"""Direction and resultant length (concentration where published) of the angles at every row.

    float64 (rows, 2). The :math:`\binom k2` angles between the vectors to the neighbours are taken
    as von Mises: with C and S the means of their cosines and sines, the direction is
    arctan2(S, C), published arctan(S/C), which folds what lies beyond pi/2 to below -pi/2 + pi; the
    length is :math:`\eta = \sqrt{C^2+S^2}`. NaN where a neighbour cannot be told from the row in
    the arithmetic of the points, and for a published concentration that is infinite.
    """
    i, j = np.triu_indices(neighbors.shape[1], 1)
    out = np.empty((len(rows), 2))
    for a, b, products in patch_products(points, rows, neighbors):
        length = np.sqrt(np.einsum("pii->pi", products))
        with np.errstate(divide="ignore", invalid="ignore"):
            cosine = np.clip(products[:, i, j] / (length[:, i] * length[:, j]), -1.0, 1.0)
            c, s = cosine.mean(axis=1), np.sqrt(1 - cosine * cosine).mean(axis=1)
            out[a:b, 0] = np.arctan(s / c) if published else np.arctan2(s, c)
        eta = np.hypot(c, s)
        out[a:b, 1] = np.where(eta < _ONE_WAY, concentration(eta), np.nan) if published else eta
    return out


def concentration(eta: np.ndarray) -> np.ndarray:
    r"""The :math:`\tau` with :math:`I_1(\tau)/I_0(\tau) \approx \eta`, in three pieces.

    Examples
    --------
    >>> concentration(np.array([0.0, 0.5, 0.9])).round(2).tolist()
    [0.0, 1.15, 5.29]
    """
    with np.errstate(divide="ignore"):
        high = 1 / (eta**3 - 4 * eta**2 + 3 * eta)
        middle = -0.4 + 1.39 * eta + 0.43 / (1 - eta)
    low = 2 * eta + eta**3 + 5 * eta**5 / 6
    return np.asarray(np.where(eta < 0.53, low, np.where(eta < 0.85, middle, high)))


def mean_angles(angles: np.ndarray, published: bool) -> tuple[float, float]:
    """Mean direction and concentration over rows; rows without (NaN) are left out.

    One row whose neighbours all lie in one direction (the end of a curve) has a boundless
    concentration: the mean of the lengths bounds what single rows can do, the mean of the
    concentrations, as published, does not.
    """
    used = angles[np.isfinite(angles).all(axis=1)]
    if not len(used):
        return np.nan, np.nan
    nu, second = used.mean(axis=0)
    return float(nu), float(second if published else concentration(second))


@lru_cache(maxsize=4096)
def ball_statistics(
    n: int, d: int, k: int, seed: int, published: bool = False
) -> tuple[float, float, float]:
    """Dimension by MiND, mean direction and mean concentration of n points of the unit d-ball.

    A function of its arguments alone; kept in memory for the process.

    Examples
    --------
    >>> [round(x, 1) for x in ball_statistics(500, 3, 10, 0)]
    [2.9, 1.5, 2.8]
    """
    rng = np.random.default_rng([seed, n, d, k])
    x = rng.normal(size=(n, d))
    x *= (rng.uniform(size=n) ** (1 / d) / np.sqrt(np.einsum("ij,ij->i", x, x)))[:, None]
    rows = np.arange(min(n, _QUERIES))
    data = cloud(x)
    neighbors, distances = _nearest(data, rows, k + 1)
    angles = angle_statistics(data, rows, neighbors[:, :k], published)
    return likeliest(log_ratios(distances), k), *mean_angles(angles, published)


def _nearest(data: Cloud, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest other rows of some rows, candidates by products, distances by differences."""
    x, n = data.values, data.n
    square = np.einsum("ij,ij->i", x, x)
    wanted = min(k + _SPARE, n - 1)
    neighbors = np.empty((len(rows), k), dtype=np.int64)
    distances = np.empty((len(rows), k))
    for a, b in blocks(len(rows), max(1, _ENTRIES // n)):
        d2 = square - 2 * (x[rows[a:b]] @ x.T)
        d2[np.arange(b - a), rows[a:b]] = np.inf
        found = np.argpartition(d2, wanted - 1, axis=1)[:, :wanted]
        exact = pair_distances(data, np.repeat(rows[a:b], wanted), found.ravel())
        exact = exact.reshape(found.shape)
        order = np.lexsort((found, exact), axis=1)[:, :k]
        neighbors[a:b] = np.take_along_axis(found, order, axis=1)
        distances[a:b] = np.take_along_axis(exact, order, axis=1)
    return neighbors, distances


class Balls:
    """Balls by dimension, made when asked for, and how far data are from them.

    Parameters
    ----------
    n, k : int
        Rows, and neighbours.
    balls, seed : int
        Balls of each dimension and what keys them.
    largest : int
        No larger dimension is asked for.
    published : bool
        See :func:`angle_statistics`.
    given : float64 array (m, 3) or None
        Statistics of dimensions 1 to m that are used instead.
    """

    def __init__(
        self,
        n: int,
        k: int,
        balls: int,
        seed: int,
        largest: int,
        published: bool,
        given: np.ndarray | None = None,
    ) -> None:
        self.n, self.k, self.balls, self.seed = n, k, balls, seed
        self.published, self.given = published, given
        self.largest = largest if given is None else len(given)
        self.i = np.arange(k + 1)
        self.weight = (-1.0) ** self.i * binom(k, self.i)
        self.harmonic = float(np.sum(1 / np.arange(1, k + 1)))

    def each(self, m: int) -> np.ndarray:
        """Statistics (balls, 3) of dimension m."""
        if self.given is not None:
            return self.given[m - 1 : m]
        return np.array([
            ball_statistics(self.n, m, self.k, self.seed * self.balls + b, self.published)
            for b in range(self.balls)
        ])  # fmt: skip

    def mean(self, m: int) -> np.ndarray:
        """Their mean (3,)."""
        return np.asarray(self.each(m).mean(axis=0))

    def divergence(self, mine: np.ndarray, ball: np.ndarray) -> float:
        """Of the statistics of the data from those of a ball."""
        (d1, nu1, t1), (d2, nu2, t2) = mine, ball
        q = d2 / d1
        tail = float(self.weight @ digamma(1 + self.i / q))
        constant = 1 + self.harmonic - 1 / self.k
        ratios = self.harmonic * q - constant - math.log(q) - (self.k - 1) * tail
        toward = i1e(t1) / i0e(t1)
        # Scaled Bessel functions: the plain ones overflow.
        angles = math.log(i0e(t2) / i0e(t1)) + t2 - t1 + toward * (t1 - t2 * math.cos(nu1 - nu2))
        return float(ratios + angles)

    def slope(self, mine: np.ndarray, ball: np.ndarray, rise: np.ndarray) -> float:
        """Derivative of the divergence where the ball's statistics move by ``rise``."""
        (d1, nu1, t1), (d2, nu2, t2) = mine, ball
        q = d2 / d1
        tail = float(self.weight @ (polygamma(1, 1 + self.i / q) * self.i)) / (q * q)
        by_d = (self.harmonic - 1 / q + (self.k - 1) * tail) / d1
        toward = i1e(t1) / i0e(t1)
        by_nu = -toward * t2 * math.sin(nu1 - nu2)
        by_tau = i1e(t2) / i0e(t2) - toward * math.cos(nu1 - nu2)
        return float(by_d * rise[0] + by_nu * rise[1] + by_tau * rise[2])

    def best(self, mine: np.ndarray, every: bool) -> int | None:
        """The whole dimension of least divergence; None where it is not below the largest.

        Downhill from where the ratios agree, until three in a row are higher on either side.
        Beyond dimension 30 in steps of a fifteenth, unless ``every`` number counts.
        """
        if self.given is not None:
            apart = [self.divergence(mine, ball) for ball in self.given]
            found = int(np.argmin(apart)) + 1
            return None if found == self.largest else found
        if mine[0] > self.largest:
            return None
        middle = max(1, min(round(mine[0]), self.largest))
        while middle < self.largest and self.mean(middle)[0] < mine[0]:
            wanted = math.ceil(middle * mine[0] / self.mean(middle)[0])
            middle = min(max(middle + 1, wanted), self.largest)
        found = self._downhill(mine, middle, _stride(middle))
        if every:
            found = self._downhill(mine, found, 1)
        return None if found + _stride(found) > self.largest else found

    def _downhill(self, mine: np.ndarray, start: int, stride: int) -> int:
        found, least = start, self.divergence(mine, self.mean(start))
        for step in (-stride, stride):
            m, higher = start + step, 0
            while 1 <= m <= self.largest and higher < 3:
                apart = self.divergence(mine, self.mean(m))
                higher = higher + 1 if apart >= least else 0
                if apart < least:
                    found, least = m, apart
                m += step
        return found

    def real(
        self,
        mine: np.ndarray,
        start: int,
        ball: Callable[[int], np.ndarray] | None = None,
    ) -> tuple[float, float]:
        """Real dimension of least divergence near a whole one, and the divergence.

        Parabolas through the statistics of five dimensions (three below 6) smooth the balls' own
        scatter. Below 1 the dimension is the ratio of the data's to that of the 1-ball.
        """
        ball = self.mean if ball is None else ball
        for move in range(_MOVES):
            reach = (2 if start > 5 else 1) * _stride(start)
            stride = _stride(start)
            nodes = np.arange(max(1, start - reach), start + reach + 1, stride)
            if len(nodes) < 3:
                nodes = np.arange(1, 4)
            nodes = nodes[nodes <= self.largest]
            fit = np.polynomial.polynomial.polyfit(
                nodes - start, np.array([ball(int(m)) for m in nodes]), min(2, len(nodes) - 1)
            )
            rise = np.polynomial.polynomial.polyder(fit)

            def at(t: float, of: np.ndarray = fit) -> np.ndarray:
                return np.asarray(np.polynomial.polynomial.polyval(t, of))

            def slope(t: float, fit: np.ndarray = fit, rise: np.ndarray = rise) -> float:
                return self.slope(mine, at(t, fit), at(t, rise))

            low, high = float(nodes[0] - start), float(nodes[-1] - start)
            if slope(low) >= 0:
                end = low
            elif slope(high) <= 0:
                end = high
            else:
                end = float(brentq(slope, low, high, xtol=1e-13))
                return start + end, self.divergence(mine, at(end))
            if start + end in (1, self.largest) or move + 1 == _MOVES:
                break
            start = int(start + end)
        value = start + end
        if value == 1:
            value = min(1.0, float(mine[0] / ball(1)[0]))
        return value, self.divergence(mine, at(end))


def _stride(m: int) -> int:
    return max(1, m // 15)
