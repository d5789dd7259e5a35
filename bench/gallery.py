"""Draws the pictures of docs/gallery.md from real data, and prints the numbers beside them.

    python bench/gallery.py --data FOLDER [--only mnist figure_1 figure_2]

FOLDER holds ``mnist_test/t10k-images-idx3-ubyte.gz`` and ``dadapy_datasets/Fig1.dat``, ``Fig2.dat``
(with the planted clusters in ``gt_F1.txt`` and ``gt_F2.txt``).
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import hiddenscape as hs
from hiddenscape.plots.style import CATEGORIES, COLORS, figure, ink

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SCAN = (1.0, 1.65, 2.5, 4.0)


def mnist(data: Path) -> tuple[Figure, dict[str, object]]:
    """Test images of MNIST: TwoNN and its line, and the dimension over scales."""
    with gzip.open(data / "mnist_test" / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(10_000, -1)
    graph = hs.find_neighbors(pixels, k=256)
    ml = hs.two_nn(graph, method="mle")
    line = hs.two_nn(graph, method="fit", positions="i/N")
    best = hs.two_nn(graph)
    ranks, subsets = hs.gride_scan(graph), hs.decimation(pixels, graph=graph)
    made = figure(8.0, 3.4)
    left, right = made.subplots(1, 2)
    _two_nn_line(left, graph, {"maximum likelihood": ml.value, "line through 90 %": line.value})
    _scales(right, {"GRIDE, all rows": ranks, "TwoNN, fewer rows": subsets})
    return made, {
        "ml": ml.value,
        "fit": line.value,
        "censored": [best.value, best.stderr],
        "gride": dict(zip(ranks.n1, ranks.values.round(2).tolist(), strict=True)),
        "gride_plateau": ranks.plateau(),
        "decimation": dict(zip(subsets.subset, subsets.values.round(2).tolist(), strict=True)),
        "decimation_plateau": subsets.plateau(),
    }


def _two_nn_line(ax: Axes, graph: hs.NeighborGraph, found: dict[str, float]) -> None:
    r = graph.distances
    x = np.sort(np.log(r[:, 1] / r[:, 0]))
    y = -np.log1p(-(np.arange(1, len(x) + 1) - 0.5) / len(x))
    kept = int(0.9 * len(x))
    ax.plot(x[kept:], y[kept:], ".", ms=2, color=COLORS.ghost)
    ax.plot(x[:kept:8], y[:kept:8], ".", ms=2, color=COLORS.ink)
    for (name, d), color, style in zip(
        found.items(), (COLORS.main, COLORS.accent), ("-", "--"), strict=True
    ):
        ax.plot([0, x[-1]], [0, d * x[-1]], style, lw=1.2, color=color, label=f"{name}: {d:.2f}")
    ax.set(xlabel="log(r2 / r1)", ylabel="-log(1 - F)", ylim=(0, y[-1] * 1.03), xlim=(0, None))
    ax.set_title("TwoNN, pixels of 10,000 digits")
    ax.legend(loc="lower right")


def _scales(ax: Axes, curves: dict[str, hs.DimensionCurve]) -> None:
    colors = (COLORS.main, COLORS.accent)
    for (name, curve), color in zip(curves.items(), colors, strict=True):
        ax.errorbar(
            curve.scales, curve.values, 2 * curve.stderrs, color=color, lw=1.2, marker="o", ms=3,
            capsize=2, label=name,
        )  # fmt: skip
    ax.set(xlabel="mean neighbour distance", ylabel="estimated dimension", ylim=(0, None))
    ax.set_title("Dimension against scale, two standard errors")
    ax.legend(loc="lower left")


def hills(data: Path, name: str, z: float) -> tuple[Figure, dict[str, object]]:
    """Planted clusters of a figure: those found, how they join, and where they lie."""
    folder = data / "dadapy_datasets"
    points = np.loadtxt(folder / f"Fig{name}.dat")
    truth = np.loadtxt(folder / f"gt_F{name}.txt").astype(int)
    graph = hs.find_neighbors(points, k=100)
    density = hs.pak_density(graph, dimension=hs.two_nn(graph).value)
    found = hs.adp(graph, density, z=z, points=points)
    made = figure(8.6, 3.2)
    left, middle, right = made.subplots(1, 3, width_ratios=(1.25, 1, 1))
    _clusters(left, points, found)
    _tree(middle, hs.dendrogram(hs.merge_tree(found), widths=np.log1p(found.sizes)))
    planted = truth >= 0
    by_z = {s: hs.adp(graph, density, z=s, points=points).n_clusters for s in SCAN}
    if found.n_clusters > 2:
        _map(right, hs.peak_map(found, method="mds"))
    else:
        _by_z(right, by_z, len(np.unique(truth[planted])))
    ari = hs.label_agreement(found.labels[planted], truth[planted])["ari"].value
    return made, {
        "dimension": density.dimension,
        "z": z,
        "clusters": found.n_clusters,
        "planted": len(np.unique(truth[planted])),
        "ari of planted rows": ari,
        "clusters by z": by_z,
    }


def _color(cluster: int) -> str:
    return CATEGORIES[cluster % len(CATEGORIES)]


def _clusters(ax: Axes, points: np.ndarray, found: hs.Clusters) -> None:
    step = max(1, len(points) // 9000)
    shown = np.arange(0, len(points), step)
    halo = shown[found.halo[shown]]
    core = shown[~found.halo[shown]]
    ax.scatter(*points[halo].T, s=1.2, lw=0, color=COLORS.rule)
    ax.scatter(*points[core].T, s=1.6, lw=0, c=[_color(c) for c in found.labels[core]])
    for c, row in enumerate(found.centers):
        _name(ax, c, *points[row])
    ax.set(xticks=[], yticks=[])
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_title(f"{found.n_clusters} clusters at Z = {found.parameters['z']:g}, halo grey")


def _tree(ax: Axes, drawn: hs.Dendrogram) -> None:
    for bracket, measured in zip(drawn.brackets, drawn.measured, strict=True):
        ax.plot(*bracket.T, color=COLORS.ink, lw=1.2, ls="-" if measured else ":")
    for c in drawn.order.tolist():
        _name(ax, c, drawn.x[c], drawn.y[c])
    ax.set(xticks=[], xlim=(0, drawn.widths.sum()), ylabel="log density")
    ax.set_title("Peaks and saddles")


def _map(ax: Axes, found: hs.PeakMap) -> None:
    x = found.coordinates
    for a, b in zip(*np.nonzero(np.triu(found.direct)), strict=True):
        ax.plot(*x[[a, b]].T, color=COLORS.rule, lw=0.8, zorder=0)
    for c in range(len(x)):
        _name(ax, c, *x[c])
    ax.set(xticks=[], yticks=[])
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.15)
    ax.set_title(f"Map by saddles, stress {found.stress:.2f}")


def _by_z(ax: Axes, counts: dict[float, int], planted: int) -> None:
    ax.plot(list(counts), list(counts.values()), color=COLORS.main, marker="o", ms=4, lw=1.2)
    ax.axhline(planted, color=COLORS.ghost, lw=0.8, ls="--")
    ax.text(max(counts), planted * 1.1, f"{planted} planted", ha="right", color=COLORS.ghost)
    ax.set(xlabel="Z", ylabel="clusters", yscale="log")
    at = sorted({*counts.values()})
    ax.set_yticks(at, [str(c) for c in at])
    ax.minorticks_off()
    ax.set_title("Clusters found, by Z")


def _name(ax: Axes, cluster: int, x: float, y: float) -> None:
    ax.plot(x, y, "o", ms=11, color=_color(cluster), mec="white", mew=0.8, zorder=3)
    ax.text(x, y, str(cluster), ha="center", va="center", fontsize=7, color="white", zorder=4)


PICTURES = {
    "mnist": mnist,
    "figure_1": lambda data: hills(data, "1", 1.65),
    "figure_2": lambda data: hills(data, "2", 2.5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=PICTURES, default=list(PICTURES))
    asked = parser.parse_args()
    for name in asked.only:
        with ink():
            made, numbers = PICTURES[name](asked.data)
            path = IMAGES / f"gallery_{name}.png"
            made.savefig(path, dpi=130, metadata={"Software": "hiddenscape"})
        print(f"{path.relative_to(ROOT)} ({path.stat().st_size / 1000:.0f} kB)")
        print(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
