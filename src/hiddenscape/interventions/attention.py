"""One attention function that stands for the family's own, and changes it where an edit says so.

The family's eager attention is called, never written again: an edit of scores is handed to it as an
additive mask (new minus old score), an edit of weights is made on the weights it returns. What is
edited is looked up by the identity of the attention module, in a context variable: threads, and
other networks that share a config, do not mix.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from hiddenscape.errors import InputError, InterventionNotSupported
from hiddenscape.interventions.entries import (
    HeadEdit,
    allowed_by,
    edit_scores,
    edit_weights,
    require_equal_lengths,
)

__all__ = ["ActiveEdits", "Call", "active_edits", "interface_attention", "using"]

Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Call:
    """One call of a family's attention.

    ``run`` takes a mask and gives (output, weights); ``scores`` gives scaled and capped scores
    (B, H, Tq, Tk), ``allowed`` where the mask is open. ``tokens_first``: the output is
    (B, T, H, e), not (B, H, T, e).
    """

    run: Callable[[torch.Tensor | None], Pair]
    scores: Callable[[], torch.Tensor]
    allowed: Callable[[], torch.Tensor]
    mask: torch.Tensor | None
    value: torch.Tensor
    heads: int
    tokens_first: bool


@dataclass(slots=True, eq=False)
class ActiveEdits:
    """What is edited in this context, by the identity of attention modules.

    Attributes
    ----------
    at : mapping
        id(module) to the edits of its heads.
    where : mapping
        id(module) to words for messages, such as ``block 3``.
    spans : mapping
        Token ranges of the batch that is running.
    fired : Counter
        How often each module was called since it was last cleared.
    verify : bool
        Check that our scores give the family's weights.
    keep : callable or None
        Gets (module, heads, weights) of every call.
    """

    at: Mapping[int, Sequence[HeadEdit]] = field(default_factory=dict)
    where: Mapping[int, str] = field(default_factory=dict)
    spans: Mapping[str, torch.Tensor] = field(default_factory=dict)
    fired: Counter[int] = field(default_factory=Counter)
    verify: bool = False
    keep: Callable[[nn.Module, int, torch.Tensor], None] | None = None

    def attend(self, module: nn.Module, call: Call) -> Pair:
        """The family's attention, with the edits of this module."""
        self.fired[id(module)] += 1
        edits = self.at.get(id(module), ())
        out, weights = self._edited(module, call, edits) if edits else call.run(call.mask)
        if self.keep is not None:
            self.keep(module, call.heads, weights)
        return out, weights

    def _edited(self, module: nn.Module, call: Call, edits: Sequence[HeadEdit]) -> Pair:
        where = self.where.get(id(module), "attention")
        allowed = call.allowed()
        require_equal_lengths(allowed)
        at_scores = [e for e in edits if e[0].stage == "score"]
        at_weights = [e for e in edits if e[0].stage == "weight"]
        mask = call.mask
        if at_scores:
            scores = call.scores()
            if self.verify:
                _verify(scores, allowed, call, where)
            delta = edit_scores(scores, allowed, at_scores, self.spans)
            mask = delta if mask is None else mask[..., : delta.shape[-1]] + delta.to(mask.dtype)
        out, weights = call.run(mask)
        if at_weights:
            weights = edit_weights(weights, allowed, at_weights, self.spans)
            heads = sorted({h for _, some in at_weights for h in some})
            out = _summed(out, weights, call, heads)
        if not bool(torch.isfinite(out).all()):
            raise InputError(f"{where}: the edit makes NaN or infinity; use a smaller value")
        return out, weights

    def require_one_call(self, *, left_early: bool = False) -> None:
        """Every edited module has been called once.

        Raises
        ------
        InputError
            If the pass was left before an edited module was reached.
        InterventionNotSupported
            If one was never called, or more than once.
        """
        for key in self.at:
            count, where = self.fired[key], self.where.get(key, "attention")
            if count == 0 and left_early:
                raise InputError(
                    f"the edit of {where} lies deeper than every site that is read, so it would "
                    "change none of them; ask for a deeper site, or edit an earlier block"
                )
            if count != 1:
                raise InterventionNotSupported(
                    f"the edited attention of {where} was called {count} times in one forward "
                    "pass, expected once; something switched the implementation, or shares it"
                )


