"""Checkpoint and data on disk to a store: text with special tokens, images with a processor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hiddenscape.data.arrays import array_dataset
from hiddenscape.data.images import image_dataset
from hiddenscape.data.text import text_dataset
from hiddenscape.errors import InputError, SiteError
from hiddenscape.extraction import extract
from hiddenscape.models.loading import load_network

TEXTS = ["w1 w2 w3", "w4", "", "w5 w6 w7 w8 w9 w10", "w1 [SEP] w2"]


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "gpt_neox"])
def test_text_to_points(checkpoint, tmp_path, family):
    net = load_network(checkpoint(family))
    found = extract(net, text_dataset(TEXTS), tmp_path, pooling="mean,mean_all,last")
    assert list(found.rows["status"]) == ["ok", "ok", "empty", "ok", "ok"]
    assert found.rows["n_tokens"].tolist() == [5, 3, 2, 8, 5]
    # A separator that the text itself holds is content: the tokenizer reports what it added.
    assert found.rows["n_content"].tolist() == [3, 1, 0, 6, 3]
    assert found.rows["text"].tolist() == TEXTS
    for row in (0, 4):
        ids = torch.tensor([net.tokenizer(TEXTS[row])["input_ids"]])
        with torch.inference_mode():
            states = net.module(ids, output_hidden_states=True).hidden_states
        x = states[2][0].numpy()
        near = {"rtol": 1e-4, "atol": 1e-4}
        np.testing.assert_allclose(found["resid_post.1@mean"][row], x[1:-1].mean(0), **near)
        np.testing.assert_allclose(found["resid_post.1@mean_all"][row], x.mean(0), **near)
        np.testing.assert_allclose(found["resid_post.1@last"][row], x[-1], **near)


def test_aliases_never_reach_the_manifest(checkpoint, tmp_path):
    found = extract(
        load_network(checkpoint("gpt2")), text_dataset(TEXTS[:2]), tmp_path, sites="hf.1, hf.-1"
    )
    assert list(found.keys) == ["resid_pre.1@mean", "final_norm@mean"]
    assert [s.depth for s in found.sites] == [1, 3]
    text = (tmp_path / "acts" / "manifest.json").read_text()
    assert '"hf.' not in text.split('"recorded"')[0]


def test_the_manifest_says_what_was_run(checkpoint, tmp_path):
    folder = checkpoint("bert")
    found = extract(load_network(folder), text_dataset(TEXTS[:2]), tmp_path)
    identity = found.manifest.identity
    assert identity["model"]["class"] == "BertForMaskedLM"
    assert identity["model"]["dtype"] == "float32"
    assert identity["attn_implementation"] == "sdpa"
    assert identity["tokenizer"]["specials"] == ("[CLS]", "[PAD]", "[SEP]", "[UNK]")
    assert identity["input"]["max_length"] == 96
    recorded = found.manifest.recorded
    assert {c["name"] for c in recorded["self_check"]} >= {"padding", "aliases", "determinism"}
    assert str(folder.parent) not in (tmp_path / "acts" / "manifest.json").read_text()


def test_the_limit_of_the_network_is_a_limit(checkpoint, tmp_path):
    net = load_network(checkpoint("gpt2"))
    long = text_dataset(["w1", " ".join(["w2"] * 200)])
    with pytest.raises(InputError, match="longer than 96 tokens"):
        extract(net, long, tmp_path / "a")
    found = extract(net, long, tmp_path / "b", overlength="truncate:tail")
    assert found.rows["n_tokens"].tolist() == [3, 96]
    assert found.rows["n_content"].tolist() == [1, 94]


def test_images_through_the_processor_of_the_network(checkpoint, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    from transformers import ViTImageProcessor

    folder = tmp_path / "net"
    folder.mkdir()
    for path in checkpoint("vit").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    rng = np.random.default_rng(0)
    for kind in ("a", "b"):
        (tmp_path / "img" / kind).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(
            tmp_path / "img" / kind / "0.png"
        )
    net = load_network(folder)
    found = extract(net, image_dataset(tmp_path / "img"), tmp_path / "run", pooling="cls,mean")
    assert found.labels["class"].tolist() == ["a", "b"]
    assert np.isfinite(found["resid_post.2@cls"][:]).all()


def test_images_as_arrays_and_the_class_logits(checkpoint, tmp_path):
    net = load_network(checkpoint("vit"))
    assert net.kind == "pixels"
    pixels = np.random.default_rng(0).normal(size=(5, 3, 16, 16)).astype(np.float32)
    found = extract(
        net, array_dataset(pixels), tmp_path, sites="input,resid_post.-1,logits", pooling="mean"
    )
    with torch.inference_mode():
        logits = net.module(torch.from_numpy(pixels)).logits.numpy()
    np.testing.assert_allclose(found["logits"][:], logits, rtol=1e-4, atol=1e-4)
    assert found["input"].shape == (5, 768)


def test_networks_without_a_processor_say_what_to_do(checkpoint, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    (tmp_path / "img").mkdir()
    pillow.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "img" / "0.png")
    net = load_network(checkpoint("vit"))
    with pytest.raises(InputError, match=r"no image processor; open the images with size="):
        extract(net, image_dataset(tmp_path / "img"), tmp_path / "run")


def test_image_gpt_reads_color_ids(checkpoint, tmp_path):
    net = load_network(checkpoint("imagegpt"))
    ids = np.random.default_rng(0).integers(0, 16, (4, 12))
    found = extract(net, array_dataset(ids), tmp_path, pooling="mean_all", sites="ln1_out.*")
    assert found.rows["n_tokens"].tolist() == [12] * 4
    shifted = np.concatenate([np.full((4, 1), 16), ids[:, :-1]], axis=1)
    with torch.inference_mode():
        x = net.module(torch.from_numpy(shifted), output_hidden_states=True).hidden_states[1]
        ln = net.module.transformer.h[1].ln_1(x).mean(1).numpy()
    np.testing.assert_allclose(found["ln1_out.1"][:], ln, rtol=1e-4, atol=1e-4)


def test_sites_of_another_family_are_refused(checkpoint, tmp_path):
    net = load_network(checkpoint("bert"))
    with pytest.raises(SiteError, match="unknown site 'final_norm'"):
        extract(net, text_dataset(TEXTS), tmp_path, sites="final_norm")
    # 'all' is what the family has.
    plan = extract(net, text_dataset(TEXTS), tmp_path, dry_run=True)
    assert plan.keys == ("embed@mean", *(f"resid_post.{b}@mean" for b in range(3)))
