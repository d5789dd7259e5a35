"""Bloom: attention and MLP modules already return the sum with the stream.

Hence the projections are read. Where the config adds the normed stream instead of the stream
(``apply_residual_connection_post_layernorm``), the self-check withdraws what does not add up.
"""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["BLOOM"]

BLOOM = Family(
    name="bloom",
    classes=r"Bloom(Model|For\w+)",
    blocks=("h",),
    reads={
        "ln1_out": ("input_layernorm", "out"),
        "z": ("self_attention.dense", "in"),
        "attn_out": ("self_attention.dense", "out"),
        "resid_mid": ("post_attention_layernorm", "in"),
        "ln2_out": ("post_attention_layernorm", "out"),
        "mlp_act": ("mlp.dense_4h_to_h", "in"),
        "mlp_out": ("mlp.dense_4h_to_h", "out"),
    },
    final_norm="ln_f",
    heads=("lm_head",),
)
