"""One site: its graph, the rows that enter its dimensions, and what needs no other site."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hiddenscape.analyses import Analysis, Measured
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.measurement.graphs import file_stem, load_graph, save_graph
from hiddenscape.measurement.job import Job, listed
from hiddenscape.measurement.rows import base_of, guarded, row_of, write_part
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import Estimate
from hiddenscape.table import Row
from hiddenscape.types import Site

__all__ = ["common_rows", "measure_site", "write_silent"]

# A site in which more than this share of the rows repeats another (the embedding of a last token
# that every prompt shares, say) keeps its own distinct rows: it must not empty the other sites.
_MOSTLY_REPEATS = 0.5
# 16 blocks of at least 10 rows.
_ROWS_FOR_BLOCKS = 160


def common_rows(job: Job) -> tuple[np.ndarray, set[str]]:
    """Rows that repeat no earlier row at any site, and the sites that are mostly repeats."""
    n = len(job.rows)
    keep = np.ones(n, dtype=bool)
    mostly: set[str] = set()
    crowded: dict[int, list[str]] = {}
    # All stored sites count, chosen or not: what is measured later must enter the same rows.
    for site in job.point_sites:
        found = find_duplicates(job.load(site))
        repeats = found.representative != np.arange(n)
        if repeats.mean() > _MOSTLY_REPEATS:
            mostly.add(site.key)
            crowded.setdefault(int(repeats.sum()), []).append(job.shown(site))
        else:
            keep &= ~repeats
    for count, names in crowded.items():
        job.warnings.append(
            f"{listed(names)}: {count} of {n} rows repeat another; dimensions there are measured "
            "on the distinct rows, which are fewer than at the other sites"
        )
    if not keep.all():
        job.warnings.append(
            f"{int((~keep).sum())} of {n} rows repeat another at some site and were left out of "
            "the dimensions at every site"
        )
    return np.flatnonzero(keep), mostly


def write_silent(job: Job, site: Site) -> None:
    """NaN with the reason, for a site that holds too few finite rows to be measured."""
    nan = Estimate(value=math.nan, n_used=0, note=f"undefined ({job.silent[site.key]})")
    for analysis in job.per_site:
        measured = Measured(quantity=analysis.quantities[0], estimate=nan)
        for label, part in job.site_units(analysis, site).items():
            base = base_of(job, site, analysis) | ({"label": label} if label else {})
            write_part(job, part, [row_of(base, measured, 0, "")])


def measure_site(job: Job, site: Site, todo: list[Analysis], across: list[Analysis]) -> None:
    points = job.load(site)
    n = len(points)
    over_all = [a for a in (*todo, *across) if a.kind != "points"]
    need = max((a.neighbors(job.settings, n) for a in over_all), default=0)
    graph = graph_of(job, site, points, min(need, n - 1)) if need else None
    distinct = distinct_view(job, site, points, graph, todo)
    for analysis in todo:
        rows = list(_site_rows(job, site, analysis, points, graph, distinct))
        for label, part in job.site_units(analysis, site).items():
            write_part(job, part, [r for r in rows if r.label == label])
    if across and graph is not None:
        widest = max(a.neighbors(job.settings, n) for a in across)
        job.small[site.key] = graph.take(min(widest, graph.k))


def graph_of(job: Job, site: Site, points: np.ndarray, k: int) -> NeighborGraph:
    path = job.run.path / "graph" / f"{file_stem(site.key)}.safetensors"
    content = job.contents[site.key]
    graph = load_graph(path, content, k)
    if graph is None:
        # A search that was killed goes on; a short one ends before a state would be written.
        graph = find_neighbors(points, k=k, checkpoint=path.with_suffix(".search"))
        save_graph(path, graph, content)
    return graph


@dataclass(frozen=True, slots=True)
class Distinct:
    """The points and the graph that dimensions read, and what was left out to get them."""

    points: np.ndarray
    graph: NeighborGraph | None
    blocks: np.ndarray | None
    n_dropped: int
    note: str


def distinct_view(
    job: Job,
    site: Site,
    points: np.ndarray,
    graph: NeighborGraph | None,
    todo: list[Analysis],
) -> Distinct | None:
    readers = [a for a in todo if a.rows == "distinct"]
    if not readers:
        return None
    own = find_duplicates(points).distinct_rows
    wanted = own if site.key in job.mostly_repeats or job.common is None else job.common
    left_out = len(points) - len(wanted)
    if left_out == 0:
        return Distinct(points, graph, _blocks(points), 0, "")
    note = f"duplicates ({left_out} of {len(points)} rows left out)"
    if len(wanted) < 3:
        return Distinct(points[wanted], None, None, left_out, note)
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
    return Distinct(subset, small, blocks, left_out, note)


def _blocks(points: np.ndarray) -> np.ndarray | None:
    """Spatial blocks for errors that feel shared neighbours; None where they would be too small."""
    return spatial_blocks(points) if len(points) >= _ROWS_FOR_BLOCKS else None


def _site_rows(
    job: Job,
    site: Site,
    analysis: Analysis,
    points: np.ndarray,
    graph: NeighborGraph | None,
    distinct: Distinct | None,
) -> Iterator[Row]:
    dropped, note = len(job.dropped), ""
    more: tuple[Any, ...] = ()
    if analysis.rows == "distinct" and distinct is not None:
        if analysis.kind == "graph":
            more = (distinct.blocks,)
        points, graph = distinct.points, distinct.graph
        dropped, note = dropped + distinct.n_dropped, distinct.note
    base = base_of(job, site, analysis)
    if analysis.kind == "labels":
        for name, column in job.labels.items():
            for m in guarded(analysis, partial(analysis.compute, graph, column, job.settings)):
                yield row_of({**base, "label": name}, m, dropped, note)
        return
    argument = points if analysis.kind == "points" else graph
    if argument is None or len(points) < 3:
        nan = Estimate(value=math.nan, n_used=len(points), note="collapsed (fewer than 3 "
                       "distinct rows)")  # fmt: skip
        yield row_of(base, Measured(quantity=analysis.quantities[0], estimate=nan), dropped, note)
        return
    if analysis.kind == "points":
        more = (graph,)
    for m in guarded(analysis, partial(analysis.compute, argument, job.settings, *more)):
        yield row_of(base, m, dropped, note)
