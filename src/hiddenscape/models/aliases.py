"""Other people's names of sites: Hugging Face indices, TransformerLens hooks, papers.

An alias is accepted wherever a site is, and resolved before a manifest is written: a store holds
canonical names only. Some of these names mean a pooling too; it is said in the table and never
chosen silently.

=================  ==========================================================================
alias              what it means
=================  ==========================================================================
``hf.i``           entry i of Hugging Face's hidden states, as the load-time probe found it
``esm.i``          layer number of fair-esm, the last with the final norm (ESM-2 only)
``blocks.b.hook_*``  TransformerLens
``valeriani23.l``  Valeriani et al. 2023, arXiv:2302.00294. ImageGPT: ``ln1_out.l``, for l = L
                   ``final_norm``, mean over all tokens. ESM-2: ``hf.l``, mean over residues
``cheng25.l``      Cheng et al. 2025, arXiv:2405.15471: ``hf.l`` from l = 1 on, last token
``doimo24.l``      Doimo et al. 2024, arXiv:2409.03662: ``ln1_out.l``, for l = L ``final_norm``,
                   for l = L + 1 ``logits``, last token
``ortu24.b``       Ortu et al. 2024, arXiv:2402.11655: ``resid_mid.b``
=================  ==========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from hiddenscape.errors import SiteError
from hiddenscape.models.families import FamilyMap

__all__ = ["Alias", "check_alias", "known_aliases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Another name of a site.

    Attributes
    ----------
    name, site : str
        The alias, and the canonical name it stands for.
    pooling : str
        The pooling that its source read the site with; empty where the name implies none.
    remark : str
        What to know before comparing numbers with those of the source.
    """

    name: str
    site: str
    pooling: str = ""
    remark: str = ""


_DECODERS = (
    "gpt2", "gpt_neo", "gptj", "gpt_neox", "bloom", "llama", "olmo2", "opt", "gemma", "gemma2",
    "gemma3",
)  # fmt: skip
_LENS = "compare with TransformerLens only where its weight processing is off"
_UNFOLDED = "equal only where TransformerLens does not fold the norms"
_LENS_NORMS = {"ln1.hook_normalized": "ln1_out", "ln2.hook_normalized": "ln2_out"}


def _valeriani(plan: FamilyMap) -> Iterator[Alias]:
    count = plan.n_blocks
    if plan.family.name == "esm":
        for i in range(count + 1):
            yield Alias(name=f"valeriani23.{i}", site=f"hf.{i}", pooling="mean")
        return
    sites = [*(f"ln1_out.{b}" for b in range(count)), "final_norm"]
    for i, site in enumerate(sites):
        yield Alias(name=f"valeriani23.{i}", site=site, pooling="mean_all")


def _cheng(plan: FamilyMap) -> Iterator[Alias]:
    for i in range(1, plan.n_blocks + 1):
        yield Alias(name=f"cheng25.{i}", site=f"hf.{i}", pooling="last")


def _doimo(plan: FamilyMap) -> Iterator[Alias]:
    count = plan.n_blocks
    sites = [*(f"ln1_out.{b}" for b in range(count)), "final_norm", "logits"]
    for i, site in enumerate(sites):
        remark = "constant over rows where all prompts end alike" if i == 0 else ""
        remark = "what the paper calls the last layer" if site == "logits" else remark
        yield Alias(name=f"doimo24.{i}", site=site, pooling="last", remark=remark)


def _ortu(plan: FamilyMap) -> Iterator[Alias]:
    remark = "as in the figures; the command line of its code reads resid_post"
    for b in range(plan.n_blocks):
        yield Alias(name=f"ortu24.{b}", site=f"resid_mid.{b}", remark=remark)


@dataclass(frozen=True, slots=True)
class _Paper:
    families: tuple[str, ...]
    names: Callable[[FamilyMap], Iterator[Alias]]


_PAPERS: Mapping[str, _Paper] = {
    "valeriani23": _Paper(("imagegpt", "esm"), _valeriani),
    "cheng25": _Paper(_DECODERS, _cheng),
    "doimo24": _Paper(tuple(f for f in _DECODERS if f != "olmo2"), _doimo),
    "ortu24": _Paper(_DECODERS, _ortu),
}


