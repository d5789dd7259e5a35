"""``run.json``: what was run, with which versions, on what, when, and what to cite."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from hiddenscape._version import __version__
from hiddenscape.errors import scrub
from hiddenscape.pipeline.citations import citation_keys
from hiddenscape.runs import Run, read_json, write_json
from hiddenscape.spec import RunSpec

__all__ = ["recorded", "versions"]

_PACKAGES = (
    "torch", "numpy", "scipy", "safetensors", "pandas", "transformers", "tokenizers",
    "huggingface_hub", "peft", "accelerate",
)  # fmt: skip
_SCHEMA = "hiddenscape-run/1"


@contextmanager
def recorded(
    run: Path, spec: RunSpec, *, share: str | None = None, **facts: Any
) -> Iterator[dict[str, Any]]:
    """Record what happens inside the block in ``RUN/run.json``.

    The file is written at the beginning and completed at the end. Where it is complete already,
    this is a later invocation: it gets a file of its own in ``RUN/log`` and ``run.json`` is left
    alone. So does one of several processes that share the work (``share``); the one that finds
    everything finished writes ``run.json``. No access token is written.

    Yields
    ------
    dict
        To be filled with further facts.
    """
    start = _now()
    record: dict[str, Any] = {
        "schema": _SCHEMA,
        "argv": [_program(sys.argv[0]), *sys.argv[1:]],
        "config": spec.to_dict(),
        "versions": versions(),
        "seeds": {"measure": spec.seed, "twin": spec.twin_seed},
        "device": spec.device,
        "host": {"name": platform.node(), "platform": platform.platform(), "cpus": os.cpu_count()},
        "start": start,
        **facts,
    }
    path = run / "run.json"
    before = read_json(path)
    if before.get("end") or share is not None:
        # Processes of several machines may have one number.
        path = run / "log" / f"run-{start.replace(':', '')}-{os.getpid()}-{uuid4().hex[:6]}.json"
    else:
        # An invocation that was stopped: the run began when it began.
        record["start"] = before.get("start", start)
    record["share"] = share
    write_json(path, _clean(record))
    yield record
    record |= {"end": _now(), "exit_code": 0, "citations": _citations(run, record)}
    write_json(path, _clean(record))
    if share is not None and "manifest_hash" in record and not before.get("end"):
        write_json(run / "run.json", _clean(record))


def versions() -> dict[str, str | None]:
    """Versions of everything that can change a number; None for what is not installed."""
    found: dict[str, str | None] = {
        "hiddenscape": __version__,
        "python": platform.python_version(),
    }
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def identity(run: Run) -> dict[str, Any]:
    """What the manifest of a run says about its network, its data and its sites."""
    manifest = run.representations.manifest
    facts: Mapping[str, Any] = manifest.identity
    return {
        "network": _plain(facts.get("model")),
        "adapter": _plain(facts.get("adapter")),
        "tokenizer": _plain(facts.get("tokenizer")),
        "attn_implementation": facts.get("attn_implementation"),
        "dataset": _plain(facts.get("dataset")),
        "sites": [site.key for site in manifest.sites],
        "manifest_hash": manifest.manifest_hash,
    }


def _citations(run: Path, record: Mapping[str, Any]) -> list[str]:
    return sorted({*citation_keys(Run(run)), *record.get("citations", [])})


def _program(path: str) -> str:
    # Its name, without the place where this machine keeps it.
    name = Path(path).name
    return "hiddenscape" if name == "__main__.py" else name


def _clean(value: Any) -> Any:
    """The same without access tokens, which may stand in a command line or an address."""
    if isinstance(value, Mapping):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_clean(item) for item in value]
    return scrub(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
