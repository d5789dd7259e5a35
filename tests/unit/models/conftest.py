"""Tiny random networks of every family, with weights large enough for a mistake to show."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from hiddenscape.models.batching import array_batch, token_batch
from hiddenscape.models.network import Batch, TorchNetwork

transformers = pytest.importorskip("transformers")

FAMILIES = (
    "gpt2", "imagegpt", "llama", "gpt_neox", "gpt_neox_sequential", "bert", "esm", "vit",
)  # fmt: skip
CAUSAL = ("gpt2", "imagegpt", "llama", "gpt_neox", "gpt_neox_sequential")
BLOCKS = 3

_COMMON = {
    "hidden_size": 32,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_TEXT = {**_COMMON, "vocab_size": 99, "max_position_embeddings": 96}
_GPT = {
    "n_embd": 32,
    "n_layer": BLOCKS,
    "n_head": 4,
    "n_positions": 96,
    "bos_token_id": None,
    "eos_token_id": None,
}


def _build(name: str) -> Any:
    t = transformers
    match name:
        case "gpt2":
            return t.GPT2LMHeadModel(t.GPT2Config(vocab_size=99, **_GPT))
        case "imagegpt":
            return t.ImageGPTForCausalImageModeling(t.ImageGPTConfig(vocab_size=17, **_GPT))
        case "llama":
            return t.LlamaForCausalLM(t.LlamaConfig(num_key_value_heads=2, **_TEXT))
        case "gpt_neox":
            return t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**_TEXT))
        case "gpt_neox_sequential":
            return t.GPTNeoXForCausalLM(t.GPTNeoXConfig(use_parallel_residual=False, **_TEXT))
        case "bert":
            return t.BertForMaskedLM(t.BertConfig(**_TEXT))
        case "esm":
            config = t.EsmConfig(
                **{**_TEXT, "vocab_size": 33},
                pad_token_id=1,
                mask_token_id=32,
                position_embedding_type="rotary",
                token_dropout=True,
            )
            return t.EsmForMaskedLM(config)
        case "vit":
            config = t.ViTConfig(image_size=16, patch_size=4, num_labels=5, **_COMMON)
            return t.ViTForImageClassification(config)
    raise AssertionError(name)


def tiny(name: str, seed: int = 0) -> Any:
    """Weights of order 0.3; gains and biases random, so that a norm too many or too few shows."""
    model = _build(name)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for path, p in model.named_parameters():
            mean = 1.0 if p.ndim == 1 and path.endswith("weight") else 0.0
            p.copy_(mean + 0.3 * torch.randn(p.shape, generator=generator))
    return model.eval()


def _load_zoo() -> ModuleType:
    path = Path(__file__).with_name("zoo.py")
    spec = importlib.util.spec_from_file_location("model_zoo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


ZOO = _load_zoo()


@pytest.fixture(scope="session")
def zoo() -> ModuleType:
    """Tiny networks of every architecture, with what their source says about them."""
    return ZOO


@pytest.fixture(params=list(ZOO.FAMILIES))
def architecture(request: pytest.FixtureRequest) -> str:
    """Every architecture that has a site map."""
    return str(request.param)


@pytest.fixture(params=list(ZOO.STRANGERS))
def stranger(request: pytest.FixtureRequest) -> str:
    """Architectures without one."""
    return str(request.param)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Any]:
    return tiny


@pytest.fixture(scope="session")
def tiny_batch() -> Callable[..., Batch]:
    """(network, lengths, seed) -> a batch of random rows, padded on the right."""

    def make(network: TorchNetwork, lengths: tuple[int, ...] = (9, 5), seed: int = 0) -> Batch:
        rng = np.random.default_rng(seed)
        if network.kind == "pixels":
            return array_batch(network, rng.normal(size=(len(lengths), 3, 16, 16)))
        rows = [rng.integers(3, 16, n).astype(np.int32) for n in lengths]
        return token_batch(network, rows, [np.zeros(n, np.uint8) for n in lengths])

    return make


def word_tokenizer() -> Any:
    """Words to ids with [CLS] and [SEP] around; [PAD] is 0."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(90))]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """family -> folder with config, safetensors and, for text, a tokenizer."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            tiny(name).save_pretrained(folder)
            if name not in ("vit", "imagegpt", "esm"):
                word_tokenizer().save_pretrained(folder)
            made[name] = folder
        return made[name]

    return make
