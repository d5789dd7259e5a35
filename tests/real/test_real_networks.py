"""Networks that nobody here trained: stored activations, published accuracies, known text."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hiddenscape.data.arrays import array_dataset, token_dataset
from hiddenscape.data.text import text_dataset
from hiddenscape.extraction import extract
from hiddenscape.models.batching import token_batch
from hiddenscape.models.fresh import untrained_twin
from hiddenscape.models.loading import load_network
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.wrapping import wrap_module

pytestmark = pytest.mark.real


@pytest.fixture(scope="session")
def llama(real: Any, data: Path, tmp_path_factory: pytest.TempPathFactory) -> TorchNetwork:
    pytest.importorskip("transformers")
    source = data / "llama_tinystories"
    folder = tmp_path_factory.mktemp("stories260K")
    real.llama_checkpoint(source / "stories260K.bin", source / "tok512.bin", folder)
    return load_network(folder)


# --- gpt-nano: every activation of its first block was stored by its author -------------------

STORED = {
    "x": "embed",
    "ln1": "ln1_out.0",
    "y": "z.0",
    "yProj": "attn_out.0",
    "attnResid": "resid_mid.0",
    "ln2": "ln2_out.0",
    "gelu": "mlp_act.0",
    "mlp": "mlp_out.0",
    "block0": "resid_post.0",
    "block1": "resid_post.1",
    "block2": "resid_post.2",
    "ln_f": "final_norm",
    "lm_head": "logits",
}


@pytest.fixture(scope="session")
def nano(real: Any, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A checkpoint on disk, loaded like any other, and the activations its author stored."""
    pytest.importorskip("transformers")
    model, stored = real.gpt_nano(data / "gpt_nano_sort")
    folder = tmp_path_factory.mktemp("gpt_nano_sort")
    model.save_pretrained(folder, safe_serialization=True)
    return load_network(folder), stored


def test_gpt_nano_agrees_with_stored_activations(nano):
    network, stored = nano
    assert all(check.passed for check in network.checks)
    rows = list(stored["idx"].astype(np.int32))
    batch = token_batch(network, rows, [np.zeros(len(r), np.uint8) for r in rows])
    found = network.trace(batch, list(STORED.values()))
    for theirs, ours in STORED.items():
        assert np.abs(found[ours].numpy() - stored[theirs]).max() <= 2e-6, (theirs, ours)
    # What he stored under other names: heads, and the stream that his next block reads.
    streams = network.trace(batch, "resid_pre.*")
    for name, theirs in (
        ("resid_pre.0", "x"),
        ("resid_pre.1", "block0"),
        ("resid_pre.2", "block1"),
    ):
        assert np.abs(streams[name].numpy() - stored[theirs]).max() <= 2e-6, name


@pytest.mark.parametrize("how", ["mean", "last", "token:3"])
def test_gpt_nano_in_a_store_is_what_its_author_stored(nano, tmp_path, how):
    network, stored = nano
    rows = token_dataset(stored["idx"].astype(np.int32))
    points = extract(network, rows, tmp_path, sites=list(STORED.values()), pooling=how)
    for theirs, ours in STORED.items():
        value = stored[theirs]
        wanted = {"mean": value.mean(1), "last": value[:, -1], "token:3": value[:, 3]}[how]
        assert np.abs(points[f"{ours}@{how}"][:] - wanted).max() <= 2e-6, (theirs, ours)


def test_gpt_nano_sorts_every_input(nano):
    network, _ = nano
    letters = np.array(list(itertools.product(range(3), repeat=6)), dtype=np.int32)
    rows = letters
    place = network.select("logits")
    for _ in range(6):
        batch = token_batch(network, list(rows), [np.zeros(rows.shape[1], np.uint8)] * len(rows))
        logits = network.pooled(batch, [(place[0], "last")])["logits@last"]
        rows = np.concatenate([rows, logits.argmax(1).numpy()[:, None].astype(np.int32)], 1)
    np.testing.assert_array_equal(rows[:, 6:], np.sort(letters, axis=1))


