"""From the numbers of an analysis to rows of the table and one part on disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from hiddenscape.analyses import Analysis, Measured, PerRow
from hiddenscape.errors import InputError
from hiddenscape.measurement.job import Job
from hiddenscape.measurement.plan import Unit, params_hash
from hiddenscape.pointwise import Pointwise, write_pointwise
from hiddenscape.results import Estimate, join_notes
from hiddenscape.table import Row, Table
from hiddenscape.types import Site

__all__ = ["base_of", "guarded", "row_of", "second_of", "write_part", "write_rows"]


def guarded(analysis: Analysis, compute: Callable[[], Iterable[Any]]) -> list[Any]:
    """A pathological site gives NaN and a note: it must not end a run of a hundred sites."""
    try:
        return list(compute())
    except InputError as error:
        remark = str(error).replace(";", ",").replace("(", "[").replace(")", "]")
        nan = Estimate(value=math.nan, n_used=0, note=f"undefined ({remark})")
        return [Measured(quantity=analysis.quantities[0], estimate=nan)]


def base_of(job: Job, site: Site, analysis: Analysis) -> dict[str, Any]:
    identity = job.rs.manifest.identity
    model, dataset = identity.get("model", {}), identity.get("dataset", {})
    name = job.rs.manifest.recorded.get("dataset")
    return {
        "run": job.run.name,
        "model": str(model.get("id") or ""),
        "revision": str(model.get("commit") or ""),
        "dataset": str(name or dataset.get("id") or dataset.get("fingerprint") or ""),
        "site": site.name,
        "pooling": site.pooling,
        "depth": float(site.depth),
        "analysis": analysis.name,
        "params_hash": params_hash(analysis, job.settings),
    }


def second_of(site: Site) -> dict[str, Any]:
    return {"site_b": site.name, "pooling_b": site.pooling}


def row_of(base: dict[str, Any], m: Measured, dropped: int, note: str) -> Row:
    e = m.estimate
    return Row(
        **base,
        quantity=m.quantity,
        scale=m.scale,
        k=m.k,
        n1=m.n1,
        n2=m.n2,
        subset=m.subset,
        repeat=m.repeat,
        setting=m.setting,
        value=float(e.value),
        stderr=float(e.stderr),
        stderr_kind=e.stderr_kind,
        n_used=e.n_used,
        n_dropped=e.n_dropped + dropped,
        note=join_notes(e.note, note),
    )


def write_part(job: Job, target: Unit, rows: list[Row]) -> None:
    Table(rows).write_part(job.results, target.stem)
    for old in target.outdated(job.results):
        old.unlink(missing_ok=True)


def write_rows(
    job: Job, target: Unit, site: Site, found: PerRow, rows: np.ndarray, note: str
) -> None:
    """Save what an analysis says of single rows; ``rows`` counts among the measured ones."""
    folder = job.run.path / "points"
    saved = Pointwise(
        analysis=target.analysis,
        site=site.key,
        rows=job.rows[rows],
        arrays=found.arrays,
        rowwise=found.rowwise,
        parameters=found.parameters,
        note=join_notes(found.note, note),
    )
    write_pointwise(folder / f"{target.stem}.safetensors", saved)
    for old in target.outdated(folder):
        old.unlink(missing_ok=True)