def _summed(
    out: torch.Tensor, weights: torch.Tensor, call: Call, heads: Sequence[int]
) -> torch.Tensor:
    """The output with the value sums of ``heads`` taken again, from ``weights``."""
    value = call.value.repeat_interleave(call.heads // call.value.shape[1], dim=1)
    again = torch.matmul(weights.to(value.dtype), value)
    if call.tokens_first:
        again = again.transpose(1, 2)
    at = (slice(None), slice(None), list(heads)) if call.tokens_first else (slice(None), heads)
    out = out.clone()
    out[at] = again[at].to(out.dtype)
    return out


def _verify(scores: torch.Tensor, allowed: torch.Tensor, call: Call, where: str) -> None:
    """Our scores under the mask give the weights that the family computes."""
    weights = call.run(call.mask)[1]
    closed = torch.finfo(torch.float32).min
    again = scores.float().masked_fill(~allowed, closed).softmax(-1)
    gap = float((again - weights.float()).abs().max())
    limit = 1e-4 if weights.dtype in (torch.float32, torch.float64) else 0.05
    if not gap <= limit:
        raise InterventionNotSupported(
            f"{where}: the scores as scaled products of query and key do not give the network's "
            f"own weights (off by {gap:.2g}); it adds something of its own. Edit at stage 'weight'"
        )


_ACTIVE: ContextVar[ActiveEdits | None] = ContextVar("hiddenscape_attention", default=None)


def active_edits() -> ActiveEdits | None:
    """What is edited in this context."""
    return _ACTIVE.get()


@contextmanager
def using(active: ActiveEdits) -> Iterator[ActiveEdits]:
    """Make ``active`` what this context edits."""
    token = _ACTIVE.set(active)
    try:
        yield active
    finally:
        _ACTIVE.reset(token)


def interface_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> Pair:
    """The function that stands in transformers' registry."""
    eager = _family_eager(module)

    def run(mask: torch.Tensor | None) -> Pair:
        return cast(Pair, eager(module, query, key, value, mask, **kwargs))

    active = _ACTIVE.get()
    if active is None:
        return run(attention_mask)
    shape = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    call = Call(
        run=run,
        scores=lambda: _scores(query, key, kwargs),
        allowed=lambda: allowed_by(attention_mask, shape).to(query.device),
        mask=attention_mask,
        value=value,
        heads=query.shape[1],
        tokens_first=True,
    )
    return active.attend(module, call)


def _scores(query: torch.Tensor, key: torch.Tensor, given: Mapping[str, Any]) -> torch.Tensor:
    """Scaled, capped scores, with the bias of relative positions where there is one."""
    scaling, cap, bias = (given.get(k) for k in ("scaling", "softcap", "position_bias"))
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = torch.matmul(query, key.transpose(-1, -2))
    scores = scores * (query.shape[-1] ** -0.5 if scaling is None else float(scaling))
    if cap is not None:
        scores = torch.tanh(scores / cap) * float(cap)
    return scores if bias is None else scores + cast(torch.Tensor, bias)


def _family_eager(module: nn.Module) -> Callable[..., Any]:
    for kind in type(module).__mro__:
        eager = getattr(sys.modules.get(kind.__module__), "eager_attention_forward", None)
        if eager is not None:
            return cast(Callable[..., Any], eager)
    raise InterventionNotSupported(
        f"{type(module).__name__} has no eager attention of its own to call; attention edits need "
        "a family whose file has eager_attention_forward"
    )
