"""ResNets: blocks counted through, sums proven, hidden states found by value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hiddenscape.data.arrays import array_dataset
from hiddenscape.errors import SiteError
from hiddenscape.extraction import extract
from hiddenscape.models.batching import array_batch
from hiddenscape.models.loading import load_network
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.selfcheck import self_check
from hiddenscape.models.wrapping import wrap_module


class Basic(nn.Module):
    """As in torchvision: activations and the sum are done in place."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or width_in != width:
            conv = nn.Conv2d(width_in, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class PreActivation(Basic):
    """He et al. 2016: nothing after the sum."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__(width_in, width, stride)
        self.bn1, self.bn2 = nn.BatchNorm2d(width_in), nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        short = x if self.downsample is None else self.downsample(x)
        return short + self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))


class Squeezed(Basic):
    """With a gate on the main path, as in squeeze-and-excitation networks."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__(width_in, width, stride)
        self.gate = nn.Conv2d(width, width, 1)
        self.scaled = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        out = self.scaled(out * torch.sigmoid(self.gate(out.mean((2, 3), keepdim=True))))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class Padded(Basic):
    """CIFAR style: the shortcut subsamples and pads with zeros."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        more = out.shape[1] - x.shape[1]
        if more:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more // 2, more // 2))
        return F.relu(out + x)


class NoShortcut(Basic):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class Halved(Basic):
    """Adds half of the stream."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + 0.5 * (x if self.downsample is None else self.downsample(x)))


class Net(nn.Module):
    def __init__(self, block: type[Basic], *, backwards: bool = False, twice: bool = False) -> None:
        super().__init__()
        self.backwards, self.twice = backwards, twice
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        width = 8 if backwards else 16
        self.layer1 = nn.Sequential(block(8, 8, 1), block(8, 8, 1))
        self.layer2 = nn.Sequential(block(8, width, width // 8), block(width, width, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        stages = (self.layer2, self.layer1) if self.backwards else (self.layer1, self.layer2)
        for stage in stages:
            x = stage(x)
        out = self.fc(self.avgpool(x).flatten(1))
        return out * 2 if self.twice else out


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Running statistics, gains and biases at random, so that a norm too many shows."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_mean.normal_(0, 1, generator=draw)
                m.running_var.uniform_(0.5, 2, generator=draw)
                m.weight.normal_(1, 0.3, generator=draw)
                m.bias.normal_(0, 0.3, generator=draw)
            elif isinstance(m, nn.Conv2d | nn.Linear):
                m.weight.normal_(0, 0.3, generator=draw)
    return model.eval()


def images(count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 32, 32)).astype(np.float32)


def checked(model: nn.Module) -> TorchNetwork:
    network = wrap_module(lively(model))
    return self_check(network, array_batch(network, images()))


def failed(network: TorchNetwork) -> set[str]:
    return {check.name for check in network.checks if not check.passed}


@pytest.mark.parametrize("block", [Basic, PreActivation, Squeezed, Padded])
def test_blocks_of_a_plain_network_are_counted_through_and_proven(block):
    network = checked(Net(block))
    assert failed(network) == set()
    assert network.withdrawn == {}
    names = [p.name for p in network.select("all")]
    assert names == ["embed", *(f"resid_post.{b}" for b in range(4))]
    batch = array_batch(network, images(3, seed=1))
    found = network.trace(batch, "embed, resid_post.*, logits")
    x = network.module.conv1(batch.args[0])
    x = network.module.maxpool(F.relu(network.module.bn1(x)))
    torch.testing.assert_close(found["embed"], x, rtol=0, atol=0)
    with torch.inference_mode():
        for b, inner in enumerate([*network.module.layer1, *network.module.layer2]):
            x = inner(x)
            torch.testing.assert_close(found[f"resid_post.{b}"], x, rtol=0, atol=0)
        torch.testing.assert_close(found["logits"], network.module(batch.args[0]))


@pytest.mark.parametrize("block", [NoShortcut, Halved])
def test_blocks_that_are_no_sum_are_not_offered(block):
    network = checked(Net(block))
    assert failed(network) == {"residual sum"}
    assert set(network.withdrawn) == {f"resid_post.{b}" for b in range(4)}
    with pytest.raises(SiteError, match=r"not its main path plus a shortcut"):
        network.select("resid_post.1")
    assert network.select("module:layer1.0")


def test_stages_that_fire_in_another_order_are_not_counted():
    network = checked(Net(Basic, backwards=True))
    assert "stream" in failed(network)
    with pytest.raises(SiteError, match="do not follow one another"):
        network.select("resid_post.*")


def test_a_head_that_is_not_the_last_word_gives_no_logits():
    network = checked(Net(Basic, twice=True))
    assert failed(network) == {"logits"}
    assert "logits" not in network.places
    assert "resid_post.3" in network.places


def test_a_network_inside_another_is_found():
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net(Basic)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x / 2)

    network = checked(Normalised())
    assert network.places["resid_post.3"].path == "net.layer2.1"
    assert failed(network) == set()


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        lambda: nn.ModuleDict({"layer1": nn.Linear(2, 2), "layer2": nn.Linear(2, 2)}),
        lambda: nn.ModuleDict(
            {"conv1": nn.Conv2d(3, 4, 3), "layer1": nn.Linear(4, 4), "layer2": nn.Linear(4, 4)}
        ),
    ],
)
def test_other_networks_are_left_alone(make: Callable[[], nn.Module]):
    assert wrap_module(make()).map is None


