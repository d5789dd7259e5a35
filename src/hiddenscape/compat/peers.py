"""scikit-dimension 0.5.0, torchid 0.3, intRinsic and the code of IDNN, as they compute."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from hiddenscape.compat.convention import Convention, fraction_of, log_ratios, slope
from hiddenscape.compat.dadapy import line
from hiddenscape.dimension.mind import mind_dimension
from hiddenscape.dimension.mle import mle_dimension
from hiddenscape.dimension.moments import mada_dimension, mom_dimension
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.tle import tle_dimension
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors

__all__ = ["CONVENTIONS", "mind_with_coefficient"]

_SKDIM = "scikit-dimension 0.5.0; Bac et al. 2021, doi 10.3390/e23101368"


def _skdim_two_nn(
    points: ArrayLike, *, discard_fraction: float = 0.1
) -> tuple[Dimension, Dimension]:
    return line(points, "dadapy", fraction=1 - discard_fraction, duplicates="drop_zero")


def _skdim_mle(points: ArrayLike, *, n_neighbors: int = 20) -> tuple[float, Dimension]:
    graph = find_neighbors(points, k=n_neighbors)
    corrected = mle_dimension(graph, n_neighbors)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(graph.distances[:, -1:] / graph.distances[:, :-1])
        published = 1 / float(logs.mean())
    return published, corrected


def _skdim_mom(points: ArrayLike, *, n_neighbors: int = 100) -> tuple[float, Dimension]:
    graph = find_neighbors(points, k=n_neighbors)
    mean = graph.distances.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        published = float((mean / (graph.distances[:, -1] - mean)).mean())
    return published, mom_dimension(graph, n_neighbors, form="corrected", average="harmonic")


def _skdim_mada(points: ArrayLike, *, n_neighbors: int = 20) -> tuple[float, Dimension]:
    graph = find_neighbors(points, k=n_neighbors)
    copies = graph.multiplicity - 1 if graph.multiplicity is not None else np.zeros(graph.n, int)
    # Copies of a row count as its infinitely far points, those of others as more neighbours.
    deep = find_neighbors(points, k=min(graph.n - 1, n_neighbors + int(copies.max())))
    rank = np.minimum(np.stack([n_neighbors // 2, n_neighbors])[:, None] + copies, deep.k) - 1
    half, whole = deep.distances[np.arange(graph.n), rank]
    with np.errstate(divide="ignore", invalid="ignore"):
        published = float((np.log(2) / np.log(whole / half)).mean())
    return published, mada_dimension(graph, n_neighbors, form="corrected", average="harmonic")


def _skdim_tle(points: ArrayLike, *, n_neighbors: int = 20) -> tuple[Dimension, Dimension]:
    graph = find_neighbors(points, k=n_neighbors)
    published = tle_dimension(
        points, n_neighbors, graph=graph, cut_unit="absolute", duplicates="keep"
    )
    return published, tle_dimension(points, n_neighbors, graph=graph)


def _torchid_two_nn(points: ArrayLike, *, fraction: float = 0.9) -> tuple[Dimension, Dimension]:
    return line(points, "dadapy", fraction=fraction, positions="(i-1)/N", duplicates="error")


def _torchid_mind(points: ArrayLike, *, k: int = 20) -> tuple[float, Dimension]:
    graph = find_neighbors(points, k=k + 1)
    corrected = mind_dimension(graph, k)
    used = graph.over_distinct().take(k + 1)
    log_rho = np.log(used.distances[:, 0] / used.distances[:, k])
    return mind_with_coefficient(log_rho, k), corrected


def mind_with_coefficient(log_rho: np.ndarray, coefficient: float) -> float:
    """Root in d of N/d + sum log rho - c sum rho^d log rho / (1 - rho^d); the model has c = k - 1.

    Examples
    --------
    >>> round(mind_with_coefficient(np.log([0.3, 0.5, 0.7]), 1.0), 3)
    1.956
    """

    def score(d: float) -> float:
        inner = log_rho / np.expm1(-d * log_rho)
        return len(log_rho) / d + float(log_rho.sum()) - coefficient * float(inner.sum())

    low = high = 1.0
    while score(high) > 0:
        high *= 2
    while score(low) < 0:
        low /= 2
    return float(brentq(score, low, high, xtol=1e-12))


def _intrinsic_line(points: ArrayLike, *, c_trimmed: float = 0.01) -> tuple[float, Dimension]:
    left = 1 - fraction_of("c_trimmed", c_trimmed)
    graph = find_neighbors(points, k=2)
    log_mu = log_ratios(graph.over_distinct().distances)
    kept = int(np.floor(len(log_mu) * left))
    if not kept:
        raise InputError(f"c_trimmed = {c_trimmed} leaves none of {len(log_mu)} ratios")
    return slope(log_mu, np.arange(kept) / kept), two_nn(graph)


def _idnn(points: ArrayLike, *, fraction: float = 0.9) -> tuple[float, Dimension]:
    fraction = fraction_of("fraction", fraction, whole=True)
    graph = find_neighbors(points, k=2)
    log_mu = log_ratios(graph.distances)
    log_mu = log_mu[np.isfinite(log_mu) & (log_mu > 0)]
    n = len(log_mu)
    used = min(int(np.floor(fraction * n)), n - 2)
    if used < 1:
        raise InputError(f"fraction = {fraction} keeps none of {n} ratios without copies and ties")
    return slope(log_mu, np.arange(1, used + 1) / n), two_nn(graph)


CONVENTIONS = (
    Convention(
        name="skdim.TwoNN",
        what="TwoNN, a straight line through the smallest ratios.",
        why=(
            "plotting positions i/N bias the line upwards in small samples, and rows with a copy "
            "are dropped altogether instead of once."
        ),
        call='two_nn(graph, **{**TWO_NN_PRESETS["dadapy"], "duplicates": "drop_zero"})',
        source=_SKDIM,
        compute=_skdim_two_nn,
    ),
    Convention(
        name="skdim.MLE",
        what="Maximum likelihood of Levina and Bickel, harmonic mean over rows.",
        why="with copies the answer is 0; here they are left out. Without copies nothing differs.",
        call='mle_dimension(graph, 20, duplicates="error")',
        source=_SKDIM,
        compute=_skdim_mle,
    ),
    Convention(
        name="skdim.MOM",
        what="Method of moments, mean over rows.",
        why=(
            "the k-th distance is averaged in though it sets the radius (11 to 14 % too high at "
            "k = 20), and copies count as distances of 0."
        ),
        call="mom_dimension(graph, 100)",
        source=_SKDIM,
        compute=_skdim_mom,
    ),
    Convention(
        name="skdim.MADA",
        what="Manifold-adaptive dimension, mean over rows.",
        why=(
            "the logarithm of a ratio of two radii is inverted row by row, which its noise biases "
            "upwards, and copies of neighbours count as neighbours."
        ),
        call="mada_dimension(graph, 20)",
        source=_SKDIM,
        compute=_skdim_mada,
    ),
    Convention(
        name="skdim.TLE",
        what="Tight local dimension, mean over rows.",
        why="terms are cut at 1e-4 in the unit of the points: another unit changes the value.",
        call='tle_dimension(points, 20, cut_unit="absolute", duplicates="keep")',
        source=_SKDIM,
        compute=_skdim_tle,
    ),
    Convention(
        name="torchid.two_nn",
        what="TwoNN, a straight line with positions (i-1)/N.",
        why="those positions bias the line downwards in small samples (4.94 for 5 at N = 100).",
        call='two_nn(graph, method="fit", positions="(i-1)/N")',
        source="torchid 0.3",
        compute=_torchid_two_nn,
    ),
    Convention(
        name="torchid.mind",
        what="MiND_ML, continuous.",
        why="the coefficient of the last term is k, the model has k - 1: 1.5 % high at k = 20.",
        call="none: mind_dimension has the coefficient of the model",
        source="torchid 0.3",
        compute=_torchid_mind,
    ),
    Convention(
        name="intRinsic.twonn_linfit",
        what="TwoNN, a straight line after trimming one per cent.",
        why=(
            "ranks are divided by the count after trimming, so that the largest ratios kept pass "
            "for the largest of all (5.37 for 5), and its interval covers 2 %."
        ),
        call='none: two_nn(graph, method="fit") divides by the count before trimming',
        source="intRinsic; Denti 2023, doi 10.18637/jss.v106.i09",
        compute=_intrinsic_line,
    ),
    Convention(
        name="ansuini19.two_nn",
        what="TwoNN of the code of IDNN, a straight line.",
        why=(
            "rows with a copy and rows whose two neighbours are equally far are dropped; the "
            "latter are data, and dropping them lowers the value."
        ),
        call='two_nn(graph, method="fit", positions="i/N", duplicates="drop_zero") without ties',
        source="Ansuini, Laio, Macke, Zoccolan 2019, arXiv:1905.12784",
        compute=_idnn,
    ),
)
