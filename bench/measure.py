"""Peak memory and time of measuring a whole run: 13 sites of 20,000 x 1024 by default.

    python bench/measure.py [--rows 20000] [--width 1024] [--sites 13] [--json FILE]

The points are written to a store first, by another process, so that only the measurement counts.
Peak memory is the maximum resident set of the measuring process as the kernel reports it.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAKE = """
import sys, numpy as np, hiddenscape as hs
folder, n, d, sites = sys.argv[1], *map(int, sys.argv[2:5])
rng = np.random.default_rng(0)
latent = rng.normal(size=(n, 12))
for i in range(sites):
    # A curved 12-dimensional sheet with a little noise, another one at every site.
    a, b = rng.normal(size=(12, d)), rng.normal(size=(12, d))
    x = np.tanh(latent @ a / 4) + np.sin(latent @ b / 6 + i) + 0.01 * rng.normal(size=(n, d))
    np.save(f"{folder}/l{i}.npy", x.astype(np.float32))
hs.import_points(folder, f"{folder}/run", pattern="l{block}.npy")
"""

MEASURE = """
import json, resource, sys, time
import hiddenscape as hs
start = time.perf_counter()
table = hs.measure(sys.argv[1], max_rank=int(sys.argv[2]) or None)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"numbers": len(table), "seconds": time.perf_counter() - start, "peak_mib": peak}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--sites", type=int, default=13)
    parser.add_argument("--max-rank", type=int, default=0, help="0: the default of measure")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shape = [str(args.rows), str(args.width), str(args.sites)]
        subprocess.run([sys.executable, "-c", MAKE, folder, *shape], check=True)
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, f"{folder}/run", str(args.max_rank)],
            check=True,
            capture_output=True,
            text=True,
        )
        record = json.loads(done.stdout) | {"process_seconds": time.perf_counter() - start}
    target = args.__dict__.pop("json")
    record |= vars(args) | {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }
    print(json.dumps(record, indent=1))
    if target:
        target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
