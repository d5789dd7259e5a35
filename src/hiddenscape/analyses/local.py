"""Dimension from the neighbourhoods of single rows, and from neighbourhoods that adapt."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from hiddenscape.analyses.entry import LENGTH, Analysis, Measured, Settings
from hiddenscape.dimension.abide import abide, agride
from hiddenscape.dimension.binomial import binomial_dimension
from hiddenscape.dimension.correlation import correlation_dimension
from hiddenscape.dimension.ess import ess_dimension
from hiddenscape.dimension.mind import mind_dimension
from hiddenscape.dimension.mle import mle_dimension
from hiddenscape.dimension.moments import mada_dimension, mom_dimension
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.tle import tle_dimension
from hiddenscape.neighbors.graph import NeighborGraph

__all__ = ["LOCAL"]


def _measured(found: Dimension, k: int | None = None) -> Measured:
    return Measured(
        quantity="dimension", estimate=found, scale=found.scale, n1=found.n1, n2=found.n2, k=k
    )


def _of_graph(
    estimate: Callable[..., Dimension],
    graph: NeighborGraph,
    settings: Settings,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    errors = {} if blocks is None else {"stderr": "blocks", "blocks": blocks}
    for k in settings.usable("dimension_k", graph.n - 1):
        yield _measured(estimate(graph, k, **errors), k)


def _of_points(
    estimate: Callable[..., Dimension],
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    errors = {} if blocks is None else {"stderr": "blocks", "blocks": blocks}
    for k in settings.usable("dimension_k", len(points) - 1):
        yield _measured(estimate(points, k, graph=graph, **errors), k)


def _correlation(
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    for k in settings.usable("dimension_k", len(points) - 1):
        yield _measured(correlation_dimension(points, max(1, k // 2), k, graph=graph), k)


def _adaptive(
    estimate: Callable[..., Dimension],
    graph: NeighborGraph,
    settings: Settings,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    errors: dict[str, Any] = {} if blocks is None else {"stderr": "blocks", "blocks": blocks}
    depth = min(settings.kstar_depth, graph.n - 1)
    found = estimate(graph, alpha=settings.alpha, max_rank=depth, **errors)
    yield _measured(found)


def _deepest(settings: Settings, n: int) -> int:
    return max((k + 1 for k in settings.usable("dimension_k", n - 1)), default=1)


# Published forms of MOM and MADA are biased by a tenth; the corrected ones are not.
_CORRECTED = {"form": "corrected", "average": "harmonic"}

LOCAL = (
    *(
        Analysis(
            name=name,
            kind="graph",
            compute=partial(_of_graph, partial(estimate, **options)),
            neighbors=_deepest,
            quantities=("dimension",),
            citations=citations,
            laws=LENGTH,
            bounds=(0.0, math.inf),
            uses=("dimension_k",),
            rows="distinct",
            default=name == "mle",
            summary=words,
        )
        for name, estimate, options, citations, words in (
            ("mle", mle_dimension, {}, ("levina2004", "mackay2005mle"),
             "Levina-Bickel maximum likelihood on k neighbours, harmonic mean over rows"),
            ("mom", mom_dimension, _CORRECTED, ("amsaleg2018lid",),
             "method of moments on k neighbours, corrected form, harmonic mean"),
            ("mada", mada_dimension, _CORRECTED, ("farahmand2007mada",),
             "growth from k / 2 to k neighbours (MADA), corrected form, harmonic mean"),
            ("mind", mind_dimension, {}, ("rozza2012mind",),
             "MiND: likelihood of the nearest against the (k + 1)-th neighbour"),
            ("binomial", binomial_dimension, {"validate": False},
             ("macocco2023discrete", "dinoia2024abide"),
             "share of k neighbours within half the radius"),
        )
    ),
    *(
        Analysis(
            name=name,
            kind="graph",
            compute=partial(_adaptive, estimate),
            neighbors=lambda settings, n: min(settings.kstar_depth, n - 1),
            quantities=("dimension",),
            citations=("dinoia2024abide",),
            laws=LENGTH,
            bounds=(0.0, math.inf),
            uses=("alpha", "kstar_depth"),
            rows="distinct",
            default=False,
            summary=words,
        )
        for name, estimate, words in (
            ("abide", abide, "binomial dimension in neighbourhoods of size k*, to a fixed point"),
            ("agride", agride, "GRIDE at ranks (k* / 2, k*) of each row, to a fixed point"),
        )
    ),
    *(
        Analysis(
            name=name,
            kind="points",
            compute=compute,
            neighbors=_deepest,
            quantities=("dimension",),
            citations=citations,
            laws=LENGTH,
            bounds=(0.0, math.inf),
            uses=("dimension_k",),
            rows="distinct",
            default=False,
            summary=words,
        )
        for name, compute, citations, words in (
            ("tle", partial(_of_points, tle_dimension), ("amsaleg2019tle",),
             "tight local estimator: every pair among k neighbours"),
            ("ess", partial(_of_points, ess_dimension), ("johnsson2015ess",),
             "expected simplex skewness: angles among k neighbours"),
            ("correlation", _correlation, ("grassberger1983correlation",),
             "slope of the correlation integral between typical k / 2-th and k-th distances"),
        )
    ),
)  # fmt: skip
