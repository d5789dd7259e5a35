"""From a run folder of :mod:`hiddenscape.training.digits_gpt` to the files that ship."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from hiddenscape.errors import InputError
from hiddenscape.training.digits_gpt import TrainSpec, keep_steps

__all__ = ["export_assets"]


def export_assets(spec: TrainSpec, run: Path, assets: Path) -> list[Path]:
    """Write ``config.json``, ``training.json`` and one float16 file per kept step.

    The codebook stays float32: rounding it would change which code a patch gets.

    Raises
    ------
    InputError
        If ``run`` does not hold every checkpoint of ``spec``.
    """
    steps = keep_steps(spec.steps)[1:]
    missing = [s for s in steps if not (run / f"step-{s:06d}.safetensors").exists()]
    if missing:
        raise InputError(f"{run} lacks the checkpoints of steps {missing}; train on")
    assets.mkdir(parents=True, exist_ok=True)
    written = []
    for step in steps:
        name = f"step-{step:06d}.safetensors"
        (assets / name).write_bytes(save(_narrow(load_file(run / name))))
        written.append(assets / name)
    curve = json.loads((run / "curve.json").read_text(encoding="utf-8"))
    record = asdict(spec)
    config = record.pop("config")
    record |= {
        "command": "python -m hiddenscape.training.digits_gpt --out DIR",
        "checkpoints": [0, *steps],
        "stored_dtype": "float16, codebook float32",
        "wall_seconds": curve[-1]["seconds"],
        "machine": f"{platform.system()} {platform.machine()}, CPU, {spec.threads} threads",
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        "loss_unit": "nats per patch; held_out: digits never trained on",
        "curve": curve,
    }
    for name, content in (("config.json", config), ("training.json", record)):
        (assets / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        written.append(assets / name)
    return written


def _narrow(state: dict[str, Tensor]) -> dict[str, Tensor]:
    narrow = {}
    for name, tensor in state.items():
        half = tensor if name.endswith("codebook") else tensor.to(torch.float16)
        if not bool(half.isfinite().all()):
            raise InputError(f"{name} does not fit float16")
        narrow[name] = half.contiguous()
    return narrow
