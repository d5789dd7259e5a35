"""Races, full disks, signals, strangers' files: nothing is lost and nothing is half-named."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hiddenscape
from hiddenscape import files
from hiddenscape.errors import DiskFullError, ManifestMismatch, StoreError
from hiddenscape.store.canonical import canonical_json
from hiddenscape.store.manifest import Manifest, shard_name
from hiddenscape.store.reader import open_store
from hiddenscape.store.verify import verify
from hiddenscape.store.writer import StoreWriter
from hiddenscape.testing.store_suite import random_manifest, random_shard, random_store
from hiddenscape.testing.torture import Extraction, StoppableExtraction, run_bytes

OPTIONS: dict[str, Any] = {"kind": "arrays", "rows": 47, "shard_rows": 4, "batch_size": 3}


# --- two at a time ----------------------------------------------------------------------------


def test_two_processes_race_for_every_shard_of_one_store(
    processes: Any, reference: Any, tmp_path: Path
) -> None:
    expected, _ = reference(**OPTIONS)
    for attempt in range(3):
        run = tmp_path / str(attempt)
        racing = [processes.start(Extraction(run, **OPTIONS)) for _ in range(2)]
        for one in racing:
            one.join()
        assert [one.exitcode for one in racing] == [0, 0]
        assert run_bytes(run) == expected
        assert not list((run / "acts").glob(".tmp-*"))


def test_one_of_two_racing_processes_is_killed_and_the_other_finishes(
    processes: Any, reference: Any, tmp_path: Path
) -> None:
    expected, alone = reference(**OPTIONS)
    for attempt in range(3):
        run = tmp_path / str(attempt)
        victim, survivor = (processes.start(Extraction(run, **OPTIONS)) for _ in range(2))
        victim.join(alone * (0.4 + 0.2 * attempt))
        victim.kill()
        survivor.join()
        victim.join()
        assert survivor.exitcode == 0
        found = run_bytes(run)
        assert found == expected
        assert verify(run, full=True).ok


def test_a_second_process_with_other_settings_is_refused_and_harms_nothing(
    processes: Any, reference: Any, tmp_path: Path
) -> None:
    expected, _ = reference(**OPTIONS)
    first = processes.start(Extraction(tmp_path, **OPTIONS))
    while not (tmp_path / "acts" / "manifest.json").exists() and first.is_alive():
        time.sleep(0.001)
    with pytest.raises(ManifestMismatch) as caught:
        Extraction(tmp_path, **OPTIONS | {"batch_size": 4})()
    first.join()
    assert first.exitcode == 0
    assert "input" in caught.value.field
    assert run_bytes(tmp_path) == expected


# --- full disks -------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB of its own."""
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(where)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
    yield where
    subprocess.run(["umount", str(where)], check=True, timeout=30)


def test_a_disk_that_is_really_full(small_disk: Path, tmp_path: Path) -> None:
    layout: dict[str, Any] = {"rows": 400, "shard_rows": 50, "shapes": ((200,),)}
    manifest = random_manifest(**layout)
    expected = run_bytes(random_store(tmp_path / "alone", manifest).run_path)
    with pytest.raises(DiskFullError, match=r"bytes needed, [\d,]+ free") as caught:
        random_store(small_disk / "run", manifest)
    assert "nothing half-written remains" in str(caught.value)
    acts = small_disk / "run" / "acts"
    there = [p.name for p in acts.iterdir()]
    assert "manifest.json" in there
    assert sum(n.startswith("rows-") for n in there) == 5  # of 44 kB each
    assert not [n for n in there if n.startswith(".tmp")]
    assert not [f for f in verify(acts, full=True).findings if "rows-0" in f.file]
    before = {p.name: p.stat().st_mtime_ns for p in acts.iterdir()}
    with pytest.raises(DiskFullError):  # still full: again nothing is lost
        random_store(small_disk / "run", manifest)
    assert {p.name: p.stat().st_mtime_ns for p in acts.iterdir()} == before
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True, timeout=30)
    random_store(small_disk / "run", manifest)
    assert run_bytes(small_disk / "run") == expected


class _Disk:
    """Stands between :func:`write_atomic` and the disk, and is full from the n-th call on."""

    def __init__(self, full_at: int, lasting: bool) -> None:
        self.full_at, self.lasting, self.calls = full_at, lasting, 0

    def count(self) -> None:
        self.calls += 1
        over = self.calls - 1 >= self.full_at if self.lasting else self.calls - 1 == self.full_at
        if over:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open(self, *arguments: Any, **options: Any) -> Any:
        self.count()
        stream = open(*arguments, **options)  # noqa: PTH123, SIM115
        write, disk = stream.write, self

        class Stream:
            def __enter__(self) -> Stream:
                return self

            def __exit__(self, *_: object) -> None:
                stream.close()

            def write(self, part: bytes) -> None:
                disk.count()
                write(part)

            def flush(self) -> None:
                disk.count()
                stream.flush()

            def fileno(self) -> int:
                return int(stream.fileno())

        return Stream()


