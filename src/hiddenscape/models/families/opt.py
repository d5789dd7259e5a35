"""OPT: pre-norm, but post-norm in the 350m model, which has no final norm either.

A block flattens rows and tokens to (B*T, d) before its second norm and its MLP. The block's own
``final_layer_norm`` is the norm before the MLP. Where the word embedding is narrower than the
stream, ``project_out`` follows the final norm: Hugging Face's last hidden state is then neither
the final norm nor the stream, and its alias points to that module.
"""

from __future__ import annotations

from typing import Any

from hiddenscape.models.families.family import Family

__all__ = ["OPT", "OPT_POST_NORM"]

_CLASSES = r"OPT(Model|For\w+)"
_READS = {
    "z": ("self_attn.out_proj", "in"),
    "attn_out": ("self_attn.out_proj", "out"),
    "mlp_act": ("fc2", "in"),
    "mlp_out": ("fc2", "out"),
}


def _pre_norm(config: Any) -> bool:
    return bool(config.do_layer_norm_before)


OPT = Family(
    name="opt",
    classes=_CLASSES,
    when=_pre_norm,
    blocks=("decoder.layers",),
    reads={
        "ln1_out": ("self_attn_layer_norm", "out"),
        **_READS,
        "resid_mid": ("final_layer_norm", "in"),
        "ln2_out": ("final_layer_norm", "out"),
    },
    flat=("resid_mid", "ln2_out", "mlp_act", "mlp_out"),
    final_norm="decoder.final_layer_norm",
    before_head=("decoder.project_out",),
    heads=("lm_head",),
)

OPT_POST_NORM = Family(
    name="opt_post_norm",
    classes=_CLASSES,
    when=lambda config: not _pre_norm(config),
    blocks=("decoder.layers",),
    reads={**_READS, "resid_mid": ("self_attn_layer_norm", "out")},
    flat=("mlp_act", "mlp_out"),
    final_norm=None,
    before_head=("decoder.project_out",),
    heads=("lm_head",),
    last_hidden="resid_post",
    norm_first=False,
    post_norms=("self_attn_layer_norm", "final_layer_norm"),
)
