"""Our attention in place of the network's, for a while, and its own put back whatever happens.

Several contexts, also of different threads, may hold the same network: the first one switches, the
last one restores. One lock serialises passes with edits against passes under native eager
attention, which are needed to prove an edit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hiddenscape.errors import InterventionNotSupported
from hiddenscape.interventions.attention import Call, Pair, active_edits, interface_attention
from hiddenscape.interventions.families import OWN_METHOD, Scores, own_scores
from hiddenscape.models.turns import alone

__all__ = ["LOCK", "NAME", "native_eager", "switched"]

NAME = "hiddenscape_edited"
"""Under this name our function and the eager mask stand in transformers' registries."""

LOCK = threading.RLock()


@dataclass(slots=True, eq=False)
class _Hold:
    undo: Callable[[], None]
    count: int = 0


_HELD: dict[int, _Hold] = {}


@contextmanager
def switched(module: nn.Module) -> Iterator[None]:
    """Attention of ``module`` goes through our function inside.

    Raises
    ------
    InterventionNotSupported
        If this network does not let its attention be replaced.
    """
    # Networks made from one config object share its setting: the config is what is held.
    key = id(module if _own_methods(module) else getattr(module, "config", module))
    with LOCK:
        hold = _HELD.get(key)
        if hold is None:
            with alone():
                hold = _HELD[key] = _Hold(undo=_install(module))
        hold.count += 1
    try:
        yield
    finally:
        with LOCK:
            hold.count -= 1
            if not hold.count:
                del _HELD[key]
                with alone():
                    hold.undo()


@contextmanager
def native_eager(module: nn.Module) -> Iterator[None]:
    """The network's own eager attention inside, with nothing of ours in the way."""
    with LOCK:
        before = _implementations(module)
        switch = getattr(module, "set_attn_implementation", None)
        if before <= {"eager"} or switch is None:
            yield
            return
        _one(module, before)
        with alone():
            switch("eager")
            try:
                yield
            finally:
                switch(before.pop())


def _install(module: nn.Module) -> Callable[[], None]:
    own = _own_methods(module)
    if own:
        for m, scores in own:
            m._attn = _wrapped(m, scores)  # type: ignore[assignment]
        return lambda: _unwrap(m for m, _ in own)
    switch = getattr(module, "set_attn_implementation", None)
    if switch is None:
        raise InterventionNotSupported(_refusal(module))
    old = _one(module, _implementations(module))
    _register()
    switch(NAME)
    if _implementations(module) != {NAME}:
        switch(old)
        raise InterventionNotSupported(_refusal(module))
    return lambda: switch(old)


def _unwrap(modules: Iterable[nn.Module]) -> None:
    for m in modules:
        del m._attn


def _own_methods(module: nn.Module) -> list[tuple[nn.Module, Scores]]:
    return [(m, scores) for m in module.modules() if (scores := own_scores(m)) is not None]


def _register() -> None:
    from transformers.masking_utils import AttentionMaskInterface, eager_mask
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(NAME, interface_attention)
    AttentionMaskInterface.register(NAME, eager_mask)


def _implementations(module: nn.Module) -> set[str]:
    """Names of the attention implementations that are active in ``module``, read back."""
    configs = [m.config for m in module.modules() if hasattr(m, "config")]
    return {str(getattr(c, "_attn_implementation", None)) for c in configs}


def _one(module: nn.Module, names: set[str]) -> str:
    if len(names) != 1 or names == {"None"}:
        raise InterventionNotSupported(
            f"{type(module).__name__} mixes implementations of attention "
            f"({', '.join(sorted(names))}); set one with set_attn_implementation first"
        )
    return next(iter(names))


def _refusal(module: nn.Module) -> str:
    return (
        f"attention of {type(module).__name__} cannot be edited: it computes it inline, where "
        "transformers' attention interface does not reach (as in Bloom and Falcon). Networks whose "
        f"attention goes through the interface work, and {', '.join(OWN_METHOD)}"
    )


def _wrapped(module: Any, scores: Scores) -> Callable[..., Pair]:
    """The module's own method, with the edits of the context that calls it."""
    native = type(module)._attn

    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> Pair:
        def run(mask: torch.Tensor | None, q: torch.Tensor = query) -> Pair:
            out, weights = native(module, q, key, value, mask)
            return out, weights

        active = active_edits()
        if active is None:
            return run(attention_mask)
        call = Call(
            run=run,
            scores=lambda: scores(module, query, key),
            # Equal scores: what the mask closes is what gets no weight.
            allowed=lambda: run(attention_mask, torch.zeros_like(query))[1] > 0,
            mask=attention_mask,
            value=value,
            heads=query.shape[1],
            tokens_first=False,
        )
        return active.attend(module, call)

    return attend
