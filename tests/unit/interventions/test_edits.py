"""Edits of attention in every architecture: trap 8 (silent no-ops) and the laws of trap 9."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, fields, replace

import pytest
import torch

from hiddenscape.errors import InputError, InterventionNotSupported
from hiddenscape.interventions import attention, entries
from hiddenscape.interventions.editing import edited
from hiddenscape.interventions.probes import result_of
from hiddenscape.interventions.run import attention_maps, run_edited
from hiddenscape.interventions.spec import AttentionEdit
from hiddenscape.interventions.switch import NAME
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.wrapping import wrap_module

STAGES = ("score", "weight")
HEAD = (1, 2)
KEY = 3  # of six tokens: inside the windows of local attention, for the last query


def edit_of(**more) -> AttentionEdit:
    return AttentionEdit(**{"heads": [HEAD], "key": KEY, **more})


def outcome(network, batch, edit) -> torch.Tensor:
    with edited(network, edit) as changed:
        return result_of(changed.forward(batch)).clone()


def native(network, batch) -> torch.Tensor:
    """The network's own eager attention, without anything of ours."""
    before = network.module.config._attn_implementation
    if before != "eager":
        network.module.set_attn_implementation("eager")
    try:
        return result_of(network.forward(batch)).clone()
    finally:
        if before != "eager":
            network.module.set_attn_implementation(before)


def state(network) -> tuple:
    modules = list(network.module.modules())
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)
    own = sum("_attn" in vars(m) for m in modules)
    return network.module.config._attn_implementation, hooks, own


def largest(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


# --- trap 8: edits that do nothing, silently --------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_trap_8_times_one_is_the_native_eager_pass_and_more_is_not(
    editable, stage, network_of, batch_of
):
    network = network_of(editable)
    batch, before = batch_of(network), state(network)
    plain = native(network, batch)
    edit = edit_of(stage=stage, op="scale", value=1.0)
    assert torch.equal(outcome(network, batch, edit), plain)
    assert torch.equal(outcome(network, batch, ()), plain)
    assert not torch.equal(outcome(network, batch, replace(edit, value=4.0)), plain)
    assert state(network) == before
    # Fused attention is another order of sums: what was there before is there again, bit for bit.
    untouched = result_of(network.forward(batch))
    assert torch.equal(untouched, result_of(network.forward(batch)))


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "bert", "vit", "gpt_neo"])
@pytest.mark.parametrize("stage", STAGES)
def test_trap_8_holds_in_bfloat16(zoo, name, stage, batch_of):
    network = wrap_module(zoo.tiny(name).to(torch.bfloat16))
    batch = batch_of(network)
    plain = native(network, batch)
    edit = edit_of(stage=stage, key="all", op="scale", value=1.0)
    assert torch.equal(outcome(network, batch, edit), plain)
    more = replace(edit, value=0.0, renormalise=None if stage == "score" else False)
    assert not torch.equal(outcome(network, batch, more), plain)


def test_trap_8_networks_that_ignore_edits_are_refused_by_name(refused, network_of):
    network = network_of(refused)
    kind = type(network.module).__name__
    before = state(network)
    with (
        pytest.raises(InterventionNotSupported, match=f"{kind}.*interface"),
        edited(network, edit_of()),
    ):
        pytest.fail("an edit that does nothing was let in")
    with pytest.raises(InterventionNotSupported, match=kind):
        attention_maps(network, None)
    assert state(network) == before


def test_trap_8_an_edit_that_reaches_nothing_is_refused(network_of, batch_of, monkeypatch):
    monkeypatch.setattr(attention, "edit_scores", lambda scores, *_: torch.zeros_like(scores))
    with (
        pytest.raises(InterventionNotSupported, match=r"block 1, head 2.*leaves the result as it"),
        edited(network_of("llama"), edit_of()),
    ):
        pass


