r"""The arithmetics a device can screen in, and how far a score may lie from the truth in each.

Write :math:`c_i` for the centred, scaled row i in float64, :math:`n_i = |c_i|^2`, r for the
distance in the same units and :math:`h_i` for the row that enters the product: :math:`c_i` rounded
to the rung's format, or the sum of two such numbers, hi + lo. With
:math:`\lambda \ge |c_i - h_i| / |c_i|` and :math:`\lambda_1 \ge |c_i - hi_i| / |c_i|`, both
measured in float64 over all rows and rounded up,

.. math:: |c_i \cdot c_j - h_i \cdot h_j| \le \lambda (2 + \lambda) |c_i| |c_j|,

and leaving out :math:`lo \cdot lo` costs another :math:`(\lambda_1 + \lambda)^2 |c_i| |c_j|`. A
product of K terms added in any order, each addition with unit roundoff v, is off by at most
:math:`\gamma = K v / (1 - K v)` times the sum of the magnitudes of the terms (Higham 2002,
*Accuracy and Stability of Numerical Algorithms*, section 3.1), which Cauchy and Schwarz bound by
:math:`|h_i| |h_j| \le (1 + \lambda_1)^2 |c_i| |c_j|`, and by :math:`\lambda_1 (1 + \lambda_1)
|c_i| |c_j|` for each of the two cross products hi lo. The weighted norm
:math:`w_j = (1 - \kappa) n_j` either rides along in extra columns, in pieces whose sum is within
:math:`2^{-24} w_j`, and then takes part in the additions (:math:`\gamma n_j` more); or it is added
afterwards (four roundings u of the scores' own type in all). As :math:`2 |c_i| |c_j| \le n_i +
n_j`, the score :math:`\hat s_{ij} \approx w_j - 2 c_i \cdot c_j` satisfies

.. math:: L_{ij} = \hat s_{ij} + (1 - \kappa) n_i - \tau \le r_{ij}^2
          \le L_{ij} + 2 \kappa (n_i + n_j) + 2 \tau = U_{ij}

    \kappa = 1.05 [\lambda (2 + \lambda) + (\lambda_1 + \lambda)^2 + \gamma (1 + \lambda_1)^2
             (1 + 3 \lambda_1) + \gamma' + 2^{-24} + 16 u + (2 d + 80) u_{64}]

where :math:`\gamma' = \gamma` with norms riding along, else 0, the terms with :math:`\lambda_1`
alone belong to two-part products, and the last term pays for norms and centred rows computed in
float64 (relative error d + 2 roundings, and one per coordinate). :math:`\tau` pays for underflow:
whatever is flushed to zero is below :math:`2^{-126}` (float32 and bfloat16) or :math:`2^{-1022}`.

**Tensor cores** do not round as IEEE asks. They align a block of N exact products and the running
sum to the largest of them, cut off what lies below its last 23 to 25 bits, add, and cut the result
to 24 bits (Fasi, Higham, Mikaitis, Pranesh 2021, doi:10.7717/peerj-cs.330; Khattak, Mikaitis 2025,
arXiv:2512.07004, also for H100). A block is then off by less than (N + 2) 2**-23 times the sum of
magnitudes, N = 4 (V100) to 16; per term that is at most 1.5 2**-23. The unit roundoff 2**-22 per
term taken here is therefore generous on every generation known, and the search checks the bound on
every pair it recomputes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from hiddenscape.errors import InputError

__all__ = ["RUNGS", "Rung", "kappa", "ladder", "matrix_product", "rounded", "tau"]

_SMALL = 1 << 28  # multiply-adds below which float64 is at once the fastest and the last rung
_TENSOR_UNIT = 2.0**-22


@dataclass(frozen=True, slots=True)
class Rung:
    """One arithmetic.

    Attributes
    ----------
    name : str
    bits : int
        Significant bits of a factor.
    parts : int
        1, or 2 where a row is the sum of two such numbers.
    scores : torch dtype
        What products are added in and scores are kept in.
    unit : float
        Unit roundoff of one addition inside the product.
    """

    name: str
    bits: int
    parts: int
    scores: torch.dtype
    unit: float

    def storage(self, device: torch.device) -> torch.dtype:
        """Type of the factors: float32 holds narrower ones where there is no product of theirs."""
        return torch.bfloat16 if self.bits == 8 and _has_bfloat16(device) else self.scores

    @property
    def pieces(self) -> int:
        """Factors that carry a norm to within 2**-24 of itself."""
        return {8: 3, 11: 3, 24: 2, 53: 1}[self.bits]


RUNGS: dict[str, Rung] = {
    r.name: r
    for r in (
        Rung("bfloat16", 8, 1, torch.float32, _TENSOR_UNIT),
        Rung("tf32", 11, 1, torch.float32, _TENSOR_UNIT),
        Rung("bfloat16x3", 8, 2, torch.float32, _TENSOR_UNIT),
        Rung("float32", 24, 1, torch.float32, 2.0**-24),
        Rung("float64", 53, 1, torch.float64, 2.0**-53),
    )
}
"""Every rung by name, the coarsest first."""


def ladder(precision: str, device: torch.device, size: int) -> tuple[Rung, ...]:
    """The rungs to climb for ``size`` multiply-adds, float64 last.

    Raises
    ------
    InputError
        If ``precision`` names no rung.

    Examples
    --------
    >>> [r.name for r in ladder("tf32", torch.device("cpu"), 1 << 40)]
    ['tf32', 'float32', 'float64']
    """
    natural = ["float32", "float64"]
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability >= (8, 0):
            natural = ["bfloat16", "bfloat16x3", *natural]
        if capability in {(8, 0), (9, 0)}:
            # A100, H100, H200: float64 products run as fast as float32 ones without TF32.
            natural.remove("float32")
    if precision == "auto":
        names = ["float64"] if size <= _SMALL else natural
    elif precision in RUNGS:
        order = list(RUNGS)
        names = [precision] + [r for r in natural if order.index(r) > order.index(precision)]
    else:
        raise InputError(f"no precision {precision!r}; there are: auto, {', '.join(RUNGS)}")
    return tuple(RUNGS[name] for name in names)


def kappa(rung: Rung, d: int, loss: float, first_loss: float, *, riding: bool) -> float:
    """The relative half-width of the bound; see the head of the module.

    Parameters
    ----------
    rung : Rung
    d : int
        Columns.
    loss, first_loss : float
        The measured :math:`\\lambda` and :math:`\\lambda_1` (equal with one part).
    riding : bool
        Whether norms ride along in the product.

    Examples
    --------
    >>> kappa(RUNGS["float64"], 1024, 0.0, 0.0, riding=True) < 1e-12
    True
    """
    terms = (d + 16) * rung.unit
    if terms >= 0.25:
        return math.inf
    gamma = terms / (1 - terms)
    double = first_loss if rung.parts == 2 else 0.0
    own = 2.0**-53 if rung.scores == torch.float64 else 2.0**-24
    dropped = (first_loss + loss) ** 2 if rung.parts == 2 else 0.0
    total = loss * (2 + loss) + dropped
    total += gamma * (1 + first_loss) ** 2 * (1 + 3 * double) + (1.02 * gamma if riding else 0.0)
    pieces = 2.0**-53 if rung.scores == torch.float64 else 2.0**-24
    return 1.05 * (total + pieces + 16 * own + (2 * d + 80) * 2.0**-53)


def tau(rung: Rung, d: int) -> float:
    """The absolute half-width of the bound, for underflow.

    Rows with squared norms below its own scale were not looked at when losses were measured.
    """
    return (d + 16) * (2.0**-1000 if rung.scores == torch.float64 else 2.0**-96)


def rounded(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Float64 values with so many significant bits, in float64.

    Examples
    --------
    >>> rounded(torch.tensor([1 + 2.0**-9, 1 + 2.0**-12], dtype=torch.float64), 11).tolist()
    [1.001953125, 1.0]
    """
    if bits == 53:
        return x
    if bits == 24:
        return x.float().double()
    if bits == 8:
        return x.bfloat16().double()
    # To nearest, half to even, on the bits of float32: 13 of them go (TF32 keeps 10 of 23).
    word = x.float().view(torch.int32)
    word = (word + 0x0FFF + ((word >> 13) & 1)) & ~0x1FFF
    return word.view(torch.float32).double()


