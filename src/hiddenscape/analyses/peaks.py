"""Peaks: clusters of every row, what becomes of them as Z varies, and labels beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from hiddenscape.analyses.chain import Chain, depth
from hiddenscape.analyses.entry import LENGTH, Analysis, Measured, PerRow, Settings
from hiddenscape.clustering.agreement import label_agreement
from hiddenscape.clustering.result import Clusters
from hiddenscape.clustering.stability import Variation, cluster_stability
from hiddenscape.clustering.topography import merge_tree
from hiddenscape.results import Estimate, join_notes

__all__ = ["PEAKS"]

# The expectation behind AMI is costly, and an error needs few digits.
_BOOTSTRAPS = 20


def _number(found: Clusters, value: float, note: str) -> Estimate:
    return Estimate(
        value=value if found.n_clusters else math.nan,
        n_used=found.n_used,
        n_dropped=found.n_dropped,
        note=join_notes(found.note, note),
        parameters=found.parameters,
    )


def _adp(chain: Chain, settings: Settings) -> Iterator[Measured | PerRow]:
    found = chain.clusters
    largest = float(found.sizes.max() / found.sizes.sum()) if found.n_clusters else math.nan
    for quantity, value in (
        ("clusters", float(found.n_clusters)),
        ("core_fraction", found.core_fraction),
        ("largest_share", largest),
    ):
        yield Measured(quantity=quantity, estimate=_number(found, value, chain.why_not))
    tree = merge_tree(found)
    yield PerRow(
        arrays={
            "labels": found.labels,
            "halo": found.halo,
            "log_density": chain.density.values,
            "centers": found.centers,
            "heights": found.heights,
            "height_errors": found.height_errors,
            "saddle_pairs": found.saddle_pairs,
            "saddle_rows": found.saddle_rows,
            "saddles": found.saddles,
            "saddle_errors": found.saddle_errors,
            "tree_joined": tree.joined,
            "tree_heights": tree.heights,
            "tree_order": tree.order,
        },
        rowwise=("labels", "halo", "log_density"),
        parameters=_settings(chain, found),
        note=join_notes(found.note, chain.why_not),
    )


def _settings(chain: Chain, found: Clusters) -> dict[str, Any]:
    return chain.parameters | {
        "density": chain.settings.density,
        "density_k": chain.settings.density_k if chain.settings.density == "knn" else None,
        "z": chain.settings.z,
        "errors": found.parameters["errors"],
        "survivor": found.parameters["survivor"],
    }


def _z_scan(chain: Chain, settings: Settings) -> Iterator[Measured]:
    reference = chain.clusters
    for z in settings.z_scan:
        found = chain.clusters_at(z)
        setting = f"z = {z:g}"
        count = _number(found, float(found.n_clusters), chain.why_not)
        yield Measured(quantity="clusters", estimate=count, setting=setting)
        yield Measured(
            quantity="ari_to_reference", estimate=_alike(found, reference), setting=setting
        )


def _alike(found: Clusters, reference: Clusters) -> Estimate:
    if not (found.n_clusters and reference.n_clusters):
        return _number(found, math.nan, "undefined (no clusters)")
    if np.array_equal(found.labels, reference.labels):
        # Equal partitions, one cluster each perhaps, where the adjusted index is 0 / 0.
        return _number(found, 1.0, "")
    return label_agreement(found, reference.labels)["ari"]


def _agreement(chain: Chain, labels: np.ndarray, settings: Settings) -> Iterator[Measured]:
    found = chain.clusters
    for halo in ("keep", "drop"):
        setting = "" if halo == "keep" else "without halo"
        if halo == "drop" and found.n_clusters and (~found.halo).sum() < 2:
            scores = {q: _number(found, math.nan, "undefined (every row lies in the halo)")
                      for q in ("ari", "ami", "purity")}  # fmt: skip
        else:
            scores = label_agreement(
                found, labels, halo=halo, bootstraps=_BOOTSTRAPS, seed=settings.seed
            )
        for quantity, estimate in scores.items():
            yield Measured(quantity=quantity, estimate=estimate, setting=setting)


def _stability(chain: Chain, settings: Settings) -> Iterator[Measured]:
    if chain.why_not:
        nan = Estimate(value=math.nan, n_used=chain.graph.n, note=chain.why_not)
        yield Measured(quantity="clusters", estimate=nan, setting="rows")
        return
    found = cluster_stability(
        chain.points,
        dimension=chain.usable,
        z=settings.z,
        alpha=settings.alpha,
        stored=settings.kstar_depth,
        z_scan=settings.z_scan,
        k=tuple(k for k in (8, 16, 32) if k <= min(settings.kstar_depth, chain.graph.n - 1)),
        subsamples=settings.stability_draws,
        seed=settings.seed,
    )
    n = found.reference.n_used
    for changed, values in (
        *((f"z = {v.z:g}", [v]) for v in found.of("z")),
        *((f"k = {v.k}", [v]) for v in found.of("k")),
        *([("rows", list(found.of("rows")))] if settings.stability_draws else []),
    ):
        for quantity, numbers in (
            ("clusters", [float(v.n_clusters) for v in values]),
            ("ari_to_reference", [_or_same(v, found.reference.n_clusters) for v in values]),
        ):
            yield Measured(
                quantity=quantity, estimate=_spread(numbers, n, found.note), setting=changed
            )


def _or_same(v: Variation, clusters: int) -> float:
    """The agreement; 1 for two partitions of one cluster each, where the index is 0 / 0."""
    return 1.0 if v.n_clusters == clusters == 1 else v.ari


def _spread(numbers: list[float], n: int, note: str) -> Estimate:
    """The mean, with the standard deviation of one draw: subsamples share their rows."""
    known = [v for v in numbers if math.isfinite(v)]
    lost = f"undefined ({len(numbers) - len(known)} of {len(numbers)} variations)"
    return Estimate(
        value=float(np.mean(known)) if known else math.nan,
        stderr=float(np.std(known, ddof=1)) if len(known) > 1 else math.nan,
        stderr_kind="repeats" if len(known) > 1 else "",
        n_used=n,
        note=join_notes(note, lost if len(known) < len(numbers) or not known else ""),
    )


_USES = (
    "density_rank", "density_dimension", "alpha", "kstar_depth", "density", "density_k", "z",
    "seed",
)  # fmt: skip

PEAKS = (
    Analysis(
        name="adp",
        kind="chain",
        group="peaks",
        compute=_adp,
        neighbors=lambda settings, n: depth(settings, n),
        quantities=("clusters", "core_fraction", "largest_share"),
        citations=("derrico2021adp",),
        laws=LENGTH,
        bounds=(0.0, math.inf),
        uses=_USES,
        rows="distinct",
        per_row=True,
        summary="clusters around density peaks that rise by Z errors above their saddles (ADP)",
    ),
    Analysis(
        name="adp_z_scan",
        kind="chain",
        group="peaks",
        compute=_z_scan,
        neighbors=lambda settings, n: depth(settings, n),
        quantities=("clusters", "ari_to_reference"),
        citations=("derrico2021adp",),
        laws=LENGTH,
        bounds=(-1.0, math.inf),
        uses=(*_USES, "z_scan"),
        rows="distinct",
        summary="how many clusters there are, and how alike, at other Z",
    ),
    Analysis(
        name="adp_labels",
        kind="chain_labels",
        group="peaks",
        compute=_agreement,
        neighbors=lambda settings, n: depth(settings, n),
        quantities=("ari", "ami", "purity"),
        citations=("hubert1985ari", "vinh2010ami"),
        laws=LENGTH,
        bounds=(-1.0, 1.0),
        uses=_USES,
        rows="distinct",
        summary="agreement of clusters with each label column: ARI, AMI, purity",
    ),
    Analysis(
        name="adp_stability",
        kind="chain",
        group="peaks",
        compute=_stability,
        neighbors=lambda settings, n: depth(settings, n),
        quantities=("clusters", "ari_to_reference"),
        citations=("derrico2021adp",),
        laws={**LENGTH, "permute": "~"},
        bounds=(-1.0, math.inf),
        uses=(
            "density_rank",
            "density_dimension",
            "alpha",
            "kstar_depth",
            "z",
            "z_scan",
            "stability_draws",
            "seed",
        ),
        rows="distinct",
        default=False,
        summary="clusters of PAk under other Z, fixed k, and on subsamples of 80 % of the rows",
    ),
)
