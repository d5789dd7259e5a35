"""Adapters: base and adapted network from one load, proven to differ and to agree."""

from __future__ import annotations

import shutil
import sys
import warnings

import pytest
import torch

from hiddenscape.errors import InputError, MissingDependency, NetworkError
from hiddenscape.models.fresh import untrained_twin, weights_hash
from hiddenscape.models.loading import load_network

peft = pytest.importorskip("peft")
# Between peft and transformers, not ours.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")

TARGETS = {
    "gpt2": ["c_attn", "c_proj"],
    "llama": ["q_proj", "o_proj", "down_proj"],
    "bert": ["query", "dense"],
    "esm": ["query", "dense"],
}


@pytest.fixture
def adapter(tmp_path, tiny_model):
    """(family, ...) -> folder of a LoRA adapter with random B, as PEFT saves it."""

    def make(family, *, name="lora", zero=False, seed=0, **more):
        config = peft.LoraConfig(
            r=2, target_modules=TARGETS[family], fan_in_fan_out=family == "gpt2", **more
        )
        torch.manual_seed(seed)
        model = peft.get_peft_model(tiny_model(family), config)
        if not zero:
            with torch.no_grad():
                for path, p in model.named_parameters():
                    if "lora_B" in path or (more.get("bias") and "bias" in path):
                        p.normal_(std=0.2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save_pretrained(tmp_path / name)
        return tmp_path / name, model.eval()

    return make


def logits(net, batch):
    return net.forward(batch).logits


@pytest.mark.parametrize("family", list(TARGETS))
def test_base_and_adapted_states_come_from_one_load(adapter, checkpoint, tiny_batch, family):
    folder, original = adapter(family)
    plain = load_network(checkpoint(family))
    net = load_network(checkpoint(family), adapter=folder)
    base = net.without_adapter()
    batch = tiny_batch(plain)

    # Against PEFT itself (its weights lie elsewhere in memory: kernels may round otherwise), and
    # against the base loaded alone: bit for bit, in any order.
    for _ in range(2):
        with torch.inference_mode():
            expected = original(**batch.kwargs).logits
        torch.testing.assert_close(logits(net, batch), expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(logits(base, batch), logits(plain, batch))
    assert not torch.equal(logits(net, batch), logits(base, batch))
    # Module paths are those of the base, so are the sites, and every check holds.
    assert net.map is not None
    assert net.site_names == base.site_names == plain.site_names
    assert all(c.passed for c in (*net.checks, *base.checks))
    assert not any(m.training for m in net.module.modules())
    assert not any(p.requires_grad for p in net.module.parameters())
    a, b, c = net.trace(batch), base.trace(batch), plain.trace(batch)
    assert all(torch.equal(b[k], c[k]) for k in c)
    assert torch.equal(a["embed"], b["embed"])
    last = f"resid_post.{plain.map.n_blocks - 1}"
    assert not torch.equal(a[last], b[last])
    again = net.trace(batch)
    assert all(torch.equal(a[k], again[k]) for k in a)


def test_identity(adapter, checkpoint):
    folder, _ = adapter("gpt2")
    plain = load_network(checkpoint("gpt2"))
    net = load_network(checkpoint("gpt2"), adapter=folder)
    base = net.without_adapter()
    assert net.facts["adapter"]["id"] == "lora"
    assert net.facts["adapter"]["merged"] is False
    assert net.facts["weights_hash"] == base.facts["weights_hash"] == weights_hash(plain.module)
    assert base.facts["adapter"] is None
    assert (net.name, base.name) == (f"{plain.name} + lora", plain.name)
    other, _ = adapter("gpt2", name="second", seed=1)
    hashes = {
        load_network(checkpoint("gpt2"), adapter=a).facts["adapter"]["hash"]
        for a in (folder, other, shutil.copytree(folder, folder.with_name("copy")))
    }
    assert len(hashes) == 2


def test_an_adapter_that_changes_nothing_is_refused(adapter, checkpoint):
    folder, _ = adapter("gpt2", zero=True)
    with pytest.raises(NetworkError, match=r"adapter 'lora' changes nothing"):
        load_network(checkpoint("gpt2"), adapter=folder)


def test_prompt_tuning_works_around_the_network_and_is_refused(checkpoint, tiny_model, tmp_path):
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    peft.get_peft_model(tiny_model("llama"), config).save_pretrained(tmp_path / "prompt")
    with pytest.raises(NetworkError, match="works around the network"):
        load_network(checkpoint("llama"), adapter=tmp_path / "prompt")


def test_an_adapter_of_another_network_is_refused(adapter, checkpoint):
    folder, _ = adapter("llama")
    with pytest.raises(NetworkError, match=r"adapter 'lora' cannot be put into"):
        load_network(checkpoint("gpt2"), adapter=folder)


def test_weights_that_are_missing_or_unread_are_refused(adapter, checkpoint):
    from safetensors.torch import load_file, save_file

    folder, _ = adapter("llama")
    path = folder / "adapter_model.safetensors"
    state = load_file(path)
    name = next(k for k in state if "lora_B" in k)
    save_file({k: v for k, v in state.items() if k != name}, path)
    with pytest.raises(NetworkError, match=r"weights are missing from its file"):
        load_network(checkpoint("llama"), adapter=folder)
    extra = name.replace("layers.0", "layers.7")
    save_file({**state, extra: state[name].clone()}, path)
    with pytest.raises(NetworkError, match=rf"1 of its weights have no place .*{extra}"):
        load_network(checkpoint("llama"), adapter=folder)


def test_an_adapter_that_trains_biases_of_the_base_has_no_base_inside(adapter, checkpoint):
    folder, _ = adapter("bert", bias="lora_only")
    net = load_network(checkpoint("bert"), adapter=folder)
    with pytest.raises(NetworkError, match="switched off it is not its base"):
        net.without_adapter()
    assert any("load the base by itself" in line for line in net.facts["remarks"])


def test_a_pickled_adapter_needs_consent_and_runs_nothing(adapter, checkpoint, tmp_path):
    from safetensors.torch import load_file

    folder, _ = adapter("gpt2")
    state = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    torch.save(state, folder / "adapter_model.bin")
    with pytest.raises(NetworkError, match="its weights are a pickle"):
        load_network(checkpoint("gpt2"), adapter=folder)
    assert load_network(checkpoint("gpt2"), adapter=folder, allow_bin=True).facts["adapter"]

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "it-ran"), "w"))

    torch.save({**state, "x": Evil()}, folder / "adapter_model.bin")
    with pytest.raises(NetworkError, match="adapter 'lora'"):
        load_network(checkpoint("gpt2"), adapter=folder, allow_bin=True)
    assert not (tmp_path / "it-ran").exists()


