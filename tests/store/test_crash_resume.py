"""Killed at random moments, again and again, then finished: the same bytes as undisturbed (S18)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import hiddenscape
from hiddenscape.errors import ShardError
from hiddenscape.store.reader import open_store
from hiddenscape.store.verify import verify
from hiddenscape.store.writer import StoreWriter
from hiddenscape.testing.store_suite import random_manifest, random_shard, store_bytes

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")

LAYOUT = {"rows": 90, "shard_rows": 4, "shapes": ((64,), (4, 700)), "dtypes": "float32"}
# The child says when it begins, so that kills fall on the writing and not on the import of numpy.
CHILD = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from hiddenscape.testing.store_suite import random_manifest, random_store
print("ready", flush=True)
random_store(Path({run!r}), random_manifest(**{layout!r}))
print("done", flush=True)
"""


def start(run: Path) -> subprocess.Popen[str]:
    source = str(Path(hiddenscape.__file__).parents[1])
    code = CHILD.format(path=[source], run=str(run), layout=LAYOUT)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def stop(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()


def finish_undisturbed(run: Path) -> float:
    began = time.monotonic()
    child = start(run)
    began = time.monotonic()
    out, _ = child.communicate(timeout=120)
    assert out == "done\n"
    return time.monotonic() - began


def wait_for_a_temporary(run: Path, until: float) -> None:
    """Return while a shard is being written, if that can be caught."""
    while time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError):
            if any(name.startswith(".tmp-") for name in os.listdir(run / "acts")):  # noqa: PTH208
                return


def kill_and_resume(tmp_path: Path, kills: int, seed: int) -> tuple[int, int]:
    """Kill ``kills`` writers; returns how many died at work and how many left a temporary."""
    rng = np.random.default_rng(seed)
    alone = finish_undisturbed(tmp_path / "alone")
    expected = store_bytes(tmp_path / "alone")
    at_work = temporaries = 0
    round_ = 0
    run = tmp_path / "run0"
    for attempt in range(kills):
        child = start(run)
        time.sleep(rng.uniform(0, 0.3) * alone)
        if attempt % 2:
            wait_for_a_temporary(run, time.monotonic() + alone / 2)
        stop(child)
        acts = run / "acts"
        at_work += child.returncode == -signal.SIGKILL
        if not (acts / "manifest.json").exists():
            continue
        temporaries += any(acts.glob(".tmp-*"))
        for path in acts.glob("rows-*"):  # a name that exists is whole
            assert path.read_bytes() == expected[path.name]
        assert all(f.file.endswith((".json", ".csv")) for f in verify(run).findings if f.serious)
        if not StoreWriter(acts, random_manifest(**LAYOUT)).missing():
            assert store_bytes(run) == expected
            round_ += 1
            run = tmp_path / f"run{round_}"
    finish_undisturbed(run)
    assert store_bytes(run) == expected
    assert not list((run / "acts").glob(".tmp-*"))
    assert verify(run, full=True).ok
    np.testing.assert_array_equal(
        open_store(run)["resid_post.0"],
        random_shard(random_manifest(**LAYOUT), 0, 90)["resid_post.0@mean"],
    )
    return at_work, temporaries


def test_killed_eight_times_and_resumed_is_bit_equal(tmp_path: Path) -> None:
    at_work, _ = kill_and_resume(tmp_path, kills=8, seed=1)
    assert at_work >= 4, "the kills must fall on living writers for this test to mean anything"


@pytest.mark.slow
def test_killed_a_hundred_times_and_resumed_is_bit_equal(tmp_path: Path) -> None:
    at_work, temporaries = kill_and_resume(tmp_path, kills=100, seed=2)
    assert at_work >= 50
    assert temporaries >= 5, "some kills must hit the middle of a shard"


def test_a_writer_that_names_its_file_too_early_would_be_caught(tmp_path: Path) -> None:
    """The check above can fail: half a shard under a final name is refused, not resumed over."""
    manifest = random_manifest(**LAYOUT)
    writer = StoreWriter(tmp_path / "acts", manifest)
    writer.commit(0, 4, random_shard(manifest, 0, 4))
    victim = next((tmp_path / "acts").glob("rows-*"))
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    with pytest.raises(ShardError, match="truncated"):
        StoreWriter(tmp_path / "acts", manifest)
