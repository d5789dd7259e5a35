"""Other people's names of sites, and the refusal of names that a network cannot mean."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hiddenscape.errors import SiteError
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.selfcheck import self_check
from hiddenscape.models.wrapping import wrap_module

BLOCKS = 3


@pytest.fixture
def network(tiny_model, tiny_batch):
    def make(family: str) -> TorchNetwork:
        bare = wrap_module(tiny_model(family), name=family)
        return self_check(bare, tiny_batch(bare))

    return make


def meant(network: TorchNetwork, spec: str) -> list[str]:
    return [place.name for place in network.select(spec)]


@pytest.mark.parametrize(
    ("family", "spec", "expected", "pooling"),
    [
        ("imagegpt", "valeriani23.0", "ln1_out.0", "mean_all"),
        ("imagegpt", "valeriani23.2", "ln1_out.2", "mean_all"),
        ("imagegpt", "valeriani23.3", "final_norm", "mean_all"),
        ("esm", "valeriani23.0", "resid_pre.0", "mean"),
        ("esm", "valeriani23.3", "final_norm", "mean"),
        ("esm", "esm.2", "resid_pre.2", ""),
        ("llama", "cheng25.1", "resid_pre.1", "last"),
        ("llama", "cheng25.3", "final_norm", "last"),
        ("llama", "doimo24.0", "ln1_out.0", "last"),
        ("llama", "doimo24.3", "final_norm", "last"),
        ("llama", "doimo24.4", "logits", "last"),
        ("gpt2", "ortu24.1", "resid_mid.1", ""),
        ("gpt2", "blocks.1.hook_resid_mid", "resid_mid.1", ""),
        ("gpt2", "blocks.1.attn.hook_z", "z.1", ""),
        ("gpt2", "blocks.2.mlp.hook_post", "mlp_act.2", ""),
        ("gpt2", "blocks.1.ln1.hook_normalized", "ln1_out.1", ""),
        ("gpt2", "hf.3", "final_norm", ""),
        ("bert", "hf.3", "resid_post.2", ""),
    ],
)
def test_an_alias_is_resolved_and_says_its_pooling(network, family, spec, expected, pooling):
    found = network(family)
    assert meant(found, spec) == [expected]
    alias = found.known_aliases[spec]
    assert (alias.site, alias.pooling) == (expected, pooling)


def test_ranges_stars_and_negative_indices(network):
    image_gpt = network("imagegpt")
    sites = ["ln1_out.0", "ln1_out.1", "ln1_out.2", "final_norm"]
    assert meant(image_gpt, "valeriani23.*") == sites
    assert meant(image_gpt, "valeriani23.1-2") == sites[1:3]
    assert meant(image_gpt, "valeriani23.-1") == ["final_norm"]
    llama = network("llama")
    assert meant(llama, "cheng25.*") == ["resid_pre.1", "resid_pre.2", "final_norm"]
    assert meant(llama, "doimo24.-1") == ["logits"]


def test_what_may_differ_from_the_source_is_said(network):
    aliases = network("gpt2").known_aliases
    assert "processing is off" in aliases["blocks.0.hook_resid_pre"].remark
    assert "does not fold" in aliases["blocks.0.ln1.hook_normalized"].remark
    assert "command line" in aliases["ortu24.0"].remark
    assert "constant" in aliases["doimo24.0"].remark


@pytest.mark.parametrize(
    ("family", "spec", "message"),
    [
        ("gpt2", "hook_embed", "tokens without positions.*blocks.0.hook_resid_pre"),
        ("gpt2", "hook_pos_embed", "positions alone"),
        ("gpt2", "valeriani23.1", "family 'gpt2'; 'valeriani23' names sites of imagegpt, esm"),
        ("bert", "cheng25.1", "is of family 'bert'"),
        ("vit", "doimo24.1", "is of family 'vit'"),
        ("esm", "ortu24.0", "is of family 'esm'"),
        ("llama", "esm.1", "no layer numbers of fair-esm"),
        ("llama", "cheng25.0", "index 0 is left out.*'hf.0' is that site"),
        ("llama", "cheng25.0-2", "index 0 is left out"),
        ("llama", "cheng25.9", "cheng25.9"),
        ("gpt_neox", "ortu24.1", "means 'resid_mid.1', which is not offered: .*parallel"),
    ],
)
def test_a_name_that_means_nothing_here_is_refused(network, family, spec, message):
    with pytest.raises(SiteError, match=message):
        network(family).select(spec)


def test_a_module_without_a_map_has_no_papers():
    import torch

    with pytest.raises(SiteError, match="has no site map"):
        wrap_module(torch.nn.Sequential(torch.nn.Linear(2, 2))).select("doimo24.1")


def test_an_alias_of_a_withdrawn_site_is_refused_with_its_reason(network):
    found = network("llama")
    lost = replace(
        found,
        places={n: p for n, p in found.places.items() if n != "ln1_out.1"},
        withdrawn={**found.withdrawn, "ln1_out.1": "self-check 'norm' failed"},
    )
    with pytest.raises(SiteError, match=r"means 'ln1_out.1', which is not offered: self-check"):
        lost.select("doimo24.1")
    assert "doimo24.1" not in lost.known_aliases


def test_an_alias_of_unconfirmed_hidden_states_is_refused(network):
    found = network("llama")
    lost = replace(found, aliases={a: n for a, n in found.aliases.items() if a != "hf.2"})
    with pytest.raises(SiteError, match=r"means 'hf.2', which the self-check did not confirm"):
        lost.select("cheng25.2")
