"""Everything a report reads from a run directory, read once. Tables only: no points, no network."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from hiddenscape.errors import StoreError
from hiddenscape.plots.id_profile import dimension_analyses
from hiddenscape.plots.sites import SiteAxis, latest, poolings, site_axis
from hiddenscape.runs import Run, open_run
from hiddenscape.table import Row, Table

__all__ = ["LABELS", "LANDSCAPE", "Source", "read_maps", "read_rows", "read_source"]

LABELS = ("label_overlap", "label_overlap_macro")
LANDSCAPE = (
    "k_star",
    "pak_density",
    "kstar_density",
    "knn_density",
    "adp",
    "adp_z_scan",
    "adp_labels",
)

_BASE = "base, without the adapter"

# A label column written by hand may hold a page; the csv module stops at 131,072 characters.
_FIELD_LIMIT = 1 << 27


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Source:
    """A run as its report sees it.

    Attributes
    ----------
    run : Run
    table : Table
        One row per number, of every pooling.
    axis : SiteAxis
        The sites of the commonest pooling.
    disagreements : int
        Numbers that two settings measured differently (the last one is shown).
    rows : dict
        Columns of ``rows.csv``.
    maps, explained : dict
        Site key -> coordinates, and the share of variance of both axes.
    null : Table or None
        The untrained twin.
    parts, null_parts : dict
        The rows shown, by analysis.
    checkpoints : dict
        Name -> table of a run over training time.
    steps : dict
        Name -> training step, where its ``run.json`` says it.
    problems : tuple of str
        Side files that could not be read.
    """

    run: Run
    table: Table
    axis: SiteAxis
    info: Mapping[str, Any]
    measured: Mapping[str, Any]
    profile: Mapping[str, Any]
    disagreements: int = 0
    rows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    explained: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    null: Table | None = None
    parts: Mapping[str, Table] = field(default_factory=dict)
    null_parts: Mapping[str, Table] = field(default_factory=dict)
    checkpoints: Mapping[str, Table] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def of(self, *analyses: str) -> Table:
        """The rows of some analyses, of the pooling that the page shows."""
        return _joined(self.parts, analyses)

    def twin(self, *analyses: str) -> Table | None:
        """The same of the untrained twin, if there is one."""
        return None if self.null is None else _joined(self.null_parts, analyses)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of the analyses that measured a dimension."""
        return dimension_analyses(self.table)

    @property
    def trained(self) -> tuple[str, ...]:
        """What is followed over training."""
        return (*self.dimensions, *LABELS)

    @property
    def poolings(self) -> tuple[str, ...]:
        """Poolings of the table, the one shown first."""
        return poolings(self.table)


def read_source(run: str | Path | Run, null: str | Path | Run | None = None) -> Source:
    """Read a run directory; what is missing is left empty.

    Raises
    ------
    StoreError
        If it is not a run directory, or a file of results is damaged.
    """
    run = _run(run)
    twin = run.null if null is None else _run(null)
    table, disagreements = latest(run.table)
    measured = run.measured
    problems: list[str] = []
    maps, explained = _tolerant(problems, {}, {}, read_maps, run.path / "map" / "pca.safetensors")
    rows = _tolerant(problems, {}, None, read_rows, run.path / "rows.csv")[0]
    checkpoints = run.checkpoints
    if run.base is not None:
        checkpoints = {_BASE: run.base, **checkpoints}
    twin_table = Table() if twin is None else latest(twin.table)[0]
    axis = site_axis(table, order=measured.get("sites"))
    return Source(
        run=run,
        table=table,
        axis=axis,
        info=run.info,
        measured=measured,
        profile=run.profile,
        disagreements=disagreements,
        rows=rows,
        maps=maps,
        explained=explained,
        null=twin_table if len(twin_table) else None,
        parts=_by_analysis(table, axis.pooling),
        null_parts=_by_analysis(twin_table, axis.pooling),
        checkpoints={
            name: found
            for name, c in checkpoints.items()
            if len(found := latest(_followed(_by_analysis(c.table, axis.pooling)))[0])
        },
        steps={name: step for name, c in checkpoints.items() if (step := _step(c)) is not None},
        problems=tuple(problems),
    )


def _by_analysis(table: Table, pooling: str) -> dict[str, Table]:
    found: dict[str, list[Row]] = {}
    for r in table:
        if r.pooling == pooling and r.pooling_b in ("", pooling):
            found.setdefault(r.analysis, []).append(r)
    return {name: Table(rows) for name, rows in found.items()}


def _joined(parts: Mapping[str, Table], analyses: Iterable[str]) -> Table:
    return Table(r for name in analyses if name in parts for r in parts[name])


def _followed(parts: Mapping[str, Table]) -> Table:
    every = _joined(parts, parts)
    return _joined(parts, (*dimension_analyses(every), *LABELS))


def _run(run: str | Path | Run) -> Run:
    return run if isinstance(run, Run) else open_run(run)


def _tolerant(problems: list[str], *empty_then_call: Any) -> Any:
    """The maps and texts adorn a report: a damaged one is reported, the numbers are shown."""
    *empty, read, path = empty_then_call
    try:
        found = read(path)
    except StoreError as error:
        problems.append(str(error))
        return tuple(empty)
    return found if isinstance(found, tuple) else (found, None)


def _step(run: Run) -> float | None:
    info = run.info
    checkpoint = info.get("checkpoint")
    if isinstance(checkpoint, Mapping) and checkpoint.get("step", 0) is None:
        return math.nan  # no step is known: none may be guessed from the name
    for place in (info, info.get("checkpoint"), info.get("model"), info.get("training")):
        step = place.get("step") if isinstance(place, Mapping) else None
        if isinstance(step, int | float) and not isinstance(step, bool):
            return float(step)
    return None


def read_maps(
    path: Path,
) -> tuple[dict[str, np.ndarray], dict[str, Sequence[float | None]]]:
    """Coordinates of ``map/pca.safetensors`` and the explained shares of its metadata.

    Raises
    ------
    StoreError
        If the file is there but does not parse.
    """
    if not path.exists():
        return {}, {}
    try:
        with safe_open(path, framework="numpy") as f:
            maps = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
            explained = json.loads((f.metadata() or {}).get("explained", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}; remove it and measure again") from error
    return maps, explained if isinstance(explained, dict) else {}


def read_rows(path: Path) -> dict[str, list[str]]:
    """The columns of ``rows.csv`` as text; none if there is no such file.

    Raises
    ------
    StoreError
        If the file is there but does not parse.
    """
    if not path.exists():
        return {}
    before = csv.field_size_limit(_FIELD_LIMIT)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream)
            head = next(reader, [])
            columns: list[list[str]] = [[] for _ in head]
            for line, cells in enumerate(reader, start=2):
                if len(cells) != len(head):
                    raise StoreError(
                        f"{path}, row {line}: {len(cells)} fields where {len(head)} are expected; "
                        "the file is damaged, extract again or restore it"
                    )
                for column, text in zip(columns, cells, strict=True):
                    column.append(text)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    finally:
        csv.field_size_limit(before)
    return dict(zip(head, columns, strict=True))
