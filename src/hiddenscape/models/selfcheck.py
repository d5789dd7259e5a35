"""The self-check of a network: what does not pass is not offered, and the message says why.

Cheap: a handful of forward passes over two short rows. Probes use random vectors, because layer
norms remove a constant shift. Tolerances grow with the rounding of the dtype and with the size of
what is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from hiddenscape.errors import NetworkError
from hiddenscape.models.families.vae import LATENT_MEAN, LATENT_SAMPLE
from hiddenscape.models.hooks import read_places
from hiddenscape.models.latent import with_samples
from hiddenscape.models.latentcheck import check_latent
from hiddenscape.models.mapchecks import check_maps
from hiddenscape.models.network import Batch, Check, TorchNetwork
from hiddenscape.models.partchecks import (
    check_heads,
    check_hidden_units,
    check_norm_formula,
    check_norms,
)
from hiddenscape.models.passchecks import (
    check_aliases,
    check_causality,
    check_eager,
    match_aliases,
)
from hiddenscape.models.pooling import Masks
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

__all__ = ["self_check", "take"]


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
        match_aliases(network, batch, values, found)
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
        check_aliases(network, batch, values, found)
        check_causality(network, batch, values, found)
        check_eager(network, batch, values, found)
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


def take(batch: Batch, start: int, stop: int, width: int | None = None) -> Batch:
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
    changed = take(batch, 0, _rows(batch))
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
    alone = _read(network, take(batch, row, row + 1, width))
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
