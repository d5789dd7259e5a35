"""Do estimates miss the truth by as much as their errors say, no more and no less?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hiddenscape.results import Estimate

__all__ = ["ZScores", "z_scores"]


@dataclass(frozen=True, slots=True)
class ZScores:
    """Mean and standard deviation of (value - truth) / stderr over replicates.

    An unbiased estimate with an honest error has mean 0 and sd 1 (sd 1.07 where the error itself
    comes from 16 blocks: Student's t with 15 degrees of freedom).

    Attributes
    ----------
    mean, sd : float
        Over the estimates with a positive error; NaN where there are none.
    bias : float
        Mean of value / truth - 1 over the replicates that have a value.
    spread : float
        Standard deviation of the values over the root mean square of their errors: 1 for an honest
        error whatever the bias; NaN without errors.
    coverage : float
        Share of intervals that hold the truth; NaN for estimates without one.
    replicates : int
    missing : int
        Replicates without a value.
    """

    mean: float
    sd: float
    bias: float
    spread: float
    coverage: float
    replicates: int
    missing: int


def z_scores(replicate: Callable[[int], Estimate], truth: float, replicates: int) -> ZScores:
    """Run ``replicate(seed)`` for seeds 0, 1, ... and compare with the truth.

    Examples
    --------
    >>> from hiddenscape import two_nn
    >>> from hiddenscape.testing.manifolds import pareto_graph
    >>> z = z_scores(lambda seed: two_nn(pareto_graph(200, 3.0, seed=seed)), 3.0, 50)
    >>> abs(z.mean) < 0.5, 0.7 < z.sd < 1.3
    (True, True)
    """
    every = [replicate(seed) for seed in range(replicates)]
    found = [e for e in every if math.isfinite(e.value)]
    values = np.array([e.value for e in found])
    errors = np.array([e.stderr for e in found])
    z = (values - truth)[errors > 0] / errors[errors > 0]
    inside = [
        low <= truth <= high
        for low, high in (getattr(e, "interval", (math.nan, math.nan)) for e in found)
        if math.isfinite(low)
    ]
    some = len(z) > 1
    return ZScores(
        mean=float(z.mean()) if some else math.nan,
        sd=float(z.std(ddof=1)) if some else math.nan,
        bias=float(values.mean()) / truth - 1 if len(found) else math.nan,
        spread=float(values.std(ddof=1)) / math.sqrt(float(np.nanmean(errors**2)))
        if some
        else math.nan,
        coverage=float(np.mean(inside)) if inside else math.nan,
        replicates=replicates,
        missing=replicates - len(found),
    )
