"""Extractions killed at random moments, again and again, then finished: the same bytes (S18)."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenscape.store.verify import verify
from hiddenscape.testing.torture import Extraction, run_bytes

KINDS: dict[str, dict[str, Any]] = {
    # 47 rows in shards of 4, batches of 3: nothing divides anything.
    "arrays": {"kind": "arrays", "rows": 47, "shard_rows": 4, "batch_size": 3},
    "text": {"kind": "tokens", "rows": 47, "shard_rows": 4, "pooling": ["mean", "last"]},
    "ragged": {"kind": "tokens", "rows": 47, "shard_rows": 4, "pooling": ["tokens", "mean"]},
}


def die_by_time(processes: Any, run: Path, options: dict[str, Any], delay: float) -> Any:
    process = processes.start(Extraction(run, **options))
    process.join(delay)
    process.kill()
    process.join()
    return process


def die_while_writing(processes: Any, run: Path, options: dict[str, Any], delay: float) -> Any:
    """Wait for a temporary file after ``delay``, and kill while it is there."""
    process = processes.start(Extraction(run, **options))
    process.join(delay)
    while process.is_alive():
        with contextlib.suppress(FileNotFoundError):
            if any(n.startswith(".tmp-") for n in os.listdir(run / "acts")):  # noqa: PTH208
                break
    process.kill()
    process.join()
    return process


def die_at(processes: Any, run: Path, options: dict[str, Any], **when: int) -> Any:
    process = processes.start(Extraction(run, **when, **options))
    process.join()
    return process


def check_what_is_there(run: Path, expected: dict[str, bytes]) -> int:
    """Every name is whole and right; returns the number of temporaries."""
    acts = run / "acts"
    if not (acts / "manifest.json").exists():
        return 0
    for path in acts.glob("rows-*"):
        assert path.read_bytes() == expected[f"acts/{path.name}"]
    serious = [f for f in verify(run, full=True).findings if f.serious]
    assert all(f.file.endswith(("manifest.json", "rows.csv")) for f in serious), serious
    return len(list(acts.glob(".tmp-*")))


def torture(
    processes: Any, reference: Any, tmp_path: Path, kind: str, kills: int, seed: int
) -> dict[str, int]:
    """Kill until ``kills`` processes have died at work; runs that finish make way for new ones."""
    rng = np.random.default_rng([seed, len(kind)])
    options = KINDS[kind]
    expected, alone = reference(**options)
    count = {"killed": 0, "temporaries": 0, "finished": 0, "started": 0}
    run = tmp_path / "run0"
    while count["killed"] < kills:
        count["started"] += 1
        assert count["started"] < 4 * kills, "too few kills fall on living processes"
        how = rng.integers(4)
        if how == 0:
            process = die_by_time(processes, run, options, rng.uniform(0.2, 1.1) * alone)
        elif how == 1:
            process = die_while_writing(processes, run, options, rng.uniform(0.2, 1.0) * alone)
        elif how == 2:
            process = die_at(processes, run, options, die_at=int(rng.integers(1, 40)))
        else:
            process = die_at(processes, run, options, die_in_write=int(rng.integers(1, 60)))
        assert process.exitcode in (0, -signal.SIGKILL)
        count["killed"] += process.exitcode != 0
        count["temporaries"] += check_what_is_there(run, expected)
        if process.exitcode == 0:
            assert run_bytes(run) == expected
            count["finished"] += 1
            run = tmp_path / f"run{count['finished']}"
    process = processes.start(Extraction(run, **options))
    process.join()
    assert process.exitcode == 0
    assert run_bytes(run) == expected
    assert not list((run / "acts").glob(".tmp-*"))
    assert verify(run, full=True).ok
    return count


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_is_bit_equal(
    processes: Any, reference: Any, tmp_path: Path, kind: str
) -> None:
    count = torture(processes, reference, tmp_path, kind, kills=6, seed=1)
    assert count["killed"] == 6
    assert count["temporaries"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_many_times_and_resumed_is_bit_equal(
    processes: Any, reference: Any, tmp_path: Path, kind: str
) -> None:
    count = torture(processes, reference, tmp_path, kind, kills=45, seed=2)
    assert count["temporaries"] >= 10, "some kills must hit the middle of a file"
    assert count["finished"] >= 1, "some runs must be finished over several kills"


def test_what_is_compared_holds_every_token(reference: Any) -> None:
    expected, _ = reference(**KINDS["ragged"])
    assert b"module:h.0@tokens" in expected["acts/rows-000000000-000000004.safetensors"]


def test_the_comparison_can_fail(processes: Any, reference: Any, tmp_path: Path) -> None:
    """Other shards make other bytes: equality means something."""
    expected, _ = reference(**KINDS["arrays"])
    other = KINDS["arrays"] | {"shard_rows": 5}
    process = processes.start(Extraction(tmp_path, **other))
    process.join()
    assert process.exitcode == 0
    assert run_bytes(tmp_path) != expected
