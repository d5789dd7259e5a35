"""The self-check fails closed: each lie about a network costs the sites it touches, by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from hiddenscape.errors import NetworkError, SiteError
from hiddenscape.models.batching import probe_batch
from hiddenscape.models.families import Family, build_map
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.selfcheck import self_check
from hiddenscape.models.wrapping import wrap_module


def lied(model: nn.Module, **changes: object) -> TorchNetwork:
    """The network checked with a changed family."""
    network = wrap_module(model)
    assert network.map is not None
    wrong = build_map(replace(network.map.family, **changes), model)
    assert wrong is not None
    inputs = {n: p for n, p in network.places.items() if n == "input"}
    network = replace(network, map=wrong, places={**inputs, **wrong.places}, aliases=wrong.aliases)
    batch = probe_batch(network)
    assert batch is not None
    return self_check(network, batch)


def reads(model: nn.Module, **changes: tuple[str, str]) -> dict[str, tuple[str, str]]:
    network = wrap_module(model)
    assert network.map is not None
    return {**network.map.family.reads, **changes}


def lost(network: TorchNetwork) -> set[str]:
    return {name.split(".")[0] for name in network.withdrawn}


def failed(network: TorchNetwork) -> set[str]:
    return {check.name for check in network.checks if not check.passed}


@pytest.mark.parametrize(
    ("name", "stem", "read", "check"),
    [
        ("llama", "z", ("self_attn.v_proj", "in"), "heads"),
        ("llama", "z", ("mlp.down_proj", "in"), "heads"),
        ("gpt2", "z", ("attn.c_proj", "out"), "heads"),
        ("gemma2", "z", ("post_attention_layernorm", "in"), "heads"),
        ("llama", "mlp_act", ("mlp.act_fn", "out"), "hidden units"),
        ("llama", "mlp_act", ("mlp.up_proj", "out"), "hidden units"),
        ("dinov2", "mlp_act", ("mlp.fc1", "in"), "hidden units"),
        ("gemma2", "ln2_out", ("post_attention_layernorm", "out"), "norm (ln2_out)"),
        ("llama", "ln1_out", ("post_attention_layernorm", "out"), "norm (ln1_out)"),
        ("gpt_neox", "ln2_out", ("mlp.dense_4h_to_h", "out"), "norm (ln2_out)"),
    ],
)
def test_a_wrong_place_inside_a_block_is_withdrawn(zoo, name, stem, read, check):
    model = zoo.tiny(name)
    network = lied(model, reads=reads(model, **{stem: read}))
    assert check in failed(network)
    assert stem in lost(network)
    with pytest.raises(SiteError, match=rf"'{stem}.1' is not offered: self-check '{check[:4]}"):
        network.select(f"{stem}.1")
    assert "resid_post.1" in network.places


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("gemma2", ("self_attn.o_proj", "out")),  # the sandwich norm is part of the add
        ("dinov2", ("attention.o_proj", "out")),  # so is the layer scale
        ("olmo2", ("self_attn.o_proj", "out")),
        ("bloom", ("self_attention", "out")),  # the stream is already in it
        ("esm", ("attention.output", "out")),
        ("t5", ("layer.0", "out")),
        ("bert", ("attention.output", "out")),
    ],
)
def test_what_is_not_exactly_added_is_not_attn_out(zoo, name, read):
    model = zoo.tiny(name)
    network = lied(model, reads=reads(model, attn_out=read))
    assert "residual sum (attn_out)" in failed(network)
    assert {"attn_out", "mlp_out", "resid_mid"} <= lost(network)
    reason = network.withdrawn["attn_out.0"]
    assert "error" in reason
    assert "block" in reason


def test_a_block_called_parallel_by_mistake_loses_its_second_norm(zoo):
    network = lied(zoo.tiny("gpt_neox_sequential"), parallel=lambda config: True)
    assert "norm (ln2_out)" in failed(network)
    assert "ln2_out" in lost(network)


def test_a_block_called_sequential_by_mistake_loses_its_middle(zoo):
    network = lied(zoo.tiny("gpt_neox"), parallel=None)
    assert "resid_mid.0" in network.withdrawn
    assert "residual sum (resid_mid)" in failed(network)


def test_pre_norm_taken_for_post_norm_and_back(zoo):
    network = lied(zoo.tiny("bert"), norm_first=True)
    assert {"attn_out", "mlp_out", "resid_mid"} <= lost(network)
    network = lied(zoo.tiny("opt_post_norm"), norm_first=True)
    assert {"attn_out", "mlp_out", "resid_mid"} <= lost(network)


def test_another_number_of_heads_is_found_where_it_does_not_divide(zoo):
    model = zoo.tiny("gpt2")
    network = wrap_module(model)
    batch = probe_batch(network)
    assert batch is not None
    model.config.n_head = 5
    network = self_check(network, batch)
    assert "cannot be split into 5 heads" in network.withdrawn["z.0"]


def test_a_projection_that_is_not_linear_has_no_head_shares(zoo):
    model = zoo.tiny("llama")
    inner = model.model.layers[1].self_attn.o_proj
    model.model.layers[1].self_attn.o_proj = nn.Sequential(inner, nn.Tanh())
    network = wrap_module(model)
    batch = probe_batch(network)
    assert batch is not None
    network = self_check(network, batch)
    assert "heads" in failed(network)
    assert "shares of the heads do not sum" in network.withdrawn["z.1"]
    assert "attn_out.1" in network.places


def test_flattened_values_are_not_offered_without_their_shape(zoo):
    network = lied(zoo.tiny("opt"), flat=())
    assert {"resid_mid", "ln2_out", "mlp_act", "mlp_out"} <= lost(network)
    # Rows come one after the other there: the first axis is no row.
    assert {"row independence", "shape"} & failed(network)
    assert "resid_post.0" in network.places


@pytest.mark.parametrize("prefix", [0, 2])
def test_a_wrong_number_of_class_tokens_is_refused(zoo, prefix):
    with pytest.raises(NetworkError, match="'prefix' failed: of 17 positions 1 do not depend"):
        lied(zoo.tiny("vit"), prefix=prefix)


def test_a_final_norm_of_another_stream_is_withdrawn(zoo):
    network = lied(zoo.tiny("llama"), final_norm="layers.2.post_attention_layernorm")
    assert {"final norm", "logits", "aliases"} <= failed(network)
    assert {"final_norm", "logits"} <= lost(network)


def test_an_unknown_norm_refuses_the_frozen_lens_and_nothing_else(zoo):
    class Odd(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.weight = inner.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.weight * x / x.abs().mean(-1, keepdim=True)

    model = zoo.tiny("llama")
    model.model.norm = Odd(model.model.norm)
    network = lied(model)
    assert failed(network) == {"norm formula"}
    assert network.facts["final_norm"] is None
    assert "final_norm" in network.places


def test_a_module_that_fires_twice_fails_its_check_by_name(zoo):
    model = zoo.tiny("gpt2")
    first = model.transformer.h[0]
    first.mlp.c_proj = model.transformer.h[1].mlp.c_proj  # shared by two blocks
    network = lied(model)
    assert "fire count" in failed(network)
    reason = network.withdrawn["mlp_out.0"]
    assert "self-check 'fire count' failed at mlp_out.0" in reason
    assert "fired 2 times" in reason


def test_padding_that_leaks_means_rows_of_equal_length(zoo):
    class Leaky(nn.Module):
        """Drops the mask, as a network does that never learned of it."""

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.config = inner, inner.config

        def forward(self, input_ids: torch.Tensor, attention_mask: object = None, **_: object):
            return self.inner(input_ids)

    network = wrap_module(
        Leaky(zoo.tiny("bert")), {"x": "inner.bert.encoder.layer.2"}, kind="tokens"
    )
    batch = probe_batch(network)
    assert batch is not None
    network = self_check(network, batch)
    assert not network.batching
    assert failed(network) == {"padding"}


def test_causality_is_measured_not_declared(zoo):
    assert lied(zoo.tiny("gpt2")).facts["causal"] is True
    assert lied(zoo.tiny("esm")).facts["causal"] is False
    model = zoo.tiny("gpt2")
    for block in model.transformer.h:  # a norm over positions lets the future through
        block.attn.register_forward_pre_hook(lambda _m, a: (a[0] - a[0].mean(1, True), *a[1:]))
    assert lied(model).facts["causal"] is False


def test_bare_blocks_lose_the_causal_mask(zoo):
    # Why a block is never called by itself: under eager there is no mask at all.
    model = zoo.tiny("gpt2")
    model.set_attn_implementation("eager")
    x = torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0))
    y = x.clone()
    y[:, -1] += torch.randn(32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        block = model.transformer.h[0]
        leak = float((block(x)[:, :-1] - block(y)[:, :-1]).abs().max())
        whole = [model(inputs_embeds=v, output_hidden_states=True).hidden_states[1] for v in (x, y)]
    assert leak > 0.5
    assert float((whole[0] - whole[1])[:, :-1].abs().max()) < 1e-5


# --- a few huge units, as trained streams have ------------------------------------------------


def huge(zoo, name: str, path: str) -> nn.Module:
    """In bfloat16, with one unit of the stream a thousand times the others."""
    model = zoo.tiny(name)
    with torch.no_grad():
        model.get_parameter(path)[:, 0] = 4000.0
    return model.to(torch.bfloat16)


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"hidden_stem": "resid_post"}, "aliases"),
        ({"last_hidden": "resid_post"}, "aliases"),
        ({"final_norm": "layers.2.post_attention_layernorm"}, "final norm"),
    ],
)
def test_huge_units_hide_no_lie(zoo, changes, check):
    assert failed(lied(huge(zoo, "llama", "model.embed_tokens.weight"))) == set()
    assert check in failed(lied(huge(zoo, "llama", "model.embed_tokens.weight"), **changes))


def test_huge_units_hide_no_wrong_norm(zoo):
    model = huge(zoo, "llama", "model.embed_tokens.weight")
    network = lied(model, reads=reads(model, ln2_out=("input_layernorm", "out")))
    assert "norm (ln2_out)" in failed(network)


def test_huge_units_hide_no_look_into_the_future(zoo):
    assert lied(huge(zoo, "llama", "model.embed_tokens.weight")).facts["causal"] is True
    assert lied(huge(zoo, "esm", "esm.embeddings.word_embeddings.weight")).facts["causal"] is False


def test_structure_is_found_beside_huge_units(zoo):
    model = huge(zoo, "phi", "model.embed_tokens.weight")
    network = lied(model)
    assert failed(network) == set()
    assert network.map is not None
    assert network.map.parallel
    assert network.places["attn_out.1"].path == "model.layers.1.self_attn.dense"


# --- the library's own capture hooks ----------------------------------------------------------


def count(model: nn.Module) -> list[int]:
    return [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]


def marked(model: nn.Module) -> int:
    return sum("_output_capturing_hooks_installed" in vars(m) for m in model.modules())


def test_the_check_leaves_no_capture_hooks(zoo, architecture):
    model = zoo.tiny(architecture)
    before = count(model)
    lied(model)
    assert count(model) == before
    assert marked(model) == 0


def test_capture_hooks_of_somebody_else_stay_and_work(zoo):
    model = zoo.tiny("llama")
    ids = torch.arange(5, 11)[None]
    with torch.inference_mode():
        states = model(ids, output_hidden_states=True).hidden_states
    before = count(model)
    assert sum(before) > 0
    lied(model)
    assert count(model) == before
    assert marked(model) == 1
    with torch.inference_mode():
        again = model(ids, output_hidden_states=True).hidden_states
    assert len(again) == len(states)
    assert all(torch.equal(a, b) for a, b in zip(states, again, strict=True))


def test_the_library_can_capture_after_the_check(zoo):
    model = zoo.tiny("llama")
    lied(model)
    with torch.inference_mode():
        states = model(torch.arange(5, 11)[None], output_hidden_states=True).hidden_states
    assert len(states) == zoo.BLOCKS + 1


def test_the_implementation_of_attention_is_as_it_was(zoo):
    for attn in ("eager", "sdpa"):
        model = zoo.tiny("llama")
        model.set_attn_implementation(attn)
        network = lied(model)
        assert model.config._attn_implementation == attn
        assert any(c.name == "eager" for c in network.checks) == (attn == "sdpa")


def test_a_broken_fast_implementation_is_recorded(zoo, monkeypatch):
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    model = zoo.tiny("llama")
    right = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def wrong(module, query, key, value, mask, **options):
        return right(module, query * 1.1, key, value, mask, **options)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "sdpa", wrong)
    assert failed(lied(model)) == {"eager"}


def test_the_check_is_cheap(zoo):
    model = zoo.tiny("llama")
    passes = []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    lied(model)
    assert len(passes) <= 10


def test_families_are_data_and_need_no_network():
    family = Family(name="x", classes="X", blocks=("h",), reads={}, final_norm=None)
    assert build_map(family, nn.Linear(2, 2)) is None
    assert not family.serves(nn.Linear(2, 2))


def test_two_rows_at_least_and_a_batch_without_masks(zoo):
    network = wrap_module(zoo.tiny("gpt2"))
    ids = torch.arange(4, 9)[None]
    network = self_check(network, Batch(kwargs={"input_ids": ids}))
    names = {c.name for c in network.checks}
    assert "row independence" not in names
    assert "padding" not in names
    assert failed(network) == set()
