"""Density: k* and log densities of every row, with a few numbers per site."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from hiddenscape.analyses.chain import Chain, depth
from hiddenscape.analyses.entry import LENGTH, Analysis, Measured, PerRow, Settings
from hiddenscape.results import Estimate, join_notes

__all__ = ["DENSITIES"]


def _k_star(chain: Chain, settings: Settings) -> Iterator[Measured | PerRow]:
    found = chain.k_star
    note = join_notes(found.note, chain.why_not)
    d, n2 = chain.dimension, settings.density_rank
    given = settings.density_dimension is not None
    yield Measured(
        quantity="dimension_used",
        estimate=d,
        scale=d.scale,
        n1=None if given else n2 // 2,
        n2=None if given else n2,
    )
    defined = math.isfinite(found.share_capped)
    for quantity, value in (
        ("median", float(np.median(found.k)) if defined else math.nan),
        ("mean", float(np.mean(found.k)) if defined else math.nan),
        ("share_capped", found.share_capped),
    ):
        estimate = Estimate(
            value=value, n_used=found.n_used, n_dropped=found.n_dropped, note=note,
            parameters=found.parameters,
        )  # fmt: skip
        yield Measured(quantity=quantity, estimate=estimate, k=chain.k_star_depth)
    yield PerRow(
        arrays={"k": found.k, "capped": found.capped},
        rowwise=("k", "capped"),
        parameters=chain.parameters,
        note=note,
    )


def _density(name: str, chain: Chain, settings: Settings) -> Iterator[Measured | PerRow]:
    found = getattr(chain, name)
    note = join_notes(found.note, chain.why_not)
    defined = bool(np.isfinite(found.values).all())
    for quantity, value in (
        ("mean", float(np.mean(found.values)) if defined else math.nan),
        ("sd", float(np.std(found.values)) if defined else math.nan),
        ("median_stderr", float(np.median(found.stderr)) if defined else math.nan),
    ):
        estimate = Estimate(
            value=value, n_used=found.n_used, n_dropped=found.n_dropped, note=note,
            parameters=found.parameters,
        )  # fmt: skip
        k = settings.density_k if name == "knn" else None
        yield Measured(quantity=quantity, estimate=estimate, k=k)
    yield PerRow(
        arrays={"values": found.values, "stderr": found.stderr, "k": found.k},
        rowwise=("values", "stderr", "k"),
        parameters=chain.parameters | {"density": found.method, "stderr_kind": found.stderr_kind},
        note=note,
    )


_BASE = ("density_rank", "density_dimension")
_KSTAR = (*_BASE, "alpha", "kstar_depth")

DENSITIES = (
    Analysis(
        name="k_star",
        kind="chain",
        group="density",
        compute=_k_star,
        neighbors=lambda settings, n: depth(settings, n),
        quantities=("dimension_used", "median", "mean", "share_capped"),
        citations=("rodriguez2018pak",),
        laws=LENGTH,
        bounds=(0.0, math.inf),
        uses=_KSTAR,
        rows="distinct",
        per_row=True,
        summary="k*: neighbours of each row that share its density, and the share at the cap",
    ),
    *(
        Analysis(
            name=name,
            kind="chain",
            group="density",
            compute=partial(_density, chained),
            neighbors=lambda settings, n: depth(settings, n),
            quantities=("mean", "sd", "median_stderr"),
            citations=citations,
            # Log densities move by -d log c with the unit of length; k* does not.
            laws=laws,
            uses=uses,
            rows="distinct",
            default=default,
            per_row=True,
            summary=f"log density of every row, {words}",
        )
        for name, chained, words, citations, uses, laws, default in (
            (
                "pak_density", "pak", "with k* neighbours and a tilt (PAk)",
                ("rodriguez2018pak",), _KSTAR, {**LENGTH, "scale": "x", "double": "x"}, True,
            ),
            (
                "knn_density", "knn", "with k neighbours",
                ("loftsgaarden1965",), (*_BASE, "density_k"),
                {**LENGTH, "scale": "x", "double": "x"}, False,
            ),
            (
                "kstar_density", "kstar", "with k* neighbours",
                ("dadapy2022",), _KSTAR, {**LENGTH, "scale": "x", "double": "x"}, False,
            ),
            (
                "bmti_density", "bmti", "from differences between neighbours (BMTI)",
                ("carli2024bmti",), (*_KSTAR, "seed"), {**LENGTH, "scale": "x", "double": "x"},
                False,
            ),
            (
                "k_peaks", "k_peaks", "replaced by k* itself", ("dadapy2022",), _KSTAR, LENGTH,
                False,
            ),
        )
    ),
)  # fmt: skip
