"""What a mixture of dimensions says: its components, who belongs to them, how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hiddenscape.dimension.result import Dimension
from hiddenscape.types import FloatVector, IntVector

__all__ = ["DimensionMixture", "MixtureTrial"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureTrial:
    """How well a number of components predicts.

    Attributes
    ----------
    components : int
    predictive : float
        Expected log density of the ratios given their neighbours, summed over rows; larger is
        better.
    gain, gain_stderr : float
        Over the best of fewer components, with its standard error over rows; NaN for the first.
    rhat : float
        Largest split R-hat of the dimensions.
    chains : int
        Chains kept.
    """

    components: int
    predictive: float
    gain: float
    gain_stderr: float
    rhat: float
    chains: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DimensionMixture(Dimension):
    """Dimensions that share one cloud; ``value`` is the mean over rows, ``per_point`` that of each.

    Rows of components without a dimension are left out of both.

    Attributes
    ----------
    dimensions, stderrs : float64 arrays (K,)
        Posterior mean and standard deviation of every component, ascending; NaN for components
        that hold fewer than 3 rows or nothing but ratios of 1.
    shares : float64 array (K,)
        Posterior mean share of the rows.
    probabilities : float64 array (n, K)
        Posterior probability that a row belongs to a component; NaN for rows left out.
    rhat : float
        Largest split R-hat of the dimensions over the chains kept: 1 where they agree.
    trials : tuple of MixtureTrial
        One per number of components tried, ascending.
    """

    dimensions: FloatVector = field(default_factory=lambda: np.empty(0))
    stderrs: FloatVector = field(default_factory=lambda: np.empty(0))
    shares: FloatVector = field(default_factory=lambda: np.empty(0))
    probabilities: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    rhat: float = math.nan
    trials: tuple[MixtureTrial, ...] = ()

    def labels(self, least: float = 0.8) -> IntVector:
        """Component of every row, -1 where none has a probability of at least ``least``.

        Examples
        --------
        >>> p = np.array([[0.9, 0.1], [0.5, 0.5], [np.nan, np.nan]])
        >>> DimensionMixture(value=2.0, n_used=3, probabilities=p).labels().tolist()
        [0, -1, -1]
        """
        if not self.probabilities.size:
            return np.full(len(self.probabilities), -1)
        p = np.nan_to_num(self.probabilities, nan=-1.0)
        return np.where(p.max(axis=1) >= least, p.argmax(axis=1), -1)
