"""Draws from the sampling law of each estimator itself, where its interval must be right.

One entry per estimator that states an error under a model: rows are independent and follow the law
exactly, so that a 95 % interval must hold the truth in 95 % of the draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hiddenscape.dimension.binary import binary_dimension
from hiddenscape.dimension.binomial import binomial_dimension
from hiddenscape.dimension.discrete import lattice_posterior, lattice_root
from hiddenscape.dimension.gride import gride
from hiddenscape.dimension.lattice import log_ball_points
from hiddenscape.dimension.mind import mind_dimension
from hiddenscape.dimension.mle import mle_dimension, mle_global
from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.testing.manifolds import pareto_graph

__all__ = ["LAWS", "Law"]

_ROWS = 300


@dataclass(frozen=True, slots=True)
class Law:
    """An estimator on draws from its own law.

    Attributes
    ----------
    truth : float
    draw : callable
        seed -> estimate with an interval.
    cheap : bool
        Milliseconds per draw: thousands of draws fit in a test.
    """

    truth: float
    draw: Callable[[int], Dimension]
    cheap: bool = True


def _rows(d: float, k: int, estimate: Callable[[NeighborGraph], Dimension]) -> Law:
    """Rows whose distances are those of a Poisson process of dimension d."""
    return Law(d, lambda seed: estimate(pareto_graph(_ROWS, d, k=k, seed=seed)))


def _one_row(seed: int) -> Dimension:
    """The k smallest distances of one Poisson process, as those of the whole cloud would be."""
    k, d = 100, 3.0
    steps = np.random.default_rng([seed, 9]).exponential(size=k)
    near = np.cumsum(steps) ** (1 / d)
    distances = np.stack([near, near + near[-1], near + 2 * near[-1]]).T
    rows = (np.arange(k)[:, None] + np.arange(1, 4)) % k
    graph = NeighborGraph(
        indices=rows, distances=distances, multiplicity=np.ones(k, dtype=np.int64)
    )
    return mle_global(graph, k)


def _lattice(seed: int, method: str) -> Dimension:
    """Counts of independent rows in balls of a lattice of dimension 3."""
    outer, inner, d = 8, 4, 3.0
    value, _ = log_ball_points(outer, d)
    trials = np.full(_ROWS, 20)
    p = float(np.exp(value[inner] - value[outer]))
    found = np.random.default_rng([seed, 10]).binomial(trials, p)
    if method == "bayes":
        n, k = int(found.sum()), int(trials.sum())
        mean, error, interval = lattice_posterior((outer, inner), n, k, "manhattan")
        return Dimension(value=mean, stderr=error, interval=interval, n_used=_ROWS)
    radii = np.full(_ROWS, outer), np.full(_ROWS, inner)
    d_hat, error = lattice_root(*radii, trials, found, "manhattan")
    return Dimension(
        value=d_hat, stderr=error, interval=normal_interval(d_hat, error), n_used=_ROWS
    )


def _coins(seed: int, window: tuple[float, float]) -> Dimension:
    bits = np.random.default_rng([seed, 11]).integers(0, 2, size=(_ROWS, 40))
    return binary_dimension(bits, window=window)


LAWS: Mapping[str, Law] = {
    "two_nn censored": _rows(5.0, 2, two_nn),
    "two_nn mle": _rows(5.0, 2, lambda g: two_nn(g, method="mle")),
    "two_nn bayes": _rows(5.0, 2, lambda g: two_nn(g, method="bayes", prior=(1e-3, 1e-3))),
    "two_nn fit": Law(
        5.0, lambda s: two_nn(pareto_graph(_ROWS, 5.0, seed=s), method="fit"), cheap=False
    ),
    "gride 1 2": _rows(5.0, 2, gride),
    "gride 4 8": _rows(5.0, 8, lambda g: gride(g, 4)),
    "gride 3 11": _rows(2.0, 11, lambda g: gride(g, 3, 11)),
    "mle harmonic": _rows(5.0, 10, lambda g: mle_dimension(g, 10)),
    "mle arithmetic unbiased": _rows(
        5.0, 20, lambda g: mle_dimension(g, 20, average="arithmetic", unbiased=True)
    ),
    "mle global": Law(3.0, _one_row),
    "mind": _rows(5.0, 11, lambda g: mind_dimension(g, 10)),
    "binomial mle": _rows(5.0, 20, lambda g: binomial_dimension(g, 20, ratio=0.7, validate=False)),
    "binomial bayes": _rows(
        5.0, 20, lambda g: binomial_dimension(g, 20, ratio=0.7, method="bayes", validate=False)
    ),
    "i3d mle": Law(3.0, lambda s: _lattice(s, "mle")),
    "i3d bayes": Law(3.0, lambda s: _lattice(s, "bayes"), cheap=False),
    "bid": Law(40.0, lambda s: _coins(s, (0.0, 1.0)), cheap=False),
    "bid window": Law(40.0, lambda s: _coins(s, (0.0, 0.2)), cheap=False),
}
"""Estimators that state an error under a model, with that model."""
