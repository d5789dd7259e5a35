"""A network as the rest of the house sees it: named sites, and a way to read them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import nn

from hiddenscape.errors import InputError, NetworkError, SiteError
from hiddenscape.models.aliases import Alias, check_alias, known_aliases
from hiddenscape.models.families import FamilyMap
from hiddenscape.models.hooks import module_at, read_places, record_events
from hiddenscape.models.latent import seeded_sample, with_samples
from hiddenscape.models.memory import out_of_memory
from hiddenscape.models.pooling import Masks, pool
from hiddenscape.models.sites import Place, expand, parse_module_site
from hiddenscape.models.turns import passing
from hiddenscape.types import Site

__all__ = ["Batch", "Check", "Network", "TorchNetwork"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Batch:
    """Inputs of one forward pass, the masks that belong to its rows, and their row numbers.

    ``rows`` are numbers in the data set; they key what is random per row (samples of a VAE).
    """

    args: tuple[torch.Tensor, ...] = ()
    kwargs: Mapping[str, torch.Tensor] = field(default_factory=dict)
    masks: Masks = field(default_factory=Masks)
    rows: tuple[int, ...] | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on ``device``."""
        return Batch(
            args=tuple(a.to(device) for a in self.args),
            kwargs={k: v.to(device) for k, v in self.kwargs.items()},
            masks=self.masks,
            rows=self.rows,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the self-check. ``size`` is the largest error, ``limit`` what is allowed."""

    name: str
    passed: bool
    size: float = 0.0
    limit: float = 0.0
    where: str = ""
    consequence: str = ""

    def __str__(self) -> str:
        if self.passed:
            return f"{self.name}: passed"
        place = f" at {self.where}" if self.where else ""
        return (
            f"self-check {self.name!r} failed{place} (error {self.size:.3g}, "
            f"allowed {self.limit:.3g}): {self.consequence}"
        )


class Network(Protocol):
    """What extraction needs of a network."""

    @property
    def name(self) -> str: ...

    @property
    def sites(self) -> tuple[Site, ...]: ...

    def select(self, spec: str | Sequence[str]) -> tuple[Place, ...]: ...

    def trace(
        self, batch: Batch, sites: str | Sequence[str] = "all"
    ) -> dict[str, torch.Tensor]: ...

    def pooled(
        self, batch: Batch, requests: Sequence[tuple[Place, str]]
    ) -> dict[str, torch.Tensor]: ...


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TorchNetwork:
    """A ``torch.nn.Module`` with named sites. Make one with ``wrap_module``.

    Attributes
    ----------
    module : Module
        The network itself, in eval mode. It is not copied.
    name : str
        Name for manifests and reports.
    places : mapping
        Site name to :class:`Place`, for every site that is offered, ordered by depth.
    kind : str
        What it eats: ``tokens``, ``pixels`` or ``arrays``.
    map : FamilyMap or None
        Site map of its family; None for other modules.
    aliases, withdrawn : mapping
        Other names of sites; sites that are not offered, with the reason.
    checks : tuple of Check
        The self-check, as far as it has been run.
    chosen : tuple of str or None
        What ``all`` stands for, where the user named sites.
    events : mapping or None
        (path, io) to the time at which it fired, once a forward pass has been seen.
    tokenizer, processor : object or None
        What turns text or images into inputs.
    max_length : int or None
        Longest row of tokens, specials included.
    batching : bool
        False if rows of unequal length must not share a batch.
    facts : mapping
        What identifies the network in a manifest.
    """

    module: nn.Module
    name: str
    places: Mapping[str, Place]
    kind: str = "arrays"
    map: FamilyMap | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    chosen: tuple[str, ...] | None = None
    events: Mapping[tuple[str, str], float] | None = None
    tokenizer: Any = None
    processor: Any = None
    max_length: int | None = None
    batching: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ordered = sorted(
            self.places.values(), key=lambda p: math.inf if math.isnan(p.depth) else p.depth
        )
        object.__setattr__(self, "places", MappingProxyType({p.name: p for p in ordered}))

    @property
    def site_names(self) -> tuple[str, ...]:
        """Names of all sites on offer, by depth."""
        return tuple(self.places)

    @property
    def sites(self) -> tuple[Site, ...]:
        """All sites on offer. Depths of raw modules are provisional (order of registration) until
        a forward pass has shown the order of firing."""
        return tuple(
            (replace(p, depth=float(i)) if math.isnan(p.depth) else p).site
            for i, p in enumerate(self.places.values())
        )

    @property
    def needed_spans(self) -> tuple[str, ...]:
        """Spans that a batch must give for its rows, beside those that poolings read."""
        return ()

    @property
    def known_aliases(self) -> dict[str, Alias]:
        """Other names of its sites: of libraries, and of papers that its family belongs to."""
        return known_aliases(self.map, self.aliases, self.places)

    @property
    def device(self) -> torch.device:
        """Where inputs go: device of the first parameter; where accelerate moves parameters about,
        the device on which the network as a whole runs."""
        home = getattr(getattr(self.module, "_hf_hook", None), "execution_device", None)
        if home is not None:
            return torch.device(home)
        tensor = next((p for p in self.module.parameters() if p.device.type != "meta"), None)
        return torch.device("cpu") if tensor is None else tensor.device

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of the parameters, read from them."""
        tensors = (p for p in self.module.parameters() if p.is_floating_point())
        tensor = next(tensors, None)
        return torch.float32 if tensor is None else tensor.dtype

    def select(self, spec: str | Sequence[str] = "all") -> tuple[Place, ...]:
        """Places that a selection stands for (grammar in :mod:`hiddenscape.models.sites`).

        Raises
        ------
        SiteError
            If a name is unknown, or was withdrawn by the self-check.
        """
        items = [spec] if isinstance(spec, str) else list(spec)
        items = [part.strip() for item in items for part in item.split(",") if part.strip()]
        raw = {name: place for name in items if (place := parse_module_site(name)) is not None}
        known = {*self.places, *self.withdrawn}
        raw = {n: p for n, p in raw.items() if n not in known and "*" not in n}
        for place in raw.values():
            module_at(self.module, place.path)
        raw |= {n: p for n in items if (p := seeded_sample(n, self.places)) is not None}
        aliases = {name: a.site for name, a in self.known_aliases.items()}
        for item in items:
            if item not in known and item not in aliases:
                check_alias(
                    item,
                    self.map,
                    network=self.name,
                    aliases=self.aliases,
                    withdrawn=self.withdrawn,
                )
        names = expand(
            items,
            names=[*self.places, *raw],
            everything=self._everything(),
            aliases=aliases,
            withdrawn=self.withdrawn,
        )
        return tuple(self.places[n] if n in self.places else self._timed(raw[n]) for n in names)

    def _everything(self) -> list[str]:
        if self.chosen is not None:
            return [n for n in self.places if n in self.chosen]
        if self.map is None:
            return [n for n, place in self.places.items() if not place.parts]
        stem = "resid_post."
        return [n for n in self.places if n in ("embed", "final_norm") or n.startswith(stem)]

    def _timed(self, place: Place) -> Place:
        """Give a module outside the map the depth that its time of firing has among the sites."""
        if self.events is None:
            return place
        time = self.events.get((place.path, place.io))
        if time is None:
            raise SiteError(
                f"site {place.name!r}: module {place.path!r} does not fire once per forward pass"
            )
        fixed = self.places if self.map is None else self.map.places
        known = [
            (self.events[p.path, p.io], p.depth)
            for p in fixed.values()
            if (p.path, p.io) in self.events and (self.map is None or _is_stream(p.name))
        ]
        before = max((k for k in known if k[0] <= time), default=(0.0, 0.0))
        after = min((k for k in known if k[0] > time), default=(math.inf, before[1] + 1.0))
        if math.isinf(after[0]):
            last = max(self.events.values())
            after = (max(last, time) + 1.0, after[1])
        share = (time - before[0]) / (after[0] - before[0])
        return replace(place, depth=before[1] + share * (after[1] - before[1]))

    def forward(self, batch: Batch) -> Any:
        """One plain forward pass on this network's device, without gradients."""
        moved = batch.to(self.device)
        extra: dict[str, Any] = {}
        if self.map is not None and self.map.family.kind == "tokens":
            extra = {"return_dict": True}
            if hasattr(getattr(self.module, "config", None), "use_cache"):
                extra["use_cache"] = False
        try:
            with passing(), torch.inference_mode():
                return self.module(*moved.args, **moved.kwargs, **extra)
        except (RuntimeError, TypeError, IndexError, ValueError) as error:
            if isinstance(error, NetworkError | InputError) or out_of_memory(error):
                raise
            shapes = ", ".join(
                f"{tuple(t.shape)} {t.dtype}" for t in (*moved.args, *moved.kwargs.values())
            )
            raise NetworkError(
                f"network {self.name!r} failed on an input of {shapes}: {error}; give it rows of "
                "the shape and dtype it was built for"
            ) from error

    def trace(
        self, batch: Batch, sites: str | Sequence[str] | Sequence[Place] = "all"
    ) -> dict[str, torch.Tensor]:
        """Whole tensors at the sites, cloned; nothing is pooled.

        Examples
        --------
        >>> from hiddenscape.models.wrapping import wrap_module
        >>> net = wrap_module(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))
        >>> out = net.trace(Batch(args=(torch.ones(4, 3),)))
        >>> {name: tuple(x.shape) for name, x in out.items()}
        {'input': (4, 3), 'module:0': (4, 2), 'module:1': (4, 2)}
        """
        places = self._places(sites)
        found: dict[str, torch.Tensor] = {}

        def sink(place: Place, value: torch.Tensor) -> None:
            found[place.name] = value.detach().clone()

        readings, gather = with_samples(places, batch.rows, sink)
        read_places(self.module, readings, lambda: self.forward(batch), gather)
        return {place.name: found[place.name] for place in places}

    def _places(self, sites: str | Sequence[str] | Sequence[Place]) -> tuple[Place, ...]:
        if isinstance(sites, str):
            return self.select(sites)
        places = [s for s in sites if isinstance(s, Place)]
        names = [s for s in sites if isinstance(s, str)]
        return (*places, *(self.select(names) if names else ()))

    def pooled(
        self, batch: Batch, requests: Sequence[tuple[Place, str]], *, stop_early: bool = True
    ) -> dict[str, torch.Tensor]:
        """Pooled points (B, d) for each (place, pooling), from one forward pass.

        Pooling happens in the hook, on the device; keys are ``SITE@POOLING``.
        """
        wanted: dict[str, list[str]] = {}
        for place, how in requests:
            wanted.setdefault(place.name, []).append(how)
        places = list({place.name: place for place, _ in requests}.values())
        found: dict[str, torch.Tensor] = {}

        def sink(place: Place, value: torch.Tensor) -> None:
            for how in wanted[place.name]:
                found[f"{place.name}@{how}"] = pool(value, how, batch.masks, site=place.name)

        readings, gather = with_samples(places, batch.rows, sink)
        read_places(
            self.module, readings, lambda: self.forward(batch), gather, stop_early=stop_early
        )
        return {f"{place.name}@{how}": found[f"{place.name}@{how}"] for place, how in requests}

    def resolved(self, batch: Batch) -> TorchNetwork:
        """The same network after one full forward pass has shown when each module fires.

        Raw modules get their depth; those that do not fire exactly once, or give no tensor, are
        withdrawn with the reason.
        """
        if self.events is not None:
            return self
        log, opaque = record_events(self.module, lambda: self.forward(batch))
        count = Counter(log)
        events = {key: float(time) for time, key in enumerate(log) if count[key] == 1}
        events[("", "input")] = -1.0
        places: dict[str, Place] = {}
        withdrawn = dict(self.withdrawn)
        for place in self.places.values():
            io = "in" if place.io == "input" else place.io
            if place.calls == 1 and count[place.path, io] != 1:
                fired = count[place.path, io]
                withdrawn[place.name] = (
                    f"module {place.path!r} fired {fired} times in one forward pass, not once"
                )
            elif _opaque(place, opaque):
                withdrawn[place.name] = opaque[place.path]
            else:
                places[place.name] = place
        if self.map is None:
            times = sorted({events[p.path, p.io] for p in places.values()} | {-1.0})
            rank = {time: float(i) for i, time in enumerate(times)}
            places = {n: replace(p, depth=rank[events[p.path, p.io]]) for n, p in places.items()}
        seen = replace(self, places=places, withdrawn=withdrawn, events=events)
        if self.map is None:
            return seen
        timed = {n: seen._timed(p) if math.isnan(p.depth) else p for n, p in places.items()}
        return replace(seen, places=timed)


def _opaque(place: Place, opaque: Mapping[str, str]) -> bool:
    plain = place.io == "out" and not place.index and not place.attribute
    return plain and place.path in opaque


def _is_stream(name: str) -> bool:
    return name in ("embed", "final_norm") or name.startswith(("resid_pre.", "resid_post."))
