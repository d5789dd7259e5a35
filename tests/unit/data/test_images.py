"""Folders of images, and the one door to all data sets."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hiddenscape.data.images import image_dataset
from hiddenscape.data.limits import Limits
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


# --- labels, transparency, bits, frames, orientation, bombs --------------------------------------


def test_labels_of_a_table_by_path(folder, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text(
        "id,breed,weight\ndog/1.png,x,3.5\ncat/0.png,y,\ncat/1.png,x,1\ndog/0.png,y,2\n"
    )
    for found in (image_dataset(folder, labels=table), open_dataset(folder, label_map=table)):
        assert found.labels["breed"].tolist() == ["y", "x", "y", "x"]
        np.testing.assert_equal(found.labels["weight"], [np.nan, 1, 2, 3.5])
        assert found.labels["class"].tolist() == ["cat", "cat", "dog", "dog"]
    assert list(image_dataset(folder, labels=table, label_columns=["breed"]).labels) == ["breed"]
    table.write_text("id,breed\ncat/0.png,y\n")
    with pytest.raises(InputError, match=r"lacks 3 of 4 row ids: 'cat/1.png', 'dog/0.png'"):
        image_dataset(folder, labels=table)


def one(tmp_path, image, name="a.png", **options):
    place = tmp_path / "one"
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    image.save(place / name, **options)
    return place


def test_transparent_pixels_are_never_dropped_unasked(tmp_path):
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[..., 0] = 200
    pixels[..., 3] = [[255, 0], [255, 128]]
    place = one(tmp_path, Image.fromarray(pixels))
    with pytest.raises(InputError, match=r"a\.png: has transparent pixels; choose alpha="):
        image_dataset(place).take([0])
    drop, white, black = (
        image_dataset(place, alpha=a).take([0])[0] for a in ("drop", "white", "black")
    )
    assert drop[..., 0].tolist() == [[200, 200], [200, 200]]
    assert white[0, 1].tolist() == [255, 255, 255]
    assert black[0, 1].tolist() == [0, 0, 0]
    assert black[1, 1, 0] == 100
    assert white[0, 0].tolist() == [200, 0, 0]
    prints = {image_dataset(place, alpha=a).fingerprint for a in ("drop", "white", "black")}
    assert len(prints) == 3
    # Pixels that are all opaque lose nothing.
    pixels[..., 3] = 255
    assert image_dataset(one(tmp_path, Image.fromarray(pixels))).take([0])[0][0, 0].tolist() == [
        200, 0, 0,
    ]  # fmt: skip


def test_palettes(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert image_dataset(one(tmp_path, image)).take([0])[0].tolist() == [
        [[10, 20, 30], [40, 50, 60]]
    ]
    place = one(tmp_path, image, transparency=1)
    with pytest.raises(InputError, match="transparent pixels"):
        image_dataset(place).take([0])
    assert image_dataset(place, alpha="white").take([0])[0][0, 1].tolist() == [255, 255, 255]


def test_more_than_8_bits_are_refused_not_cut_off(tmp_path):
    wide = Image.fromarray(np.array([[0, 300], [40000, 65535]], dtype=np.uint16))
    with pytest.raises(InputError, match=r"a\.png: more than 8 bits in one channel \(mode I"):
        image_dataset(one(tmp_path, wide))
    real = Image.fromarray(np.array([[0.5]], dtype=np.float32))
    with pytest.raises(InputError, match=r"more than 8 bits .*mode F"):
        image_dataset(one(tmp_path, real, "a.tiff"))


def test_several_frames_are_refused(tmp_path):
    frames = [Image.new("RGB", (2, 2), c) for c in ("red", "blue")]
    for name in ("a.gif", "a.tiff", "a.png"):
        place = one(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
        with pytest.raises(InputError, match=f"{name}: holds several frames"):
            image_dataset(place)


def test_photographs_are_turned_upright(tmp_path):
    pixels = np.zeros((8, 16, 3), dtype=np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    place = one(tmp_path, Image.fromarray(pixels), exif=exif)
    upright = image_dataset(place).take([0])[0]
    assert upright.shape == (16, 8, 3)
    np.testing.assert_array_equal(upright, np.rot90(pixels, -1))
    np.testing.assert_array_equal(image_dataset(place, orient=False).take([0])[0], pixels)
    assert image_dataset(place).fingerprint != image_dataset(place, orient=False).fingerprint


def test_bombs_are_named_before_they_unpack(tmp_path):
    # Of 100 million pixels pillow itself would only warn.
    place = one(tmp_path, Image.new("1", (20_000, 5_000)))
    with pytest.raises(InputError, match=r"a\.png: too many pixels; .* 89,478,485.*pixels="):
        image_dataset(place)
    assert len(image_dataset(place, limits=Limits(pixels=10**8))) == 1
    with pytest.raises(InputError, match="too many pixels; the limit is 99"):
        image_dataset(one(tmp_path, Image.new("1", (10, 10))), limits=Limits(pixels=99))
    assert Image.MAX_IMAGE_PIXELS == 89_478_485  # as it was


@pytest.mark.parametrize("cut", [0, 4, 20, 60])
def test_damaged_images_are_named(folder, cut):
    path = folder / "dog" / "0.png"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"dog/0\.png: not a readable image"):
        image_dataset(folder).take([2])


def test_a_text_called_png_is_named_at_once(folder):
    (folder / "dog" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"dog/0\.png: not a readable image"):
        image_dataset(folder)


def test_names_that_are_no_text_are_refused(folder):
    import os

    try:
        os.rename(folder / "dog" / "0.png", os.fsencode(folder / "dog") + b"/\xff.png")  # noqa: PTH104
    except OSError:
        pytest.skip("this file system takes only names that are text")
    with pytest.raises(InputError, match=r"id of row 3: .*half of a surrogate pair"):
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
