r"""Inner products of rows in the arithmetics of the ladder, and how far each may be off.

Rows are centred and scaled so that no entry exceeds 1. What enters a product is the rounded row
:math:`h`; :math:`e = c - h` is what rounding lost, and :math:`\lambda = \max_i |e_i| / |c_i|`.

For a product of d terms in any order, :math:`\gamma = 1.01 (d + 2) u` bounds the additions (Higham
2002, section 3.1; Cauchy-Schwarz turns the sum of magnitudes into :math:`|c| |c'|`). The error of
the product g is at most :math:`\beta |c| |c'|`, where :math:`\beta` is

``float64``, ``float32``
    :math:`\gamma`, for g = c c'.
``bfloat16``
    :math:`\lambda (2 + \lambda) + 2 \gamma (1 + \lambda)^2`, for g = h h'.
``bfloat16x3``
    :math:`(\lambda + \mu)^2 + \mu (2 + \mu) + 6 \gamma (1 + \lambda)^2 (1 + \mu)`, for
    g = h h' + h m' + m h' with m = bfloat16(c - h) and
    :math:`\mu = \max_i |c_i - h_i - m_i| / |c_i|`.

:math:`\lambda` and :math:`\mu` are measured on the rows at hand, not assumed. The additions of
bfloat16 units count twice: some flush subnormal numbers or round intermediate sums once more.

Rounded rows are held as float32 numbers that bfloat16 can represent. So one array serves a unit
that multiplies bfloat16 and, where there is none, an ordinary float32 product that gives the same
bound: no machine changes a result, only its time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

__all__ = [
    "RUNGS",
    "multiply",
    "operands",
    "product_error",
    "round_bfloat16",
    "unit_ready",
]

RUNGS = ("bfloat16", "bfloat16x3", "float32", "float64")
"""From the fastest to the surest."""

_SWITCH = threading.Lock()
_before: list[Any] = []


def round_bfloat16(x: np.ndarray) -> np.ndarray:
    """float32 values rounded to the nearest bfloat16 (ties to even), as float32.

    Examples
    --------
    >>> round_bfloat16(np.array([1.0, 1.00390625, 1.00391], dtype=np.float32)).tolist()
    [1.0, 1.0, 1.0078125]
    """
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32)


def operands(rung: str, c: np.ndarray) -> tuple[np.ndarray, ...]:
    """What enters the products of a rung, from centred rows in its working precision."""
    if rung == "bfloat16":
        return (round_bfloat16(c),)
    if rung == "bfloat16x3":
        high = round_bfloat16(c)
        return high, round_bfloat16(c - high)
    return (c,)


def multiply(
    left: tuple[np.ndarray, ...], right: tuple[np.ndarray, ...], out: np.ndarray, unit: bool
) -> None:
    """Products of all rows of two operands into ``out``; with ``unit``, on the bfloat16 unit."""
    product: Callable[[np.ndarray, np.ndarray, np.ndarray], object]
    product = _on_unit if unit else _plainly
    product(left[0], right[0].T, out)
    if len(left) == 2:
        mixed = np.empty_like(out)
        for a, b in ((left[0], right[1]), (left[1], right[0])):
            product(a, b.T, mixed)
            out += mixed


def product_error(rung: str, d: int, lost: float, lost_twice: float) -> float:
    r"""The bound :math:`\beta` of the table, from the measured :math:`\lambda` and :math:`\mu`."""
    u = 2.0**-53 if rung == "float64" else 2.0**-24
    gamma = 1.01 * (d + 2) * u
    if rung == "bfloat16":
        return lost * (2 + lost) + 2 * gamma * (1 + lost) ** 2
    if rung == "bfloat16x3":
        mixed = (lost + lost_twice) ** 2 + lost_twice * (2 + lost_twice)
        return mixed + 6 * gamma * (1 + lost) ** 2 * (1 + lost_twice)
    return gamma


def _plainly(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    np.dot(left, right, out=out)


def _on_unit(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """A product of values that bfloat16 can hold, by torch; fast inside :func:`unit_ready`."""
    import torch

    a, b, c = (torch.from_numpy(_writable(x)) for x in (left, right, out))
    torch.mm(a, b, out=c)


@contextmanager
def unit_ready() -> Iterator[None]:
    """Let torch use its bfloat16 kernels for products of float32, with one thread per caller.

    The permission belongs to the process: the first to enter gives it, the last to leave takes it
    back, and products of float32 that other threads make with torch meanwhile use it too. torch
    before 2.9 offers no such kernels: slower, same bound.
    """
    import torch

    matmul: Any = getattr(torch.backends.mkldnn, "matmul", None)
    threads = torch.get_num_threads()
    with _SWITCH:
        _before.append(getattr(matmul, "fp32_precision", None) if not _before else _before[0])
        torch.set_num_threads(1)
        if matmul is not None:
            matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        with _SWITCH:
            precision = _before.pop()
            # The number belongs to each calling thread as well as to the process.
            torch.set_num_threads(threads)
            if matmul is not None and not _before:
                matmul.fp32_precision = precision


def _writable(x: np.ndarray) -> np.ndarray:
    # torch warns of arrays that it must not write to; these are operands and stay as they are.
    return x if x.flags.writeable else x.copy()
