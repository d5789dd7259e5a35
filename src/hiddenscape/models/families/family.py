"""What one file per architecture family has to say: where its sites are read.

A family is data. Each file in this folder defines one :class:`Family` (or a few that are close
kin) and ``families/__init__.py`` lists them; nothing else changes when a family is added.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
    blocks : tuple of str
        Paths of the list of blocks below the base model, first existing one wins (paths move
        between versions of a library).
    reads : mapping
        Site stem to (path inside the block, ``in`` or ``out``).
    final_norm : str or None
        Path of the norm after the last block, below the base model.
    heads : tuple of str
        Paths of the head, from the whole network.
    last_hidden : str
        ``final_norm`` or ``resid_post``: what the last entry of Hugging Face's hidden states is;
        empty where there are no such states.
    kind : str
        What the network eats: ``tokens``, ``pixels`` or ``arrays``.
    norm_first : bool
        False for post-norm blocks, where each add is followed by a norm.
    parallel : callable or None
        config -> whether attention and MLP of a block both read the stream entering it.
    cls : int or None
        Position of the classification token.
    prefix : int
        Positions in front of the content in networks of pixels.
    head_position : int or None
        The one position that the head reads; None for all.
    start_id : callable or None
        config -> id that is put before each row of token ids while the last one is dropped.
    max_length : callable or None
        config -> longest row of tokens, where the config's positions do not tell.
    alias_stems : tuple of str
        Stems of aliases that count like Hugging Face's hidden states.
    """

    name: str
    classes: str
    blocks: tuple[str, ...]
    reads: Reads
    final_norm: str | None
    heads: tuple[str, ...] = ()
    last_hidden: str = "final_norm"
    kind: str = "tokens"
    norm_first: bool = True
    parallel: Callable[[Any], bool] | None = None
    cls: int | None = None
    prefix: int = 0
    head_position: int | None = None
    start_id: Callable[[Any], int] | None = None
    max_length: Callable[[Any], int] | None = None
    alias_stems: tuple[str, ...] = ("hf",)

    def serves(self, module: nn.Module) -> bool:
        """Whether the class of ``module`` belongs to this family."""
        return re.fullmatch(self.classes, type(module).__name__) is not None


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


def build_map(family: Family, module: nn.Module) -> FamilyMap | None:
    """Lay ``family`` onto ``module``; None if the list of blocks is not where it should be."""
    modules = dict(module.named_modules())
    prefix = getattr(module, "base_model_prefix", "")
    base = f"{prefix}." if prefix and prefix in modules else ""
    blocks = next((base + p for p in family.blocks if base + p in modules), None)
    if blocks is None or not isinstance(modules[blocks], nn.ModuleList):
        return None
    count = len(modules[blocks])
    withdrawn: dict[str, str] = {}
    places: dict[str, Place] = {}

    def add(name: str, path: str, io: str, depth: float, block: int | None = None) -> None:
        if path in modules:
            places[name] = Place(name=name, path=path, io=io, depth=depth, block=block)
        else:
            withdrawn[name] = f"family {family.name!r} expects module {path!r}, which is missing"

    add("embed", f"{blocks}.0", "in", 0.0)
    parallel = family.parallel is not None and family.parallel(getattr(module, "config", None))
    for b in range(count):
        inside = {
            "resid_pre": ("", "in"),
            **family.reads,
            "resid_post": ("", "out"),
        }
        if parallel:
            inside.pop("resid_mid", None)
            withdrawn[f"resid_mid.{b}"] = "the blocks of this network are parallel"
        for stem, (path, io) in inside.items():
            full = f"{blocks}.{b}.{path}" if path else f"{blocks}.{b}"
            add(f"{stem}.{b}", full, io, b + BLOCK_DEPTHS[stem], b)
    final_norm = None if family.final_norm is None else base + family.final_norm
    if final_norm is not None:
        add("final_norm", final_norm, "out", float(count))
    head = next((path for path in family.heads if path in modules), None)
    if head is not None:
        add("logits", head, "out", float(count))
    return FamilyMap(
        family=family,
        places=places,
        aliases=_aliases(family, count),
        withdrawn=withdrawn,
        n_blocks=count,
        parallel=parallel,
        blocks=blocks,
        final_norm=final_norm,
        head=head,
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


def _aliases(family: Family, count: int) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for stem in family.alias_stems if family.last_hidden else ():
        for i in range(count):
            aliases[f"{stem}.{i}"] = f"resid_pre.{i}"
        last = "final_norm" if family.last_hidden == "final_norm" else f"resid_post.{count - 1}"
        aliases[f"{stem}.{count}"] = last
    for b in range(count):
        for hook, stem in _LENS_NAMES.items():
            aliases[f"blocks.{b}.{hook}"] = f"{stem}.{b}"
    return aliases
