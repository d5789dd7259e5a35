"""DINOv2, with and without register tokens: ViT with a learned scale inside each add.

What attention and MLP add is the output of the scale; ``z`` and ``mlp_act`` are read at the
projections before it. The classifier reads the class token and the mean over patches.
"""

from __future__ import annotations

import torch

from hiddenscape.models.families.family import Family

__all__ = ["DINOV2", "DINOV2_SWIGLU"]


def _head_input(state: torch.Tensor, prefix: int) -> torch.Tensor:
    return torch.cat([state[:, 0], state[:, prefix:].mean(1)], dim=1)


def _family(name: str, swiglu: bool) -> Family:
    last = "mlp.down_proj" if swiglu else "mlp.fc2"
    return Family(
        name=name,
        classes=r"Dinov2(WithRegisters)?(Model|ForImageClassification)",
        when=lambda config: bool(config.use_swiglu_ffn) is swiglu,
        blocks=("encoder.layer",),
        reads={
            "ln1_out": ("norm1", "out"),
            "z": ("attention.o_proj", "in"),
            "attn_out": ("layer_scale1", "out"),
            "resid_mid": ("norm2", "in"),
            "ln2_out": ("norm2", "out"),
            "mlp_act": (last, "in"),
            "mlp_out": ("layer_scale2", "out"),
        },
        final_norm="layernorm",
        heads=("classifier",),
        last_hidden="resid_post",
        kind="pixels",
        cls=0,
        prefix=lambda config: 1 + int(getattr(config, "num_register_tokens", 0)),
        head_input=_head_input,
    )


DINOV2 = _family("dinov2", swiglu=False)
DINOV2_SWIGLU = _family("dinov2_swiglu", swiglu=True)
