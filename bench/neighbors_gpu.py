"""The neighbour engine on a GPU, beside torch.cdist and topk in the same run.

    python bench/neighbors_gpu.py [--device cuda] [--rows 20000] [--dim 1024] [--k 30 100]
                                  [--large 1000000] [--repeats 7] [--folder DIR] [--out FILE]
    python bench/neighbors_gpu.py --device cpu --rows 400 --dim 32 --k 5 --large 1500

Measures (1) TwoNN from the points to the number, k = 2, with points on the device already and with
points in host memory; (2) the graph for every k; (3) the graph of ``--large`` rows, k = 100, from a
file that is mapped, not loaded, once as the memory of the device allows and once streamed.
Contenders take turns; the device is waited for before and after each. Every result of ours is
compared with float64 differences on a sample of rows. Exits with 2 where there is no such device;
``--device cpu`` tries the script, its times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hiddenscape as hs
from hiddenscape.kernels import gpu
from hiddenscape.kernels.arrays import Cloud, cloud, pair_distances

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "bench" / "results" / "neighbors_gpu.json"
INNER = 12  # dimension of the sheet that points lie on
CHECKED = 20  # rows whose lists are compared with all distances
BLOCK = 20_000


def sheet(path: Path, n: int, d: int) -> None:
    """A curved sheet of 12 dimensions with a little noise, written block by block."""
    r = np.random.default_rng(0)
    a, b = r.normal(size=(2, INNER, d)).astype("f4")
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    for start in range(0, n, BLOCK):
        z = r.normal(size=(min(BLOCK, n - start), INNER)).astype("f4")
        noise = r.standard_normal(size=(len(z), d), dtype=np.float32)
        out[start : start + len(z)] = np.tanh(z @ a / 4) + np.sin(z @ b / 6) + 0.01 * noise
    out.flush()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Time of one call, the device waited for; CUDA events would miss what the host does."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def turns(
    contenders: dict[str, Callable[[], object]], repeats: int, device: torch.device
) -> dict[str, Any]:
    """Medians and all times of contenders that take turns, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    failed: dict[str, str] = {}
    for turn in range(repeats + 1):
        for name, work in contenders.items():
            if name in failed:
                continue
            try:
                taken = seconds(work, device)
            except torch.OutOfMemoryError:
                failed[name] = "out of memory"
                continue
            if turn:
                times[name].append(taken)
    found: dict[str, Any] = {
        name: {"median_seconds": statistics.median(t), "seconds": t}
        for name, t in times.items()
        if name not in failed
    }
    return found | {name: {"error": why} for name, why in failed.items()}


def checked(points: Cloud, indices: np.ndarray, distances: np.ndarray) -> int:
    """Rows whose list was compared with all distances; raises where one differs."""
    rows = np.linspace(0, points.n - 1, CHECKED).astype(int)
    for i in rows:
        others = np.delete(np.arange(points.n), i)
        d = pair_distances(points, np.full(points.n - 1, i), others)
        order = np.lexsort((others, d))[: indices.shape[1]]
        if not (indices[i] == others[order]).all() or not (distances[i] == d[order]).all():
            raise SystemExit(f"row {i} differs from the reference: this is a bug")
    return len(rows)


def product_rate(device: torch.device) -> dict[str, float]:
    """Teraflops of square products, the roof that the search is held against."""
    size = 8192 if device.type == "cuda" else 512
    rates = {}
    for name, kind in (("bfloat16", torch.bfloat16), ("float64", torch.float64)):
        a = torch.randn((size, size), device=device, dtype=torch.float32).to(kind)
        found = turns({name: partial(torch.mm, a, a.T)}, 5, device)
        rates[name] = 2 * size**3 / found[name]["median_seconds"] / 1e12
    return rates


def cdist(x: torch.Tensor, k: int) -> Callable[[], object]:
    """What a user would write, in float32: no proof, and no distance from differences."""

    def work() -> object:
        return torch.topk(torch.cdist(x, x), k + 1, dim=1, largest=False)

    return work


def two_nn(points: Cloud, device: torch.device, resident: torch.Tensor | None) -> float:
    indices, distances, _ = gpu.nearest(points, 2, device=device, resident=resident)
    graph = hs.NeighborGraph.from_arrays(indices, distances, exact=True)
    return float(hs.two_nn(graph).value)


def middle(points: Cloud, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """TwoNN and graphs of points that fit on the device many times over."""
    x = torch.from_numpy(np.array(points.values)).to(device)
    twice: dict[str, Callable[[], object]] = {
        "TwoNN, points on the device": lambda: two_nn(points, device, x),
        "TwoNN, points on the host": lambda: two_nn(points, device, None),
        "torch.cdist + topk, points on the device": cdist(x, 2),
    }
    out: dict[str, Any] = {
        "two_nn": turns(twice, options.repeats, device) | {"value": two_nn(points, device, x)}
    }
    for k in options.k:
        indices, distances, certificate = gpu.nearest(points, k, device=device)
        contenders: dict[str, Callable[[], object]] = {
            "graph, points on the device": partial(
                gpu.nearest, points, k, device=device, resident=x
            ),
            "torch.cdist + topk, points on the device": cdist(x, k),
        }
        out[f"k = {k}"] = turns(contenders, options.repeats, device) | {
            "proven": certificate.counts(),
            "rows_checked": checked(points, indices, distances),
        }
    return out


def keep(found: list[Any], points: Cloud, k: int, device: torch.device, memory: int | None) -> None:
    found.append(gpu.nearest(points, k, device=device, memory=memory))


def large(folder: Path, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """A graph of many rows from a file, whole on the device and streamed."""
    path = folder / "large.npy"
    sheet(path, options.large, options.dim)
    points = cloud(np.load(path, mmap_mode="r"))
    k = min(100, options.large - 1)
    out: dict[str, Any] = {"rows": options.large, "k": k}
    # A third of the memory may hold points: just too little for these.
    for name, memory in (("as it fits", None), ("streamed", int(2.9 * points.values.nbytes))):
        times = []
        for _ in range(options.large_repeats):
            found: list[Any] = []
            times.append(seconds(partial(keep, found, points, k, device, memory), device))
        indices, distances, certificate = found[0]
        out[name] = {
            "median_seconds": statistics.median(times),
            "seconds": times,
            "proven": certificate.counts(),
            "rows_checked": checked(points, indices, distances),
        }
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--k", type=int, nargs="+", default=[30, 100])
    parser.add_argument("--large", type=int, default=1_000_000, help="0 leaves it out")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--large-repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where points are written, to be deleted")
    parser.add_argument("--out", type=Path, help="record; none is kept of a run on the processor")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU is at hand, nothing was measured; try the script with --device cpu")
        return 2
    on_gpu = device.type == "cuda"
    machine = {
        "device": torch.cuda.get_device_name(device) if on_gpu else platform.processor() or "cpu",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }
    record: dict[str, Any] = {"machine": machine, "rows": options.rows, "dim": options.dim}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        record["teraflops"] = product_rate(device)
        sheet(folder / "middle.npy", options.rows, options.dim)
        record |= middle(cloud(np.load(folder / "middle.npy")), options, device)
        if options.large:
            record["large"] = large(folder, options, device)
    text = json.dumps(record, indent=1)
    print(text)
    target = options.out or (RECORD if on_gpu else None)
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
