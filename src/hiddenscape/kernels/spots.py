"""Products held to their word: pairs whose recomputed distance must lie in the bounds they claim.

The bounds are theorems about correct arithmetic. A library that is not, a processor that lost a
bit, memory that changed under way: all show as a pair outside. Each block of products is tested at
pairs drawn at random; pairs that enter a result are tested besides.
"""

from __future__ import annotations

import math

import numpy as np

from hiddenscape.errors import MachineError
from hiddenscape.kernels.compiled import fill_distances, jit
from hiddenscape.kernels.screen import Screen

__all__ = ["Spoiled", "check_block", "faulty", "outside_bounds"]

_SPOTS = 32
_SLACK = 1e-12


class Spoiled(ArithmeticError):
    """A pair lies outside its proven bounds: the products of this arithmetic cannot be trusted."""


def check_block(
    screen: Screen,
    g: np.ndarray,
    rows: np.ndarray,
    first_column: int,
    near: np.ndarray,
    width: np.ndarray,
) -> None:
    """Test some pairs of a block of products.

    Raises
    ------
    Spoiled
        If one lies outside its bounds.
    """
    rng = np.random.default_rng([int(rows[0]), first_column])
    at = rng.integers(0, [[g.shape[0]], [g.shape[1]]], size=(2, _SPOTS))
    if _spots_outside(
        *screen.cloud.compiled(), screen.shift, g, rows, first_column, near, width,
        screen.quantum, *at,
    ):  # fmt: skip
        raise Spoiled(screen.rung)


def faulty(rung: str) -> MachineError:
    """What to raise where no surer arithmetic is left."""
    return MachineError(
        f"products of this machine in {rung} lie outside their proven bounds: its linear algebra "
        "library or memory is faulty; try another build of numpy, or OMP_NUM_THREADS=1"
    )


@jit
def outside_bounds(claimed: float, width: float, length: float, quantum: float) -> bool:
    """Whether a length breaks the bounds of its square; so does a bound that is no number."""
    low = claimed - _SLACK * abs(claimed)
    high = claimed + width
    high += _SLACK * abs(high)
    if length == np.inf:  # beyond float64: not for the bounds to say
        return False
    inside = low <= (length + quantum) ** 2 and max(length - quantum, 0.0) ** 2 <= high
    return not inside


@jit
def _spots_outside(
    values: np.ndarray,
    original: np.ndarray,
    exponent: int,
    shift: int,
    g: np.ndarray,
    rows: np.ndarray,
    first_column: int,
    near: np.ndarray,
    width: np.ndarray,
    quantum: float,
    r: np.ndarray,
    c: np.ndarray,
) -> int:
    """How many of some pairs (r, c) of a block of products lie outside their claimed bounds."""
    outside = 0
    lengths = np.empty(len(r))
    fill_distances(values, original, exponent, rows[r], first_column + c, lengths)
    for t in range(len(r)):
        i, j = rows[r[t]], first_column + c[t]
        p = g[r[t], c[t]]
        claimed = np.float64((near[i] + near[j]) - (p + p))
        length = math.ldexp(lengths[t], shift)
        outside += i != j and outside_bounds(claimed, width[i] + width[j], length, quantum)
    return outside
