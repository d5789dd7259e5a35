"""Mamba: blocks without attention, so only the stream has names.

Hugging Face's hidden states leave the embedding out: entry i is the output of block i.
"""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["MAMBA"]

MAMBA = Family(
    name="mamba",
    classes=r"Mamba(Model|ForCausalLM)",
    blocks=("layers",),
    reads={},
    final_norm="norm_f",
    heads=("lm_head",),
    hidden_stem="resid_post",
)
