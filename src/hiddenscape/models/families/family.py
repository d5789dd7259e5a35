"""What one file per architecture family has to say: where its sites are read.

A family is data. Each file in this folder defines one :class:`Family` (or a few that are close
kin) and ``families/__init__.py`` lists them; nothing else changes when a family is added.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from hiddenscape.models.sites import BLOCK_DEPTHS, Place

__all__ = ["Family", "FamilyMap", "build_map"]

Reads = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The site map of an architecture family.

    Attributes
    ----------
    name : str
        Name used in messages and manifests.
    classes : str
        Regular expression that matches the whole class name of the networks it serves.
    when : callable or None
        config -> whether it serves this variant of the class.
    blocks : tuple of str
        Paths of the list of blocks below the base model, first existing one wins (paths move
        between versions of a library).
    bases : tuple of str
        Paths of the base model, tried after the one that the class declares and the whole network.
    reads : mapping
        Site stem to (path inside the block, ``in`` or ``out``).
    flat : tuple of str
        Stems whose modules see rows and tokens flattened to (B*T, d); the shape is restored.
    final_norm : str or None
        Path of the norm after the last block, below the base model.
    final_position : int or None
        The one position that the final norm reads, its output is then (B, d); None for all.
    heads : tuple of str
        Paths of the head, from the whole network.
    before_head : tuple of str
        Modules called in turn between final norm and head, below the base model or from the whole
        network; those that do not exist are left out.
    softcap : callable or None
        config -> cap of the logits, cap * tanh(logits / cap), or None. With a cap, ``logits`` are
        the network's and ``logits_uncapped`` those of the head module.
    last_hidden : str
        ``final_norm`` or ``resid_post``: what the last entry of Hugging Face's hidden states is;
        empty where there are no such states.
    hidden_stem : str
        What entry i < L of the hidden states is: ``resid_pre`` or, in networks that leave the
        embedding out, ``resid_post``.
    kind : str
        What the network eats: ``tokens``, ``pixels`` or ``arrays``.
    norm_first : bool
        False for post-norm blocks, where each add is followed by a norm.
    post_norms : tuple of str
        Paths of these two norms inside a post-norm block.
    parallel : callable or None
        config -> whether attention and MLP of a block both read the stream entering it.
    cls : int or None
        Position of the classification token.
    prefix : int or callable
        Positions in front of the content in networks of pixels, or config -> their number.
    head_position : int or None
        The one position that the head reads; None for all.
    head_input : callable or None
        (normed stream (B, T, d), prefix) -> what the head reads, where it is not single positions.
    start_id : callable or None
        config -> id that is put before each row of token ids while the last one is dropped.
    max_length : callable or None
        config -> longest row of tokens, where the config's positions do not tell.
    first_position : callable or None
        config -> position number of a row's first token; 0 by default.
    lay : callable or None
        (family, network) -> its map, for families that are no list of transformer blocks; None
        where the network is not one of them after all.
    maps : bool
        Whether blocks give maps (B, C, H, W) instead of tokens.
    row_shape : callable or None
        config -> shape of one row of arrays or pixels, where it has no image size.
    alias_stems : tuple of str
        Stems of aliases that count like Hugging Face's hidden states.
    discovered : bool
        Found by structure, not written by hand.
    """

    name: str
    classes: str
    blocks: tuple[str, ...]
    reads: Reads
    final_norm: str | None
    when: Callable[[Any], bool] | None = None
    bases: tuple[str, ...] = ()
    flat: tuple[str, ...] = ()
    final_position: int | None = None
    heads: tuple[str, ...] = ()
    before_head: tuple[str, ...] = ()
    softcap: Callable[[Any], float | None] | None = None
    last_hidden: str = "final_norm"
    hidden_stem: str = "resid_pre"
    kind: str = "tokens"
    norm_first: bool = True
    post_norms: tuple[str, str] = ("", "")
    parallel: Callable[[Any], bool] | None = None
    cls: int | None = None
    prefix: int | Callable[[Any], int] = 0
    head_position: int | None = None
    head_input: Callable[[torch.Tensor, int], torch.Tensor] | None = None
    start_id: Callable[[Any], int] | None = None
    max_length: Callable[[Any], int] | None = None
    first_position: Callable[[Any], int] | None = None
    lay: Callable[[Family, nn.Module], FamilyMap | None] | None = None
    maps: bool = False
    row_shape: Callable[[Any], tuple[int, ...]] | None = None
    alias_stems: tuple[str, ...] = ("hf",)
    discovered: bool = False

    def serves(self, module: nn.Module) -> bool:
        """Whether the class and variant of ``module`` belong to this family."""
        if re.fullmatch(self.classes, type(module).__name__) is None:
            return False
        return self.when is None or self.when(getattr(module, "config", None))


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyMap:
    """A family laid onto one network: places by name, aliases, and paths for the self-check."""

    family: Family
    places: Mapping[str, Place]
    aliases: Mapping[str, str]
    withdrawn: Mapping[str, str]
    n_blocks: int
    parallel: bool
    blocks: str
    final_norm: str | None
    head: str | None
    before_head: tuple[str, ...] = ()
    softcap: float | None = None
    prefix: int = 0


