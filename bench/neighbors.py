"""The neighbour engine beside its peers, in one run: times, memory, growth, agreement, roofline.

    python bench/neighbors.py [--rows 20000] [--dims 1024 4096] [--k 30 100] [--repeats 5]
                              [--only rates graph ...] [--peers faiss torch ...]
                              [--dadapy-python PYTHON] [--threads N] [--out FILE]
    python bench/neighbors.py --draw

Contenders take turns (A, B, C, A, B, C, ...), so that a drift of the machine meets them all. Every
entry is written to the record as soon as it is measured; the same entry measured again replaces it.
``--draw`` measures nothing: it fills the tables and draws the picture of docs/performance.md from
the record. bench/README.md says what to install.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from peers.record import Record

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "bench" / "results" / "neighbors.json"
SECTIONS = ("rates", "graph", "agreement", "memory", "growth", "imbalance")
NAMES = ("hiddenscape", "hiddenscape float32", "faiss", "scikit-learn", "torch", "dadapy")
OURS = "hiddenscape"
WARM_ROWS = 3000
PILOT_ROWS = 256


def graphs(options: argparse.Namespace, record: Record, run: dict[str, str]) -> None:
    """Times of the whole graph, and of the same run's lists how far they are from the truth."""
    from peers.clouds import agreement, points, summary, verified

    for kind in options.data:
        for d in options.dims:
            x = points(kind, options.rows, d)
            for k in options.k:
                title(f"graph of {kind}, n = {len(x)}, D = {d}, k = {k}")
                times, last, queries = take_turns(options, x, k)
                truth = last[OURS].distances if OURS in last else None
                found: dict[str, Any] = {}
                for name, seconds in times.items():
                    entry = summary(seconds) | {"queries": queries[name]} | last[name].extra
                    entry["cores_used"] = round(last[name].cpu_seconds / last[name].seconds, 2)
                    entry["extrapolated"] = queries[name] < len(x)
                    if truth is not None and name == OURS:
                        entry["rows_verified"] = verified(x, last[name].indices, truth)
                    elif truth is not None:
                        r = last[name]
                        entry["agreement"] = agreement(x, k, truth, r.indices, r.distances)
                    found[name] = entry
                    show(name, entry, found.get(OURS))
                key = {"data": kind, "n": len(x), "d": d, "k": k}
                record.put("graph", key, {"contenders": found, **run})


def take_turns(
    options: argparse.Namespace, x: Any, k: int
) -> tuple[dict[str, list[float]], dict[str, Any], dict[str, int]]:
    """Seconds of every contender in every round (for all rows), last results, rows asked."""
    queries = {}
    for c in options.contenders:
        c.run(x[: max(WARM_ROWS, 2 * k)], k, min(len(x), max(WARM_ROWS, 2 * k)))
        queries[c.name] = len(x)
        if c.part:
            pilot = min(len(x), PILOT_ROWS)
            expected = c.run(x, k, pilot).seconds * len(x) / pilot
            if expected > options.budget:
                asked = int(len(x) * options.budget / expected)
                queries[c.name] = min(len(x), max(pilot, asked))
    times: dict[str, list[float]] = {c.name: [] for c in options.contenders}
    last = {}
    for _ in range(options.repeats):
        for c in options.contenders:
            last[c.name] = c.run(x, k, queries[c.name])
            times[c.name].append(last[c.name].seconds * len(x) / queries[c.name])
    return times, last, queries


def agreements(options: argparse.Namespace, record: Record, run: dict[str, str]) -> None:
    """What a common offset does to the peers: points 300 standard deviations off the origin."""
    from peers.clouds import agreement, points, verified

    n, d, k = min(options.rows, 5000), options.dims[0], options.k[0]
    for kind in ("gaussian", "offset"):
        title(f"agreement on {kind}, n = {n}, D = {d}, k = {k}")
        x = points(kind, n, d)
        results = {c.name: c.run(x, k, n) for c in options.contenders}
        if OURS not in results:
            print("agreement needs hiddenscape among the contenders")
            return
        truth = results[OURS].distances
        found: dict[str, Any] = {}
        for name, r in results.items():
            found[name] = agreement(x, k, truth, r.indices, r.distances)
            print(f"  {name:20s} {found[name]}")
        found[OURS]["rows_verified"] = verified(x, results[OURS].indices, truth)
        record.put(
            "agreement", {"data": kind, "n": n, "d": d, "k": k}, {"contenders": found, **run}
        )


