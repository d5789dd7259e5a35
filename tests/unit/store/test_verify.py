"""Verify finds what is wrong, names it, and repairs only what it is asked to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hiddenscape.errors import StoreError
from hiddenscape.store.manifest import shard_name
from hiddenscape.store.shards import read_header
from hiddenscape.store.verify import verify
from hiddenscape.store.writer import StoreWriter
from hiddenscape.testing.store_suite import (
    random_manifest,
    random_shard,
    random_store,
    store_bytes,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    random_store(tmp_path / "run")
    return tmp_path / "run"


def flip(path: Path, at: int, bit: int = 0) -> None:
    body = bytearray(path.read_bytes())
    body[at] ^= 1 << bit
    path.write_bytes(body)


def test_a_good_store_is_good(run: Path) -> None:
    for path, full in ((run, False), (run / "acts", True)):
        report = verify(path, full=full)
        assert report.ok
        assert report.findings == ()
        assert (report.shards, report.rows, report.missing) == (4, 20, ())
    assert verify(run, full=True).nonfinite == {"resid_post.0@mean": 0, "resid_post.1@mean": 0}
    assert verify(run).nonfinite is None


def test_a_flipped_bit_in_any_tensor_is_found_and_its_file_named(run: Path) -> None:
    victim = run / "acts" / shard_name(6, 12)
    good = victim.read_bytes()
    for name, entry in read_header(victim).tensors.items():
        flip(victim, (entry.start + entry.stop) // 2, bit=3)
        assert verify(run).ok, "headers alone cannot tell"
        report = verify(run, full=True)
        assert not report.ok, name
        assert report.findings[0].file == f"acts/{victim.name}"
        assert "its content changed after it was written" in report.findings[0].problem
        assert report.missing == ((6, 12),)
        victim.write_bytes(good)


def test_a_flipped_bit_anywhere_in_a_header_is_found(run: Path) -> None:
    victim = run / "acts" / shard_name(6, 12)
    good = victim.read_bytes()
    header = good[: 8 + int.from_bytes(good[:8], "little")]
    # What a shard says of the environment it was written in has nothing to be compared with but
    # itself: its hash.
    for at in range(len(header)):
        flip(victim, at, bit=at % 7)
        assert not verify(run, full=True).ok, (at, header[at - 20 : at + 20])
        victim.write_bytes(good)


def test_a_truncated_shard_is_named_without_reading_all(run: Path) -> None:
    victim = run / "acts" / shard_name(0, 6)
    victim.write_bytes(victim.read_bytes()[:-1])
    report = verify(run)
    assert not report.ok
    assert report.findings[0].file == "acts/rows-000000000-000000006.safetensors"
    assert report.findings[0].problem.startswith("truncated: ")
    assert "run the command that made the store again" in report.findings[1].problem


def test_missing_shards_are_told(run: Path) -> None:
    (run / "acts" / shard_name(18, 20)).unlink()
    report = verify(run)
    assert report.missing == ((18, 20),)
    assert "1 of 4 shards have no good file, the first with rows 18 to 19" in (
        report.findings[0].problem
    )


def test_nothing_changes_unless_asked_and_repair_only_moves(run: Path) -> None:
    victim = run / "acts" / shard_name(0, 6)
    good = store_bytes(run)
    flip(victim, -1)
    damaged = victim.read_bytes()
    verify(run, full=True)
    assert victim.read_bytes() == damaged
    for number in (1, 2):
        report = verify(run, full=True, repair=True)
        assert f"moved aside as {victim.name}.damaged-{number}" in report.findings[0].problem
        assert victim.with_name(f"{victim.name}.damaged-{number}").read_bytes() == damaged
        assert not victim.exists()
        writer = StoreWriter(run / "acts", random_manifest())
        assert writer.missing() == [(0, 6)]
        writer.commit(0, 6, random_shard(writer.manifest, 0, 6))
        assert store_bytes(run) == good
        assert verify(run, full=True).ok
        flip(victim, -1)


def test_rows_with_nan_are_counted_not_condemned(tmp_path: Path) -> None:
    manifest = random_manifest(rows=5, shard_rows=5)
    tensors = random_shard(manifest, 0, 5)
    tensors["resid_post.1@mean"][[1, 3]] = np.nan
    writer = StoreWriter(tmp_path / "acts", manifest)
    writer.commit(0, 5, tensors)
    report = verify(tmp_path, full=True)
    assert report.ok
    assert report.nonfinite == {"resid_post.0@mean": 0, "resid_post.1@mean": 2}
    assert "rows have no ids and no labels" in report.findings[0].problem


def test_rows_that_moved_are_serious(run: Path) -> None:
    path = run / "rows.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    report = verify(run)
    assert not report.ok
    assert report.findings[0].file == "run/rows.csv"


def test_leftovers_and_odd_names_are_mentioned(run: Path) -> None:
    (run / "acts" / ".tmp-host-1-ff").write_text("")
    (run / "acts" / "rows-1-2.safetensors").write_text("")
    report = verify(run)
    assert report.ok
    assert len(report.findings) == 2


def test_an_edited_manifest_is_reported(run: Path) -> None:
    path = run / "acts" / "manifest.json"
    path.write_text(path.read_text().replace("random", "edited"))
    report = verify(run)
    assert not report.ok
    assert "identity fields were changed" in report.findings[0].problem


def test_a_folder_without_a_store_raises(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store here"):
        verify(tmp_path)
