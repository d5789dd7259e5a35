"""Sites that are added to a run later lie in ``acts.NAME`` beside ``acts`` (S25)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hiddenscape.errors import InputError, ManifestMismatch, StoreError
from hiddenscape.store.canonical import describe, differences
from hiddenscape.store.manifest import Manifest, read_manifest

__all__ = ["added_folder", "added_folders", "agree_with", "check_added"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
# What makes two stores speak of the same rows of the same network. Batches may differ.
_SHARED = (
    "model",
    "adapter",
    "intervention_hash",
    "tokenizer",
    "processor_hash",
    "dataset.fingerprint",
    "dataset.rows",
    "dataset.row_ids_hash",
    "input.kind",
    "input.max_length",
    "input.overlength",
)


def added_folder(run: str | Path, name: str) -> Path:
    """The folder ``RUN/acts.NAME``.

    Raises
    ------
    InputError
        If the name could be that of something else.

    Examples
    --------
    >>> added_folder("runs/gpt2", "heads").name
    'acts.heads'
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise InputError(f"name {name!r}: give letters, digits, '_', '-', '.', beginning with one")
    return Path(run) / f"acts.{name}"


def added_folders(run: Path) -> list[Path]:
    """The stores that were added to a run, by name."""
    found = (p for p in run.glob("acts.*") if _NAME.fullmatch(p.name.removeprefix("acts.")))
    return sorted(p for p in found if (p / "manifest.json").is_file())


def agree_with(added: Manifest, first: Manifest, folder: str | Path = "acts") -> None:
    """Refuse to add sites to a run that they do not belong to.

    Rows, data set, network, adapter and tokenizer must be equal, and no site may be in both.

    Parameters
    ----------
    added, first : Manifest
        Of the sites to add, and of the run's ``acts`` (or of a store added before).
    folder : path
        Where ``first`` lies, for messages.

    Raises
    ------
    ManifestMismatch
        Naming the field, both values and the remedy.
    StoreError
        If a site is in both.
    """
    for name in _SHARED:
        wrong = differences(_field(first.identity, name), _field(added.identity, name), name)
        if wrong:
            field, stored, new = wrong[0]
            raise ManifestMismatch(
                f"{folder}: these sites belong to another run: {field} is {describe(stored)} there "
                f"and {describe(new)} here: write them to a run of their own (--out)",
                field,
                stored,
                new,
            )
    twice = sorted({*first.entries} & {*added.entries})
    if twice:
        raise StoreError(f"{folder}: site {twice[0]!r} is there already: leave it out")


def _field(identity: Mapping[str, Any], name: str) -> Any:
    value: Any = identity
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def check_added(folder: Path, manifest: Manifest) -> None:
    """Before ``acts.NAME`` is written: it must belong to the run's ``acts`` and its neighbours.

    Raises
    ------
    StoreError
        If there is no ``acts`` to add to.
    ManifestMismatch
        See :func:`agree_with`.
    """
    if not folder.name.startswith("acts."):
        return
    first = folder.parent / "acts"
    if not (first / "manifest.json").is_file():
        raise StoreError(f"{folder}: there is no {first} to add sites to: write that first")
    for other in [first, *_others(folder)]:
        agree_with(manifest, read_manifest(other / "manifest.json"), other)


def _others(folder: Path) -> Iterable[Path]:
    return (p for p in added_folders(folder.parent) if p.name != folder.name)
