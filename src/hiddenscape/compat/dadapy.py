"""DADApy 0.3.4, as it computes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.clustering.adp import adp
from hiddenscape.clustering.result import Clusters
from hiddenscape.comparison.labels import label_overlap
from hiddenscape.comparison.overlap import Overlap, neighborhood_overlap
from hiddenscape.compat.convention import Convention, fraction_of, log_ratios, slope
from hiddenscape.density.pak import pak_density
from hiddenscape.dimension.gride import gride_scan
from hiddenscape.dimension.result import Dimension, DimensionCurve
from hiddenscape.dimension.two_nn import TWO_NN_PRESETS, two_nn
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors

__all__ = ["CONVENTIONS", "line"]

_PAPER = "DADApy 0.3.4; Glielmo et al. 2022, doi 10.1016/j.patter.2022.100589"
_BLOCK = 1 << 24
_SEARCH, _PRECISION = (0.001, 1000.0), 1e-7


def line(points: ArrayLike, preset: str, **changes: object) -> tuple[Dimension, Dimension]:
    """TwoNN by a preset of ``TWO_NN_PRESETS``, and censored."""
    graph = find_neighbors(points, k=2)
    settings: dict[str, object] = {**TWO_NN_PRESETS[preset], **changes}
    return two_nn(graph, **settings), two_nn(graph)  # type: ignore[arg-type]


def _two_nn(points: ArrayLike, *, mu_fraction: float = 0.9) -> tuple[float, Dimension]:
    mu_fraction = fraction_of("mu_fraction", mu_fraction, whole=True)
    if mu_fraction == 1:
        # Its line would end at log 0: it goes over to the likelihood.
        return _two_nn_ml(points)[0], two_nn(find_neighbors(points, k=2))
    graph = find_neighbors(points, k=2)
    used = int(graph.n * mu_fraction)
    if not used:
        raise InputError(f"mu_fraction = {mu_fraction} keeps none of {graph.n} ratios")
    published = slope(log_ratios(graph.distances), np.arange(1, used + 1) / graph.n)
    return published, two_nn(graph)


def _two_nn_ml(points: ArrayLike) -> tuple[float, Dimension]:
    graph = find_neighbors(points, k=2)
    log_mu = log_ratios(graph.distances)
    return (len(log_mu) - 1) / float(log_mu.sum()), two_nn(graph, method="mle")


def _two_nn_prior(
    points: ArrayLike, *, alpha: float = 2.0, beta: float = 5.0
) -> tuple[float, Dimension]:
    graph = find_neighbors(points, k=2)
    log_mu = log_ratios(graph.distances)
    published = (alpha + len(log_mu)) / (beta + float(log_mu.sum()))
    return published, two_nn(graph, method="bayes", prior=(alpha, beta))


def _gride(points: ArrayLike, *, range_max: int = 64) -> tuple[np.ndarray, DimensionCurve]:
    graph = find_neighbors(points, k=min(range_max, len(np.asarray(points)) - 1))
    ranks = 2 ** np.arange(int(np.log2(graph.k)))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = [
            _bisected(graph.distances[:, 2 * n - 1] / graph.distances[:, n - 1], n)
            for n in ranks.tolist()
        ]
    return np.array(found), gride_scan(graph)


def _bisected(mu: np.ndarray, n1: int) -> float:
    """Bisection of the score between 0.001 and 1000, whose ends are answers too."""
    mu = np.where(mu == 1, 1 + 10 * np.finfo(np.float64).eps, mu)
    high, half = np.percentile(mu, [95, 50])
    mu = mu[mu < 20 * (high - half) + half]

    def fall(d: float) -> float:
        inner = np.maximum(1.0 - mu**-d, 2 * _PRECISION)
        return float(np.sum(((1 - n1) / inner + 2 * n1 - 1.0) * np.log(mu))) - (len(mu) - 1) / d

    low, top = _SEARCH
    end = fall(top)
    while top - low > _PRECISION:
        middle = (low + top) / 2
        low, top = (low, middle) if fall(middle) * end > 0 else (middle, top)
    return (low + top) / 2


def _label_overlap(
    points: ArrayLike, labels: ArrayLike, *, k: int = 30, weighted: bool = True
) -> tuple[Overlap, Overlap]:
    graph = find_neighbors(points, k=k)
    published = label_overlap(
        graph,
        np.asarray(labels).astype(int),
        k=k,
        weighting="macro" if weighted else "plain",
        singletons="zero",
    )
    return published, label_overlap(graph, np.asarray(labels), k=k)


def _data_overlap(
    points: ArrayLike, other_points: ArrayLike, *, k: int = 30
) -> tuple[float, Overlap]:
    a, b = find_neighbors(points, k=k), find_neighbors(other_points, k=k)
    one, two = _after_first(a), _after_first(b)
    step = max(1, _BLOCK // k**2)
    shared = 0
    for start in range(0, a.n, step):
        part = slice(start, start + step)
        shared += int((one[part, :, None] == two[part, None, :]).sum())
    return shared / (a.n * k), neighborhood_overlap(a, b)


def _after_first(graph: NeighborGraph) -> np.ndarray:
    """Lists that count the row itself, without their first entry, whoever that is."""
    own = np.arange(graph.n, dtype=graph.indices.dtype)[:, None]
    index = np.hstack([own, graph.indices])
    distance = np.hstack([np.zeros((graph.n, 1)), graph.distances])
    return np.take_along_axis(index, np.lexsort((index, distance)), axis=1)[:, 1:]


def _adp(points: ArrayLike, *, maxk: int = 100, z: float = 1.65) -> tuple[Clusters, Clusters]:
    graph = find_neighbors(points, k=min(maxk, len(np.asarray(points)) - 1))
    there = two_nn(graph, **TWO_NN_PRESETS["dadapy"]).value  # type: ignore[arg-type]
    here = two_nn(graph).value
    return (
        adp(graph, pak_density(graph, dimension=there), z=z),
        adp(graph, pak_density(graph, dimension=here), z=z, points=points),
    )


CONVENTIONS = (
    Convention(
        name="dadapy.compute_id_2NN",
        what="TwoNN, a straight line through the smallest ratios.",
        why=(
            "plotting positions i/N bias the line upwards in small samples (5.11 for 5 at "
            "N = 100), and copies enter as infinite ratios, which it refuses once they reach the "
            "line (NaN here)."
        ),
        call='two_nn(graph, **TWO_NN_PRESETS["dadapy"])',
        source=_PAPER,
        compute=_two_nn,
    ),
    Convention(
        name="dadapy.compute_id_2NN_ml",
        what='TwoNN by maximum likelihood, algorithm="ml".',
        why=(
            "mu_fraction is ignored, and with copies the answer is 0 (pairs) or NaN (triples) "
            "without a word; here they are left out."
        ),
        call='two_nn(graph, method="mle", duplicates="error")',
        source=_PAPER,
        compute=_two_nn_ml,
    ),
    Convention(
        name="dadapy.compute_id_2NN_wprior",
        what="TwoNN, posterior mean under a Gamma prior.",
        why="with copies the answer is 0 (pairs) or NaN (triples); here they are left out.",
        call='two_nn(graph, method="bayes", prior=(2, 5))',
        source=_PAPER,
        compute=_two_nn_prior,
    ),
    Convention(
        name="dadapy.return_id_scaling_gride",
        what="GRIDE at ranks (1, 2), (2, 4), ... up to range_max.",
        why=(
            "ratios above q50 + 20 (q95 - q50) are dropped without censoring (+1.7 % at d = 1); "
            "where copies spoil a scale the answer is the bound of its search, .001."
        ),
        call="gride_scan(graph, mu_filter=True)",
        source=_PAPER,
        compute=_gride,
    ),
    Convention(
        name="dadapy.return_label_overlap",
        what="Share of neighbours with the label of the row.",
        why=(
            "rows are weighted by class by default, labels are cast to whole numbers (.2 and .7 "
            "become one class) and classes of one row count as 0; the corrected value is the plain "
            "mean without those rows, labels as they are."
        ),
        call='label_overlap(graph, labels, weighting="macro", singletons="zero")',
        source=_PAPER,
        compute=_label_overlap,
        takes=("points", "labels"),
    ),
    Convention(
        name="dadapy.return_data_overlap",
        what="Share of common neighbours of two sites.",
        why=(
            "the first entry of each list is dropped as the row itself, though with copies another "
            "row may stand there; how it sorts equal distances is not fixed, here by row."
        ),
        call="none: neighborhood_overlap knows rows by their number",
        source=_PAPER,
        compute=_data_overlap,
        takes=("points", "other_points"),
    ),
    Convention(
        name="dadapy.compute_clustering_ADP",
        what="Number of clusters by ADP on PAk densities, dimension by compute_id_2NN.",
        why=(
            "the dimension is that of the line, and a peak removed by a neighbour with nobody "
            "labelled near follows its remover instead of the nearest denser row; the compiled "
            "version also loses points at small maxk, which is not reproduced."
        ),
        call="adp(graph, pak_density(graph, dimension=d)), d by the preset dadapy of two_nn",
        source=_PAPER,
        compute=_adp,
    ),
)
