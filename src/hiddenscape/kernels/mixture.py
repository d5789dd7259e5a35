"""Compiled Gibbs sampling of a mixture whose neighbours prefer to be alike."""

from __future__ import annotations

import math

import numpy as np

from hiddenscape.kernels.compiled import jit

__all__ = ["sample_components"]

_TINY = 2.0**-1000


@jit
def _sweep(
    component: np.ndarray,
    count: np.ndarray,
    start: np.ndarray,
    partner: np.ndarray,
    log_mu: np.ndarray,
    crowd: np.ndarray,
    alike: float,
    weight: float,
    rng: np.random.Generator,
    dimension: np.ndarray,
    log_share: np.ndarray,
    predictive: np.ndarray,
) -> None:
    """Draw the component of every row in turn, given those of all others.

    Row i goes to component k with probability proportional to ``exp(log_share[k] + weight (alike
    (edges to k) - crowd[rows in k but i])) d_k exp(-d_k log_mu[i])``. ``partner[start[i]:start[i +
    1]]`` holds the other end of every edge at i, edges in both directions twice. ``predictive`` (n)
    takes the log density of ``log_mu[i]`` given all else, where it has room.
    """
    n, size = len(component), len(count)
    log_d = np.log(dimension)
    told = len(predictive) == n
    prior = np.empty(size)
    both = np.empty(size)
    for i in range(n):
        count[component[i]] -= 1
        for k in range(size):
            prior[k] = log_share[k] - weight * crowd[count[k]]
        for e in range(start[i], start[i + 1]):
            prior[component[partner[e]]] += weight * alike
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
        left = rng.random() * total
        chosen = size - 1
        for k in range(size - 1):
            left -= both[k]
            if left < 0.0:
                chosen = k
                break
        component[i] = chosen
        count[chosen] += 1


@jit
def sample_components(
    component: np.ndarray,
    count: np.ndarray,
    start: np.ndarray,
    partner: np.ndarray,
    log_mu: np.ndarray,
    crowd: np.ndarray,
    alike: float,
    prior: np.ndarray,
    weights: np.ndarray,
    rng: np.random.Generator,
    dimension: np.ndarray,
    log_share: np.ndarray,
    predictive: np.ndarray,
) -> None:
    """One sweep per entry of ``weights``, the weight of the neighbourhood term.

    A sweep draws dimensions and shares given the components, then the component of every row given
    all else. ``prior`` holds shape and rate of the dimensions and the concentration of the shares.
    ``component`` (n) and ``count`` (K) are updated, ``dimension`` and ``log_share`` (K) take the
    last draws, ``predictive`` (n) what :func:`_sweep` says of the last sweep, where it has room.
    """
    size = len(count)
    total = np.empty(size)
    nothing = np.empty(0)
    for t in range(len(weights)):
        total[:] = 0.0
        for i in range(len(component)):
            total[component[i]] += log_mu[i]
        whole = 0.0
        for k in range(size):
            drawn = rng.standard_gamma(prior[0] + count[k])
            dimension[k] = max(drawn / (prior[1] + total[k]), _TINY)
            # Gamma variables over their sum are a Dirichlet draw; one may underflow to 0.
            log_share[k] = max(rng.standard_gamma(prior[2] + count[k]), _TINY)
            whole += log_share[k]
        for k in range(size):
            log_share[k] = math.log(log_share[k] / whole)
        last = predictive if t == len(weights) - 1 else nothing
        _sweep(component, count, start, partner, log_mu, crowd, alike, weights[t],
               rng, dimension, log_share, last)  # fmt: skip