def known_aliases(
    plan: FamilyMap | None, aliases: Mapping[str, str], sites: Collection[str]
) -> dict[str, Alias]:
    """Every alias of a network, by name.

    Parameters
    ----------
    plan : FamilyMap or None
        The map of its family; without one only ``aliases`` are known.
    aliases : mapping
        Names of libraries that its self-check left standing: alias to site.
    sites : collection of str
        The sites on offer; an alias of any other site is left out.

    Examples
    --------
    >>> known_aliases(None, {"hf.0": "embed"}, ["embed"])["hf.0"].site
    'embed'
    """
    found = {
        name: Alias(name=name, site=site, remark=_LENS if name.startswith("blocks.") else "")
        for name, site in aliases.items()
        if site in sites
    }
    if plan is None:
        return found
    for b in range(plan.n_blocks if any(a.startswith("blocks.") for a in aliases) else 0):
        for hook, stem in _LENS_NORMS.items():
            name = f"blocks.{b}.{hook}"
            found[name] = Alias(name=name, site=f"{stem}.{b}", remark=_UNFOLDED)
    for paper in _PAPERS.values():
        if plan.family.name in paper.families:
            for alias in paper.names(plan):
                site = aliases.get(alias.site, alias.site)
                found[alias.name] = Alias(
                    name=alias.name, site=site, pooling=alias.pooling, remark=alias.remark
                )
    return {name: alias for name, alias in found.items() if alias.site in sites}


_NO_SITE = {
    "hook_embed": "tokens without positions, which no site holds; the tensor that enters block 0 "
    "is 'embed' (blocks.0.hook_resid_pre)",
    "hook_pos_embed": "positions alone, which no site holds; the tensor that enters block 0 is "
    "'embed' (blocks.0.hook_resid_pre)",
}
_STEM = re.compile(r"^(\w+)\.")


def check_alias(
    item: str,
    plan: FamilyMap | None,
    *,
    network: str,
    aliases: Mapping[str, str],
    withdrawn: Mapping[str, str],
) -> None:
    """Refuse, with the reason, a name that other tools know and this network cannot mean.

    Raises
    ------
    SiteError
        For names without a site, papers of other families, and names whose site is not offered.

    Examples
    --------
    >>> check_alias("hook_embed", None, network="gpt2", aliases={}, withdrawn={})
    Traceback (most recent call last):
    hiddenscape.errors.SiteError: 'hook_embed' is tokens without positions, which no site holds; ...
    """
    if item in _NO_SITE:
        raise SiteError(f"{item!r} is {_NO_SITE[item]}")
    match = _STEM.match(item)
    stem = "" if match is None else match[1]
    if stem not in (*_PAPERS, "hf", "esm"):
        return
    family = None if plan is None else plan.family.name
    whose = f"network {network!r} " + (
        "has no site map" if family is None else f"is of family {family!r}"
    )
    if stem in _PAPERS and family not in _PAPERS[stem].families:
        known = ", ".join(_PAPERS[stem].families)
        raise SiteError(f"{item!r} is no name here: {whose}; {stem!r} names sites of {known}")
    if stem in ("hf", "esm") and not any(a.startswith(f"{stem}.") for a in aliases):
        why = "hidden states" if stem == "hf" else "layer numbers of fair-esm"
        raise SiteError(
            f"{item!r} is no name here: {whose}, and has no {why} that its self-check confirmed"
        )
    if item.split("-")[0] == "cheng25.0":
        raise SiteError(
            f"{item!r}: index 0 is left out in the source, because the embedding of the last token "
            "has at most as many different rows as the vocabulary has words; 'hf.0' is that site"
        )
    if plan is not None and stem in _PAPERS:
        target = next((a.site for a in _PAPERS[stem].names(plan) if a.name == item), "")
        if reason := withdrawn.get(aliases.get(target, target)):
            raise SiteError(f"{item!r} means {target!r}, which is not offered: {reason}")
        if target.startswith("hf.") and target not in aliases:
            raise SiteError(f"{item!r} means {target!r}, which the self-check did not confirm")
