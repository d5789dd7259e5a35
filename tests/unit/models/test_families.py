"""Every family: our sites against the states the library itself reports, and against padding."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from hiddenscape.errors import InputError, SiteError
from hiddenscape.models.batching import probe_batch
from hiddenscape.models.families import find_map
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.selfcheck import self_check
from hiddenscape.models.wrapping import wrap_module

BLOCKS = 3
CAUSAL = ("gpt2", "imagegpt", "llama", "gpt_neox", "gpt_neox_sequential")


def checked(model: nn.Module) -> TorchNetwork:
    network = wrap_module(model)
    batch = probe_batch(network)
    assert batch is not None
    return self_check(network, batch)


def oracle(model: nn.Module, batch) -> tuple[torch.Tensor, ...]:
    """Hidden states as the library gives them, from a copy that none of our hooks has seen."""
    clean = copy.deepcopy(model).eval()
    clean.config.use_cache = False  # a cache changes the memory layout, and with it the rounding
    with torch.inference_mode():
        return clean(**batch.kwargs, output_hidden_states=True, return_dict=True).hidden_states


def test_hidden_states_of_the_library_are_our_sites(family, tiny_model, tiny_batch):
    model = tiny_model(family)
    network = wrap_module(model)
    batch = tiny_batch(network)
    states = oracle(model, batch)
    assert len(states) == BLOCKS + 1
    names = [network.aliases[f"hf.{i}"] for i in range(BLOCKS + 1)]
    ours = network.trace(batch, names)
    for i, name in enumerate(names):
        torch.testing.assert_close(ours[name], states[i], rtol=0, atol=0, msg=f"hf.{i} = {name}")


def test_last_hidden_state_convention_matters(family, tiny_model, tiny_batch):
    # If the other convention were as close, the test above could not tell them apart.
    network = wrap_module(tiny_model(family))
    if "final_norm" not in network.places:
        pytest.skip("no final norm in this family")
    out = network.trace(tiny_batch(network), ["final_norm", f"resid_post.{BLOCKS - 1}"])
    before, after = out[f"resid_post.{BLOCKS - 1}"], out["final_norm"]
    assert float((before - after).abs().max()) > 0.1


def test_self_check_passes_and_offers_everything(family, tiny_model):
    network = checked(tiny_model(family))
    assert all(check.passed for check in network.checks), [str(c) for c in network.checks]
    lost = {name.split(".")[0] for name in network.withdrawn}
    assert lost == ({"resid_mid"} if family == "gpt_neox" else set())
    names = {c.name for c in network.checks}
    assert {"residual sum (attn_out)", "aliases", "logits"} <= names
    assert network.facts["causal"] is (family in CAUSAL)


def test_streams_add_up(family, tiny_model, tiny_batch):
    if family == "bert":
        pytest.skip("post-norm: the sums stand before the norms")
    network = wrap_module(tiny_model(family))
    x = network.trace(tiny_batch(network), list(network.places))
    for b in range(BLOCKS):
        total = x[f"resid_pre.{b}"] + x[f"attn_out.{b}"] + x[f"mlp_out.{b}"]
        torch.testing.assert_close(x[f"resid_post.{b}"], total, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(x["embed"], x["resid_pre.0"], rtol=0, atol=0)
    torch.testing.assert_close(x["resid_post.0"], x["resid_pre.1"], rtol=0, atol=0)


@pytest.mark.parametrize("pads", [0, 1, 5, 50])
def test_a_row_alone_equals_the_row_in_a_padded_batch(family, tiny_model, tiny_batch, pads):
    if family == "vit":
        pytest.skip("images are not padded")
    network = wrap_module(tiny_model(family))
    alone = tiny_batch(network, (6,))
    ids = alone.kwargs["input_ids"]
    batch = tiny_batch(network, (6 + pads, 6), seed=1)
    batch.kwargs["input_ids"][1, :6] = ids[0]
    poolings = ["mean", "mean_all", "last", "token:0", "token:-2"]
    requests = [(p, how) for p in network.select("all") for how in poolings]
    one, two = network.pooled(alone, requests), network.pooled(batch, requests)
    for key, value in one.items():
        scale = float(value.abs().max())
        torch.testing.assert_close(two[key][1], value[0], rtol=0, atol=2e-5 * scale, msg=key)


def test_padding_matters_to_a_bidirectional_network(tiny_model, tiny_batch):
    network = wrap_module(tiny_model("esm"))
    batch = tiny_batch(network, (12, 6))
    blind = replace(batch, kwargs={"input_ids": batch.kwargs["input_ids"]})
    site = network.select("final_norm")
    kept = network.trace(batch, site)["final_norm"][1, :6]
    lost = network.trace(blind, site)["final_norm"][1, :6]
    assert float((kept - lost).abs().max()) > 0.1


def test_rows_do_not_see_each_other_and_order_is_kept(family, tiny_model, tiny_batch):
    network = wrap_module(tiny_model(family))
    batch = tiny_batch(network, (7, 7, 7))
    flipped = replace(batch, kwargs={k: v.flip(0) for k, v in batch.kwargs.items()})
    requests = [(p, "mean") for p in network.select("all")]
    there, back = network.pooled(batch, requests), network.pooled(flipped, requests)
    for key in there:
        torch.testing.assert_close(there[key], back[key].flip(0), rtol=1e-5, atol=1e-5, msg=key)


def test_reading_leaves_the_network_as_it_was(family, tiny_model, tiny_batch):
    model = tiny_model(family)
    network = wrap_module(model)
    batch = tiny_batch(network)
    with torch.inference_mode():
        before = model(**batch.kwargs).logits
    hooks = _count_hooks(model)
    network.trace(batch, "all")
    assert _count_hooks(model) == hooks
    with torch.inference_mode():
        after = model(**batch.kwargs).logits
    assert torch.equal(before, after)


def _count_hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_base_models_without_a_head_are_mapped_too():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_embd=8, n_layer=2, n_head=2, vocab_size=11, bos_token_id=None, eos_token_id=None
    )
    network = wrap_module(transformers.GPT2Model(config))
    assert "logits" not in network.places
    assert network.places["final_norm"].path == "ln_f"


def test_cls_is_the_first_position_where_declared_and_refused_elsewhere(tiny_model, tiny_batch):
    network = wrap_module(tiny_model("vit"))
    batch, place = tiny_batch(network), network.select("resid_post.0")
    whole = network.trace(batch, place)["resid_post.0"]
    pooled = network.pooled(batch, [(place[0], "cls"), (place[0], "mean"), (place[0], "mean_all")])
    assert torch.equal(pooled["resid_post.0@cls"], whole[:, 0])
    torch.testing.assert_close(pooled["resid_post.0@mean"], whole[:, 1:].mean(1))
    torch.testing.assert_close(pooled["resid_post.0@mean_all"], whole.mean(1))
    causal = wrap_module(tiny_model("gpt2"))
    with pytest.raises(InputError, match="declares no class position"):
        causal.pooled(tiny_batch(causal), [(causal.select("embed")[0], "cls")])


def test_image_gpt_gets_its_start_id_and_loses_its_last_pixel(tiny_model):
    import numpy as np

    from hiddenscape.models.batching import start_tokens

    network = wrap_module(tiny_model("imagegpt"))
    ids, special = start_tokens(network, np.arange(5, dtype=np.int32), np.zeros(5, np.uint8))
    assert ids.tolist() == [16, 0, 1, 2, 3]
    assert special.tolist() == [1, 0, 0, 0, 0]
    again, _ = start_tokens(network, ids, special)
    assert again.tolist() == ids.tolist()


# --- a wrong map must not pass ----------------------------------------------------------------


def sabotaged(model: nn.Module, **changes: object) -> TorchNetwork:
    network = wrap_module(model)
    assert network.map is not None
    from hiddenscape.models.families import build_map

    wrong = build_map(replace(network.map.family, **changes), model)
    assert wrong is not None
    network = replace(network, map=wrong, places=wrong.places, aliases=wrong.aliases)
    batch = probe_batch(network)
    assert batch is not None
    return self_check(network, batch)


def test_a_wrong_attention_output_is_withdrawn_by_name(tiny_model):
    model = tiny_model("llama")
    found = find_map(model)
    assert found is not None
    reads = {**found.family.reads, "attn_out": ("self_attn.v_proj", "out")}
    network = sabotaged(model, reads=reads)
    assert "attn_out.1" not in network.places
    with pytest.raises(SiteError, match=r"'attn_out.0' is not offered.*residual sum.*block"):
        network.select("attn_out.0")
    with pytest.raises(SiteError, match="not offered"):
        network.select("attn_out.*")
    assert "resid_post.1" in network.places


def test_attention_and_mlp_exchanged_are_caught_by_the_middle_of_the_stream(tiny_model):
    # Their sum is the same: only resid_mid tells them apart.
    model = tiny_model("gpt2")
    found = find_map(model)
    assert found is not None
    reads = dict(found.family.reads)
    reads["attn_out"], reads["mlp_out"] = reads["mlp_out"], reads["attn_out"]
    network = sabotaged(model, reads=reads)
    assert {"resid_mid.0", "attn_out.0"} <= set(network.withdrawn)


def test_a_wrong_hidden_state_convention_loses_the_alias(tiny_model):
    network = sabotaged(tiny_model("gpt2"), last_hidden="resid_post")
    check = next(c for c in network.checks if c.name == "aliases")
    assert not check.passed
    assert check.where == f"hf.{BLOCKS}"
    with pytest.raises(SiteError, match=r"out of range: hf\.0 to hf\.2"):
        network.select(f"hf.{BLOCKS}")
    assert network.select("hf.1")[0].name == "resid_pre.1"


def test_a_wrong_final_norm_loses_the_logits(tiny_model):
    network = sabotaged(tiny_model("gpt2"), final_norm="h.2.ln_1")
    assert "logits" in network.withdrawn
    with pytest.raises(SiteError, match="does not read the final norm"):
        network.select("logits")


def test_a_head_that_wants_more_than_the_stream_is_not_offered():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        vocab_size=20,
    )  # fmt: skip
    network = checked(transformers.BertForPreTraining(config).eval())
    with pytest.raises(SiteError, match=r"'logits' is not offered.*cannot be called"):
        network.select("logits")
    assert network.select("resid_post.0")


def test_sites_of_the_user_join_the_map_of_the_family(tiny_model, tiny_batch):
    model = tiny_model("llama")
    sites = {"gate": "model.layers.1.mlp.act_fn", "ln1_out.0": "model.layers.0.input_layernorm"}
    network = wrap_module(model, sites)
    batch = tiny_batch(network)
    network = network.resolved(batch)
    chosen = {p.name: p.depth for p in network.select("all")}
    assert set(chosen) == set(sites)
    assert chosen["ln1_out.0"] == 0
    assert 1 < chosen["gate"] < 2
    assert network.select("resid_post.2")[0].depth == 3
    assert network.trace(batch, "gate")["gate"].shape[-1] == 64


@pytest.mark.parametrize("attn", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_self_check_holds_for_every_dtype_and_attention(family, tiny_model, dtype, attn):
    if family == "imagegpt" and attn == "sdpa":
        pytest.skip("this class knows eager attention only")
    model = tiny_model(family).to(dtype)
    model.set_attn_implementation(attn)
    network = checked(model)
    assert network.dtype == dtype
    assert all(check.passed for check in network.checks), [str(c) for c in network.checks]
    assert network.facts["causal"] is (family in CAUSAL)
