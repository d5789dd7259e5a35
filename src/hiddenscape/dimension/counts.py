"""Counts of neighbours held against the binomial law that an estimate takes for granted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import bdtr

__all__ = ["model_p"]

_DRAWS = 199
_STEPS = 50_000
_SLACK = 1e-12


def model_p(
    trials: np.ndarray,
    inner: np.ndarray,
    classes: np.ndarray,
    probabilities: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> float:
    """Share of draws from the model, each with its own estimate, that fit worse than the counts.

    The misfit is the largest distance between the distribution function of the counts and the mean
    of those of the model; where trials differ so much from row to row that these have many steps,
    that between the randomised probability integral transforms of the counts and the uniform
    (Czado, Gneiting, Held 2009, doi:10.1111/j.1541-0420.2009.01191.x). ``probabilities`` estimates
    p of every class from the successes of all rows, ``classes`` says of which class a row is. The
    two-sample Kolmogorov-Smirnov test is for continuous values: on counts it never rejects.

    Examples
    --------
    >>> inner, one = np.array([0, 4] * 50), np.zeros(100, dtype=int)
    >>> model_p(np.full(100, 4), inner, one, lambda n: n.sum(keepdims=True) / 400, seed=0)
    0.005
    """
    rng = np.random.default_rng([seed, len(trials)])
    x = np.arange(int(trials.max()) + 1)
    kinds, rows_of = np.unique(classes * len(x) + trials, return_counts=True)
    kind_class, kind_trials = np.divmod(kinds, len(x))
    many = len(kinds) * len(x) > _STEPS

    def transformed(successes: np.ndarray, p: np.ndarray) -> float:
        chance = p[classes]
        below = np.where(successes > 0, bdtr(successes - 1.0, trials, chance), 0.0)
        at = bdtr(successes, trials, chance) - below
        u = np.sort(below + at * rng.uniform(size=len(at)))
        steps = np.arange(len(u) + 1) / len(u)
        return float(max((steps[1:] - u).max(), (u - steps[:-1]).max()))

    def distance(successes: np.ndarray, p: np.ndarray) -> float:
        if many:
            return transformed(successes, p)
        reach = np.minimum(x, kind_trials[:, None])
        model = rows_of @ bdtr(reach, kind_trials[:, None], p[kind_class, None]) / len(successes)
        found = np.cumsum(np.bincount(successes, minlength=len(x))) / len(successes)
        return float(np.abs(found - model).max())

    p = probabilities(inner)
    stated = distance(inner, p)
    worse = 0
    for _ in range(_DRAWS):
        drawn = rng.binomial(trials, p[classes])
        worse += distance(drawn, probabilities(drawn)) >= stated - _SLACK
    return (1 + worse) / (1 + _DRAWS)
