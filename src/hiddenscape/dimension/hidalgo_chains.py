"""Gibbs sampling of a mixture of dimensions: chains, components in line, diagnosis."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import gammaln, logsumexp

from hiddenscape.kernels.mixture import sample_components
from hiddenscape.types import FloatVector

__all__ = ["Chain", "Model", "aligned", "run_chain", "split_rhat"]

# Draws kept per chain: (chains x this x rows) bytes of memory.
_KEPT = 250
# The weight that the neighbourhood term starts with, and the share of the burn-in over which it
# grows to 1. At full weight from the start patches freeze in place; from 0 one component may
# swallow the other first.
_FIRST = 0.3
_RAMP = 0.8
# Rounds of averaging over neighbours, and evenness of the random shares, of the start.
_SMOOTHINGS = 3
_EVEN = 4.0
_REPORT = 50


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What the components of rows are drawn from.

    Attributes
    ----------
    log_mu : float64 array (n,)
    start, partner : int64 arrays
        The edges at every row in both directions, see ``kernels.mixture``.
    alike : float
        log(zeta / (1 - zeta)).
    crowd : float64 array (n + 1,)
        N log Z(N), N = 0..n: the normalisation of the lists of a component of N rows.
    shape, rate, concentration : float
        Of the gamma prior on dimensions and the Dirichlet prior on shares.
    """

    log_mu: FloatVector
    start: np.ndarray
    partner: np.ndarray
    alike: float
    crowd: FloatVector
    shape: float
    rate: float
    concentration: float

    @classmethod
    def of(
        cls,
        log_mu: FloatVector,
        neighbors: np.ndarray,
        zeta: float,
        shape: float,
        rate: float,
        concentration: float,
    ) -> Model:
        """From ratios and the first q neighbours (n, q) of every row."""
        n, q = neighbors.shape
        source = np.repeat(np.arange(n), q)
        end = neighbors.ravel()
        both, other = np.concatenate([source, end]), np.concatenate([end, source])
        order = np.argsort(both, kind="stable")
        start = np.concatenate([[0], np.cumsum(np.bincount(both, minlength=n))])
        return cls(
            log_mu=np.ascontiguousarray(log_mu),
            start=start.astype(np.int64),
            partner=other[order].astype(np.int64),
            alike=math.log(zeta / (1 - zeta)),
            crowd=_crowd(n, q, zeta),
            shape=shape,
            rate=rate,
            concentration=concentration,
        )


def _crowd(n: int, q: int, zeta: float) -> FloatVector:
    """N log of the sum over m of C(N - 1, m) C(n - N, q - m) zeta^m (1 - zeta)^(q - m)."""
    size, m = np.arange(1, n + 1)[:, None], np.arange(q + 1)[None]
    terms = (
        _log_binomial(size - 1, m)
        + _log_binomial(n - size, q - m)
        + m * math.log(zeta)
        + (q - m) * math.log1p(-zeta)
    )
    return np.concatenate([[0.0], size[:, 0] * logsumexp(terms, axis=1)])


