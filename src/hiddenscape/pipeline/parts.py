"""The parts of a run: each one network in one run directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiddenscape.errors import ConfigError, NetworkError
from hiddenscape.pipeline.checkpoints import Checkpoint, check_sweep, find_checkpoints
from hiddenscape.pipeline.networks import network_key, open_network
from hiddenscape.spec import RunSpec

if TYPE_CHECKING:
    from hiddenscape.models.network import TorchNetwork

__all__ = ["Part", "find_parts", "trained_part", "twin_part"]

Loader = Callable[[], "TorchNetwork"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Part:
    """One network of a run: where its run directory lies, and how to get it.

    Attributes
    ----------
    name : str
        For progress and messages; empty for the run itself.
    folder : Path
        Its run directory.
    network : callable
        Gives the network. It is made when it is needed and dropped after extraction, so that only
        one is held at a time.
    key : callable
        What identifies the network without loading it; None where nothing does.
    measure : dict
        Arguments of ``measure`` that differ from those of the run.
    checkpoint : dict or None
        What ``run.json`` says of a state of training.
    series : bool
        Whether it must agree with the run itself in class, tokenizer and sites.
    optional : bool
        Whether the run goes on without it, if it cannot be loaded and the user said so.
    like_main : bool
        Whether its plan is that of the run itself.
    after : callable or None
        Called when its points are complete.
    """

    name: str
    folder: Path
    network: Loader
    key: Callable[[], str | None] = lambda: None
    measure: dict[str, Any] = field(default_factory=dict)
    checkpoint: dict[str, Any] | None = None
    series: bool = False
    optional: bool = False
    like_main: bool = False
    after: Callable[[], None] | None = None

    def stage(self, verb: str) -> str:
        """Name of a stage for progress."""
        return f"{verb} {self.name}".strip()


def find_parts(spec: RunSpec, *, dry_run: bool = False) -> tuple[list[Part], dict[str, str]]:
    """All parts of a run, the run itself first, and checkpoints that are missing with the reason.

    Raises
    ------
    ConfigError
        If the options contradict each other, or ``main_checkpoint`` names none of them.
    NetworkError
        If a revision is missing.
    """
    check_sweep(spec)
    # Before the first question to the hub, which may already put files into the cache.
    before = frozenset() if dry_run or not spec.drop_cache else _in_cache(spec)
    found = find_checkpoints(spec)
    missing = dict(found.missing)
    chosen = _main(spec, found.checkpoints)
    if chosen is None:
        spec.require("network")
    main = trained_part(spec, chosen)
    parts = [main]
    if spec.untrained_twin:
        parts.append(twin_part(spec, chosen))
    if spec.with_base:
        parts.append(_base_part(spec, chosen))
    parts += [_checkpoint_part(spec, c, before) for c in found.checkpoints]
    return parts, missing


def _main(spec: RunSpec, found: tuple[Checkpoint, ...]) -> Checkpoint | None:
    """The checkpoint that is the run itself; None where that is the network of the spec."""
    if not found:
        return None
    if spec.main_checkpoint is not None:
        for c in found:
            if spec.main_checkpoint in (c.name, c.revision):
                return c
        raise ConfigError(
            f"main_checkpoint: no checkpoint {spec.main_checkpoint!r}; there are: "
            f"{', '.join(c.name for c in found)}"
        )
    whole = spec.network and found[0].kind == "folder"
    return None if whole else found[-1]


def trained_part(spec: RunSpec, chosen: Checkpoint | None = None) -> Part:
    """The network of a spec, or a checkpoint of it, in ``OUT``."""
    how = _asked(spec, chosen)
    return Part(
        name="",
        folder=Path(spec.out),
        network=partial(open_network, **how),
        key=partial(network_key, **how),
        checkpoint=None if chosen is None else chosen.record,
    )


def twin_part(spec: RunSpec, chosen: Checkpoint | None = None) -> Part:
    """The untrained twin of the network of a spec, in ``OUT/null``; without its adapter."""
    how = _asked(spec, chosen) | {"untrained": True, "adapter": None, "quantization": None}
    return Part(
        name="twin",
        folder=Path(spec.out) / "null",
        network=partial(open_network, **how),
        key=partial(network_key, **how),
    )


def _base_part(spec: RunSpec, chosen: Checkpoint | None) -> Part:
    """The network without its adapter, in ``OUT/base``."""
    how = _asked(spec, chosen)
    if how["adapter"] is None:
        raise ConfigError("with_base runs the base of an adapter; none is given")

    def load() -> TorchNetwork:
        from hiddenscape.models.adapters import AdaptedNetwork

        network = open_network(**how)
        if isinstance(network, AdaptedNetwork) and network.switch.exact:
            return network.without_adapter()
        return open_network(**how | {"adapter": None})

    return Part(
        name="base",
        folder=Path(spec.out) / "base",
        network=load,
        key=partial(network_key, **how | {"adapter": None}),
        series=True,
        like_main=True,
    )


def _checkpoint_part(spec: RunSpec, c: Checkpoint, before: frozenset[str]) -> Part:
    how = _asked(spec, c)
    return Part(
        name=c.name,
        folder=Path(spec.out) / "checkpoints" / c.name,
        network=partial(open_network, **how),
        key=partial(network_key, **how),
        checkpoint=c.record,
        series=True,
        optional=True,
        like_main=True,
        after=partial(_drop, c, before) if spec.drop_cache else None,
    )


def _asked(spec: RunSpec, c: Checkpoint | None) -> dict[str, Any]:
    """Arguments of ``open_network`` for the network of a spec, or one of its checkpoints."""
    how: dict[str, Any] = {
        "name": spec.network,
        "revision": spec.revision[0] if len(spec.revision) == 1 else None,
        "adapter": spec.adapter,
        "tokenizer": spec.tokenizer,
        "task": spec.task,
        "dtype": spec.dtype,
        "device": spec.device,
        "attn": spec.attn,
        "seed": spec.twin_seed,
        "trust_remote_code": spec.trust_remote_code,
        "allow_bin": spec.allow_bin,
        "quantization": spec.quantization,
        "device_map": spec.device_map,
        "offload_folder": spec.offload_folder,
        "untrained": False,
    }
    if c is None:
        return how
    if c.kind == "revision":
        return how | {"revision": c.commit or c.revision}
    if c.kind == "adapter":
        return how | {"adapter": c.source}
    # Training often saves the tokenizer once, beside the final network.
    return how | {"name": c.source, "tokenizer_else": spec.network or None}


def _in_cache(spec: RunSpec) -> frozenset[str]:
    """What the hub's cache held before this sweep began, remembered over interruptions."""
    from hiddenscape.models.hub import repo_files
    from hiddenscape.runs import read_json, write_json

    path = Path(spec.out) / "checkpoints" / "cache.json"
    content = read_json(path)
    if not content:
        content = {"repository": spec.network, "before": sorted(repo_files(spec.network))}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content)
    if content.get("repository") != spec.network:
        raise NetworkError(f"{path} speaks of another repository; choose another --out")
    return frozenset(content["before"])


def _drop(c: Checkpoint, before: frozenset[str]) -> None:
    from hiddenscape.models.hub import drop

    if c.commit is not None:
        drop(c.source, c.commit, before)