def test_trap_8_a_wrong_attention_of_ours_is_refused_though_its_own_no_op_passes(
    network_of, batch_of, monkeypatch
):
    """Compared with native eager, not with our own function unedited."""
    right = attention._family_eager

    def almost(module):
        eager = right(module)
        return lambda *a, **k: eager(*a, **{**k, "scaling": k["scaling"] * 1.0001})

    monkeypatch.setattr(attention, "_family_eager", almost)
    with (
        pytest.raises(InterventionNotSupported, match="moves the network's own eager result"),
        edited(network_of("llama"), edit_of()),
    ):
        pass


def test_trap_8_scores_that_are_not_the_familys_are_refused(network_of, monkeypatch):
    right = attention._scores
    monkeypatch.setattr(attention, "_scores", lambda *a: right(*a) * 1.5)
    with (
        pytest.raises(InterventionNotSupported, match="do not give the network's own weights"),
        edited(network_of("gemma2"), edit_of()),
    ):
        pass


def test_trap_8_the_wrong_head_is_refused(network_of, monkeypatch):
    right = entries.edit_scores

    def shifted(scores, *rest):
        return right(scores.roll(1, 1), *rest).roll(1, 1)

    monkeypatch.setattr(attention, "edit_scores", shifted)
    with (
        pytest.raises(InterventionNotSupported, match=r"reached the heads \[3\]"),
        edited(network_of("gpt2"), edit_of()),
    ):
        pass


@pytest.mark.parametrize("name", ["gpt2", "gpt_neo"])
def test_trap_8_each_edited_module_is_called_once(name, network_of, batch_of):
    network = network_of(name)
    batch = batch_of(network)
    edit = edit_of(heads=[(0, 1), (2, 3)])
    with edited(network, edit) as changed:
        changed.forward(batch)
        counts = [changed.active.fired[id(changed.modules[b])] for b in (0, 2)]
        assert counts == [1, 1]
    # Somebody switches the implementation behind our back.
    if name == "gpt2":
        with edited(network, edit) as changed:
            network.module.set_attn_implementation("sdpa")
            with pytest.raises(InterventionNotSupported, match=r"called 0 times.*switched"):
                changed.forward(batch)


def test_trap_8_two_networks_of_one_config_do_not_share_an_edit(zoo, batch_of):
    first = zoo.tiny("llama")
    other = type(first)(first.config).eval()
    assert other.config is first.config
    one, two = wrap_module(first), wrap_module(other)
    batch = batch_of(one)
    plain = native(two, batch)
    with edited(one, edit_of()) as changed:
        assert first.config._attn_implementation == NAME
        assert torch.equal(result_of(two.forward(batch)), plain)
        inside = result_of(changed.forward(batch)).clone()
    assert not torch.equal(inside, native(one, batch))
    assert first.config._attn_implementation == "sdpa"


def test_trap_8_an_edit_below_everything_that_is_read_is_refused(network_of, batch_of):
    network = network_of("gpt2")
    batch = batch_of(network)
    with edited(network, edit_of()) as changed:
        with pytest.raises(InputError, match="edit of block 1 lies deeper than every site"):
            changed.trace(batch, "resid_post.0")
        with pytest.raises(InputError, match="lies deeper"):
            changed.pooled(batch, [(network.places["embed"], "mean")])
        got = changed.trace(batch, "resid_post.0, attn_out.1")
    assert set(got) == {"resid_post.0", "attn_out.1"}


def test_trap_8_the_module_called_itself_is_edited_too(network_of, batch_of):
    network = network_of("llama")
    batch = batch_of(network)
    with edited(network, edit_of()) as changed, torch.inference_mode():
        whole = result_of(changed.forward(batch)).clone()
        assert torch.equal(network.module(**batch.kwargs).logits, whole)
        assert torch.equal(result_of(network.forward(batch)), whole)
    assert not torch.equal(whole, native(network, batch))


def test_edits_end_with_their_block(network_of, batch_of):
    network = network_of("gpt2")
    batch, before = batch_of(network), state(network)
    with edited(network, edit_of()) as changed:
        with pytest.raises(InputError, match="edits inside edits"), edited(changed, edit_of()):
            pass
        with pytest.raises(InputError, match="edits inside edits"), edited(network, edit_of()):
            pass
        for inner in (changed, network):
            with pytest.raises(InputError, match="edits inside edits"):
                run_edited(inner, batch, edit_of())
    with pytest.raises(InputError, match="not in force here"):
        changed.forward(batch)
    assert state(network) == before


