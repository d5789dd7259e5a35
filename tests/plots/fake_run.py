"""Run directories with made-up numbers, in the layout that measuring writes."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from hiddenscape.files import file_stem
from hiddenscape.pointwise import Pointwise, write_pointwise
from hiddenscape.profile import profile_features
from hiddenscape.table import Row, Table

__all__ = ["fake_peaks", "fake_rows", "fake_run", "site_names"]


def site_names(n: int) -> list[tuple[str, float]]:
    """Names and depths of n sites of a transformer, shallow to deep."""
    if n == 1:
        return [("embed", 0.0)]
    blocks = n - 2
    names = [("embed", 0.0), *((f"resid_post.{b}", b + 1.0) for b in range(blocks))]
    return [*names, ("final_norm", float(max(1, blocks)))]


def fake_rows(
    sites: Sequence[tuple[str, float]],
    *,
    n: int = 2000,
    strength: float = 1.0,
    labels: Sequence[str] = ("digit",),
    nan_sites: Sequence[str] = (),
    max_rank: int = 256,
    classes: int = 10,
    pairs: bool = True,
    pooling: str = "mean",
    run: str = "demo",
) -> list[Row]:
    """Plausible numbers: a hump of dimension, two phases of overlap, labels late in the middle."""
    size = len(sites)
    t = np.linspace(0, 1, size) if size > 1 else np.zeros(1)
    hump = 7 + strength * (13 * np.exp(-(((t - 0.3) / 0.17) ** 2)) + 3 * t)
    rng = np.random.default_rng([7, size, round(100 * strength)])
    out: list[Row] = []

    def add(i: int, analysis: str, quantity: str, value: float, **rest: Any) -> None:
        site, depth = sites[i]
        note = "" if math.isfinite(value) else "undefined (all distances are zero)"
        out.append(
            Row(**{
                "run": run, "model": "toy-gpt", "dataset": "digits", "site": site,
                "pooling": pooling, "depth": depth, "analysis": analysis, "quantity": quantity,
                "value": float(value), "n_used": n, "n_dropped": 0, "note": note,
                "params_hash": "0badcafe", **rest,
            })
        )  # fmt: skip

    for i, (site, _) in enumerate(sites):
        lost = math.nan if site in nan_sites else 1.0
        d = float(hump[i] + rng.normal(0, 0.15)) * lost
        radius = 0.6 + 2.2 * float(t[i])
        for name, factor in (("two_nn", 1.0), ("two_nn_mle", 0.97), ("two_nn_fit", 1.02)):
            add(i, name, "dimension", factor * d, stderr=d / math.sqrt(0.9 * n),
                stderr_kind="bootstrap" if name == "two_nn_fit" else "exact", n1=1, n2=2, k=2,
                scale=radius)  # fmt: skip
        n1, s = 1, 0
        while 2 * n1 <= max_rank:
            at = d * (0.42 + 0.58 * math.exp(-0.22 * s)) * (1 + 0.1 * math.sin(3 * t[i] + s))
            add(i, "gride", "dimension", at, stderr=at / math.sqrt(n * n1), stderr_kind="fisher",
                n1=n1, n2=2 * n1, k=2 * n1, scale=radius * n1 ** (1 / 9))  # fmt: skip
            n1, s = 2 * n1, s + 1
        for s in range(4):
            subset = n >> s
            at = d * (1 - 0.07 * s)
            single = at * (1 + rng.normal(0, 0.04, 2**s))
            kind = "repeats" if s else "exact"
            add(i, "decimation", "dimension", at, stderr=0.03 * at, stderr_kind=kind, n1=1, n2=2,
                subset=subset, scale=radius * 1.08**s, n_used=subset)  # fmt: skip
            for r, v in enumerate(single if s else ()):
                add(i, "decimation", "dimension_single", v, n1=1, n2=2, subset=subset, repeat=r,
                    n_used=subset)  # fmt: skip
        add(i, "pca", "dimension_90", round(3.1 * hump[i]) * lost)
        add(i, "pca", "dimension_99", round(7.9 * hump[i]) * lost)
        add(i, "pca", "participation_ratio", 1.3 * hump[i] * lost)
        add(i, "mle", "dimension", 0.95 * d, stderr=0.1, stderr_kind="blocks", n1=1, n2=20, k=20,
            scale=1.3 * radius)  # fmt: skip
        add_landscape(add, i, float(t[i]), d, labels)
        add(i, "duplicates", "share", 0.004 if i == 0 else 0.0)
        add(i, "duplicates", "n_distinct", n - 8 if i == 0 else n)
        add(i, "norms", "mean", 3 + 11 * float(t[i]), stderr=0.05, stderr_kind="exact")
        for label in labels:
            top = 0.14 + 0.5 * strength * math.exp(-(((float(t[i]) - 0.66) / 0.3) ** 2))
            for analysis in ("label_overlap", "label_overlap_macro"):
                for k in (10, 30):
                    v = top - (0.05 if k == 30 else 0) - (0.02 if "macro" in analysis else 0)
                    v *= lost
                    chance = 1 / classes
                    rest = {"label": label, "k": k}
                    add(i, analysis, "overlap", v, stderr=0.006, stderr_kind="bootstrap", **rest)
                    add(i, analysis, "chance", chance, **rest)
                    add(i, analysis, "ceiling", 1.0, **rest)
                    add(i, analysis, "adjusted", (v - chance) / (1 - chance), **rest)
    for i in range(size if pairs else 0):
        for j in range(size):
            gap = abs(float(t[i] - t[j]))
            fold = 0.25 if (t[i] < 0.4) != (t[j] < 0.4) else 0.0
            lost = math.nan if {sites[i][0], sites[j][0]} & set(nan_sites) else 1.0
            b = {"site_b": sites[j][0]}
            for k in (10, 30):
                v = 1.0 if i == j else 0.03 + 0.92 * math.exp(-(3.2 * gap + fold) * strength)
                if j >= i:
                    add(i, "neighborhood_overlap", "overlap", min(1.0, v * (1 + 0.02 * (k > 10)))
                        * lost, k=k, stderr=0.004, stderr_kind="bootstrap", **b)  # fmt: skip
                    add(i, "neighborhood_overlap", "chance", k / (n - 1), k=k, **b)
            forward = 1 - math.exp(-(gap + fold) * (2.4 if t[i] < t[j] else 1.3) * strength)
            v = (2 / n if i == j else max(2 / n, 0.93 * forward)) * lost
            add(i, "information_imbalance", "imbalance", v, k=1, stderr=0.01,
                stderr_kind="jackknife", **b)  # fmt: skip
    return out


def add_landscape(add: Any, i: int, t: float, d: float, labels: Sequence[str]) -> None:
    """k*, densities and peaks: from one hill to three, as deep as the labels."""
    clusters = 1 + round(2 * t)
    lost = 1.0 if math.isfinite(d) else math.nan
    add(i, "k_star", "dimension_used", d, n1=1, n2=2)
    for quantity, value in (("median", 30.0), ("mean", 34.0), ("share_capped", 0.1)):
        add(i, "k_star", quantity, value * lost, k=100)
    for quantity, value in (("mean", -12.0), ("sd", 1.0 + t), ("median_stderr", 0.3)):
        add(i, "pak_density", quantity, value * lost)
    for quantity, value in (
        ("clusters", clusters),
        ("core_fraction", 1 - 0.3 * t),
        ("largest_share", 1 / clusters),
    ):
        add(i, "adp", quantity, value * lost)
    for z, more in (("z = 1", 2), ("z = 4", 0)):
        add(i, "adp_z_scan", "clusters", (clusters + more) * lost, setting=z)
        add(i, "adp_z_scan", "ari_to_reference", 0.8 * lost, setting=z)
    for label in labels:
        for quantity, value in (("ari", 0.6 * t), ("ami", 0.5 * t), ("purity", 0.2 + 0.4 * t)):
            for setting in ("", "without halo"):
                add(i, "adp_labels", quantity, value * lost, stderr=0.02, stderr_kind="bootstrap",
                    label=label, setting=setting)  # fmt: skip


def fake_peaks(site: str, n: int) -> Pointwise:
    """Three hills, two of them with a pass between; rows are all but row 3."""
    rows = np.array([i for i in range(n) if i != 3])
    return Pointwise(
        analysis="adp",
        site=site,
        rows=rows,
        rowwise=("labels", "halo", "log_density"),
        arrays={
            "labels": rows % 3, "halo": rows % 5 == 0, "log_density": -(rows % 7) / 2.0,
            "centers": np.array([0, 1, 2]), "heights": np.array([1.0, 3.0, 2.0]),
            "height_errors": np.array([0.2, 0.3, 0.2]),
            "saddle_pairs": np.array([[0, 1]]), "saddle_rows": np.array([9]),
            "saddles": np.array([-1.0]), "saddle_errors": np.array([0.2]),
            "tree_joined": np.array([[0, 1], [2, 3]]),
            "tree_heights": np.array([-1.0, math.nan]), "tree_order": np.array([1, 0, 2]),
        },
        parameters={"dimension": 7.5, "dimension_from": "TwoNN at ranks (1, 2)", "z": 1.65},
    )  # fmt: skip


def save_peaks(path: Path, named: Sequence[tuple[str, float]], n: int) -> None:
    """Three hills at every site but the first."""
    for site, _ in named[1:]:
        found = fake_peaks(f"{site}@mean", n)
        stem = f"adp-0badcafe-{file_stem(found.site)}-00000000"
        write_pointwise(path / "points" / f"{stem}.safetensors", found)


def fake_run(
    path: Path,
    *,
    sites: int = 10,
    n: int = 600,
    labels: Sequence[str] = ("digit",),
    classes: int = 10,
    null: bool = True,
    checkpoints: int = 0,
    maps: bool = True,
    text: str = "row {i}",
    class_name: str = "{c}",
    profile: bool = True,
    strength: float = 1.0,
    measured_rows: int | None = None,
    **options: Any,
) -> Path:
    """Write a run directory without ``acts/``."""
    path.mkdir(parents=True, exist_ok=True)
    named = site_names(sites)
    rng = np.random.default_rng(3)
    codes = rng.integers(0, classes, n)
    rows = fake_rows(named, n=measured_rows or n, labels=labels, classes=classes,
                     strength=strength, **options)  # fmt: skip
    by_analysis: dict[str, list[Row]] = {}
    for r in rows:
        by_analysis.setdefault(r.analysis, []).append(r)
    for analysis, part in by_analysis.items():
        Table(part).write_part(path / "results", f"{analysis}-0badcafe-all-00000000")
    with (path / "rows.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["row", "id", *labels, "text", "n_tokens", "status"])
        for i in range(n):
            name = class_name.format(c=codes[i])
            writer.writerow([i, f"id{i}", *([name] * len(labels)), text.format(i=i),
                             int(rng.integers(4, 60)), "ok"])  # fmt: skip
    write(path / "run.json", {
        "schema": "hiddenscape-run/1", "argv": ["hiddenscape", "demo", "--out", path.name],
        "versions": {"hiddenscape": "0.1.0", "numpy": "2.4.0", "python": "3.11.2"}, "seed": 0,
        "model": {"id": "toy-gpt"}, "start": "2026-01-02T03:04:05Z",
    })  # fmt: skip
    write(path / "measure.json", {
        "schema": "hiddenscape-measure/1", "rows_used": n, "rows_dropped": ["id3"],
        "sites": [f"{s}@mean" for s, _ in named], "labels": list(labels),
        "store": {f"{s}@mean": "00" for s, _ in named}, "latest": {"adp": "0badcafe"},
        "parameters": {"0badcafe": {"analysis": "two_nn", "summary": "TwoNN", "citations": [],
                                    "settings": {"k": [10, 30], "seed": 0}}},
        "warnings": ["8 of 600 rows repeat another at some site and were left out of the "
                     "dimensions at every site"],
    })  # fmt: skip
    if profile:
        write(path / "profile.json", read_profile(rows))
    save_peaks(path, named, n)
    if maps:
        save_maps(path, named, codes, classes, strength)
    if null:
        fake_run(path / "null", sites=sites, n=n, labels=labels, classes=classes, null=False,
                 maps=False, strength=0.12, measured_rows=measured_rows, **options)  # fmt: skip
    for i in range(checkpoints):
        fake_run(path / "checkpoints" / f"step-{10 ** (i + 1):06d}", sites=sites, n=n,
                 labels=labels, classes=classes, null=False, maps=False, profile=False,
                 strength=0.12 + 0.8 * i / checkpoints, measured_rows=measured_rows,
                 **options)  # fmt: skip
    return path


def save_maps(
    path: Path, named: Sequence[tuple[str, float]], codes: np.ndarray, classes: int,
    strength: float,
) -> None:  # fmt: skip
    rng = np.random.default_rng(11)
    n = len(codes)
    base = rng.normal(size=(n, 2))
    angle = 2 * np.pi * codes / classes
    home = np.stack([np.cos(angle), np.sin(angle)], 1)
    tensors: dict[str, np.ndarray] = {"row": np.arange(n)}
    for i, (site, _) in enumerate(named):
        t = i / max(1, len(named) - 1)
        pull = 3.2 * strength * math.exp(-(((t - 0.66) / 0.35) ** 2))
        xy = base * [1.4, 0.9] + pull * home * [1.3, 1.0] + rng.normal(0, 0.1, (n, 2))
        tensors[f"{site}@mean"] = (xy * (1 + 9 * t) * (-1 if i % 3 == 1 else 1)).astype(np.float32)
    (path / "map").mkdir(exist_ok=True)
    explained = {f"{s}@mean": [0.31, 0.12] for s, _ in named}
    save_file(tensors, path / "map" / "pca.safetensors", {"explained": json.dumps(explained)})


def read_profile(rows: Sequence[Row]) -> dict[str, Any]:
    """The reading of the made-up profile, without its twin."""
    found = [r for r in rows if r.analysis == "two_nn"]
    labels = [r.value for r in rows if r.analysis == "label_overlap" and r.quantity == "overlap"
              and r.k == 10 and r.label == next(q.label for q in rows if q.label)]  # fmt: skip
    return profile_features(
        [r.depth for r in found],
        [r.value for r in found],
        sites=[r.site for r in found],
        stderr=[r.stderr for r in found],
        label_overlap=labels or None,
    ).to_dict()


def write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
