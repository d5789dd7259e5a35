"""BERT (post-norm) and ESM-2 (pre-norm in BERT's clothes).

BERT: each add is followed by a norm, so ``resid_mid`` and ``resid_post`` are outputs of norms and
no final norm exists. ESM: ``attention.output`` already contains the add, hence the projections are
read; with token ids the embedding is rescaled, so ids are always given, never vectors.
"""

from __future__ import annotations

from hiddenscape.models.families.family import Family

__all__ = ["BERT", "ESM"]

BERT = Family(
    name="bert",
    classes=r"Bert(Model|LMHeadModel|For\w+)",
    blocks=("encoder.layer",),
    reads={
        "z": ("attention.output.dense", "in"),
        "attn_out": ("attention.output.dense", "out"),
        "resid_mid": ("attention.output.LayerNorm", "out"),
        "mlp_act": ("output.dense", "in"),
        "mlp_out": ("output.dense", "out"),
    },
    final_norm=None,
    heads=("cls",),
    last_hidden="resid_post",
    norm_first=False,
    post_norms=("attention.output.LayerNorm", "output.LayerNorm"),
    cls=0,
)

ESM = Family(
    name="esm",
    classes=r"Esm(Model|ForMaskedLM|ForSequenceClassification|ForTokenClassification)",
    blocks=("encoder.layer",),
    reads={
        "ln1_out": ("attention.LayerNorm", "out"),
        "z": ("attention.output.dense", "in"),
        "attn_out": ("attention.output.dense", "out"),
        "resid_mid": ("LayerNorm", "in"),
        "ln2_out": ("LayerNorm", "out"),
        "mlp_act": ("output.dense", "in"),
        "mlp_out": ("output.dense", "out"),
    },
    final_norm="encoder.emb_layer_norm_after",
    heads=("lm_head", "classifier"),
    cls=0,
    # 1022 residues and two specials; longer rows can poison a CUDA context.
    max_length=lambda config: min(1024, int(config.max_position_embeddings)),
    # Counts from the padding id plus one where positions are learned (ESM-1b).
    first_position=lambda config: int(config.pad_token_id) + 1,
    alias_stems=("hf", "esm"),
)
