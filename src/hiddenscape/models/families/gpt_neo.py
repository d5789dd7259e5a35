"""GPT-Neo: GPT-2's layout with separate projections, local and global attention by turns."""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["GPT_NEO"]

GPT_NEO = Family(
    name="gpt_neo",
    classes=r"GPTNeo(Model|For\w+)",
    blocks=("h",),
    reads={
        "ln1_out": ("ln_1", "out"),
        "z": ("attn.attention.out_proj", "in"),
        "attn_out": ("attn.attention.out_proj", "out"),
        "resid_mid": ("ln_2", "in"),
        "ln2_out": ("ln_2", "out"),
        "mlp_act": ("mlp.c_proj", "in"),
        "mlp_out": ("mlp.c_proj", "out"),
    },
    final_norm="ln_f",
    heads=("lm_head",),
)
