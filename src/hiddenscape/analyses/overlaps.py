"""Overlaps and imbalances: a site with labels, and a site with another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from hiddenscape.analyses.entry import LENGTH, Analysis, Measured, Settings
from hiddenscape.comparison.imbalance import information_imbalance_matrix
from hiddenscape.comparison.labels import label_overlap
from hiddenscape.comparison.null import overlap_chance_sd
from hiddenscape.comparison.overlap import neighborhood_overlap
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import Estimate

__all__ = ["ACROSS", "LABELS"]


def _label_overlap(
    weighting: Any,
    graph: NeighborGraph,
    labels: np.ndarray,
    settings: Settings,
) -> Iterator[Measured]:
    for k in settings.usable("k", graph.n):
        overlap = label_overlap(graph, labels, k=k, weighting=weighting)
        yield Measured(quantity="overlap", estimate=overlap, k=k)
        for quantity in ("chance", "ceiling", "adjusted"):
            yield Measured(quantity=quantity, estimate=_beside(overlap, quantity), k=k)


def _overlap(
    graph_a: NeighborGraph, graph_b: NeighborGraph, settings: Settings
) -> Iterator[Measured]:
    for k in settings.usable("k", graph_a.n):
        overlap = neighborhood_overlap(graph_a, graph_b, k=k)
        yield Measured(quantity="overlap", estimate=overlap, k=k)
        yield Measured(quantity="chance", estimate=_beside(overlap, "chance"), k=k)
        spread = overlap_chance_sd(graph_a, graph_b, k=k)
        yield Measured(quantity="chance_sd", estimate=_beside(overlap, spread), k=k)


def _beside(overlap: Any, what: str | float) -> Estimate:
    """A companion of an overlap (its chance level, its ceiling) as a number of its own."""
    value = float(getattr(overlap, what)) if isinstance(what, str) else what
    return Estimate(
        value=value,
        n_used=overlap.n_used,
        n_dropped=overlap.n_dropped,
        note=overlap.note if math.isfinite(value) else overlap.note or "undefined",
    )


def _imbalance(
    sites: Sequence[np.ndarray], graphs: Sequence[NeighborGraph], settings: Settings, **options: Any
) -> Iterator[tuple[int, int, Measured]]:
    matrix = information_imbalance_matrix(sites, k=settings.imbalance_k, graphs=graphs, **options)
    for i in range(len(sites)):
        for j in range(len(sites)):
            yield (
                i,
                j,
                Measured(
                    quantity="imbalance", estimate=matrix.estimate(i, j), k=settings.imbalance_k
                ),
            )


LABELS = (
    *(
        Analysis(
            name=name,
            kind="labels",
            group="labels",
            compute=partial(_label_overlap, weighting),
            neighbors=lambda settings, n: max(settings.usable("k", n), default=1),
            quantities=("overlap", "chance", "ceiling", "adjusted"),
            citations=("doimo2020nucleation",),
            laws=LENGTH,
            uses=("k",),
            summary=f"share of the k nearest neighbours that carry the row's label, {words}",
        )
        for name, weighting, words in (
            ("label_overlap", "plain", "mean over rows"),
            ("label_overlap_macro", "macro", "mean over class means"),
        )
    ),
)

ACROSS = (
    Analysis(
        name="neighborhood_overlap",
        kind="pair",
        group="pairs",
        compute=_overlap,
        neighbors=lambda settings, n: max(settings.usable("k", n), default=1),
        quantities=("overlap", "chance", "chance_sd"),
        citations=("doimo2020nucleation",),
        laws=LENGTH,
        bounds=(0.0, 1.0),
        uses=("k",),
        summary="share of the k nearest neighbours that two sites have in common",
    ),
    Analysis(
        name="information_imbalance",
        kind="matrix",
        group="pairs",
        compute=_imbalance,
        neighbors=lambda settings, n: settings.imbalance_k + 1,
        quantities=("imbalance",),
        citations=("glielmo2022imbalance",),
        laws=LENGTH,
        bounds=(0.0, 2.0),
        uses=("imbalance_k",),
        summary="2 / N times the mean rank in site B of the nearest neighbours in site A",
    ),
)
