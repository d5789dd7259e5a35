"""Site names: where in a network something is read, and how people select places.

Vocabulary (b = block number from 0, L blocks; depth counts blocks):

========================  ==========================================================  =========
site                      what it is                                                  depth
========================  ==========================================================  =========
``input``                 the flattened input itself (networks of arrays only)        0
``embed``                 the tensor entering block 0; equal to ``resid_pre.0``       0
``resid_pre.b``           stream entering block b                                     b
``ln1_out.b``             what attention reads                                        b
``z.b``                   heads side by side, before the out-projection               b + 1/2
``attn_out.b``            what attention adds to the stream                           b + 1/2
``resid_mid.b``           stream between the two adds                                 b + 1/2
``ln2_out.b``             what the MLP reads                                          b + 1/2
``mlp_act.b``             hidden units of the MLP                                     b + 1
``mlp_out.b``             what the MLP adds                                           b + 1
``resid_post.b``          stream leaving block b                                      b + 1
``final_norm``            output of the final norm                                    L
``logits``                output of the head                                          L
``logits_uncapped``       the same before a soft cap, where there is one              L
``latent_mean``           mean of a VAE's latent code                                 order of
                                                                                      firing
``latent_sample``         one draw of it, keyed by seed and row; ``latent_sample.7``  order of
                          with seed 7; never part of ``all``                          firing
``module:PATH``           output of any module; ``:in`` its input, ``:out.K`` the     order of
                          K-th element of a tuple                                     firing
========================  ==========================================================  =========

Selection: names, ``resid_post.*``, ``resid_post.0-11`` (both ends included), ``resid_post.-1``,
comma lists, and ``all``.
"""

from __future__ import annotations

import difflib
import fnmatch
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hiddenscape.errors import SiteError
from hiddenscape.types import Site

__all__ = ["BLOCK_DEPTHS", "Place", "close_names", "expand", "hf_index", "parse_module_site"]

BLOCK_DEPTHS: Mapping[str, float] = {
    "resid_pre": 0.0,
    "ln1_out": 0.0,
    "z": 0.5,
    "attn_out": 0.5,
    "resid_mid": 0.5,
    "ln2_out": 0.5,
    "mlp_act": 1.0,
    "mlp_out": 1.0,
    "resid_post": 1.0,
}
"""Depth of a site inside block b, relative to b."""

