"""Dimension from ratios of neighbour distances, and the whole list of dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import numpy as np

from hiddenscape.analyses.compared import COMPARED
from hiddenscape.analyses.entry import LENGTH, Analysis, Measured, Settings
from hiddenscape.analyses.local import LOCAL
from hiddenscape.analyses.spectra import GLOBAL
from hiddenscape.dimension.decimation import decimation
from hiddenscape.dimension.gride import gride_scan
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.neighbors.graph import NeighborGraph

__all__ = ["DIMENSIONS"]


def _two_nn(
    method: Any, graph: NeighborGraph, settings: Settings, blocks: np.ndarray | None = None
) -> Iterator[Measured]:
    stderr: Literal["model", "blocks"] = "model" if blocks is None else "blocks"
    result = two_nn(graph, method=method, seed=settings.seed, stderr=stderr, blocks=blocks)
    yield Measured(quantity="dimension", estimate=result, scale=result.scale, n1=1, n2=2, k=2)


def _gride(
    graph: NeighborGraph, settings: Settings, blocks: np.ndarray | None = None
) -> Iterator[Measured]:
    rank = settings.largest_rank(graph.n)
    stderr: Literal["fisher", "blocks"] = "fisher" if blocks is None else "blocks"
    for d in gride_scan(graph, max_rank=rank, stderr=stderr, blocks=blocks).estimates:
        yield Measured(quantity="dimension", estimate=d, scale=d.scale, n1=d.n1, n2=d.n2, k=d.n2)


def _decimation(
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    curve = decimation(points, seed=settings.seed, graph=graph)
    for mean, single in zip(curve.estimates, curve.repeats, strict=True):
        subset = mean.n_used
        yield Measured(
            quantity="dimension", estimate=mean, scale=mean.scale, n1=1, n2=2, subset=subset
        )
        for i, estimate in enumerate(single):
            yield Measured(
                quantity="dimension_single",
                estimate=estimate,
                scale=estimate.scale,
                n1=1,
                n2=2,
                subset=subset,
                repeat=i,
            )


DIMENSIONS = (
    *(
        Analysis(
            name=name,
            kind="graph",
            compute=partial(_two_nn, method),
            neighbors=lambda settings, n: 2,
            quantities=("dimension",),
            citations=("facco2017twonn",),
            laws=LENGTH,
            bounds=(0.0, math.inf),
            rows="distinct",
            uses=("seed",) if method == "fit" else (),
            summary=f"TwoNN intrinsic dimension, {words}",
        )
        for name, method, words in (
            ("two_nn", "censored", "censored maximum likelihood on the smallest 90 % of ratios"),
            ("two_nn_mle", "mle", "maximum likelihood (N - 1) / sum log mu"),
            ("two_nn_fit", "fit", "line through the origin on the smallest 90 % of ratios"),
        )
    ),
    Analysis(
        name="gride",
        kind="graph",
        compute=_gride,
        neighbors=lambda settings, n: settings.largest_rank(n),
        quantities=("dimension",),
        citations=("denti2022gride",),
        laws=LENGTH,
        bounds=(0.0, math.inf),
        uses=("max_rank",),
        rows="distinct",
        summary="GRIDE intrinsic dimension at neighbour ranks (1, 2), (2, 4), (4, 8), ...",
    ),
    Analysis(
        name="decimation",
        kind="points",
        compute=_decimation,
        quantities=("dimension", "dimension_single"),
        citations=("facco2017twonn",),
        laws={**LENGTH, "permute": "~"},
        bounds=(0.0, math.inf),
        uses=("seed",),
        rows="distinct",
        summary="TwoNN on disjoint subsets of N / 2^s rows with neighbours found anew",
    ),
    *LOCAL,
    *GLOBAL,
    *COMPARED,
)
