r"""Squared distances of all pairs from cheap products, with a proven bound on their error.

With centred, scaled rows :math:`c`, their norms :math:`n_i = |c_i|^2` and a product
:math:`|g_{ij} - c_i \cdot c_j| \le \beta |c_i| |c_j| \le \beta (n_i + n_j) / 2`
(:mod:`hiddenscape.kernels.products`),

.. math:: |n_i + n_j - 2 g_{ij} - r_{ij}^2| \le \kappa (n_i + n_j) + \tau

where r is the distance, :math:`\kappa = \beta` and the roundings of the stored rows and norms and
of the sum, and :math:`\tau` covers underflow. The kernels work with the two sides of it

.. math:: L_{ij} = a_i + a_j - 2 g_{ij} \le r_{ij}^2 \le U_{ij} = L_{ij} + w_i + w_j

with :math:`a_i = (1 - \kappa) n_i - \tau / 2` and :math:`w_i = 2 \kappa n_i + \tau`. The bound
belongs to the pair: one distant row does not spoil those of the others. Whatever it cannot decide
is recomputed from differences, so it moves cost and never results.

Whole numbers (pixels, counts, one-hot rows) small enough that no sum can round need no bound: their
L = U are exact, and so are distances taken from them, which are those of the differences bit for
bit. That matters because such data tie by the thousand and ties cannot be told apart by a bound.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from hiddenscape._version import __version__
from hiddenscape.kernels.arrays import Cloud, blocks
from hiddenscape.kernels.centring import farthest, shift
from hiddenscape.kernels.products import multiply, operands, product_error, unit_ready
from hiddenscape.kernels.threads import cores, in_threads

__all__ = ["Screen", "largest_whole", "make_screen"]

_SAMPLE = 500  # rows that the centre is read from
_BLOCK = 1 << 22  # entries of one block of centred rows
_USEFUL = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """Bounds on all squared distances in one arithmetic; see the head of the module.

    Attributes
    ----------
    cloud : Cloud
    rung : str
        A name of :data:`hiddenscape.kernels.products.RUNGS`, or ``projection``.
    dtype : numpy dtype
        Of products and bounds.
    centre, exponent
        ``c = (values - centre) * 2**exponent``.
    norms : float64 array (n,)
    kappa, tau : float
        The bound.
    kept : tuple of arrays or None
        Operands of all rows; None if they are made anew for each block.
    exact : bool
        No score carries any error.
    unit : bool
        Whether products may use the machine's bfloat16 unit.
    left : float64 array (n,) or None
        What a projection leaves of each row, squared: see :mod:`hiddenscape.kernels.projection`.
    """

    cloud: Cloud
    rung: str
    dtype: np.dtype[np.floating]
    centre: np.ndarray
    exponent: int
    norms: np.ndarray
    kappa: float
    tau: float
    kept: tuple[np.ndarray, ...] | None
    exact: bool = False
    unit: bool = False
    left: np.ndarray | None = None

    @property
    def fingerprint(self) -> str:
        """What the bounds are made of: a state of a search belongs to one of them."""
        parts = [self.near, self.width, self.centre]
        digest = blake2b(f"{__version__} {self.rung} {self.exact}".encode(), digest_size=16)
        for part in parts:
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    @property
    def thin(self) -> bool:
        """Whether the bound says nothing useful."""
        return self.kappa > _USEFUL

    @property
    def near(self) -> np.ndarray:
        """a of the lower bound, in the working precision. (n,)"""
        return ((1 - self.kappa) * self.norms - self.tau / 2).astype(self.dtype)

    @property
    def width(self) -> np.ndarray:
        """w of the upper bound. float64 (n,)"""
        rounding = 2 * self.kappa * self.norms + self.tau
        return np.asarray(rounding if self.left is None else rounding + 2 * self.left)

    @property
    def quantum(self) -> float:
        """Spacing of the smallest float64 distances, in units of the centred rows."""
        return float(np.ldexp(1.0, self.exponent - self.cloud.exponent - 1074))

    @property
    def shift(self) -> int:
        """Binary exponent that takes recomputed distances to the units of the bounds."""
        return self.exponent - self.cloud.exponent

    def operand(self, index: slice | np.ndarray) -> tuple[np.ndarray, ...]:
        """What enters the products for some rows."""
        if self.kept is not None:
            return tuple(x[index] for x in self.kept)
        c = _shifted(self.cloud.values[index], self.centre, self.exponent, self.dtype)
        return operands(self.rung, c)

    def ready(self) -> AbstractContextManager[None]:
        """What products run in, so that they are fast."""
        return unit_ready() if self.unit else nullcontext()

    def product(
        self, rows: tuple[np.ndarray, ...], columns: tuple[np.ndarray, ...], out: np.ndarray
    ) -> None:
        """Inner products of operands into ``out``: the one place where rounding is not exact."""
        multiply(rows, columns, out, self.unit)

    def scores(self, chosen: np.ndarray) -> np.ndarray:
        """n_j - 2 g_ij of the chosen rows against all, (len(chosen), n); infinite against itself.

        Within kappa (n_i + n_j) + tau of r^2 - n_i.
        """
        n = self.cloud.n
        out = np.empty((len(chosen), n), dtype=self.dtype)
        left = self.operand(chosen)
        width = n if self.kept is not None else max(1, _BLOCK // self.cloud.d)
        for a, b in blocks(n, width):
            part = np.empty((len(chosen), b - a), dtype=self.dtype)
            self.product(left, self.operand(slice(a, b)), part)
            out[:, a:b] = part
        out *= -2
        out += self.norms.astype(self.dtype)
        out[np.arange(len(chosen)), chosen] = np.inf
        return out


def largest_whole(points: Cloud) -> float:
    """The largest magnitude of points that are all whole numbers, else infinity.

    Examples
    --------
    >>> from hiddenscape.kernels.arrays import cloud
    >>> largest_whole(cloud([[1.0, -3.0]])), largest_whole(cloud([[0.5]]))
    (3.0, inf)
    """
    largest = 0.0
    for a, b in blocks(points.n, max(1, _BLOCK // (8 * points.d))):
        x = points.original[a:b]
        if not np.array_equal(x, np.rint(x)):
            return math.inf
        largest = max(largest, float(np.abs(x).max()))
    return largest


def make_screen(
    points: Cloud,
    rung: str,
    whole: float = math.inf,
    *,
    keep: bool = True,
    unit: bool = False,
) -> Screen:
    """Prepare the bounds of a cloud in one arithmetic.

    Parameters
    ----------
    points : Cloud
    rung : str
        A name of :data:`hiddenscape.kernels.products.RUNGS`.
    whole : float
        What :func:`largest_whole` found: products are exact where no sum of d of them can leave the
        whole numbers of the precision.
    keep : bool
        Hold the operands of all rows, n x d numbers; otherwise they are made anew for each block.
    unit : bool
        Let products use the machine's bfloat16 unit.
    """
    dtype: np.dtype[np.floating] = np.dtype(rung if rung == "float64" else "float32")
    if rung[:5] == "float" and 4 * points.d * (whole * whole) <= 2.0 ** (np.finfo(dtype).nmant + 1):
        return _exact_screen(points, rung, dtype)
    n, d = points.n, points.d
    size = max(1, _BLOCK // d)
    # Any centre is exact; medians are not dragged away by a few huge rows, which would widen every
    # other row's bound.
    sample = points.values[:: max(1, n // _SAMPLE)].astype(np.float64)
    centre = np.asarray(np.median(sample, axis=0))
    values = points.compiled()[0]
    parts = list(blocks(n, max(1, min(size, -(-n // (4 * cores()))))))
    largest = max(in_threads(lambda at: float(farthest(values, centre, *at)), parts))
    exponent = -int(np.frexp(largest)[1]) if largest > 0 else 0
    kept: tuple[np.ndarray, ...] | None = None
    if keep:
        kept = tuple(np.empty((n, d), dtype) for _ in range(1 + (rung == "bfloat16x3")))
    norms = np.empty(n)

    def prepare(at: tuple[int, int]) -> tuple[float, float]:
        rows = slice(*at)
        c = _shifted(values[rows], centre, exponent, dtype)
        norms[rows] = np.einsum("ij,ij->i", c, c, dtype=np.float64)
        made = operands(rung, c)
        lost = [0.0, 0.0]
        if rung[:8] == "bfloat16":
            lost[0] = _largest_share(c - made[0], norms[rows])
        if rung == "bfloat16x3":
            lost[1] = _largest_share(c - made[0] - made[1], norms[rows])
        for whole_array, part in zip(kept or (), made, strict=False):
            whole_array[rows] = part
        return lost[0], lost[1]

    lost, lost_twice = np.max(list(in_threads(prepare, parts)), axis=0).tolist()
    u, u64 = float(np.finfo(dtype).eps) / 2, 2.0**-53
    return Screen(
        cloud=points,
        rung=rung,
        dtype=dtype,
        centre=centre,
        exponent=exponent,
        norms=norms,
        # 12 u: rows as stored (twice 2 u), a_i and its rounding, the two sums.
        kappa=1.05 * (product_error(rung, d, lost, lost_twice) + 12 * u + (d + 60) * u64),
        tau=24.0 * d * float(np.finfo(dtype).tiny),
        kept=kept,
        unit=unit,
    )


def _exact_screen(points: Cloud, rung: str, dtype: np.dtype[np.floating]) -> Screen:
    same = points.values.astype(dtype, copy=False)
    return Screen(
        cloud=points,
        rung=rung,
        dtype=dtype,
        centre=np.zeros(points.d),
        exponent=0,
        norms=np.einsum("ij,ij->i", same, same, dtype=np.float64),
        kappa=0.0,
        tau=0.0,
        kept=(same,),
        exact=True,
    )


def _largest_share(lost: np.ndarray, norms: np.ndarray) -> float:
    """The largest |lost_i| / |c_i|, from above; rows of zeros lose nothing."""
    squares = np.einsum("ij,ij->i", lost, lost, dtype=np.float64)
    share = np.sqrt(np.divide(squares, norms, out=np.zeros_like(squares), where=norms > 0))
    return float(share.max()) * (1 + 1e-6) if len(share) else 0.0


def _shifted(
    x: np.ndarray, centre: np.ndarray, exponent: int, dtype: np.dtype[np.floating]
) -> np.ndarray:
    out = np.empty(x.shape, dtype=dtype)
    # Two steps: 2**exponent itself may lie outside the numbers.
    half = exponent // 2
    shift(np.ascontiguousarray(x), centre, 2.0**half, 2.0 ** (exponent - half), out)
    return out
