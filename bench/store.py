"""Opening and reading a store of many files, beside plain reads of the same bytes.

    python bench/store.py [--shards 245] [--sites 12] [--rows 128] [--width 512] [--json FILE]

Goals: a store of 245 files opens in at most half a second; one site of twelve is read at no less
than half the speed of a plain read. `plain` is `numpy.fromfile` of one file with the points of that
site; `files` the same from one file per shard. Cold: the pages of the files were dropped before
(posix_fadvise; needs no rights). Reads take turns; medians count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hiddenscape.store.arrays import SiteArray
from hiddenscape.store.manifest import Manifest, site_entry
from hiddenscape.store.reader import open_store
from hiddenscape.store.writer import StoreWriter
from hiddenscape.types import Site


def make(folder: Path, shards: int, sites: int, rows: int, width: int) -> float:
    """Write the store and the plain files; seconds that the store took."""
    entries = [
        site_entry(Site(f"resid_post.{b}", depth=b + 1, block=b, pooling="mean"), (width,))
        for b in range(sites)
    ]
    manifest = Manifest.create(sites=entries, rows=shards * rows, shard_rows=rows)
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    writer = StoreWriter(folder / "acts", manifest)
    plain = (folder / "plain.bin").open("wb")
    (folder / "files").mkdir()
    with plain:
        for number, (start, stop) in enumerate(writer.missing()):
            points = {
                key: rng.standard_normal((rows, width), dtype=np.float32)
                for key in manifest.entries
            }
            writer.commit(start, stop, points)
            chosen = points[f"resid_post.{sites // 2}@mean"].tobytes()
            plain.write(chosen)
            (folder / "files" / f"{number:05d}.bin").write_bytes(chosen)
        plain.flush()
        os.fsync(plain.fileno())
    return time.perf_counter() - began


def drop(folder: Path) -> None:
    """Give the pages of every file back to the system, so that the next read is from the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=245)
    parser.add_argument("--sites", type=int, default=12)
    parser.add_argument("--rows", type=int, default=128, help="rows per shard")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make(folder, args.shards, args.sites, args.rows, args.width)
        record = measure(folder, args)
    record |= {
        "shards": args.shards,
        "sites": args.sites,
        "site_mb": round(args.shards * args.rows * args.width * 4 / 1e6, 1),
        "write_seconds": round(made, 2),
        "repeats": args.repeats,
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    print(json.dumps(record, indent=1, sort_keys=True))
    if args.json:
        args.json.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def measure(folder: Path, args: argparse.Namespace) -> dict[str, object]:
    key = f"resid_post.{args.sites // 2}@mean"
    total = args.shards * args.rows
    files = sorted((folder / "files").iterdir())

    opened: list[SiteArray] = []

    def prepare() -> None:
        opened[:] = [open_store(folder / "acts").points(key)]  # nothing mapped yet

    def whole() -> np.ndarray:
        return np.asarray(opened[0])

    def blocks() -> float:
        points = opened[0]
        return float(sum(block[0, 0] + block[-1, -1] for block in points.blocks(1024)))

    def plain() -> np.ndarray:
        return np.fromfile(folder / "plain.bin", np.float32).reshape(total, args.width)

    def by_file() -> np.ndarray:
        out = np.empty((total, args.width), np.float32)
        for i, file in enumerate(files):
            out[i * args.rows : (i + 1) * args.rows] = np.fromfile(file, np.float32).reshape(
                args.rows, args.width
            )
        return out

    prepare()
    assert np.array_equal(whole(), plain())
    kinds: dict[str, Callable[[], object]] = {
        "open": lambda: open_store(folder / "acts"),
        "site": whole,
        "site_blocks": blocks,
        "plain": plain,
        "files": by_file,
    }
    found: dict[str, dict[str, float]] = {}
    for state in ("warm", "cold"):
        times: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(args.repeats):
            for name, work in kinds.items():
                prepare()
                if state == "cold":
                    drop(folder)
                times[name].append(seconds(work))
        found[state] = {name: round(statistics.median(t), 4) for name, t in times.items()}
    return {
        "seconds": found,
        "speed_of_plain": {state: round(t["plain"] / t["site"], 3) for state, t in found.items()},
        "speed_of_files": {state: round(t["files"] / t["site"], 3) for state, t in found.items()},
    }


if __name__ == "__main__":
    main()
