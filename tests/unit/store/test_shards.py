"""The container: bytes out, header in, and nothing malformed gets through."""

from __future__ import annotations

import contextlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hiddenscape.errors import InputError, ShardError
from hiddenscape.store.shards import MappedFile, content_hash, decode, read_header, serialize


def write(path: Path, tensors: dict[str, tuple[str, np.ndarray]], **metadata: str) -> Path:
    size, chunks = serialize(tensors, metadata)
    body = b"".join(chunks)
    assert len(body) == size
    path.write_bytes(body)
    return path


def raw_file(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def tensor(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@given(
    a=hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=4)),
    b=hnp.arrays(np.uint8, hnp.array_shapes(max_dims=1, max_side=7)),
    c=hnp.arrays(np.int64, hnp.array_shapes(max_dims=2, max_side=3)),
)
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, a: np.ndarray, b: np.ndarray, c: np.ndarray
) -> None:
    path = tmp_path_factory.mktemp("s") / "x.safetensors"
    write(path, {"a": ("F32", a), "b": ("U8", b), "c@mean": ("I64", c)}, note="é\n")
    file = MappedFile(path)
    for name, array in {"a": a, "b": b, "c@mean": c}.items():
        assert file.raw(name).tobytes() == array.tobytes()
        assert file.raw(name).shape == array.shape
        assert not file.raw(name).flags.writeable
        assert file.raw(name).flags.aligned
    assert file.header.metadata == {"note": "é\n"}


def test_the_package_reads_our_files_and_we_read_its_files(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    ours = {"x": np.arange(6, dtype="f4").reshape(2, 3), "n": np.arange(2, dtype="i8")}
    write(tmp_path / "ours", {"x": ("F32", ours["x"]), "n": ("I64", ours["n"])}, a="b")
    for name, array in load_file(tmp_path / "ours").items():
        np.testing.assert_array_equal(array, ours[name])
    save_file(ours, tmp_path / "theirs", {"a": "b"})
    theirs = MappedFile(tmp_path / "theirs")
    for name, array in ours.items():
        np.testing.assert_array_equal(theirs.raw(name), array)


def test_bf16_words_are_what_torch_means(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    values = torch.tensor([1.5, -2.25e30, float("inf"), 3e-40, -0.0]).to(torch.bfloat16)
    words = values.view(torch.uint16).numpy()
    path = write(tmp_path / "x", {"x": ("BF16", words)})
    assert torch.equal(load_file(path)["x"].view(torch.uint16), values.view(torch.uint16))
    file = MappedFile(path)
    np.testing.assert_array_equal(decode(file.raw("x"), "BF16"), values.float().numpy())


def test_equal_content_makes_equal_bytes() -> None:
    x, y = np.ones(3, "f4"), np.zeros(2, "i8")
    one = serialize({"x": ("F32", x), "y": ("I64", y)}, {"b": "2", "a": "1"})
    two = serialize({"y": ("I64", y), "x": ("F32", x)}, {"a": "1", "b": "2"})
    assert b"".join(one[1]) == b"".join(two[1])
    assert content_hash({"x": x, "y": y}) == content_hash({"y": y, "x": x})
    assert content_hash({"x": x}) != content_hash({"x": -x})


def test_a_wrong_dtype_is_not_written() -> None:
    with pytest.raises(InputError, match="F32 needs a contiguous <f4 array"):
        serialize({"x": ("F32", np.ones(3))}, {})


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"x": tensor()}, b"\0" * 7, "truncated: .* bytes expected"),
        ({"x": tensor()}, b"\0" * 9, "1 bytes follow the last tensor"),
        ({"x": tensor(offsets=(0, 4))}, b"\0" * 4, "do not hold shape"),
        ({"x": tensor(offsets=(8, 16))}, b"\0" * 16, "gap or overlaps"),
        ({"x": tensor(), "y": tensor(offsets=(4, 12))}, b"\0" * 12, "gap or overlaps"),
        ({"x": tensor(dtype="F4")}, b"\0" * 8, "dtype 'F4'"),
        ({"x": tensor(dtype=["F32"])}, b"\0" * 8, "dtype"),
        ({"x": tensor(shape=[-2])}, b"\0" * 8, "bad shape"),
        ({"x": tensor(shape=[True, 2])}, b"\0" * 8, "bad shape"),
        ({"x": tensor(shape=[2**62, 2**62])}, b"\0" * 8, "do not hold shape"),
        ({"x": tensor(offsets=(8, 0))}, b"\0" * 8, "do not hold shape"),
        ({"x": tensor(offsets=(0,))}, b"\0" * 8, "bad offsets"),
        ({"x": None}, b"", "has no description"),
        ({"__metadata__": {"a": 1}}, b"", "must map text to text"),
        ([1], b"", "not a JSON object"),
        (b"{", b"", "not valid JSON"),
        (b"\xff\xff", b"", "not valid JSON"),
        (b'{"x":1,"x":2}', b"", "occurs twice"),
        (b"[" * 100_000, b"", "not valid JSON"),
    ],
)
def test_malformed_headers_are_refused(
    tmp_path: Path, header: Any, data: bytes, message: str
) -> None:
    path = raw_file(tmp_path / "bad.safetensors", header, data)
    with pytest.raises(ShardError, match=message) as caught:
        read_header(path)
    assert "bad.safetensors" in str(caught.value)


def test_short_huge_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"\1\0")
    with pytest.raises(ShardError, match="truncated"):
        read_header(path)
    path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    with pytest.raises(ShardError, match="truncated"):
        read_header(path)
    with pytest.raises(ShardError, match="cannot be read"):
        read_header(tmp_path / "absent")
    with path.open("wb") as stream:  # sparse: no disk is used
        stream.write((100_000_001).to_bytes(8, "little"))
        stream.truncate(100_000_100)
    with pytest.raises(ShardError, match="over the limit"):
        read_header(path)


@given(st.binary(max_size=200))
def test_random_bytes_never_escape_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes
) -> None:
    path = tmp_path_factory.mktemp("s") / "x"
    path.write_bytes(min(len(junk), 40).to_bytes(8, "little") + junk)
    with contextlib.suppress(ShardError):
        read_header(path)


def test_a_mapped_file_travels_as_its_name(tmp_path: Path) -> None:
    big = np.arange(100_000, dtype="f4")
    file = MappedFile(write(tmp_path / "x", {"x": ("F32", big)}))
    np.testing.assert_array_equal(file.raw("x"), big)
    words = pickle.dumps(file)
    assert len(words) < 2000
    np.testing.assert_array_equal(pickle.loads(words).raw("x"), big)  # noqa: S301


def test_a_file_that_shrank_after_opening_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x", {"x": ("F32", np.arange(8, dtype="f4"))})
    file = MappedFile(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ShardError, match="became shorter"):
        file.raw("x")
