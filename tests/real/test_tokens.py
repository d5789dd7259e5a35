"""Tokens of real vocabularies, and what counts as content when padding is a token of the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hiddenscape.data.text import text_dataset
from hiddenscape.data.tokens import tokenize
from hiddenscape.extraction import extract
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.wrapping import wrap_module

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.real

EOS = 50256
GPT2 = {
    "Hello world, the quick brown fox": [15496, 995, 11, 262, 2068, 7586, 21831],
    "Paris": [40313],
    " Paris": [6342],
    "antidisestablishmentarianism": [415, 29207, 44390, 3699, 1042],
    " 日本": [10545, 245, 98, 17312, 105],
    "the end<|endoftext|>once more": [1169, 886, EOS, 27078, 517],
    "": [],
}
BERT = {
    "Hello world, the quick brown fox": [7592, 2088, 1010, 1996, 4248, 2829, 4419],
    "naïve café": [15743, 7668],
    "unbelievably": [4895, 8671, 2666, 3567, 6321],
    "a [SEP] b": [1037, 102, 1038],
    "[MASK] it": [103, 2009],
    "": [],
}


@pytest.fixture(scope="module")
def gpt2(data: Path) -> Any:
    folder = data / "tokenizers"
    found = transformers.GPT2Tokenizer(
        str(folder / "gpt2-vocab.json"), str(folder / "gpt2-merges.txt")
    )
    found.pad_token = found.eos_token
    return found


@pytest.fixture(scope="module")
def bert(data: Path) -> Any:
    return transformers.BertTokenizer(str(data / "tokenizers" / "bert-base-uncased-vocab.txt"))


def test_gpt2_gives_golden_ids_and_marks_nothing(gpt2):
    tokens = tokenize(gpt2, list(GPT2))
    for text, ids, special in zip(GPT2, tokens.ids, tokens.special, strict=True):
        assert ids.tolist() == GPT2[text], text
        assert not special.any()
        assert gpt2.decode(ids) == text


def test_bert_gives_golden_ids_between_its_specials(bert):
    tokens = tokenize(bert, list(BERT))
    for text, ids, special in zip(BERT, tokens.ids, tokens.special, strict=True):
        assert ids.tolist() == [101, *BERT[text], 102], text
        # A separator that stands in the text is text; ids are never compared.
        assert special.tolist() == [1] + [0] * len(BERT[text]) + [1], text


@pytest.mark.parametrize(
    ("word", "pieces"), [(" Paris", 1), (" Rome", 1), (" Reykjavik", 4), (" Ouagadougou", 5)]
)
def test_a_target_word_decodes_to_itself_and_shows_its_pieces(gpt2, word, pieces):
    ids = tokenize(gpt2, [word]).ids[0]
    assert gpt2.decode(ids) == word
    assert len(ids) == pieces
    assert (gpt2.decode(ids[:1]) == word) == (pieces == 1)


def gpt2_network(tokenizer: Any) -> TorchNetwork:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=EOS, eos_token_id=EOS
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(10.0)
    return wrap_module(model, name="gpt2", tokenizer=tokenizer)


def test_an_eos_inside_the_text_is_content_though_padding_is_the_same_id(gpt2, tmp_path):
    texts = ["the end<|endoftext|>once more", "a much longer text makes the others be padded",
             "stop<|endoftext|>", "word"]  # fmt: skip
    network = gpt2_network(gpt2)
    store = extract(network, text_dataset(texts), tmp_path, pooling="mean,last")
    ids = [gpt2(t)["input_ids"] for t in texts]
    np.testing.assert_array_equal(store.n_content, [len(i) for i in ids])
    for row, tokens in enumerate(ids):
        with torch.inference_mode():
            states = network.module(torch.tensor([tokens]), output_hidden_states=True)
        for i, site in enumerate(("embed", "resid_post.0", "final_norm")):
            alone = states.hidden_states[i][0]
            for how, value in (("mean", alone.mean(0)), ("last", alone[-1])):
                np.testing.assert_allclose(
                    store[f"{site}@{how}"][row], value.numpy(), rtol=1e-4, atol=1e-4
                )
