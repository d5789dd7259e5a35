"""{eager, sdpa} x {padding right, left, none} x {float32, bfloat16} for every architecture.

A row pooled inside a batch equals the row pooled alone, on its real tokens; and the network is the
one it was, bit for bit, while it is read and afterwards.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hiddenscape.models.batching import array_batch, token_batch
from hiddenscape.models.hooks import read_places
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.wrapping import wrap_module

LENGTHS = {"right": (9, 5, 6), "left": (9, 5, 6), "none": (7, 7)}
POOLINGS = ("mean", "mean_all", "last", "token:0", "token:-2")
# Largest error over the largest entry. Kernels differ between batch shapes, and bfloat16 keeps 8
# bits: measured up to 1.6e-6 and 0.026 over the whole matrix.
ALLOWED = {torch.float32: 5e-6, torch.bfloat16: 0.05}


def rows_of(count: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(3, 16, n).astype(np.int32) for n in count]


def laid(network: TorchNetwork, rows: list[np.ndarray], side: str) -> Batch:
    return token_batch(network, rows, [np.zeros(len(r), np.uint8) for r in rows], side=side)


def images(network: TorchNetwork) -> Batch:
    return array_batch(network, np.random.default_rng(3).normal(size=(3, 3, 16, 16)))


def prepared(zoo, name: str, attn: str, dtype: torch.dtype) -> TorchNetwork:
    model = zoo.tiny(name).to(dtype)
    if attn != "eager":
        if not getattr(model, "_supports_sdpa", False):
            pytest.skip("this class knows eager attention only")
        model.set_attn_implementation(attn)
        assert model.config._attn_implementation == attn
    return wrap_module(model)


def one_row(batch: Batch, row: int) -> Batch:
    return replace(batch, kwargs={k: v[row : row + 1] for k, v in batch.kwargs.items()})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("attn", ["eager", "sdpa"])
def test_a_row_alone_is_the_row_in_a_batch(zoo, architecture, attn, dtype):
    network = prepared(zoo, architecture, attn, dtype)
    places = network.select("all")
    if zoo.FAMILIES[architecture].pixels:
        batch = images(network)
        tokens = [p for p in places if p.name.startswith(("embed", "resid_post"))]
        requests = [(p, how) for p in tokens for how in ("mean", "mean_all", "cls", "token:0")]
        requests += [(p, "mean") for p in places if p not in tokens]
        whole = network.pooled(batch, requests)
        for row in range(3):
            alone = network.pooled(one_row(batch, row), requests)
            _compare(whole, alone, row, dtype, "none")
        return
    requests = [(p, how) for p in places for how in POOLINGS]
    for side, lengths in LENGTHS.items():
        rows = rows_of(lengths)
        whole = network.pooled(laid(network, rows, side), requests)
        for row, ids in enumerate(rows):
            alone = network.pooled(laid(network, [ids], "right"), requests)
            _compare(whole, alone, row, dtype, side)


def _compare(whole, alone, row: int, dtype: torch.dtype, side: str) -> None:
    for key, value in alone.items():
        scale = float(whole[key].abs().max())
        error = float((whole[key][row] - value[0]).abs().max()) / scale
        assert math.isfinite(error), key
        assert error <= ALLOWED[dtype], (side, key, error)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("attn", ["eager", "sdpa"])
def test_reading_changes_nothing(zoo, architecture, attn, dtype):
    network = prepared(zoo, architecture, attn, dtype)
    pixels = zoo.FAMILIES[architecture].pixels
    batch = images(network) if pixels else laid(network, rows_of((9, 5, 6)), "right")
    before, hooks = _result(network, batch), _hooks(network)
    places = [p for p in network.places.values() if p.io != "input"]
    during = read_places(
        network.module,
        places,
        lambda: network.forward(batch),
        lambda place, value: value.clone().fill_(7.0),
        stop_early=False,
    )
    assert torch.equal(_main(during), before)
    assert _hooks(network) == hooks
    assert torch.equal(_result(network, batch), before)


def _main(output) -> torch.Tensor:
    for name in ("logits", "image_embeds", "last_hidden_state"):
        if getattr(output, name, None) is not None:
            return getattr(output, name)
    raise AssertionError(type(output))


def _result(network: TorchNetwork, batch: Batch) -> torch.Tensor:
    return _main(network.forward(batch)).clone()


def _hooks(network: TorchNetwork) -> int:
    modules = network.module.modules()
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


@pytest.mark.parametrize("attn", ["eager", "sdpa"])
def test_the_future_does_not_change_the_past(zoo, architecture, attn):
    kind = zoo.FAMILIES[architecture]
    if kind.pixels:
        pytest.skip("images have no order")
    network = prepared(zoo, architecture, attn, torch.float32)
    rows = rows_of((8, 8))
    batch = laid(network, rows, "right")
    names = [p for p in network.places.values() if p.name.startswith("resid_post")]
    before = network.trace(batch, names)
    batch.kwargs["input_ids"][:, -1] = 2 + (batch.kwargs["input_ids"][:, -1] + 5) % 13
    after = network.trace(batch, names)
    change = max(float((before[n][:, :-1] - after[n][:, :-1]).abs().max()) for n in before)
    assert change <= 1e-5 if kind.causal else change > 0.01
    assert all(not torch.equal(before[n][:, -1], after[n][:, -1]) for n in before)


# --- positions on the left --------------------------------------------------------------------


@pytest.mark.parametrize("pads", [0, 1, 5])
def test_padding_on_both_sides_gives_the_same_points(zoo, architecture, pads):
    if zoo.FAMILIES[architecture].pixels:
        pytest.skip("images are not padded")
    network = wrap_module(zoo.tiny(architecture))
    long, short = rows_of((6 + pads, 6))
    requests = [(p, how) for p in network.select("all") for how in POOLINGS]
    right = network.pooled(laid(network, [long, short], "right"), requests)
    left = network.pooled(laid(network, [long, short], "left"), requests)
    for key in right:
        error = float((right[key] - left[key]).abs().max() / right[key].abs().max())
        assert error < 1e-5, (key, error)


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("gpt2", True),
        ("gpt_neo", True),
        ("imagegpt", True),
        ("opt", False),
        ("llama", False),
        ("gpt_neox", False),
        ("bloom", False),
    ],
)
def test_left_padding_without_position_ids_is_wrong_by_whole_units(zoo, name, matters):
    network = wrap_module(zoo.tiny(name))
    rows = rows_of((11, 6))
    batch = laid(network, rows, "left")
    blind = replace(batch, kwargs={k: v for k, v in batch.kwargs.items() if k != "position_ids"})
    place = network.select("resid_post.-1")
    alone = network.trace(laid(network, rows[1:], "right"), place)["resid_post.2"][0]
    told = network.trace(batch, place)["resid_post.2"][1, 5:]
    lost = network.trace(blind, place)["resid_post.2"][1, 5:]
    assert float((told - alone).abs().max()) < 1e-4
    error = float((lost - alone).abs().max())
    assert error > 1.0 if matters else error < 1e-4


def test_the_last_token_follows_the_mask(zoo):
    network = wrap_module(zoo.tiny("gpt2"))
    rows = rows_of((9, 4))
    place = network.select("final_norm")
    for side in ("left", "right"):
        batch = laid(network, rows, side)
        whole = network.trace(batch, place)["final_norm"]
        last = network.pooled(batch, [(place[0], "last")])["final_norm@last"]
        assert torch.equal(last[1], whole[1, 3 if side == "right" else 8])


def test_implementations_agree_on_real_tokens_alone(zoo):
    # Rows of the mask without any allowed key differ between implementations: pads say nothing.
    network = prepared(zoo, "llama", "sdpa", torch.float32)
    batch = laid(network, rows_of((9, 4)), "left")
    place = network.select("resid_post.-1")
    fused = network.trace(batch, place)["resid_post.2"]
    network.module.set_attn_implementation("eager")
    plain = network.trace(batch, place)["resid_post.2"]
    real = batch.masks.real
    assert real is not None
    assert float((fused - plain)[real].abs().max()) < 1e-4


def test_attention_maps_exist_under_eager_only(zoo):
    network = prepared(zoo, "llama", "sdpa", torch.float32)
    batch = laid(network, rows_of((9, 4)), "right")
    with torch.inference_mode():
        fused = network.module(**batch.kwargs, output_attentions=True).attentions
        network.module.set_attn_implementation("eager")
        maps = network.module(**batch.kwargs, output_attentions=True).attentions
    assert not any(m is not None for m in fused or ())
    assert len(maps) == zoo.BLOCKS
    real = batch.masks.real
    assert real is not None
    for m in maps:
        torch.testing.assert_close(m.sum(-1).transpose(1, 2)[real], torch.ones(13, 4))