def _log_binomial(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    possible = n >= k
    value = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(np.where(possible, n - k, 0) + 1.0)
    return np.where(possible, value, -np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """The kept draws of one chain.

    Attributes
    ----------
    dimensions, shares : float64 arrays (draws, K)
    components : int8 array (draws, n)
    posterior : float64 array (draws,)
        Log posterior density up to a constant.
    predictive : float64 array (n,)
        Log of the mean predictive density of every ratio given all other rows, less the variance
        of its log (the widely applicable criterion of Watanabe 2010, JMLR 11, 3571).
    """

    dimensions: np.ndarray
    shares: np.ndarray
    components: np.ndarray
    posterior: FloatVector
    predictive: FloatVector


def run_chain(
    model: Model,
    size: int,
    sweeps: int,
    burn_in: int,
    rng: np.random.Generator,
    tell: Callable[[int], object],
) -> Chain:
    """Sample the components of all rows, dimensions and shares in turn.

    Rows start in the order of the ratios around them, cut at random places; the neighbourhood term
    grows to its full weight over most of the burn-in.
    """
    n = len(model.log_mu)
    component = _start(model, size, rng)
    count = np.bincount(component, minlength=size)
    steps = np.diff(model.crowd)
    prior = np.array([model.shape, model.rate, model.concentration])
    growth = _FIRST + (1 - _FIRST) * np.arange(1, burn_in + 1) / max(1.0, _RAMP * burn_in)
    weights = np.append(np.minimum(growth, 1.0), np.ones(sweeps))
    kept = np.unique(np.linspace(burn_in, burn_in + sweeps - 1, min(sweeps, _KEPT)).astype(int))
    dimensions, log_shares = np.empty((2, len(kept), size))
    components = np.empty((len(kept), n), dtype=np.int8)
    posterior, logs = np.empty(len(kept)), np.empty((len(kept), n))
    silent, scratch = np.empty(0), np.empty((2, size))

    def sample(first: int, last: int, drawn: np.ndarray, told: np.ndarray) -> None:
        sample_components(
            component, count, model.start, model.partner, model.log_mu, steps, model.alike, prior,
            weights[first:last], rng, drawn[0], drawn[1], told,
        )  # fmt: skip
        tell(last - first)

    for first in range(0, burn_in, _REPORT):
        sample(first, min(first + _REPORT, burn_in), scratch, silent)
    done = burn_in
    for at, sweep in enumerate(kept):
        sample(done, sweep + 1, scratch, logs[at])
        dimensions[at], log_shares[at] = scratch
        components[at] = component
        posterior[at] = _log_posterior(model, component, count, *scratch)
        done = int(sweep) + 1
    predictive = logsumexp(logs, axis=0) - math.log(len(kept))
    if len(kept) > 1:
        predictive = predictive - logs.var(axis=0, ddof=1)
    return Chain(dimensions, np.exp(log_shares), components, posterior, predictive)


def _start(model: Model, size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows ordered by the mean log ratio around them, cut into parts of random shares."""
    smooth = model.log_mu
    source = np.repeat(np.arange(len(smooth)), np.diff(model.start))
    for _ in range(_SMOOTHINGS):
        around = np.bincount(source, smooth[model.partner], minlength=len(smooth))
        smooth = (smooth + around) / (1 + np.diff(model.start))
    cuts = np.cumsum(rng.dirichlet(np.full(size, _EVEN)))[:-1] * len(smooth)
    place = np.empty(len(smooth), dtype=np.int64)
    place[np.argsort(smooth, kind="stable")] = np.arange(len(smooth))
    return np.searchsorted(cuts, place, side="right")


def _log_posterior(
    model: Model,
    component: np.ndarray,
    count: np.ndarray,
    dimension: np.ndarray,
    log_share: np.ndarray,
) -> float:
    source = np.repeat(component, np.diff(model.start))
    alike = np.count_nonzero(source == component[model.partner]) / 2
    total = np.bincount(component, model.log_mu, minlength=len(count))
    prior = (model.shape - 1) * np.log(dimension) - model.rate * dimension
    return float(
        alike * model.alike
        - model.crowd[count].sum()
        + count @ (np.log(dimension) + log_share)
        - dimension @ total
        + np.sum(prior + (model.concentration - 1) * log_share)
    )


def aligned(chains: list[Chain]) -> list[Chain]:
    """The chains with one meaning of each component, ordered by dimension.

    Every draw is renumbered so that most rows agree with the draw of highest posterior (equivalence
    classes representatives: Papastamoulis and Iliopoulos 2010, doi 10.1198/jcgs.2010.09008).
    """
    best = max(chains, key=lambda c: float(c.posterior.max()))
    pivot = best.components[int(np.argmax(best.posterior))].astype(np.int64)
    size = best.dimensions.shape[1]
    moved = [_renumbered(chain, pivot, size) for chain in chains]
    mean = np.concatenate([c.dimensions for c in moved]).mean(axis=0)
    order = np.argsort(mean, kind="stable")
    place = np.argsort(order)
    return [
        Chain(
            c.dimensions[:, order],
            c.shares[:, order],
            place.astype(np.int8)[c.components],
            c.posterior,
            c.predictive,
        )
        for c in moved
    ]


def _renumbered(chain: Chain, pivot: np.ndarray, size: int) -> Chain:
    dimensions, shares = np.empty_like(chain.dimensions), np.empty_like(chain.shares)
    components = np.empty_like(chain.components)
    for t, drawn in enumerate(chain.components):
        agree = np.bincount(drawn * size + pivot, minlength=size * size).reshape(size, size)
        _, new = linear_sum_assignment(agree, maximize=True)
        dimensions[t, new], shares[t, new] = chain.dimensions[t], chain.shares[t]
        components[t] = new.astype(np.int8)[drawn]
    return Chain(dimensions, shares, components, chain.posterior, chain.predictive)


def split_rhat(draws: np.ndarray) -> FloatVector:
    """Potential scale reduction (chains, draws, K) -> (K,), each chain cut into halves.

    1 where all chains tell the same (Gelman et al. 2013, Bayesian Data Analysis, section 11.4).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(4, 500, 1))
    >>> bool(split_rhat(x)[0] < 1.01), bool(split_rhat(x + np.arange(4)[:, None, None])[0] > 1.5)
    (True, True)
    """
    half = draws.shape[1] // 2
    if half < 2:
        return np.full(draws.shape[2], np.nan)
    parts = np.concatenate([draws[:, :half], draws[:, -half:]])
    within = parts.var(axis=1, ddof=1).mean(axis=0)
    between = parts.mean(axis=1).var(axis=0, ddof=1)
    out = np.full(draws.shape[2], np.nan)
    np.divide((half - 1) / half * within + between, within, out=out, where=within > 0)
    return np.asarray(np.sqrt(out))
