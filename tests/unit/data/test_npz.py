"""Archives of arrays: bombs, lies and pickles are refused before anything is read."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from hiddenscape.data.limits import Limits
from hiddenscape.data.open import open_dataset
from hiddenscape.errors import InputError


def header(shape: str, dtype: str = "<f8", version: bytes = b"\x01\x00") -> bytes:
    body = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    body += " " * (117 - len(body)) + "\n"
    return b"\x93NUMPY" + version + len(body).to_bytes(2, "little") + body.encode()


def pack(path, **members: bytes):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(f"{name}.npy", body)
    return path


def test_labels_of_any_kind_and_number(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(
        path, images=np.ones((3, 2, 2)), ids=["a", "b", "c"], kind=["x", "y", "x"],
        score=[0.5, np.nan, 1], n=[1, 2, 3], flag=[True, False, True], status=[1, 2, 3],
        mean=np.ones(7),
    )  # fmt: skip
    data = open_dataset(path)
    assert data.ids == ("a", "b", "c")
    assert {k: v.dtype.kind for k, v in data.labels.items()} == {
        "kind": "U", "score": "f", "n": "i", "flag": "b", "status_": "i",
    }  # fmt: skip
    chosen = open_dataset(path, label_columns=["n:text", "status"], limit=2)
    assert {k: v.tolist() for k, v in chosen.labels.items()} == {"n": ["1", "2"], "status_": [1, 2]}


def test_only_what_is_needed_is_read(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.eye(2), unused=np.full((99, 99), 7.0))
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(np.float64(7).tobytes())] ^= 1  # the second array is damaged
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"not a readable .* CRC"):
        open_dataset(path, input="unused")
    assert open_dataset(path, input="x").take([0]).tolist() == [[1, 0]]


def test_a_bomb_is_refused_by_its_directory(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros((2**14, 2**10)))  # 128 MiB of zeros
    assert path.stat().st_size < 2**18
    with pytest.raises(
        InputError, match=r"'x\.npy' unpacks [\d,]+ bytes to 134,217,856, which is "
    ):
        open_dataset(path)
    with pytest.raises(
        InputError, match=r"unpacks to 134,217,856 bytes or more.*the limit is 1,000"
    ):
        open_dataset(path, limits=Limits(bytes=1000))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            header("(1000000000000, 3)") + b"0" * 24,
            r"'x\.npy' is damaged: its header tells of shape",
        ),
        (header("(2, 3)") + b"0" * 47, "but 47 bytes follow"),
        (header("(-1, -3)") + b"0" * 24, "not a readable|damaged"),
        (
            header("(1, 3)", "|O") + b"0" * 24,
            "'x.npy' holds Python objects, a pickle, which is neve",
        ),
        (header("(1, 3)", version=b"\x09\x00") + b"0" * 24, "no plain array"),
        (b"nonsense", "not a readable .npz"),
        (b"", "not a readable .npz"),
    ],
)
def test_what_lies_is_refused(tmp_path, body, message):
    with pytest.raises(InputError, match=message):
        open_dataset(pack(tmp_path / "a.npz", x=body))


def test_a_pickle_inside_is_never_opened(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.eye(2), names=np.array([{}, {}], dtype=object))
    with pytest.raises(InputError, match=r"'names\.npy' holds Python objects") as caught:
        open_dataset(tmp_path / "a.npz")
    assert "allow_pickle" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name(tmp_path):
    good = io.BytesIO()
    np.save(good, np.eye(2))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", good.getvalue())
        archive.writestr("x.npy", good.getvalue())
    with pytest.raises(InputError, match="two arrays called 'x'"):
        open_dataset(tmp_path / "a.npz")


def test_empty_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(InputError, match="holds no arrays"):
        open_dataset(tmp_path / "a.npz")


# --- .npy -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        header("(1000000000000, 3)") + b"0" * 24,
        header("(-1, -3)") + b"0" * 24,
        header("(1, 3)", "|O") + b"0" * 24,
        header("'x'") + b"0" * 24,
        header("(1, 3)", "nonsense") + b"0" * 24,
        b"\x93NUMPY",
    ],
)
def test_arrays_that_lie_are_refused(tmp_path, body):
    (tmp_path / "a.npy").write_bytes(body)
    with pytest.raises(InputError, match=r"a\.npy: not a readable \.npy"):
        open_dataset(tmp_path / "a.npy")


def test_a_large_array_is_mapped_and_never_copied(tmp_path):
    import tracemalloc

    found = np.lib.format.open_memmap(
        tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(4096, 4096)
    )
    found[:, 0] = np.arange(4096)
    found.flush()
    tracemalloc.start()
    data = open_dataset(tmp_path / "x.npy")
    part = open_dataset(tmp_path / "x.npy", limit=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20  # of 64 MiB on disk
    for one in (data, part):
        assert isinstance(one.inputs.base, np.memmap) or isinstance(one.inputs, np.memmap)
    assert data.take([7])[0, 0] == 7


def test_other_orders_of_memory(tmp_path):
    x = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "f.npy", np.asfortranarray(x))
    np.save(tmp_path / "c.npy", x)
    np.save(tmp_path / "b.npy", x.astype(">f8"))
    prints = {open_dataset(tmp_path / f"{n}.npy").fingerprint for n in "fcb"}
    assert len(prints) == 1
