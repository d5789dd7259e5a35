"""Trap 13, lens: at the last layer it is the logits, and its two modes agree where they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hiddenscape.errors import InputError, InterventionNotSupported, NetworkError
from hiddenscape.interventions.lens import logit_lens
from hiddenscape.interventions.readout import open_readout
from hiddenscape.interventions.rows import self_checked
from hiddenscape.models.wrapping import wrap_module

OWN = ("gpt2", "imagegpt", "gpt_neo", "gptj", "bloom", "gpt_neox", "llama", "olmo2", "opt",
       "opt_projected", "opt_post_norm", "gemma", "gemma2", "gemma3", "mamba", "bert", "roberta",
       "distilbert", "esm", "esm1b", "vit", "dinov2")  # fmt: skip
FROZEN = ("gpt2", "imagegpt", "gpt_neo", "gptj", "bloom", "gpt_neox", "llama", "olmo2", "opt",
          "opt_projected", "gemma", "gemma2", "gemma3", "mamba", "vit")  # fmt: skip


def spot(network) -> str:
    return "last" if network.kind == "pixels" else "all"


def own_logits(network, batch, site: str = "logits") -> torch.Tensor:
    out = network.trace(batch, site)[site]
    return out if out.ndim == 2 else out[batch.masks.real]


@pytest.mark.parametrize("name", OWN)
def test_trap_13_the_own_lens_at_the_last_layer_is_the_logits(name, network_of, batch_of):
    network = network_of(name)
    batch = batch_of(network, rows=3, length=[6, 3, 5])
    own = own_logits(network, batch).double()
    targets = own.argmax(1).numpy()
    seen = logit_lens(network, batch, sites="resid_post.*", position=spot(network))
    assert np.array_equal(seen.logit[-1, :, 0], own.max(1).values.numpy())
    assert np.array_equal(seen.argmax[-1], targets)
    assert seen.agrees[-1].all()
    assert (seen.rank[-1] == 1).all()
    assert np.array_equal(seen.kl[-1], np.zeros(len(own)))
    assert network.kind == "pixels" or not seen.agrees[0].all()
    assert (seen.kl[0] > 1e-3).any()


@pytest.mark.parametrize("name", FROZEN)
def test_trap_13_the_frozen_lens_and_constants_are_the_uncapped_logits(name, network_of, batch_of):
    network = network_of(name)
    batch = batch_of(network, rows=3, length=[6, 3, 5])
    readout = open_readout(network, "test")
    own = own_logits(network, batch, readout.logits_site).double().numpy()
    worst = 0.0
    for target in (3, 1):
        seen = logit_lens(
            network, batch, target, sites="resid_post.-1", mode="frozen", position=spot(network)
        )
        constant = readout.direction(torch.tensor([target]), None)[1].numpy()
        worst = max(worst, np.abs(seen.logit[0, :, 0] + constant - own[:, target]).max())
    assert worst < 1e-5
    assert np.isnan(seen.kl).all()


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "gpt_neox"])
def test_trap_13_without_biases_the_modes_differ_by_a_positive_factor(zoo, name, batch_of):
    model = zoo.tiny(name)
    with torch.no_grad():
        for path, p in model.named_parameters():
            if path.endswith(("ln_f.bias", "final_layer_norm.bias")):
                p.zero_()
    if name == "gemma2":
        model.config.final_logit_softcapping = None
    network = wrap_module(model)
    batch = batch_of(network, rows=4)
    targets = [[2, 5, 9]] * 4
    sites = ["resid_post.0", "resid_post.1"]
    own = logit_lens(network, batch, targets, sites=sites)
    frozen = logit_lens(network, batch, targets, sites=sites, mode="frozen")
    assert np.array_equal(own.rank, frozen.rank)
    assert np.array_equal(own.argmax, frozen.argmax)
    readout = open_readout(network, "test")
    streams = network.trace(batch, [*sites, "resid_post.2"])
    scale = {k: readout.norm.scale(x[:, -1].double())[:, 0].numpy() for k, x in streams.items()}
    for s, site in enumerate(sites):
        factor = scale["resid_post.2"] / scale[site]
        np.testing.assert_allclose(own.logit[s], frozen.logit[s] * factor[:, None], rtol=2e-4)
        assert np.abs(factor - 1).max() > 0.05


def test_the_frozen_lens_adds_up_over_what_is_added(network_of, batch_of):
    network = network_of("llama")
    parts = ["embed", *(f"{stem}.{b}" for b in range(3) for stem in ("attn_out", "mlp_out"))]
    batch = batch_of(network)
    seen = logit_lens(network, batch, 7, sites=parts, mode="frozen")
    whole = logit_lens(network, batch, 7, sites="resid_post.2", mode="frozen")
    np.testing.assert_allclose(seen.logit.sum(0), whole.logit[0], rtol=1e-5, atol=1e-5)


def test_ranks_entropy_and_divergence_by_hand(network_of, batch_of):
    network = network_of("gpt2")
    batch = batch_of(network, rows=2)
    seen = logit_lens(network, batch, [[3, 4], [5, 6]], sites="resid_mid.1", top=3)
    x = network.trace(batch, "resid_mid.1")["resid_mid.1"]
    model = network.module
    with torch.inference_mode():
        logits = model.lm_head(model.transformer.ln_f(x))[:, -1].double()
        own = model(**batch.kwargs).logits[:, -1].double()
    q, p = logits.softmax(1), own.softmax(1)
    for row, ids in enumerate([[3, 4], [5, 6]]):
        order = (-logits[row]).argsort().tolist()
        assert seen.rank[0, row].tolist() == [order.index(i) + 1 for i in ids]
        assert seen.top[0, row].tolist() == order[:3]
    np.testing.assert_allclose(seen.entropy[0], -(q * q.log()).sum(1).numpy())
    np.testing.assert_allclose(seen.kl[0], (p * (p / q).log()).sum(1).numpy(), rtol=1e-4)


def test_centring_changes_means_and_nothing_else(network_of, batch_of):
    network = network_of("llama")
    batch = batch_of(network)
    ids = [[3, 9], [3, 9]]
    plain, centred = (logit_lens(network, batch, ids, center_vocab=c) for c in (False, True))
    assert np.array_equal(plain.rank, centred.rank)
    assert not np.allclose(plain.logit, centred.logit)
    np.testing.assert_allclose(
        plain.logit[..., 0] - plain.logit[..., 1],
        centred.logit[..., 0] - centred.logit[..., 1],
        atol=1e-9,
    )
    np.testing.assert_allclose(plain.entropy, centred.entropy)


@pytest.mark.parametrize(
    ("name", "more", "error", "message"),
    [
        ("gpt2", {"mode": "tuned"}, InputError, "own, frozen"),
        ("gpt2", {"sites": "z.1"}, InputError, "not of the stream"),
        ("gpt2", {"targets": 200}, InputError, "0 to 98"),
        ("bert", {"mode": "frozen"}, InterventionNotSupported, "mode 'own'"),
        ("esm", {"mode": "frozen"}, InterventionNotSupported, "has a transform"),
        ("t5", {}, InterventionNotSupported, "no head"),
    ],
)
def test_misuse_is_refused(name, more, error, message, network_of, batch_of):
    network = network_of(name)
    with pytest.raises(error, match=message):
        logit_lens(network, batch_of(network), **more)


def test_nan_has_no_rank(zoo, batch_of):
    """Nothing is larger than NaN: every target would have rank 1."""
    network = wrap_module(zoo.tiny("llama"))
    network = self_checked(network)
    with torch.no_grad():
        network.module.lm_head.weight[5] = float("nan")
    with pytest.raises(NetworkError, match="makes NaN of site 'logits'"):
        logit_lens(network, batch_of(network), 3)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"position": 1.5}, "position must be a whole number"),
        ({"position": None}, "position must be a whole number"),
        ({"position": True}, "position must be a whole number"),
        ({"position": "first"}, "not 'last', 'all'"),
        ({"top": -1}, "not be negative"),
        ({"top": 2.5}, "whole number"),
    ],
)
def test_positions_and_counts_are_whole(wish, message, network_of, batch_of):
    network = network_of("llama")
    with pytest.raises(InputError, match=message):
        logit_lens(network, batch_of(network), 3, **wish)