def test_what_is_no_adapter(checkpoint, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no adapter_config.json here"):
        load_network(checkpoint("gpt2"), adapter=checkpoint("gpt2"))
    with pytest.raises(InputError, match="no such folder"):
        load_network(checkpoint("gpt2"), adapter=tmp_path / "absent")
    with pytest.raises(InputError, match="an untrained network takes no adapter"):
        load_network(checkpoint("gpt2"), adapter=tmp_path, untrained=True)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependency, match=r"hiddenscape\[adapters\]"):
        load_network(checkpoint("gpt2"), adapter=tmp_path)


def test_a_base_of_another_name_is_told(adapter, checkpoint):
    import json

    folder, _ = adapter("gpt2")
    path = folder / "adapter_config.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "org/other"})
    )
    net = load_network(checkpoint("gpt2"), adapter=folder)
    assert any("was trained on org/other" in line for line in net.facts["remarks"])


def test_the_twin_of_an_adapted_network_is_that_of_its_base(adapter, checkpoint, tiny_model):
    folder, original = adapter("llama")
    net = load_network(checkpoint("llama"), adapter=folder)
    expected = weights_hash(untrained_twin(tiny_model("llama"), seed=3))
    assert weights_hash(untrained_twin(net.module, seed=3)) == expected
    assert weights_hash(untrained_twin(original, seed=3)) == expected
    assert (
        weights_hash(load_network(checkpoint("llama"), untrained=True, seed=3).module) == expected
    )


def test_half_precision(adapter, checkpoint, tiny_batch):
    folder, _ = adapter("llama")
    net = load_network(checkpoint("llama"), adapter=folder, dtype="bfloat16")
    assert net.dtype == torch.bfloat16
    plain = load_network(checkpoint("llama"), dtype="bfloat16")
    batch = tiny_batch(plain)
    assert torch.equal(logits(net.without_adapter(), batch), logits(plain, batch))
