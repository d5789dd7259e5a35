"""``SITE@POOLING`` in a selection, aliases included: canonical keys in the store, no more."""

from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.data.arrays import token_dataset
from hiddenscape.errors import InputError, SiteError
from hiddenscape.extraction import extract
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.wrapping import wrap_module

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def network() -> TorchNetwork:
    config = transformers.ImageGPTConfig(vocab_size=17, n_embd=16, n_layer=2, n_head=2,
                                         n_positions=32)  # fmt: skip
    return wrap_module(transformers.ImageGPTForCausalImageModeling(config))


def rows() -> object:
    draw = np.random.default_rng(0)
    return token_dataset([draw.integers(0, 16, n) for n in (9, 5, 7)])


@pytest.mark.parametrize(
    ("sites", "pooling", "keys"),
    [
        ("embed, resid_post.0@last", "mean", ["embed@mean", "resid_post.0@last"]),
        ("resid_post.*@last", "mean", ["resid_post.0@last", "resid_post.1@last"]),
        ("embed@token:-2", "mean", ["embed@token:-2"]),
        (["embed@mean", "embed"], "mean,last", ["embed@mean", "embed@last"]),
        ("valeriani23.1@mean_all", "mean", ["ln1_out.1@mean_all"]),
        ("valeriani23.*@mean_all, hf.1", "last", ["ln1_out.0@mean_all", "ln1_out.1@mean_all",
                                                  "resid_pre.1@last", "final_norm@mean_all"]),
        ("embed, final_norm,", "mean", ["embed@mean", "final_norm@mean"]),
    ],
)  # fmt: skip
def test_a_site_may_bring_its_pooling(network, tmp_path, sites, pooling, keys):
    points = extract(network, rows(), tmp_path, sites=sites, pooling=pooling)
    assert [site.key for site in points.sites] == keys
    everything = extract(network, rows(), tmp_path / "all", sites=[k.split("@")[0] for k in keys],
                         pooling=[k.split("@")[1] for k in keys])  # fmt: skip
    for key in keys:
        np.testing.assert_array_equal(points[key][:], everything[key][:])


def test_no_alias_reaches_the_manifest(network, tmp_path):
    extract(
        network, rows(), tmp_path, sites="valeriani23.0@mean_all, hf.-1, blocks.0.hook_attn_out"
    )
    manifest = (tmp_path / "acts" / "manifest.json").read_text(encoding="utf-8")
    for word in ("valeriani23", '"hf.', "hook_"):
        assert word not in manifest
    for key in ("ln1_out.0@mean_all", "final_norm@mean", "attn_out.0@mean"):
        assert key in manifest


def test_an_alias_alone_chooses_no_pooling(network, tmp_path):
    points = extract(network, rows(), tmp_path, sites="valeriani23.1", pooling="last")
    assert [site.key for site in points.sites] == ["ln1_out.1@last"]


def test_a_wrong_pooling_or_no_site_is_refused(network, tmp_path):
    with pytest.raises(InputError, match="unknown pooling 'avarage'"):
        extract(network, rows(), tmp_path, sites="embed@avarage")
    with pytest.raises(SiteError, match="no site is named"):
        extract(network, rows(), tmp_path, sites="@mean")
