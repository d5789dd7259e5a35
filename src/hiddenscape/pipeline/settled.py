"""What is finished already: a part whose points are complete needs no network to say so.

A note in ``PART/log/extracted.json`` ties the store to what identifies network, data and settings.
It is a cache: without it the network is loaded and the store's manifest compared, as ever.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from hiddenscape._version import __version__
from hiddenscape.errors import StoreError
from hiddenscape.pipeline.parts import Part
from hiddenscape.runs import read_json, write_json
from hiddenscape.store.reader import RepresentationSet, open_store

__all__ = ["adopt", "complete_store", "settings_key", "settle", "settled"]

_NOTE = Path("log") / "extracted.json"


def settings_key(part: Part, fingerprint: str, extraction: dict[str, Any]) -> str | None:
    """Hash over what decides the points of a part; None if only loading its network can tell."""
    network = part.key()
    if network is None:
        return None
    content = json.dumps(
        [network, fingerprint, extraction, __version__], sort_keys=True, default=list
    )
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def complete_store(folder: Path) -> RepresentationSet | None:
    """The store of a run directory, if all of it is there and opens."""
    try:
        return open_store(folder)
    except StoreError:
        return None


def settled(folder: Path, key: str | None) -> RepresentationSet | None:
    """The store of a part that is finished under these settings; None if it must be looked at."""
    if key is None:
        return None
    try:
        note = read_json(folder / _NOTE)
    except StoreError:
        return None
    if note.get("key") != key or not (folder / "rows.csv").is_file():
        return None
    store = complete_store(folder)
    if store is None or store.manifest.manifest_hash != note.get("manifest_hash"):
        return None
    return store


def settle(folder: Path, key: str | None, store: RepresentationSet) -> None:
    """Note that a part is finished."""
    if key is not None:
        note = {"key": key, "manifest_hash": store.manifest.manifest_hash}
        write_json(folder / _NOTE, note)


def adopt(source: Path, folder: Path) -> None:
    """Give ``folder`` the points of a part with the same key: the same files, not read again.

    A store that is there already is left alone; extraction will compare it.
    """
    if (folder / "acts").exists():
        return
    acts = folder / "acts.new"
    shutil.rmtree(acts, ignore_errors=True)
    acts.mkdir(parents=True)
    for path in sorted((source / "acts").iterdir()):
        if path.is_file() and not path.name.startswith("."):
            _same(path, acts / path.name)
    _same(source / "rows.csv", folder / "rows.csv")
    # The folder appears whole or not at all.
    acts.rename(folder / "acts")


def _same(path: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:
        # Another disk, or one that has no links.
        shutil.copy2(path, target)
