"""The numbers that docs/gallery.md states."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape import compat

pytestmark = pytest.mark.real

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gallery.md"


@pytest.fixture(scope="module")
def pixels(data: Path) -> np.ndarray:
    with gzip.open(data / "mnist_test" / "t10k-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(10_000, -1)


def test_digits_of_mnist(pixels: np.ndarray) -> None:
    graph = hs.find_neighbors(pixels, k=64)
    assert graph.n_duplicates == 0
    ml = hs.two_nn(graph, method="mle").value
    line = hs.two_nn(graph, method="fit", fraction=0.9, positions="i/N").value
    assert f"{ml:.2f}" == f"{line:.2f}" == "13.56"
    best = hs.two_nn(graph)
    assert f"{best.value:.2f} ± {best.stderr:.2f}" in PAGE.read_text(encoding="utf-8")
    ranks = hs.gride_scan(graph).values
    assert (np.diff(ranks) < 0).all()
    assert ranks[[0, -1]] == pytest.approx([13.56, 10.83], abs=0.01)
    pair = compat.reproduce("dadapy.compute_id_2NN", pixels)
    assert pair.published == pytest.approx(line, rel=1e-9)


def test_fewer_digits_look_flatter(pixels: np.ndarray) -> None:
    curve = hs.decimation(pixels)
    assert curve.subset == (10_000, 5000, 2500, 1250, 625, 312, 156, 78, 39)
    assert curve.values[[0, -1]] == pytest.approx([13.57, 10.69], abs=0.01)
    fall = np.diff(curve.values)
    assert (fall < 2 * np.hypot(curve.stderrs[:-1], curve.stderrs[1:])).all()


@pytest.mark.parametrize("name", ["mnist", "figure_1", "figure_2"])
def test_pictures_are_there_and_small(name: str) -> None:
    picture = PAGE.parent / "images" / f"gallery_{name}.png"
    assert f"images/{picture.name}" in PAGE.read_text(encoding="utf-8")
    assert 20_000 < picture.stat().st_size < 150_000
