"""Encoders of T5, mT5, UMT5 and ProtT5: pre-norm, norms that only scale, relative positions.

Only the encoder classes: a network with a decoder has two streams, and its names would not say
which one is meant.
"""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["T5_ENCODER"]

T5_ENCODER = Family(
    name="t5_encoder",
    classes=r"(T5|MT5|UMT5)(EncoderModel|ForTokenClassification)",
    blocks=("encoder.block",),
    reads={
        "ln1_out": ("layer.0.layer_norm", "out"),
        "z": ("layer.0.SelfAttention.o", "in"),
        "attn_out": ("layer.0.SelfAttention.o", "out"),
        "resid_mid": ("layer.1.layer_norm", "in"),
        "ln2_out": ("layer.1.layer_norm", "out"),
        "mlp_act": ("layer.1.DenseReluDense.wo", "in"),
        "mlp_out": ("layer.1.DenseReluDense.wo", "out"),
    },
    final_norm="encoder.final_layer_norm",
    heads=("classifier",),
)
