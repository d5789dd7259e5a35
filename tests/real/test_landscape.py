"""Peaks of a real network: digits become hills with depth."""

from __future__ import annotations

import numpy as np
import pytest

import hiddenscape as hs

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def table(vision, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlp") / "run"
    pixels, digit = vision.mnist_test(data / "mnist_test")
    labels = {"digit": digit[:1500], "loops": np.isin(digit[:1500], [0, 6, 8, 9]).astype(int)}
    images = hs.array_dataset(pixels[:1500, None], labels=labels, name="mnist test")
    network = vision.mnist_mlp(data / "mlp_mnist")
    hs.extract(network, images, folder, sites=["input", "module:4", "module:10"], pooling="flat")
    hs.measure(folder, ["k_star", "adp", "adp_z_scan", "adp_labels"])
    return hs.open_run(folder).table


def _of(table, **what) -> dict[str, float]:
    return {r.site: r.value for r in table.select(**what)}


def test_clusters_come_to_follow_the_digits(table) -> None:
    ari = _of(table, analysis="adp_labels", quantity="ari", label="digit", setting="")
    assert ari["input"] < 0.5 < ari["module:4"] < ari["module:10"]
    assert ari["module:10"] > 0.75
    loops = _of(table, analysis="adp_labels", quantity="ari", label="loops", setting="")
    assert loops["module:10"] < ari["module:10"]


def test_the_hills_stand_alone(table) -> None:
    core = _of(table, analysis="adp", quantity="core_fraction")
    assert core["input"] < 0.2 < core["module:10"]
    capped = _of(table, analysis="k_star", quantity="share_capped")
    assert max(capped.values()) < 0.05
    count = _of(table, analysis="adp", quantity="clusters")
    for z, fewer in (("z = 1", False), ("z = 4", True)):
        other = _of(table, analysis="adp_z_scan", quantity="clusters", setting=z)
        assert all((other[s] <= n) if fewer else (other[s] >= n) for s, n in count.items())