def _count_calls(run: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> int:
    disk, fsync = _Disk(10**9, lasting=True), os.fsync
    with monkeypatch.context() as patch:
        patch.setattr(files, "open", disk.open, raising=False)
        patch.setattr(os, "fsync", lambda h: (disk.count(), fsync(h)))
        random_store(run, manifest)
    return disk.calls


@pytest.mark.parametrize("lasting", [True, False])
def test_a_disk_that_is_full_at_any_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lasting: bool
) -> None:
    manifest = random_manifest(rows=5, shard_rows=2, shapes=((3,),), tokens=(2,))
    expected = run_bytes(random_store(tmp_path / "alone", manifest).run_path)
    fsync = os.fsync
    calls = _count_calls(tmp_path / "counted", manifest, monkeypatch)
    for at in range(calls + 1):
        disk, run = _Disk(at, lasting), tmp_path / f"run{at}"
        with monkeypatch.context() as patch:
            patch.setattr(files, "open", disk.open, raising=False)
            patch.setattr(os, "fsync", lambda h, disk=disk: (disk.count(), fsync(h)))
            refused = pytest.raises(DiskFullError, match="bytes needed")
            with refused if at < calls else contextlib.nullcontext():
                random_store(run, manifest)
        assert not list(run.rglob(".tmp-*")), at
        if (run / "acts" / "manifest.json").exists():
            findings = verify(run, full=True).findings
            assert not [f for f in findings if f.file.startswith("acts/rows-")], (at, findings)
        for path in run.rglob("*.*"):
            assert path.read_bytes() == expected[str(path.relative_to(run))]
        random_store(run, manifest)
        assert run_bytes(run) == expected
    assert calls >= 50


# --- every identity field ---------------------------------------------------------------------

IDENTITY: dict[str, Any] = {
    "model": {
        "id": "gpt2", "commit": "c0", "class": "GPT2LMHeadModel", "weights_hash": "w0",
        "dtype": "float32", "quantization": None, "remote_code_commit": None,
    },
    "adapter": {"id": "lora", "hash": "a0", "merged": False},
    "attn_implementation": "eager",
    "intervention_hash": None,
    "tokenizer": {
        "id": "tok", "commit": "t0", "hash": "h0", "specials": ["<s>"], "template_hash": None,
        "padding_side": "right",
    },
    "processor_hash": None,
    "dataset": {
        "fingerprint": "f0", "row_ids_hash": "r0", "split": None, "columns": ["label"],
        "limit": None, "seed": 0,
    },
    "input": {
        "max_length": 128, "overlength": "error", "batch_tokens": 4096, "sort": "length",
        "image_size": None,
    },
    "pool_dtype": "float32",
}  # fmt: skip


def identity() -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(
        canonical_json(random_manifest(identity=IDENTITY, shapes=((3,),)).identity)
    )
    return found


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else key)
    elif name == "sites":
        for key, inner in value[0].items():
            yield f"sites[0].{key}", inner
    else:
        yield name, value


FIELDS = dict(leaves(identity()))


def test_every_field_of_the_design_is_among_those_tried() -> None:
    for group in ("model", "adapter", "tokenizer", "dataset", "input"):
        assert sum(f.startswith(f"{group}.") for f in FIELDS) >= 3
    for name in ("schema", "kind", "shard_edges", "dataset.rows", "pool_dtype", "sites[0].index"):
        assert name in FIELDS


