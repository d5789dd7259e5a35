"""Networks spread over devices, and quantised ones: the same values, and an honest identity."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from torch import nn

from hiddenscape.errors import InputError, MissingDependency, NetworkError
from hiddenscape.models.fresh import weights_hash
from hiddenscape.models.loading import load_network
from hiddenscape.models.network import Batch
from hiddenscape.models.quantized import described
from hiddenscape.models.wrapping import wrap_module

SPLIT = {
    "model.embed_tokens": "cpu",
    "model.rotary_emb": "cpu",
    "model.layers.0": "cpu",
    "model.layers.1": "disk",
    "model.layers.2": "disk",
    "model.norm": "cpu",
    "lm_head": "disk",
}


@pytest.mark.parametrize("first", ["cpu", "disk"])
@pytest.mark.parametrize("untrained", [False, True])
def test_layers_on_disk_give_the_same_values(checkpoint, tiny_batch, tmp_path, first, untrained):
    pytest.importorskip("accelerate")
    plain = load_network(checkpoint("llama"), untrained=untrained)
    net = load_network(
        checkpoint("llama"),
        untrained=untrained,
        device_map={**SPLIT, "model.embed_tokens": first},
        offload_folder=tmp_path,
    )
    assert any(p.device.type == "meta" for p in net.module.parameters())
    assert net.device.type == "cpu"
    batch = tiny_batch(plain)
    expected, found = plain.trace(batch), net.trace(batch)
    assert set(expected) == set(found)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6)
    places = [(p, "mean") for p in plain.select("all")]
    pooled = net.pooled(batch, places)
    for key, value in plain.pooled(batch, places).items():
        torch.testing.assert_close(pooled[key], value, rtol=1e-6, atol=1e-6)


def test_the_identity_of_offloaded_weights_follows_their_files(checkpoint, tmp_path, tiny_model):
    pytest.importorskip("accelerate")
    options = {"device_map": SPLIT, "offload_folder": tmp_path / "off"}
    folder = shutil.copytree(checkpoint("llama"), tmp_path / "a")
    one = load_network(folder, **options)
    with pytest.raises(NetworkError, match=r"is on no device .* cannot be hashed"):
        weights_hash(one.module)
    assert one.facts["weights_hash"].startswith("files:")
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] += 1e-3
    model.save_pretrained(folder)
    assert load_network(folder, **options).facts["weights_hash"] != one.facts["weights_hash"]
    assert "weights_hash" not in load_network(folder).facts
    twin = load_network(folder, untrained=True, **options)
    whole = load_network(folder, untrained=True)
    assert twin.facts["weights_hash"] == weights_hash(whole.module)


def test_auto_places_all_that_fits(checkpoint, tiny_batch):
    pytest.importorskip("accelerate")
    net = load_network(checkpoint("gpt2"), device_map="auto")
    plain = load_network(checkpoint("gpt2"))
    batch = tiny_batch(plain)
    a, b = net.trace(batch, "resid_post.2"), plain.trace(batch, "resid_post.2")
    torch.testing.assert_close(a["resid_post.2"].cpu(), b["resid_post.2"], rtol=1e-5, atol=1e-5)


class Packed(nn.Module):
    """A state dict as torch's packed integer layers have it: a tuple of quantised tensors."""

    def __init__(self, weight: torch.Tensor, scale: float) -> None:
        super().__init__()
        self.packed = torch.quantize_per_tensor(weight, scale, 0, torch.qint8)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "packed"] = (self.packed, None)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_packed_weights_enter_the_hash():
    x = torch.arange(6.0).reshape(2, 3)
    hashes = {weights_hash(Packed(w, s)) for w, s in ((x, 0.5), (x, 0.5), (x + 1, 0.5), (x, 0.25))}
    assert len(hashes) == 3
    row_wise = torch.quantize_per_channel(
        x, torch.tensor([0.5, 0.25]), torch.tensor([0, 0]), 0, torch.qint8
    )
    module = Packed(x, 0.5)
    module.packed = row_wise
    assert weights_hash(module) not in hashes


def test_what_cannot_be_hashed_is_named():
    class Odd(nn.Linear):
        def get_extra_state(self):
            return object()

    with pytest.raises(NetworkError, match=r"'_extra_state' in the state dict is a object"):
        weights_hash(Odd(2, 2))
    with pytest.raises(NetworkError, match="on no device"):
        weights_hash(nn.Linear(2, 2, device="meta"))


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated")
@pytest.mark.filterwarnings("ignore:.*quantize_dynamic.*")
def test_a_plain_module_in_integers():
    from torch.ao.quantization import quantize_dynamic

    def made(seed):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
        return net, quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)

    if "none" in torch.backends.quantized.engine:
        pytest.skip("this torch has no integer kernels")
    plain, small = made(0)
    net = wrap_module(small)
    batch = Batch(args=(torch.randn(5, 6, generator=torch.Generator().manual_seed(1)),))
    found, exact = net.trace(batch), wrap_module(plain).trace(batch)
    assert list(found) == list(exact)
    for name, value in exact.items():
        assert float((found[name] - value).abs().max()) < 0.05 * float(value.abs().max()) + 0.02
    assert weights_hash(small) != weights_hash(made(1)[1])
    assert weights_hash(small) == weights_hash(made(0)[1])


def test_the_quantisation_of_a_checkpoint_is_recorded(checkpoint, monkeypatch):
    class Stored:
        quant_method = "gptq"

        def to_dict(self):
            return {"bits": 4, "_private": 1, "group_size": 128}

    real = load_network.__globals__["trained_module"]

    def quantised(*args):
        module, used, lacking = real(*args)
        module.config.quantization_config = Stored()
        return module, used, lacking

    monkeypatch.setitem(load_network.__globals__, "trained_module", quantised)
    net = load_network(checkpoint("llama"))
    assert net.facts["quantization"] == 'gptq {"bits": 4, "group_size": 128}'
    assert any("quantised, gptq" in line for line in net.facts["remarks"])
    assert described(net.module.config) == net.facts["quantization"]


def test_a_quantised_checkpoint_says_what_it_needs(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("llama"), tmp_path / "a")
    config = json.loads((folder / "config.json").read_text())
    for method, package in (("gptq", "gptqmodel"), ("torchao", "torchao")):
        if package in sys.modules:
            continue
        settings = {"quant_method": method, "bits": 4, "quant_type": "int8_weight_only"}
        (folder / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
        with pytest.raises((MissingDependency, NetworkError), match=method):
            load_network(folder)
        twin = load_network(folder, untrained=True)
        assert twin.facts["quantization"] is None
        assert weights_hash(twin.module) == weights_hash(
            load_network(checkpoint("llama"), untrained=True).module
        )


def test_quantising_on_loading_needs_its_package(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingDependency, match="pip install bitsandbytes"):
        load_network(checkpoint("llama"), quantization="bitsandbytes-8bit")
    with pytest.raises(InputError, match="quantization 'int3' is not one of"):
        load_network(checkpoint("llama"), quantization="int3")
    with pytest.raises(InputError, match="an untrained network cannot be quantised"):
        load_network(checkpoint("llama"), quantization="bitsandbytes-8bit", untrained=True)
