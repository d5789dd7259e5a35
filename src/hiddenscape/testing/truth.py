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
        Mean of value / truth - 1.
    coverage : float
        Share of intervals that hold the truth; NaN for estimates without one.
    replicates : int
    """

    mean: float
    sd: float
    bias: float
    coverage: float
    replicates: int


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
    found = [replicate(seed) for seed in range(replicates)]
    z = np.array([(e.value - truth) / e.stderr for e in found if e.stderr > 0])
    inside = [
        low <= truth <= high
        for low, high in (getattr(e, "interval", (math.nan, math.nan)) for e in found)
        if math.isfinite(low)
    ]
    return ZScores(
        mean=float(z.mean()) if len(z) else math.nan,
        sd=float(z.std(ddof=1)) if len(z) > 1 else math.nan,
        bias=float(np.mean([e.value for e in found]) / truth - 1),
        coverage=float(np.mean(inside)) if inside else math.nan,
        replicates=replicates,
    )
