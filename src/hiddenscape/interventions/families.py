"""Families that do not go through transformers' attention interface but have one method for it.

ImageGPT, GPT-J and GPT-Neo: ``_attn(query, key, value, attention_mask)`` holds scaling, mask,
softmax and value sum. Switching the implementation is silently ignored there, so the method of each
module is wrapped while edits are active.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["OWN_METHOD", "own_scores"]

Scores = Callable[[Any, torch.Tensor, torch.Tensor], torch.Tensor]


def _product(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return torch.matmul(query, key.transpose(-1, -2))


def _imagegpt(module: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    scores = _product(query, key)
    if module.scale_attn_weights:
        scores = scores / query.shape[-1] ** 0.5
    if module.scale_attn_by_inverse_layer_idx:
        scores = scores / (module.layer_idx + 1)
    return scores


def _gptj(module: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return _product(query.float(), key.float()) / float(module.scale_attn)


def _gpt_neo(_module: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return _product(query.float(), key.float())


OWN_METHOD: Mapping[str, Scores] = {
    "ImageGPTAttention": _imagegpt,
    "GPTJAttention": _gptj,
    "GPTNeoSelfAttention": _gpt_neo,
}
"""Class of the attention module to its scores; that they are right is probed, not believed."""


def own_scores(module: nn.Module) -> Scores | None:
    """The scores of a module that has such a method, else None."""
    if getattr(module, "reorder_and_upcast_attn", False):
        return None
    return OWN_METHOD.get(type(module).__name__)
