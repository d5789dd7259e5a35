"""What a block, and the embedding, put into the stream, split into parts that add up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hiddenscape.errors import InterventionNotSupported
from hiddenscape.interventions.spots import Spots
from hiddenscape.models.hooks import module_at, unwrap
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.norms import NormFormula, fit_norm, norm_formula
from hiddenscape.models.structure import head_count

__all__ = ["Component", "block_shares", "embedding_shares", "watched_embeddings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One term of the stream: ``kind`` is embedding, head, attention_bias or mlp."""

    name: str
    kind: str
    block: int | None = None
    head: int | None = None


@contextmanager
def watched_embeddings(network: TorchNetwork) -> Iterator[dict[str, torch.Tensor]]:
    """What the embedding tables give during a pass, by path."""
    given: dict[str, torch.Tensor] = {}
    with ExitStack() as stack:
        for path, module in network.module.named_modules():
            if isinstance(module, nn.Embedding):

                def keep(_m: nn.Module, _a: Any, out: Any, path: str = path) -> None:
                    given[path] = out.detach().clone()

                stack.callback(module.register_forward_hook(keep).remove)
        yield given


def embedding_shares(
    network: TorchNetwork, given: Mapping[str, torch.Tensor], spots: Spots, embed: torch.Tensor
) -> tuple[list[Component], list[torch.Tensor]]:
    """The stream entering block 0, as tokens and positions where it is the sum of two tables.

    Where it is not (a norm, a scale or a projection follows, or positions are rotations), one
    component, ``embedding``, holds all of it.
    """
    table = getattr(network.module, "get_input_embeddings", lambda: None)()
    tokens = next((p for p in given if module_at(network.module, p) is table), None)
    if len(given) == 2 and tokens is not None:
        positions = next(v for path, v in given.items() if path != tokens)
        if positions.shape[-1] == given[tokens].shape[-1] and positions.ndim == 3:
            both = [given[tokens], positions.expand_as(given[tokens])]
            parts = [spots.take(x).cpu() for x in both]
            if parts[0].shape == embed.shape and torch.equal(parts[0] + parts[1], embed):
                names = ("token embedding", "position embedding")
                return [Component(name=n, kind="embedding") for n in names], parts
    return [Component(name="embedding", kind="embedding")], [embed]


def block_shares(
    network: TorchNetwork, block: int, at: Mapping[str, torch.Tensor], w: torch.Tensor
) -> tuple[Sequence[Component], torch.Tensor]:
    """(n, heads + 2) products with the directions ``w`` (n, d): heads, attention bias, MLP."""
    z = at[f"z.{block}"].double()
    heads = head_count(getattr(network.module, "config", None))
    if heads is None or z.shape[1] % heads:
        raise InterventionNotSupported(
            f"{type(network.module).__name__}: its config does not say how many heads z has"
        )
    weight, bias = _projection(network, f"z.{block}", z.shape[1])
    added = at[f"attn_out.{block}"].double()
    pulled, constant = w, torch.zeros(len(w), dtype=torch.float64)
    inner = _norm_inside(network, block, added.shape[1])
    if inner is not None:  # a norm stands between the projection and the add
        pulled = inner.pull(w) / inner.scale(z @ weight + bias)
        constant = constant if inner.bias is None else w @ inner.bias
    by_unit = z * (pulled @ weight.T)
    by_head = by_unit.reshape(len(z), heads, -1).sum(2)
    from_bias = (pulled * bias).sum(1) + constant
    from_mlp = (w * at[f"mlp_out.{block}"].double()).sum(1)
    named = [
        Component(name=f"block {block} head {h}", kind="head", block=block, head=h)
        for h in range(heads)
    ]
    named.append(
        Component(name=f"block {block} attention bias", kind="attention_bias", block=block)
    )
    named.append(Component(name=f"block {block} mlp", kind="mlp", block=block))
    return named, torch.cat([by_head, from_bias[:, None], from_mlp[:, None]], 1)


def _projection(network: TorchNetwork, site: str, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(width, d) weight and (d,) bias of the output projection, by calling it: orientation, wrapped
    adapters and quantised layers then are what they do."""
    module = module_at(network.module, network.places[site].path)
    device, dtype = network.device, network.dtype
    with torch.inference_mode():
        nothing = unwrap(module(torch.zeros((1, 1, width), dtype=dtype, device=device)))
        units = torch.eye(width, dtype=dtype, device=device)[None]
        each = unwrap(module(units))
    bias = nothing.cpu().double().reshape(-1)
    return each[0].cpu().double() - bias, bias


def _norm_inside(network: TorchNetwork, block: int, width: int) -> NormFormula | None:
    """The norm between output projection and add, None where there is none."""
    path = network.places[f"attn_out.{block}"].path
    if path == network.places[f"z.{block}"].path:
        return None
    module = module_at(network.module, path)
    found, size, _ = fit_norm(module, width, network.dtype, network.device)
    if found is None:
        raise InterventionNotSupported(
            f"block {block} of {type(network.module).__name__}: {type(module).__name__} stands "
            f"between attention and the stream, and no formula of ours reproduces it ({size:.2g})"
        )
    return norm_formula(module, found)
