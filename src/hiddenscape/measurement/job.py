"""What one call of ``measure`` works on: the rows, the sites, and which parts are there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hiddenscape.analyses import Analysis, Settings
from hiddenscape.measurement.plan import (
    Unit,
    content_of,
    digest,
    finite_rows,
    label_columns,
    select_sites,
    unit,
)
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import listed
from hiddenscape.runs import Run, read_json, write_json
from hiddenscape.store.reader import RepresentationSet
from hiddenscape.types import Site

__all__ = ["SCHEMA", "Job", "Selected", "prepare"]

SCHEMA = "hiddenscape-measure/1"


@dataclass(slots=True)
class Job:
    """The state of one call: what to measure, on which rows, and what is known so far.

    ``contents`` has a hash over the measured rows of every stored site; ``common`` the rows that
    enter dimensions at every site, once they are needed; ``small`` the graphs that pairs read.
    ``silent`` names sites that hold too few finite rows, with the reason; ``silent_sites`` are
    those of them that were asked for.
    """

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
    silent: dict[str, str] = field(default_factory=dict)
    silent_sites: tuple[Site, ...] = ()
    small: dict[str, NeighborGraph] = field(default_factory=dict)
    common: np.ndarray | None = None
    mostly_repeats: set[str] = field(default_factory=set)

    @property
    def results(self) -> Path:
        return self.run.path / "results"

    @property
    def point_sites(self) -> tuple[Site, ...]:
        """All stored sites with one point per row that can be measured."""
        return tuple(s for s in self.rs.point_sites if s.key not in self.silent)

    def shown(self, site: Site) -> str:
        """The site's name, with its pooling where there are several."""
        several = len({s.pooling for s in self.rs.sites}) > 1
        return site.key if several else site.name

    @property
    def per_site(self) -> list[Analysis]:
        return [a for a in self.analyses if a.kind not in ("pair", "matrix")]

    @property
    def across(self) -> list[Analysis]:
        return [a for a in self.analyses if a.kind in ("pair", "matrix")]

    @property
    def n_units(self) -> int:
        return len(self.sites) + len(self.silent_sites) + len(self.across)

    def site_units(self, analysis: Analysis, site: Site) -> dict[str, Unit]:
        """The parts of an analysis at a site: one per label column, or a single one named ''."""
        # Rows left out because they repeat elsewhere change the numbers of this site.
        policy = "all" if analysis.rows == "all" else digest(sorted(self.contents.items()))
        content = [self.contents[site.key], policy]
        if analysis.kind not in ("labels", "chain_labels"):
            return {"": unit(analysis, self.settings, [site.key], content)}
        return {
            name: unit(
                analysis, self.settings, [site.key, name], [*content, digest(column.tolist())]
            )
            for name, column in self.labels.items()
        }

    def across_unit(self, analysis: Analysis) -> Unit:
        return self._over(analysis, self.sites)

    def across_done(self, analysis: Analysis) -> bool:
        # What was measured over all sites holds every pair of some of them, and must not make way.
        over = (self.sites, self.point_sites)
        return any(self._over(analysis, sites).done(self.results) for sites in over)

    def _over(self, analysis: Analysis, sites: Sequence[Site]) -> Unit:
        content = [content_of(self.rs, site, self.rows) for site in sites]
        return unit(analysis, self.settings, [], content)

    def load(self, site: Site) -> np.ndarray:
        # Otherwise the pages of every site read so far would stay in memory.
        self.rs.release()
        array = self.rs.points(site.key)
        whole = len(self.rows) == len(array)
        points: np.ndarray = array[:] if whole else array[self.rows]
        return points.reshape(len(points), -1)


def prepare(
    run: Run,
    analyses: tuple[Analysis, ...],
    settings: Settings,
    sites: Sequence[str] | None,
    labels: Sequence[str] | None,
) -> Job:
    rs = run.representations
    rows, dropped, silent = finite_rows(rs)
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
        f"{name} = {k} was left out: the run has {len(rows)} rows"
        for name in ("k", "dimension_k")
        if any(a for a in analyses if name in a.uses)
        for k in getattr(settings, name)
        if k not in settings.usable(name, len(rows))
    ]
    warnings += rs.not_offered()
    if rs.ragged_sites:
        warnings.append(
            f"{listed([s.key for s in rs.ragged_sites], 4)} hold every token and were not "
            "measured: only pooled sites have one point per row"
        )
    warnings += [f"site {key} was set aside: {why}" for key, why in silent.items()]
    _forget_other_points(run, rs)
    contents = {s.key: content_of(rs, s, rows) for s in rs.point_sites}
    sites_of = [tuple(s for s in chosen if (s.key in silent) is is_) for is_ in (False, True)]
    return Job(
        run=run,
        rs=rs,
        settings=settings,
        analyses=analyses,
        sites=sites_of[0],
        rows=rows,
        dropped=dropped,
        labels=columns,
        warnings=warnings,
        contents=contents,
        silent=silent,
        silent_sites=sites_of[1],
    )


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
        for part in (*(run.path / "results").glob("*.csv"), *(run.path / "points").glob("*")):
            part.unlink(missing_ok=True)
        before = {}
    if known != now:
        # Before the first part is written: a measurement that is cut off must not hide them.
        write_json(path, before | {"schema": SCHEMA, "store": now})


class Selected:
    """The kept rows of a site, read from disk only while they are used."""

    def __init__(self, job: Job, site: Site) -> None:
        self._job, self._site = job, site
        points = job.rs.points(site.key)
        self.shape = (len(job.rows), int(np.prod(points.shape[1:])))
        self.dtype = points.dtype
        self.ndim = 2

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        points = self._job.load(self._site)
        return points if dtype is None else points.astype(dtype, copy=False)

    def __getitem__(self, key: Any) -> np.ndarray:
        out: np.ndarray = self._job.rs.points(self._site.key)[self._job.rows[key]]
        return out.reshape(*out.shape[: np.ndim(self._job.rows[key])], -1)
