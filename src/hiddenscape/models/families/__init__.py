"""One file per architecture family, one line here."""

from __future__ import annotations

from torch import nn

from hiddenscape.models.families.bert import BERT, ESM
from hiddenscape.models.families.family import Family, FamilyMap, build_map
from hiddenscape.models.families.gpt2 import GPT2, IMAGE_GPT
from hiddenscape.models.families.gpt_neox import GPT_NEOX
from hiddenscape.models.families.llama import LLAMA
from hiddenscape.models.families.patch_gpt_map import PATCH_GPT
from hiddenscape.models.families.vit import VIT

__all__ = ["FAMILIES", "Family", "FamilyMap", "build_map", "find_map"]

FAMILIES: tuple[Family, ...] = (GPT2, IMAGE_GPT, LLAMA, GPT_NEOX, BERT, ESM, VIT, PATCH_GPT)


def find_map(module: nn.Module) -> FamilyMap | None:
    """The site map of a network whose class a family serves, else None."""
    for family in FAMILIES:
        if family.serves(module):
            return build_map(family, module)
    return None