_INDEXED = re.compile(r"^(?P<stem>[A-Za-z_][\w:.]*?)\.(?P<first>-?\d+)(?:-(?P<last>-?\d+))?$")
_MODULE = re.compile(r"^module:(?P<path>[^:@,]+)(?::(?:(?P<inp>in)|out(?:\.(?P<index>\d+))?))?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A site together with the module, and the side of it, where it is read.

    Attributes
    ----------
    name : str
        Site name.
    path : str
        Dotted module path inside the network; empty for the network itself.
    io : str
        ``out`` for the module's output, ``in`` for its input, ``input`` for the flattened input of
        the network.
    index : int
        Which element, where the module gives a tuple.
    depth : float
        NaN while it is unknown: raw modules get theirs from the order of firing.
    block : int or None
        Block number, where the site belongs to one.
    calls : int
        How often the module fires in one forward pass; ``call`` says which of these is read.
    like : str
        Path of a module around this one whose input has the leading shape (rows, tokens): the
        module itself sees both flattened, and the shape is restored. Empty where it is not.
    parts : tuple of Place
        What a site is made of that no module gives: the latent mean and its log-variance, for a
        sample. ``seed`` keys its noise.
    attribute : str
        Which field, where the module gives an output with named fields; empty for none.
    """

    name: str
    path: str
    io: str = "out"
    index: int = 0
    depth: float = math.nan
    block: int | None = None
    calls: int = 1
    call: int = 0
    like: str = ""
    attribute: str = ""
    parts: tuple[Place, ...] = ()
    seed: int = 0

    @property
    def site(self) -> Site:
        """The public value; its depth must be known."""
        return Site(self.name, depth=self.depth, block=self.block)


def parse_module_site(name: str) -> Place | None:
    """The place of ``module:PATH[:in|:out.K]``, or None if ``name`` is not of this form.

    Examples
    --------
    >>> parse_module_site("module:encoder.rnn:out.1").index
    1
    >>> parse_module_site("resid_post.0") is None
    True
    """
    match = _MODULE.match(name)
    if match is None:
        return None
    io = "in" if match["inp"] else "out"
    return Place(name=name, path=match["path"], io=io, index=int(match["index"] or 0))


def close_names(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Known names that resemble ``name``, best first."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)


def hf_index(name: str, entries: int) -> str | None:
    """Resolve a negative ``hf.-i`` to ``hf.i`` given the number of entries; None if out of range.

    Examples
    --------
    >>> hf_index("hf.-1", 5), hf_index("hf.2", 5), hf_index("hf.5", 5)
    ('hf.4', 'hf.2', None)
    """
    match = _INDEXED.match(name)
    if match is None or match["last"] is not None:
        return None
    index = int(match["first"])
    index = index + entries if index < 0 else index
    return f"{match['stem']}.{index}" if 0 <= index < entries else None


def expand(
    spec: str | Sequence[str],
    *,
    names: Sequence[str],
    everything: Sequence[str],
    aliases: Mapping[str, str],
    withdrawn: Mapping[str, str],
) -> list[str]:
    """Site names that a selection stands for, in the order asked for, without repeats.

    Parameters
    ----------
    spec : str or sequence of str
        Selection in the grammar above. Aliases are resolved here, so that only canonical names
        ever reach a manifest.
    names : sequence of str
        Names the network offers.
    everything : sequence of str
        What ``all`` stands for.
    aliases : mapping
        Alias to canonical name.
    withdrawn : mapping
        Name to the reason why the network does not offer it.

    Raises
    ------
    SiteError
        If an item names nothing, or something that a self-check withdrew.

    Examples
    --------
    >>> names = ["embed", "resid_post.0", "resid_post.1", "resid_post.2", "final_norm"]
    >>> expand("resid_post.-1, hf.0", names=names, everything=names,
    ...        aliases={"hf.0": "embed"}, withdrawn={})
    ['resid_post.2', 'embed']
    """
    items = [spec] if isinstance(spec, str) else list(spec)
    items = [part.strip() for item in items for part in item.split(",") if part.strip()]
    if not items:
        raise SiteError(f"no site is named in {spec!r}; use 'all' or a list of names")
    found: dict[str, None] = {}
    for item in items:
        for name in _expand_item(item, names, everything, aliases, withdrawn):
            found[name] = None
    return list(found)


def _expand_item(
    item: str,
    names: Sequence[str],
    everything: Sequence[str],
    aliases: Mapping[str, str],
    withdrawn: Mapping[str, str],
) -> list[str]:
    if item == "all":
        return list(everything)
    known = {**dict.fromkeys(names), **dict.fromkeys(aliases)}
    if item in known:
        return [aliases.get(item, item)]
    if f"module:{item}" in known:
        return [f"module:{item}"]
    for name in (item, f"module:{item}"):
        if name in withdrawn:
            raise SiteError(f"site {name!r} is not offered: {withdrawn[name]}")
    if "*" in item:
        hits = [aliases.get(n, n) for n in known if fnmatch.fnmatchcase(n, item)]
    else:
        hits = [aliases.get(n, n) for n in _expand_range(item, list(known))]
    if hits:
        return hits
    raise SiteError(_unknown(item, list(known), withdrawn))


def _expand_range(item: str, known: Sequence[str]) -> list[str]:
    match = _INDEXED.match(item)
    if match is None:
        return []
    stem = match["stem"]
    entries = [n for n in known if n.startswith(f"{stem}.") and n[len(stem) + 1 :].isdigit()]
    numbers = sorted(int(n[len(stem) + 1 :]) for n in entries)
    if not numbers:
        return []
    count = numbers[-1] + 1
    first = int(match["first"])
    last = first if match["last"] is None else int(match["last"])
    first, last = (i + count if i < 0 else i for i in (first, last))
    if not (0 <= first <= last < count):
        raise SiteError(
            f"site {item!r} is out of range: {stem}.0 to {stem}.{count - 1} exist in this network"
        )
    return [f"{stem}.{i}" for i in range(first, last + 1) if i in set(numbers)]


def _unknown(item: str, known: Sequence[str], withdrawn: Mapping[str, str]) -> str:
    reasons = {why for name, why in withdrawn.items() if fnmatch.fnmatchcase(name, item)}
    if reasons:
        return f"site {item!r} is not offered: {'; '.join(sorted(reasons))}"
    close = close_names(item, known)
    hint = f"did you mean {', '.join(close)}?" if close else "nothing has a similar name;"
    return (
        f"unknown site {item!r}: {hint} list all with network.site_names, or read any module by "
        "'module:PATH'"
    )
