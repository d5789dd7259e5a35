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
    assert net.facts["commit"].startswith("files:")
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
    assert one.facts["commit"].startswith("config:")
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


def test_a_folder_is_known_by_config_and_weights(checkpoint, tmp_path, tiny_model):
    folder = shutil.copytree(checkpoint("gpt2"), tmp_path / "a")
    first = load_network(folder).facts["commit"]
    assert load_network(shutil.copytree(folder, tmp_path / "b")).facts["commit"] == first
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "note": "other"}))
    second = load_network(folder).facts["commit"]
    tiny_model("gpt2", seed=1).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({**config, "note": "other"}))
    third = load_network(folder).facts["commit"]
    assert len({first, second, third}) == 3


def test_a_folder_has_no_revisions(checkpoint):
    with pytest.raises(InputError, match="a folder has no revisions, got 'main'"):
        load_network(checkpoint("gpt2"), revision="main")


def test_a_sharded_checkpoint_and_its_twin(checkpoint, tmp_path, tiny_model):
    """Tied weights are stored once, over several files; the twin is that of the whole."""
    model = tiny_model("gpt2")
    assert model.lm_head.weight is model.transformer.wte.weight
    model.save_pretrained(tmp_path / "many", max_shard_size="20KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    whole, many = load_network(checkpoint("gpt2")), load_network(tmp_path / "many")
    assert weights_hash(whole.module) == weights_hash(many.module)
    assert whole.facts["commit"] != many.facts["commit"]
    last = sorted((tmp_path / "many").glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:-1] + b"\x7f")
    assert load_network(tmp_path / "many").facts["commit"] != many.facts["commit"]
    folders = (tmp_path / "many", checkpoint("gpt2"))
    twins = [load_network(folder, untrained=True, seed=4) for folder in folders]
    assert weights_hash(twins[0].module) == weights_hash(twins[1].module)
    assert twins[0].module.lm_head.weight is twins[0].module.transformer.wte.weight
    assert weights_hash(twins[0].module) != weights_hash(many.module)


def test_two_networks_of_one_folder_share_no_setting(checkpoint):
    one = load_network(checkpoint("llama"), attn="eager")
    two = load_network(checkpoint("llama"), attn="sdpa")
    assert one.module.config is not two.module.config
    assert one.module.config._attn_implementation == "eager"
    two.module.set_attn_implementation("eager")
    one.module.set_attn_implementation("sdpa")
    assert two.module.config._attn_implementation == "eager"


def test_two_networks_of_one_config_object_share_no_setting(checkpoint):
    import transformers

    from hiddenscape.models.origin import find_origin
    from hiddenscape.models.weights import Wish, fresh_module, trained_module

    origin = find_origin(checkpoint("llama"))
    config = transformers.AutoConfig.from_pretrained(origin.where)

    def wish(attn):
        return Wish(
            dtype="auto", attn=attn, allow_bin=False, quantization=None, device_map=None,
            offload_folder=None, options=origin.options(False),
        )  # fmt: skip

    kind = transformers.LlamaForCausalLM
    made = [trained_module(kind, origin, config, wish(a))[0] for a in ("eager", "sdpa")]
    made += [fresh_module(kind, origin, config, wish(a), 0)[0] for a in ("eager", "sdpa")]
    used = [m.config._attn_implementation for m in made]
    assert used == ["eager", "sdpa", "eager", "sdpa"]
    assert len({id(m.config) for m in made} | {id(config)}) == 5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_read_back_and_twins_follow(tmp_path, tiny_model, dtype):
    tiny_model("llama").to(getattr(torch, dtype)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps({k: v for k, v in config.items() if k not in ("dtype", "torch_dtype")})
    )
    net, twin = load_network(tmp_path), load_network(tmp_path, untrained=True)
    assert str(net.dtype) == str(twin.dtype) == f"torch.{dtype}"
    assert f"computes in {dtype}" in net.facts["remarks"][0]
    wide = load_network(tmp_path, dtype="float32")
    assert wide.dtype == torch.float32
    assert f"{dtype}" not in wide.facts["remarks"][0]


def test_a_config_that_names_another_dtype_than_its_files_is_told(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("llama"), tmp_path / "a")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    net = load_network(folder)
    assert net.dtype == torch.bfloat16
    assert "its files hold float32, its config says bfloat16" in net.facts["remarks"][0]


def test_a_machine_that_cannot_compute_in_float16_is_named(tmp_path, tiny_model, monkeypatch):
    tiny_model("llama").half().save_pretrained(tmp_path)

    def lacking(*_args, **_kwargs):
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'")

    monkeypatch.setattr(torch.nn.Linear, "forward", lacking)
    with pytest.raises(NetworkError, match=r"cpu does not compute in float16 .* dtype 'float32'"):
        load_network(tmp_path)


def test_logits_of_a_head_without_weights_are_not_offered(tmp_path, tiny_model):
    import transformers

    config = tiny_model("llama").config
    transformers.LlamaModel(config).save_pretrained(tmp_path)
    net = load_network(tmp_path, task="causal")
    assert "logits" not in net.places
    assert "lacks 'lm_head.weight', it would be random" in net.withdrawn["logits"]
    assert "resid_post.0" in net.places


def test_every_wrap_ends_in_eval_mode_and_two_passes_are_bit_equal(checkpoint, family, tiny_batch):
    if family == "esm":
        pytest.skip("its folder has no tokenizer; the rest is the same")
    net = load_network(checkpoint(family))
    assert not any(m.training for m in net.module.modules())
    batch = tiny_batch(net)
    first, second = net.trace(batch), net.trace(batch)
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_a_tokenizer_without_pad_gets_one_in_the_tokenizer_only(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("gpt2"), tmp_path / "a")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if k != "pad_token"}))
    net = load_network(folder)
    assert net.tokenizer.pad_token == "[UNK]"
    size = net.module.get_input_embeddings().weight.shape[0]
    assert size == net.module.config.vocab_size == 99
    assert len(net.tokenizer) == len(load_network(checkpoint("gpt2")).tokenizer)


def test_a_tokenizer_may_come_from_elsewhere(checkpoint, tmp_path, tiny_model):
    tiny_model("gpt2").save_pretrained(tmp_path / "bare")
    assert load_network(tmp_path / "bare").tokenizer is None
    found = load_network(tmp_path / "bare", tokenizer=checkpoint("llama")).tokenizer
    assert found.get_vocab() == load_network(checkpoint("llama")).tokenizer.get_vocab()
    with pytest.raises(NetworkError, match="no tokenizer here"):
        load_network(checkpoint("llama"), tokenizer=tmp_path / "bare")


@pytest.mark.parametrize("kind", ["T5", "UMT5"])
def test_of_an_encoder_decoder_the_encoder_is_read(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        decoder_start_token_id=0,
    )  # fmt: skip
    whole = getattr(transformers, f"{kind}ForConditionalGeneration")(config)
    whole.save_pretrained(tmp_path)
    network = load_network(tmp_path)
    assert network.map.family.name == "t5_encoder"
    assert network.facts["class"] == f"{kind}EncoderModel"
    assert not [c for c in network.checks if not c.passed]
    block = network.module.encoder.block[1].layer[1].DenseReluDense.wo.weight
    assert torch.equal(block, whole.encoder.block[1].layer[1].DenseReluDense.wo.weight)
