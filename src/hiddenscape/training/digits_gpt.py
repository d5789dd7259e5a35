"""Train the embedded demo network: a causal image transformer on nuisance digits, without labels.

    python -m hiddenscape.training.digits_gpt --out DIR

reproduces the shipped weights on the same machine with the same versions; elsewhere the curves
agree, the bits need not. A run is resumed by giving the same folder again: every batch is a pure
function of (seed, step), and the state of the optimisers is saved with the weights.

The learning rate warms up, stays constant, falls linearly to 0 over the last ``cooldown`` share of
the first ``restart`` steps, then starts again at half its height and falls linearly to 0 at
``steps`` (a warm restart; Loshchilov and Hutter, SGDR, ICLR 2017).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from hiddenscape.data.digits import Nuisance, nuisance_digits
from hiddenscape.errors import InputError
from hiddenscape.models.families.patch_gpt import PatchGPT, PatchGPTConfig
from hiddenscape.training.muon import Muon

__all__ = ["Progress", "TrainSpec", "build_codebook", "held_out_loss", "keep_steps", "train"]

_STATE = "state.pt"
_SPEC = "spec.json"
_CURVE = "curve.json"
_STREAM = 10**9
"""Batches of run ``seed`` use the data seeds seed * _STREAM + step."""


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """Everything that decides the weights.

    Hidden matrices learn with Muon (``muon_lr``, ``weight_decay``), all else with AdamW
    (``adam_lr``, no decay). ``steps``, ``restart``, ``warmup`` and ``cooldown`` shape the learning
    rate as the module says. Sums depend on ``threads`` in their last bits, so it belongs here.

    Raises
    ------
    InputError
        If a count is below 1 or network and data disagree on the canvas.
    """

    config: PatchGPTConfig = field(default_factory=PatchGPTConfig)
    nuisance: Nuisance = field(default_factory=Nuisance)
    steps: int = 12_000
    restart: int = 8_000
    batch: int = 64
    muon_lr: float = 0.02
    adam_lr: float = 0.003
    weight_decay: float = 0.02
    warmup: int = 100
    cooldown: float = 0.5
    clip: float = 1.0
    seed: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.threads < 1:
            raise InputError(
                f"steps, batch and threads must be >= 1, got {self.steps}, {self.batch}, "
                f"{self.threads}"
            )
        if self.config.canvas != self.nuisance.canvas:
            raise InputError(
                f"the network reads canvas {self.config.canvas}, the data have canvas "
                f"{self.nuisance.canvas}; make them equal"
            )


@dataclass(frozen=True, slots=True)
class Progress:
    """What a callback sees after each step: running loss (nats per patch) and time left (s)."""

    step: int
    steps: int
    loss: float
    eta: float


@dataclass(slots=True)
class _Log:
    """How far a run has come; saved with it."""

    running: float
    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)


def keep_steps(steps: int) -> tuple[int, ...]:
    """The checkpoints to keep: 0, 100 * 4^j while at most 4/5 of ``steps``, ``steps``.

    Examples
    --------
    >>> keep_steps(8_000)
    (0, 100, 400, 1600, 6400, 8000)
    """
    inner = [100 * 4**j for j in range(20) if 125 * 4**j <= steps]
    return (0, *inner, steps)


def build_codebook(
    config: PatchGPTConfig, nuisance: Nuisance, *, seed: int, images: int = 4000, rounds: int = 30
) -> Float[np.ndarray, "codes pixels"]:
    """Prototypes of patches by k-means (Lloyd) on training images; grey levels in [0, 1]."""
    batch, _, _ = nuisance_digits(images, seed=seed, split="train", nuisance=nuisance)
    side, p = config.canvas // config.patch, config.patch
    cut = batch.reshape(images, side, p, side, p).swapaxes(2, 3).reshape(-1, p * p)
    points = cut.astype(np.float64) / 255
    rng = np.random.Generator(np.random.PCG64(seed))
    distinct = np.unique(points, axis=0)
    if len(distinct) < config.codes:
        raise InputError(f"only {len(distinct)} distinct patches for {config.codes} codes")
    centres = distinct[rng.choice(len(distinct), config.codes, replace=False)]
    for _ in range(rounds):
        code = np.argmax(points @ centres.T - 0.5 * (centres**2).sum(1), axis=1)
        count = np.bincount(code, minlength=config.codes)
        total = np.stack([np.bincount(code, x, config.codes) for x in points.T], axis=1)
        # A prototype that lost all its patches restarts at a random patch.
        fresh = distinct[rng.choice(len(distinct), config.codes)]
        centres = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], fresh)
    return centres.astype(np.float32)


@torch.no_grad()
def held_out_loss(network: PatchGPT, nuisance: Nuisance, *, n: int = 1080, seed: int = 0) -> float:
    """Mean cross-entropy in nats per patch, on digits that training never sees."""
    images, _, _ = nuisance_digits(n, seed=seed, split="test", nuisance=nuisance)
    return float(network.loss(torch.from_numpy(images)))


def train(
    spec: TrainSpec,
    out: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    save_every: int = 250,
    stop_after: int | None = None,
) -> PatchGPT:
    """Train, or go on training, in folder ``out``.

    Writes ``spec.json``, ``curve.json`` (loss points), ``state.pt`` (to resume from) and
    ``step-XXXXXX.safetensors`` (float32) for every step of :func:`keep_steps` but 0, which is
    the network that ``PatchGPT(config, seed=spec.seed)`` gives.

    Parameters
    ----------
    spec : TrainSpec
        What to train. A folder holds one run: a different spec is refused, except for ``steps``
        as long as the cooldown has not begun.
    out : Path
        Run folder, made if absent.
    on_progress : callable or None
        Called with a :class:`Progress` after every step.
    save_every : int
        Steps between two resumable states.
    stop_after : int or None
        Stop (resumably) once this many steps of the whole run are done.

    Returns
    -------
    PatchGPT
        The network as trained so far.

    Raises
    ------
    InputError
        If the folder holds a run of another spec.
    """
    torch.set_num_threads(spec.threads)
    torch.set_flush_denormal(True)
    out.mkdir(parents=True, exist_ok=True)
    network = PatchGPT(spec.config, seed=spec.seed)
    optimisers = _optimisers(network, spec)
    log = _resume(spec, out, network, optimisers)
    last = spec.steps if stop_after is None else min(stop_after, spec.steps)
    recorded = set(keep_steps(spec.steps)) | {round(50 * 2 ** (j / 2)) for j in range(40)}
    began, first, earlier = time.monotonic(), log.step, log.seconds
    for images in _batches(spec, first, last):
        loss = _update(network, optimisers, images, spec, log.step)
        log.step += 1
        log.running += 0.02 * (loss - log.running)
        log.seconds = earlier + time.monotonic() - began
        if log.step in recorded:
            log.curve.append(_point(network, spec, log))
        if log.step in keep_steps(spec.steps):
            save_file(network.state_dict(), out / f"step-{log.step:06d}.safetensors")
        if log.step % save_every == 0 or log.step == last:
            _save(spec, out, network, optimisers, log)
        if on_progress is not None:
            eta = (log.seconds - earlier) / (log.step - first) * (spec.steps - log.step)
            on_progress(Progress(log.step, spec.steps, log.running, eta))
    return network


def _optimisers(network: PatchGPT, spec: TrainSpec) -> list[torch.optim.Optimizer]:
    hidden = [p for p in network.blocks.parameters() if p.ndim == 2]
    known = {id(p) for p in hidden}
    rest = [p for p in network.parameters() if id(p) not in known]
    return [
        Muon(hidden, lr=spec.muon_lr, weight_decay=spec.weight_decay),
        torch.optim.AdamW(rest, lr=spec.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _rate(spec: TrainSpec, step: int) -> float:
    """Share of the full learning rate at ``step``."""
    first = min(spec.restart, spec.steps)
    if step >= first:
        return 0.5 * (spec.steps - step) / (spec.steps - first)
    rise = (step + 1) / spec.warmup
    fall = (first - step) / (spec.cooldown * first)
    return min(1.0, rise, fall)


def _batches(spec: TrainSpec, first: int, last: int) -> Iterator[Tensor]:
    for step in range(first, last):
        seed = spec.seed * _STREAM + step
        images, _, _ = nuisance_digits(spec.batch, seed=seed, split="train", nuisance=spec.nuisance)
        yield torch.from_numpy(images)


def _update(
    network: PatchGPT,
    optimisers: list[torch.optim.Optimizer],
    images: Tensor,
    spec: TrainSpec,
    step: int,
) -> float:
    """One step; the loss before it."""
    rate = _rate(spec, step)
    for optimiser, full in zip(optimisers, (spec.muon_lr, spec.adam_lr), strict=True):
        optimiser.zero_grad(set_to_none=True)
        for group in optimiser.param_groups:
            group["lr"] = full * rate
    loss = network.loss(images)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), spec.clip)
    for optimiser in optimisers:
        optimiser.step()
    return float(loss.detach())


def _point(network: PatchGPT, spec: TrainSpec, log: _Log) -> dict[str, Any]:
    return {
        "step": log.step,
        "train": round(log.running, 4),
        "held_out": round(held_out_loss(network, spec.nuisance), 4),
        "seconds": round(log.seconds, 1),
    }


def _save(
    spec: TrainSpec,
    out: Path,
    network: PatchGPT,
    optimisers: list[torch.optim.Optimizer],
    log: _Log,
) -> None:
    """Write the resumable state, whole or not at all, then what people read."""
    state = {
        "spec": asdict(spec),
        "log": asdict(log),
        "network": network.state_dict(),
        "optimisers": [o.state_dict() for o in optimisers],
    }
    part = out / f"{_STATE}.part"
    torch.save(state, part)
    part.replace(out / _STATE)
    (out / _SPEC).write_text(json.dumps(state["spec"], indent=1) + "\n", encoding="utf-8")
    (out / _CURVE).write_text(json.dumps(log.curve, indent=1) + "\n", encoding="utf-8")


def _resume(
    spec: TrainSpec, out: Path, network: PatchGPT, optimisers: list[torch.optim.Optimizer]
) -> _Log:
    """Load the state of ``out`` into the arguments, or begin: codebook, step 0, first point."""
    if not (out / _STATE).exists():
        codebook = build_codebook(spec.config, spec.nuisance, seed=spec.seed)
        network.embed_in.codebook.copy_(torch.from_numpy(codebook))
        log = _Log(running=held_out_loss(network, spec.nuisance))
        log.curve.append(_point(network, spec, log))
        return log
    state = torch.load(out / _STATE, weights_only=True)
    log, stored, wanted = _Log(**state["log"]), state["spec"], asdict(spec)
    differing = [k for k in wanted if stored.get(k) != wanted[k]]
    planned = min(stored["steps"], spec.steps, spec.restart) * (1 - spec.cooldown)
    if differing and (differing != ["steps"] or log.step > planned):
        raise InputError(
            f"{out} holds a run with another {', '.join(differing)}; use another folder"
        )
    network.load_state_dict(state["network"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    return log


def main(arguments: list[str] | None = None) -> None:
    """Command line: train into ``--out`` and, when done, write the assets to ``--assets``."""
    import argparse

    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TextColumn, TimeRemainingColumn

    from hiddenscape.training.demo_assets import export_assets

    default = TrainSpec()
    parser = argparse.ArgumentParser(description="Train the embedded demo network.")
    parser.add_argument("--out", type=Path, required=True, help="run folder; resumed if it exists")
    parser.add_argument("--assets", type=Path, help="where to write the files that ship")
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--threads", type=int, default=default.threads)
    parser.add_argument("--stop-after", type=int, help="stop, resumably, at this step")
    chosen = parser.parse_args(arguments)
    spec = TrainSpec(steps=chosen.steps, seed=chosen.seed, threads=chosen.threads)
    columns = (
        *Bar.get_default_columns()[:-1],
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=spec.steps, loss="")

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.step, loss=f"{progress.loss:.3f} nats/patch")

        train(spec, chosen.out, on_progress=show, stop_after=chosen.stop_after)
    done = chosen.stop_after is None or chosen.stop_after >= spec.steps
    if done and chosen.assets is not None:
        export_assets(spec, chosen.out, chosen.assets)


if __name__ == "__main__":
    main()
