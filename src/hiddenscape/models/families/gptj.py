"""GPT-J: parallel blocks, one norm for attention and MLP, a head with a bias."""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["GPTJ"]

GPTJ = Family(
    name="gptj",
    classes=r"GPTJ(Model|For\w+)",
    blocks=("h",),
    reads={
        "ln1_out": ("ln_1", "out"),
        "z": ("attn.out_proj", "in"),
        "attn_out": ("attn.out_proj", "out"),
        "mlp_act": ("mlp.fc_out", "in"),
        "mlp_out": ("mlp.fc_out", "out"),
    },
    final_norm="ln_f",
    heads=("lm_head",),
    parallel=lambda config: True,
)
