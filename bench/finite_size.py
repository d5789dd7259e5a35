"""What TwoNN and GRIDE give on average for clouds of known dimension at n rows.

    python bench/finite_size.py [--rows 250 500 ... 8000] [--budget 32000] [--out FILE]

Writes the table behind ``finite_size_correction`` (src/hiddenscape/assets/finite_size.json): mean
and standard error of the mean over fresh clouds, standard normal and uniform in the cube, for every
dimension, number of rows, and pair of ranks. Each entry spends ``--budget`` rows, at least 3
clouds. Entries that are there already stay; an entry depends on nothing but its own seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np

import hiddenscape
from hiddenscape import find_neighbors, gride, two_nn
from hiddenscape.testing.manifolds import cube, gaussian

SHAPES = {"gaussian": gaussian, "cube": cube}
DIMENSIONS = (1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 112, 160)
ROWS = (250, 500, 1000, 2000, 4000, 8000)
RANKS = (1, 2, 4, 8, 16)
OUT = Path(hiddenscape.__file__).parent / "assets" / "finite_size.json"


def entry(shape: str, d: int, rows: int, budget: int) -> dict[str, object]:
    """Mean and its error for each method, by name."""
    clouds = max(3, budget // rows)
    found: dict[str, list[float]] = {}
    for seed in range(clouds):
        points = SHAPES[shape](rows, d, seed=10_000 + seed)
        graph = find_neighbors(points, k=2 * RANKS[-1])
        found.setdefault("two_nn", []).append(two_nn(graph).value)
        for n1 in RANKS:
            found.setdefault(f"gride {n1}", []).append(gride(graph, n1).value)
    values = {
        name: [
            round(float(np.mean(v)), 5),
            round(float(np.std(v, ddof=1)) / math.sqrt(clouds), 5),
        ]
        for name, v in found.items()
    }
    return {"shape": shape, "d": d, "n": rows, "clouds": clouds, "values": values}


def write(path: Path, entries: list[dict[str, object]]) -> None:
    lines = ",\n".join(json.dumps(e) for e in entries)
    head = f'{{"command": "python bench/finite_size.py", "version": "{hiddenscape.__version__}"'
    path.write_text(f'{head}, "entries": [\n{lines}\n]}}\n', encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--budget", type=int, default=32_000)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    entries = []
    if options.out.exists():
        entries = json.loads(options.out.read_text(encoding="utf-8"))["entries"]
    known = {(e["shape"], e["d"], e["n"]) for e in entries}
    for rows in options.rows:
        for shape in SHAPES:
            for d in DIMENSIONS:
                if (shape, d, rows) in known:
                    continue
                start = time.perf_counter()
                entries.append(entry(shape, d, rows, options.budget))
                entries.sort(key=lambda e: (e["shape"], e["n"], e["d"]))
                write(options.out, entries)
                seconds = time.perf_counter() - start
                print(f"{shape:9s} d = {d:3d}  n = {rows:5d}  {seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
