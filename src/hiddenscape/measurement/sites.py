"""One site: its graph, the rows that enter its dimensions, and what needs no other site."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from hiddenscape.analyses import Analysis, Chain, Measured, PerRow
from hiddenscape.analyses.scan import Subsets, over_subsets
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.files import file_stem
from hiddenscape.measurement.graphs import load_graph, save_graph
from hiddenscape.measurement.job import Job
from hiddenscape.measurement.rows import base_of, guarded, row_of, write_part, write_rows
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import Estimate, listed
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
            f"{listed(names, 4)}: {count} of {n} rows repeat another; dimensions there are "
            "measured on the distinct rows, which are fewer than at the other sites"
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
    need = max((a.neighbors(job.settings, n) for a in (*todo, *across)), default=0)
    graph = graph_of(job, site, points, min(need, n - 1)) if need else None
    view = View(job, points, graph, distinct_view(job, site, points, graph, todo), todo)
    for analysis in todo:
        found = list(_site_rows(view, site, analysis))
        for label, part in job.site_units(analysis, site).items():
            for m in found:
                if isinstance(m, PerRow) and view.distinct is not None:
                    write_rows(job, part, site, m, view.distinct.rows, view.distinct.note)
            write_part(job, part, [m for m in found if isinstance(m, Row) and m.label == label])
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


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """The points and the graph that dimensions read, and what was left out to get them.

    ``rows`` are theirs among all rows of the site; the graph counts within them.
    """

    points: np.ndarray
    graph: NeighborGraph | None
    blocks: np.ndarray | None
    rows: np.ndarray
    n_dropped: int
    note: str


class View:
    """A site while it is measured: what its analyses share is made once, when first asked for."""

    def __init__(
        self,
        job: Job,
        points: np.ndarray,
        graph: NeighborGraph | None,
        distinct: Distinct | None,
        todo: list[Analysis],
    ) -> None:
        self.job, self.points, self.graph, self.distinct = job, points, graph, distinct
        self._cut = [a for a in todo if a.cut(job.settings)]

    @cached_property
    def chain(self) -> Chain | None:
        """Dimension, density and peaks of the distinct rows."""
        found = self.distinct
        if found is None or found.graph is None:
            return None
        return Chain(found.points, found.graph, self.job.settings)

    @cached_property
    def subsets(self) -> Subsets | None:
        if self.distinct is None:
            return None
        settings = self.job.settings
        return Subsets(
            self.distinct.points,
            settings,
            lambda n: max((a.neighbors(settings, n) for a in self._cut), default=0),
        )


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
        return Distinct(points, graph, _blocks(points), wanted, 0, "")
    note = f"duplicates ({left_out} of {len(points)} rows left out)"
    subset = points[wanted]
    if len(wanted) < 3:
        return Distinct(subset, None, None, wanted, left_out, note)
    need = max(a.neighbors(job.settings, len(subset)) for a in readers)
    small: NeighborGraph | None = None
    if need:
        k = min(need, len(subset) - 1)
        same = graph is not None and graph.distinct is not None and np.array_equal(own, wanted)
        if same and graph is not None and graph.distinct is not None and graph.distinct.k >= k:
            # It names its rows by their number among all of them; the points here are the subset.
            small = replace(graph.distinct, rows=None, n_rows=-1)
        else:
            small = find_neighbors(subset, k=k)
    return Distinct(subset, small, _blocks(subset), wanted, left_out, note)


def _blocks(points: np.ndarray) -> np.ndarray | None:
    """Spatial blocks for errors that feel shared neighbours; None where they would be too small."""
    return spatial_blocks(points) if len(points) >= _ROWS_FOR_BLOCKS else None


def _site_rows(view: View, site: Site, analysis: Analysis) -> Iterator[Row | PerRow]:
    job, points, graph = view.job, view.points, view.graph
    dropped, note = len(job.dropped), ""
    blocks: np.ndarray | None = None
    distinct = view.distinct if analysis.rows == "distinct" else None
    if distinct is not None:
        points, graph, blocks = distinct.points, distinct.graph, distinct.blocks
        dropped, note = dropped + distinct.n_dropped, distinct.note
    chain = view.chain if analysis.kind.startswith("chain") else None
    calls: dict[str, tuple[Any, ...]]
    if analysis.kind in ("labels", "chain_labels"):
        rows = slice(None) if distinct is None else distinct.rows
        first = graph if chain is None else chain
        calls = {name: (first, column[rows], job.settings) for name, column in job.labels.items()}
    elif analysis.kind == "points":
        calls = {"": (points, job.settings, graph, blocks)}
    else:
        calls = {"": (chain, job.settings) if chain else (graph, job.settings, blocks)}
    base = base_of(job, site, analysis)
    for label, given in calls.items():
        mark = {**base, "label": label} if label else base
        if given[0] is None or len(points) < 3:
            nan = Estimate(value=math.nan, n_used=len(points), note="collapsed (fewer than 3 "
                           "distinct rows)")  # fmt: skip
            measured = Measured(quantity=analysis.quantities[0], estimate=nan)
            yield row_of(mark, measured, dropped, note)
            continue
        found = guarded(analysis, partial(analysis.compute, *given))
        if analysis.cut(job.settings) and view.subsets is not None:
            found += over_subsets(analysis, view.subsets, job.settings)
        for m in found:
            yield m if isinstance(m, PerRow) else row_of(mark, m, dropped, note)
