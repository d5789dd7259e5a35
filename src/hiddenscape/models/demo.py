"""The embedded demo network: a trained :class:`PatchGPT`, its checkpoints and its untrained twin.

The weights ship with the package, stored as float16 and widened to float32 when read; how they
came about is in ``assets/digits_gpt/training.json``.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from hiddenscape.errors import InputError
from hiddenscape.models.families.patch_gpt import PatchGPT, PatchGPTConfig

__all__ = ["demo_checkpoints", "demo_training", "load_demo_network"]


def _assets() -> Traversable:
    return files("hiddenscape") / "assets" / "digits_gpt"


def demo_training() -> dict[str, Any]:
    """The record of the training run: command, seed, steps, loss curve, versions, time.

    Examples
    --------
    >>> sorted(demo_training())[:3]
    ['adam_lr', 'batch', 'checkpoints']
    """
    record: dict[str, Any] = json.loads((_assets() / "training.json").read_text(encoding="utf-8"))
    return record


def demo_checkpoints() -> tuple[int, ...]:
    """Training steps at which the network can be loaded, 0 (fresh weights) first.

    Examples
    --------
    >>> demo_checkpoints()[0]
    0
    """
    names = (re.fullmatch(r"step-(\d+)\.safetensors", f.name) for f in _assets().iterdir())
    return (0, *sorted(int(m[1]) for m in names if m))


def load_demo_network(
    step: int | None = None, *, untrained: bool = False, seed: int = 0
) -> PatchGPT:
    """The demo network in evaluation mode, float32, on the CPU.

    Parameters
    ----------
    step : int or None
        One of :func:`demo_checkpoints`; None for the last. Step 0 is the network that training
        started from.
    untrained : bool
        Give the untrained twin instead: the same sizes and codebook, fresh random weights.
    seed : int
        Seed of the twin's weights; training started from another seed than 0. Not used otherwise.

    Raises
    ------
    InputError
        If no checkpoint was kept at ``step``, or ``step`` is given for an untrained twin.
    """
    known = demo_checkpoints()
    if untrained and step is not None:
        raise InputError(f"an untrained twin has no training step, got step={step}; leave it out")
    chosen = known[-1] if step is None else step
    if chosen not in known:
        raise InputError(f"no checkpoint at step {step}; choose one of {known}")
    config = PatchGPTConfig(**json.loads((_assets() / "config.json").read_text(encoding="utf-8")))
    fresh = untrained or chosen == 0
    network = PatchGPT(config, seed=seed if untrained else int(demo_training()["seed"]))
    stored = _read(known[-1] if fresh else chosen)
    if fresh:
        network.embed_in.codebook.copy_(stored["embed_in.codebook"])
    else:
        network.load_state_dict(stored)
    return network.eval()


def _read(step: int) -> dict[str, Tensor]:
    content = (_assets() / f"step-{step:06d}.safetensors").read_bytes()
    return {name: tensor.to(torch.float32) for name, tensor in load(content).items()}
