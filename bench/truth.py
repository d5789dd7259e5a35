"""Calibration of the dimension estimators: z-scores against the truth, per dimension.

    python bench/truth.py [--replicates 400] [--rows 1000] [--data model periodic manifolds]

Prints a line per estimator and dimension and updates bench/results/truth.json after each.
Replicates are those of the model; clouds get a quarter, embedded manifolds an eighth.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import hiddenscape
from hiddenscape import Dimension, find_neighbors, gride, two_nn
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.testing.manifolds import MANIFOLDS, cube, pareto_graph, periodic_graph
from hiddenscape.testing.truth import ZScores, z_scores

Replicate = Callable[[int], Dimension]
RANKS = ((1, 2), (2, 4), (8, 16), (32, 64))


def model(d: int, rows: int) -> Iterator[tuple[str, Replicate]]:
    """Independent rows with distances drawn from the model."""
    for method in ("censored", "mle", "fit"):
        yield (
            f"two_nn {method}",
            lambda s, m=method: two_nn(pareto_graph(rows, d, seed=100 * s + d), method=m),
        )
    for n1, n2 in RANKS:
        yield (
            f"gride {n1} {n2}",
            lambda s, a=n1, b=n2: gride(pareto_graph(rows, d, k=b, seed=100 * s + d), a, b),
        )


def periodic(d: int, rows: int) -> Iterator[tuple[str, Replicate]]:
    """Uniform points in a box with opposite faces joined: rows are no longer independent."""

    def blocked(seed: int, n1: int) -> Dimension:
        graph = periodic_graph(rows, d, k=2 * n1, seed=seed)
        return gride(graph, n1, stderr="blocks", blocks=spatial_blocks(cube(rows, d, seed=seed)))

    yield "two_nn censored", lambda s: two_nn(periodic_graph(rows, d, seed=s))
    yield (
        "two_nn censored blocks",
        lambda s: two_nn(
            periodic_graph(rows, d, seed=s),
            stderr="blocks",
            blocks=spatial_blocks(cube(rows, d, seed=s)),
        ),
    )
    for n1, n2 in RANKS:
        yield (
            f"gride {n1} {n2}",
            lambda s, a=n1, b=n2: gride(periodic_graph(rows, d, k=b, seed=s), a, b),
        )
        yield f"gride {n1} {n2} blocks", lambda s, a=n1: blocked(s, a)


def embedded(name: str, rows: int) -> Iterator[tuple[str, Replicate]]:
    """Points through the whole way: sample, search, estimate."""

    def run(seed: int) -> Dimension:
        points = MANIFOLDS[name].sample(rows, seed)
        graph = find_neighbors(points, k=2)
        return two_nn(graph, stderr="blocks", blocks=spatial_blocks(points))

    yield "two_nn censored blocks", run


def show(data: str, d: int, name: str, z: ZScores, seconds: float) -> None:
    print(
        f"{data:14s} {d:3d}  {name:24s} {z.mean:7.2f} {z.sd:6.2f} {z.bias:8.3f} "
        f"{z.coverage:8.3f} {z.replicates:6d} {seconds:7.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/truth.json")
    parser.add_argument("--data", nargs="+", default=["model", "periodic", "manifolds"])
    options = parser.parse_args()
    jobs: list[tuple[str, int, int, Iterator[tuple[str, Replicate]]]] = []
    if "model" in options.data:
        jobs += [("model", d, options.replicates, model(d, options.rows)) for d in range(1, 11)]
    if "periodic" in options.data:
        few = options.replicates // 4
        jobs += [("periodic", d, few, periodic(d, options.rows)) for d in range(1, 11)]
    if "manifolds" in options.data:
        few = options.replicates // 8
        jobs += [
            (name, m.dimension, few, embedded(name, options.rows)) for name, m in MANIFOLDS.items()
        ]
    print(
        "data             d  estimator                 mean z   sd z     bias coverage      R  secs"
    )
    table = {}
    if options.out.exists():
        stored = json.loads(options.out.read_text(encoding="utf-8"))["table"]
        table = {(e["data"], e["d"], e["estimator"]): e for e in stored}
    for data, d, replicates, estimators in jobs:
        for name, replicate in estimators:
            start = time.perf_counter()
            z = z_scores(replicate, d, replicates)
            show(data, d, name, z, time.perf_counter() - start)
            numbers = {key: round(value, 4) for key, value in asdict(z).items()}
            table[data, d, name] = {
                "data": data, "d": d, "estimator": name, "rows": options.rows, **numbers
            }  # fmt: skip
            write(options.out, list(table.values()))


def write(path: Path, table: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(entry) for entry in table)
    content = f'{{"hiddenscape": "{hiddenscape.__version__}", "table": [\n{lines}\n]}}\n'
    path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
