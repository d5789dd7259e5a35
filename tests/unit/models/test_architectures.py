"""Every architecture: its sites, what the library's hidden states are, what the head reads.

What each should be is written in the zoo, from the source of the architecture and not from our map.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hiddenscape.models.batching import array_batch, probe_batch, token_batch
from hiddenscape.models.families import build_map
from hiddenscape.models.hooks import module_at
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.selfcheck import self_check
from hiddenscape.models.wrapping import wrap_module

STEMS = {
    "resid_pre", "ln1_out", "z", "attn_out", "resid_mid", "ln2_out", "mlp_act", "mlp_out",
    "resid_post",
}  # fmt: skip


def batch_of(network: TorchNetwork, lengths: tuple[int, ...] = (9, 5)) -> Batch:
    rng = np.random.default_rng(5)
    if network.kind == "pixels":
        return array_batch(network, rng.normal(size=(len(lengths), 3, 16, 16)))
    rows = [rng.integers(3, 16, n).astype(np.int32) for n in lengths]
    return token_batch(network, rows, [np.zeros(n, np.uint8) for n in lengths])


def checked(model: nn.Module) -> TorchNetwork:
    network = wrap_module(model)
    batch = probe_batch(network)
    assert batch is not None
    return self_check(network, batch)


def oracle(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, ...]:
    """Hidden states as the library gives them, from a copy that none of our hooks has seen."""
    clean = copy.deepcopy(model).eval()
    clean.config.use_cache = False  # a cache changes the memory layout, and with it the rounding
    with torch.inference_mode():
        return clean(**batch.kwargs, output_hidden_states=True, return_dict=True).hidden_states


def test_every_site_of_the_architecture_is_offered_and_every_check_passes(zoo, architecture):
    kind = zoo.FAMILIES[architecture]
    network = checked(zoo.tiny(architecture))
    assert all(check.passed for check in network.checks), [str(c) for c in network.checks]
    assert network.map is not None
    assert network.map.family.name == kind.family
    assert not network.map.family.discovered
    assert {n.split(".")[0] for n in network.places if n.split(".")[0] in STEMS} == (
        STEMS - kind.lacks
    )
    assert ("final_norm" in network.places) == ("final_norm" not in kind.lacks)
    assert ("logits" in network.places) == kind.head
    assert network.facts["causal"] is kind.causal
    assert network.map.prefix == kind.prefix
    names = {check.name for check in network.checks}
    wanted = {"fire count", "determinism", "row independence", "shape", "aliases", "causality"}
    wanted |= set() if "z" in kind.lacks else {"residual sum (attn_out)", "heads", "hidden units"}
    wanted |= {"final norm", "norm formula"} - (
        {"final norm", "norm formula"} if "final_norm" in kind.lacks else set()
    )
    wanted |= {"prefix"} if kind.pixels else {"padding"}
    wanted |= {"logits"} if kind.head else set()
    assert wanted <= names


def expected_stream(kind, i: int, blocks: int) -> str:
    if i < blocks:
        return f"{kind.first}.{i}"
    return {"resid_post": f"resid_post.{blocks - 1}"}.get(kind.last, kind.last)


def test_each_hidden_state_of_the_library_is_exactly_one_point_of_the_stream(zoo, architecture):
    # An off-by-one, a norm too many or a block's input for its output would all be other tensors.
    kind = zoo.FAMILIES[architecture]
    model = zoo.tiny(architecture)
    network = wrap_module(model)
    batch = batch_of(network)
    states = oracle(model, batch)
    assert len(states) == zoo.BLOCKS + 1
    assert {a for a in network.aliases if a.startswith("hf.")} == {
        f"hf.{i}" for i in range(zoo.BLOCKS + 1)
    }
    stream = [p for p in network.places.values() if p.name.startswith(("resid_p", "final", "mod"))]
    values = network.trace(batch, stream)
    for i, state in enumerate(states):
        name = network.aliases[f"hf.{i}"]
        wanted = expected_stream(kind, i, zoo.BLOCKS)
        assert name == wanted or (wanted == "project_out" and name.endswith(wanted))
        assert torch.equal(values[name], state), (i, name)
        for other, value in values.items():
            if value.shape == state.shape and not torch.equal(value, values[name]):
                assert float((value - state).abs().max()) > 0.1, (i, other)


def test_a_changed_answer_about_the_last_hidden_state_loses_the_alias(zoo, architecture):
    model = zoo.tiny(architecture)
    network = wrap_module(model)
    assert network.map is not None
    family = network.map.family
    if network.map.final_norm is None or network.map.before_head:
        pytest.skip("no final norm to confuse the stream with")
    other = "resid_post" if family.last_hidden == "final_norm" else "final_norm"
    wrong = sabotaged(model, last_hidden=other)
    check = next(c for c in wrong.checks if c.name == "aliases")
    assert not check.passed
    assert f"hf.{zoo.BLOCKS}" in check.where
    assert f"hf.{zoo.BLOCKS}" not in wrong.aliases
    assert "hf.0" in wrong.aliases


@pytest.mark.parametrize("name", ["gpt2", "vit", "esm", "mamba"])
def test_a_shifted_answer_about_the_other_hidden_states_loses_them_all(zoo, name):
    model = zoo.tiny(name)
    other = "resid_post" if zoo.FAMILIES[name].first == "resid_pre" else "resid_pre"
    wrong = sabotaged(model, hidden_stem=other)
    assert not {f"hf.{i}" for i in range(zoo.BLOCKS)} & set(wrong.aliases)
    assert f"hf.{zoo.BLOCKS}" in wrong.aliases


def sabotaged(model: nn.Module, **changes: object) -> TorchNetwork:
    network = wrap_module(model)
    assert network.map is not None
    wrong = build_map(replace(network.map.family, **changes), model)
    assert wrong is not None
    network = replace(network, map=wrong, places=wrong.places, aliases=wrong.aliases)
    batch = probe_batch(network)
    assert batch is not None
    return self_check(network, batch)


def test_shapes_are_rows_tokens_units_and_rows_do_not_meet(zoo, architecture):
    network = wrap_module(zoo.tiny(architecture))
    batch = batch_of(network, (6, 6))
    names = [p for p in network.places.values() if p.block is not None]
    first = network.trace(batch, names)
    changed = replace(batch, kwargs={k: v.clone() for k, v in batch.kwargs.items()})
    main = "pixel_values" if network.kind == "pixels" else "input_ids"
    changed.kwargs[main][1] = changed.kwargs[main][1].flip(-1)
    second = network.trace(changed, names)
    tokens = first["resid_pre.0"].shape[1]
    for name, value in first.items():
        assert value.ndim == 3, name
        assert value.shape[:2] == (2, tokens), name
        assert float((value[0] - second[name][0]).abs().max()) < 1e-4, name
        assert not torch.equal(value[1], second[name][1]), name


def test_stream_terms_add_up(zoo, architecture):
    kind = zoo.FAMILIES[architecture]
    if "attn_out" in kind.lacks:
        pytest.skip("only the stream has names here")
    network = wrap_module(zoo.tiny(architecture))
    x = network.trace(batch_of(network), [p for p in network.places.values() if p.io != "input"])
    assert network.map is not None
    for b in range(zoo.BLOCKS):
        pre, attn, mlp, post = (
            x[f"{s}.{b}"] for s in ("resid_pre", "attn_out", "mlp_out", "resid_post")
        )
        if network.map.family.norm_first:
            torch.testing.assert_close(pre + attn + mlp, post, rtol=1e-5, atol=1e-5)
        if "resid_mid" not in kind.lacks and network.map.family.norm_first:
            torch.testing.assert_close(pre + attn, x[f"resid_mid.{b}"], rtol=1e-5, atol=1e-5)


def test_the_lens_at_the_last_block_gives_the_logits(zoo, architecture):
    kind = zoo.FAMILIES[architecture]
    if not kind.head:
        pytest.skip("no head")
    model = zoo.tiny(architecture)
    network = wrap_module(model)
    plan = network.map
    assert plan is not None
    batch = batch_of(network)
    last = network.trace(batch, "resid_post.-1")[f"resid_post.{zoo.BLOCKS - 1}"]
    with torch.inference_mode():
        given = copy.deepcopy(model)(**batch.kwargs).logits
        state = last if plan.final_norm is None else module_at(model, plan.final_norm)(last)
        for path in plan.before_head:
            state = module_at(model, path)(state)
        if plan.family.head_input is not None:
            state = plan.family.head_input(state, plan.prefix)
        if plan.family.head_position is not None:
            state = state[:, plan.family.head_position]
        ours = module_at(model, str(plan.head))(state)
        if plan.softcap is not None:
            ours = plan.softcap * torch.tanh(ours / plan.softcap)
    torch.testing.assert_close(ours, given, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(network.trace(batch, "logits")["logits"], given, rtol=0, atol=1e-5)


# --- what is peculiar to one architecture -----------------------------------------------------


def test_gemma2_gives_logits_before_and_after_the_cap(zoo):
    network = checked(zoo.tiny("gemma2"))
    x = network.trace(batch_of(network), "logits, logits_uncapped")
    assert float(x["logits"].abs().max()) <= 3.0 < float(x["logits_uncapped"].abs().max())
    torch.testing.assert_close(3.0 * torch.tanh(x["logits_uncapped"] / 3.0), x["logits"])
    wrong = sabotaged(zoo.tiny("gemma2"), softcap=None)
    assert "logits" in wrong.withdrawn


def test_opt_gives_rows_and_tokens_apart_where_the_module_flattens_them(zoo):
    network = wrap_module(zoo.tiny("opt"))
    batch = batch_of(network)
    flat = network.trace(batch, "module:model.decoder.layers.1.fc2")
    ours = network.trace(batch, "mlp_out.1")["mlp_out.1"]
    assert flat["module:model.decoder.layers.1.fc2"].shape == (18, 32)
    assert torch.equal(ours, flat["module:model.decoder.layers.1.fc2"].reshape(2, 9, 32))


def test_clip_norms_one_position_only(zoo):
    network = checked(zoo.tiny("clip_vision"))
    batch = batch_of(network)
    x = network.trace(batch, "final_norm, resid_post.-1")
    assert x["final_norm"].shape == (2, 32)
    with torch.inference_mode():
        pooled = network.module.post_layernorm(x["resid_post.2"][:, 0])
        torch.testing.assert_close(pooled, x["final_norm"])
        first = network.module.pre_layrnorm(network.module.embeddings(**batch.kwargs))
    torch.testing.assert_close(network.trace(batch, "embed")["embed"], first)


@pytest.mark.parametrize(("name", "prefix"), [("vit", 1), ("dinov2", 1), ("dinov2_registers", 4)])
def test_the_mean_leaves_class_and_register_tokens_out(zoo, name, prefix):
    network = wrap_module(zoo.tiny(name))
    batch = batch_of(network)
    place = network.select("resid_post.1")
    whole = network.trace(batch, place)["resid_post.1"]
    assert whole.shape[1] == prefix + 16
    mean = network.pooled(batch, [(place[0], "mean")])["resid_post.1@mean"]
    torch.testing.assert_close(mean, whole[:, prefix:].mean(1))


@pytest.mark.parametrize("name", ["esm", "esm1b"])
def test_esm_rescales_ids_and_not_vectors(zoo, name):
    # (1 - 0.15 * 0.8) / (1 - share of masked tokens): 0.88 without masked tokens, also in eval.
    model = zoo.tiny(name)
    network = wrap_module(model)
    batch = batch_of(network, (8,))
    ids, mask = batch.kwargs["input_ids"], batch.kwargs["attention_mask"]
    embeddings = model.esm.embeddings
    with torch.inference_mode():
        words = embeddings.word_embeddings(ids)
        by_ids = embeddings(input_ids=ids, attention_mask=mask)
        scaled = embeddings(inputs_embeds=0.88 * words, attention_mask=mask)
        plain = embeddings(inputs_embeds=words, attention_mask=mask)
    torch.testing.assert_close(by_ids, scaled)
    assert float((by_ids - plain).abs().max()) > 0.05
    assert torch.equal(network.trace(batch, "embed")["embed"], by_ids)


@pytest.mark.parametrize(
    ("name", "centered", "gain", "bias"),
    [
        ("gpt2", True, "weight", True),
        ("imagegpt", False, "weight", False),
        ("llama", False, "weight", False),
        ("gemma2", False, "1 + weight", False),
        ("olmo", True, "none", False),
        ("t5", False, "weight", False),
        ("esm", True, "weight", True),
    ],
)
def test_the_formula_of_the_final_norm(zoo, name, centered, gain, bias):
    found = checked(zoo.tiny(name)).facts["final_norm"]
    assert found["eps"] in (1e-5, 1e-6, 1e-12)
    assert {k: v for k, v in found.items() if k != "eps"} == {
        "centered": centered,
        "gain": gain,
        "bias": bias,
    }


def test_roberta_counts_positions_after_the_padding_id(zoo):
    network = wrap_module(zoo.tiny("roberta"))
    assert network.max_length == 96 - 2
    rows = [np.arange(5, 9, dtype=np.int32)]
    batch = token_batch(network, rows, [np.zeros(4, np.uint8)], side="left")
    assert batch.kwargs["position_ids"].tolist() == [[2, 3, 4, 5]]