def build_map(family: Family, module: nn.Module) -> FamilyMap | None:
    """Lay ``family`` onto ``module``; None if the list of blocks is not where it should be."""
    modules = dict(module.named_modules())
    base, blocks = _find_blocks(family, module, modules)
    if blocks is None or not isinstance(modules[blocks], nn.ModuleList):
        return None
    config = getattr(module, "config", None)
    parallel = family.parallel is not None and family.parallel(config)
    laying = _Laying(modules=modules, family=family, blocks=blocks)
    laying.add_blocks(parallel)
    tail = _lay_tail(laying, base, config)
    return FamilyMap(
        family=family,
        places=laying.places,
        aliases=_aliases(family, laying.count, tail),
        withdrawn=laying.withdrawn,
        n_blocks=laying.count,
        parallel=parallel,
        blocks=blocks,
        final_norm=tail.final_norm,
        head=tail.head,
        before_head=tail.before_head,
        softcap=tail.softcap,
        prefix=family.prefix(config) if callable(family.prefix) else family.prefix,
    )


def _find_blocks(
    family: Family, module: nn.Module, modules: Mapping[str, nn.Module]
) -> tuple[str, str | None]:
    declared = getattr(module, "base_model_prefix", "")
    first = f"{declared}." if declared and declared in modules else ""
    for base in (first, "", *(f"{b}." for b in family.bases)):
        for path in family.blocks:
            if base + path in modules:
                return base, base + path
    return first, None


@dataclass(slots=True, kw_only=True)
class _Laying:
    """Places found so far, and those whose module is missing."""

    modules: Mapping[str, nn.Module]
    family: Family
    blocks: str
    places: dict[str, Place] = field(default_factory=dict)
    withdrawn: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(cast(nn.ModuleList, self.modules[self.blocks]))

    def add(self, name: str, path: str, io: str, depth: float, **more: Any) -> None:
        if path in self.modules:
            self.places[name] = Place(name=name, path=path, io=io, depth=depth, **more)
        else:
            self.withdrawn[name] = (
                f"family {self.family.name!r} expects module {path!r}, which is missing"
            )

    def add_blocks(self, parallel: bool) -> None:
        self.add("embed", f"{self.blocks}.0", "in", 0.0)
        inside = {"resid_pre": ("", "in"), **self.family.reads, "resid_post": ("", "out")}
        if parallel:
            inside.pop("resid_mid", None)
        for b in range(self.count):
            block = f"{self.blocks}.{b}"
            if parallel:
                self.withdrawn[f"resid_mid.{b}"] = "the blocks of this network are parallel"
            for stem, (path, io) in inside.items():
                full = f"{block}.{path}" if path else block
                like = block if stem in self.family.flat else ""
                depth = b + BLOCK_DEPTHS[stem]
                self.add(f"{stem}.{b}", full, io, depth, block=b, like=like)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tail:
    """What follows the blocks."""

    final_norm: str | None
    head: str | None
    before_head: tuple[str, ...]
    softcap: float | None
    last_hidden: str


def _lay_tail(laying: _Laying, base: str, config: Any) -> _Tail:
    family, modules, depth = laying.family, laying.modules, float(laying.count)
    final_norm = None if family.final_norm is None else base + family.final_norm
    if final_norm is not None:
        laying.add("final_norm", final_norm, "out", depth)
        final_norm = final_norm if final_norm in modules else None
    inner = [base + q for q in family.before_head if base + q in modules]
    outer = [q for q in family.before_head if base and q in modules]
    if inner:  # part of the base model: the library's last hidden state is what it gives
        last = f"module:{inner[-1]}"
        laying.add(last, inner[-1], "out", depth)
    else:
        normed = family.last_hidden == "final_norm" and final_norm is not None
        last = "final_norm" if normed else f"resid_post.{laying.count - 1}"
    head = next((path for path in family.heads if path in modules), None)
    softcap = None if family.softcap is None or head is None else family.softcap(config)
    if head is not None and softcap is not None:
        laying.add("logits", "", "out", depth, attribute="logits")
        laying.add("logits_uncapped", head, "out", depth)
    elif head is not None:
        laying.add("logits", head, "out", depth)
    return _Tail(
        final_norm=final_norm,
        head=head,
        before_head=(*inner, *outer),
        softcap=softcap,
        last_hidden=last,
    )


_LENS_NAMES = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "attn.hook_z": "z",
    "mlp.hook_post": "mlp_act",
}


def _aliases(family: Family, count: int, tail: _Tail) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for stem in family.alias_stems if family.last_hidden else ():
        for i in range(count):
            aliases[f"{stem}.{i}"] = f"{family.hidden_stem}.{i}"
        aliases[f"{stem}.{count}"] = tail.last_hidden
    for b in range(count):
        for hook, name in _LENS_NAMES.items():
            aliases[f"blocks.{b}.{hook}"] = f"{name}.{b}"
    return aliases
