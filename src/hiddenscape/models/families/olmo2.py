"""OLMo-2 and OLMo-3: attention and MLP read the bare stream; a norm stands inside each add."""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["OLMO2"]

OLMO2 = Family(
    name="olmo2",
    classes=r"Olmo[23](Model|For\w+)",
    blocks=("layers",),
    reads={
        "z": ("self_attn.o_proj", "in"),
        "attn_out": ("post_attention_layernorm", "out"),
        "resid_mid": ("mlp", "in"),
        "mlp_act": ("mlp.down_proj", "in"),
        "mlp_out": ("post_feedforward_layernorm", "out"),
    },
    final_norm="norm",
    heads=("lm_head",),
)
