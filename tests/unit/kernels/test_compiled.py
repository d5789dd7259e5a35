"""The compiled distance has the bits of numpy's pairwise sum."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hiddenscape.kernels import compiled
from hiddenscape.kernels.arrays import cloud, pair_distances
from hiddenscape.kernels.compiled import distances_from, fill_squares, forks

WIDTHS = (*range(1, 20), *range(120, 150), 255, 256, 257, 1000, 1024, 4099, 20_000)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_of_the_pairwise_sum(dtype: type, rng: np.random.Generator) -> None:
    for d in WIDTHS:
        x = (rng.normal(size=(6, d)) * rng.lognormal(size=d)).astype(dtype)
        i, j = rng.integers(0, 6, 9), rng.integers(0, 6, 9)
        difference = x[i].astype(np.float64) - x[j]
        want = np.add.reduce(difference * difference, axis=1)
        found = np.empty(9)
        points = cloud(x)
        fill_squares(points.compiled()[0], i, j, found)
        assert np.array_equal(found, want), d
        assert np.array_equal(pair_distances(points, i, j), np.sqrt(want)), d


@pytest.mark.parametrize("count", range(10))
def test_pairs_side_by_side_do_not_touch_each_other(count: int, rng: np.random.Generator) -> None:
    points = cloud(rng.normal(size=(12, 300)))
    rows = rng.integers(0, 12, 9)
    found = np.full(12, -1.0)
    distances_from(*points.compiled(), 5, rows, count, forks(), found)
    alone = [pair_distances(points, np.array([5]), rows[t : t + 1])[0] for t in range(count)]
    assert found.tolist() == [*alone, *[-1.0] * (12 - count)]


def test_distances_where_squares_underflow(rng: np.random.Generator) -> None:
    x = rng.normal(size=(5, 300)) * 1e-300
    i, j = np.array([0, 1, 2, 3]), np.array([1, 2, 2, 4])
    found = pair_distances(cloud(np.vstack([x, np.ones((1, 300))])), i, j)
    want = pair_distances(cloud(x * 2.0**900), i, j) / 2.0**900
    assert np.allclose(found, want, rtol=1e-14, atol=0)
    assert found[2] == 0


def test_one_unit_in_the_last_place_is_seen() -> None:
    x = np.ones((2, 200))
    x[1, 77] = np.nextafter(1, 2)
    assert pair_distances(cloud(x), np.array([0]), np.array([1]))[0] == 2.0**-52


STALE = """
import importlib.util, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import kernels.two
print(kernels.two.twice(3))
"""


def test_code_kept_on_disk_follows_what_it_calls(tmp_path: Path) -> None:
    """A function is compiled anew when a file changes that it only calls into."""
    home = tmp_path / "kernels"
    home.mkdir()
    (home / "__init__.py").touch()
    (home / "compiled.py").write_text(Path(compiled.__file__).read_text())
    (home / "two.py").write_text(
        "from kernels.compiled import jit\nfrom kernels.one import one\n"
        "@jit\ndef twice(x):\n    return one(x) * 2\n"
    )
    found = []
    for body in ("x", "x", "-x"):
        (home / "one.py").write_text(
            f"from kernels.compiled import jit\n@jit\ndef one(x):\n    return {body}\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", STALE, str(tmp_path)], capture_output=True, text=True, check=True
        )
        found.append(done.stdout.strip())
    assert found == ["6", "6", "-6"]
    assert list(home.rglob("*.nbi"))
