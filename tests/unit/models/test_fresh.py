"""Untrained twins: the same architecture, nothing of the trained weights, one seed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hiddenscape.errors import InputError, NetworkError
from hiddenscape.models.fresh import untrained_twin, weights_hash


def net() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 8), nn.LayerNorm(8),
        nn.MultiheadAttention(8, 2),
    )  # fmt: skip


def test_every_weight_is_fresh_and_statistics_start_over():
    trained = net()
    with torch.no_grad():
        for p in trained.parameters():
            p.add_(3.0)
        trained[1].running_mean.add_(7.0)
    twin = untrained_twin(trained, seed=1)
    for (name, a), b in zip(trained.named_parameters(), twin.parameters(), strict=True):
        assert not torch.equal(a, b), name
    assert float(twin[1].running_mean.abs().max()) == 0
    assert float(trained[1].running_mean[0]) == 7


def test_the_seed_alone_decides_and_the_global_stream_is_untouched():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one, two = untrained_twin(net(), seed=3), untrained_twin(net(), seed=3)
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)
    before = torch.get_rng_state()
    other = untrained_twin(one, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert weights_hash(one) == weights_hash(two) != weights_hash(other)


def test_a_module_that_nothing_resets_is_refused_or_given_a_rule():
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))

    holder = nn.Sequential(nn.Linear(2, 2), Bare())
    with pytest.raises(NetworkError, match=r"no fresh weights for 1\.scale:"):
        untrained_twin(holder, seed=0)
    twin = untrained_twin(holder, seed=0, init=lambda m: nn.init.normal_(m.scale))
    assert not torch.equal(twin[1].scale, holder[1].scale)
    with pytest.raises(InputError, match="seed"):
        untrained_twin(holder, seed=-1)


def test_hugging_face_networks_are_rebuilt_from_their_config(tiny_model):
    model = tiny_model("llama")
    twin = untrained_twin(model, seed=0)
    assert type(twin) is type(model)
    assert twin.config is not model.config
    assert weights_hash(twin) == weights_hash(untrained_twin(model, seed=0)) != weights_hash(model)


def test_the_hash_sees_one_bit_and_any_dtype():
    model = nn.Linear(3, 2).bfloat16()
    before = weights_hash(model)
    with torch.no_grad():
        model.weight.view(torch.int16)[0, 0] ^= 1
    assert weights_hash(model) != before
