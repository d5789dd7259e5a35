r"""HIDALGO: rows of several dimensions in one cloud, told apart by their ratios and neighbours.

Sources: Allegra, Facco, Denti, Laio, Mira 2020, "Data segmentation based on the local intrinsic
dimension", doi 10.1038/s41598-020-72222-0 (model and sampler); Watanabe 2010, JMLR 11, 3571-3594
(the criterion that chooses the number of components).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from hiddenscape.dimension.hidalgo_chains import Chain, Model, aligned, run_chain, split_rhat
from hiddenscape.dimension.local import Lists, neighbor_lists, remarks_of, undefined_of
from hiddenscape.dimension.mixture import DimensionMixture, MixtureTrial
from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector, checked_seed, whole

__all__ = ["hidalgo"]

_MOST_COMPONENTS = 20
_CONVERGED = 1.1
_FEWEST_ROWS = 3
# Differences of predictive log densities below this are of no import (arXiv:2008.10296).
_SMALL = 4.0
# Standard errors: they take rows as independent, which neighbours are not. On single manifolds of
# dimension 1 to 5 the gain of a second component was 2.9 of them at most (50 clouds).
_CLEAR = 4.0


def hidalgo(
    graph: NeighborGraph,
    components: int | Sequence[int] = (1, 2, 3),
    *,
    q: int = 3,
    skip: int = 2,
    zeta: float = 0.8,
    prior: tuple[float, float | None] = (1.0, None),
    concentration: float = 1.0,
    sweeps: int = 1000,
    burn_in: int = 1000,
    chains: int = 4,
    seed: int = 0,
    duplicates: str = "unique",
    progress: Callable[[int, int], object] | None = None,
) -> DimensionMixture:
    r"""A mixture of K dimensions: each row's ratio is Pareto, and neighbours tend to be alike.

    Row i belongs to component :math:`z_i`; :math:`\mu_i = r_2/r_1` has the density :math:`d_{z_i}
    \mu^{-d_{z_i}-1}`, and q of its neighbours are drawn with weights zeta inside its component
    (:math:`n_i` of them) and 1 - zeta outside:

    .. math:: p(N_i \mid z) = \frac{\zeta^{n_i} (1 - \zeta)^{q - n_i}}{Z(N_{z_i})}, \qquad
       Z(m) = \sum_j \binom{m - 1}{j} \binom{N - m}{q - j} \zeta^j (1 - \zeta)^{q - j}

    with :math:`d_k \sim \mathrm{Gamma}(a, b)` and Dirichlet shares. Sampled by Gibbs sweeps; in
    the burn-in the neighbourhood term grows to its weight.

    Parameters
    ----------
    graph : NeighborGraph
        With at least q + skip (and 2) neighbours per row.
    components : int or sequence of int
        K, up to 20. Of several the one that predicts best: ascending, a larger K is taken where
        the expected log density of the ratios, given the components of all other rows, gains more
        than 4 standard errors and more than 4. (The posterior density itself always gains:
        neighbours in one of two halves of a manifold are easier to foretell, whatever its
        dimension.)
    q, skip : int
        Neighbours of the ranks skip + 1 to skip + q are looked at. The published 0 lets rows learn
        from neighbours that share a distance with them, and so finds two dimensions in one: on
        spheres of dimension 2 with 600 rows in 4 of 6 draws.
    zeta : float
        How alike neighbours are, in (0.5, 1); 0.5 would be no preference at all.
    prior : tuple of float
        a and b of the gamma prior; b = None: such that its mean is the dimension of all rows
        together. The published (1, 1) pulls small components of high dimension far down.
    concentration : float
        Of the Dirichlet prior on the shares.
    sweeps, burn_in : int
        Sweeps after and in the burn-in, per chain; 250 are kept.
    chains : int
        Chains from random starts, at least 2. Chains whose prediction falls as far
        behind the best are left out, and counted in the note.
    seed : int
        Keys all draws. Another order of rows is another stream.
    duplicates : str
        ``unique`` (neighbours among distinct rows) or ``error``.
    progress : callable, optional
        Called with (sweeps done, sweeps in all).

    Returns
    -------
    DimensionMixture
        ``value`` with posterior ``stderr`` (``exact``: under the model, rows independent). Errors
        of the TwoNN model remain: too low in high dimension. ``approximate``: R-hat above 1.1, or
        chains left out; run longer. NaN with ``collapsed`` where fewer than 3 rows are distinct,
        ``few_points`` where they are fewer than q + skip + 1 or 3 K, ``ties`` where all ratios are
        1.

    Raises
    ------
    InputError
        For values out of range, or a graph that is too shallow.
    DuplicateRowsError
        For identical rows under ``duplicates="error"``.

    Notes
    -----
    O(n (q + K)) per sweep: 4 chains of 2000 sweeps for 1000 rows and K = 2 take some 4 s. Memory
    of chains x 250 bytes per row for the draws, 2000 for the predictions of one chain.

    Examples
    --------
    >>> from hiddenscape import find_neighbors
    >>> rng = np.random.default_rng(0)
    >>> line, sheet = np.zeros((200, 5)), rng.uniform(size=(300, 5)) + 2
    >>> line[:, 0] = rng.uniform(size=200)
    >>> graph = find_neighbors(np.vstack([line, sheet]), k=5)
    >>> found = hidalgo(graph, 2, sweeps=200, burn_in=300)
    >>> found.dimensions.round().tolist(), found.shares.round(1).tolist()
    ([1.0, 4.0], [0.4, 0.6])
    """
    seed = checked_seed(seed)
    tried = _components(components)
    q, skip, chains = whole("q", q), whole("skip", skip), whole("chains", chains)
    sweeps, burn_in = whole("sweeps", sweeps), whole("burn_in", burn_in)
    if not 0.5 < zeta < 1:
        raise InputError(f"zeta must lie in (0.5, 1), got {zeta}")
    if q < 1 or skip < 0 or sweeps < 8 or burn_in < 0 or chains < 2:
        raise InputError(
            "hidalgo needs q >= 1, skip >= 0, sweeps >= 8, burn_in >= 0 and chains >= 2, got "
            f"{q}, {skip}, {sweeps}, {burn_in} and {chains}"
        )
    shape, rate = prior
    if not all(0 < p < math.inf for p in (shape, 1.0 if rate is None else rate, concentration)):
        raise InputError(f"priors must be positive and finite, got {prior} and {concentration}")
    if duplicates not in ("unique", "error"):
        raise InputError(f"duplicates must be unique or error, got {duplicates!r}")
    parameters: dict[str, object] = {
        "components": tried,
        "q": q,
        "skip": skip,
        "zeta": zeta,
        "prior": (float(shape), rate),
        "concentration": float(concentration),
        "sweeps": sweeps,
        "burn_in": burn_in,
        "chains": chains,
        "seed": seed,
        "duplicates": duplicates,
        "metric": graph.metric,
    }
    lists = neighbor_lists(
        graph, max(q + skip, 2), duplicates, method="hidalgo", parameters=parameters
    )
    if isinstance(lists, Dimension):
        return _nothing(lists)
    first, second = lists.distances[:, 0], lists.distances[:, 1]
    log_mu = np.log1p((second - first) / first)
    n = len(log_mu)
    if n < _FEWEST_ROWS * tried[-1] or not (log_mu > 0).any():
        few = f"few_points ({n} rows for {tried[-1]} components)"
        why = few if (log_mu > 0).any() else f"ties (all {n} ratios are 1)"
        return _nothing(undefined_of(lists, "hidalgo", why, parameters))
    rate = shape * float(log_mu.mean()) if rate is None else rate
    near = np.searchsorted(lists.rows, lists.neighbors[:, skip : skip + q])
    model = Model.of(log_mu, near, zeta, shape, rate, concentration)
    runs = _run_all(model, tried, sweeps, burn_in, chains, seed, progress)
    best, trials = _choose(runs)
    scale = float(np.mean(first / 2) + np.mean(second / 2))
    return _answer(lists, model, runs[best], trials, best, chains, scale, parameters)


def _components(components: int | Sequence[int]) -> tuple[int, ...]:
    asked = list(components) if isinstance(components, Sequence) else [components]
    found = tuple(sorted({whole("components", k) for k in asked}))
    if not found or found[0] < 1 or found[-1] > _MOST_COMPONENTS:
        raise InputError(f"components must lie in 1..{_MOST_COMPONENTS}, got {components!r}")
    return found


def _nothing(answer: Dimension) -> DimensionMixture:
    names = (
        "value", "n_used", "n_dropped", "scale", "method", "n1", "n2", "note", "parameters",
    )  # fmt: skip
    return DimensionMixture(**{name: getattr(answer, name) for name in names})


def _run_all(
    model: Model,
    tried: tuple[int, ...],
    sweeps: int,
    burn_in: int,
    chains: int,
    seed: int,
    progress: Callable[[int, int], object] | None,
) -> dict[int, list[Chain]]:
    """All chains of every K, those that fell behind left out, components in line."""
    done = 0
    total = chains * sum(sweeps + (burn_in if k > 1 else 0) for k in tried)

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    out = {}
    for k in tried:
        found = [
            # One component needs no burn-in: its draws are independent.
            run_chain(model, k, sweeps, burn_in if k > 1 else 0,
                      np.random.default_rng([seed, k, c, len(model.log_mu)]), tell)
            for c in range(chains)
        ]  # fmt: skip
        best = max(found, key=lambda c: float(c.predictive.sum()))
        behind = [_gain(best.predictive, c.predictive) for c in found]
        kept = [gap <= max(_CLEAR * error, _SMALL) for gap, error in behind]
        out[k] = aligned([c for c, good in zip(found, kept, strict=True) if good])
    return out


def _gain(more: FloatVector, less: FloatVector) -> tuple[float, float]:
    """Sum of a difference over rows, and its standard error."""
    difference = more - less
    return float(difference.sum()), math.sqrt(len(difference)) * float(difference.std(ddof=1))


def _choose(runs: dict[int, list[Chain]]) -> tuple[int, tuple[MixtureTrial, ...]]:
    trials = []
    best, at_best = 0, np.empty(0)
    for k, kept in runs.items():
        predictive = np.mean([c.predictive for c in kept], axis=0)
        gain, error = _gain(predictive, at_best) if best else (math.nan, math.nan)
        if not best or gain > max(_CLEAR * error, _SMALL):
            best, at_best = k, predictive
        trials.append(
            MixtureTrial(
                components=k,
                predictive=float(predictive.sum()),
                gain=gain,
                gain_stderr=error,
                rhat=_rhat(kept),
                chains=len(kept),
            )
        )
    return best, tuple(trials)


def _rhat(kept: list[Chain]) -> float:
    """Of the components that hold rows; the others wander through the prior."""
    n = kept[0].components.shape[1]
    size = kept[0].dimensions.shape[1]
    counts = np.mean([np.bincount(z, minlength=size) for c in kept for z in c.components], axis=0)
    found = split_rhat(np.stack([c.dimensions for c in kept]))[counts >= min(_FEWEST_ROWS, n)]
    return float(np.max(found)) if len(found) else math.nan


def _answer(
    lists: Lists,
    model: Model,
    kept: list[Chain],
    trials: tuple[MixtureTrial, ...],
    best: int,
    chains: int,
    scale: float,
    parameters: dict[str, object],
) -> DimensionMixture:
    n = len(model.log_mu)
    dimensions = np.concatenate([c.dimensions for c in kept])
    drawn = np.concatenate([c.components for c in kept])
    probabilities = np.stack([(drawn == k).mean(axis=0) for k in range(best)], axis=1)
    held, told = probabilities.sum(axis=0), model.log_mu @ probabilities
    # Where the prior has more to say on the rate than the ratios, the component has no dimension.
    known = (held >= _FEWEST_ROWS) & (told > model.rate)
    if not known.any():
        why = f"ties (none of {best} components has enough ratios other than 1)"
        return _nothing(undefined_of(lists, "hidalgo", why, parameters))
    total, times, mean = np.zeros(n), np.zeros(n), np.empty(len(drawn))
    for t, z in enumerate(drawn):
        counts = known[z]
        of_row = np.where(counts, dimensions[t][z], 0.0)
        total += of_row
        times += counts
        mean[t] = of_row.sum() / max(1, np.count_nonzero(counts))
    # Rows that are mostly elsewhere have no dimension.
    per_row = np.where(2 * times > len(drawn), total / np.maximum(times, 1), np.nan)
    value, error = float(mean.mean()), float(mean.std(ddof=1))
    rhat = next(t.rhat for t in trials if t.components == best)
    empty = int(best - known.sum())
    note = join_notes(
        remarks_of(lists, value),
        f"undefined ({empty} of {best} components hold too little to have a dimension)"
        if empty
        else "",
        f"approximate (split R-hat {rhat:.2f}: the chains disagree)" if rhat > _CONVERGED else "",
        f"approximate ({chains - len(kept)} of {chains} chains fell behind and were left out)"
        if len(kept) < chains
        else "",
    )
    return DimensionMixture(
        value=value,
        stderr=error,
        stderr_kind="exact",
        interval=normal_interval(value, error),
        n_used=n,
        n_dropped=lists.n_dropped,
        scale=scale,
        method="hidalgo",
        n1=1,
        n2=2,
        note=note,
        per_point=_of_all(lists, per_row),
        dimensions=np.where(known, dimensions.mean(axis=0), np.nan),
        stderrs=np.where(known, dimensions.std(axis=0, ddof=1), np.nan),
        shares=held / n,
        probabilities=_of_all(lists, probabilities),
        rhat=rhat,
        trials=trials,
        parameters=parameters | {"chosen": best},
    )


def _of_all(lists: Lists, values: np.ndarray) -> np.ndarray:
    out = np.full((lists.n_rows, *values.shape[1:]), np.nan)
    out[lists.rows] = values
    return out