def test_the_state_is_put_back_after_an_error(editable, network_of):
    network = network_of(editable)
    before = state(network)
    with pytest.raises(KeyError, match="mine"), edited(network, edit_of()):
        raise KeyError("mine")
    assert state(network) == before
    assert attention.active_edits() is None


def test_threads_do_not_mix_their_edits(network_of, batch_of):
    """Two threads inside their edits at once, a third one without: each gets its own numbers."""
    network = network_of("llama")
    batch = batch_of(network)
    wanted = {
        "zero": edit_of(op="scale", value=0.0, query="all"),
        "out": edit_of(heads=[(0, 0)], key=0, query="last"),
        "none": (),
    }
    alone = {name: outcome(network, batch, edit) for name, edit in wanted.items()}
    found: dict[str, torch.Tensor] = {}
    errors: list[BaseException] = []
    inside, done = threading.Barrier(3), threading.Barrier(3)

    def work(name: str) -> None:
        try:
            with edited(network, wanted[name]) as changed:
                inside.wait(60)
                for _ in range(5):
                    found[name] = result_of(changed.forward(batch)).clone()
                    assert torch.equal(found[name], alone[name]), name
                done.wait(60)
        except BaseException as error:
            errors.append(error)
            inside.abort()
            done.abort()
            raise

    threads = [threading.Thread(target=work, args=(name,)) for name in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert set(found) == set(wanted)
    assert state(network)[0] == "sdpa"


def test_a_plain_pass_in_another_thread_keeps_its_mask(zoo, batch_of):
    """Fused attention made no mask; eager attention from the next block on would see the future."""
    network = wrap_module(zoo.tiny("llama"))
    batch = batch_of(network)
    plain = result_of(network.forward(batch)).clone()
    begun, entered = threading.Event(), threading.Event()
    found: list[torch.Tensor] = []

    def wait(*_) -> None:
        if threading.current_thread() is thread:
            begun.set()
            entered.wait(1)

    thread = threading.Thread(target=lambda: found.append(result_of(network.forward(batch))))
    handle = network.module.model.layers[0].register_forward_pre_hook(wait)
    try:
        thread.start()
        assert begun.wait(60)
        with edited(network, edit_of()):
            entered.set()
            thread.join(60)
    finally:
        handle.remove()
    torch.testing.assert_close(found[0], plain, atol=1e-4, rtol=1e-4)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Turned(TorchNetwork):
    """Sets something before every pass, as a network with an adapter does."""

    log: list[str]

    def forward(self, batch):
        self.log.append(self.name)
        return TorchNetwork.forward(self, batch)


def test_an_edited_network_makes_the_passes_of_its_own_kind(network_of, batch_of):
    network = network_of("gpt2")
    own = {f.name: getattr(network, f.name) for f in fields(TorchNetwork)}
    turned = Turned(**{**own, "name": "base"}, log=[])
    with edited(turned, edit_of()) as changed:
        turned.log.clear()
        changed.trace(batch_of(network), "logits")
        assert turned.log == ["base"]


# --- trap 9: what the stages mean -------------------------------------------------------------


def test_trap_9_score_knockout_is_weight_zero_renormalised(editable, network_of, batch_of):
    network = network_of(editable)
    batch = batch_of(network)
    by_score = outcome(network, batch, edit_of(op="knockout"))
    by_weight = outcome(network, batch, edit_of(stage="weight", op="scale", value=0.0))
    assert largest(by_score, by_weight) < 2e-5
    assert torch.equal(by_weight, outcome(network, batch, edit_of(stage="weight", op="knockout")))


def test_trap_9_weight_times_alpha_renormalised_is_score_plus_log_alpha(
    editable, network_of, batch_of
):
    network = network_of(editable)
    batch = batch_of(network)
    by_weight = outcome(network, batch, edit_of(stage="weight", op="scale", value=3.0))
    by_score = outcome(network, batch, edit_of(op="add", value=math.log(3.0)))
    assert largest(by_score, by_weight) < 2e-5
    assert largest(by_score, native(network, batch)) > 1e-6


def test_trap_9_maps_show_what_was_asked_for(editable, network_of, batch_of):
    network = network_of(editable)
    batch = batch_of(network)
    block, head = HEAD
    plain = attention_maps(network, batch)[block]
    with edited(network, edit_of(op="knockout")) as changed:
        closed = attention_maps(changed, batch)[block]
    with edited(network, edit_of(stage="weight", op="set", value=0.25, renormalise=False)) as it:
        fixed = attention_maps(it, batch)[block]
    assert not closed[:, head, -1, KEY].any()
    torch.testing.assert_close(closed.sum(-1), torch.ones(closed.shape[:3]))
    kept = plain[:, head, -1].clone()
    kept[:, KEY] = 0.0
    torch.testing.assert_close(closed[:, head, -1], kept / kept.sum(-1, keepdim=True))
    assert (fixed[:, head, -1, KEY] == 0.25).all()
    for other in (closed, fixed):  # no other head, and no other query
        change = (other != plain).any(-1)
        change[:, head, -1] = False
        assert not change.any()


def test_trap_9_the_future_stays_closed_when_scores_are_multiplied_by_zero(
    causal, network_of, batch_of
):
    network = network_of(causal)
    batch = batch_of(network)
    heads = [(b, h) for b in range(3) for h in range(4)]
    even = AttentionEdit(heads=heads, query="all", key="all", op="scale", value=0.0)
    with edited(network, even) as changed:
        maps = attention_maps(changed, batch)
        before = result_of(changed.forward(batch)).clone()
        batch.kwargs["input_ids"][:, -1] = 3 + (batch.kwargs["input_ids"][:, -1] - 3 + 5) % 13
        after = result_of(changed.forward(batch)).clone()
    more = replace(even, stage="weight", op="add", value=0.1, renormalise=False)
    with edited(network, more) as changed:
        assert not any(m.triu(1).any() for m in attention_maps(changed, batch).values())
    for weights in maps.values():
        assert not weights.triu(1).any()
        one = weights[0, 0, 3]  # even over what is allowed
        torch.testing.assert_close(one[one > 0], torch.full_like(one[one > 0], one.max().item()))
    assert largest(after[:, :-1], before[:, :-1]) < 1e-6
    assert not torch.equal(after[:, -1], before[:, -1])


def test_weights_are_those_of_the_library_itself(editable, network_of, batch_of):
    """Independent of us: what Hugging Face returns under eager."""
    network = network_of(editable)
    batch = batch_of(network)
    before = network.module.config._attn_implementation
    maps = attention_maps(network, batch)
    if before != "eager":
        network.module.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            theirs = network.module(**batch.kwargs, output_attentions=True).attentions
    finally:
        if before != "eager":
            network.module.set_attn_implementation(before)
    assert len(maps) == len(theirs)
    for ours, other in zip(maps.values(), theirs, strict=True):
        assert torch.equal(ours, other)


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3", "opt"])
@pytest.mark.parametrize("stage", STAGES)
def test_z_is_the_edited_weights_times_the_values_of_the_group(name, stage, network_of, batch_of):
    """Values taken from the projection itself, repeated for groups by hand."""
    network = network_of(name)
    batch = batch_of(network)
    block, head = HEAD
    values: list[torch.Tensor] = []
    path = {"gpt2": "transformer.h.1.attn.c_attn", "opt": "model.decoder.layers.1.self_attn.v_proj"}
    layer = network.module.get_submodule(path.get(name, "model.layers.1.self_attn.v_proj"))
    handle = layer.register_forward_hook(lambda _m, _a, out: values.append(out.clone()))
    try:
        with edited(network, edit_of(stage=stage, op="scale", value=3.0)) as changed:
            weights = attention_maps(changed, batch)[block][:, head]
            z = changed.trace(batch, f"z.{block}")[f"z.{block}"]
    finally:
        handle.remove()
    v = values[-1]
    v = v[..., 64:] if name == "gpt2" else v  # queries, keys, values side by side
    width = z.shape[-1] // 4
    group = head // (4 // (v.shape[-1] // width))
    expected = weights @ v[..., group * width : (group + 1) * width]
    torch.testing.assert_close(z[..., head * width : (head + 1) * width], expected)


# --- misuse -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ([(3, 0)], r"block 3 is out of range: blocks are 0 to 2"),
        ([(1, 4)], r"head \(1, 4\) is out of range: block 1 has the heads 0 to 3"),
    ],
)
@pytest.mark.parametrize("name", ["gpt2", "llama", "gptj"])
def test_heads_out_of_range_are_refused_with_the_range(name, heads, message, network_of):
    with pytest.raises(InputError, match=message), edited(network_of(name), edit_of(heads=heads)):
        pass