def memories(options: argparse.Namespace, record: Record, run: dict[str, str]) -> None:
    """Peak memory of every contender, each in a process of its own."""
    import numpy as np
    from peers.clouds import points

    n, d, k = options.rows, options.dims[0], options.k[0]
    title(f"memory, n = {n}, D = {d}, k = {k}")
    x = points("sheet", n, d)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", x)
        for c in options.contenders:
            if c.name == "dadapy":
                found[c.name] = c.memory(x, k)
            else:
                request = {"work": "graph", "contender": c.name, "points": f"{folder}/x.npy"}
                found[c.name] = child(options, request | {"k": k})
            print(f"  {c.name:20s} {found[c.name]}", flush=True)
    key = {"data": "sheet", "n": n, "d": d, "k": k}
    entry = {"points_mib": x.nbytes / 2**20, "contenders": found, **run}
    record.put("memory", key, entry)


def growth(options: argparse.Namespace, record: Record, run: dict[str, str]) -> None:
    """From n to 2 n: time in turns, memory in processes of their own."""
    import numpy as np
    from peers.clouds import points, summary

    d, k = options.dims[0], options.k[0]
    sizes = [options.rows // 2, options.rows]
    title(f"growth, n = {sizes[0]} to {sizes[1]}, D = {d}, k = {k}")
    clouds = {n: points("sheet", n, d) for n in sizes}
    for c in options.contenders:
        if not c.name.startswith(OURS):
            continue
        seconds: dict[int, list[float]] = {n: [] for n in sizes}
        c.run(clouds[sizes[0]][:WARM_ROWS], k, WARM_ROWS)
        for _ in range(options.repeats):
            for n in sizes:
                seconds[n].append(c.run(clouds[n], k, n).seconds)
        memory = {}
        with tempfile.TemporaryDirectory() as folder:
            for n in sizes:
                np.save(f"{folder}/x.npy", clouds[n])
                request = {"work": "graph", "contender": c.name, "points": f"{folder}/x.npy"}
                memory[n] = child(options, request | {"k": k})
        small, large = (summary(seconds[n]) for n in sizes)
        entry = {
            "time": {str(sizes[0]): small, str(sizes[1]): large},
            "memory": {str(n): memory[n] for n in sizes},
            "time_ratio": round(large["median"] / small["median"], 3),
            "peak_ratio": round(memory[sizes[1]]["peak_mib"] / memory[sizes[0]]["peak_mib"], 3),
            "working_ratio": round(
                memory[sizes[1]]["working_mib"] / max(1e-9, memory[sizes[0]]["working_mib"]), 3
            ),
        }
        print(f"  {c.name:20s} {entry}", flush=True)
        record.put("growth", {"contender": c.name, "n": sizes[0], "d": d, "k": k}, entry | run)


def imbalances(options: argparse.Namespace, record: Record, run: dict[str, str]) -> None:
    """All pairs of sites by ours, one pair by DADApy, which is multiplied and said to be."""
    import numpy as np
    from peers.clouds import points, summary

    n, d, sites = options.imbalance_rows, options.dims[0], options.sites
    title(f"imbalance, {sites} x {sites} sites, n = {n}, D = {d}")
    dadapy = next((c for c in options.contenders if c.name == "dadapy"), None)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{i}.npy" for i in range(sites)]
        for i, file in enumerate(files):
            np.save(file, points("sheet", n, d, seed=i))
        for _ in range(options.repeats):
            ours.append(child(options, {"work": "imbalance", "sites": files, "k": 1}))
            print(f"  {OURS:20s} {ours[-1]}", flush=True)
            if dadapy is not None:
                theirs.append(dadapy.imbalance(np.load(files[0]), np.load(files[1]), 1))
                print(f"  {'dadapy, one pair':20s} {theirs[-1]}", flush=True)
    entry: dict[str, Any] = {
        OURS: summary([r["seconds"] for r in ours])
        | {k: max(r[k] for r in ours) for k in ours[0] if k.endswith("_mib")}
        | {"values": ours[-1]["values"]}
    }
    if theirs:
        pairs = sites * (sites - 1) // 2
        one = summary([r["pair_seconds"] for r in theirs])
        # The least its own functions allow: every search once, then the ranks of every pair.
        least = [sites * r["search_seconds"] + 2 * pairs * r["rank_seconds"] for r in theirs]
        entry["dadapy"] = {
            "one_pair": one,
            "extrapolated": {"pairs": pairs, "seconds": round(pairs * one["median"], 2)},
            "least": {"seconds": round(float(np.median(least)), 2)},
            "peak_mib": max(r["peak_mib"] for r in theirs),
            "values": theirs[-1]["values"],
        }
    key = {"data": "sheet", "sites": sites, "n": n, "d": d, "k": 1}
    record.put("imbalance", key, entry | run)


def rates(options: argparse.Namespace, record: Record, run: dict[str, str]) -> None:
    """How fast this machine multiplies matrices and moves memory, in the same run."""
    from peers import machine

    title("rates of matrix products")
    found = machine.rates(options.dims, options.repeats, options.threads)
    for rate in found:
        print("  {arithmetic:18s} ({m}, {d}) x ({d}, {n}): {gflops:9.1f} Gflop/s".format(**rate))
    moved = round(machine.bandwidth(options.repeats), 2)
    print(f"  memory, written once and read once: {moved} GB/s")
    record.put("rates", {"dims": options.dims}, {"products": found, "gb_per_s": moved, **run})


def child(options: argparse.Namespace, request: dict[str, Any]) -> dict[str, Any]:
    """One measurement in a process of its own, so that its peak of memory is its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(request)]
    done = subprocess.run(
        [*command, "--threads", str(options.threads)], stdout=subprocess.PIPE, text=True, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def in_child(request: dict[str, Any], threads: int) -> dict[str, Any]:
    import numpy as np
    from peers.contenders import contenders
    from peers.machine import Memory

    if request["work"] == "imbalance":
        import hiddenscape as hs

        sites = [np.load(file, mmap_mode="r") for file in request["sites"]]
        hs.information_imbalance_matrix([s[:500] for s in sites[:2]], k=request["k"])
        start = time.perf_counter()
        with Memory() as memory:
            matrix = hs.information_imbalance_matrix(sites, k=request["k"])
        values = [float(matrix.values[0, 1]), float(matrix.values[1, 0])]
        return memory.record() | {"seconds": time.perf_counter() - start, "values": values}
    (contender,) = contenders([request["contender"]], threads, "")
    x, k = np.load(request["points"]), request["k"]
    contender.run(x[: 4 * k], k, 4 * k)
    with Memory() as memory:
        result = contender.run(x, k, len(x))
    return memory.record() | {"seconds": round(result.seconds, 4)}


def title(text: str) -> None:
    print(f"\n{text}", flush=True)


def show(name: str, entry: dict[str, Any], ours: dict[str, Any] | None) -> None:
    ratio = f"{entry['median'] / ours['median']:7.2f} x ours" if ours else ""
    less = f" (from {entry['queries']} rows)" if entry["extrapolated"] else ""
    rest = entry.get("agreement", entry.get("certificate", ""))
    print(f"  {name:20s} {entry['median']:10.3f} s {ratio}{less}  {rest}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rows", type=int, default=20_000)
    add("--dims", type=int, nargs="+", default=[1024, 4096])
    add("--k", type=int, nargs="+", default=[30, 100])
    add("--data", nargs="+", choices=("sheet", "gaussian", "offset"), default=["sheet", "gaussian"])
    add("--repeats", type=int, default=5)
    add("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    add("--peers", nargs="*", choices=NAMES[2:], default=list(NAMES[2:]))
    add("--sites", type=int, default=13, help="sites of the imbalance matrix")
    add("--imbalance-rows", type=int, default=10_000)
    add("--budget", type=float, default=240, help="seconds a peer may take before rows are cut")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--dadapy-python", default=os.environ.get("DADAPY_PYTHON", ""))
    add("--out", type=Path, default=RECORD)
    add("--draw", action="store_true", help="fill docs/performance.md from the record")
    add("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def taking_part(options: argparse.Namespace) -> Iterator[Any]:
    from peers.contenders import contenders

    wanted = [*NAMES[:2], *options.peers]
    for c in contenders(wanted, options.threads, options.dadapy_python):
        if c.missing:
            print(f"{c.name} takes no part: {c.missing}")
        else:
            yield c


def main() -> None:
    options = arguments()
    # Read by every pool of threads when it is first loaded, so before anything is imported.
    for pool in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        os.environ[f"{pool}_NUM_THREADS"] = str(options.threads)
    if options.child:
        print(json.dumps(in_child(json.loads(options.child), options.threads)))
        return
    if options.draw:
        from peers.pages import draw

        draw(json.loads(options.out.read_text(encoding="utf-8")), ROOT / "docs")
        return
    from peers import machine

    options.contenders = list(taking_part(options))
    about = machine.describe(options.threads)
    apart = next((c for c in options.contenders if c.name == "dadapy"), None)
    if apart:
        about["dadapy_environment"] = apart.versions
    record = Record(options.out, about)
    run = {"commit": machine.commit(ROOT), "date": time.strftime("%Y-%m-%d")}
    work: dict[str, Callable[[argparse.Namespace, Record, dict[str, str]], None]] = {
        "rates": rates,
        "graph": graphs,
        "agreement": agreements,
        "memory": memories,
        "growth": growth,
        "imbalance": imbalances,
    }
    for section in SECTIONS:
        if section in options.only:
            work[section](options, record, run)


if __name__ == "__main__":
    main()
