"""Writing: atomic, resumable, and refusing what does not belong."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenscape import files
from hiddenscape.errors import (
    DiskFullError,
    IncompleteStore,
    InputError,
    ManifestMismatch,
    ShardError,
    StoreError,
)
from hiddenscape.store.manifest import Manifest, shard_name, site_entry
from hiddenscape.store.shards import content_hash, read_header
from hiddenscape.store.writer import StoreWriter
from hiddenscape.testing.store_suite import (
    random_manifest,
    random_shard,
    random_store,
    store_bytes,
)
from hiddenscape.types import Site


def fill(writer: StoreWriter, limit: int | None = None) -> None:
    for start, stop in writer.missing()[:limit]:
        writer.commit(start, stop, random_shard(writer.manifest, start, stop))


def test_a_second_run_writes_the_same_bytes(tmp_path: Path) -> None:
    random_store(tmp_path / "a")
    random_store(tmp_path / "b")
    assert store_bytes(tmp_path / "a") == store_bytes(tmp_path / "b")


def test_a_shard_says_what_it_is_and_nothing_of_time_or_host(tmp_path: Path) -> None:
    store = random_store(tmp_path)
    header = read_header(tmp_path / "acts" / shard_name(6, 12))
    manifest = store.manifest
    assert header.metadata["schema"] == "hiddenscape-store/1"
    assert header.metadata["run_id"] == manifest.run_id
    assert header.metadata["manifest_hash"] == manifest.manifest_hash
    assert header.metadata["env_hash"] == manifest.env_hash
    assert header.metadata["range"] == "6:12"
    assert set(header.metadata) == {
        "schema", "run_id", "manifest_hash", "env", "env_hash", "range", "content_hash",
    }  # fmt: skip
    assert set(header.tensors) == {*store.keys, "row", "n_tokens", "n_content", "status"}
    tensors = random_shard(manifest, 6, 12) | {
        "row": np.arange(6, 12),
        "n_tokens": np.full(6, -1, "i4"),
        "n_content": np.full(6, -1, "i4"),
        "status": np.zeros(6, "u1"),
    }
    assert header.metadata["content_hash"] == content_hash(tensors)


def test_resume_writes_only_what_is_missing(tmp_path: Path) -> None:
    random_store(tmp_path / "whole")
    manifest = random_manifest()
    fill(StoreWriter(tmp_path / "part" / "acts", manifest), limit=2)
    again = StoreWriter(tmp_path / "part" / "acts", manifest)
    assert again.missing() == [(12, 18), (18, 20)]
    fill(again)
    again.finish()
    assert store_bytes(tmp_path / "part") == store_bytes(tmp_path / "whole")


def test_order_of_commits_does_not_matter(tmp_path: Path) -> None:
    random_store(tmp_path / "whole")
    writer = StoreWriter(tmp_path / "back" / "acts", random_manifest())
    for start, stop in reversed(writer.missing()):
        writer.commit(start, stop, random_shard(writer.manifest, start, stop))
    assert store_bytes(tmp_path / "back") == store_bytes(tmp_path / "whole")


def test_finish_names_what_is_missing(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "acts", random_manifest())
    fill(writer, limit=1)
    with pytest.raises(IncompleteStore, match=r"3 of 4 shards are missing, .* rows 6 to 11") as e:
        writer.finish()
    assert e.value.missing == ((6, 12), (12, 18), (18, 20))


def test_other_settings_are_refused_by_field_values_and_remedy(tmp_path: Path) -> None:
    random_store(tmp_path, random_manifest(identity={"input": {"batch_tokens": 4096}}))
    before = store_bytes(tmp_path)
    other = random_manifest(identity={"input": {"batch_tokens": 2048}})
    with pytest.raises(ManifestMismatch, match=r"input.batch_tokens is 4096 there and 2048 now"):
        StoreWriter(tmp_path / "acts", other)
    with pytest.raises(ManifestMismatch, match=r"--out.*--overwrite") as caught:
        StoreWriter(tmp_path / "acts", other)
    assert (caught.value.field, caught.value.stored, caught.value.new) == (
        "input.batch_tokens",
        4096,
        2048,
    )
    assert store_bytes(tmp_path) == before


def test_overwrite_deletes_the_store_and_nothing_else(tmp_path: Path) -> None:
    random_store(tmp_path)
    (tmp_path / "acts" / "note.txt").write_text("mine")
    writer = StoreWriter(tmp_path / "acts", random_manifest(rows=7), overwrite=True)
    assert writer.missing() == [(0, 6), (6, 7)]
    assert (tmp_path / "acts" / "note.txt").read_text() == "mine"
    assert (tmp_path / "rows.csv").exists()


def recorded(torch: str) -> Manifest:
    site = site_entry(Site("a", depth=1), (2,))
    return Manifest.create(sites=[site], rows=2, recorded={"versions": {"torch": torch}})


def test_recorded_differences_are_told_or_refused_when_strict(tmp_path: Path) -> None:
    assert StoreWriter(tmp_path, recorded("2.4")).differences == ()
    told = StoreWriter(tmp_path, recorded("2.5")).differences
    assert told == ('versions.torch is "2.5", the store was begun with "2.4"',)
    with pytest.raises(ManifestMismatch, match=r'versions.torch is "2.4" there and "2.5" now'):
        StoreWriter(tmp_path, recorded("2.5"), strict=True)


def test_each_shard_keeps_the_environment_it_was_written_in(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, recorded("2.5"))
    writer.commit(0, 2, {"a": np.ones((2, 2), "f4")})
    header = read_header(tmp_path / shard_name(0, 2))
    assert header.metadata["env"] == '{"versions":{"torch":"2.5"}}'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": np.ones((3, 2), "f4")}, r"shape \(3, 2\), expected \(2, 2\)"),
        ({"a": np.ones((2, 2))}, "dtype float64, the manifest says float32"),
        ({"b": np.ones((2, 2), "f4")}, "unknown .'b'"),
        ({"row": np.array([1, 0])}, "must be 0 to 1 in order"),
        ({"status": np.array([0, 256])}, "'status' holds numbers that uint8 cannot hold"),
        ({"n_tokens": np.array([0.5, 1])}, "'n_tokens' holds numbers that int32 cannot hold"),
        ({"status": np.zeros(3, "u1")}, r"'status' has shape \(3,\)"),
    ],
)
def test_a_commit_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    writer = StoreWriter(tmp_path, recorded("1"))
    with pytest.raises(InputError, match=message):
        writer.commit(0, 2, {"a": np.ones((2, 2), "f4")} | change)
    with pytest.raises(InputError, match=r"missing .'a'"):
        writer.commit(0, 2, {})
    with pytest.raises(InputError, match="rows 0 to 1 are no shard"):
        writer.commit(0, 1, {"a": np.ones((1, 2), "f4")})
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


def test_commit_counts_rows_that_are_not_finite(tmp_path: Path) -> None:
    kinds = ["float32", "float16", "bfloat16"]
    manifest = random_manifest(rows=4, shard_rows=4, shapes=((2,),) * 3, dtypes=kinds)
    tensors = random_shard(manifest, 0, 4)
    tensors["resid_post.0@mean"][1, 0] = np.nan
    tensors["resid_post.0@mean"][1, 1] = np.inf
    tensors["resid_post.1@mean"][[0, 2]] = np.inf
    tensors["resid_post.2@mean"][3, 1] = 0xFF80  # minus infinity
    counts = StoreWriter(tmp_path, manifest).commit(0, 4, tensors)
    assert list(counts.values()) == [1, 2, 1]


def test_strided_and_big_endian_arrays_are_written_right(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, recorded("1"))
    values = np.arange(8, dtype=">f4").reshape(2, 4)[:, ::2]
    writer.commit(0, 2, {"a": values})
    np.testing.assert_array_equal(writer.finish()["a"], [[0, 2], [4, 6]])


@pytest.mark.parametrize("damage", ["truncate", "swap", "extra", "empty"])
def test_a_damaged_shard_is_an_error_and_never_replaced(tmp_path: Path, damage: str) -> None:
    random_store(tmp_path)
    victim = tmp_path / "acts" / shard_name(6, 12)
    if damage == "truncate":
        victim.write_bytes(victim.read_bytes()[:-1])
    elif damage == "swap":
        victim.write_bytes((tmp_path / "acts" / shard_name(0, 6)).read_bytes())
    elif damage == "extra":
        victim.with_name(shard_name(3, 9)).write_bytes(victim.read_bytes())
    else:
        victim.write_bytes(b"")
    before = store_bytes(tmp_path)
    with pytest.raises(ShardError, match=r"rows-.*verify --repair"):
        StoreWriter(tmp_path / "acts", random_manifest())
    assert store_bytes(tmp_path) == before


def test_a_shard_of_another_run_is_refused(tmp_path: Path) -> None:
    random_store(tmp_path / "a")
    random_store(tmp_path / "b", random_manifest(identity={"model": {"id": "other"}}))
    name = shard_name(0, 6)
    (tmp_path / "a" / "acts" / name).write_bytes((tmp_path / "b" / "acts" / name).read_bytes())
    with pytest.raises(ShardError, match=r"run_id is .* expected"):
        StoreWriter(tmp_path / "a" / "acts", random_manifest())


def dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_what_dead_writers_left_is_removed_and_the_living_are_left_alone(tmp_path: Path) -> None:
    host = files._host()
    dead = tmp_path / f".tmp-{host}-{dead_pid()}-00ff"
    ours = tmp_path / f".tmp-{host}-{os.getpid()}-00ff"  # an earlier process with our pid
    alive = tmp_path / f".tmp-{host}-{os.getppid()}-00ff"
    other = tmp_path / ".tmp-other.host-1-00ff"
    odd = tmp_path / ".tmp-notes"
    for path in (dead, ours, alive, other, odd):
        path.write_bytes(b"x")
    StoreWriter(tmp_path, recorded("1"))
    assert {p.name for p in tmp_path.glob(".tmp*")} == {alive.name, other.name, odd.name}
    StoreWriter(tmp_path, recorded("1"), clean=True)
    assert {p.name for p in tmp_path.glob(".tmp*")} == {odd.name}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("moment", ["write", "fsync", "rename"])
def test_a_full_disk_leaves_nothing_half_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, moment: str
) -> None:
    manifest = random_manifest()
    writer = StoreWriter(tmp_path / "acts", manifest)
    fill(writer, limit=1)
    before = store_bytes(tmp_path)

    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if moment == "fsync":
            patch.setattr(os, "fsync", full)
        elif moment == "rename":
            patch.setattr(Path, "replace", full)
        else:
            patch.setattr(files, "open", _open_that_fails(full), raising=False)
        with pytest.raises(DiskFullError, match=r"[\d,]+ bytes needed, [\d,]+ free") as caught:
            writer.commit(6, 12, random_shard(manifest, 6, 12))
    assert shard_name(6, 12) in str(caught.value)
    assert store_bytes(tmp_path) == before
    assert not list((tmp_path / "acts").glob(".tmp*"))
    fill(writer)
    assert len(writer.finish()) == 20


def _open_that_fails(full: Any) -> Any:
    def opened(*args: Any, **kwargs: Any) -> Any:
        stream = open(*args, **kwargs)  # noqa: PTH123, SIM115

        class Full:
            def __enter__(self) -> Full:
                return self

            def __exit__(self, *_: object) -> None:
                stream.close()

            def write(self, part: bytes) -> None:
                stream.write(part[:10])
                full()

        return Full()

    return opened


def _write_under_a_limit(folder: str, limit: int) -> str:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        fill(StoreWriter(folder, random_manifest(rows=4, shard_rows=4, shapes=((5000,),))))
    except DiskFullError as error:
        return str(error)
    return "nothing happened"


@pytest.mark.skipif(sys.platform == "win32", reason="limits are a POSIX matter")
def test_a_real_limit_on_file_size_is_a_full_disk(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        message = pool.apply(_write_under_a_limit, (str(tmp_path), 20_000))
    assert "limit on the size of files" in message
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file.acts: cannot make this folder"):
        StoreWriter(tmp_path / "file" / "acts", random_manifest())


def _race(folder: str) -> None:
    writer = StoreWriter(folder, random_manifest(rows=60, shard_rows=3))
    for start, stop in writer.missing():
        writer.commit(start, stop, random_shard(writer.manifest, start, stop))


def test_two_writers_of_one_store_are_harmless(tmp_path: Path) -> None:
    manifest = random_manifest(rows=60, shard_rows=3)
    random_store(tmp_path / "alone", manifest)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_race, args=(str(tmp_path / "acts"),)) for _ in range(3)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert [one.exitcode for one in writers] == [0, 0, 0]
    assert store_bytes(tmp_path) == store_bytes(tmp_path / "alone")
    assert not list((tmp_path / "acts").glob(".tmp*"))


def test_a_file_system_without_links_still_makes_one_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    StoreWriter(tmp_path, recorded("1"))
    files.write_atomic(tmp_path / "x", [b"1"], needed=1, replace=False)
    with pytest.raises(FileExistsError):
        files.write_atomic(tmp_path / "x", [b"2"], needed=1, replace=False)
    assert (tmp_path / "x").read_bytes() == b"1"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.json", "x"]


def test_a_field_that_says_more_than_a_hash_is_named_first(tmp_path: Path) -> None:
    random_store(tmp_path, random_manifest(identity={"a_hash": "0f", "limit": 150}))
    other = random_manifest(identity={"a_hash": "1e", "limit": 100})
    with pytest.raises(ManifestMismatch, match=r"limit is 150 there and 100 now"):
        StoreWriter(tmp_path / "acts", other)
