"""ViT: pre-norm blocks over patches, a class token in front, a final norm.

Hugging Face's last hidden-state entry is the stream before the final norm.
"""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["VIT"]

VIT = Family(
    name="vit",
    classes=r"ViT(Model|ForImageClassification)",
    blocks=("layers", "encoder.layer"),
    reads={
        "ln1_out": ("layernorm_before", "out"),
        "z": ("attention.o_proj", "in"),
        "attn_out": ("attention.o_proj", "out"),
        "resid_mid": ("layernorm_after", "in"),
        "ln2_out": ("layernorm_after", "out"),
        "mlp_act": ("mlp.fc2", "in"),
        "mlp_out": ("mlp.fc2", "out"),
    },
    final_norm="layernorm",
    heads=("classifier",),
    last_hidden="resid_post",
    kind="pixels",
    cls=0,
    prefix=1,
    head_position=0,
)
