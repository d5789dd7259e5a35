"""Which module is the attention of which block, seen at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from hiddenscape.errors import InputError, InterventionNotSupported
from hiddenscape.interventions.attention import ActiveEdits, using
from hiddenscape.interventions.entries import HeadEdit
from hiddenscape.interventions.rows import self_checked
from hiddenscape.interventions.spec import AttentionEdit
from hiddenscape.interventions.switch import LOCK, switched
from hiddenscape.models.batching import probe_batch
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.selfcheck import take

__all__ = ["Located", "active_for", "locate"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Located:
    """A self-checked network, its attention modules by block, and rows to probe it with.

    ``heads`` is the number of (query) heads of each block; ``rows`` has two of one length.
    """

    network: TorchNetwork
    modules: Mapping[int, nn.Module]
    heads: Mapping[int, int]
    rows: Batch


def locate(network: TorchNetwork) -> Located:
    """Find the attention module of each block, by running the network once.

    Raises
    ------
    InterventionNotSupported
        If the network has no blocks with attention of its own that can be replaced.
    """
    rows = probe_batch(network) if network.map is not None else None
    if network.map is None or network.map.family.maps or rows is None or not network.map.blocks:
        raise InterventionNotSupported(
            f"network {network.name!r} ({type(network.module).__name__}) is not known as a "
            "transformer with attention heads; attention edits need one of Hugging Face's"
        )
    network = self_checked(network)
    assert network.map is not None
    rows = _equal(rows)
    paths = {id(m): path for path, m in network.module.named_modules()}
    calls: list[tuple[nn.Module, int]] = []
    watch = ActiveEdits(keep=lambda module, heads, _weights: calls.append((module, heads)))
    with LOCK, switched(network.module), using(watch):
        network.forward(rows)
    modules: dict[int, nn.Module] = {}
    heads: dict[int, int] = {}
    for b in range(network.map.n_blocks):
        inside = f"{network.map.blocks}.{b}."
        here = [(m, h) for m, h in calls if paths.get(id(m), "").startswith(inside)]
        if len(here) == 1:
            modules[b], heads[b] = here[0]
    if not modules:
        raise InterventionNotSupported(
            f"no block of {type(network.module).__name__} calls attention once per pass through "
            "transformers' attention interface, so there is nothing to edit or read"
        )
    return Located(network=network, modules=modules, heads=heads, rows=rows)


def _equal(batch: Batch) -> Batch:
    """The rows cut to the shortest."""
    real = batch.masks.real
    if real is None:
        return batch
    return take(batch, 0, len(real), int(real.sum(1).min()))


def active_for(located: Located, edits: Sequence[AttentionEdit]) -> ActiveEdits:
    """The edits laid onto the attention modules.

    Raises
    ------
    InputError
        If a block or a head does not exist.
    InterventionNotSupported
        If a block has no attention that can be edited.
    """
    at: dict[int, list[HeadEdit]] = {}
    where: dict[int, str] = {}
    assert located.network.map is not None
    count = located.network.map.n_blocks
    for edit in edits:
        for block in edit.blocks:
            if block >= count:
                raise InputError(f"block {block} is out of range: blocks are 0 to {count - 1}")
            module = located.modules.get(block)
            if module is None:
                raise InterventionNotSupported(
                    f"block {block} of {located.network.name!r} has no attention that is called "
                    "once per pass; edit another block"
                )
            chosen = [h for b, h in edit.heads if b == block]
            most = located.heads[block]
            if max(chosen) >= most:
                raise InputError(
                    f"head ({block}, {max(chosen)}) is out of range: block {block} has the heads "
                    f"0 to {most - 1}"
                )
            at.setdefault(id(module), []).append((edit, chosen))
            where[id(module)] = f"block {block}"
    return ActiveEdits(at=at, where=where)
