"""Small extractions in processes of their own, made to be killed at any moment and resumed.

The processes are forks of one that has imported everything, so that a kill falls on the work and
not on an import, and a hundred of them take a minute.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import nn

from hiddenscape import files
from hiddenscape.cli.exits import guarded
from hiddenscape.data.arrays import array_dataset, token_dataset
from hiddenscape.data.dataset import Dataset
from hiddenscape.extraction import extract
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.wrapping import wrap_module

__all__ = [
    "Extraction",
    "StoppableExtraction",
    "TokenNetwork",
    "forks",
    "run_bytes",
    "small_data",
    "small_network",
]

_VOCABULARY = 50


class TokenNetwork(nn.Module):
    """A network of token ids with a mask, in the manner of Hugging Face, that needs no library."""

    base_model_prefix = ""

    class config:
        vocab_size = _VOCABULARY
        use_cache = False

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.wte = nn.Embedding(_VOCABULARY, width)
        self.h = nn.ModuleList([nn.Linear(width, width) for _ in range(2)])
        self.ln_f = nn.LayerNorm(width)

    def forward(self, input_ids: Any, attention_mask: Any, **_: Any) -> torch.Tensor:
        """Hidden states after the last norm."""
        x = self.wte(input_ids)
        for block in self.h:
            x = x + block(x).tanh()
        normed: torch.Tensor = self.ln_f(x)
        return normed


def small_network(kind: str) -> TorchNetwork:
    """A network of known weights: of ``arrays`` (8 columns) or of ``tokens``."""
    if kind == "tokens":
        module: nn.Module = TokenNetwork()
    else:
        module = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 32))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    if kind == "tokens":
        return wrap_module(module, ["h.0", "h.1", "ln_f"], kind="tokens")
    return wrap_module(module)


def small_data(kind: str, rows: int) -> Dataset:
    """Rows of known content with ids and a label; those of tokens have 1 to 9 of them."""
    rng = np.random.default_rng(1)
    labels = {"label": np.arange(rows) % 3}
    ids = [f"r{i}" for i in range(rows)]
    if kind == "tokens":
        words = [rng.integers(1, _VOCABULARY, rng.integers(1, 10)).tolist() for _ in range(rows)]
        return token_dataset(words, labels=labels, ids=ids)
    return array_dataset(rng.normal(size=(rows, 8)).astype(np.float32), labels=labels, ids=ids)


class Extraction:
    """One small extraction, described; called, it runs.

    Parameters
    ----------
    run : path
        The run folder.
    kind : {"arrays", "tokens"}
    rows, shard_rows : int
    die_at : int, optional
        Kill the own process at this file operation (open, rename, link, remove) under ``run``.
    die_in_write : int, optional
        Kill the own process in the middle of this write, when half of its bytes are in the file.
    options : optional
        Further arguments of :func:`hiddenscape.extract`.
    """

    def __init__(
        self,
        run: Path,
        kind: str = "arrays",
        rows: int = 90,
        shard_rows: int = 4,
        die_at: int | None = None,
        die_in_write: int | None = None,
        **options: Any,
    ) -> None:
        self.run, self.kind, self.rows, self.shard_rows = run, kind, rows, shard_rows
        self.die_at, self.die_in_write, self.options = die_at, die_in_write, options

    def __call__(self) -> None:
        torch.set_num_threads(1)
        network, data = small_network(self.kind), small_data(self.kind, self.rows)
        if self.die_at is not None:
            sys.addaudithook(_Reaper(str(self.run), self.die_at))
        if self.die_in_write is not None:
            vars(files)["open"] = _HalfWrites(self.die_in_write).open
        extract(network, data, self.run, shard_rows=self.shard_rows, **self.options)


class StoppableExtraction(Extraction):
    """The same under the signal handlers of the command line; ends with its exit code."""

    def __call__(self) -> None:
        """Run, and leave the process."""
        command = click.Command("extract", callback=super().__call__)
        os._exit(guarded(command, []))


class _Reaper:
    """Kills the process at the n-th file operation under a folder."""

    events = ("open", "os.rename", "os.link", "os.remove", "os.mkdir")

    def __init__(self, folder: str, at: int) -> None:
        self.folder, self.left = folder, at

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in self.events and str(arguments[0]).startswith(self.folder):
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


class _Forks:
    """Starts processes from a server that has imported this module."""

    def __init__(self, context: ForkServerContext) -> None:
        self._context = context

    def start(self, work: Extraction) -> BaseProcess:
        """A running process that does ``work``."""
        process = self._context.Process(target=work)
        process.start()
        return process


class _HalfWrites:
    """Opens files as ``open`` does; kills the process in the middle of the n-th write."""

    def __init__(self, at: int) -> None:
        self.left = at

    def open(self, *arguments: Any, **options: Any) -> Any:
        stream = open(*arguments, **options)  # noqa: PTH123, SIM115
        write = stream.write

        def half(part: bytes) -> int:
            self.left -= 1
            if self.left >= 0:
                return int(write(part))
            write(part[: len(part) // 2])
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
            return 0

        return _Stream(stream, half)


class _Stream:
    def __init__(self, stream: Any, write: Callable[[bytes], int]) -> None:
        self._stream, self.write = stream, write
        self.flush, self.fileno = stream.flush, stream.fileno

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def forks() -> _Forks:
    """The server of forks; the first start takes as long as the imports, the others do not."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "hiddenscape.store.verify"])
    return _Forks(context)


def run_bytes(run: Path) -> dict[str, bytes]:
    """Every file of a run but its journals and temporaries, by its name in the run."""
    found = {str(path.relative_to(run)): path for path in sorted(run.rglob("*")) if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if not name.startswith("log") and ".tmp-" not in name
    }