def other(name: str, value: Any) -> Any:
    special = {
        "schema": "hiddenscape-store/1.1",
        "sites[0].shape": [4],
        "sites[0].dtype": "float16",
        "sites[0].depth": 2.5,
        "dataset.rows": 21,
        "shard_edges": [0, 20],
    }
    if name in special:
        return special[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return "another" if not isinstance(value, list) else [*value, "another"]


def changed(name: str) -> dict[str, Any]:
    new = identity()
    *path, last = name.replace("sites[0]", "sites.0").split(".")
    place: Any = new
    for key in path:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = other(name, place[last])
    if name.startswith("sites[0]."):  # key, site and pooling belong together
        site = new["sites"][0]
        if last == "key":
            site["site"] = site["key"]
            site["pooling"] = ""
        site["key"] = f"{site['site']}@{site['pooling']}" if site["pooling"] else site["site"]
    if name == "dataset.rows":
        new["shard_edges"] = [0, 6, 12, 18, 21]
    return new


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_difference_in_each_identity_field_is_refused_by_name(tmp_path: Path, name: str) -> None:
    old = Manifest(identity())
    writer = StoreWriter(tmp_path / "acts", old)
    writer.commit(0, 6, random_shard(old, 0, 6))
    before = run_bytes(tmp_path)
    new = Manifest(changed(name))
    assert new.manifest_hash != old.manifest_hash
    with pytest.raises(ManifestMismatch, match=r"--out.*--overwrite") as caught:
        StoreWriter(tmp_path / "acts", new)
    renamed = name in ("sites[0].key", "sites[0].site", "sites[0].pooling")
    field = "sites[].key" if renamed else name
    if name == "dataset.rows":
        assert caught.value.field in ("dataset.rows", "shard_edges")
    else:
        assert caught.value.field.startswith(field)
    assert caught.value.stored != caught.value.new
    assert run_bytes(tmp_path) == before


# --- signals, strangers, folders --------------------------------------------------------------


def test_asked_to_stop_in_the_middle_of_a_commit(
    processes: Any, reference: Any, tmp_path: Path
) -> None:
    expected, alone = reference(**OPTIONS)
    codes = []
    run = tmp_path / "run"
    for attempt in range(6):
        process = processes.start(StoppableExtraction(run, **OPTIONS))
        until = time.monotonic() + alone * (0.5 + 0.1 * attempt)
        while process.is_alive() and time.monotonic() < until + alone:
            with contextlib.suppress(FileNotFoundError):
                names = os.listdir(run / "acts")  # noqa: PTH208
                if time.monotonic() > until and any(n.startswith(".tmp-") for n in names):
                    break
        process.terminate()
        process.join()
        codes.append(process.exitcode)
        for path in (run / "acts").glob("rows-*"):
            assert path.read_bytes() == expected[f"acts/{path.name}"]
    # A signal may come before its handler is there, or after the end.
    assert set(codes) <= {0, 75, -15}, codes
    assert 75 in codes, codes
    Extraction(run, **OPTIONS)()
    assert run_bytes(run) == expected
    assert not list((run / "acts").glob(".tmp-*"))


def test_files_of_another_host_are_left_alone_unless_asked(tmp_path: Path) -> None:
    manifest = random_manifest()
    stranger = tmp_path / "acts" / ".tmp-another.host-17-00ff"
    stranger.parent.mkdir()
    stranger.write_bytes(b"half a shard")
    store = random_store(tmp_path, manifest)
    assert stranger.read_bytes() == b"half a shard"
    assert len(store) == 20
    assert any("left by a writer" in f.problem for f in verify(tmp_path).findings)
    StoreWriter(tmp_path / "acts", manifest, clean=True)
    assert not stranger.exists()


def test_a_folder_that_can_only_be_read(small_disk: Path) -> None:
    manifest = random_manifest()
    writer = StoreWriter(small_disk / "run" / "acts", manifest)
    writer.commit(0, 6, random_shard(manifest, 0, 6))
    before = run_bytes(small_disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, timeout=30)
    with pytest.raises(StoreError, match=r"cannot be written .*check the folder and its"):
        random_store(small_disk / "run", manifest)
    with pytest.raises(StoreError, match=r"cannot make this folder|cannot be written"):
        random_store(small_disk / "elsewhere", manifest)
    rows = open_store(small_disk / "run", partial=True)["resid_post.0@mean"][:6]
    np.testing.assert_array_equal(rows, random_shard(manifest, 0, 6)["resid_post.0@mean"])
    assert run_bytes(small_disk / "run") == before


# --- many rows --------------------------------------------------------------------------------

_MANY = """
import resource, sys
import numpy as np
from hiddenscape.store.reader import open_store
from hiddenscape.store.writer import StoreWriter
from hiddenscape.store.verify import verify
from hiddenscape.testing.store_suite import random_manifest

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

rows, folder = 100_000, {folder!r}
manifest = random_manifest(rows=rows, shard_rows=1000, shapes=((256,),), tokens=(16,))
rng = np.random.default_rng(0)
n = 1000
offsets = np.arange(n + 1) * 4
tokens = {{"offsets": offsets, "token_id": np.zeros(4 * n), "token_pos": np.zeros(4 * n),
          "token_content": np.ones(4 * n)}}
points = rng.normal(size=(n, 256)).astype("f4")
flat = rng.normal(size=(4 * n, 16)).astype("f4")
writer = StoreWriter(folder, manifest)
first = None
for start, stop in writer.missing():
    points[:, 0] = np.arange(start, stop)
    flat[:, 0] = np.repeat(np.arange(start, stop), 4)
    tensors = {{"resid_post.0@mean": points, "resid_post.0@tokens": flat}}
    writer.commit(start, stop, tensors | tokens)
    if start == 3000:
        first = peak()
written = peak()
store = open_store(folder)
total = 0.0
for block in store["resid_post.0@mean"].blocks(1000):
    total += float(block[:, 0].astype("f8").sum())
    store.release()
assert total == rows * (rows - 1) / 2, total
ragged = store["resid_post.0@tokens"]
for i in range(0, rows, 1000):
    assert (ragged[i][:, 0] == i).all()
    store.release()
assert verify(folder, full=True).ok
print(first, written, peak())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux does")
def test_a_hundred_thousand_rows_are_written_read_and_verified_in_flat_memory(
    tmp_path: Path,
) -> None:
    code = _MANY.format(folder=str(tmp_path / "acts"))
    source = str(Path(hiddenscape.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, written, read = map(int, done.stdout.split())
    assert sum(p.stat().st_size for p in (tmp_path / "acts").iterdir()) > 120e6
    assert written - first < 5_000, "writing 96 further shards must not take memory"  # kB
    assert read - written < 15_000
    assert shard_name(99_000, 100_000) in {p.name for p in (tmp_path / "acts").iterdir()}
