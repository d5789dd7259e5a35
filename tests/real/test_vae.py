"""Trained VAEs: the latent means carry the accuracies, divergences and dimensions of the README."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hiddenscape as hs
from hiddenscape.data.arrays import array_dataset

pytestmark = pytest.mark.real

COUNT = 2000


def vote(points: np.ndarray, labels: np.ndarray, k: int = 5) -> float:
    """Accuracy on the second half of the majority of the k nearest of the first half."""
    half = len(points) // 2
    train, test = points[:half].astype(np.float64), points[half:].astype(np.float64)
    distances = ((test[:, None] - train[None]) ** 2).sum(-1)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
    counts = [np.bincount(labels[:half][i], minlength=10) for i in nearest]
    return float((np.argmax(counts, axis=1) == labels[half:]).mean())


@pytest.fixture(scope="module")
def digits(vision, data):
    images, labels = vision.mnist_test(data / "mnist_test")
    return vision.enlarged(images[:COUNT]), labels[:COUNT]


@pytest.mark.parametrize(
    ("name", "accuracy", "active", "nats"),
    [("VAE", 0.872, 10, 117.1), ("betaH", 0.868, 10, 125.4), ("betaB", 0.824, 4, 173.5)],
)
def test_latent_means_know_the_digits(vision, data, digits, tmp_path, name, accuracy, active, nats):
    images, labels = digits
    network = hs.wrap_module(vision.mnist_vae(data / "vae_mnist", name))
    rows = array_dataset(images, labels=labels)
    points = hs.extract(network, rows, tmp_path, sites="latent_mean, latent_sample")
    mean = points["latent_mean"][:]
    assert vote(mean, labels) == accuracy
    with torch.inference_mode():
        again, (theirs, logvar), _ = network.module(torch.from_numpy(images))
    np.testing.assert_allclose(mean, theirs.numpy(), rtol=1e-4, atol=1e-4)
    divergence = 0.5 * (theirs**2 + logvar.exp() - 1 - logvar).mean(0)
    assert int((divergence > 0.1).sum()) == active
    loss = torch.nn.functional.binary_cross_entropy(
        again, torch.from_numpy(images), reduction="sum"
    )
    assert float(loss) / COUNT == pytest.approx(nats, abs=0.1)
    if name == "VAE":
        assert float(divergence.sum()) == pytest.approx(19.4, abs=0.05)
    noise = (points["latent_sample"][:] - mean) / np.exp(logvar.numpy() / 2)
    assert abs(noise.mean()) < 5 / noise.size**0.5
    assert noise.std() == pytest.approx(1.0, abs=5 / (2 * noise.size) ** 0.5)


def test_samples_are_the_same_however_rows_are_batched(vision, data, digits, tmp_path):
    network = hs.wrap_module(vision.mnist_vae(data / "vae_mnist"))
    rows = array_dataset(digits[0][:60])
    sites = "latent_sample, latent_sample.1"
    one = hs.extract(network, rows, tmp_path / "one", sites=sites, batch_size=7, shard_rows=20)
    two = hs.extract(network, rows, tmp_path / "two", sites=sites, batch_size=60)
    for name in ("latent_sample", "latent_sample.1"):
        np.testing.assert_allclose(one[name][:], two[name][:], rtol=1e-4, atol=1e-5)
    assert np.abs(one["latent_sample"][:] - one["latent_sample.1"][:]).mean() > 0.05


def test_the_sites_of_a_trained_vae(vision, data):
    table = hs.describe_sites(hs.wrap_module(vision.mnist_vae(data / "vae_mnist")))
    rows = {row.name: row for row in table.rows}
    assert (rows["latent_mean"].path, rows["latent_mean"].side) == ("encoder", "out")
    assert rows["latent_sample"].side == "out.1"
    assert not rows["latent_sample"].chosen
