"""GPT-NeoX and Pythia: blocks are parallel when the config says so.

In a parallel block both norms read the stream entering the block, and there is no ``resid_mid``:
what the second norm reads is then ``resid_pre`` again.
"""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["GPT_NEOX"]

GPT_NEOX = Family(
    name="gpt_neox",
    classes=r"GPTNeoX(Model|For\w+)",
    blocks=("layers",),
    reads={
        "ln1_out": ("input_layernorm", "out"),
        "z": ("attention.dense", "in"),
        "attn_out": ("attention.dense", "out"),
        "resid_mid": ("post_attention_layernorm", "in"),
        "ln2_out": ("post_attention_layernorm", "out"),
        "mlp_act": ("mlp.dense_4h_to_h", "in"),
        "mlp_out": ("mlp.dense_4h_to_h", "out"),
    },
    final_norm="final_layer_norm",
    heads=("lm_head", "embed_out"),
    parallel=lambda config: bool(config.use_parallel_residual),
)
