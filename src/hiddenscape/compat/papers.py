"""Settings of published studies, by paper."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.comparison.labels import label_overlap
from hiddenscape.comparison.overlap import Overlap
from hiddenscape.compat.convention import Convention
from hiddenscape.compat.dadapy import line
from hiddenscape.dimension.decimation import decimation
from hiddenscape.dimension.gride import gride, gride_scan
from hiddenscape.dimension.pca import pca_dimension
from hiddenscape.dimension.result import Dimension, DimensionCurve
from hiddenscape.dimension.two_nn import TWO_NN_PRESETS, two_nn
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors

__all__ = ["CONVENTIONS"]

_DOIMO20 = "Doimo, Glielmo, Ansuini, Laio 2020, arXiv:2007.03506"
_VALERIANI = "Valeriani, Doimo, Cuturello, Laio, Ansuini, Cazzaniga 2023, arXiv:2302.00294"
_DOIMO24 = "Doimo, Serra, Ansuini, Cazzaniga 2024, arXiv:2409.03662"
_CHENG = "Cheng, Doimo, Kervadec, Macocco, Yu, Laio, Baroni 2024, arXiv:2405.15471"
_PARTS, _REPEATS = 32, 4


def _facco(points: ArrayLike) -> tuple[Dimension, Dimension]:
    return line(points, "facco17")


def _ansuini_pca(points: ArrayLike) -> tuple[Dimension, Dimension]:
    published = pca_dimension(points, threshold=0.9, standardize=True, convention="published")
    return published, pca_dimension(points, threshold=0.9, standardize=True)


def _cheng_pca(points: ArrayLike) -> tuple[Dimension, Dimension]:
    published = pca_dimension(points, threshold=0.99, convention="published")
    return published, pca_dimension(points, threshold=0.99)


def _cheng_gride(
    points: ArrayLike, *, range_max: int = 2**13
) -> tuple[DimensionCurve, DimensionCurve]:
    graph = find_neighbors(points, k=min(range_max, len(np.asarray(points)) - 1))
    return gride_scan(graph, mu_filter=True), gride_scan(graph)


def _doimo20_two_nn(points: ArrayLike) -> tuple[float, Dimension]:
    published, corrected = line(points, "doimo20")
    return float(np.rint(published.value)), corrected


def _doimo20_naive(points: ArrayLike, *, fraction: float = 0.9) -> tuple[Dimension, Dimension]:
    graph = find_neighbors(points, k=2)
    return two_nn(graph, method="naive", fraction=fraction), two_nn(graph, fraction=fraction)


def _plain(points: ArrayLike, labels: Any, k: int) -> tuple[Overlap, Overlap]:
    graph = find_neighbors(points, k=k)
    return label_overlap(graph, labels, singletons="zero"), label_overlap(graph, labels)


def _doimo20_labels(points: ArrayLike, labels: Any, *, k: int = 30) -> tuple[Overlap, Overlap]:
    return _plain(points, labels, k)


def _valeriani_labels(points: ArrayLike, labels: Any, *, k: int = 10) -> tuple[Overlap, Overlap]:
    return _plain(points, labels, k)


def _doimo24_labels(
    points: ArrayLike, labels: Any, *, class_fraction: float = 0.3
) -> tuple[Overlap, Overlap]:
    largest = max(np.unique(np.asarray(labels), return_counts=True)[1])
    graph = find_neighbors(points, k=max(1, int(class_fraction * largest + 1e-9)))
    asked: dict[str, Any] = {"weighting": "macro", "class_fraction": class_fraction}
    return (
        label_overlap(graph, labels, singletons="zero", **asked),
        label_overlap(graph, labels, **asked),
    )


def _doimo24_gride(points: ArrayLike) -> tuple[Dimension, Dimension]:
    graph = find_neighbors(points, k=32)
    return gride(graph, 16, 32, mu_filter=True), gride(graph, 16, 32)


def _valeriani_two_nn(points: ArrayLike, *, seed: int = 0) -> tuple[Dimension, Dimension]:
    x = np.asarray(points)
    size = round(len(x) / _PARTS)
    if size < 20:
        raise InputError(
            f"valeriani23 keeps one row of {_PARTS}: {len(x)} rows leave {size}, at least 20 are "
            "needed"
        )
    rng = np.random.default_rng([seed, 23])
    draws = []
    for _ in range(_REPEATS):
        graph = find_neighbors(x[np.sort(rng.choice(len(x), size, replace=False))], k=2)
        draws.append(two_nn(graph, **TWO_NN_PRESETS["valeriani23"]))  # type: ignore[arg-type]
    values = np.array([d.value for d in draws])
    published = Dimension(
        value=float(values.mean()),
        stderr=float(values.std(ddof=1) / 2),
        stderr_kind="repeats",
        n_used=size,
        n_dropped=len(x) - size,
        scale=float(np.mean([d.scale for d in draws])),
        method="fit",
        n1=1,
        n2=2,
        note=draws[0].note,
        parameters={**draws[0].parameters, "repeats": _REPEATS, "seed": seed},
    )
    curve = decimation(x, min_rows=max(10, size // 2), seed=seed)
    at = min(range(len(curve)), key=lambda s: abs(len(x) / 2**s - size))
    return published, curve.estimates[at]


CONVENTIONS = (
    Convention(
        name="facco17.two_nn",
        what="TwoNN as first published, a straight line.",
        why=(
            "plotting positions i/N bias the line upwards in small samples; data with copies are "
            "refused, as the paper has none."
        ),
        call='two_nn(graph, **TWO_NN_PRESETS["facco17"])',
        source="Facco, d'Errico, Rodriguez, Laio 2017, doi 10.1038/s41598-017-11873-y",
        compute=_facco,
    ),
    Convention(
        name="ansuini19.pca",
        what="Number of principal components with 90 % of the variance of standardised columns.",
        why="the released code returns the index of the last component, counted from 0.",
        call='pca_dimension(points, threshold=0.9, standardize=True, convention="published")',
        source="Ansuini, Laio, Macke, Zoccolan 2019, arXiv:1905.12784",
        compute=_ansuini_pca,
    ),
    Convention(
        name="cheng25.pca",
        what="Number of principal components with 99 % of the variance.",
        why="the count stops below the threshold, one component short of holding it.",
        call='pca_dimension(points, threshold=0.99, convention="published")',
        source=_CHENG,
        compute=_cheng_pca,
    ),
    Convention(
        name="cheng25.gride",
        what="GRIDE at ranks (1, 2), (2, 4), ... up to 2^13; the scale was chosen by eye.",
        why=(
            "the largest ratios are dropped without censoring; no rule singles out a scale, where "
            "curve.plateau() does or says that there is none."
        ),
        call="gride_scan(graph, mu_filter=True)",
        source=_CHENG,
        compute=_cheng_gride,
    ),
    Convention(
        name="doimo20.two_nn",
        what="TwoNN by a line through 95 % of the ratios, rounded to a whole number.",
        why="rounding moves the dimension by up to a half, and all densities made with it.",
        call='round(two_nn(graph, **TWO_NN_PRESETS["doimo20"]).value)',
        source=_DOIMO20,
        compute=_doimo20_two_nn,
    ),
    Convention(
        name="doimo20.two_nn_ml",
        what="TwoNN by maximum likelihood over the smallest ratios.",
        why="trimming without censoring is 34 % too high at 90 %, 19 % at 95 %, 9 % at 98 %.",
        call='two_nn(graph, method="naive")',
        source=_DOIMO20,
        compute=_doimo20_naive,
    ),
    Convention(
        name="doimo20.label_overlap",
        what="Share of 30 neighbours with the label of the row, mean over rows.",
        why="classes of one row count as 0, though no list can score; here they are left out.",
        call='label_overlap(graph, labels, k=30, singletons="zero")',
        source=_DOIMO20,
        compute=_doimo20_labels,
        takes=("points", "labels"),
    ),
    Convention(
        name="valeriani23.two_nn",
        what="TwoNN by a line through 98 % of the ratios, on four subsets of one row in 32.",
        why=(
            "the last ratios pull the line, and four overlapping subsets with a bar of sd / 2 say "
            "little of the spread; here 32 disjoint subsets, censored at 90 %. The subsets of the "
            "paper are not known: the seed draws others."
        ),
        call='the mean of two_nn(graph, **TWO_NN_PRESETS["valeriani23"]) over subsets',
        source=_VALERIANI,
        compute=_valeriani_two_nn,
    ),
    Convention(
        name="valeriani23.label_overlap",
        what="Share of 10 neighbours with the label of the row, mean over rows.",
        why=(
            "classes of one row count as 0; the call of its README weights by class in today's "
            "DADApy, which is dadapy.return_label_overlap."
        ),
        call='label_overlap(graph, labels, k=10, singletons="zero")',
        source=_VALERIANI,
        compute=_valeriani_labels,
        takes=("points", "labels"),
    ),
    Convention(
        name="doimo24.label_overlap",
        what="Share of neighbours with the label of the row, k = 0.3 n_c, mean of class means.",
        why="classes of one row count as 0; here they are left out.",
        call=(
            'label_overlap(graph, labels, weighting="macro", class_fraction=0.3, singletons="zero")'
        ),
        source=_DOIMO24,
        compute=_doimo24_labels,
        takes=("points", "labels"),
    ),
    Convention(
        name="doimo24.gride",
        what="GRIDE at ranks (16, 32).",
        why="ratios above q50 + 20 (q95 - q50) are dropped without censoring.",
        call="gride(graph, 16, 32, mu_filter=True)",
        source=_DOIMO24,
        compute=_doimo24_gride,
    ),
)
