"""Densities and peaks beside DADApy in one run, memory, and how near they come to the truth.

    python bench/density.py --dadapy-python PYTHON [--only speed memory truth clusters]
                            [--rows 20000] [--repeats 5] [--quick] [--threads N] [--out FILE]

``speed``: k*, PAk and ADP on the same points with neighbours found beforehand, in turns (ours,
DADApy, ours, DADApy, ...); medians and ratios, each and together. ``memory``: peaks of processes
of their own. ``truth`` and ``clusters`` need ``--data``, the folder of DADApy's example data sets
(Fig1.dat, gt_F1.txt, 6d_double_well.txt, ...). Every entry is written to the record as soon as it
is measured. bench/README.md says what to install.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "bench" / "results" / "density.json"
SECTIONS = ("speed", "memory", "truth", "clusters")
STEPS = ("k_star", "pak", "adp")
K = 100
LIMIT_MIB = 3 * 10**9 / 2**20


def speed(options: argparse.Namespace, record: Any, run: dict[str, str]) -> None:
    """k*, PAk and ADP, ours and DADApy's, on one set of points at a time."""
    import numpy as np
    from peers.clouds import landscape, summary

    for name in ("planar", "sheet"):
        x, d = landscape(name, options.rows, options.data)
        title(f"{name}: n = {len(x)}, D = {x.shape[1]}, d = {d}, k = {K}")
        steps = Steps(x, d)
        steps.run()  # compiles
        with tempfile.TemporaryDirectory() as folder:
            peer = Peer(options, folder, x, d)
            times: dict[str, list[dict[str, float]]] = {"hiddenscape": [], "dadapy": []}
            for _ in range(options.repeats):
                times["hiddenscape"].append(steps.run())
                if peer.worker is not None:
                    times["dadapy"].append(peer.run())
            found: dict[str, Any] = {}
            for who, rounds in times.items():
                for step in (*STEPS, "together") if rounds else ():
                    seconds = [sum(r[s] for s in STEPS) if step == "together" else r[step]
                               for r in rounds]  # fmt: skip
                    found.setdefault(who, {})[step] = summary(seconds)
            entry = {"contenders": found, "clusters": {"hiddenscape": steps.clusters.n_clusters}}
            if peer.worker is not None:
                ours, theirs = found["hiddenscape"], found["dadapy"]
                entry["ratios"] = {
                    s: round(ours[s]["median"] / theirs[s]["median"], 4) for s in ours
                }
                answer = peer.answer()
                entry["clusters"]["dadapy"] = int(answer["labels"].max()) + 1
                entry["agreement"] = {
                    "k_star_equal": float(np.mean(answer["k_star"] == steps.size.k)),
                    "pak_worst": float(np.abs(answer["pak"] - steps.density.values).max()),
                }
            for key, value in entry.items():
                print(f"  {key}: {json.dumps(value)}", flush=True)
            record.put("speed", {"data": name, "n": len(x), "D": x.shape[1], "k": K}, entry | run)


class Steps:
    """Our functions, timed one by one on a graph that is made before."""

    def __init__(self, x: Any, d: float) -> None:
        import hiddenscape as hs

        self.x, self.d, self.graph = x, d, hs.find_neighbors(x, k=K)

    def run(self) -> dict[str, float]:
        import hiddenscape as hs

        seconds = {}
        start = time.perf_counter()
        self.size = hs.k_star(self.graph, dimension=self.d)
        seconds["k_star"], start = time.perf_counter() - start, time.perf_counter()
        self.density = hs.pak_density(self.graph, dimension=self.d, k=self.size)
        seconds["pak"], start = time.perf_counter() - start, time.perf_counter()
        self.clusters = hs.adp(self.graph, self.density, points=self.x)
        seconds["adp"] = time.perf_counter() - start
        return seconds


class Peer:
    """DADApy in its own interpreter, which keeps its neighbours between rounds."""

    def __init__(self, options: argparse.Namespace, folder: str, x: Any, d: float) -> None:
        import numpy as np
        from peers.contenders import Worker

        self.worker, self.folder = None, Path(folder)
        if not options.dadapy_python:
            print("dadapy takes no part: give --dadapy-python")
            return
        np.save(self.folder / "x.npy", x)
        self.worker = Worker(options.dadapy_python)
        self.request = {"points": f"{folder}/x.npy", "k": K, "d": d, "out": folder}
        self.worker.ask(work="prepare", threads=options.threads, **self.request)

    def run(self) -> dict[str, float]:
        assert self.worker is not None
        return self.worker.ask(work="landscape", **self.request)

    def answer(self) -> dict[str, Any]:
        import numpy as np

        return {name: np.load(self.folder / f"{name}.npy") for name in ("k_star", "pak", "labels")}


