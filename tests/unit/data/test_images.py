"""Folders of images, and the one door to all data sets."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hiddenscape.data.images import image_dataset
from hiddenscape.data.open import open_dataset
from hiddenscape.errors import InputError, MissingDependency

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / kind / f"{i}.png")
    return tmp_path / "pets"


def test_classes_are_labels_and_order_is_sorted(folder):
    data = image_dataset(folder)
    assert data.ids == ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
    assert data.labels["class"].tolist() == ["cat", "cat", "dog", "dog"]
    image = data.take([2])[0]
    with Image.open(folder / "dog" / "0.png") as stream:
        np.testing.assert_array_equal(image, np.asarray(stream))


def test_arrays_with_size_mean_and_std(folder):
    data = image_dataset(folder, size=(6, 8), mean=(0.5, 0.5, 0.5), std=(2, 2, 2))
    raw = image_dataset(folder).take([1])[0]
    got = data.take([1])
    assert got.shape == (1, 3, 6, 8)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[0], (raw.transpose(2, 0, 1) / 255 - 0.5) / 2, atol=1e-6)
    assert image_dataset(folder, size=(3, 3), channels=1).take([0]).shape == (1, 1, 3, 3)


def test_fingerprint_sees_files_and_settings(folder):
    before = image_dataset(folder).fingerprint
    assert image_dataset(folder, size=(6, 8)).fingerprint != before
    path = folder / "cat" / "0.png"
    with Image.open(path) as stream:
        pixels = np.array(stream)
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    assert image_dataset(folder).fingerprint != before


def test_what_is_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such folder"):
        image_dataset(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        image_dataset(tmp_path / "empty")
    with pytest.raises(InputError, match="std must hold 3 numbers"):
        image_dataset(folder, std=[1])
    (folder / "dog" / "1.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"1\.png: not a readable image"):
        image_dataset(folder).take([3])
    (folder / "stray.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"'stray.png' lies beside class folders"):
        image_dataset(folder)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependency, match=r"hiddenscape\[images\]"):
        image_dataset(folder)


# --- open_dataset -----------------------------------------------------------------------------


def test_every_kind_has_its_door(folder, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3))
    np.save(tmp_path / "y.npy", np.array([2, 1, 0]))
    np.savez(tmp_path / "z.npz", inputs=np.eye(3), label=[0, 1, 2], ids=["a", "b", "c"])
    (tmp_path / "t.txt").write_text("a\nb\n")
    assert open_dataset(folder).kind == "images"
    assert open_dataset(tmp_path / "t.txt").kind == "text"
    assert open_dataset(tmp_path / "x.npy", labels=tmp_path / "y.npy").labels["label"][0] == 2
    data = open_dataset(tmp_path / "z.npz")
    assert (data.ids, data.labels["label"].tolist()) == (("a", "b", "c"), [0, 1, 2])


def test_digits():
    data = open_dataset("digits", limit=20)
    assert len(data) == 20
    assert set(data.labels) >= {"digit", "drawing"}
    assert open_dataset("digits", limit=20).fingerprint == data.fingerprint
    # The first rows are the first rows, however many are taken.
    more = open_dataset("digits", limit=25)
    np.testing.assert_array_equal(more.inputs[:20], data.inputs)


def test_options_fit_every_kind(folder, tmp_path):
    (tmp_path / "t.csv").write_text("body,a,b\nx,1,2\ny,3,4\nz,5,6\n")
    data = open_dataset(tmp_path / "t.csv", text="body", label_columns=["b"], limit=2)
    assert data.labels["b"].tolist() == [2, 4]
    assert list(data.labels) == ["b"]
    np.savez(tmp_path / "z.npz", x=np.eye(3), a=[0, 1, 2], b=[3, 4, 5])
    assert list(open_dataset(tmp_path / "z.npz", label_columns=["b"]).labels) == ["b"]
    with pytest.raises(InputError, match="z has no column 'c'; it has a, b"):
        open_dataset(tmp_path / "z.npz", label_columns=["c"])
    assert len(open_dataset(folder, limit=3)) == 3


def test_what_no_door_takes(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        open_dataset(tmp_path / "none.txt")
    (tmp_path / "a.docx").write_bytes(b"")
    with pytest.raises(InputError, match=r"unknown kind of file '.docx'"):
        open_dataset(tmp_path / "a.docx")
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(InputError, match=r"not a readable \.npz"):
        open_dataset(tmp_path / "a.npz")
    np.savez(tmp_path / "two.npz", p=np.eye(2), q=np.eye(2))
    with pytest.raises(InputError, match="cannot tell which array holds the inputs among p, q"):
        open_dataset(tmp_path / "two.npz")
    assert len(open_dataset(tmp_path / "two.npz", input="q")) == 2
