"""What this machine multiplies fastest: measured once, kept in the cache folder of the user."""

from __future__ import annotations

import json
import os
import platform
import time
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import numpy as np

from hiddenscape.files import write_atomic
from hiddenscape.kernels.products import RUNGS, multiply, operands, unit_ready
from hiddenscape.kernels.threads import cores, in_threads, one_blas_thread

__all__ = ["has_bfloat16_unit", "ladder", "measured_rates"]

_UNITS = ("avx512_bf16", "amx_bf16", "bf16")  # as Linux names them, the last on Arm
_SCHEMA = "rates of blocks in threads"
_SIDE, _DEPTH = 1024, 1024
_WORTH = 1.25  # a rung must be this much faster than float32 to be tried before it


def ladder(precision: str, *, small: bool) -> list[tuple[str, bool]]:
    """The rungs to climb, as (name, whether its products use the bfloat16 unit).

    A forced precision comes first whatever its rate; below it stand the slower, surer ones. On its
    own the choice starts at the fastest rung that this machine has, and at float64 for clouds so
    small that a second pass would cost more than it saves.

    Examples
    --------
    >>> ladder("float32", small=False)
    [('float32', False), ('float64', False)]
    >>> ladder("auto", small=True)
    [('float64', False)]
    """
    unit = has_bfloat16_unit()
    if precision == "auto":
        names = ["float64"] if small else _chosen(unit)
    else:
        names = [precision, *(r for r in RUNGS[2:] if RUNGS.index(r) > RUNGS.index(precision))]
    return [(name, unit and name.startswith("bfloat16")) for name in names]


def _chosen(unit: bool) -> list[str]:
    """Rungs by measured rate: bfloat16 if it is worth it, three products if still faster."""
    if not unit:
        return ["float32", "float64"]
    rates = measured_rates()
    faster = rates["bfloat16"] / rates["float32"]
    names = ["bfloat16"] if faster > _WORTH else []
    names += ["bfloat16x3"] if faster > 3 * _WORTH else []
    return [*names, "float32", "float64"]


@cache
def has_bfloat16_unit() -> bool:
    """Whether the processor says that it multiplies bfloat16.

    ``HIDDENSCAPE_BFLOAT16=0`` says no for it.
    """
    if os.environ.get("HIDDENSCAPE_BFLOAT16") == "0":
        return False
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    found = [line for line in text.splitlines() if line.startswith(("flags", "Features"))]
    return bool(found) and any(unit in found[0].split() for unit in _UNITS)


@cache
def measured_rates() -> dict[str, float]:
    """Multiply-adds per second of a 1024 x 1024 x 1024 product in each arithmetic of this machine.

    Measured at the first need, in a fraction of a second, and kept in
    ``$XDG_CACHE_HOME/hiddenscape``; a damaged or foreign file is measured anew.
    """
    path = _cache_file()
    key = [
        _SCHEMA,
        platform.node(),
        platform.processor(),
        np.__version__,
        cores(),
        has_bfloat16_unit(),
    ]
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] == key and all(r > 0 for r in kept["rates"].values()):
            return {str(name): float(r) for name, r in kept["rates"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    names = ["float32", "float64", *(["bfloat16"] if has_bfloat16_unit() else [])]
    rates = {name: _rate(name) for name in names}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, [json.dumps({"key": key, "rates": rates}).encode()])
    except OSError:
        return rates  # a home that cannot be written to costs one measurement per process
    return rates


def _cache_file() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "hiddenscape" / "machine.json"


def _rate(name: str) -> float:
    """Products as a search makes them: one single-threaded block per core, all at once."""
    rng = np.random.default_rng(0)
    kind = np.float64 if name == "float64" else np.float32
    # Not a product of an array with its own transpose: libraries halve the work of those.
    pairs = [
        [operands(name, rng.random((_SIDE, _DEPTH)).astype(kind)) for _ in range(2)]
        for _ in range(cores())
    ]
    outs = [np.empty((_SIDE, _SIDE), dtype=kind) for _ in pairs]
    unit = name.startswith("bfloat16")

    def work(worker: int) -> None:
        left, right = pairs[worker]
        multiply(left, right, outs[worker], unit)

    times = []
    with one_blas_thread(), unit_ready() if unit else nullcontext():
        for _ in range(4):
            start = time.perf_counter()
            for _ in in_threads(work, range(len(pairs))):
                pass
            times.append(time.perf_counter() - start)
    return len(pairs) * _SIDE * _SIDE * _DEPTH / min(times[1:])
