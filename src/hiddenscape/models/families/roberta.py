"""RoBERTa and DistilBERT: post-norm like BERT.

RoBERTa counts positions from the padding id plus one. DistilBERT's head is a chain of modules.
"""

from __future__ import annotations

from hiddenscape.models.families.bert import BERT
from hiddenscape.models.families.family import Family

__all__ = ["DISTILBERT", "ROBERTA"]

ROBERTA = Family(
    name="roberta",
    classes=r"(Roberta|XLMRoberta|Camembert)(Model|ForMaskedLM|For(Token|Sequence)Classification)",
    blocks=("encoder.layer",),
    reads=BERT.reads,
    final_norm=None,
    heads=("lm_head", "classifier"),
    last_hidden="resid_post",
    norm_first=False,
    post_norms=BERT.post_norms,
    cls=0,
    first_position=lambda config: int(config.pad_token_id) + 1,
    max_length=lambda config: int(config.max_position_embeddings) - int(config.pad_token_id) - 1,
)

DISTILBERT = Family(
    name="distilbert",
    classes=r"DistilBert(Model|ForMaskedLM|ForTokenClassification)",
    blocks=("transformer.layer",),
    reads={
        "z": ("attention.out_lin", "in"),
        "attn_out": ("attention.out_lin", "out"),
        "resid_mid": ("sa_layer_norm", "out"),
        "mlp_act": ("ffn.lin2", "in"),
        "mlp_out": ("ffn.lin2", "out"),
    },
    final_norm=None,
    before_head=("vocab_transform", "activation", "vocab_layer_norm"),
    heads=("vocab_projector", "classifier"),
    last_hidden="resid_post",
    norm_first=False,
    post_norms=("sa_layer_norm", "output_layer_norm"),
    cls=0,
)
