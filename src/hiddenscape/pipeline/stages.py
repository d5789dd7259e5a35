"""``run``: from a spec to the report, in stages that each go on where they stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from hiddenscape.analyses import choose
from hiddenscape.errors import ConfigError, InputError
from hiddenscape.pipeline.datasets import open_data
from hiddenscape.pipeline.networks import open_network
from hiddenscape.pipeline.provenance import identity, recorded
from hiddenscape.runs import Run, open_run
from hiddenscape.spec import RunSpec

if TYPE_CHECKING:
    from hiddenscape.data.dataset import Dataset
    from hiddenscape.extraction import ExtractionPlan
    from hiddenscape.models.network import TorchNetwork

__all__ = [
    "Part",
    "Plan",
    "Progress",
    "Until",
    "carry_out",
    "run",
    "trained_part",
    "twin_part",
]

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""
Until = Literal["extract", "measure", "report"]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a run will extract: ``run(..., dry_run=True)`` returns it; print it.

    Attributes
    ----------
    parts : dict
        The plan of each extraction by its directory.
    """

    parts: dict[str, ExtractionPlan]

    def __str__(self) -> str:
        return "\n\n".join(f"run      {folder}\n{plan}" for folder, plan in self.parts.items())


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One network of a run: where its run directory lies, and how to get it.

    ``measure`` holds arguments of ``measure`` that differ from those of the run. The network is
    made when it is needed and dropped after extraction, so that only one is held at a time.
    """

    name: str
    folder: Path
    network: Callable[[], TorchNetwork]
    measure: dict[str, Any] = field(default_factory=dict)

    def stage(self, verb: str) -> str:
        """Name of a stage for progress."""
        return f"{verb} {self.name}".strip()


@overload
def run(
    spec: RunSpec,
    *,
    until: Until = ...,
    dry_run: Literal[False] = ...,
    overwrite: bool = ...,
    progress: Progress | None = ...,
) -> Run: ...


@overload
def run(
    spec: RunSpec,
    *,
    until: Until = ...,
    dry_run: Literal[True],
    overwrite: bool = ...,
    progress: Progress | None = ...,
) -> Plan: ...


def run(
    spec: RunSpec,
    *,
    until: Until = "report",
    dry_run: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Run | Plan:
    """Extract, measure and report what ``spec`` says; what is finished already is kept.

    Parameters
    ----------
    spec : RunSpec
        Network, data, sites, measures and where to write. ``network``, ``data`` and ``out`` must
        be given.
    until : {"report", "measure", "extract"}
        The last stage.
    dry_run : bool
        Only plan the extraction: nothing is written.
    overwrite : bool
        Delete a store that is there and extract anew.
    progress : callable, optional
        Called with (stage, done, total) while the stages work.

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
    With ``spec.untrained_twin`` the same network with fresh random weights goes the same way into
    ``OUT/null``. ``OUT/run.json`` records configuration, versions, seeds and citations.

    Examples
    --------
    >>> spec = RunSpec(network="demo", data="digits", limit=60, out="unused")
    >>> plan = run(spec, dry_run=True)
    >>> list(plan.parts)
    ['unused']
    """
    spec.require("network", "data", "out")
    choose(
        spec.analyses or None
    )  # a misspelt name must not wait until hours of extraction are done
    dataset = open_data(spec)
    if until != "extract" and len(dataset) < 3:
        raise InputError(
            f"{dataset.name}: {len(dataset)} rows, at least 3 are needed to measure anything"
        )
    parts = [trained_part(spec)]
    if spec.untrained_twin:
        parts.append(twin_part(spec))
    if dry_run:
        return Plan({str(p.folder): _extract(p, dataset, spec, dry_run=True) for p in parts})
    return carry_out(spec, parts, dataset, until=until, overwrite=overwrite, progress=progress)


def trained_part(spec: RunSpec) -> Part:
    """The network of a spec, in ``OUT``."""
    return Part("", Path(spec.out), partial(_network, spec))


def twin_part(spec: RunSpec) -> Part:
    """The untrained twin of the network of a spec, in ``OUT/null``."""
    return Part("twin", Path(spec.out) / "null", partial(_network, spec, untrained=True))


def carry_out(
    spec: RunSpec,
    parts: Sequence[Part],
    dataset: Dataset,
    *,
    until: Until = "report",
    overwrite: bool = False,
    progress: Progress | None = None,
    facts: dict[str, Any] | None = None,
) -> Run:
    """Take the parts of a run through the stages; the first part is the run itself."""
    if until not in ("extract", "measure", "report"):
        raise ConfigError(f"until must be extract, measure or report, got {until!r}")
    main = parts[0]
    main.folder.mkdir(parents=True, exist_ok=True)
    with recorded(main.folder, spec, **(facts or {})) as record:
        for part in parts:
            _extract(part, dataset, spec, overwrite=overwrite, progress=progress)
        opened = open_run(main.folder)
        record |= identity(opened)
        if until != "extract":
            for part in _twins_first(parts):
                _measure(part, spec, progress)
        if until == "report":
            _report(opened, spec, progress)
    return opened


def _twins_first(parts: Sequence[Part]) -> Iterator[Part]:
    # The reading of the profile of a run compares with its twin, so the twin is measured first.
    yield from parts[1:]
    yield parts[0]


def _extract(
    part: Part,
    dataset: Dataset,
    spec: RunSpec,
    *,
    dry_run: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Any:
    from hiddenscape.extraction import extract

    arguments = {n: v for n, v in spec.arguments("extraction").items() if v is not None}
    return extract(
        part.network(),
        dataset,
        part.folder,
        dry_run=dry_run,  # type: ignore[call-overload]
        overwrite=overwrite,
        progress=_tell(progress, part.stage("extract")),
        **arguments,
    )


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


def _network(spec: RunSpec, *, untrained: bool = False) -> TorchNetwork:
    return open_network(
        spec.network,
        task=spec.task,
        revision=spec.revision,
        dtype=spec.dtype,
        device=spec.device,
        attn=spec.attn,
        untrained=untrained,
        seed=spec.twin_seed,
        trust_remote_code=spec.trust_remote_code,
    )
