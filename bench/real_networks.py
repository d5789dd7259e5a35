"""Profiles of networks that nobody here trained, each beside the same network with fresh weights.

    python bench/real_networks.py [--shared ../shared] [--out runs/real] [--json FILE] [NAME ...]

NAME is any of ``llama`` (TinyStories Llama on 3,000 CLINC150 sentences), ``resnet`` (ResNet20 on
2,000 lossless CIFAR-10 training images), ``mlp`` (six-layer MLP on the 10,000 MNIST test images).
Every run directory holds a report. The folder of networks and data lies beside the repository and
is not part of it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import hiddenscape as hs
from hiddenscape.measurement import read_profile
from hiddenscape.models.fresh import untrained_twin
from hiddenscape.runs import write_json
from hiddenscape.table import Table

ROOT = Path(__file__).resolve().parents[1]


def _builders() -> ModuleType:
    """The networks rebuilt from their files, as the tests do it."""
    path = ROOT / "tests" / "real" / "networks.py"
    spec = importlib.util.spec_from_file_location("real_networks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def llama(data: Path, out: Path) -> tuple[Any, Any, Any, dict[str, Any]]:
    real = _builders()
    source = data / "llama_tinystories"
    folder = real.llama_checkpoint(
        source / "stories260K.bin", source / "tok512.bin", out / "checkpoint"
    )
    rows = json.loads((data / "text_clinc150" / "data_full.json").read_text())["val"]
    domains = json.loads((data / "text_clinc150" / "domains.json").read_text())
    domain = {intent: name for name, intents in domains.items() for intent in intents}
    dataset = hs.text_dataset(
        [text for text, _ in rows],
        labels={"domain": [domain[i] for _, i in rows], "intent": [i for _, i in rows]},
        name="CLINC150 validation",
    )
    trained = hs.load_network(folder)
    fresh = hs.load_network(folder, untrained=True, seed=0)
    return trained, fresh, dataset, {"sites": "all", "pooling": "mean"}


def resnet(data: Path, out: Path) -> tuple[Any, Any, Any, dict[str, Any]]:
    from PIL import Image

    real = _builders()
    folder = data / "cifar10"
    images = [np.array(Image.open(folder / f"train_batch_{i}.png")) for i in range(2)]
    pixels = np.concatenate([image.reshape(1000, 32, 32, 3) for image in images])
    labels = np.load(folder / "train_4000_labels.npy")[: len(pixels)]
    names = np.array(
        ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    )
    dataset = hs.array_dataset(
        real.cifar_input(pixels), labels={"class": names[labels]}, name="CIFAR-10 (training part)"
    )
    module = real.cifar_resnet(data / "resnet_cifar10", 20)
    sites = ["input"] + [f"module:layer{s}.{b}" for s in (1, 2, 3) for b in (0, 1, 2)]
    fresh = untrained_twin(module, seed=0)
    return module, fresh, dataset, {"sites": [*sites, "module:linear"], "pooling": "flat"}


def mlp(data: Path, out: Path) -> tuple[Any, Any, Any, dict[str, Any]]:
    real = _builders()
    images, labels = real.mnist_test(data / "mnist_test")
    dataset = hs.array_dataset(images, labels={"digit": labels}, name="MNIST test")
    module = real.mnist_mlp(data / "mlp_mnist", 100)
    sites = ["input", *(f"module:{i}" for i in (2, 4, 6, 8, 10, 11))]
    fresh = untrained_twin(module, seed=0)
    return module, fresh, dataset, {"sites": sites, "pooling": "flat"}


NETWORKS = {"llama": llama, "resnet": resnet, "mlp": mlp}


def profile(run: hs.Run, order: tuple[str, ...]) -> dict[str, list[Any]]:
    table = run.table
    rows = table.select(analysis="two_nn", quantity="dimension")
    rows = Table(r for s in order for r in rows.select(site=s))
    out: dict[str, list[Any]] = {
        "site": rows.column("site"),
        "two_nn": [round(v, 2) for v in rows.values()],
        "stderr": [round(v, 2) for v in rows.values("stderr")],
        "two_nn_mle": _numbers(table, rows, "two_nn_mle", "dimension"),
        "participation_ratio": _numbers(table, rows, "pca", "participation_ratio"),
    }
    for label in table.select(analysis="label_overlap").unique("label"):
        found = table.select(analysis="label_overlap", quantity="overlap", label=label, k=10)
        out[f"overlap_{label}"] = [round(found.select(site=s)[0].value, 3) for s in out["site"]]
    return out


def _numbers(table: hs.Table, rows: hs.Table, analysis: str, quantity: str) -> list[float | None]:
    found = {r.site: r.value for r in table.select(analysis=analysis, quantity=quantity)}
    values = [found.get(s, math.nan) for s in rows.column("site")]
    return [round(v, 2) if math.isfinite(v) else None for v in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*NETWORKS, []])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "real")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--max-rank", type=int, default=256)
    args = parser.parse_args()
    record = {}
    for name in args.names or NETWORKS:
        start = time.perf_counter()
        folder = args.out / name
        trained, fresh, dataset, options = NETWORKS[name](args.shared / "data", folder)
        for network, where in ((trained, folder), (fresh, folder / "null")):
            hs.extract(network, dataset, where, **options)
            hs.measure(where, max_rank=args.max_rank)
        run = hs.open_run(folder)
        features = read_profile(run)
        assert features is not None
        write_json(
            folder / "run.json",
            {"command": f"python bench/real_networks.py {name}", "network": name, "seed": 0},
        )
        hs.report(folder)
        record[name] = {
            "trained": profile(run, features.sites),
            "untrained": profile(hs.open_run(folder / "null"), features.sites),
            "advice": list(features.text()),
            "seconds": round(time.perf_counter() - start, 1),
        }
        print(json.dumps({name: record[name]}, indent=1))
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
