"""Compiled recursion for the number of sites in a ball of a lattice."""

from __future__ import annotations

import math

import numpy as np

from hiddenscape.kernels.compiled import jit

__all__ = ["lattice_growth"]


@jit
def lattice_growth(d: float, value: np.ndarray, slope: np.ndarray) -> None:
    r"""log V(t, d) / V(t - 1, d) and its derivative by d at t = 1, 2, ...; entry 0 is left alone.

    From (t + 1) V(t + 1, d) = (2 d + 1) V(t, d) + t V(t - 1, d), as ratios: nothing overflows.

    Parameters
    ----------
    d : float
    value, slope : float64 arrays (top + 1,)
        Filled.
    """
    growth, change = 2 * d + 1, 2.0
    for t in range(1, len(value)):
        value[t] = math.log(growth)
        slope[t] = change / growth
        change = (2 - t * change / growth**2) / (t + 1)
        growth = (2 * d + 1 + t / growth) / (t + 1)
