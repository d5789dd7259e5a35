"""Bounded reading: bombs, wrong encodings, bytes that are no text."""

from __future__ import annotations

import gzip
import os
import re
import threading
from pathlib import Path

import pytest

from hiddenscape.data.limits import Limits, read_text
from hiddenscape.data.text import text_dataset
from hiddenscape.errors import ConfigError, InputError


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf"])
def test_text_comes_back_whole(tmp_path, name, head):
    body = "ä line\nanother\n"
    assert read_text(write(tmp_path / name, head + body.encode())) == body


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\nb\n".encode("utf-16"), r"is UTF-16, expected UTF-8; .*iconv"),
        (b"one\ntwo\0\n", "line 2 holds a NUL byte"),
        ("a\nb\n".encode("utf-16-le"), "line 1 holds a NUL byte"),
        (b"one\ncaf\xe9\n", "line 2 is not UTF-8 .byte 0xe9."),
        (b"one\rtwo\r", "bare carriage return"),
    ],
)
def test_what_is_no_text_is_named_by_line(tmp_path, content, message):
    for name in ("a.txt", "a.txt.gz"):
        with pytest.raises(InputError, match=message):
            read_text(write(tmp_path / name, content))


def test_size_is_bounded_and_the_way_out_is_told(tmp_path):
    path = write(tmp_path / "a.txt", b"x" * 99 + b"\n")
    assert len(read_text(path, Limits(bytes=100))) == 100
    told = r"a\.txt: 100 bytes; the limit is 99\. .* limits=Limits\(bytes=\.\.\.\).*--input-limits"
    with pytest.raises(InputError, match=told):
        read_text(path, Limits(bytes=99))
    with pytest.raises(InputError, match=r"more than 100 bytes, at line 1; the limit is 99"):
        read_text(write(tmp_path / "a.txt.gz", b"x" * 99 + b"\n"), Limits(bytes=99))


def test_a_packed_bomb_stops_early(tmp_path):
    path = tmp_path / "bomb.txt.gz"
    with gzip.open(path, "wb", compresslevel=9) as stream:
        for _ in range(100):
            stream.write(b"a" * 2**20)
    with pytest.raises(InputError, match=r"unpack to more than [\d,]+, at line 1, which is \d+ ti"):
        read_text(path)
    assert len(read_text(path, Limits(ratio=2000))) == 100 * 2**20


def test_a_stream_without_a_size_is_bounded(tmp_path):
    pipe = tmp_path / "p.txt"
    os.mkfifo(pipe)

    def pour() -> None:
        try:
            with pipe.open("wb") as stream:
                for _ in range(100):
                    stream.write(b"y\n" * 2**19)
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=pour)
    thread.start()
    with pytest.raises(InputError, match=r"at line 1048577; the limit is 2,500,000"):
        read_text(pipe, Limits(bytes=2_500_000))
    thread.join(timeout=10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "content",
    [b"\x1f\x8b\x08", b"plain text", gzip.compress(b"a" * 999, mtime=0)[:-6]],
    ids=["head alone", "no packing", "cut short"],
)
def test_damaged_packing_is_an_input_error(tmp_path, content):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.txt\.gz: (cannot be read|a damaged)"):
        read_text(path)


@pytest.mark.parametrize("suffix", ["txt", "csv", "jsonl"])
def test_rows_and_cells_are_bounded(tmp_path, suffix):
    rows = {
        "txt": b"aaaa\nb\nc\n",
        "csv": b"text\naaaa\nb\nc\n",
        "jsonl": b'{"text":"aaaa"}\n{"text":"b"}\n{"text":"c"}\n',
    }
    path = write(tmp_path / f"a.{suffix}", rows[suffix])
    assert len(text_dataset(path, limits=Limits(rows=3, cell=4))) == 3
    with pytest.raises(InputError, match=r"rows.*the limit is 2"):
        text_dataset(path, limits=Limits(rows=2))
    with pytest.raises(InputError, match=r"line \d.*the limit is 3"):
        text_dataset(path, limits=Limits(cell=3))


def test_limits_are_spelt_as_words():
    assert Limits.parse(["bytes=8e9", "pixels=10"]) == Limits(bytes=8 * 10**9, pixels=10)
    for wrong in ("byte=3", "bytes", "bytes=x", "bytes=inf"):
        with pytest.raises(ConfigError, match=f"got '{re.escape(wrong)}', expected NAME=NUMBER"):
            Limits.parse([wrong])
    with pytest.raises(ConfigError, match="limit 'rows' must be at least 1"):
        Limits.parse(["rows=0"])
