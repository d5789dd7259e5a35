"""What the machine is, how fast it multiplies matrices, and how much memory a process takes."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

UNITS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")
PACKAGES = ("numpy", "numba", "torch", "faiss-cpu", "scikit-learn", "scipy", "dadapy")


def describe(threads: int) -> dict[str, Any]:
    """Processor, units, cores, memory, versions: what a reader needs to judge the numbers."""
    info = _proc("/proc/cpuinfo")
    flags = set(info.get("flags", "").split())
    memory = int(_proc("/proc/meminfo").get("MemTotal", "0 kB").split()[0])
    return {
        "processor": info.get("model name", platform.processor()),
        "family_model": [info.get("cpu family"), info.get("model")],
        "units": [u for u in UNITS if u in flags],
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "memory_gib": round(memory / 2**20, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {p: v for p in PACKAGES if (v := _version(p))},
    }


def commit(root: Path) -> str:
    """The commit that was measured, with ``+changes`` where files differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "src")
    return git("rev-parse", "--short", "HEAD") + ("+changes" if changed else "")


def rates(dims: list[int], repeats: int, threads: int) -> list[dict[str, Any]]:
    """Matrix-product rates in Gflop/s at the shapes a blocked search uses: (m, D) times (D, n)."""
    import torch

    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    out = []
    for d in dims:
        for m, n in ((256, 4096), (1024, 4096), (2048, 2048)):
            x = rng.normal(size=(m, d)).astype(np.float32)
            y = rng.normal(size=(n, d)).astype(np.float32)
            for arithmetic, multiply in _products(x, y):
                seconds = _best(multiply, repeats)
                gflops = 2 * m * n * d / seconds / 1e9
                out.append(
                    {
                        "arithmetic": arithmetic,
                        "m": m,
                        "n": n,
                        "d": d,
                        "gflops": round(gflops, 2),
                    }
                )
    return out


def _products(x: np.ndarray, y: np.ndarray) -> list[tuple[str, Callable[[], object]]]:
    import torch

    out = np.zeros((len(x), len(y)), np.float32)
    x64, y64, out64 = x.astype(np.float64), y.astype(np.float64), out.astype(np.float64)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    bx, by = tx.bfloat16(), ty.bfloat16()
    return [
        ("float32", lambda: np.matmul(x, y.T, out=out)),
        ("float32 (torch)", lambda: tx @ ty.T),
        ("float64", lambda: np.matmul(x64, y64.T, out=out64)),
        ("bfloat16 (torch)", lambda: bx @ by.T),
    ]


def bandwidth(repeats: int) -> float:
    """GB/s of writing a large float32 array once and reading it once, one thread per core."""
    from concurrent.futures import ThreadPoolExecutor

    workers = len(os.sched_getaffinity(0))
    asked = os.environ.get("OMP_NUM_THREADS", "")
    workers = min(workers, int(asked)) if asked.isdecimal() else workers
    parts = [np.ones(1 << 25, np.float32) for _ in range(workers)]

    def work(x: np.ndarray) -> None:
        x.fill(2.0)
        x.max()

    with ThreadPoolExecutor(workers) as pool:
        seconds = _best(lambda: list(pool.map(work, parts)), repeats)
    return sum(p.nbytes for p in parts) * 2 / seconds / 1e9


def _best(work: Callable[[], object], repeats: int) -> float:
    """The shortest time: a rate is what the machine can do when nothing disturbs it."""
    work()
    times = []
    for _ in range(max(3, repeats)):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


class Memory:
    """Peak resident memory of this process while a block runs, and its anonymous part.

    The resident peak is the kernel's own (reset first) and holds pages of mapped files, which the
    system may drop at any time; the anonymous part is sampled every 10 ms and holds what was
    allocated.
    """

    def __enter__(self) -> Memory:
        Path("/proc/self/clear_refs").write_text("5")
        self.before = _status("VmRSS")
        self.anonymous_before = self.anonymous = _status("RssAnon")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak = _status("VmHWM")

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.anonymous = max(self.anonymous, _status("RssAnon"))

    def record(self) -> dict[str, float]:
        return {
            "peak_mib": round(self.peak, 1),
            "working_mib": round(self.peak - self.before, 1),
            "anonymous_mib": round(self.anonymous, 1),
            "anonymous_working_mib": round(self.anonymous - self.anonymous_before, 1),
        }


def _status(field: str) -> float:
    return int(_proc("/proc/self/status")[field].split()[0]) / 1024


def _proc(path: str) -> dict[str, str]:
    """The first value of every field of a file of ``name : value`` lines."""
    out: dict[str, str] = {}
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        found = re.match(r"\s*([^:]+?)\s*:\s*(.*)", line)
        if found:
            out.setdefault(found[1], found[2])
    return out


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