def memory(options: argparse.Namespace, record: Any, run: dict[str, str]) -> None:
    """Resident peaks: everything at n = 100,000, and BMTI where columns are many."""
    wanted = (
        [("landscape", 5_000, 64), ("bmti", 1_000, 512)]
        if options.quick
        else [("landscape", 100_000, 64), ("bmti", 10_000, 4096)]
    )
    for work, n, d in wanted:
        title(f"memory of {work}, n = {n}, D = {d}, k = {K}")
        with tempfile.TemporaryDirectory() as folder:
            request = {"work": work, "n": n, "D": d, "file": f"{folder}/x.npy"}
            child(options, request | {"work": "points"})
            entry = child(options, request)
        entry["within_3_gb"] = entry["peak_mib"] < LIMIT_MIB
        print(f"  {json.dumps(entry)}", flush=True)
        record.put("memory", {"work": work, "n": n, "D": d, "k": K}, entry | run)


def truth(options: argparse.Namespace, record: Any, run: dict[str, str]) -> None:
    """Log densities and gradients of the double well in six dimensions, ours and DADApy's."""
    import numpy as np

    import hiddenscape as hs

    step = 6 if options.quick else 1
    x = np.loadtxt(options.data / "6d_double_well.txt")[::step]
    exact = np.loadtxt(options.data / "6d_double_well_logdensities_and_grads.txt")[::step]
    title(f"double well, n = {len(x)}, d = 6, k = {K}")
    graph = hs.find_neighbors(x, k=K)
    size = hs.k_star(graph, dimension=6)
    ours = {
        "knn, k = 10": hs.knn_density(graph, dimension=6, k=10),
        "kstar": hs.kstar_density(graph, dimension=6, k=size),
        "pak": hs.pak_density(graph, dimension=6, k=size),
        "bmti": hs.bmti_density(graph, x, dimension=6, k=size),
        "bmti identity": hs.bmti_density(graph, x, dimension=6, k=size, weights="identity"),
        "bmti 0.99 published": hs.bmti_density(
            graph, x, dimension=6, k=size, alpha=0.99, variance="published"
        ),
    }
    found = {name: error_of(f.values, exact[:, 0], f.stderr) for name, f in ours.items()}
    slopes = hs.density_gradients(graph, x, dimension=6, k=size)
    gap = slopes.values - exact[:, 1:]
    gradients = {
        "mean_absolute_error": float(np.abs(gap).mean()),
        "relative_error": float(np.linalg.norm(gap) / np.linalg.norm(exact[:, 1:])),
        "z_rms": float(np.sqrt(np.mean((gap / slopes.stderr) ** 2))),
    }
    entry: dict[str, Any] = {"hiddenscape": found, "gradients": gradients}
    if options.dadapy_python:
        with tempfile.TemporaryDirectory() as folder:
            peer = Peer(options, folder, x, 6.0)
            assert peer.worker is not None
            seconds = peer.worker.ask(work="bmti", **peer.request)
            peer.run()
            entry["dadapy"] = {
                "pak": error_of(np.load(f"{folder}/pak.npy"), exact[:, 0]),
                "bmti": error_of(np.load(f"{folder}/bmti.npy"), exact[:, 0]) | seconds,
            }
    for key, value in entry.items():
        print(f"  {key}: {json.dumps(value)}", flush=True)
    record.put("truth", {"data": "6d double well", "n": len(x), "d": 6, "k": K}, entry | run)


def error_of(values: Any, exact: Any, stderr: Any = None) -> dict[str, float]:
    """Mean absolute error once the constant that the exact values lack is taken out."""
    import numpy as np

    gap = values - exact
    gap = gap - np.median(gap)
    found = {"mean_absolute_error": float(np.abs(gap).mean())}
    if stderr is not None:
        found["z_rms"] = float(np.sqrt(np.mean((gap / stderr) ** 2)))
    return found


