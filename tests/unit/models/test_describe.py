"""The table of sites says what is true of the network."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hiddenscape.models.batching import token_batch
from hiddenscape.models.describe import SiteTable, describe_sites
from hiddenscape.models.loading import load_network
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.wrapping import wrap_module


@pytest.fixture(scope="module")
def described(tiny_model):
    def make(name: str) -> tuple[TorchNetwork, SiteTable]:
        network = wrap_module(tiny_model(name), name=name)
        return network, describe_sites(network)

    return make


def test_every_site_has_its_place_shape_and_depth(described, family, tiny_batch):
    network, table = described(family)
    assert {row.name for row in table.rows} == set(network.places) - set(table.withdrawn)
    batch = tiny_batch(network, lengths=(11, 6))
    values = network.trace(batch, [row.name for row in table.rows])
    for row in table.rows:
        shape = tuple(values[row.name].shape[1:])
        expected = tuple(11 if axis == "T" else axis for axis in row.shape or ())
        assert expected == shape, row.name
        place = network.places[row.name]
        assert (row.path, row.depth, row.block) == (place.path, place.depth, place.block)
        assert row.side == (place.attribute or place.io)
        assert row.checks
    depths = [row.depth for row in table.rows]
    assert depths == sorted(depths)
    assert table.family == network.map.family.name
    assert all(check.passed for check in table.checks)


def test_checks_stand_with_the_sites_that_they_speak_for(described):
    _, table = described("gpt2")
    rows = {row.name: row for row in table.rows}
    assert "heads" in rows["z.1"].checks
    assert "heads" not in rows["mlp_act.1"].checks
    assert "hidden units" in rows["mlp_act.1"].checks
    assert "logits" in rows["logits"].checks
    assert "aliases" in rows["final_norm"].checks
    assert "aliases" not in rows["z.1"].checks
    assert {"determinism", "fire count", "row independence", "padding"} <= set(rows["z.0"].checks)
    assert "norm formula" in rows["final_norm"].checks
    chosen = [row.name for row in table.rows if row.chosen]
    assert chosen == ["embed", "resid_post.0", "resid_post.1", "resid_post.2", "final_norm"]


def test_aliases_come_with_pooling_and_remark(described):
    _, table = described("imagegpt")
    rows = {row.name: row for row in table.rows}
    assert {a.name for a in rows["final_norm"].aliases} == {"hf.3", "valeriani23.3"}
    text = str(table)
    assert "valeriani23.3@mean_all" in text
    assert "start id 16 goes in front and is not content" in text
    assert "blocks.0.ln1.hook_normalized and 5 more: equal only where TransformerLens" in text


BERT_TOKENS = "the tokenizer adds [CLS] in front and [SEP] behind: real, but not content"


@pytest.mark.parametrize(
    ("family", "causal", "lines"),
    [
        ("bert", False, [BERT_TOKENS, "class position 0", "tokens, 96 at most", "causal   no"]),
        ("gpt2", True, ["causal   yes", "causality: causal"]),
        ("vit", False, ["1 positions in front of the patches are not content", "eats     pixels"]),
    ],
)
def test_what_a_user_asks_first_is_printed(checkpoint, family, causal, lines):
    table = describe_sites(load_network(checkpoint(family)))
    assert table.causal is causal
    for line in lines:
        assert line in str(table)


def test_withdrawn_sites_are_listed_once_with_the_reason(described):
    _, table = described("gpt_neox")
    assert set(table.withdrawn) == {"resid_mid.0", "resid_mid.1", "resid_mid.2"}
    assert "  resid_mid.0, resid_mid.1, resid_mid.2: the blocks of this network are parallel" in (
        str(table).splitlines()
    )


def test_a_failed_check_is_shown_and_its_sites_are_gone(tiny_model):
    network = wrap_module(tiny_model("gpt2"))
    wrong = replace(network.places["attn_out.0"], path="transformer.h.0.mlp.c_proj")
    places = {**network.places, "attn_out.0": wrong}
    table = describe_sites(replace(network, places=places))
    assert "attn_out.0" in table.withdrawn
    assert not any(row.name.startswith(("attn_out", "mlp_out")) for row in table.rows)
    assert "failed at block 0" in str(table)
    with_others = next(row for row in table.rows if row.name == "resid_post.1")
    assert not any(c.startswith("residual sum (attn_out") for c in with_others.checks)


def test_a_module_without_config_is_described_as_far_as_it_is_known():
    table = describe_sites(wrap_module(nn.Sequential(nn.Linear(3, 2), nn.ReLU())))
    assert [row.name for row in table.rows] == ["input", "module:0", "module:1"]
    assert all(row.shape is None and row.checks == () for row in table.rows)
    assert (table.family, table.causal, table.checks) == (None, None, ())
    assert "not checked yet" in str(table)
    assert "?" in str(table)


def test_describing_changes_nothing(described, tiny_batch):
    network, table = described("llama")
    assert network.checks == ()
    assert table.checks
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.module.modules()]
    assert sum(hooks) == 0


def test_json_holds_everything_and_no_infinity(described):
    for name in ("llama", "vit"):
        _, table = described(name)
        plain = json.loads(json.dumps(table.to_dict(), allow_nan=False))
        assert [row["name"] for row in plain["rows"]] == [row.name for row in table.rows]
        assert plain["rows"][0]["aliases"] == [
            {"name": a.name, "site": a.site, "pooling": a.pooling, "remark": a.remark}
            for a in table.rows[0].aliases
        ]
        assert {c["name"] for c in plain["checks"]} == {c.name for c in table.checks}


def test_tokens_stay_one_axis_whatever_the_width(described):
    network, table = described("gpt2")
    rows = [np.arange(3, 12, dtype=np.int32)]
    batch = token_batch(network, rows, [np.zeros(9, np.uint8)])
    assert network.trace(batch, "mlp_act.0")["mlp_act.0"].shape == torch.Size([1, 9, 128])
    assert {r.name: r.shape for r in table.rows}["mlp_act.0"] == ("T", 128)
