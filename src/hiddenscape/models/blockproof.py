"""What the modules of one block do, proven from the values they took and gave.

Names mislead, so none is trusted: attention is what mixes positions, the two terms of a block are
the outputs that sum to what the block adds, a norm is what reads the stream and is read by a
projection. What cannot be proven, or in more than one way, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import torch
from torch import nn

__all__ = ["BlockPlan", "Seen", "prove_block", "same", "still_holds"]

# A stream that dwarfs what a block adds would let wrong terms pass a generous tolerance: two
# additions in the dtype of the network err by less than this.
_FACTOR = 1.0


@dataclass(slots=True, eq=False, kw_only=True)
class Seen:
    """One module during one pass: its first input and its output, and when it had finished."""

    path: str
    module: nn.Module
    value_in: torch.Tensor | None = None
    value_out: torch.Tensor | None = None
    order: int = -1
    calls: int = 0

    @property
    def is_norm(self) -> bool:
        return "norm" in type(self.module).__name__.lower()

    @property
    def is_linear(self) -> bool:
        weight = getattr(self.module, "weight", None)
        flat = isinstance(weight, torch.Tensor) and weight.ndim == 2
        return flat and not self.is_norm and not isinstance(self.module, nn.Embedding)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan:
    """Reads of a block, by site stem, as a family has them."""

    reads: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    flat: tuple[str, ...] = ()
    parallel: bool = False
    norm_first: bool = True
    post_norms: tuple[str, str] = ("", "")


def same(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    """Exactly equal, in whatever dtypes: the value of one module handed to another."""
    if a is None or b is None or a.shape != b.shape:
        return False
    return torch.equal(a.cpu().double(), b.cpu().double())


def _near(total: torch.Tensor, parts: Sequence[torch.Tensor]) -> bool:
    """total = the sum of parts, up to the rounding of the additions."""
    if any(p.shape != total.shape for p in parts) or not total.is_floating_point():
        return False
    wide = [p.cpu().double() for p in (total, *parts)]
    limit = _FACTOR * torch.finfo(total.dtype).eps * torch.stack([p.abs() for p in wide]).sum(0)
    return bool(((wide[0] - torch.stack(wide[1:]).sum(0)).abs() <= limit).all())


class _Block:
    """The modules of one block, by order of finishing, with rows and tokens apart."""

    def __init__(self, seen: Sequence[Seen], pre: torch.Tensor, post: torch.Tensor) -> None:
        self.pre, self.post = pre, post
        self.seen = sorted((s for s in seen if s.calls == 1), key=lambda s: s.order)
        self.flat: set[tuple[str, str]] = set()
        self.values = {
            (s.path, io): self._apart(s.path, io, value)
            for s in self.seen
            for io, value in (("in", s.value_in), ("out", s.value_out))
        }

    def _apart(self, path: str, io: str, value: torch.Tensor | None) -> torch.Tensor | None:
        rows, tokens = self.pre.shape[:2]
        if value is not None and value.ndim == 2 and len(value) == rows * tokens:
            self.flat.add((path, io))
            return value.reshape(rows, tokens, -1)
        return value

    def given(self, s: Seen) -> torch.Tensor | None:
        return self.values[s.path, "out"]

    def taken(self, s: Seen) -> torch.Tensor | None:
        return self.values[s.path, "in"]

    def terms(self) -> list[Seen]:
        """Modules whose output has the shape of the stream; of equal outputs the first."""
        kept: list[Seen] = []
        for s in self.seen:
            value = self.given(s)
            if value is None or value.shape != self.pre.shape:
                continue
            if not any(same(value, self.given(k)) for k in kept):
                kept.append(s)
        return kept

    def projection(self, s: Seen) -> Seen | None:
        """The linear map whose output is that of ``s``, or what ``s`` (a norm, a scale) reads."""
        for value in (self.given(s), self.taken(s)):
            for other in self.seen:
                if value is not None and other.is_linear and same(self.given(other), value):
                    return other
        return None


def prove_block(
    seen: Sequence[Seen],
    pre: torch.Tensor,
    post: torch.Tensor,
    mixes: Mapping[str, bool],
    heads: int | None,
) -> tuple[BlockPlan, str]:
    """Reads of a block, with paths relative to it, and why some are missing.

    Parameters
    ----------
    seen : sequence of Seen
        Modules of the block, paths relative to it.
    pre, post : tensor (B, T, d)
        Stream entering and leaving the block.
    mixes : mapping
        Path to whether a change of position 0 of ``pre`` changes other positions of its output.
    heads : int or None
        Number of attention heads; ``z`` is left out where it is unknown or does not divide.
    """
    block = _Block(seen, pre, post)
    pairs = _pre_norm_pairs(block)
    if len(pairs) > 1:
        return BlockPlan(), "more than one pair of modules adds up to what a block adds"
    if pairs:
        return _pre_norm(block, *pairs[0], mixes, heads)
    found = _post_norm_terms(block)
    if len(found) == 1:
        return _post_norm(block, found[0], mixes, heads)
    return BlockPlan(), "no two modules add up to what a block adds"


def _pre_norm_pairs(block: _Block) -> list[tuple[Seen, Seen]]:
    terms = block.terms()
    if any(not bool(block.values[s.path, "out"].any()) for s in terms):  # type: ignore[union-attr]
        return []  # a module that adds nothing fits everywhere
    return [
        (a, b)
        for i, a in enumerate(terms)
        for b in terms[i + 1 :]
        if _near(block.post, (block.pre, block.given(a), block.given(b)))  # type: ignore[arg-type]
    ]


def _pre_norm(
    block: _Block, first: Seen, second: Seen, mixes: Mapping[str, bool], heads: int | None
) -> tuple[BlockPlan, str]:
    reader = _reader_of_middle(block, first)
    if reader is None and _reader_of_middle(block, second) is not None:
        return BlockPlan(), f"{second.path} adds before {first.path}, but finishes after it"
    parallel = reader is None
    if parallel:
        if mixes[first.path] == mixes[second.path]:
            return BlockPlan(), "nothing tells attention and MLP apart"
        attn, mlp = (first, second) if mixes[first.path] else (second, first)
    elif not mixes[first.path]:
        return BlockPlan(), f"{first.path} adds first but does not mix positions"
    else:
        attn, mlp = first, second
    reads = {"attn_out": (attn.path, "out"), "mlp_out": (mlp.path, "out")}
    if reader is not None:
        reads["resid_mid"] = (reader.path, "in")
    reads |= _norms(block, attn, mlp, None if reader is None else block.taken(reader))
    reads |= _inner(block, attn, mlp, heads)
    return BlockPlan(reads=reads, flat=_flat(block, reads), parallel=parallel), ""


def _reader_of_middle(block: _Block, first: Seen) -> Seen | None:
    """The first module that reads pre + what ``first`` adds."""
    given = block.given(first)
    hits = (
        s
        for s in block.seen
        if (v := block.taken(s)) is not None
        and given is not None
        and not same(v, block.pre)
        and _near(v, (block.pre, given))
    )
    return next(hits, None)


def _norms(
    block: _Block, attn: Seen, mlp: Seen, middle: torch.Tensor | None
) -> dict[str, tuple[str, str]]:
    """Norms that read the stream and are read by a projection of attention or of the MLP."""
    reads: dict[str, tuple[str, str]] = {}
    for s in block.seen:
        if not s.is_norm:
            continue
        readers = [x for x in block.seen if x.is_linear and same(block.taken(x), block.given(s))]
        if not readers:
            continue
        if middle is not None:
            stem = "ln1_out" if same(block.taken(s), block.pre) else "ln2_out"
            if stem == "ln2_out" and not same(block.taken(s), middle):
                continue
            reads.setdefault(stem, (s.path, "out"))
        elif same(block.taken(s), block.pre):
            ours = {_nearer(x.path, attn.path, mlp.path) for x in readers}
            if attn.path in ours:
                reads.setdefault("ln1_out", (s.path, "out"))
            elif mlp.path in ours:
                reads.setdefault("ln2_out", (s.path, "out"))
    return reads


def _nearer(path: str, a: str, b: str) -> str:
    """Which of two paths shares more of its beginning with ``path``; empty for neither."""
    parts = path.split(".")
    shared = [
        len(
            list(takewhile(lambda pair: pair[0] == pair[1], zip(parts, p.split("."), strict=False)))
        )
        for p in (a, b)
    ]
    return "" if shared[0] == shared[1] else a if shared[0] > shared[1] else b


def _inner(block: _Block, attn: Seen, mlp: Seen, heads: int | None) -> dict[str, tuple[str, str]]:
    reads: dict[str, tuple[str, str]] = {}
    out, down = block.projection(attn), block.projection(mlp)
    if out is not None and heads is not None:
        width = getattr(block.taken(out), "shape", (0,))[-1]
        if width and width % heads == 0:
            reads["z"] = (out.path, "in")
    if down is not None:
        reads["mlp_act"] = (down.path, "in")
    return reads


def _flat(block: _Block, reads: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    return tuple(stem for stem, read in reads.items() if read in block.flat)


_PostNorm = tuple[Seen, Seen, Seen, Seen]


def _post_norm_terms(block: _Block) -> list[_PostNorm]:
    """(attention, first norm, MLP, second norm): norms of pre + attention, of middle + MLP."""
    terms, norms = block.terms(), [s for s in block.seen if s.is_norm]
    last = [n for n in norms if same(block.given(n), block.post)]
    found: list[_PostNorm] = []
    for end in last[:1]:
        for first in norms:
            middle, x1, x2 = block.given(first), block.taken(first), block.taken(end)
            if first is end or middle is None or x1 is None or x2 is None:
                continue
            found += [
                (a, first, m, end)
                for a in terms
                for m in terms
                if _near(x1, (block.pre, block.values[a.path, "out"]))  # type: ignore[arg-type]
                and _near(x2, (middle, block.values[m.path, "out"]))  # type: ignore[arg-type]
            ]
    return found


def _post_norm(
    block: _Block, parts: _PostNorm, mixes: Mapping[str, bool], heads: int | None
) -> tuple[BlockPlan, str]:
    attn, first, mlp, second = parts
    if not mixes[attn.path]:
        return BlockPlan(), f"{attn.path} adds first but does not mix positions"
    reads = {
        "attn_out": (attn.path, "out"),
        "mlp_out": (mlp.path, "out"),
        "resid_mid": (first.path, "out"),
        **_inner(block, attn, mlp, heads),
    }
    norms = (first.path, second.path)
    return BlockPlan(reads=reads, flat=_flat(block, reads), norm_first=False, post_norms=norms), ""


def still_holds(
    plan: BlockPlan, seen: Sequence[Seen], pre: torch.Tensor, post: torch.Tensor
) -> bool:
    """Whether the sums of ``plan`` hold in another block too."""
    block = _Block(seen, pre, post)
    if not set(plan.reads.values()) <= set(block.values):
        return False
    value = {stem: block.values[read] for stem, read in plan.reads.items()}
    attn, mlp, middle = value.get("attn_out"), value.get("mlp_out"), value.get("resid_mid")
    if attn is None or mlp is None:
        return not plan.reads
    if plan.norm_first:
        through = middle is None or _near(middle, (pre, attn))
        return through and _near(post, (pre, attn, mlp))
    ends = [block.values.get((path, "in")) for path in plan.post_norms]
    if ends[0] is None or ends[1] is None or middle is None:
        return False
    return _near(ends[0], (pre, attn)) and _near(ends[1], (middle, mlp))
