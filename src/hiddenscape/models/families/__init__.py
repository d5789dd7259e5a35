"""One file per architecture family, one line here."""

from __future__ import annotations

from torch import nn

from hiddenscape.models.families.bert import BERT, ESM
from hiddenscape.models.families.bloom import BLOOM
from hiddenscape.models.families.clip_vision import CLIP_VISION
from hiddenscape.models.families.dinov2 import DINOV2, DINOV2_SWIGLU
from hiddenscape.models.families.family import Family, FamilyMap, build_map
from hiddenscape.models.families.gemma import GEMMA, GEMMA2, GEMMA3
from hiddenscape.models.families.gpt2 import GPT2, IMAGE_GPT
from hiddenscape.models.families.gpt_neo import GPT_NEO
from hiddenscape.models.families.gpt_neox import GPT_NEOX
from hiddenscape.models.families.gptj import GPTJ
from hiddenscape.models.families.llama import LLAMA
from hiddenscape.models.families.mamba import MAMBA
from hiddenscape.models.families.olmo2 import OLMO2
from hiddenscape.models.families.opt import OPT, OPT_POST_NORM
from hiddenscape.models.families.patch_gpt_map import PATCH_GPT
from hiddenscape.models.families.resnet import RESNET, RESNET_TORCH
from hiddenscape.models.families.roberta import DISTILBERT, ROBERTA
from hiddenscape.models.families.t5 import T5_ENCODER
from hiddenscape.models.families.vit import VIT

__all__ = ["FAMILIES", "Family", "FamilyMap", "build_map", "find_map"]

FAMILIES: tuple[Family, ...] = (
    GPT2,
    IMAGE_GPT,
    GPT_NEO,
    GPTJ,
    BLOOM,
    GPT_NEOX,
    LLAMA,
    OLMO2,
    OPT,
    OPT_POST_NORM,
    GEMMA,
    GEMMA2,
    GEMMA3,
    MAMBA,
    BERT,
    ROBERTA,
    DISTILBERT,
    ESM,
    T5_ENCODER,
    VIT,
    DINOV2,
    DINOV2_SWIGLU,
    CLIP_VISION,
    PATCH_GPT,
    RESNET,
    RESNET_TORCH,
)


def find_map(module: nn.Module) -> FamilyMap | None:
    """The site map of a network whose class a family serves, else None."""
    for family in FAMILIES:
        if not family.serves(module):
            continue
        found = (family.lay or build_map)(family, module)
        if found is not None or family.lay is None:
            return found
    return None
