"""DADApy in an interpreter of its own: it needs numpy < 2, which the others cannot share.

Reads one JSON request a line, writes one JSON answer a line; times itself, so that neither the
start nor the transfer of points counts. Needs numpy and dadapy, nothing of hiddenscape.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np


def graph(request: dict[str, Any]) -> dict[str, Any]:
    from dadapy import Data
    from dadapy._utils.utils import compute_cross_nn_distances

    points, k, queries = np.load(request["points"]), request["k"], request["queries"]
    data = Data(points, n_jobs=request["threads"])
    start, cpu = time.perf_counter(), time.process_time()
    if queries < len(points):
        # What compute_distances calls, for the first rows only.
        found = compute_cross_nn_distances(
            data.X[:queries], data.X, k + 1, n_jobs=request["threads"]
        )
        distances, indices = found
    else:
        data.compute_distances(maxk=k)
        distances, indices = data.distances, data.dist_indices
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    np.save(request["indices"], np.asarray(indices)[:, 1:])
    np.save(request["distances"], np.asarray(distances)[:, 1:])
    return {"seconds": seconds, "cpu_seconds": cpu}


def imbalance(request: dict[str, Any]) -> dict[str, Any]:
    """One pair of sites, both directions; the search of one site and one loop over ranks apart."""
    from dadapy import Data
    from dadapy._utils.metric_comparisons import _return_imbalance

    a, b = np.load(request["a"]), np.load(request["b"])
    n = len(a)
    data = Data(a, n_jobs=request["threads"])
    data.metric = "euclidean"
    start = time.perf_counter()
    forward, backward = data.return_information_imbalace(b, k=request["k"], subset_size=n)
    pair = time.perf_counter() - start
    start = time.perf_counter()
    indices, _ = data._get_nn_indices(a, None, None, n - 1, force_computation=True)
    search = time.perf_counter() - start
    start = time.perf_counter()
    _return_imbalance(indices, indices, data.rng, k=request["k"])
    return {
        "pair_seconds": pair,
        "search_seconds": search,
        "rank_seconds": time.perf_counter() - start,
        "values": [float(forward[0]), float(backward[0])],
        "peak_mib": _high_water(),
    }


_HELD: dict[str, Any] = {}


def prepare(request: dict[str, Any]) -> dict[str, Any]:
    """Neighbours of a set of points, kept for the requests that follow."""
    from dadapy import Data

    data = Data(np.load(request["points"]), maxk=request["k"], n_jobs=request["threads"])
    data.compute_distances()
    data.set_id(request["d"])
    _HELD["data"] = data
    return {}


def landscape(request: dict[str, Any]) -> dict[str, Any]:
    """k*, PAk and ADP, timed one by one; their answers go to files."""
    data, seconds, folder = _HELD["data"], {}, Path(request["out"])
    start = time.perf_counter()
    data.compute_kstar()
    seconds["k_star"], start = time.perf_counter() - start, time.perf_counter()
    data.compute_density_PAk()
    seconds["pak"], start = time.perf_counter() - start, time.perf_counter()
    labels = data.compute_clustering_ADP()
    seconds["adp"] = time.perf_counter() - start
    np.save(folder / "k_star.npy", data.kstar)
    np.save(folder / "pak.npy", data.log_den)
    np.save(folder / "labels.npy", labels)
    return seconds


def bmti(request: dict[str, Any]) -> dict[str, Any]:
    """BMTI with weights ``uncorr`` and a little of k*NN, by its conjugate gradients."""
    data = _HELD["data"]
    data.compute_kstar()
    start = time.perf_counter()
    data.compute_density_BMTI(alpha=0.99, solver="sp_cg")
    seconds = time.perf_counter() - start
    np.save(Path(request["out"]) / "bmti.npy", data.log_den)
    return {"seconds": seconds}


def hello(request: dict[str, Any]) -> dict[str, Any]:
    import dadapy  # noqa: F401
    import numpy
    import sklearn

    try:
        from importlib.metadata import version

        dadapy_version = version("dadapy")
    except ImportError:
        dadapy_version = "?"
    return {
        "dadapy": dadapy_version,
        "numpy": numpy.__version__,
        "scikit-learn": sklearn.__version__,
        "python": sys.version.split()[0],
    }


def memory(request: dict[str, Any]) -> dict[str, Any]:
    _reset()
    before = _high_water()
    graph(request)
    return {"peak_mib": _high_water(), "working_mib": _high_water() - before}


def _high_water() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _reset() -> None:
    Path("/proc/self/clear_refs").write_text("5")


WORK = {
    "hello": hello,
    "graph": graph,
    "imbalance": imbalance,
    "memory": memory,
    "prepare": prepare,
    "landscape": landscape,
    "bmti": bmti,
}


def main() -> None:
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = WORK[request["work"]](request)
        except MemoryError:
            answer = {"error": "out of memory"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
