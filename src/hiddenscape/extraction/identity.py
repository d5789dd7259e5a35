"""What makes two extractions the same extraction: the identity fields of a manifest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from hiddenscape.data.dataset import Dataset
from hiddenscape.models.fresh import weights_hash
from hiddenscape.models.network import TorchNetwork
from hiddenscape.store.manifest import versions
from hiddenscape.store.rows import row_ids_hash

__all__ = ["identity_of", "model_identity", "recorded_of", "tokenizer_hash"]


def model_identity(network: TorchNetwork) -> dict[str, Any]:
    """What says which network it is: commit or structure, class, hash of the weights, dtype."""
    facts = network.facts
    return {
        "id": facts.get("id", network.name),
        "commit": facts.get("commit"),
        "class": facts.get("class", type(network.module).__name__),
        "structure_hash": None if facts.get("commit") else structure_hash(network.module),
        "weights_hash": facts.get("weights_hash") or weights_hash(network.module),
        "dtype": str(network.dtype).removeprefix("torch."),
        "quantization": facts.get("quantization"),
        "remote_code_commit": facts.get("remote_code_commit"),
        "untrained_seed": facts.get("untrained_seed"),
    }


def _attention(network: TorchNetwork) -> str | None:
    return getattr(getattr(network.module, "config", None), "_attn_implementation", None)


def structure_hash(module: nn.Module) -> str:
    """Hash over what the weights do not tell: kinds and settings of the modules, and the config.

    A commit fixes them; without one, two networks that differ in an activation, an epsilon or the
    number of heads would otherwise pass for the same. What ``forward`` does beside its modules is
    not seen.

    Examples
    --------
    >>> structure_hash(nn.LeakyReLU(0.1)) == structure_hash(nn.LeakyReLU(0.2))
    False
    """
    told = getattr(getattr(module, "config", None), "to_dict", None)
    said = told() if callable(told) else {}
    kept = {k: v for k, v in said.items() if not str(k).startswith("_") and k not in _NO_STRUCTURE}
    text = f"{module!r}\n{json.dumps(kept, sort_keys=True, default=repr)}"
    return hashlib.blake2b(_ADDRESS.sub("", text).encode(), digest_size=16).hexdigest()


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
# What saving, loading or calling a network writes into its config.
_NO_STRUCTURE = (
    "architectures", "auto_map", "dtype", "output_attentions", "output_hidden_states",
    "return_dict", "torch_dtype", "transformers_version", "use_cache",
)  # fmt: skip


def identity_of(
    network: TorchNetwork, dataset: Dataset, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The identity fields of a manifest (S6), but for sites and shard edges."""
    facts = network.facts
    template = getattr(dataset, "template_hash", None)
    return {
        "model": model_identity(network),
        "adapter": facts.get("adapter"),
        "attn_implementation": facts.get("attn_implementation") or _attention(network),
        "intervention_hash": facts.get("intervention_hash"),
        "tokenizer": _tokenizer(network, template) if dataset.kind == "text" else None,
        "processor_hash": _processor(network) if dataset.kind == "images" else None,
        "dataset": {
            "fingerprint": dataset.fingerprint,
            "row_ids_hash": row_ids_hash(dataset.ids),
            "columns": sorted(dataset.labels),
            "split": None,
            "limit": None,
            "seed": None,
        },
        "input": dict(settings),
        "pool_dtype": "float64" if network.dtype == torch.float64 else "float32",
    }


def recorded_of(network: TorchNetwork, dataset: Dataset) -> dict[str, Any]:
    """What is worth knowing but may differ between two writers of one store (S7)."""
    device = network.device
    title = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "versions": versions("torch", "transformers", "tokenizers", "safetensors"),
        "device": {"name": title},
        "network": network.name,
        "dataset": dataset.name,
        "origin": getattr(dataset, "origin", None),
        "family": None if network.map is None else network.map.family.name,
        "self_check": [
            {
                "name": c.name,
                "passed": c.passed,
                "size": float(np.nan_to_num(c.size, nan=-1.0, posinf=-1.0)),
                "where": c.where,
            }
            for c in network.checks
        ],
        "withdrawn": dict(network.withdrawn),
        "causal": network.facts.get("causal"),
        "discovered": bool(network.map is not None and network.map.family.discovered),
    }


def tokenizer_hash(tokenizer: Any) -> str:
    """Hash over the vocabulary, what is done with special tokens and, of fast ones, every rule."""
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items()))
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = ""
    if backend is not None:
        # How the last call padded and cut is a state, not a rule.
        whole = json.loads(backend.to_str()) | {"truncation": None, "padding": None}
        rules = json.dumps(whole, sort_keys=True)
    # What wraps the rules decides on special tokens too, and the rules do not say so.
    flags = {name: getattr(tokenizer, name, None) for name in _TOKENIZER_FLAGS}
    set_ = json.dumps({name: value for name, value in flags.items() if value})
    return hashlib.blake2b((vocabulary + rules + set_).encode(), digest_size=16).hexdigest()


_TOKENIZER_FLAGS = ("add_bos_token", "add_eos_token", "split_special_tokens")


def _tokenizer(network: TorchNetwork, template: str | None) -> dict[str, Any]:
    tokenizer = network.tokenizer
    return {
        "id": type(tokenizer).__name__,
        "commit": network.facts.get("commit"),
        "hash": tokenizer_hash(tokenizer),
        "specials": sorted(set(map(str, tokenizer.all_special_tokens))),
        "template_hash": template,
        "padding_side": "right",
    }


def _processor(network: TorchNetwork) -> str | None:
    if network.processor is None:
        return None
    text = network.processor.to_json_string()
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
