"""Compiled loops over neighbour lists: where the density changes, and how it tilts around a point.

Everything is a ratio of distances: volumes appear as logarithms relative to the largest shell, so
that no dimension and no unit overflows.
"""

from __future__ import annotations

import math

import numpy as np

from hiddenscape.kernels.compiled import jit

__all__ = ["critical_ratios", "first_change", "shell_fit"]

_STEPS = 400
_ENOUGH = 1e-13


def critical_ratios(thresholds: np.ndarray, dimension: float) -> np.ndarray:
    """Entry k: the ratio of distances at which D_k equals the threshold (infinite: never).

    D_k = 4 k log cosh(u / 2), where u is the dimension times the log of the ratio.
    """
    size = np.maximum(np.arange(len(thresholds)), 1)
    x = thresholds / (4 * size)
    # arcosh(exp(x)) without exp(x).
    u = 2 * (x + np.log1p(np.sqrt(-np.expm1(-2 * x))))
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(u / dimension))


@jit
def first_change(
    indices: np.ndarray,
    distances: np.ndarray,
    sample: np.ndarray,
    ratios: np.ndarray,
    k: np.ndarray,
) -> None:
    """The first k at which a row and its next neighbour differ in density; else K - 1.

    Parameters
    ----------
    indices, distances : arrays (n, K)
        Neighbour lists, all distances positive.
    sample : float64 array (N, K)
        Distances of the lists of the rows that ``indices`` names: ``distances`` itself for a graph.
    ratios : float64 array (K + 1,)
        Entry k: the ratio of k-th distances, one way or the other, beyond which they differ.
        Tested for k = 3 to K - 2.
    k : int64 array (n,)
        Filled: the first such k, or -1 where there is none.
    """
    n, stored = indices.shape
    for i in range(n):
        k[i] = -1
        for size in range(3, stored - 1):
            own = distances[i, size - 1]
            other = sample[indices[i, size], size - 1]
            if other > ratios[size] * own or own > ratios[size] * other:
                k[i] = size
                break


@jit
def _log_ratio(a: float, b: float) -> float:
    """log(a / b) of positive numbers, exact where they are close, whatever their size."""
    if 0.5 * b < a < 2.0 * b:
        return math.log1p((a - b) / b)
    return math.log(a) - math.log(b)


@jit
def _balance(log_shell: np.ndarray, k: int, a: float) -> tuple[float, float, float]:
    """log sum of the weights v_l exp(a l), l centred; and what is zero at the root, with its slope.

    The mean of l is zero where the outer and the inner half pull equally. Compared are the
    logarithms of the two pulls: their difference rises with a slope of at least 1 everywhere, even
    where one shell in the middle holds all weight that a float64 can tell from zero.
    """
    middle = 0.5 * (k + 1)
    peak = np.array([-math.inf, -math.inf, -math.inf])
    for i in range(k):
        l = i + 1 - middle  # noqa: E741
        side = 0 if l < 0 else (2 if l > 0 else 1)
        peak[side] = max(peak[side], log_shell[i] + a * l)
    total, pull, square = np.zeros(3), np.zeros(3), np.zeros(3)
    for i in range(k):
        # A shell without volume has log -inf and weighs nothing.
        if log_shell[i] == -math.inf:
            continue
        l = i + 1 - middle  # noqa: E741
        side = 0 if l < 0 else (2 if l > 0 else 1)
        w = math.exp(log_shell[i] + a * l - peak[side])
        total[side] += w
        pull[side] += w * abs(l)
        square[side] += w * l * l
    top = max(peak[0], peak[1], peak[2])
    whole = 0.0
    for side in range(3):
        if total[side] > 0.0:
            whole += total[side] * math.exp(peak[side] - top)
    gap = peak[2] + math.log(pull[2]) - peak[0] - math.log(pull[0])
    return top + math.log(whole), gap, square[2] / pull[2] + square[0] / pull[0]


@jit
def shell_fit(distances: np.ndarray, ks: np.ndarray, dimension: float, out: np.ndarray) -> int:
    """log density of a shell model with a tilt, relative to one point per volume of the last shell.

    Maximises k F + a k (k + 1) / 2 - sum_l v_l exp(F + a l) over F and a, where v_l is the volume
    between neighbours l - 1 and l divided by that within neighbour k.

    Parameters
    ----------
    distances : float64 array (n, K)
        Positive, ascending.
    ks : int64 array (n,)
        Shells used in each row.
    dimension : float
    out : float64 array (n, 2)
        Filled: F and a. Where ties leave no maximum (no volume in the outer half of the shells) F
        is NaN.

    Returns
    -------
    int
        How many rows have no maximum.
    """
    log_shell = np.empty(distances.shape[1])
    without = 0
    for i in range(len(ks)):
        k = ks[i]
        last = distances[i, k - 1]
        outermost = 1
        log_shell[0] = dimension * _log_ratio(distances[i, 0], last)
        for j in range(1, k):
            inner, outer = distances[i, j - 1], distances[i, j]
            share = -math.expm1(dimension * _log_ratio(inner, outer))
            if share > 0.0:
                log_shell[j] = dimension * _log_ratio(outer, last) + math.log(share)
                outermost = j + 1
            else:
                log_shell[j] = -math.inf
        if 2 * outermost <= k + 1:
            out[i, 0] = math.nan
            out[i, 1] = math.nan
            without += 1
            continue
        # The slope is at least 1: the root is no farther from 0 than the gap there.
        a, step = 0.0, 0.0
        total, gap, slope = _balance(log_shell, k, a)
        low, high = -abs(gap), abs(gap)
        for _ in range(_STEPS):
            step = gap / slope
            if abs(step) * k <= _ENOUGH * (1.0 + abs(a) * k):
                break
            if gap > 0.0:
                high = a
            else:
                low = a
            new = a - step
            if not low < new < high:
                new = 0.5 * (low + high)
                if not low < new < high:
                    step = 0.0
                    break
            a = new
            total, gap, slope = _balance(log_shell, k, a)
        # The last step is too small to need another sum: there F changes by minus the mean of l.
        middle = 0.5 * (k + 1)
        out[i, 0] = math.log(k) - total - (a - step) * middle
        out[i, 1] = a - step
    return without
