"""The embedded demonstration network: a causal transformer over image patches, pre-norm."""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["PATCH_GPT"]

PATCH_GPT = Family(
    name="patch_gpt",
    classes=r"Patch\w*GPT\w*",
    blocks=("blocks",),
    reads={
        "ln1_out": ("ln_1", "out"),
        "z": ("attn.out", "in"),
        "attn_out": ("attn.out", "out"),
        "resid_mid": ("ln_2", "in"),
        "ln2_out": ("ln_2", "out"),
        "mlp_act": ("mlp.out", "in"),
        "mlp_out": ("mlp.out", "out"),
    },
    final_norm="norm",
    heads=("head",),
    last_hidden="",
    kind="arrays",
    row_shape=lambda config: (config.canvas, config.canvas),
)
