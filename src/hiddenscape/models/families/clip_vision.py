"""CLIP's image encoder: a norm before block 0, and a final norm of the class token alone.

``embed`` is what leaves that first norm. ``final_norm`` has one vector per row.
"""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["CLIP_VISION"]

CLIP_VISION = Family(
    name="clip_vision",
    classes=r"CLIPVisionModel(WithProjection)?",
    blocks=("encoder.layers",),
    bases=("vision_model",),
    reads={
        "ln1_out": ("layer_norm1", "out"),
        "z": ("self_attn.out_proj", "in"),
        "attn_out": ("self_attn.out_proj", "out"),
        "resid_mid": ("layer_norm2", "in"),
        "ln2_out": ("layer_norm2", "out"),
        "mlp_act": ("mlp.fc2", "in"),
        "mlp_out": ("mlp.fc2", "out"),
    },
    final_norm="post_layernorm",
    final_position=0,
    last_hidden="resid_post",
    kind="pixels",
    cls=0,
    prefix=1,
)