# --- TinyStories Llama ------------------------------------------------------------------------


def loss(network: TorchNetwork, text: str) -> float:
    ids = torch.tensor([network.tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        logits = network.module(ids).logits[0]
    return float(F.cross_entropy(logits[:-1], ids[0, 1:]))


def test_llama_tokenizer_agrees_with_the_original_encoder(real, data, llama):
    pieces = real.read_pieces(data / "llama_tinystories" / "tok512.bin")
    for text in (real.STORY, "Once upon a time", "", "naïve café 日本\n tab\t x", "  two  spaces"):
        assert llama.tokenizer(text)["input_ids"] == real.encode(pieces, text), text


def test_llama_self_check_passes_with_grouped_heads(llama):
    assert all(check.passed for check in llama.checks)
    assert llama.withdrawn == {}
    assert llama.facts["causal"] is True


BUREAUCRATIC = (
    "The committee shall submit its annual financial report pursuant to section four of the "
    "administrative regulations governing interdepartmental expenditure."
)


def test_llama_knows_its_stories(real, llama):
    # The README quotes 0.41 nats per token for a paragraph of this kind that it does not give, and
    # 4.58 for bureaucratic English; uniform is 6.24.
    assert loss(llama, real.STORY) == pytest.approx(0.5158, abs=1e-3)
    assert loss(llama, real.OPENING) == pytest.approx(0.3241, abs=1e-3)
    assert 4.0 < loss(llama, BUREAUCRATIC) < 5.0


def test_baby_llama_knows_its_letters(real, data, tmp_path):
    source = data / "llama_tinystories"
    real.llama_checkpoint(source / "babyllama_tok105.bin", None, tmp_path)
    network = load_network(tmp_path)
    vocabulary = (source / "tok105.vocab").read_text(encoding="utf-8").splitlines()
    letters = {line.split("\t")[0]: i for i, line in enumerate(vocabulary)}

    def nats(text: str) -> float:
        ids = np.array([1, *(letters[c] for c in f" {text}".replace(" ", "▁"))], dtype=np.int32)
        batch = token_batch(network, [ids], [np.zeros(len(ids), np.uint8)])
        logits = network.trace(batch, "logits")["logits"][0]
        return float(F.cross_entropy(logits[:-1], torch.from_numpy(ids[1:].astype(np.int64))))

    # 0.16 and 3.26 nats per character are quoted; uniform is 4.65.
    assert nats(real.OPENING) == pytest.approx(0.1223, abs=1e-3)
    assert 2.5 < nats(BUREAUCRATIC) < 4.0


def test_llama_writes_its_story(llama):
    ids = llama.tokenizer("Once upon a time")["input_ids"]
    with torch.inference_mode():
        for _ in range(58):
            ids.append(int(llama.module(torch.tensor([ids])).logits[0, -1].argmax()))
    start = ", there was a little girl named Lily. She loved to play outside in the park. "
    assert start + "One day, she saw a big, red ball." in llama.tokenizer.decode(ids)


def test_llama_logits_site_gives_the_loss_of_the_model_itself(real, llama):
    ids = np.array(llama.tokenizer(real.STORY)["input_ids"], dtype=np.int32)
    batch = token_batch(
        llama, [ids, ids[:9]], [np.zeros(len(ids), np.uint8), np.zeros(9, np.uint8)]
    )
    logits = llama.trace(batch, "logits")["logits"][0]
    ours = float(F.cross_entropy(logits[:-1], torch.from_numpy(ids[1:].astype(np.int64))))
    assert ours == pytest.approx(loss(llama, real.STORY), abs=1e-5)
    row = torch.from_numpy(ids.astype(np.int64))[None]
    with torch.inference_mode():
        assert ours == pytest.approx(float(llama.module(row, labels=row).loss), abs=1e-5)


def test_llama_sentences_to_a_store(real, llama, tmp_path):
    sentences = [s.strip() + "." for s in real.STORY.split(".") if s.strip()]
    points = extract(llama, text_dataset(sentences), tmp_path, pooling="mean,last")
    assert len(points) == len(sentences)
    ids = torch.tensor([llama.tokenizer(sentences[1])["input_ids"]])
    with torch.inference_mode():
        states = llama.module(ids, output_hidden_states=True).hidden_states
    for i, name in enumerate(("embed", "resid_post.0", "resid_post.1")):
        # The first token is the start token: real, but no content.
        mean, last = states[i][0, 1:].mean(0).numpy(), states[i][0, -1].numpy()
        np.testing.assert_allclose(points[f"{name}@mean"][1], mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(points[f"{name}@last"][1], last, rtol=1e-4, atol=1e-5)


# --- ResNets and the MLP ----------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "accuracy"), [(20, 0.925), (32, 0.915)])
def test_resnet_accuracy_on_lossless_images(vision, data, tmp_path, depth, accuracy):
    network = vision.cifar_resnet(data / "resnet_cifar10", depth)
    images = np.load(data / "cifar10" / "test_200_images.npy")
    labels = np.load(data / "cifar10" / "test_200_labels.npy")
    rows = array_dataset(vision.cifar_input(images), labels=labels)
    sites = "input, embed, resid_post.*, logits"
    points = extract(network, rows, tmp_path, sites=sites)
    guess = points["logits"][:].argmax(1)
    assert (guess == points.labels["label"]).mean() == accuracy
    blocks = (depth - 2) // 2
    names = ["input", "embed", *(f"resid_post.{b}" for b in range(blocks)), "logits"]
    assert [s.name for s in points.sites] == names
    assert [s.depth for s in points.sites] == [0, *range(blocks + 1), blocks]
    # Global average pooling of the last block is what the head reads.
    again = points[f"resid_post.{blocks - 1}"][:] @ network.linear.weight.detach().numpy().T
    again += network.linear.bias.detach().numpy()
    np.testing.assert_allclose(points["logits"][:], again, rtol=1e-4, atol=1e-4)


def test_mlp_accuracy_on_the_mnist_test_set(vision, data, tmp_path):
    network = vision.mnist_mlp(data / "mlp_mnist")
    images, labels = vision.mnist_test(data / "mnist_test")
    points = extract(network, array_dataset(images, labels=labels), tmp_path, shard_rows=3000)
    assert (points["module:11"][:].argmax(1) == labels).mean() == 0.9629
    np.testing.assert_array_equal(points["input"][:10], images[:10].reshape(10, -1))


def test_untrained_twins_guess(vision, data, tmp_path):
    network = untrained_twin(vision.mnist_mlp(data / "mlp_mnist"), seed=0)
    images, labels = vision.mnist_test(data / "mnist_test")
    points = extract(network, array_dataset(images[:2000]), tmp_path, sites="module:11")
    assert (points["module:11"][:].argmax(1) == labels[:2000]).mean() < 0.3


def test_cnn_accuracy_from_the_logits_site(vision, data, tmp_path):
    network = vision.robust_cnn(data / "cnn_mnist_fashion" / "mnist.pth")
    images, labels = vision.mnist_test(data / "mnist_test")
    wrapped = wrap_module(network, {"conv": "3", "hidden": "6", "logits": "7"})
    points = extract(
        wrapped,
        array_dataset(images[:, None], labels=labels),
        tmp_path,
        sites="hidden, logits",
    )
    assert (points["logits"][:].argmax(1) == points.labels["label"]).mean() == 0.9820
    with torch.inference_mode():
        hidden = network[:7](torch.from_numpy(images[:100, None])).numpy()
    np.testing.assert_allclose(points["hidden"][:100], hidden, rtol=1e-5, atol=1e-5)