def test_what_is_no_transformer_is_refused():
    network = wrap_module(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()))
    with (
        pytest.raises(InterventionNotSupported, match=r"Sequential.*not known as a transformer"),
        edited(network, edit_of()),
    ):
        pass


@pytest.mark.parametrize("name", ["gpt2", "bert", "imagegpt", "gptj", "t5"])
def test_padded_rows_are_refused(name, network_of, batch_of):
    network = network_of(name)
    with (
        edited(network, edit_of()) as changed,
        pytest.raises(InputError, match=r"row 1 is padded to 6 positions"),
    ):
        changed.forward(batch_of(network, length=[6, 4]))


def test_padding_that_the_network_is_not_told_of_is_refused(network_of, batch_of):
    """Without a mask every key may be seen, and the last token would be padding."""
    network = network_of("llama")
    batch = batch_of(network, length=[6, 4])
    untold = replace(batch, kwargs={"input_ids": batch.kwargs["input_ids"]})
    with (
        edited(network, edit_of(key=0)) as changed,
        pytest.raises(InputError, match="row 1 is pad"),
    ):
        changed.forward(untold)
    with pytest.raises(InputError, match="row 1 is padded"):
        run_edited(network, untold, edit_of(key=0))


def test_queries_that_may_not_see_the_key_are_refused(network_of, batch_of):
    network = network_of("mistral")  # a window of 4
    batch = batch_of(network, length=8)
    for edit in (edit_of(query=2, key=3), edit_of(query="last", key=0)):
        with (
            edited(network, edit) as changed,
            pytest.raises(InputError, match="nothing would be edited"),
        ):
            changed.forward(batch)


