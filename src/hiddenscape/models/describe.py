"""The table of sites of a network: what can be read, where, how it was checked, its other names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from hiddenscape.models.aliases import Alias
from hiddenscape.models.batching import probe_batch
from hiddenscape.models.network import Batch, Check, TorchNetwork
from hiddenscape.models.selfcheck import self_check
from hiddenscape.models.sites import Place

__all__ = ["SiteRow", "SiteTable", "describe_sites"]

Shape = tuple[int | str, ...]

_EVERYWHERE = ("determinism", "fire count", "row independence", "padding")
_COVERED: Mapping[str, tuple[str, ...]] = {
    "shape": ("embed", "resid_pre", "resid_mid", "resid_post", "final_norm"),
    "residual sum": ("resid_pre", "resid_post"),
    "residual sum (attn_out)": ("attn_out", "resid_pre", "resid_post"),
    "residual sum (mlp_out)": ("mlp_out", "resid_pre", "resid_post"),
    "residual sum (resid_mid)": ("resid_mid",),
    "norm (ln1_out)": ("ln1_out",),
    "norm (ln2_out)": ("ln2_out",),
    "stream": ("embed", "resid_pre", "resid_post"),
    "heads": ("z",),
    "hidden units": ("mlp_act",),
    "final norm": ("final_norm",),
    "norm formula": ("final_norm",),
    "logits": ("logits", "logits_uncapped"),
    "latent": ("latent_mean", "latent_sample"),
    "latent spread": ("latent_sample",),
}
"""Check to the stems of sites that it speaks for. Heads, hidden units and norms are checked in the
first, the middle and the last block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRow:
    """One site on offer.

    Attributes
    ----------
    name : str
    depth : float
        Counted in blocks; raw modules by order of firing.
    block : int or None
    shape : tuple or None
        Of one row: ``("T", d)`` where there is one vector per token; None while unknown.
    path, side : str
        Module, and what is read of it: ``in``, ``out``, ``out.K``, a named field.
    checks : tuple of str
        The checks that this site passed.
    aliases : tuple of Alias
        Other names for it.
    chosen : bool
        Whether ``all`` includes it.
    """

    name: str
    depth: float
    block: int | None
    shape: Shape | None
    path: str
    side: str
    checks: tuple[str, ...]
    aliases: tuple[Alias, ...]
    chosen: bool


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SiteTable:
    """What :func:`describe_sites` found; ``str`` prints it, ``to_dict`` is ready for JSON.

    Attributes
    ----------
    network, architecture, kind, dtype, device : str
        Its name, class, what it eats, numbers and place.
    family : str or None
        The site map used; None where sites are modules.
    rows : tuple of SiteRow
        Sites by depth.
    withdrawn : mapping
        Sites not on offer, with the reason.
    checks : tuple of Check
        The self-check; empty where no probe can be made before rows are read.
    causal : bool or None
        Whether later tokens leave earlier ones alone; None where it was not found out.
    max_length : int or None
        Longest row of tokens, specials included.
    tokens : str
        What is put around a row, and what of it is content.
    remarks : tuple of str
        What a user should know.
    """

    network: str
    architecture: str
    family: str | None
    kind: str
    dtype: str
    device: str
    rows: tuple[SiteRow, ...]
    withdrawn: Mapping[str, str]
    checks: tuple[Check, ...]
    causal: bool | None
    max_length: int | None
    tokens: str
    remarks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts, numbers and texts; no infinities."""
        plain = asdict(self)
        plain["withdrawn"] = dict(self.withdrawn)
        for check in plain["checks"]:
            for name in ("size", "limit"):
                check[name] = check[name] if math.isfinite(check[name]) else None
        return plain

    def __str__(self) -> str:
        return "\n".join(_render(self))


def describe_sites(network: TorchNetwork) -> SiteTable:
    """The table of sites of a network.

    Parameters
    ----------
    network : TorchNetwork
        From ``open_network``, ``load_network`` or ``wrap_module``. It is not changed. If it has not
        been checked yet and rows can be made from its config, it is checked here.

    Returns
    -------
    SiteTable

    Raises
    ------
    NetworkError
        If its self-check refuses the network.

    Examples
    --------
    >>> import torch
    >>> from hiddenscape.models.wrapping import wrap_module
    >>> net = wrap_module(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()))
    >>> [(row.name, row.path, row.side) for row in describe_sites(net).rows]
    [('input', '', 'input'), ('module:0', '0', 'out'), ('module:1', '1', 'out')]
    """
    probe = probe_batch(network)
    if probe is not None and not network.checks:
        network = self_check(network, probe)
    names: dict[str, list[Alias]] = {}
    for alias in network.known_aliases.values():
        names.setdefault(alias.site, []).append(alias)
    shapes = {} if probe is None else _shapes(network, probe)
    chosen = {place.name for place in network.select("all")} if network.places else set()
    depths = {site.name: site.depth for site in network.sites}
    rows = (
        SiteRow(
            name=name,
            depth=depths[name],
            block=place.block,
            shape=shapes.get(name),
            path=place.path,
            side=_side(place),
            checks=_passed(network, name),
            aliases=tuple(names.get(name, ())),
            chosen=name in chosen,
        )
        for name, place in network.places.items()
    )
    return SiteTable(
        network=network.name,
        architecture=type(network.module).__name__,
        family=None if network.map is None else network.map.family.name,
        kind=network.kind,
        dtype=str(network.dtype).removeprefix("torch."),
        device=str(network.device),
        rows=tuple(rows),
        withdrawn=dict(network.withdrawn),
        checks=network.checks,
        causal=network.facts.get("causal"),
        max_length=network.max_length,
        tokens=_tokens(network),
        remarks=tuple(network.facts.get("remarks") or ()),
    )


def _shapes(network: TorchNetwork, probe: Batch) -> dict[str, Shape]:
    """Shape of one row at every site; the axis of tokens is T."""
    width = None if probe.masks.real is None else probe.masks.real.shape[1]
    numbered = replace(probe, rows=tuple(range(_count(probe))))
    shapes: dict[str, Shape] = {}
    for name, value in network.trace(numbered, tuple(network.places)).items():
        shape: Shape = tuple(value.shape[1:])
        if width is not None and value.ndim == 3 and value.shape[1] == width:
            shape = ("T", *shape[1:])
        shapes[name] = shape
    return shapes


def _count(batch: Batch) -> int:
    return len(next(iter((*batch.args, *batch.kwargs.values()))))


def _side(place: Place) -> str:
    if place.attribute:
        return place.attribute
    return f"out.{place.index}" if place.io == "out" and place.index else place.io


def _passed(network: TorchNetwork, name: str) -> tuple[str, ...]:
    """Checks that this site stood; one that withdrew other sites counts for those it left."""
    stem = name.split(".")[0]
    found = []
    for check in network.checks:
        if check.name in ("fire count", "row independence") or (
            check.passed and (check.name in _EVERYWHERE or stem in _COVERED.get(check.name, ()))
        ):
            found.append(check.name)
    # What the check of aliases compared: hidden states, not names of hooks.
    compared = {n for a, n in network.aliases.items() if not a.startswith("blocks.")}
    if name in compared and any(check.name == "aliases" for check in network.checks):
        found.append("aliases")
    return tuple(found)


def _tokens(network: TorchNetwork) -> str:
    family = None if network.map is None else network.map.family
    parts: list[str] = []
    if network.kind == "pixels" and network.map is not None and network.map.prefix:
        parts.append(f"{network.map.prefix} positions in front of the patches are not content")
    elif network.kind == "tokens" and family is not None and family.start_id is not None:
        start = family.start_id(network.module.config)
        parts.append(f"start id {start} goes in front and is not content, the last id is dropped")
    elif network.kind == "tokens":
        parts.append(_specials(network.tokenizer))
    if family is not None and family.cls is not None:
        parts.append(f"class position {family.cls}")
    return "; ".join(parts)


def _specials(tokenizer: Any) -> str:
    if tokenizer is None:
        return "no tokenizer: rows of token ids, all content unless the data set flags them"
    out = tokenizer("A", add_special_tokens=True, return_special_tokens_mask=True)
    flags = list(out["special_tokens_mask"])
    words = tokenizer.convert_ids_to_tokens(out["input_ids"])
    if not any(flags):
        return "the tokenizer adds nothing, all tokens are content"
    first, last = flags.index(0), len(flags) - flags[::-1].index(0)
    ends = ((words[:first], "in front"), (words[last:], "behind"))
    added = " and ".join(f"{' '.join(w)} {where}" for w, where in ends if w)
    return f"the tokenizer adds {added}: real, but not content"


def _render(table: SiteTable) -> list[str]:
    facts = {
        "network": f"{table.network} ({table.architecture}, {table.dtype} on {table.device})",
        "map": "its modules" if table.family is None else f"family {table.family}",
        "eats": table.kind if not table.max_length else f"{table.kind}, {table.max_length} at most",
        "tokens": table.tokens,
        "causal": {True: "yes", False: "no", None: ""}[table.causal],
    }
    lines = [f"{name:8s} {value}" for name, value in facts.items() if value]
    cells: list[tuple[str, ...]] = [
        ("site", "depth", "one row", "module", "side", "checks", "also called")
    ]
    cells += [_cells(row) for row in table.rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines.append("")
    for line in cells:
        lines.append(
            "  ".join(f"{cell:{width}s}" for cell, width in zip(line, widths, strict=True)).rstrip()
        )
    marked = "* part of 'all'"
    if any(alias.pooling for row in table.rows for alias in row.aliases):
        marked += "; given with @, a name brings the pooling of its source"
    lines += ["", marked]
    known = [alias for row in table.rows for alias in row.aliases if alias.remark]
    for remark in dict.fromkeys(alias.remark for alias in known):
        which = [alias.name for alias in known if alias.remark == remark]
        more = f" and {len(which) - 1} more" if len(which) > 1 else ""
        lines.append(f"  {which[0]}{more}: {remark}")
    lines += ["", *_render_checks(table)]
    return lines


def _cells(row: SiteRow) -> tuple[str, ...]:
    shape = "?" if row.shape is None else f"({', '.join(map(str, row.shape))})"
    own = dict.fromkeys(c.partition(" (")[0] for c in row.checks if c not in _EVERYWHERE)
    called = [f"{a.name}@{a.pooling}" if a.pooling else a.name for a in row.aliases]
    return (
        row.name + ("*" if row.chosen else ""),
        f"{row.depth:g}",
        shape,
        row.path or "(the network)",
        row.side,
        ", ".join(own) or "-",
        ", ".join(called) or "-",
    )


def _render_checks(table: SiteTable) -> list[str]:
    lines: list[str] = []
    if table.withdrawn:
        lines.append("not on offer")
        reasons: dict[str, list[str]] = {}
        for name, why in table.withdrawn.items():
            reasons.setdefault(why, []).append(name)
        lines += [f"  {', '.join(names)}: {why}" for why, names in reasons.items()]
        lines.append("")
    if table.checks:
        general = [c.name for c in table.checks if c.name in _EVERYWHERE and c.passed]
        lines.append(f"self-check (every site: {', '.join(general)})")
        lines += [f"  {_check_line(check)}" for check in table.checks]
    else:
        lines.append(
            "not checked yet: no input can be made from its config, the first rows will be used"
        )
    lines += [f"note: {remark}" for remark in table.remarks]
    return lines


def _check_line(check: Check) -> str:
    if check.name == "causality" and check.passed:
        return f"causality: {check.consequence} (error {check.size:.3g}, allowed {check.limit:.3g})"
    if check.passed and check.limit:
        return f"{check.name}: passed (error {check.size:.3g}, allowed {check.limit:.3g})"
    return str(check)
