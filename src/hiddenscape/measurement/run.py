"""Measure a run: one neighbour search per site serves everything that needs neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.analyses import Analysis, Measured, Settings, choose
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.errors import InputError
from hiddenscape.measurement.graphs import file_stem, load_graph, save_graph
from hiddenscape.measurement.maps import write_maps
from hiddenscape.measurement.plan import (
    Unit,
    content_of,
    digest,
    finite_rows,
    label_columns,
    parameters,
    params_hash,
    select_sites,
    unit,
)
from hiddenscape.measurement.reading import read_profile
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import Estimate, join_notes
from hiddenscape.runs import Run, open_run, read_json, write_json
from hiddenscape.store.reader import RepresentationSet
from hiddenscape.table import Row, Table
from hiddenscape.types import Site

__all__ = ["measure"]

Progress = Callable[[int, int], None]

# A site in which more than this share of the rows repeats another (the embedding of a last token
# that every prompt shares, say) keeps its own distinct rows: it must not empty the other sites.
_MOSTLY_REPEATS = 0.5
_SCHEMA = "hiddenscape-measure/1"
# 16 blocks of at least 10 rows.
_ROWS_FOR_BLOCKS = 160


def measure(
    run: Run | str | Path,
    analyses: Iterable[str] | None = None,
    *,
    k: int | Sequence[int] = (10, 30),
    max_rank: int | None = None,
    imbalance_k: int = 1,
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
        Names from :mod:`hiddenscape.analyses`; all by default.
    k : int or sequence of int
        Neighbourhood sizes of the overlaps. Sizes >= n are left out with a warning.
    max_rank : int, optional
        Largest n2 of the GRIDE scan; min(n / 4, 1024) by default.
    imbalance_k : int
        Neighbours averaged by the information imbalance.
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
        ``RUN/results/`` holds the same as CSV parts, ``RUN/measure.json`` the settings, the rows
        left out and the warnings, ``RUN/map/pca.safetensors`` the maps, ``RUN/profile.json`` the
        reading of the profile.

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
    ``measure.json``. For dimensions, identical rows enter once, and the same rows enter at every
    site; a site that consists mostly of repeats keeps its own distinct rows and says so. The
    standard errors of neighbour-based dimensions are jackknifes over 16 spatial blocks of rows
    (from 160 rows on): neighbouring rows share distances and are not independent. A site on which
    an analysis is undefined gives NaN with a note, and the others are measured.

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
        k=_sizes(k),
        max_rank=max_rank,
        imbalance_k=imbalance_k,
        seed=seed,
    )
    job = _prepare(run, choose(analyses), settings, sites, labels)
    for done, _ in enumerate(_work(job), start=1):
        if progress is not None:
            progress(done, job.n_units)
    _write_summary(job)
    write_maps(run.path / "map" / "pca.safetensors", job.rs, job.sites, job.rows)
    table = run.table
    read_profile(run, table)
    return table


def _sizes(k: object) -> tuple[Any, ...]:
    return tuple(k) if isinstance(k, Sequence | np.ndarray) and not isinstance(k, str) else (k,)


@dataclass(slots=True)
class _Job:
    run: Run
    rs: RepresentationSet
    settings: Settings
    analyses: tuple[Analysis, ...]
    sites: tuple[Site, ...]
    rows: np.ndarray
    dropped: np.ndarray
    labels: dict[str, np.ndarray]
    warnings: list[str]
    contents: dict[str, str]
    small: dict[str, NeighborGraph] = field(default_factory=dict)
    common: np.ndarray | None = None
    mostly_repeats: set[str] = field(default_factory=set)

    @property
    def results(self) -> Path:
        return self.run.path / "results"

    @property
    def per_site(self) -> list[Analysis]:
        return [a for a in self.analyses if a.kind in ("graph", "points", "labels")]

    @property
    def across(self) -> list[Analysis]:
        return [a for a in self.analyses if a.kind in ("pair", "matrix")]

    @property
    def n_units(self) -> int:
        return len(self.sites) + len(self.across)

    def site_unit(self, analysis: Analysis, site: Site) -> Unit:
        content = [self.contents[site.key], self.row_policy(analysis, site)]
        if analysis.kind == "labels":
            content += [digest(name, col.tolist()) for name, col in self.labels.items()]
        return unit(analysis, self.settings, [site.key], content)

    def row_policy(self, analysis: Analysis, site: Site) -> str:
        # Rows left out because they repeat elsewhere change the numbers of this site.
        return "all" if analysis.rows == "all" else digest(sorted(self.contents.items()))

    def across_unit(self, analysis: Analysis) -> Unit:
        return self._over(analysis, self.sites)

    def across_done(self, analysis: Analysis) -> bool:
        # What was measured over all sites holds every pair of some of them, and must not make way.
        over = (self.sites, tuple(self.rs.sites))
        return any(self._over(analysis, sites).done(self.results) for sites in over)

    def _over(self, analysis: Analysis, sites: Sequence[Site]) -> Unit:
        content = [content_of(self.rs, site, self.rows) for site in sites]
        return unit(analysis, self.settings, [], content)

    def load(self, site: Site) -> np.ndarray:
        # Otherwise the pages of every site read so far would stay in memory.
        self.rs.release()
        array = self.rs[site.key]
        whole = len(self.rows) == len(array)
        points: np.ndarray = array[:] if whole else array[self.rows]
        return points.reshape(len(points), -1)


def _prepare(
    run: Run,
    analyses: tuple[Analysis, ...],
    settings: Settings,
    sites: Sequence[str] | None,
    labels: Sequence[str] | None,
) -> _Job:
    rs = run.representations
    rows, dropped = finite_rows(rs)
    columns, warnings = label_columns(rs, labels, rows)
    chosen = select_sites(rs, sites)
    if dropped.size:
        shown = ", ".join(str(rs.ids[i]) for i in dropped[:5]) + (
            ", ..." if dropped.size > 5 else ""
        )
        warnings.append(
            f"{dropped.size} rows are not finite at some site and were left out at every site: "
            f"{shown}"
        )
    warnings += [
        f"k = {k} was left out: the run has {len(rows)} rows" for k in settings.k if k >= len(rows)
    ]
    _forget_other_points(run, rs)
    contents = {s.key: content_of(rs, s, rows) for s in chosen}
    return _Job(run, rs, settings, analyses, chosen, rows, dropped, columns, warnings, contents)


def _forget_other_points(run: Run, rs: RepresentationSet) -> None:
    """Remove every number if a site that was measured holds other points by now.

    Parts of the same settings are replaced one by one; those of settings that nobody asks for again
    would stay in the table and speak of points that are gone.
    """
    path = run.path / "measure.json"
    before = read_json(path)
    now = {s.key: rs[s.key].content_hash for s in rs.sites}
    known = before.get("store", {})
    if any(now.get(key) != content for key, content in known.items()):
        for part in (run.path / "results").glob("*.csv"):
            part.unlink(missing_ok=True)
        before = {}
    if known != now:
        # Before the first part is written: a measurement that is cut off must not hide them.
        write_json(path, before | {"schema": _SCHEMA, "store": now})


def _work(job: _Job) -> Iterator[None]:
    across = [a for a in job.across if not job.across_done(a)]
    pending = {
        s.key: [a for a in job.per_site if not job.site_unit(a, s).done(job.results)]
        for s in job.sites
    }
    if any(a.rows == "distinct" for todo in pending.values() for a in todo):
        job.common, job.mostly_repeats = _common_rows(job)
    for site in job.sites:
        if pending[site.key] or across:
            _measure_site(job, site, pending[site.key], across)
        yield
    for analysis in job.across:
        if analysis in across:
            _measure_across(job, analysis)
        yield


def _common_rows(job: _Job) -> tuple[np.ndarray, set[str]]:
    """Rows that repeat no earlier row at any site, and the sites that are mostly repeats."""
    n = len(job.rows)
    keep = np.ones(n, dtype=bool)
    mostly: set[str] = set()
    for site in job.sites:
        found = find_duplicates(job.load(site))
        repeats = found.representative != np.arange(n)
        if repeats.mean() > _MOSTLY_REPEATS:
            mostly.add(site.key)
            job.warnings.append(
                f"{site.name}: {int(repeats.sum())} of {n} rows repeat another; its dimensions "
                "are measured on its own distinct rows, which are fewer than at the other sites"
            )
        else:
            keep &= ~repeats
    if not keep.all():
        job.warnings.append(
            f"{int((~keep).sum())} of {n} rows repeat another at some site and were left out of "
            "the dimensions at every site"
        )
    return np.flatnonzero(keep), mostly


def _measure_site(job: _Job, site: Site, todo: list[Analysis], across: list[Analysis]) -> None:
    points = job.load(site)
    n = len(points)
    over_all = [a for a in (*todo, *across) if a.kind != "points"]
    need = max((a.neighbors(job.settings, n) for a in over_all), default=0)
    graph = _graph(job, site, points, min(need, n - 1)) if need else None
    distinct = _distinct_view(job, site, points, graph, todo)
    for analysis in todo:
        rows = list(_site_rows(job, site, analysis, points, graph, distinct))
        _write(job, job.site_unit(analysis, site), analysis, rows)
    if across and graph is not None:
        widest = max(a.neighbors(job.settings, n) for a in across)
        job.small[site.key] = graph.take(min(widest, graph.k))


def _graph(job: _Job, site: Site, points: np.ndarray, k: int) -> NeighborGraph:
    path = job.run.path / "graph" / f"{file_stem(site.key)}.safetensors"
    content = job.contents[site.key]
    graph = load_graph(path, content, k)
    if graph is None:
        graph = find_neighbors(points, k=k)
        save_graph(path, graph, content)
    return graph


@dataclass(frozen=True, slots=True)
class _Distinct:
    """The points and the graph that dimensions read, and what was left out to get them."""

    points: np.ndarray
    graph: NeighborGraph | None
    blocks: np.ndarray | None
    n_dropped: int
    note: str


def _distinct_view(
    job: _Job,
    site: Site,
    points: np.ndarray,
    graph: NeighborGraph | None,
    todo: list[Analysis],
) -> _Distinct | None:
    readers = [a for a in todo if a.rows == "distinct"]
    if not readers:
        return None
    own = find_duplicates(points).distinct_rows
    wanted = own if site.key in job.mostly_repeats or job.common is None else job.common
    left_out = len(points) - len(wanted)
    if left_out == 0:
        return _Distinct(points, graph, _blocks(points), 0, "")
    note = f"duplicates ({left_out} of {len(points)} rows left out)"
    if len(wanted) < 3:
        return _Distinct(points[wanted], None, None, left_out, note)
    subset = points[wanted]
    needs = [a.neighbors(job.settings, len(subset)) for a in readers if a.kind == "graph"]
    small: NeighborGraph | None = None
    if needs:
        k = min(max(needs), len(subset) - 1)
        same = graph is not None and graph.distinct is not None and np.array_equal(own, wanted)
        if same and graph is not None and graph.distinct is not None and graph.distinct.k >= k:
            small = graph.distinct
        else:
            small = find_neighbors(subset, k=k)
    blocks = _blocks(subset)
    if blocks is not None and small is not None and small.n_rows == len(points):
        # This graph names its rows by their number among all of them.
        everywhere = np.zeros(len(points), dtype=blocks.dtype)
        everywhere[wanted] = blocks
        blocks = everywhere
    return _Distinct(subset, small, blocks, left_out, note)


def _blocks(points: np.ndarray) -> np.ndarray | None:
    """Spatial blocks for errors that feel shared neighbours; None where they would be too small."""
    return spatial_blocks(points) if len(points) >= _ROWS_FOR_BLOCKS else None


def _site_rows(
    job: _Job,
    site: Site,
    analysis: Analysis,
    points: np.ndarray,
    graph: NeighborGraph | None,
    distinct: _Distinct | None,
) -> Iterator[Row]:
    dropped, note = len(job.dropped), ""
    more: tuple[Any, ...] = ()
    if analysis.rows == "distinct" and distinct is not None:
        if analysis.kind == "graph":
            more = (distinct.blocks,)
        points, graph = distinct.points, distinct.graph
        dropped, note = dropped + distinct.n_dropped, distinct.note
    base = _base(job, site, analysis)
    if analysis.kind == "labels":
        for name, column in job.labels.items():
            for m in _guard(analysis, partial(analysis.compute, graph, column, job.settings)):
                yield _row({**base, "label": name}, m, dropped, note)
        return
    argument = points if analysis.kind == "points" else graph
    if argument is None or len(points) < 3:
        nan = Estimate(value=math.nan, n_used=len(points), note="collapsed (fewer than 3 "
                       "distinct rows)")  # fmt: skip
        yield _row(base, Measured(quantity=analysis.quantities[0], estimate=nan), dropped, note)
        return
    if analysis.kind == "points":
        more = (graph,)
    for m in _guard(analysis, partial(analysis.compute, argument, job.settings, *more)):
        yield _row(base, m, dropped, note)


def _guard(analysis: Analysis, compute: Callable[[], Iterable[Any]]) -> list[Any]:
    """A pathological site gives NaN and a note: it must not end a run of a hundred sites."""
    try:
        return list(compute())
    except InputError as error:
        remark = str(error).replace(";", ",").replace("(", "[").replace(")", "]")
        nan = Estimate(value=math.nan, n_used=0, note=f"undefined ({remark})")
        return [Measured(quantity=analysis.quantities[0], estimate=nan)]


def _measure_across(job: _Job, analysis: Analysis) -> None:
    rows: list[Row] = []
    dropped = len(job.dropped)
    if analysis.kind == "pair":
        for i, a in enumerate(job.sites):
            for b in job.sites[i:]:
                graphs = job.small[a.key], job.small[b.key]
                for m in _guard(analysis, partial(analysis.compute, *graphs, job.settings)):
                    rows.append(_row(_base(job, a, analysis) | _second(b), m, dropped, ""))
    else:
        lazy = [_Selected(job, site) for site in job.sites]
        graphs_all = [job.small[s.key] for s in job.sites]
        for i, j, m in analysis.compute(lazy, graphs_all, job.settings):
            base = _base(job, job.sites[i], analysis) | _second(job.sites[j])
            rows.append(_row(base, m, dropped, ""))
    _write(job, job.across_unit(analysis), analysis, rows)


class _Selected:
    """The kept rows of a site, read from disk only while they are used."""

    def __init__(self, job: _Job, site: Site) -> None:
        self._job, self._site = job, site
        width = int(np.prod(job.rs[site.key].shape[1:]))
        self.shape = (len(job.rows), width)
        self.dtype = job.rs[site.key].dtype
        self.ndim = 2

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        points = self._job.load(self._site)
        return points if dtype is None else points.astype(dtype, copy=False)

    def __getitem__(self, key: Any) -> np.ndarray:
        out: np.ndarray = self._job.rs[self._site.key][self._job.rows[key]]
        return out.reshape(*out.shape[: np.ndim(self._job.rows[key])], -1)


def _base(job: _Job, site: Site, analysis: Analysis) -> dict[str, Any]:
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


def _second(site: Site) -> dict[str, Any]:
    return {"site_b": site.name, "pooling_b": site.pooling}


def _row(base: dict[str, Any], m: Measured, dropped: int, note: str) -> Row:
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
        value=float(e.value),
        stderr=float(e.stderr),
        stderr_kind=e.stderr_kind,
        n_used=e.n_used,
        n_dropped=e.n_dropped + dropped,
        note=join_notes(e.note, note),
    )


def _write(job: _Job, target: Unit, analysis: Analysis, rows: list[Row]) -> None:
    Table(rows).write_part(job.results, target.stem)
    for old in target.outdated(job.results):
        old.unlink(missing_ok=True)


def _write_summary(job: _Job) -> None:
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
            "schema": _SCHEMA,
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
