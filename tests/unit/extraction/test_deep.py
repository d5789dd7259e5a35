"""Rows computed again, alone: equal where nothing changed, named where something did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import hiddenscape as hs
from hiddenscape.data.arrays import array_dataset, token_dataset
from hiddenscape.errors import InputError, ManifestMismatch
from hiddenscape.extraction import extract, recompute
from hiddenscape.models.fresh import untrained_twin
from hiddenscape.models.wrapping import wrap_module


class Words(nn.Module):
    class config:
        vocab_size = 60
        max_position_embeddings = 16

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Embedding(60, 5)
        self.context = nn.Identity()

    def forward(self, input_ids: torch.Tensor, attention_mask: object = None) -> torch.Tensor:
        return self.context(self.own(input_ids).cumsum(1))


def network(seed: int = 0) -> object:
    return wrap_module(untrained_twin(Words(), seed=seed), ["own", "context"], kind="tokens")


def rows(count: int = 30, longest: int = 40) -> list[list[int]]:
    rng = np.random.default_rng(3)
    return [rng.integers(1, 60, rng.integers(1, longest)).tolist() for _ in range(count)]


def made(folder: Path, **options: object) -> object:
    data = token_dataset(rows())
    extract(network(), data, folder, overlength="truncate:head", **options)
    return data


@pytest.mark.parametrize("pooling", ["mean,last", "tokens,token:-1"])
def test_nothing_changed(tmp_path, pooling):
    data = made(tmp_path, pooling=pooling)
    drift = recompute(network(), data, tmp_path, rows=12)
    assert len(drift.rows) == 12
    assert drift.worst[1] < 1e-5
    assert drift.changed == ()
    assert all(share == 1.0 for share in drift.neighbors.values())


def test_windows_are_put_together_again(tmp_path):
    data = token_dataset(rows())
    extract(network(), data, tmp_path, overlength="window:5", batch_tokens=64)
    assert recompute(network(), data, tmp_path).worst[1] < 1e-5


def test_another_network_shows_and_is_named(tmp_path):
    data = made(tmp_path)
    drift = recompute(network(seed=1), data, tmp_path)
    assert drift.worst[1] > 0.1
    assert any(text.startswith("model.weights_hash is") for text in drift.changed)


def test_one_wrong_row_in_a_store_shows(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    net = untrained_twin(nn.Sequential(nn.Linear(4, 3)), seed=0)
    extract(net, array_dataset(x), tmp_path)
    other = x.copy()
    other[7] += 1
    swapped = hs.array_dataset(other)
    object.__setattr__(swapped, "fingerprint", array_dataset(x).fingerprint)
    assert recompute(net, swapped, tmp_path, rows=20).worst[1] > 0.1
    assert recompute(net, array_dataset(x), tmp_path, rows=20).worst[1] < 1e-5


def test_what_cannot_be_compared_is_refused(tmp_path):
    made(tmp_path / "a")
    with pytest.raises(ManifestMismatch, match="made of other data"):
        recompute(network(), token_dataset(rows(29)), tmp_path / "a")
    hs.import_points({"a": np.eye(4)}, tmp_path / "b")
    with pytest.raises(InputError, match="were imported"):
        recompute(network(), token_dataset(rows()), tmp_path / "b")
    with pytest.raises(InputError, match="no row with status ok"):
        recompute(network(), token_dataset(rows()), tmp_path / "a", rows=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_weights_do_not_pass_in_half_precision(tmp_path, dtype):
    def net(seed: int) -> object:
        module = untrained_twin(Words(), seed=seed).to(dtype)
        return wrap_module(module, ["own", "context"], kind="tokens")

    data = token_dataset(rows(longest=16))
    extract(net(0), data, tmp_path)
    assert recompute(net(0), data, tmp_path).within_rounding
    other = recompute(net(1), data, tmp_path)
    assert other.limit < 0.5
    assert not other.within_rounding


def test_a_site_without_a_number_is_equal_to_itself(tmp_path):
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))
    with torch.no_grad():
        module[1].bias[0] = float("nan")
    data = array_dataset(np.random.default_rng(0).normal(size=(20, 3)).astype("float32"))
    extract(module, data, tmp_path, sites="module:0,module:1")
    assert recompute(module, data, tmp_path).within_rounding
    with torch.no_grad():
        module[1].bias[0] = 0.0
    assert not recompute(module, data, tmp_path).within_rounding


def test_another_tokenizer_is_named(tmp_path):
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    def net(pieces: pre_tokenizers.PreTokenizer) -> object:
        backend = Tokenizer(models.WordLevel({"?": 1, "a": 2, "b": 3, "-": 4}, unk_token="?"))
        backend.pre_tokenizer = pieces
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
        module = untrained_twin(Words(), seed=0)
        return wrap_module(module, ["own"], kind="tokens", tokenizer=tokenizer)

    words, parts = net(pre_tokenizers.WhitespaceSplit()), net(pre_tokenizers.Whitespace())
    data = hs.text_dataset(["a-b a", "a b", "b - a"])
    extract(words, data, tmp_path / "mean")
    drift = recompute(parts, data, tmp_path / "mean")
    assert not drift.within_rounding
    assert any(line.startswith("tokenizer.hash") for line in drift.changed)
    assert recompute(words, data, tmp_path / "mean").changed == ()
    extract(words, data, tmp_path / "tokens", pooling="tokens")
    with pytest.raises(ManifestMismatch, match="2 tokens in the store and 4 now"):
        recompute(parts, data, tmp_path / "tokens")