def test_poolings_of_maps(tmp_path: Path):
    model = lively(Net(Basic))
    points = extract(model, array_dataset(images(7)), tmp_path, sites="resid_post.1", batch_size=3,
                     pooling="gap,gmax,flat,mean")  # fmt: skip
    whole = wrap_module(model).trace(array_batch(wrap_module(model), images(7)), "resid_post.1")
    value = whole["resid_post.1"].numpy()
    expected = {
        "gap": value.mean((2, 3)), "mean": value.mean((2, 3)), "gmax": value.max((2, 3)),
        "flat": value.reshape(7, -1),
    }  # fmt: skip
    for how, x in expected.items():
        np.testing.assert_allclose(points[f"resid_post.1@{how}"][:], x, rtol=1e-4, atol=1e-4)


# --- Hugging Face -----------------------------------------------------------------------------


def hf_resnet(layer: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    widths = [8, 16, 32] if layer == "basic" else [32, 64, 128]
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=widths, depths=[2, 1, 2], layer_type=layer, num_labels=5
    )
    return lively(transformers.ResNetForImageClassification(config))


@pytest.mark.parametrize("layer", ["basic", "bottleneck"])
def test_hidden_states_are_stages_found_by_value(layer, tmp_path):
    hf_resnet(layer).save_pretrained(tmp_path)
    network = load_network(tmp_path)
    assert failed(network) == set()
    assert network.withdrawn == {}
    assert network.aliases == {
        "hf.0": "embed", "hf.1": "resid_post.1", "hf.2": "resid_post.2", "hf.3": "resid_post.4",
    }  # fmt: skip
    batch = array_batch(network, images(3, seed=2))
    with torch.inference_mode():
        out = network.module(batch.kwargs["pixel_values"], output_hidden_states=True)
    for i, state in enumerate(out.hidden_states):
        ((name, value),) = network.trace(batch, f"hf.{i}").items()
        torch.testing.assert_close(value, state, rtol=0, atol=0)
        assert name == network.aliases[f"hf.{i}"]
    assert [p.name for p in network.select("hf.-1")] == ["resid_post.4"]
    torch.testing.assert_close(network.trace(batch, "logits")["logits"], out.logits)


def test_an_index_beyond_the_stages_is_refused(tmp_path):
    hf_resnet("basic").save_pretrained(tmp_path)
    with pytest.raises(SiteError, match=r"hf\.0 to hf\.3 exist"):
        load_network(tmp_path).select("hf.4")


def test_the_model_without_a_head(tmp_path):
    hf_resnet("basic").resnet.save_pretrained(tmp_path)
    network = load_network(tmp_path)
    assert failed(network) == set()
    assert "logits" not in network.places
    assert network.places["resid_post.0"].path == "encoder.stages.0.layers.0"
