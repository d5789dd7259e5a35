"""The self-check of a network: what does not pass is not offered, and the message says why.

Cheap: a handful of forward passes over two short rows. Probes use random vectors, because layer
norms remove a constant shift. Tolerances grow with the rounding of the dtype and with the size of
what is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from hiddenscape.errors import NetworkError
from hiddenscape.models.families.vae import LATENT_MEAN, LATENT_SAMPLE
from hiddenscape.models.hooks import first_input, hooks_restored, module_at, read_places
from hiddenscape.models.latent import with_samples
from hiddenscape.models.latentcheck import check_latent
from hiddenscape.models.mapchecks import check_maps, matched_states
from hiddenscape.models.network import Batch, Check, TorchNetwork
from hiddenscape.models.partchecks import (
    check_heads,
    check_hidden_units,
    check_norm_formula,
    check_norms,
)
from hiddenscape.models.pooling import Masks
from hiddenscape.models.sites import Place
from hiddenscape.models.streamchecks import (
    Findings,
    check_final_norm,
    check_head,
    check_shapes,
    check_sums,
    gap_of,
    loose,
)
from hiddenscape.models.structure import constant_positions, patch_count

__all__ = ["self_check"]


def self_check(network: TorchNetwork, batch: Batch) -> TorchNetwork:
    """Check ``network`` on a small batch, and withdraw what fails.

    Checks: mode and determinism, fire counts, independence of rows, independence of padding,
    shapes, the residual sums of each block, what the norms read, heads and hidden units against
    what they lead to, final norm and its formula, the head, the aliases of hidden states,
    causality, and the eager implementation of attention against the chosen one.

    Parameters
    ----------
    network : TorchNetwork
        Its checks so far are replaced.
    batch : Batch
        Two or more different rows; the second should be shorter where rows have lengths.

    Returns
    -------
    TorchNetwork
        With ``checks``, ``withdrawn``, ``aliases``, ``batching`` and ``facts`` filled in.

    Raises
    ------
    NetworkError
        If two passes differ, a module stays in training mode, or rows depend on each other: no
        point of such a network means anything.
    """
    network = network.resolved(batch)
    found = Findings()
    _check_fire_count(network, found)
    network, values = _check_determinism(network, batch, found)
    if _rows(batch) > 1:
        _check_rows(network, batch, values, found)
    if network.kind == "tokens":
        _check_padding(network, batch, values, found)
    if network.map is not None and network.map.family.maps:
        check_maps(network, batch, values, found)
        _match_aliases(network, batch, values, found)
    elif network.map is None and LATENT_MEAN in network.places:
        check_latent(network, batch, values, found)
    elif network.map is not None:
        check_shapes(network, values, found)
        _check_prefix(network, values, found)
        check_sums(network, values, found)
        check_norms(network, batch, values, found)
        check_heads(network, values, found)
        check_hidden_units(network, values, found)
        check_final_norm(network, values, found)
        check_norm_formula(network, values, found)
        check_head(network, batch, values, found)
        _check_aliases(network, batch, values, found)
        _check_causality(network, batch, values, found)
        _check_eager(network, batch, values, found)
    return _apply(network, found)


def _apply(network: TorchNetwork, found: Findings) -> TorchNetwork:
    withdrawn = {**network.withdrawn, **found.withdrawn}
    padding = next((c for c in found.checks if c.name == "padding"), None)
    return replace(
        network,
        places={n: p for n, p in network.places.items() if n not in withdrawn},
        withdrawn=withdrawn,
        aliases={
            a: n
            for a, n in {**network.aliases, **found.aliases}.items()
            if a not in found.lost_aliases and n not in withdrawn
        },
        checks=tuple(found.checks),
        batching=padding is None or padding.passed,
        facts={**network.facts, **found.facts},
    )


def _rows(batch: Batch) -> int:
    return len(next(iter((*batch.args, *batch.kwargs.values()))))


def _take(batch: Batch, start: int, stop: int, width: int | None = None) -> Batch:
    """Some rows of a batch, cut to ``width`` tokens."""

    def cut(x: torch.Tensor) -> torch.Tensor:
        return x[start:stop] if width is None else x[start:stop, :width]

    real, content = batch.masks.real, batch.masks.content
    return Batch(
        args=tuple(cut(a) for a in batch.args),
        kwargs={k: cut(v) for k, v in batch.kwargs.items()},
        masks=Masks(
            real=None if real is None else cut(real),
            content=None if content is None else cut(content),
            cls=batch.masks.cls,
            prefix=batch.masks.prefix,
        ),
    )


def _read(network: TorchNetwork, batch: Batch) -> dict[str, torch.Tensor]:
    """Every site of one full pass, cloned; the pass is not left early."""
    found: dict[str, torch.Tensor] = {}
    readings, sink = with_samples(
        list(network.places.values()),
        range(_rows(batch)),
        lambda place, value: found.__setitem__(place.name, value.detach().clone()),
    )
    read_places(network.module, readings, lambda: network.forward(batch), sink, stop_early=False)
    return found


def _check_determinism(
    network: TorchNetwork, batch: Batch, found: Findings
) -> tuple[TorchNetwork, dict[str, torch.Tensor]]:
    training = [path for path, m in network.module.named_modules() if m.training]
    if training:
        raise NetworkError(
            f"network {network.name!r}: module {training[0] or 'itself'!r} is in training mode; "
            "call eval() on it"
        )
    first, second = _read(network, batch), _read(network, batch)
    gaps = {
        name: gap_of(value, second[name])
        for name, value in first.items()
        if not torch.equal(value.nan_to_num(), second[name].nan_to_num())
    }
    drawn = LATENT_MEAN in network.places and not gaps.keys() & {LATENT_MEAN, LATENT_SAMPLE}
    for name, gap in gaps.items():
        if not drawn:
            raise NetworkError(
                f"network {network.name!r}: two passes over the same input differ at site "
                f"{name!r} (by {gap:.3g}); it draws random numbers or "
                "keeps a state, so its points cannot be reproduced"
            )
        found.withdrawn[name] = (
            f"it follows a latent code that the network draws anew in every pass (two differ by "
            f"{gap:.3g}); latent_sample can be reproduced"
        )
    found.add(Check(name="determinism", passed=True))
    kept = {n: p for n, p in network.places.items() if n not in gaps}
    return replace(network, places=kept), {n: x for n, x in first.items() if n not in gaps}


def _check_fire_count(network: TorchNetwork, found: Findings) -> None:
    """Modules that do not fire as often as declared were left out when the order was found."""
    lost = {name: why for name, why in network.withdrawn.items() if " fired " in why}
    checks = [
        Check(name="fire count", passed=False, size=1.0, where=name, consequence=why)
        for name, why in lost.items()
    ]
    found.withdrawn |= {check.where: str(check) for check in checks}
    found.checks.append(checks[0] if checks else Check(name="fire count", passed=True))


def _check_prefix(
    network: TorchNetwork, values: Mapping[str, torch.Tensor], found: Findings
) -> None:
    """Positions that hold the same for every image are those in front of the patches."""
    assert network.map is not None
    if network.kind != "pixels" or "embed" not in values or len(values["embed"]) < 2:
        return
    embed, prefix = values["embed"], network.map.prefix
    patches = patch_count(getattr(network.module, "config", None))
    front = constant_positions(embed)
    if front != list(range(prefix)) or patches not in (None, embed.shape[1] - prefix):
        raise NetworkError(
            f"network {network.name!r}: self-check 'prefix' failed: of {embed.shape[1]} positions "
            f"{len(front)} do not depend on the image and the config has {patches} patches; its "
            f"family says {prefix} stand in front of them, so a mean over patches would be wrong"
        )
    found.add(Check(name="prefix", passed=True))


def _check_rows(
    network: TorchNetwork, batch: Batch, values: Mapping[str, torch.Tensor], found: Findings
) -> None:
    """Changing row 2 leaves row 1."""
    changed = _take(batch, 0, _rows(batch))
    changed = Batch(
        args=tuple(_change_rows(a) for a in changed.args),
        kwargs={
            k: v if k == "attention_mask" else _change_rows(v) for k, v in changed.kwargs.items()
        },
        masks=changed.masks,
    )
    other = _read(network, changed)
    worst = Check(name="row independence", passed=True)
    count = _rows(batch)
    for name, value in values.items():
        limit = loose(network, value)
        same = len(value) == count and len(other[name]) == count
        gap = gap_of(value[0], other[name][0]) if same else float("inf")
        if gap > limit:
            check = Check(
                name="row independence",
                passed=False,
                size=gap,
                limit=limit,
                where=name,
                consequence="the first axis of this site is not the row, or rows influence each "
                "other",
            )
            found.withdrawn[name] = str(check)
            worst = check if worst.passed else worst
    found.add(worst)
    if len(found.withdrawn) == len(values) and not worst.passed:
        raise NetworkError(f"network {network.name!r}: {worst}")


def _change_rows(x: torch.Tensor) -> torch.Tensor:
    """The same batch with every row but the first taken backwards or, if equal, moved a little."""
    rest = x[1:].flatten(1).flip(1).reshape(x[1:].shape)
    if torch.equal(rest, x[1:]) and x.is_floating_point():
        rest = x[1:] * 0.5 + 0.25
    return torch.cat([x[:1], rest])


def _check_padding(
    network: TorchNetwork, batch: Batch, values: Mapping[str, torch.Tensor], found: Findings
) -> None:
    """A row alone equals the row inside a padded batch, on its real tokens."""
    real = batch.masks.real
    if real is None or bool(real.all()):
        return
    row = int(real.sum(1).argmin())
    width = int(real[row].sum())
    alone = _read(network, _take(batch, row, row + 1, width))
    pairs = [
        (gap_of(x[0], values[name][row, :width]), loose(network, values[name][row, :width]), name)
        for name, x in alone.items()
        if x.ndim > 2 and values[name].ndim > 2
    ]
    if not pairs:
        return
    size, limit, where = max(pairs, key=lambda pair: pair[0] - pair[1])
    found.add(
        Check(
            name="padding",
            passed=size <= limit,
            size=size,
            limit=limit,
            where=where,
            consequence="padding changes real tokens; batches hold rows of equal length only",
        )
    )


def _check_aliases(
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
        (gap_of(states[int(a.split(".")[1])], values[n]), loose(network, values[n]), a)
        for a, n in wanted.items()
        if n in values
    ]
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


def _match_aliases(
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


def _check_causality(
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
    size, limit = gap_of(before, after), loose(network, values[name][0])
    moved = gap_of(values[name][0, width - 1], pushed[name][0, width - 1])
    if moved <= limit:
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


def _check_eager(
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
