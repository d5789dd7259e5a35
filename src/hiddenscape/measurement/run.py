"""Measure a run: one neighbour search per site serves everything that needs neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from hiddenscape.analyses import Analysis, Settings, choose
from hiddenscape.measurement.job import SCHEMA, Job, Selected, prepare
from hiddenscape.measurement.maps import write_maps
from hiddenscape.measurement.plan import digest, parameters, params_hash
from hiddenscape.measurement.reading import read_profile
from hiddenscape.measurement.rows import base_of, guarded, row_of, second_of, write_part
from hiddenscape.measurement.sites import common_rows, measure_site, write_silent
from hiddenscape.runs import Run, open_run, read_json, write_json
from hiddenscape.table import Row, Table

__all__ = ["measure"]

Progress = Callable[[int, int], None]


def measure(
    run: Run | str | Path,
    analyses: Iterable[str] | None = None,
    *,
    k: int | Sequence[int] = (10, 30),
    max_rank: int | None = None,
    imbalance_k: int = 1,
    dimension_k: int | Sequence[int] = (20,),
    subsets: Sequence[int] | None = None,
    kstar_depth: int = 100,
    alpha: float = 1e-6,
    density: str = "pak",
    density_k: int = 16,
    density_rank: int = 2,
    density_dimension: float | None = None,
    z: float = 1.65,
    z_scan: Sequence[float] | None = (1.0, 1.65, 2.5, 4.0),
    stability_draws: int = 20,
    seed: int = 0,
    sites: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Table:
    """Measure the geometry of every site of a run, and write the numbers beside the points.

    Each site is searched once, with the deepest k that any analysis needs; dimensions, overlaps,
    imbalances and label overlaps all read that graph. Finished parts are kept: measuring again
    computes only what is missing. If a site holds other points than when it was measured, all
    numbers are removed first. Numbers of other settings stay in the table; of several settings of
    one analysis, the profile and the report read those of the latest call.

    Parameters
    ----------
    run : Run or path
        A run directory with stored points.
    analyses : iterable of str, optional
        Names or groups from :mod:`hiddenscape.analyses`, or ``all``; by default those that are
        fast.
    k : int or sequence of int
        Neighbourhood sizes of the overlaps. Sizes >= n are left out with a warning.
    max_rank : int, optional
        Largest n2 of the GRIDE scan; min(n / 4, 256) by default.
    imbalance_k : int
        Neighbours averaged by the information imbalance.
    dimension_k : int or sequence of int
        Neighbourhood sizes of the local dimension estimators (``mle``, ``tle``, ...).
    subsets : sequence of int, optional
        Into how many disjoint parts the rows are dealt to measure every dimension on less of them
        too: ``(2, 4, 8)`` gives means over halves, quarters and eighths (``dimension_subset``) and
        the single values (``dimension_single``). Parts of fewer than 20 rows are left out.
    kstar_depth, alpha : int, float
        k* is sought among so many neighbours, by tests of level alpha.
    density, density_k : str, int
        What peaks are sought in: ``pak``, ``kstar``, ``bmti`` or ``knn``; neighbours of the last.
    density_rank, density_dimension : int, float
        The dimension that densities are made with: estimated at ranks (n2 / 2, n2) of every site
        (2 is TwoNN), or one number for all.
    z, z_scan : float, sequence of float
        Errors by which a peak must rise above its saddles; other values to count clusters at.
    stability_draws : int
        Subsamples on which ``adp_stability`` seeks the clusters again.
    seed : int
        Keys every random stream (decimation, bootstrap).
    sites, labels : sequence of str, optional
        Restrict the sites and the label columns; all by default.
    progress : callable, optional
        Called with (units done, units in all).

    Returns
    -------
    Table
        Every number of the run, old and new: columns as in :class:`hiddenscape.table.Row`.
        ``RUN/results/`` holds the same as CSV parts, ``RUN/points/`` the numbers of single rows
        (k*, log densities, clusters: :meth:`hiddenscape.Run.pointwise`), ``RUN/measure.json`` the
        settings, the rows left out and the warnings, ``RUN/map/pca.safetensors`` the maps,
        ``RUN/profile.json`` the reading of the profile.

    Raises
    ------
    ConfigError
        For an unknown analysis or label column, or settings that make no sense.
    StoreError, IncompleteStore
        If the points cannot be read.
    InputError
        If fewer than 3 rows are finite at every site.

    Notes
    -----
    Rows that are not finite at some site are left out at every site and named in
    ``measure.json``. A site where fewer than half of the rows are finite is set aside instead: it
    gives NaN with the reason. For dimensions, densities and peaks identical rows enter once, and
    the same rows enter at every site; a site that consists mostly of repeats keeps its own distinct
    rows and says so. The standard errors of neighbour-based dimensions are jackknifes over 16
    spatial blocks of rows (from 160 rows on): neighbouring rows share distances and are not
    independent. A site on which an analysis is undefined gives NaN with a note, and the others are
    measured; a dimension below 1 makes no density.

    Examples
    --------
    >>> import tempfile, numpy as np, hiddenscape as hs
    >>> folder, rng = tempfile.mkdtemp(), np.random.default_rng(0)
    >>> np.savez(folder + "/points.npz", flat=rng.normal(size=(500, 2)) @ np.eye(2, 9))
    >>> _ = hs.import_points(folder + "/points.npz", folder + "/run")
    >>> table = hs.measure(folder + "/run", ["two_nn"])
    >>> bool(1.7 < table.select(quantity="dimension").values()[0] < 2.3)
    True
    """
    run = run if isinstance(run, Run) else open_run(run)
    settings = Settings(
        k=cast("tuple[int, ...]", k),
        max_rank=max_rank,
        imbalance_k=imbalance_k,
        dimension_k=cast("tuple[int, ...]", dimension_k),
        subsets=tuple(subsets or ()),
        kstar_depth=kstar_depth,
        alpha=alpha,
        density=density,
        density_k=density_k,
        density_rank=density_rank,
        density_dimension=density_dimension,
        z=z,
        z_scan=tuple(z_scan or ()),
        stability_draws=stability_draws,
        seed=seed,
    )
    job = prepare(run, choose(analyses), settings, sites, labels)
    for done, _ in enumerate(_work(job), start=1):
        if progress is not None:
            progress(done, job.n_units)
    _write_summary(job)
    write_maps(run.path / "map" / "pca.safetensors", job.rs, job.point_sites, job.rows)
    table = run.table
    read_profile(run, table)
    return table


def _work(job: Job) -> Iterator[None]:
    across = [a for a in job.across if not job.across_done(a)]
    pending = {
        s.key: [
            a
            for a in job.per_site
            if not all(part.done(job.results) for part in job.site_units(a, s).values())
        ]
        for s in job.sites
    }
    if any(a.rows == "distinct" for todo in pending.values() for a in todo):
        job.common, job.mostly_repeats = common_rows(job)
    for site in job.sites:
        if pending[site.key] or across:
            measure_site(job, site, pending[site.key], across)
        yield
    for site in job.silent_sites:
        write_silent(job, site)
        yield
    for analysis in job.across:
        if analysis in across:
            _measure_across(job, analysis)
        yield


def _measure_across(job: Job, analysis: Analysis) -> None:
    rows: list[Row] = []
    dropped = len(job.dropped)
    if analysis.kind == "pair":
        for i, a in enumerate(job.sites):
            for b in job.sites[i:]:
                graphs = job.small[a.key], job.small[b.key]
                for m in guarded(analysis, partial(analysis.compute, *graphs, job.settings)):
                    rows.append(row_of(base_of(job, a, analysis) | second_of(b), m, dropped, ""))
    else:
        lazy = [Selected(job, site) for site in job.sites]
        graphs_all = [job.small[s.key] for s in job.sites]
        for i, j, m in analysis.compute(lazy, graphs_all, job.settings):
            base = base_of(job, job.sites[i], analysis) | second_of(job.sites[j])
            rows.append(row_of(base, m, dropped, ""))
    write_part(job, job.across_unit(analysis), rows)


def _write_summary(job: Job) -> None:
    path = job.run.path / "measure.json"
    before = read_json(path)
    content = digest(sorted(job.contents.items()))
    # What an earlier call found out about the same points still holds where parts were kept.
    earlier = before.get("warnings", []) if before.get("content") == content else []
    known = dict(before.get("parameters", {}))
    known |= {params_hash(a, job.settings): parameters(a, job.settings) for a in job.analyses}
    latest = before.get("latest", {}) | {a.name: params_hash(a, job.settings) for a in job.analyses}
    write_json(
        path,
        {
            "schema": SCHEMA,
            "store": before.get("store", {}),
            "latest": latest,
            "content": content,
            "rows_used": len(job.rows),
            "rows_dropped": [str(job.rs.ids[i]) for i in job.dropped],
            "sites": [s.key for s in job.sites],
            "labels": list(job.labels),
            "parameters": known,
            "warnings": list(dict.fromkeys([*earlier, *job.warnings])),
        },
    )
