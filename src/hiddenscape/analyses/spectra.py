"""Dimension of the whole cloud: its spectrum, how its points separate, trees and boxes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hiddenscape.analyses.entry import LENGTH, Analysis, Measured, Settings
from hiddenscape.dimension.binary import binarize, binary_dimension
from hiddenscape.dimension.boxes import box_counting
from hiddenscape.dimension.fishers import fishers_dimension
from hiddenscape.dimension.pca import participation_ratio, pca_dimension, pca_spectrum
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.spanning_tree import ph0_dimension
from hiddenscape.dimension.spectrum import Rule, count_components, spectrum_dimension
from hiddenscape.neighbors.graph import NeighborGraph

__all__ = ["GLOBAL"]

_RULES: tuple[Rule, ...] = (
    "kaiser", "broken_stick", "fukunaga_olsen", "fan", "max_gap", "minka",
)  # fmt: skip
_BOX_COLUMNS = 10
_WIDE = 64


def _pca(
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    for threshold in (0.9, 0.99):
        yield Measured(
            quantity=f"dimension_{round(100 * threshold)}",
            estimate=pca_dimension(points, threshold=threshold),
        )
    yield Measured(quantity="participation_ratio", estimate=participation_ratio(points))


def _spectrum(
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    """Every rule on one spectrum, which is the costly part."""
    n, d = points.shape
    values = pca_spectrum(points)[: min(n - 1, d)]
    for rule in _RULES:
        value, note = math.nan, "collapsed (no variance)"
        if values[0] > 0:
            short = rule == "minka" and n <= d
            note = f"few_points ({n} rows, {d} columns); undefined" if short else ""
            value = math.nan if short else float(count_components(values, rule, n=n, d=d))
        found = Dimension(value=value, n_used=n, method=rule, note=note)
        yield Measured(quantity=rule, estimate=found)


def _parallel(
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    # Halves for an error would be twenty times the hundred permutations.
    found = spectrum_dimension(points, "parallel", repeats=0, seed=settings.seed)
    yield Measured(quantity="dimension", estimate=found)


def _fishers(
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    found = fishers_dimension(points, seed=settings.seed)
    yield Measured(quantity="dimension", estimate=found)


def _ph0(
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    found = ph0_dimension(points, seed=settings.seed)
    yield Measured(quantity="dimension", estimate=found, scale=found.scale)


def _boxes(
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    columns = points.shape[1]
    if columns > _BOX_COLUMNS:
        note = f"undefined (boxes are for at most {_BOX_COLUMNS} columns, these points have "
        found = Dimension(
            value=math.nan, n_used=len(points), method="boxes", note=f"{note}{columns})"
        )
    else:
        found = box_counting(points)
    yield Measured(quantity="dimension", estimate=found, scale=found.scale)


def _binary(
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    # Few columns have few distances: a fifth of the pairs would lie at one or two of them.
    upper = 0.2 if points.shape[1] >= _WIDE else 1.0
    found = binary_dimension(binarize(points), window=(0.0, upper))
    yield Measured(
        quantity="dimension", estimate=found, scale=found.scale, setting=f"window = {upper:g}"
    )


# Kaiser and the broken stick compare with the mean over columns, constant ones among them.
_COUNT = {name: kind for name, kind in LENGTH.items() if name not in ("double", "constant_column")}

GLOBAL = (
    Analysis(
        name="pca",
        kind="points",
        compute=_pca,
        quantities=("dimension_90", "dimension_99", "participation_ratio"),
        citations=("gao2017participation",),
        laws=LENGTH,
        bounds=(0.0, math.inf),
        rows="distinct",
        summary="components for 90 % and 99 % of the variance; participation ratio",
    ),
    Analysis(
        name="spectrum",
        kind="points",
        compute=_spectrum,
        quantities=_RULES,
        citations=("minka2000pca", "gavish2014threshold"),
        laws=_COUNT,
        bounds=(0.0, math.inf),
        rows="distinct",
        default=False,
        summary="principal components kept by six rules: Kaiser, broken stick, Fan, Minka, ...",
    ),
    Analysis(
        name="parallel_analysis",
        kind="points",
        compute=_parallel,
        quantities=("dimension",),
        citations=("horn1965parallel",),
        laws={"permute": "~", "shift": "=", "scale": "="},
        bounds=(0.0, math.inf),
        rows="distinct",
        uses=("seed",),
        default=False,
        summary="principal components above those of permuted columns (Horn)",
    ),
    Analysis(
        name="fishers",
        kind="points",
        compute=_fishers,
        quantities=("dimension",),
        citations=("albergante2019fishers",),
        laws=LENGTH,
        bounds=(0.0, math.inf),
        rows="distinct",
        uses=("seed",),
        default=False,
        summary="sphere on which points would be as hard to separate by planes (FisherS)",
    ),
    Analysis(
        name="ph0",
        kind="points",
        compute=_ph0,
        quantities=("dimension",),
        citations=("adams2018ph0",),
        laws={**LENGTH, "permute": "~"},
        bounds=(0.0, math.inf),
        rows="distinct",
        uses=("seed",),
        default=False,
        summary="growth of the minimum spanning tree with the number of rows (PH0)",
    ),
    Analysis(
        name="box_counting",
        kind="points",
        compute=_boxes,
        quantities=("dimension",),
        citations=("falconer2014fractal",),
        laws={name: kind for name, kind in LENGTH.items() if name != "orthogonal"},
        bounds=(0.0, math.inf),
        rows="distinct",
        default=False,
        summary="growth of the number of touched boxes; for at most 10 columns",
    ),
    Analysis(
        name="binary",
        kind="points",
        compute=_binary,
        quantities=("dimension",),
        citations=("acevedo2024bid",),
        laws={
            "permute": "=",
            "orthogonal": "x",
            "scale": "=",
            "feature_scale": "=",
            "constant_column": "=",
            "double": "x",
        },
        bounds=(0.0, math.inf),
        rows="distinct",
        default=False,
        summary="fair coins that differ like the signs of the activations do (BID)",
    ),
)
