"""Checks of networks whose blocks give maps (B, C, H, W): stream, sums, head, hidden states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from hiddenscape.models.hooks import module_at
from hiddenscape.models.network import Batch, Check, TorchNetwork
from hiddenscape.models.streamchecks import SUM_FACTOR, Findings, gap_of, loose

__all__ = ["check_maps", "matched_states"]

Values = Mapping[str, torch.Tensor]


def check_maps(network: TorchNetwork, batch: Batch, values: Values, found: Findings) -> None:
    """Shapes; each block reads what the one before gives; sums of main path and shortcut; head."""
    assert network.map is not None
    _check_shapes(values, found)
    _check_stream(network, values, found)
    _check_sums(network, batch, values, found)
    _check_head(network, batch, values, found)


def _check_shapes(values: Values, found: Findings) -> None:
    flat = [n for n, x in values.items() if n.startswith(("embed", "resid_")) and x.ndim != 4]
    shape = tuple(values[flat[0]].shape) if flat else ()
    check = Check(
        name="shape",
        passed=not flat,
        size=float(len(shape)),
        limit=4.0,
        where=", ".join(flat),
        consequence=f"expected maps (rows, channels, height, width), got {shape}",
    )
    found.add(check if flat else Check(name="shape", passed=True), flat)


def _check_stream(network: TorchNetwork, values: Values, found: Findings) -> None:
    """What enters block b + 1 is what block b gave: blocks are counted in order of firing."""
    assert network.map is not None
    broken: list[str] = []
    size = 0.0
    for b in range(1, network.map.n_blocks):
        before, after = values.get(f"resid_post.{b - 1}"), values.get(f"resid_pre.{b}")
        gap = float("inf") if before is None or after is None else gap_of(before, after)
        if gap > 0:
            broken.append(f"resid_pre.{b}")
            size = max(size, gap)
    names = [n for n in values if n.startswith("resid_")] if broken else []
    found.add(
        Check(
            name="stream",
            passed=not broken,
            size=size,
            where=", ".join(broken),
            consequence="blocks do not follow one another in the order of their names, or "
            "something lies between them; read modules by their paths",
        ),
        names,
    )


def _check_sums(network: TorchNetwork, batch: Batch, values: Values, found: Findings) -> None:
    """resid_post = act(main path + shortcut): some pair of maps inside the block must give it."""
    assert network.map is not None
    worst = Check(name="residual sum", passed=True)
    for b in range(network.map.n_blocks):
        entering, leaving = values.get(f"resid_pre.{b}"), values.get(f"resid_post.{b}")
        if entering is None or leaving is None:
            continue
        block = module_at(network.module, network.map.places[f"resid_post.{b}"].path)
        inside = _outputs(block, lambda: network.forward(batch), leaving.shape)
        eps = torch.finfo(network.dtype).eps
        limit = SUM_FACTOR * eps * float(max(x.abs().max() for x in (leaving, *inside, entering)))
        size = min(_gaps(block, entering, leaving, inside), default=float("inf"))
        check = Check(
            name="residual sum",
            passed=size <= limit,
            size=size,
            limit=limit,
            where=f"block {b}",
            consequence="what this block gives is not its main path plus a shortcut",
        )
        if not check.passed:
            found.withdrawn[f"resid_post.{b}"] = str(check)
        if (worst.passed and not check.passed) or (
            worst.passed == check.passed and size - limit > worst.size - worst.limit
        ):
            worst = check
    found.add(worst)


def _outputs(block: nn.Module, forward: Callable[[], Any], shape: torch.Size) -> list[torch.Tensor]:
    """Every map of this shape that a module inside the block gave, last first."""
    maps: list[torch.Tensor] = []

    def keep(_m: nn.Module, _a: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.shape == shape:
            maps.append(output.detach().clone())  # a later in-place sum must not change it

    with ExitStack() as stack:
        for inner in block.modules():
            if inner is not block:
                stack.callback(inner.register_forward_hook(keep).remove)
        forward()
    return maps[::-1]


def _gaps(
    block: nn.Module, entering: torch.Tensor, leaving: torch.Tensor, inside: list[torch.Tensor]
) -> Iterator[float]:
    shortcuts = [*_shortcuts(entering, leaving), *inside]
    for i, main in enumerate(inside):
        for j, shortcut in enumerate(shortcuts):
            if j - (len(shortcuts) - len(inside)) == i:
                continue
            total = main + shortcut
            yield gap_of(total, leaving)
            for act in _activations(block):
                yield gap_of(act(total.clone()), leaving)


def _activations(block: nn.Module) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """relu, and what else the block owns that has no parameters and changes no shape."""
    own = {type(m): m for m in block.modules() if type(m).__module__.endswith(".activation")}
    return [F.relu, *(m for kind, m in own.items() if kind is not nn.ReLU)]


def _shortcuts(entering: torch.Tensor, leaving: torch.Tensor) -> Iterator[torch.Tensor]:
    """Shortcuts without parameters: the stream itself; subsampled, channels padded with zeros."""
    if entering.shape == leaving.shape:
        yield entering
        return
    step = entering.shape[2] // leaving.shape[2]
    more = leaving.shape[1] - entering.shape[1]
    small = entering[:, :, ::step, ::step] if step > 0 else entering
    if more < 0 or small.shape[2:] != leaving.shape[2:]:
        return
    for front in {more // 2, 0}:
        yield F.pad(small, (0, 0, 0, 0, front, more - front))


def _check_head(network: TorchNetwork, batch: Batch, values: Values, found: Findings) -> None:
    """The head's output is what the network gives."""
    assert network.map is not None
    if "logits" not in values:
        return
    given = network.forward(batch)
    logits = getattr(given, "logits", given)
    same = isinstance(logits, torch.Tensor)
    size = gap_of(logits, values["logits"]) if same else float("inf")
    limit = loose(network, values["logits"])
    found.add(
        Check(
            name="logits",
            passed=size <= limit,
            size=size,
            limit=limit,
            where=network.map.head or "",
            consequence="what this module gives is not what the network gives",
        ),
        ["logits"],
    )


def matched_states(
    states: tuple[torch.Tensor, ...], values: Values
) -> tuple[dict[str, str], list[int]]:
    """Hidden states to the sites that hold the same, each entry after the one before.

    Returns
    -------
    aliases : dict
        ``hf.i`` to site.
    unmatched : list of int
        Entries that equal no site.
    """
    names = [n for n in values if n == "embed" or n.startswith("resid_post.")]
    aliases: dict[str, str] = {}
    unmatched: list[int] = []
    at = 0
    for i, state in enumerate(states):
        hit = next((j for j in range(at, len(names)) if torch.equal(state, values[names[j]])), None)
        if hit is None:
            unmatched.append(i)
            continue
        aliases[f"hf.{i}"] = names[hit]
        at = hit + 1
    return aliases, unmatched
