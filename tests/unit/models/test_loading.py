"""Loading local checkpoints: safetensors only, whole, offline, recorded."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch

from hiddenscape.errors import InputError, MissingDependency, NetworkError
from hiddenscape.models.fresh import weights_hash
from hiddenscape.models.loading import load_network


def test_a_checkpoint_is_loaded_whole_and_checked(checkpoint, family):
    if family == "esm":
        pytest.skip("no tokenizer files here; covered by the family tests")
    folder = checkpoint(family)
    net = load_network(folder)
    assert net.map is not None
    assert net.checks
    assert all(c.passed for c in net.checks)
    assert not net.module.training
    assert not any(p.requires_grad for p in net.module.parameters())
    assert net.facts["commit"].startswith("config:")
    assert (net.tokenizer is not None) == (family not in ("vit", "imagegpt"))
    # A folder is recorded by its name: stores are moved freely.
    assert net.facts["id"] == folder.name


def test_the_length_limit_is_the_smallest_known(checkpoint):
    assert load_network(checkpoint("llama")).max_length == 96


def test_an_untrained_twin_needs_the_config_alone(checkpoint, tmp_path):
    shutil.copy(checkpoint("llama") / "config.json", tmp_path)
    one = load_network(tmp_path, untrained=True, seed=1)
    two = load_network(tmp_path, untrained=True, seed=1)
    three = load_network(tmp_path, untrained=True, seed=2)
    a, b, c = (weights_hash(n.module) for n in (one, two, three))
    assert a == b != c
    assert one.facts["untrained_seed"] == 1
    assert type(one.module) is type(load_network(checkpoint("llama")).module)


def test_dtype_auto_is_that_of_the_checkpoint(checkpoint, tmp_path, tiny_model):
    tiny_model("llama").to(torch.bfloat16).save_pretrained(tmp_path)
    assert load_network(tmp_path).dtype == torch.bfloat16
    assert load_network(tmp_path, dtype="float32").dtype == torch.float32
    assert load_network(checkpoint("llama")).dtype == torch.float32


def test_attention_falls_back_where_the_class_knows_no_other(checkpoint):
    assert load_network(checkpoint("imagegpt")).facts["attn_implementation"] == "eager"
    assert load_network(checkpoint("llama")).facts["attn_implementation"] == "sdpa"
    assert load_network(checkpoint("llama"), attn="eager").facts["attn_implementation"] == "eager"


def test_tasks_choose_the_head(checkpoint):
    base = load_network(checkpoint("llama"), task="base")
    assert type(base.module).__name__ == "LlamaModel"
    assert "logits" not in base.places
    with pytest.raises(InputError, match="task 'sing' is not one of"):
        load_network(checkpoint("llama"), task="sing")


def test_what_cannot_be_loaded(checkpoint, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_network(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no config.json"):
        load_network(tmp_path)
    with pytest.raises(InputError, match="dtype 'int3'"):
        load_network(checkpoint("llama"), dtype="int3")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(NetworkError, match="cannot be loaded"):
        load_network(tmp_path)


def test_pickles_are_not_loaded(checkpoint, tmp_path, tiny_model):
    shutil.copy(checkpoint("llama") / "config.json", tmp_path)
    torch.save(tiny_model("llama").state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(NetworkError, match="no safetensors weights"):
        load_network(tmp_path)


def test_a_missing_weight_is_named(checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(checkpoint("llama"), tmp_path / "cut")
    path = tmp_path / "cut" / "model.safetensors"
    state = load_file(path)
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(NetworkError, match=r"lacks 1 weights .*layers.1.mlp.up_proj.weight"):
        load_network(tmp_path / "cut")


def test_a_truncated_file_is_an_error(checkpoint, tmp_path):
    shutil.copytree(checkpoint("llama"), tmp_path / "cut")
    path = tmp_path / "cut" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NetworkError, match="safetensors file is damaged"):
        load_network(tmp_path / "cut")


def test_transformers_is_an_extra(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependency, match=r"hiddenscape\[hf\]"):
        load_network(checkpoint("llama"))


def test_the_class_named_in_the_config_is_used(checkpoint):
    config = json.loads((checkpoint("bert") / "config.json").read_text())
    assert type(load_network(checkpoint("bert")).module).__name__ == config["architectures"][0]


def test_a_device_that_is_not_here(checkpoint):
    with pytest.raises(InputError, match=r"device 'warp' cannot be used .*; use 'cpu'"):
        load_network(checkpoint("gpt2"), device="warp")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device 'cuda' cannot be used"):
            load_network(checkpoint("gpt2"), device="cuda")


def test_an_attention_that_cannot_be_had_is_an_error(checkpoint):
    with pytest.raises(NetworkError, match="cannot be loaded"):
        load_network(checkpoint("imagegpt"), attn="flash_attention_2")


def test_a_name_that_is_neither_a_folder_nor_on_the_hub_says_both(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NetworkError, match=r"^runs/nope: no folder of that name is here"):
        load_network("runs/nope")