def clusters(options: argparse.Namespace, record: Any, run: dict[str, str]) -> None:
    """ADP against planted clusters, over a scan of Z."""
    import numpy as np

    import hiddenscape as hs

    for number in (1, 2):
        step = 4 if options.quick else 1
        x = np.loadtxt(options.data / f"Fig{number}.dat")[::step]
        planted = np.loadtxt(options.data / f"gt_F{number}.txt").astype(int)[::step]
        title(f"Fig{number}, n = {len(x)}, planted clusters: {planted.max() + 1}")
        graph = hs.find_neighbors(x, k=K)
        density = hs.pak_density(graph, dimension=hs.two_nn(graph).value)
        scan = []
        for z in (0.5, 1.0, 1.65, 2.0, 2.5, 3.0, 4.0, 6.0):
            found = hs.adp(graph, density, z=z, points=x)
            inside = planted >= 0
            planted_only = hs.label_agreement(found.labels[inside], planted[inside])
            scan.append({
                "z": z, "clusters": found.n_clusters, "core_fraction": found.core_fraction,
                "ari_of_planted": planted_only["ari"].value,
                "ari_without_halo": hs.label_agreement(found, planted, halo="drop")["ari"].value,
            })  # fmt: skip
            print(f"  {json.dumps(scan[-1])}", flush=True)
        entry = {"dimension": density.dimension, "planted": int(planted.max()) + 1, "scan": scan}
        record.put("clusters", {"data": f"Fig{number}", "n": len(x), "k": K}, entry | run)


def child(options: argparse.Namespace, request: dict[str, Any]) -> dict[str, Any]:
    """One measurement in a process of its own, so that its peak of memory is its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(request)]
    done = subprocess.run(
        [*command, "--threads", str(options.threads)], stdout=subprocess.PIPE, text=True, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def in_child(request: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    from peers.clouds import points

    import hiddenscape as hs

    if request["work"] == "points":
        np.save(request["file"], points("sheet", request["n"], request["D"]))
        return {}
    from peers.machine import Memory

    x = np.load(request["file"], mmap_mode="r")
    seconds = {}
    with Memory() as used:
        start = time.perf_counter()
        graph = hs.find_neighbors(x, k=K)
        seconds["graph"], start = time.perf_counter() - start, time.perf_counter()
        d = hs.two_nn(graph).value
        size = hs.k_star(graph, dimension=d)
        if request["work"] == "bmti":
            density = hs.bmti_density(graph, x, dimension=d, k=size)
            seconds["bmti"] = time.perf_counter() - start
        else:
            density = hs.pak_density(graph, dimension=d, k=size)
            seconds["density"], start = time.perf_counter() - start, time.perf_counter()
            hs.adp(graph, density, points=x)
            seconds["adp"] = time.perf_counter() - start
    rounded = {name: round(s, 2) for name, s in seconds.items()}
    about = {"dimension": round(d, 2), "median_k_star": float(np.median(density.k))}
    return used.record() | about | {"seconds": rounded}


def title(text: str) -> None:
    print(f"\n{text}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rows", type=int, default=20_000)
    add("--repeats", type=int, default=5)
    add("--quick", action="store_true", help="small sizes, for a trial: give --out")
    add("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--dadapy-python", default=os.environ.get("DADAPY_PYTHON", ""))
    add("--data", type=Path, help="the folder of DADApy's example data sets")
    add("--out", type=Path, default=RECORD)
    add("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.rows, options.repeats = min(options.rows, 3000), min(options.repeats, 2)
    return options


def main() -> None:
    options = arguments()
    # Read by every pool of threads when it is first loaded, so before anything is imported.
    for pool in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        os.environ[f"{pool}_NUM_THREADS"] = str(options.threads)
    if options.child:
        print(json.dumps(in_child(json.loads(options.child))))
        return
    from peers import machine
    from peers.record import Record

    record = Record(options.out, machine.describe(options.threads))
    run = {"commit": machine.commit(ROOT), "date": time.strftime("%Y-%m-%d")}
    work = {"speed": speed, "memory": memory, "truth": truth, "clusters": clusters}
    for section in SECTIONS:
        if section in options.only and (options.data or section not in ("truth", "clusters")):
            work[section](options, record, run)
        elif section in options.only:
            print(f"{section} is left out: give --data")


if __name__ == "__main__":
    main()
