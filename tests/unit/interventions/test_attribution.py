"""Trap 13, attribution: components and constants sum to the network's own logit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hiddenscape.data.arrays import token_dataset
from hiddenscape.errors import InputError, InterventionNotSupported
from hiddenscape.interventions import readout, shares
from hiddenscape.interventions.attribution import direct_attribution
from hiddenscape.interventions.editing import edited
from hiddenscape.interventions.run import run_edited
from hiddenscape.interventions.spec import AttentionEdit
from hiddenscape.models.wrapping import wrap_module

PARTS = tuple(
    n for n in ("gpt2", "gpt_neo", "gptj", "bloom", "gpt_neox", "gpt_neox_sequential", "llama",
                "mistral", "qwen2", "qwen3", "olmo", "phi3", "olmo2", "opt", "opt_projected",
                "gemma", "gemma2", "gemma3", "imagegpt", "phi", "mixtral", "falcon_two_norms")
)  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_trap_13_attributions_and_constants_sum_to_the_logit(name, network_of, batch_of):
    network = network_of(name)
    batch = batch_of(network, rows=3, length=[6, 3, 5])
    out = direct_attribution(network, batch, position="all")
    assert np.abs(out.residual).max() < 1e-5  # 2.1e-6 measured
    assert len(out.failing) == 0
    assert len(out.row) == 14
    # Nothing is counted as a constant that is a component, and the terms are not small.
    assert np.abs(out.values).sum(1).min() > 0.5
    # Logits are the network's own.
    site = "logits_uncapped" if name == "gemma2" else "logits"
    own = network.trace(batch, site)[site]
    at = own[out.row, out.position].double().numpy()
    np.testing.assert_array_equal(out.logit, at.max(1))
    np.testing.assert_array_equal(out.targets, at.argmax(1))


def test_every_position_may_have_a_target_of_its_own(network_of, batch_of):
    network = network_of("llama")
    batch = batch_of(network, rows=2, length=[5, 3])
    ids = np.arange(10).reshape(2, 5) + 3
    out = direct_attribution(network, batch, ids, position="all")
    assert out.targets.tolist() == [3, 4, 5, 6, 7, 8, 9, 10]
    alone = direct_attribution(network, batch, [5, 10], position=2)
    np.testing.assert_allclose(out.values[[2, 7]], alone.values, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "llama", "gemma2", "gptj"])
def test_trap_13_differences_of_logits(name, network_of, batch_of):
    network = network_of(name)
    batch = batch_of(network, rows=3)
    a, b = [7, 8, 9], [3, 4, 5]
    out = direct_attribution(network, batch, a, against=b)
    first, second = (direct_attribution(network, batch, ids) for ids in (a, b))
    np.testing.assert_allclose(out.values, first.values - second.values, atol=1e-12)
    np.testing.assert_allclose(out.constants, first.constants - second.constants, atol=1e-12)
    assert np.abs(out.residual).max() < 1e-5
    np.testing.assert_array_equal(out.against, b)


def test_components_have_names_and_what_they_name(network_of, batch_of):
    network = network_of("gpt2")
    batch = batch_of(network)
    out = direct_attribution(network, batch, 4)
    names = [c.name for c in out.components]
    assert names[:3] == ["token embedding", "position embedding", "block 0 head 0"]
    assert names[-2:] == ["block 2 attention bias", "block 2 mlp"]
    assert len(set(names)) == len(names) == 2 + 3 * 6
    # By hand: the position embedding, through the frozen norm.
    model = network.module
    r = network.trace(batch, "resid_post.2")["resid_post.2"][:, -1].double()
    c = r - r.mean(1, keepdim=True)
    scale = (c.square().mean(1, keepdim=True) + model.config.layer_norm_epsilon).sqrt()
    x = model.transformer.wpe.weight[5].detach().double()
    norm, head = model.transformer.ln_f, model.lm_head.weight[4].detach().double()
    value = (norm.weight.detach().double() * (x - x.mean()) / scale) @ head
    np.testing.assert_allclose(out.column("position embedding"), value.numpy(), rtol=1e-9)
    np.testing.assert_allclose(out.constants, float(norm.bias.detach().double() @ head))
    with pytest.raises(InputError, match="no component 'block 9 mlp'"):
        out.column("block 9 mlp")


def test_trap_13_the_bias_of_the_norm_may_not_be_dropped(network_of, batch_of):
    out = direct_attribution(network_of("gpt2"), batch_of(network_of("gpt2")), position="all")
    assert np.abs(out.constants).max() > 0.1


def test_a_head_with_zero_output_has_no_share_and_the_others_keep_theirs(network_of, batch_of):
    """Attribution sees an edited network: the head that is taken out adds nothing."""
    network = network_of("llama")
    batch = batch_of(network)
    gone = AttentionEdit(heads=[(2, 1)], stage="weight", op="knockout", renormalise=False)
    with edited(network, ()) as plain:
        before = direct_attribution(plain, batch, 5)
    with edited(network, gone) as changed:
        after = direct_attribution(changed, batch, 5)
    assert not after.heads()[2, 1].any()
    assert np.abs(before.heads()[2, 1]).min() > 1e-3
    assert np.abs(after.residual).max() < 1e-5
    # The scale of the norm is another one, and the last MLP reads another stream.
    ratio = after.column("embedding") / before.column("embedding")
    for head in ((0, 0), (1, 3), (2, 0)):
        np.testing.assert_allclose(after.heads()[head], before.heads()[head] * ratio, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bert", "BertForMaskedLM: .*each add is followed by a norm"),
        ("roberta", "RobertaForMaskedLM: .*each add is followed by a norm"),
        ("distilbert", "DistilBertForMaskedLM"),
        ("opt_post_norm", "OPTForCausalLM: .*each add is followed by a norm"),
        ("esm", "EsmForMaskedLM: its head has a transform .EsmLMHead at 'lm_head'"),
        ("mamba", "MambaForCausalLM needs site 'z.0'"),
        ("t5", "T5EncoderModel: it has no head"),
        ("dinov2", "Dinov2ForImageClassification: .*several positions"),
        ("clip_vision", "CLIPVisionModel: it has no head"),
    ],
)
def test_trap_13_what_is_no_sum_is_refused_by_name(name, message, network_of, batch_of):
    network = network_of(name)
    with pytest.raises(InterventionNotSupported, match=message):
        direct_attribution(network, batch_of(network))


def test_images_are_read_at_the_class_token(network_of, batch_of):
    network = network_of("vit")
    batch = batch_of(network)
    out = direct_attribution(network, batch)
    assert np.abs(out.residual).max() < 1e-5
    assert out.position.tolist() == [0, 0]
    with pytest.raises(InputError, match="at position 0 alone"):
        direct_attribution(network, batch, position=3)


def test_rows_of_a_data_set_keep_their_order(network_of, batch_of):
    network = network_of("gpt2")
    rng = np.random.default_rng(1)
    rows = [rng.integers(3, 16, n) for n in (5, 3, 5, 8, 3)]
    out = direct_attribution(network, token_dataset(rows), [3, 4, 5, 6, 7], position=-2)
    assert out.row.tolist() == [0, 1, 2, 3, 4]
    assert out.targets.tolist() == [3, 4, 5, 6, 7]
    assert out.position.tolist() == [3, 1, 3, 6, 1]
    for i, ids in enumerate(rows):
        alone = direct_attribution(network, token_dataset([ids]), 3 + i, position=-2)
        np.testing.assert_allclose(alone.values[0], out.values[i], atol=1e-5)


def test_rows_that_do_not_add_up_are_named_not_dropped(network_of, batch_of, monkeypatch):
    network = network_of("gpt2")
    right = shares._projection

    def wrong(network, site, width):
        weight, bias = right(network, site, width)
        return weight.roll(1, 0) if site == "z.1" else weight, bias

    monkeypatch.setattr(shares, "_projection", wrong)
    out = direct_attribution(network, batch_of(network, rows=3))
    assert out.failing.tolist() == [0, 1, 2]
    assert len(out.values) == 3


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma"])
def test_trap_13_a_head_the_wrong_way_round_would_show(name, network_of, batch_of, monkeypatch):
    """The sums are a real check: other rows of the unembedding, another gain, no bias all fail."""
    network = network_of(name)
    right = readout.Readout._rows

    def shifted(self, targets):
        return right(self, (targets + 1) % len(self.head))

    monkeypatch.setattr(readout.Readout, "_rows", shifted)
    assert len(direct_attribution(network, batch_of(network)).failing) == 2


def test_shares_of_one_sign_sum_to_one(network_of, batch_of):
    out = direct_attribution(network_of("llama"), batch_of(network_of("llama"), rows=4), 5)
    for sign in (1, -1):
        share = out.share(sign=sign)
        assert sum(share.values()) == pytest.approx(1.0)
        assert all(np.sign(out.column(name).mean()) == sign for name in share)
    with pytest.raises(InputError, match="not 1 or -1"):
        out.share(sign=0)
    with pytest.raises(InputError, match="no component of kind 'neuron'"):
        out.share("neuron")
    # A component without a number is not left out of the sum.
    out.values[0, out.components.index(next(c for c in out.components if c.kind == "head"))] = (
        np.nan
    )
    assert all(np.isnan(v) for v in out.share().values())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"targets": 99}, "must lie in 0 to 98"),
        ({"targets": [1, 2]}, "one per row"),
        ({"targets": 1.5}, "token ids, got float64"),
        ({"targets": [[1, 2]] * 3}, "one id per result, got 2"),
        ({"position": "first"}, "'last', 'all' or a whole number"),
        ({"position": 6}, "row 0 has 6 positions"),
    ],
)
def test_misuse_is_refused(more, message, network_of, batch_of):
    network = network_of("gpt2")
    with pytest.raises(InputError, match=message):
        direct_attribution(network, batch_of(network, rows=3), **more)


def test_the_direct_effect_of_a_last_block_head_is_its_total_effect_but_for_the_mlp(zoo, batch_of):
    """Where nothing reads the head but the final norm, whose scale is frozen by hand."""
    model = zoo.tiny("gpt_neox")  # parallel: the last MLP does not read the last heads
    network = wrap_module(model)
    batch = batch_of(network)
    out = direct_attribution(network, batch, 5)
    gone = AttentionEdit(heads=[(2, 1)], stage="weight", op="knockout", renormalise=False)
    ran = run_edited(network, batch, gone, sites="resid_post.2, logits", pooling="last")
    r, without = (
        torch.from_numpy(x["resid_post.2@last"]).double() for x in (ran.plain, ran.edited)
    )
    norm, head = model.gpt_neox.final_layer_norm, model.lm_head.weight[5].detach().double()

    def frozen(x):
        c, full = x - x.mean(1, keepdim=True), r - r.mean(1, keepdim=True)
        scale = (full.square().mean(1, keepdim=True) + norm.eps).sqrt()
        return (norm.weight.detach().double() * c / scale) @ head

    np.testing.assert_allclose(
        (frozen(r) - frozen(without)).numpy(), out.heads()[2, 1], rtol=1e-4, atol=1e-6
    )