def test_spans_of_the_batch_say_where(network_of, batch_of):
    network = network_of("gpt2")
    batch = batch_of(network)
    spans = {"who": torch.tensor([[1, 2], [3, 5]])}
    told = replace(batch, masks=replace(batch.masks, spans=spans))
    edit = edit_of(key="who", op="knockout")
    with edited(network, edit) as changed:
        maps = attention_maps(changed, told)[1][:, 2, -1]
        with pytest.raises(InputError, match="no span of these rows"):
            changed.forward(batch)
        with pytest.raises(InputError, match="call the network that edited"), torch.no_grad():
            network.module(**batch.kwargs)
    assert (maps == 0).nonzero().tolist() == [[0, 1], [1, 3], [1, 4]]


def test_several_edits_are_made_together(network_of, batch_of):
    network = network_of("llama")
    batch = batch_of(network)
    out, less = edit_of(key=1), edit_of(stage="weight", key=2, op="scale", value=0.5)
    with edited(network, [less, out, edit_of(heads=[(2, 0)])]) as changed:
        maps = attention_maps(changed, batch)
    plain = attention_maps(network, batch)
    expected = plain[1][:, 2, -1].clone()
    expected[:, 1] = 0.0
    expected[:, 2] *= 0.5 / 1.0
    torch.testing.assert_close(maps[1][:, 2, -1], expected / expected.sum(-1, keepdim=True))
    assert not maps[2][:, 0, -1, KEY].any()
