"""``run``: from a spec to the report, in stages that each go on where they stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from hiddenscape.analyses import Settings, choose
from hiddenscape.errors import ConfigError, InputError
from hiddenscape.pipeline.datasets import open_data
from hiddenscape.pipeline.extracting import Extracting
from hiddenscape.pipeline.parts import Part, find_parts
from hiddenscape.pipeline.provenance import identity, recorded
from hiddenscape.runs import Run, open_run, write_json
from hiddenscape.spec import RunSpec

if TYPE_CHECKING:
    from hiddenscape.extraction import ExtractionPlan

__all__ = ["Plan", "Progress", "Tell", "Until", "carry_out", "run"]

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""
Tell = Callable[[str], None]
"""Called with one sentence that a user should see."""
Until = Literal["extract", "measure", "report"]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a run will extract: ``run(..., dry_run=True)`` returns it; print it.

    Attributes
    ----------
    parts : dict
        The plan of each extraction by its directory. States of one training share the plan of the
        run itself: they are networks of one class on one data set.
    missing : dict
        Checkpoints that are not there, with the reason.
    """

    parts: dict[str, ExtractionPlan]
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Size of all points to be written, those that are there already included."""
        return sum(plan.bytes for plan in self.parts.values())

    def __str__(self) -> str:
        seen: dict[int, str] = {}
        texts = []
        for folder, plan in self.parts.items():
            first = seen.setdefault(id(plan), folder)
            text = f"run      {folder}\n"
            if first == folder:
                texts.append(text + str(plan))
            else:
                texts.append(f"{text}store    {plan.bytes / 2**20:.1f} MiB, as {first}")
        texts += [f"missing  {name}: {why}" for name, why in self.missing.items()]
        if len(self.parts) > 1:
            texts.append(f"total    {self.bytes / 2**20:.1f} MiB in {len(self.parts)} runs")
        return "\n\n".join(texts)


@overload
def run(
    spec: RunSpec,
    *,
    until: Until = ...,
    dry_run: Literal[False] = ...,
    overwrite: bool = ...,
    shard: str | None = ...,
    strict: bool = ...,
    clean: bool = ...,
    progress: Progress | None = ...,
    tell: Tell | None = ...,
) -> Run: ...


@overload
def run(
    spec: RunSpec,
    *,
    until: Until = ...,
    dry_run: Literal[True],
    overwrite: bool = ...,
    shard: str | None = ...,
    strict: bool = ...,
    clean: bool = ...,
    progress: Progress | None = ...,
    tell: Tell | None = ...,
) -> Plan: ...


def run(
    spec: RunSpec,
    *,
    until: Until = "report",
    dry_run: bool = False,
    overwrite: bool = False,
    shard: str | None = None,
    strict: bool = False,
    clean: bool = False,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> Run | Plan:
    """Extract, measure and report what ``spec`` says; what is finished already is kept.

    Parameters
    ----------
    spec : RunSpec
        Network, data, sites, measures and where to write. ``network`` (or ``checkpoints``),
        ``data`` and ``out`` must be given.
    until : {"report", "measure", "extract"}
        The last stage.
    dry_run : bool
        Only plan the extraction: nothing is written.
    overwrite : bool
        Delete a store that is there and extract anew.
    shard : str, optional
        With ``until="extract"``: the share of this process, ``I/N`` or ``auto``, in every part.
        The store of the run that is returned may then be unfinished.
    strict, clean : bool
        As in :func:`hiddenscape.extract`.
    progress : callable, optional
        Called with (stage, done, total) while the stages work.
    tell : callable, optional
        Called with sentences that a user should see: the dtype of the network, code of its own
        that it runs, checkpoints left out.

    Returns
    -------
    Run
        The run directory, opened; with ``dry_run`` a :class:`Plan`.

    Raises
    ------
    ConfigError
        If the spec lacks something.
    HiddenscapeError
        Whatever a stage raises. What had been finished stays, and the same call goes on from there.

    Notes
    -----
    Further networks go the same way into run directories of their own, and the report lays them
    beside the run: ``OUT/null`` is the same network with fresh random weights
    (``spec.untrained_twin``), ``OUT/base`` the network without its adapter (``spec.with_base``),
    ``OUT/checkpoints/NAME`` a state of training (``spec.checkpoints``, or several revisions).
    ``OUT/run.json`` records configuration, versions, seeds and citations.

    Examples
    --------
    >>> spec = RunSpec(network="demo", data="digits", limit=60, out="unused")
    >>> plan = run(spec, dry_run=True)
    >>> list(plan.parts)
    ['unused']
    """
    spec.require("data", "out")
    if shard is not None and until != "extract":
        raise ConfigError("shard: shares are of the extraction; measure when all are done")
    # A misspelt name or a setting without sense must not wait until hours of extraction are done.
    choose(spec.analyses or None)
    given = spec.arguments("measure")
    Settings(**{f.name: given[f.name] for f in fields(Settings) if given[f.name] is not None})
    parts, missing = find_parts(_placed(spec, shard), dry_run=dry_run)
    dataset = open_data(spec)
    if until != "extract" and len(dataset) < 3:
        raise InputError(
            f"{dataset.name}: {len(dataset)} rows, at least 3 are needed to measure anything"
        )
    work = Extracting(
        spec,
        dataset,
        overwrite=overwrite,
        shard=shard,
        strict=strict,
        clean=clean,
        progress=progress,
        tell=tell or (lambda _: None),
    )
    if dry_run:
        return Plan(_plans(work, parts), missing)
    return carry_out(spec, parts, work, until=until, progress=progress, missing=missing)


def _placed(spec: RunSpec, shard: str | None) -> RunSpec:
    """Of several processes on one machine each gets its own device, before anything is loaded."""
    if shard is None:
        return spec
    from hiddenscape.extraction.sharding import local_device

    return spec.replace(device=local_device(spec.device))


def _plans(work: Extracting, parts: Sequence[Part]) -> dict[str, ExtractionPlan]:
    plans: dict[str, ExtractionPlan] = {}
    for part in parts:
        main = str(parts[0].folder)
        plans[str(part.folder)] = (
            plans[main] if part.like_main and main in plans else work.plan(part)
        )
    return plans


def carry_out(
    spec: RunSpec,
    parts: Sequence[Part],
    work: Extracting,
    *,
    until: Until = "report",
    progress: Progress | None = None,
    facts: dict[str, Any] | None = None,
    missing: dict[str, str] | None = None,
) -> Run:
    """Take the parts of a run through the stages; the first part is the run itself."""
    if until not in ("extract", "measure", "report"):
        raise ConfigError(f"until must be extract, measure or report, got {until!r}")
    main = parts[0]
    main.folder.mkdir(parents=True, exist_ok=True)
    more = dict(facts or {})
    if main.checkpoint is not None:
        more["checkpoint"] = main.checkpoint
    listed = [part.checkpoint for part in parts if part.series and part.checkpoint is not None]
    if listed:
        more["checkpoints"] = listed
    with recorded(main.folder, spec, share=work.shard, **more) as record:
        left_out = {**(missing or {}), **work.all(parts)}
        _note_missing(main.folder, left_out, work.tell)
        ready = [part for part in parts if part.name not in left_out]
        opened = open_run(main.folder)
        if work.complete(main):
            record |= identity(opened)
        if until != "extract":
            for part in _twins_first(ready):
                _measure(part, spec, progress)
        if until == "report":
            _report(opened, spec, progress)
    return opened


def _note_missing(folder: Path, left_out: dict[str, str], tell: Tell) -> None:
    """Keep the names of checkpoints that were left out, for the report and the exit code."""
    path = folder / "checkpoints" / "missing.json"
    for name, why in left_out.items():
        tell(f"warning: checkpoint {name} is left out: {why}")
    if left_out:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, left_out)
    else:
        path.unlink(missing_ok=True)


def _twins_first(parts: Sequence[Part]) -> Iterator[Part]:
    # The reading of the profile of a run compares with its twin, so the twin is measured first.
    yield from parts[1:]
    yield parts[0]


def _measure(part: Part, spec: RunSpec, progress: Progress | None) -> None:
    from hiddenscape.measurement import measure

    arguments = {**spec.arguments("measure"), **part.measure}
    measure(part.folder, progress=_tell(progress, part.stage("measure")), **arguments)


def _report(opened: Run, spec: RunSpec, progress: Progress | None) -> Path:
    from hiddenscape.reporting.html import report

    tell = _tell(progress, "report")
    if tell is not None:
        tell(0, 1)
    page = report(opened, title=spec.title)
    if tell is not None:
        tell(1, 1)
    return page


def _tell(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    return None if progress is None else partial(progress, stage)
