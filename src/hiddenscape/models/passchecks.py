"""Checks that take a pass of their own: the library's hidden states, causality, eager attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hiddenscape.models.hooks import first_input, hooks_restored, module_at, read_places
from hiddenscape.models.mapchecks import matched_states
from hiddenscape.models.network import Batch, Check, TorchNetwork
from hiddenscape.models.sites import Place
from hiddenscape.models.streamchecks import Findings, compare, gap_of, loose
from hiddenscape.models.turns import alone

__all__ = ["check_aliases", "check_causality", "check_eager", "match_aliases"]


def check_aliases(
    network: TorchNetwork, batch: Batch, values: Mapping[str, torch.Tensor], found: Findings
) -> None:
    """Each ``hf.i`` equals the hooked site."""
    assert network.map is not None
    stems = network.map.family.alias_stems
    wanted = {a: n for a, n in network.aliases.items() if a.split(".")[0] in stems}
    if not wanted:
        return
    states = _hidden_states(network, batch)
    count = network.map.n_blocks + 1
    if states is None or len(states) != count:
        number = "none" if states is None else str(len(states))
        check = Check(
            name="aliases",
            passed=False,
            limit=float(count),
            consequence=f"the network gives {number} hidden states, expected {count}",
        )
        found.checks.append(check)
        found.lost_aliases |= set(wanted)
        return
    pairs = [
        (*compare(network, states[int(a.split(".")[1])], values[n]), a)
        for a, n in wanted.items()
        if n in values
    ]
    if not pairs:
        found.lost_aliases |= set(wanted)
        return
    bad = [alias for gap, allowed, alias in pairs if gap > allowed]
    size, limit, _ = max(pairs, key=lambda pair: pair[0] - pair[1])
    found.lost_aliases |= set(bad)
    found.checks.append(
        Check(
            name="aliases",
            passed=not bad,
            size=size,
            limit=limit,
            where=", ".join(bad),
            consequence="these names are not offered",
        )
    )


def match_aliases(
    network: TorchNetwork, batch: Batch, values: Mapping[str, torch.Tensor], found: Findings
) -> None:
    """Which site each hidden state is, where the library's count is not that of the blocks."""
    assert network.map is not None
    if not network.map.family.last_hidden:
        return
    states = _hidden_states(network, batch) or ()
    found.aliases, unmatched = matched_states(states, values)
    found.checks.append(
        Check(
            name="aliases",
            passed=bool(states) and not unmatched,
            size=float(len(unmatched)),
            where=", ".join(f"hf.{i}" for i in unmatched),
            consequence="these names are not offered",
        )
    )


def _hidden_states(network: TorchNetwork, batch: Batch) -> tuple[torch.Tensor, ...] | None:
    """What the library itself reports; its permanent capture hooks are taken away again."""
    moved = batch.to(network.device)
    caches = network.kind == "tokens" and hasattr(network.module.config, "use_cache")
    extra = {"use_cache": False} if caches else {}
    with torch.inference_mode(), hooks_restored(network.module):
        out = network.module(
            *moved.args, **moved.kwargs, **extra, output_hidden_states=True, return_dict=True
        )
    states = getattr(out, "hidden_states", None)
    return tuple(states) if states else None


def check_causality(
    network: TorchNetwork, batch: Batch, values: Mapping[str, torch.Tensor], found: Findings
) -> None:
    """A random vector added to the last position of the stream leaves earlier positions."""
    assert network.map is not None
    plan = network.map
    name = f"resid_post.{plan.n_blocks - 1}"
    if "embed" not in values or name not in values or values["embed"].ndim != 3:
        return
    embed = values["embed"]
    width = int(batch.masks.real[0].sum()) if batch.masks.real is not None else embed.shape[1]
    if width < 2:
        return
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(embed.shape[2], generator=generator, dtype=torch.float64)
    noise = (noise * float(embed.cpu().double().std() + 1.0)).to(embed.dtype).to(embed.device)
    block = module_at(network.module, f"{plan.blocks}.0")

    def push(_m: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        old = first_input(args, kwargs, "block 0")
        moved = old.clone()
        moved[:, width - 1] += noise
        if args and args[0] is old:
            return (moved, *args[1:]), kwargs
        return args, {k: moved if v is old else v for k, v in kwargs.items()}

    pushed: dict[str, torch.Tensor] = {}
    # First registered, first run: the edit comes before the reading hooks.
    handle = block.register_forward_pre_hook(push, with_kwargs=True)
    try:
        _read_into(network, batch, network.places[name], pushed)
    finally:
        handle.remove()
    before, after = values[name][0, : width - 1], pushed[name][0, : width - 1]
    size, limit = compare(network, after, before, exact=False)
    there = values[name][0, width - 1], pushed[name][0, width - 1]
    moved, noticed = compare(network, *there, exact=False)
    if moved <= noticed:
        size = float("inf")
    causal = size <= limit
    found.facts["causal"] = causal
    found.checks.append(
        Check(
            name="causality",
            passed=True,
            size=size,
            limit=limit,
            consequence="causal" if causal else "not causal",
        )
    )


def check_eager(
    network: TorchNetwork, batch: Batch, values: Mapping[str, torch.Tensor], found: Findings
) -> None:
    """The chosen implementation of attention gives what the eager one gives, on real tokens."""
    assert network.map is not None
    module, name = network.module, f"resid_post.{network.map.n_blocks - 1}"
    chosen = {
        str(getattr(m.config, "_attn_implementation", None))
        for m in module.modules()
        if hasattr(m, "config")
    }
    switch = getattr(module, "set_attn_implementation", None)
    if len(chosen) != 1 or chosen <= {"eager", "None"} or switch is None or name not in values:
        return
    eager: dict[str, torch.Tensor] = {}
    with alone():
        switch("eager")
        try:
            _read_into(network, batch, network.places[name], eager)
        finally:
            switch(chosen.pop())
    real = batch.masks.real
    ours, other = values[name], eager[name]
    if real is not None:
        ours, other = ours.cpu()[real.cpu()], other.cpu()[real.cpu()]
    size, limit = gap_of(ours, other), loose(network, ours, torch.float32)  # softmax of eager
    found.checks.append(
        Check(
            name="eager",
            passed=size <= limit,
            size=size,
            limit=limit,
            where=name,
            consequence="values depend on the implementation of attention; compare networks only "
            "at the same one",
        )
    )


def _read_into(
    network: TorchNetwork, batch: Batch, place: Place, into: dict[str, torch.Tensor]
) -> None:
    read_places(
        network.module,
        [place],
        lambda: network.forward(batch),
        lambda p, value: into.__setitem__(p.name, value.detach().clone()),
    )
