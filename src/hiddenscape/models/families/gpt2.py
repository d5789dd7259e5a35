"""GPT-2 and ImageGPT: pre-norm blocks with fused projections (weights of Conv1D are (in, out)).

ImageGPT eats colour ids: the start id (the last of the vocabulary) goes in front and the last
pixel is dropped, as in training; its head knows no start id. Its norm only scales.
"""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["GPT2", "IMAGE_GPT"]

_READS = {
    "ln1_out": ("ln_1", "out"),
    "z": ("attn.c_proj", "in"),
    "attn_out": ("attn.c_proj", "out"),
    "resid_mid": ("ln_2", "in"),
    "ln2_out": ("ln_2", "out"),
    "mlp_act": ("mlp.c_proj", "in"),
    "mlp_out": ("mlp.c_proj", "out"),
}

GPT2 = Family(
    name="gpt2",
    classes=r"GPT2(Model|LMHeadModel|DoubleHeadsModel|For\w+)",
    blocks=("h",),
    reads=_READS,
    final_norm="ln_f",
    heads=("lm_head",),
)

IMAGE_GPT = Family(
    name="imagegpt",
    classes=r"ImageGPT(Model|For\w+)",
    blocks=("h",),
    reads=_READS,
    final_norm="ln_f",
    heads=("lm_head",),
    start_id=lambda config: int(config.vocab_size) - 1,
)