def matrix_product(rung: Rung, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """``left @ right.T`` in the rung's arithmetic, factors already rounded to it."""
    if left.dtype == torch.bfloat16:
        with _arithmetic(tf32=False):
            return torch.mm(left, right.T, out_dtype=torch.float32)
    # bfloat16 factors kept in float32 lose nothing to TF32, which keeps 11 bits.
    with _arithmetic(tf32=rung.bits <= 11 and left.device.type == "cuda"):
        return torch.mm(left, right.T)


def _has_bfloat16(device: torch.device) -> bool:
    """Whether torch multiplies bfloat16 into float32 there."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        return False
    return hasattr(torch.ops.aten.mm, "dtype")


_SETTINGS = threading.Lock()


@contextmanager
def _arithmetic(*, tf32: bool) -> Iterator[None]:
    """Products of float32 as they are meant, whatever the caller's settings, which come back.

    Launching a product reads the settings, so a lock around the launch is enough.
    """
    cuda = torch.backends.cuda.matmul
    homes: list[Any] = [cuda, getattr(torch.backends.mkldnn, "matmul", None)]
    with _SETTINGS:
        newer = [(h, h.fp32_precision) for h in homes if hasattr(h, "fp32_precision")]
        try:
            before = torch.get_float32_matmul_precision()
        except RuntimeError:  # set through the newer names alone, which are put back below
            before = "highest"
        reduced = cuda.allow_bf16_reduced_precision_reduction
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        cuda.allow_bf16_reduced_precision_reduction = False
        try:
            yield
        finally:
            cuda.allow_bf16_reduced_precision_reduction = reduced
            torch.set_float32_matmul_precision(before)
            for home, value in newer:
                home.fp32_precision = value
