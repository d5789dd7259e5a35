"""Llama and the classes that share its paths: pre-norm, RMS norms, gated MLP, rotary positions.

``post_attention_layernorm`` is the norm before the MLP here, whatever its name says.
"""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["LLAMA"]

LLAMA = Family(
    name="llama",
    classes=r"(Llama|Mistral|Qwen2|Qwen3|SmolLM3|Olmo|Granite|Phi3|Arcee|Ministral)(Model|For\w+)",
    blocks=("layers",),
    reads={
        "ln1_out": ("input_layernorm", "out"),
        "z": ("self_attn.o_proj", "in"),
        "attn_out": ("self_attn.o_proj", "out"),
        "resid_mid": ("post_attention_layernorm", "in"),
        "ln2_out": ("post_attention_layernorm", "out"),
        "mlp_act": ("mlp.down_proj", "in"),
        "mlp_out": ("mlp.down_proj", "out"),
    },
    final_norm="norm",
    heads=("lm_head",),
)
