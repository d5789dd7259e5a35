"""What makes two extractions the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import nn

import hiddenscape as hs
from hiddenscape.errors import ManifestMismatch
from hiddenscape.extraction.identity import structure_hash, tokenizer_hash


def test_a_tokenizer_is_its_rules_not_its_last_call():
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    def make(lower: bool = False):
        backend = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[P]": 2}, unk_token="a"))
        backend.pre_tokenizer = (
            pre_tokenizers.Whitespace() if lower else pre_tokenizers.WhitespaceSplit()
        )
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=backend, unk_token="a", pad_token="[P]"
        )

    tokenizer = make()
    before = tokenizer_hash(tokenizer)
    tokenizer(["a b", "a"], padding=True, truncation=True, max_length=1)
    assert tokenizer_hash(tokenizer) == before == tokenizer_hash(make())
    assert tokenizer_hash(make(lower=True)) != before
    tokenizer.split_special_tokens = True
    assert tokenizer_hash(tokenizer) != before


def points_of(module: nn.Module, folder: Path) -> object:
    data = hs.array_dataset(np.random.default_rng(0).normal(size=(12, 3)).astype("float32"))
    return hs.extract(module, data, folder)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.Tanh(), nn.ReLU()),
        (nn.LeakyReLU(0.1), nn.LeakyReLU(0.5)),
        (nn.LayerNorm(4), nn.LayerNorm(4, eps=0.1)),
    ],
)
def test_equal_weights_in_another_structure_are_another_network(tmp_path, one, other):
    first = nn.Linear(3, 4)
    points_of(nn.Sequential(first, one), tmp_path)
    points_of(nn.Sequential(first, one), tmp_path)
    with pytest.raises(ManifestMismatch, match="structure_hash"):
        points_of(nn.Sequential(first, other), tmp_path)


def test_the_config_belongs_to_the_structure():
    class Config:
        def __init__(self, **values: object) -> None:
            self.values = values

        def to_dict(self) -> dict[str, object]:
            return self.values

    def hashed(**values: object) -> str:
        module = nn.Linear(2, 2)
        module.config = Config(**values)
        return structure_hash(module)

    assert hashed(heads=2) != hashed(heads=4)
    assert hashed(heads=2, _name_or_path="a", dtype="float32") == hashed(heads=2)


def test_saving_a_network_does_not_make_it_another(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    module = transformers.GPT2Model(config).eval()
    before = structure_hash(module)
    module.save_pretrained(tmp_path)
    assert structure_hash(module) == before
    assert structure_hash(transformers.GPT2Model.from_pretrained(tmp_path)) == before


def test_the_attention_of_a_wrapped_network_is_part_of_it(tmp_path):
    transformers = pytest.importorskip("transformers")
    import hiddenscape as hs

    config = transformers.GPT2Config(
        n_layer=1, n_embd=8, n_head=2, vocab_size=20, bos_token_id=None, eos_token_id=None
    )
    module = transformers.GPT2Model(config)
    module.set_attn_implementation("eager")
    data = hs.token_dataset([[1, 2, 3], [4, 5]])
    hs.extract(module, data, tmp_path)
    module.set_attn_implementation("sdpa")
    with pytest.raises(ManifestMismatch, match="attn_implementation"):
        hs.extract(module, data, tmp_path)
