"""Checkpoints as they lie on the hub, tiny and random, in a folder: for pages and command lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

_SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.3,
}
_ESM = (
    "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>"
)


@pytest.fixture(scope="session")
def hub_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``gpt2``, ``facebook/esm2_t6_8M_UR50D`` and
    ``google/vit-base-patch16-224`` are folders of checkpoints."""
    import torch

    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("hub")
    _gpt2(transformers, root / "gpt2")
    _esm(transformers, root / "facebook" / "esm2_t6_8M_UR50D")
    _vit(transformers, root / "google" / "vit-base-patch16-224")
    return root


def _gpt2(transformers: Any, folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE({c: i for i, c in enumerate(letters)}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    config = transformers.GPT2Config(
        vocab_size=len(letters), n_embd=16, n_layer=2, n_head=2, n_positions=1024,
        initializer_range=0.3, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=bpe).save_pretrained(folder)


def _esm(transformers: Any, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(_ESM.split()), encoding="utf-8")
    tokenizer = transformers.EsmTokenizer(str(folder / "vocab.txt"))
    config = transformers.EsmConfig(
        vocab_size=33, pad_token_id=1, mask_token_id=32, position_embedding_type="rotary",
        token_dropout=True, max_position_embeddings=1026, **_SMALL,
    )  # fmt: skip
    transformers.EsmForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _vit(transformers: Any, folder: Path) -> None:
    config = transformers.ViTConfig(image_size=16, patch_size=4, **_SMALL)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
    processor.save_pretrained(folder)
