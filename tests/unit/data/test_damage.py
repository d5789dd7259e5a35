"""Damaged files of every kind end in an error of ours or in rows, never in anything else."""

from __future__ import annotations

import gzip
import io
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiddenscape.data.open import open_dataset
from hiddenscape.errors import HiddenscapeError, InputError


def _saved(save, *arrays, **named) -> bytes:
    out = io.BytesIO()
    save(out, *arrays, **named)
    return out.getvalue()


def _images() -> dict[str, bytes]:
    Image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    return {f"img/a.{f}": _saved(image.save, format=f) for f in ("png", "jpeg", "gif", "bmp")}


def _arrow() -> dict[str, bytes]:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"text": ["a", "bc", "d"], "k": [1, 2, 3]})
    files = {"a.parquet": io.BytesIO(), "a.arrow": io.BytesIO()}
    parquet.write_table(table, files["a.parquet"])
    with pa.ipc.new_stream(files["a.arrow"], table.schema) as writer:
        writer.write_table(table)
    return {name: out.getvalue() for name, out in files.items()}


def _sound() -> dict[str, bytes]:
    spans = [{"text": "abc", "k": 1, "spans": {"s": [0, 1]}}, {"text": "d", "k": None}]
    fasta = b">a x\nMKV\n>b\nLAG\n"
    return {
        "a.csv": b'id,text,k\n1,a,2\n2,"b,c",3\n',
        "a.jsonl": "\n".join(map(json.dumps, spans)).encode(),
        "a.fasta": fasta,
        "a.fasta.gz": gzip.compress(fasta, mtime=0),
        "a.npy": _saved(np.save, np.eye(3)),
        "a.npz": _saved(np.savez, x=np.eye(3), k=np.arange(3), ids=["a", "b", "c"]),
        "b.npz": _saved(np.savez_compressed, x=np.eye(3), k=np.arange(3)),
        **_arrow(),
        **_images(),
    }


KINDS = ["a.csv", "a.jsonl", "a.fasta", "a.fasta.gz", "a.npy", "a.npz", "b.npz", "a.parquet",
         "a.arrow", "img/a.png", "img/a.jpeg", "img/a.gif", "img/a.bmp"]  # fmt: skip
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "cut"]), st.floats(0, 1), st.integers(0, 255)
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def sound() -> dict[str, bytes]:
    return _sound()


def _edited(raw: bytes, edits: list[tuple[str, float, int]]) -> bytes:
    body = bytearray(raw)
    for how, where, value in edits:
        at = int(where * max(0, len(body) - 1))
        match how:
            case "set":
                body[at : at + 1] = [value]
            case "insert":
                body[at:at] = [value, value]
            case "delete":
                del body[at : at + 1 + value % 8]
            case _:
                del body[at:]
    return bytes(body)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(edits=EDITS)
def test_damage_is_an_error_of_ours(sound, kind, edits, tmp_path_factory):
    # A file of its own each time: an array of an earlier one may still be mapped.
    path = tmp_path_factory.mktemp("damage") / kind
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(_edited(sound[kind], edits))
    source = path.parent if kind.startswith("img/") else path
    with suppress(HiddenscapeError):
        data = open_dataset(source)
        data.take(range(len(data)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_are_sound_before(sound, kind, tmp_path):
    path = tmp_path / kind
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(sound[kind])
    data = open_dataset(path.parent if kind.startswith("img/") else path)
    assert len(data) == {"a.csv": 2, "a.jsonl": 2, "a.fasta": 2, "a.fasta.gz": 2}.get(
        kind, 1 if kind.startswith("img/") else 3
    )


def test_false_offsets_of_an_arrow_file_read_no_foreign_memory(sound, tmp_path: Path):
    raw = sound["a.arrow"]
    offsets = np.array([0, 1, 3, 4], dtype="<i4").tobytes()
    assert offsets in raw
    path = tmp_path / "a.arrow"
    path.write_bytes(raw.replace(offsets, np.array([0, 1, 2**30, 4], dtype="<i4").tobytes()))
    with pytest.raises(InputError, match=r"a\.arrow: cannot be read"):
        open_dataset(path)
