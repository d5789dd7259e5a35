"""Ours and the peers behind one call: points and k in, neighbours without the row itself out."""

from __future__ import annotations

import importlib.util
import inspect
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Lists = tuple[np.ndarray, np.ndarray]


@dataclass(eq=False)
class Result:
    """One run: its time, its lists for the rows asked, and what else it says."""

    seconds: float
    cpu_seconds: float
    indices: np.ndarray
    distances: np.ndarray
    extra: dict[str, Any] = field(default_factory=dict)


class Contender:
    """Something that finds neighbours. ``missing`` says why it cannot take part, else is empty."""

    def __init__(
        self,
        name: str,
        search: Callable[[np.ndarray, int, int], tuple[Lists, dict[str, Any]]],
        missing: str = "",
        part: bool = True,
    ) -> None:
        self.name = name
        self.missing = missing
        self.part = part
        self._search = search

    def run(self, x: np.ndarray, k: int, queries: int) -> Result:
        start, cpu = time.perf_counter(), time.process_time()
        (indices, distances), extra = self._search(x, k, queries)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        return Result(seconds, cpu, indices, distances, extra)


class Dadapy(Contender):
    """DADApy in this interpreter's environment or, where that cannot be, in another's."""

    def __init__(self, python: str, threads: int) -> None:
        super().__init__("dadapy", lambda x, k, q: (((x, x)), {}))
        self.threads = threads
        self.python = python
        self.folder = tempfile.TemporaryDirectory()
        self.saved: tuple[np.ndarray, Path] | None = None
        self.versions: dict[str, str] = {}
        if not python:
            self.missing = "give --dadapy-python: an interpreter that can import dadapy"
        elif not Path(python).exists():
            self.missing = f"no interpreter at {python}"
        else:
            self.worker = Worker(python)
            try:
                self.versions = self.worker.ask(work="hello")
            except RuntimeError as error:
                self.missing = str(error)

    def run(self, x: np.ndarray, k: int, queries: int) -> Result:
        files = {name: str(Path(self.folder.name) / f"{name}.npy") for name in ("i", "d")}
        answer = self.worker.ask(
            work="graph",
            points=str(self.points(x)),
            k=k,
            queries=queries,
            threads=self.threads,
            indices=files["i"],
            distances=files["d"],
        )
        return Result(
            answer["seconds"], answer["cpu_seconds"], np.load(files["i"]), np.load(files["d"])
        )

    def memory(self, x: np.ndarray, k: int) -> dict[str, Any]:
        """Peak of a fresh process, its copy of the points counted."""
        worker = Worker(self.python)
        folder = Path(self.folder.name)
        warm = folder / "warm.npy"
        np.save(warm, x[: 4 * k])
        files = {"indices": str(folder / "i.npy"), "distances": str(folder / "d.npy")}
        common: dict[str, Any] = {"k": k, "threads": self.threads, **files}
        worker.ask(work="graph", points=str(warm), queries=4 * k, **common)
        answer = worker.ask(work="memory", points=str(self.points(x)), queries=len(x), **common)
        worker.close()
        return answer

    def imbalance(self, a: np.ndarray, b: np.ndarray, k: int) -> dict[str, Any]:
        folder = Path(self.folder.name)
        np.save(folder / "a.npy", a)
        np.save(folder / "b.npy", b)
        files = {"a": str(folder / "a.npy"), "b": str(folder / "b.npy")}
        worker = Worker(self.python)
        answer = worker.ask(work="imbalance", k=k, threads=self.threads, **files)
        worker.close()
        return answer

    def points(self, x: np.ndarray) -> Path:
        """The file the worker reads ``x`` from; written once while ``x`` lives."""
        path = Path(self.folder.name) / "points.npy"
        if self.saved is None or self.saved[0] is not x:
            np.save(path, x)
            self.saved = (x, path)
        return path


class Worker:
    """Another interpreter that answers one request at a time."""

    def __init__(self, python: str) -> None:
        script = str(Path(__file__).with_name("dadapy_worker.py"))
        self.process = subprocess.Popen(
            [python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the interpreter of dadapy ended without an answer (see above)")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def contenders(wanted: list[str], threads: int, dadapy_python: str) -> list[Contender]:
    """Those asked for; who cannot take part says why in ``missing``."""
    made: dict[str, Callable[[], Contender]] = {
        "hiddenscape": lambda: ours("hiddenscape", "auto"),
        "hiddenscape float32": lambda: ours("hiddenscape float32", "float32"),
        "faiss": lambda: Contender("faiss", _faiss, _absent("faiss")),
        "scikit-learn": lambda: Contender("scikit-learn", _sklearn, _absent("sklearn")),
        "torch": lambda: Contender("torch", _torch, _absent("torch")),
        "dadapy": lambda: Dadapy(dadapy_python, threads),
    }
    return [make() for name, make in made.items() if name in wanted]


NAMES = ("hiddenscape", "hiddenscape float32", "faiss", "scikit-learn", "torch", "dadapy")


def ours(name: str, precision: str) -> Contender:
    """find_neighbors, whole, with the duplicates it looks for and the graph it checks."""
    import hiddenscape as hs

    options: dict[str, Any] = {}
    missing = ""
    if "precision" in inspect.signature(hs.find_neighbors).parameters:
        options["precision"] = precision
    elif precision != "auto":
        missing = f"find_neighbors has no precision= yet, so {precision} cannot be forced"

    def search(x: np.ndarray, k: int, queries: int) -> tuple[Lists, dict[str, Any]]:
        graph = hs.find_neighbors(x, k=k, **options)
        said = graph.certificate
        counts = getattr(said, "counts", None)
        extra = {"certificate": counts() if counts else str(said)}
        return (graph.indices, graph.distances), extra

    return Contender(name, search, missing, part=False)


def _faiss(x: np.ndarray, k: int, queries: int) -> tuple[Lists, dict[str, Any]]:
    import faiss

    index = faiss.IndexFlatL2(x.shape[1])
    index.add(x)
    squared, indices = index.search(x[:queries], k + 1)
    # Squares come out slightly negative between near points.
    return without_self(indices, np.sqrt(np.maximum(squared, 0))), {}


def _sklearn(x: np.ndarray, k: int, queries: int) -> tuple[Lists, dict[str, Any]]:
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x)
    if queries == len(x):
        distances, indices = found.kneighbors()
        return (indices, distances), {}
    distances, indices = found.kneighbors(x[:queries], n_neighbors=k + 1)
    return without_self(indices, distances), {}


def _torch(x: np.ndarray, k: int, queries: int) -> tuple[Lists, dict[str, Any]]:
    import torch

    points = torch.from_numpy(x)
    indices, distances = [], []
    with torch.inference_mode():
        for start in range(0, queries, 1024):
            stop = min(start + 1024, queries)
            block = torch.cdist(points[start:stop], points)
            d, i = block.topk(k + 1, largest=False)
            indices.append(i)
            distances.append(d)
    return without_self(torch.cat(indices).numpy(), torch.cat(distances).numpy()), {}


def without_self(indices: np.ndarray, distances: np.ndarray) -> Lists:
    """Lists of k from lists of k + 1: the row itself goes; where it is not listed, the last."""
    q, m = indices.shape
    own = indices == np.arange(q)[:, None]
    own[~own.any(axis=1), -1] = True
    keep = ~own
    return indices[keep].reshape(q, m - 1), distances[keep].reshape(q, m - 1)


def _absent(package: str) -> str:
    return "" if importlib.util.find_spec(package) else f"{package} is not installed"
