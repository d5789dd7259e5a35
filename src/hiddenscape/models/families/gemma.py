"""Gemma, Gemma-2 and Gemma-3: Llama's layout; the gain of a norm is 1 + weight.

Gemma-2 and Gemma-3 put a second norm inside each add (a sandwich): what attention and MLP add is
the output of that norm, while ``z`` and ``mlp_act`` are read at the projections before it. Gemma-2
caps its logits: the capped ones are ``logits``, those of the head module ``logits_uncapped``.
"""

from __future__ import annotations

from typing import Any

from hiddenscape.models.families.family import Family
from hiddenscape.models.families.llama import LLAMA

__all__ = ["GEMMA", "GEMMA2", "GEMMA3"]


def _softcap(config: Any) -> float | None:
    cap = getattr(config, "final_logit_softcapping", None)
    return None if cap is None else float(cap)


GEMMA = Family(
    name="gemma",
    classes=r"Gemma(Model|For\w+)",
    blocks=("layers",),
    reads=LLAMA.reads,
    final_norm="norm",
    heads=("lm_head",),
)

_SANDWICH = {
    "ln1_out": ("input_layernorm", "out"),
    "z": ("self_attn.o_proj", "in"),
    "attn_out": ("post_attention_layernorm", "out"),
    "resid_mid": ("pre_feedforward_layernorm", "in"),
    "ln2_out": ("pre_feedforward_layernorm", "out"),
    "mlp_act": ("mlp.down_proj", "in"),
    "mlp_out": ("post_feedforward_layernorm", "out"),
}

GEMMA2 = Family(
    name="gemma2",
    classes=r"Gemma2(Model|For\w+)",
    blocks=("layers",),
    reads=_SANDWICH,
    final_norm="norm",
    heads=("lm_head",),
    softcap=_softcap,
)

GEMMA3 = Family(
    name="gemma3",
    classes=r"Gemma3(TextModel|ForCausalLM)",
    blocks=("layers",),
    reads=_SANDWICH,
    final_norm="norm",
    heads=("lm_head",),
    softcap=_softcap,
)
