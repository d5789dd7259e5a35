"""Compiled sweep over the components of a mixture whose neighbours prefer to be alike."""

from __future__ import annotations

import math

import numpy as np

from hiddenscape.kernels.compiled import jit

__all__ = ["sweep_components"]


@jit
def sweep_components(
    component: np.ndarray,
    count: np.ndarray,
    start: np.ndarray,
    partner: np.ndarray,
    log_mu: np.ndarray,
    log_weight: np.ndarray,
    dimension: np.ndarray,
    alike: float,
    crowd: np.ndarray,
    uniform: np.ndarray,
    predictive: np.ndarray,
) -> None:
    """Draw the component of every row in turn, given those of all others.

    Row i goes to component k with probability proportional to ``exp(log_weight[k] + alike * (edges
    to k) - crowd[rows in k but i]) d_k exp(-d_k log_mu[i])``. ``partner[start[i]:start[i + 1]]``
    holds the other end of every edge at i, edges in both directions twice. ``component`` (n) and
    ``count`` (K) are updated; ``predictive`` (n) takes the log density of ``log_mu[i]`` given all
    else, where it has room. ``uniform`` (n) holds the draws.
    """
    n, size = len(component), len(count)
    log_d = np.log(dimension)
    told = len(predictive) == n
    prior = np.empty(size)
    both = np.empty(size)
    for i in range(n):
        count[component[i]] -= 1
        for k in range(size):
            prior[k] = log_weight[k] - crowd[count[k]]
        for e in range(start[i], start[i + 1]):
            prior[component[partner[e]]] += alike
        highest, top = -np.inf, -np.inf
        for k in range(size):
            both[k] = prior[k] + log_d[k] - dimension[k] * log_mu[i]
            highest = max(highest, prior[k])
            top = max(top, both[k])
        mass, total = 0.0, 0.0
        for k in range(size):
            if told:
                mass += math.exp(prior[k] - highest)
            both[k] = math.exp(both[k] - top)
            total += both[k]
        if told:
            predictive[i] = math.log(total) + top - math.log(mass) - highest
        left = uniform[i] * total
        chosen = size - 1
        for k in range(size - 1):
            left -= both[k]
            if left < 0.0:
                chosen = k
                break
        component[i] = chosen
        count[chosen] += 1
