"""Calibration of the dimension estimators: z-scores against the truth, per dimension.

    python bench/truth.py [--replicates 400] [--rows 1000]
        [--data model periodic manifolds laws suite] [--only NAME ...]
    python bench/truth.py --draw

Prints a line per estimator and dimension and updates bench/results/truth.json after each.
Replicates are those of the model; clouds get a quarter, embedded manifolds an eighth.
``laws`` draws from the law of every estimator that states an interval (5 times the replicates where
that takes milliseconds); ``suite`` holds every estimator of the package to every cloud of the suite
(a tenth of the replicates; fewer of the slow ones). ``--only`` picks estimators by name.
``--draw`` writes docs/accuracy.md from the record.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import hiddenscape
from hiddenscape import Dimension, find_neighbors, gride, two_nn
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.testing.laws import LAWS
from hiddenscape.testing.manifolds import MANIFOLDS, cube, pareto_graph, periodic_graph
from hiddenscape.testing.suite import CLOUDS, ESTIMATORS
from hiddenscape.testing.truth import ZScores, z_scores

Replicate = Callable[[int], Dimension]
RANKS = ((1, 2), (2, 4), (8, 16), (32, 64))
PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"


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


def of_suite(cloud: str, only: list[str]) -> Iterator[tuple[str, Replicate]]:
    """Every estimator that is held to this cloud."""
    known = CLOUDS[cloud]
    for name, entry in ESTIMATORS.items():
        if known.trait in entry.bias and (not only or name in only):
            yield name, lambda s, e=entry: e.run(known.sample(e.rows, s))


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
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--draw", action="store_true")
    options = parser.parse_args()
    if options.draw:
        PAGE.write_text(page(read(options.out)), encoding="utf-8")
        return
    jobs: list[tuple[str, int, int, Iterator[tuple[str, Replicate]]]] = []
    if "laws" in options.data:
        for name, law in LAWS.items():
            if options.only and name not in options.only:
                continue
            many = options.replicates * (5 if law.cheap else 1)
            jobs.append(("law", int(law.truth), many, iter([(name, law.draw)])))
    if "suite" in options.data:
        few = options.replicates // 10
        jobs += [(c, k.dimension, few, of_suite(c, options.only)) for c, k in CLOUDS.items()]
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
    table = {(e["data"], e["d"], e["estimator"]): e for e in read(options.out)}
    for data, d, replicates, estimators in jobs:
        for name, replicate in estimators:
            start = time.perf_counter()
            count = replicates
            if data in CLOUDS and name in ESTIMATORS and ESTIMATORS[name].slow:
                count = max(5, replicates // 4)
            z = z_scores(replicate, d, count)
            show(data, d, name, z, time.perf_counter() - start)
            numbers = {
                key: None if math.isnan(value) else round(value, 4)
                for key, value in asdict(z).items()
            }
            own = data in CLOUDS and name in ESTIMATORS
            rows = ESTIMATORS[name].rows if own else options.rows
            table[data, d, name] = {
                "data": data, "d": d, "estimator": name, "rows": rows, **numbers
            }  # fmt: skip
            write(options.out, list(table.values()))


def read(path: Path) -> list[dict[str, object]]:
    if not path.exists():
        return []
    found: list[dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))["table"]
    return found


def write(path: Path, table: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(entry) for entry in table)
    content = f'{{"hiddenscape": "{hiddenscape.__version__}", "table": [\n{lines}\n]}}\n'
    path.write_text(content, encoding="utf-8")


def page(table: list[dict[str, object]]) -> str:
    """docs/accuracy.md."""
    laws = [e for e in table if e["data"] == "law"]
    suite = {
        (str(e["estimator"]), str(e["data"])): e
        for e in table
        if e["data"] in CLOUDS and e["estimator"] in ESTIMATORS
    }
    lines = [HEAD, "| estimator | true d | intervals that hold it | sd of z | bias | draws |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for e in laws:
        share, bias = 100 * float(str(e["coverage"])), 100 * float(str(e["bias"]))
        lines.append(
            f"| {e['estimator']} | {e['d']} | {share:.1f} % | {e['sd']:.2f} | {bias:+.1f} % "
            f"| {e['replicates']} |"
        )
    for title, text, cell in (
        ("Bias on clouds", BIAS, lambda e: _percent(e["bias"]) + _missing(e)),
        ("Errors on clouds", SPREAD, lambda e: _number(e.get("spread"))),
        ("Coverage on clouds", COVERAGE, lambda e: _percent(e["coverage"], "")),
    ):
        used = [c for c in CLOUDS if any(c == cloud for _, cloud in suite)]
        lines += ["", f"## {title}", "", text, ""]
        lines += ["| | " + " | ".join(used) + " |", "| --- |" + " --- |" * len(used)]
        for name in ESTIMATORS:
            row = [cell(suite[name, c]) if (name, c) in suite else "" for c in used]
            if any(row):
                lines.append(f"| {name} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def _missing(entry: dict[str, object]) -> str:
    return f" ({entry['missing']} refused)" if entry.get("missing") else ""


def _percent(value: object, sign: str = "+") -> str:
    return "none" if value is None else f"{100 * float(str(value)):{sign}.0f}"


def _number(value: object) -> str:
    return "none" if value is None else f"{float(str(value)):.2f}"


HEAD = """# Accuracy of the dimension estimators

Every number on this page is generated from `bench/results/truth.json` by
`python bench/truth.py --draw`; nothing is typed by hand. `python bench/truth.py --data laws suite`
repeats the measurement. z is (value - true d) / stderr.

## On the model itself

Independent rows drawn from the law that the estimator assumes. A 95 % interval must hold the truth
in 95 % of the draws, and z must have standard deviation 1.
"""
BIAS = (
    "Mean of value / true d - 1, in percent. Closed surfaces are curved, squares and cubes end "
    "somewhere, noise of a hundredth of the extent shows at small scales: these are effects of "
    "scale, and no stderr knows of them. 500 rows (extrapolation: 1500). `none`: no estimate."
)
SPREAD = (
    "Standard deviation of the estimates over their stated error: 1 where the error is honest, "
    "above where it is too small (overlapping neighbourhoods, repeats of the same rows: see the "
    "docstrings), below where it holds more than the sampling. `none`: no error, or one of 0."
)
COVERAGE = (
    "Share of 95 % intervals that hold the true dimension, in percent: bias and error together. It "
    "falls with more rows where there is a bias, since intervals shrink."
)


if __name__ == "__main__":
    main()
