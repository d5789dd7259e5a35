"""``hiddenscape doctor``: what this machine offers, and what is missing."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

import hiddenscape as hs
from hiddenscape._version import __version__
from hiddenscape.cli.app import Verb
from hiddenscape.cli.exits import FAILED

_EXAMPLES = """
hiddenscape doctor
hiddenscape doctor --json > machine.json
"""
_REQUIRED = (
    "torch", "numpy", "scipy", "numba", "threadpoolctl", "safetensors", "pandas", "matplotlib",
    "rich", "jaxtyping",
)  # fmt: skip
_OPTIONAL = {"transformers": "hf", "tokenizers": "hf", "pillow": "images"}
_LOW_DISK = 2 * 2**30


@dataclass(frozen=True, slots=True)
class _Line:
    """One finding; ``remedy`` says what to do where ``state`` is not ok."""

    name: str
    value: str
    state: str = "ok"  # ok, note or missing
    remedy: str = ""


@click.command("doctor", cls=Verb, examples=_EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> int | None:
    """Show versions, cores, memory, devices and disk, and what is missing.

    Exits with 1 if something that hiddenscape cannot do without is missing.
    """
    lines = [line for probe in _PROBES for line in probe()]
    if as_json:
        click.echo(json.dumps([asdict(line) for line in lines], indent=1))
    else:
        width = max(len(line.name) for line in lines)
        for line in lines:
            mark = {"ok": "ok     ", "note": "note   ", "missing": "MISSING"}[line.state]
            remedy = f"  -> {line.remedy}" if line.remedy else ""
            click.echo(f"{mark}  {line.name:<{width}}  {line.value}{remedy}")
    return FAILED if any(line.state == "missing" for line in lines) else None


def _packages() -> Iterator[_Line]:
    yield _Line("hiddenscape", __version__)
    yield _Line("python", f"{platform.python_version()} on {platform.platform()}")
    for name in _REQUIRED:
        try:
            yield _Line(name, version(name))
        except PackageNotFoundError:
            yield _Line(name, "not installed", "missing", f"pip install {name}")
    for name, extra in _OPTIONAL.items():
        try:
            yield _Line(name, version(name))
        except PackageNotFoundError:
            yield _Line(name, "not installed", "note", f'pip install "hiddenscape[{extra}]"')


def _cores() -> Iterator[_Line]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield _Line("cores", f"{usable} usable of {os.cpu_count()}")
    threads = {n: os.environ[n] for n in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if n in os.environ}
    if threads:
        yield _Line("threads", ", ".join(f"{n}={v}" for n, v in threads.items()), "note")


def _memory() -> Iterator[_Line]:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        yield _Line("memory", "unknown", "note")
        return
    yield _Line("memory", f"{_bytes(total)}, {_bytes(free)} unused")


def _blas() -> Iterator[_Line]:
    try:
        import numpy as np
    except ImportError as error:
        yield _Line("blas", str(error), "missing", "pip install --force-reinstall numpy")
        return
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    yield _Line("blas", f"{found.get('name', 'unknown')} {found.get('version', '')}".strip())


def _torch() -> Iterator[_Line]:
    try:
        import torch
    except (ImportError, OSError) as error:
        # OSError: the package is there, a shared library it needs is not.
        yield _Line("torch device", str(error), "missing", "pip install --force-reinstall torch")
        return
    yield _Line("torch threads", str(torch.get_num_threads()))
    devices = ["cpu"]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(i)
            devices.append(f"cuda:{i} ({facts.name}, {_bytes(facts.total_memory)})")
    if torch.backends.mps.is_available():
        devices.append("mps")
    yield _Line("torch device", ", ".join(devices))
    for device in ("cpu", "cuda", "mps"):
        if any(name.startswith(device) for name in devices):
            works = [n for n in ("float32", "bfloat16", "float16") if _multiplies(torch, n, device)]
            state = "ok" if "bfloat16" in works else "note"
            yield _Line(f"{device} dtypes", ", ".join(works), state)


def _multiplies(torch: object, name: str, device: str) -> bool:
    ones, dtype = torch.ones, getattr(torch, name)  # type: ignore[attr-defined]
    try:
        x = ones((4, 4), dtype=dtype, device=device)
        return bool((x @ x == 4).all())
    except RuntimeError:
        return False


def _engine() -> Iterator[_Line]:
    try:
        found = hs.describe_engine()
    except (ImportError, OSError) as error:
        remedy = "pip install --force-reinstall numba threadpoolctl torch"
        yield _Line("neighbour search", str(error), "missing", remedy)
        return
    yield _Line("neighbour search", f"{' > '.join(found.rungs)}, {found.threads} threads")
    rates = (f"{name} {2 * rate / 1e9:.0f}" for name, rate in found.rates.items())
    unit = "" if found.bfloat16_unit else "; no bfloat16 unit"
    yield _Line("products", f"{', '.join(rates)} Gflop/s{unit}")


def _places() -> Iterator[_Line]:
    try:
        with tempfile.TemporaryFile() as stream:
            stream.write(b"x")
        yield _Line("temporary files", tempfile.gettempdir())
    except OSError as error:
        yield _Line("temporary files", str(error), "missing", "set TMPDIR to a writable folder")
    free = shutil.disk_usage(Path.cwd()).free
    state, remedy = ("note", "make room, or write elsewhere with --out") if free < _LOW_DISK else (
        "ok", "")  # fmt: skip
    yield _Line("free disk here", _bytes(free), state, remedy)
    cache = os.environ.get("HF_HOME") or str(Path("~/.cache/huggingface").expanduser())
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
    yield _Line("Hugging Face cache", cache + (", offline" if offline else ""))
    yield _Line("stderr", "a terminal" if sys.stderr.isatty() else "not a terminal")


_PROBES: tuple[Callable[[], Iterator[_Line]], ...] = (
    _packages, _cores, _memory, _blas, _torch, _engine, _places,
)  # fmt: skip


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.3g} {unit}"
