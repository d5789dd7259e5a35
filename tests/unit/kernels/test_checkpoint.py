"""A killed search goes on where it was, and a state of anything else is ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hiddenscape.errors import InputError
from hiddenscape.kernels import checkpoint, cpu
from hiddenscape.kernels.arrays import Cloud, cloud
from hiddenscape.kernels.stream import Pass


@pytest.fixture
def points(rng: np.random.Generator) -> Cloud:
    return cloud(rng.normal(size=(600, 12)).astype("f4"))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)


class Killed(BaseException):
    pass


def interrupted(points: Cloud, path: Path, share: float, **options: object) -> None:
    def stop(done: int, total: int) -> None:
        if done >= share * total:
            raise Killed

    with pytest.raises(Killed):
        cpu.nearest(points, 7, checkpoint=path, progress=stop, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"memory": 260_000}, {"precision": "bfloat16"}])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_killed_search_goes_on(
    points: Cloud,
    tmp_path: Path,
    share: float,
    options: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"precision": "float32", "block_rows": 16} | options
    path = tmp_path / "search"
    want = cpu.nearest(points, 7, **options)  # type: ignore[arg-type]
    steps: list[int] = []
    honest = Pass.step
    monkeypatch.setattr(Pass, "step", lambda *a: (steps.append(a[1].pairs), honest(*a)))
    cpu.nearest(points, 7, **options)  # type: ignore[arg-type]
    whole, longest = sum(steps), max(steps)
    interrupted(points, path, share, **options)
    assert path.exists() or share == 0.05
    steps.clear()
    got = cpu.nearest(points, 7, checkpoint=path, **options)  # type: ignore[arg-type]
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])
    assert got[2].counts() == want[2].counts()
    assert sum(steps) <= whole * (1 - share) + longest
    assert not path.exists()


def test_a_state_of_other_points_is_ignored(points: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "search"
    options = {"precision": "float32", "block_rows": 50}
    interrupted(points, path, 0.5, **options)
    other = points.values.copy()
    other[599, 11] += 1
    got = cpu.nearest(cloud(other), 7, checkpoint=path, **options)  # type: ignore[arg-type]
    want = cpu.nearest(cloud(other), 7)
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])


@pytest.mark.parametrize("damage", [b"", b"\x00" * 40, b"\xff" * 40, None])
def test_a_damaged_state_is_ignored(points: Cloud, tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "search"
    options = {"precision": "float32", "block_rows": 50}
    interrupted(points, path, 0.5, **options)
    state = path.read_bytes()
    path.write_bytes(state[:-1000] if damage is None else state[:19] + damage if damage else b"")
    got = cpu.nearest(points, 7, checkpoint=path, **options)  # type: ignore[arg-type]
    assert np.array_equal(got[1], cpu.nearest(points, 7)[1])


@pytest.mark.parametrize("where", range(0, 4000, 131))
def test_one_changed_byte_is_noticed(points: Cloud, tmp_path: Path, where: int) -> None:
    """A list or a limit that is not as it was written could cost a neighbour, or the process."""
    path = tmp_path / "search"
    options = {"precision": "float32", "block_rows": 50}
    interrupted(points, path, 0.5, **options)
    text = bytearray(path.read_bytes())
    text[len(checkpoint._MAGIC) + where % (len(text) - len(checkpoint._MAGIC))] ^= 0x55
    path.write_bytes(text)
    indices, distances = np.empty((600, 7), np.int32), np.empty((600, 7))
    state = checkpoint.Checkpoint(path, points, "anything")
    assert state.open(indices, distances, []) == 0
    assert checkpoint._read(path) == ({}, {})


def test_a_file_that_is_no_state_is_left_alone(points: Cloud, tmp_path: Path) -> None:
    precious = tmp_path / "precious.npy"
    np.save(precious, np.arange(9))
    for path in (precious, tmp_path):
        with pytest.raises(InputError, match="no state of a search"):
            cpu.nearest(points, 7, checkpoint=path)
    assert np.array_equal(np.load(precious), np.arange(9))


def test_a_state_of_another_search_is_not_removed(
    points: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "search"
    interrupted(points, path, 0.5, precision="float32", block_rows=50)
    monkeypatch.setattr(checkpoint, "_EVERY", 1e9)
    cpu.nearest(points, 3, checkpoint=path)
    assert path.exists()


def test_rows_that_climb_find_the_first_rung_done(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    tight = rng.normal(size=(400, 4)) * 1e-6
    x = cloud(np.vstack([tight, 1 + tight, rng.normal(size=(1200, 4)) * 30]))
    path = tmp_path / "search"
    options = {"precision": "float32", "block_rows": 100}
    want = cpu.nearest(x, 2, **options)  # type: ignore[arg-type]
    assert set(want[2].counts()) == {"float32", "float64"}
    honest = cpu._Search._some

    def killed(*a: object) -> None:
        raise Killed

    monkeypatch.setattr(cpu._Search, "_some", killed)
    with pytest.raises(Killed):
        cpu.nearest(x, 2, checkpoint=path, **options)  # type: ignore[arg-type]
    monkeypatch.setattr(cpu._Search, "_some", honest)
    monkeypatch.setattr(Pass, "step", lambda *a: pytest.fail("the first rung was done"))
    got = cpu.nearest(x, 2, checkpoint=path, **options)  # type: ignore[arg-type]
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])
    assert not path.exists()


KILLED = """
import sys, numpy as np
from hiddenscape.kernels import checkpoint
checkpoint._EVERY = 0.0
import hiddenscape as hs
x = np.random.default_rng(0).normal(size=(3000, 200)).astype("f4")
hs.find_neighbors(x, k=5, block_rows=50, precision="float32", checkpoint=sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill outright")
def test_killed_outright(tmp_path: Path) -> None:
    import hiddenscape as hs

    path = tmp_path / "search"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], env=os.environ.copy())
    for _ in range(2400):
        if path.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert path.exists()
    x = np.random.default_rng(0).normal(size=(3000, 200)).astype("f4")
    seen: list[int] = []
    options = {"k": 5, "block_rows": 50, "precision": "float32"}
    got = hs.find_neighbors(x, checkpoint=path, progress=lambda a, _: seen.append(a), **options)
    assert seen[0] > 3000 // 60  # the first step was not made again
    want = hs.find_neighbors(x, **options)
    assert np.array_equal(got.indices, want.indices)
    assert np.array_equal(got.distances, want.distances)
