"""Dimension by comparison with balls, local spectra, mixtures of dimensions, paths."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from hiddenscape.analyses.entry import LENGTH, Analysis, Measured, Settings
from hiddenscape.dimension.danco import danco_dimension
from hiddenscape.dimension.hidalgo import hidalgo
from hiddenscape.dimension.isomap import isomap_dimension
from hiddenscape.dimension.local_pca import local_pca_dimension
from hiddenscape.dimension.result import Dimension
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import Estimate

__all__ = ["COMPARED"]

_DANCO_K = 10
_ISOMAP_K = 10
_HIDALGO_K = 5


def _measured(found: Dimension, quantity: str = "dimension", k: int | None = None) -> Measured:
    return Measured(
        quantity=quantity, estimate=found, scale=found.scale, n1=found.n1, n2=found.n2, k=k
    )


def _danco(
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    if len(points) < _DANCO_K + 2:
        return
    errors: dict[str, Any] = {} if blocks is None else {"stderr": "blocks", "blocks": blocks}
    yield _measured(
        danco_dimension(points, _DANCO_K, graph=graph, seed=settings.seed, **errors), k=_DANCO_K
    )


def _local_pca(
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
) -> Iterator[Measured]:
    errors: dict[str, Any] = {} if blocks is None else {"stderr": "blocks", "blocks": blocks}
    for k in settings.usable("dimension_k", len(points) - 1):
        yield _measured(local_pca_dimension(points, k, graph=graph, **errors), k=k)
        share = local_pca_dimension(points, k, rule="participation", graph=graph, **errors)
        yield _measured(share, "participation_ratio", k)


def _hidalgo(
    graph: NeighborGraph, settings: Settings, blocks: np.ndarray | None = None
) -> Iterator[Measured]:
    if graph.k < _HIDALGO_K:
        return
    found = hidalgo(graph, (1, 2, 3), seed=settings.seed, sweeps=500, burn_in=500, chains=3)
    yield _measured(found)
    size = len(found.dimensions)
    note = found.note
    yield Measured(
        quantity="components",
        estimate=Estimate(value=float(size or math.nan), n_used=found.n_used, note=note),
    )
    for i in range(size):
        setting = f"component {i + 1} of {size}"
        known = math.isfinite(found.dimensions[i])
        yield Measured(
            quantity="component_dimension",
            estimate=Estimate(
                value=float(found.dimensions[i]),
                stderr=float(found.stderrs[i]),
                stderr_kind="exact" if known else "",
                n_used=found.n_used,
                note=note,
            ),
            setting=setting,
        )
        yield Measured(
            quantity="component_share",
            estimate=Estimate(value=float(found.shares[i]), n_used=found.n_used, note=note),
            setting=setting,
        )


def _isomap(
    graph: NeighborGraph, settings: Settings, blocks: np.ndarray | None = None
) -> Iterator[Measured]:
    if graph.k < _ISOMAP_K:
        return
    found = isomap_dimension(graph, _ISOMAP_K, seed=settings.seed)
    yield _measured(found, k=_ISOMAP_K)
    curve = found.parameters.get("residual_variance", ())
    for m, value in enumerate(curve if isinstance(curve, tuple) else (), 1):
        estimate = Estimate(
            value=value, n_used=found.n_used, n_dropped=found.n_dropped, note=found.note
        )
        yield Measured(
            quantity="residual_variance", estimate=estimate, k=_ISOMAP_K, setting=f"m = {m}"
        )


COMPARED = (
    Analysis(
        name="danco",
        kind="points",
        compute=_danco,
        neighbors=lambda settings, n: min(_DANCO_K + 1, n - 1),
        quantities=("dimension",),
        citations=("ceruti2014danco",),
        laws=LENGTH,
        bounds=(0.0, math.inf),
        rows="distinct",
        uses=("seed",),
        default=False,
        summary="the ball whose distances and angles among 10 neighbours are most alike (DANCo)",
    ),
    Analysis(
        name="local_pca",
        kind="points",
        compute=_local_pca,
        neighbors=lambda settings, n: max(settings.usable("dimension_k", n - 1), default=1),
        quantities=("dimension", "participation_ratio"),
        citations=("fukunaga1971localpca",),
        laws=LENGTH,
        bounds=(0.0, math.inf),
        rows="distinct",
        uses=("dimension_k",),
        default=False,
        summary="principal components of each row's k neighbours (Fukunaga-Olsen, participation)",
    ),
    Analysis(
        name="hidalgo",
        kind="graph",
        compute=_hidalgo,
        neighbors=lambda settings, n: min(_HIDALGO_K, n - 1),
        quantities=("dimension", "components", "component_dimension", "component_share"),
        citations=("allegra2020hidalgo",),
        laws={"permute": "~", "scale": "=", "constant_column": "="},
        bounds=(0.0, math.inf),
        rows="distinct",
        uses=("seed",),
        default=False,
        summary="several dimensions in one cloud: a mixture of 1 to 3, by Gibbs sampling",
    ),
    Analysis(
        name="isomap",
        kind="graph",
        compute=_isomap,
        neighbors=lambda settings, n: min(_ISOMAP_K, n - 1),
        quantities=("dimension", "residual_variance"),
        citations=("tenenbaum2000isomap",),
        laws={**LENGTH},
        bounds=(0.0, math.inf),
        rows="distinct",
        uses=("seed",),
        default=False,
        summary="coordinates that keep the distances along the neighbour graph (Isomap, elbow)",
    ),
)
