"""Writing a store: one shard at a time, each appears whole or not at all; the rest is resumed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hiddenscape.errors import IncompleteStore, InputError, ManifestMismatch, ShardError, StoreError
from hiddenscape.files import clean_temporaries, write_atomic
from hiddenscape.store.canonical import canonical_json, describe, differences
from hiddenscape.store.joining import check_added
from hiddenscape.store.layout import bad_rows, ready_tensors, shard_layout
from hiddenscape.store.manifest import Manifest, hash_environment, read_manifest, shard_name
from hiddenscape.store.shards import Header, content_hash, read_header, serialize

if TYPE_CHECKING:
    from hiddenscape.store.reader import RepresentationSet

__all__ = ["STATUS", "StoreWriter", "check_shard", "shard_files"]

STATUS = {"ok": 0, "empty": 1, "skipped": 2, "failed": 3}
"""Codes of the tensor ``status`` (S3)."""
_SHARD = re.compile(r"rows-(\d{9})-(\d{9})\.safetensors")


class StoreWriter:
    """Opens a store for writing, or an unfinished one for completing.

    Parameters
    ----------
    folder : path
        The store's own folder, by convention ``RUN/acts``. Made if absent. ``RUN/acts.NAME`` adds
        sites to a run, and must agree with its ``acts``.
    manifest : Manifest
        What the store is to hold. Created in the folder once; a store that is already there must
        have the same identity fields.
    overwrite : bool
        Delete the store that is there (its shards and manifest, nothing else) and begin anew.
    strict : bool
        Refuse where recorded fields (versions, device) differ from those of the store.
    clean : bool
        Also remove temporary files of other hosts. Only when no other writer is at work.

    Attributes
    ----------
    differences : tuple of str
        Recorded fields that differ from those of the store, one sentence each.

    Raises
    ------
    ManifestMismatch
        If the store was made with other settings; names the field, both values and the remedy.
    ShardError
        If a shard that is there does not parse or disagrees with the manifest. Never replaced
        silently: see :func:`hiddenscape.verify`.
    DiskFullError, StoreError
        If the folder cannot be written.

    Notes
    -----
    Several writers may work on one store: each shard is renamed into place, and two writers of the
    same shard write the same bytes.

    Examples
    --------
    >>> import tempfile
    >>> from hiddenscape.store.manifest import Manifest, site_entry
    >>> from hiddenscape.types import Site
    >>> site = Site("conv", depth=1, pooling="gap")
    >>> manifest = Manifest.create(sites=[site_entry(site, (2,))], rows=5, shard_rows=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = StoreWriter(folder, manifest)
    ...     for start, stop in writer.missing():
    ...         _ = writer.commit(
    ...             start, stop, {"conv@gap": np.ones((stop - start, 2), np.float32)}
    ...         )
    ...     points = writer.finish()["conv"]
    ...     points.shape
    (5, 2)
    """

    def __init__(
        self,
        folder: str | Path,
        manifest: Manifest,
        *,
        overwrite: bool = False,
        strict: bool = False,
        clean: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.manifest = manifest
        self._known: set[str] = set()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.folder}: cannot make this folder ({error.strerror or error})"
            ) from error
        check_added(self.folder, manifest)
        if overwrite:
            _delete(self.folder)
        self.differences = _claim(self.folder, manifest, strict=strict)
        clean_temporaries(self.folder, every=clean)
        self.missing()

    def missing(self) -> list[tuple[int, int]]:
        """Row ranges that are still to be written; every shard that is there is checked."""
        found = shard_files(self.folder)
        ranges = self.manifest.ranges
        for span, path in found.items():
            if path.name not in self._known:
                check_shard(path, span, self.manifest)
                self._known.add(path.name)
        return [span for span in ranges if span not in found]

    def commit(self, start: int, stop: int, tensors: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Write one shard: the rows start to stop - 1 of every site.

        Parameters
        ----------
        start, stop : int
            One of the ranges of the manifest.
        tensors : mapping
            Site key to array (n, ...) of the dtype in the manifest; a bfloat16 site is given as
            uint16 words. ``n_tokens``, ``n_content`` (-1 = unknown) and ``status`` (see
            :data:`STATUS`) may be added; ``row`` is filled in. A site with pooling ``tokens`` is
            given flat, (T, d) in row order, and then ``offsets`` (n + 1, from 0 to T),
            ``token_id`` (-1 = unknown), ``token_pos`` and ``token_content`` (0 or 1; each (T,))
            are needed; a row without tokens is fine.

        Returns
        -------
        dict
            For each site the number of rows with NaN or infinity.

        Raises
        ------
        InputError
            If the range, the names, a shape or a dtype are not those of the manifest.
        DiskFullError
            If the disk is full; nothing half-written remains and the shard stays missing.
        """
        if (start, stop) not in self.manifest.ranges:
            raise InputError(f"rows {start} to {stop} are no shard of this store")
        ready = ready_tensors(self.manifest, start, stop, tensors)
        metadata = {
            "schema": self.manifest.identity["schema"],
            "run_id": self.manifest.run_id,
            "range": f"{start}:{stop}",
            "manifest_hash": self.manifest.manifest_hash,
            "env": canonical_json(self.manifest.environment),
            "env_hash": self.manifest.env_hash,
            "content_hash": content_hash({name: array for name, (_, array) in ready.items()}),
        }
        size, chunks = serialize(ready, metadata)
        name = shard_name(start, stop)
        write_atomic(self.folder / name, chunks, needed=size)
        self._known.add(name)
        ragged = self.manifest.ragged
        return {
            key: bad_rows(*ready[key], ready["offsets"][1] if key in ragged else None)
            for key in self.manifest.entries
        }

    def finish(self) -> RepresentationSet:
        """Open the finished store.

        Raises
        ------
        IncompleteStore
            If shards are missing.
        """
        from hiddenscape.store.reader import open_store

        missing = self.missing()
        if missing:
            raise IncompleteStore(
                f"{self.folder}: {len(missing)} of {len(self.manifest.ranges)} shards are "
                f"missing, the first with rows {missing[0][0]} to {missing[0][1] - 1}: run the "
                "same command again to write them",
                missing,
            )
        return open_store(self.folder)


def _claim(folder: Path, manifest: Manifest, *, strict: bool) -> tuple[str, ...]:
    path = folder / "manifest.json"
    text = manifest.to_json().encode()
    if not path.exists():
        try:
            write_atomic(path, [text], needed=len(text), replace=False)
            return ()
        except FileExistsError:
            pass  # another writer was first: agree with it
    stored = read_manifest(path)
    wrong = differences(stored.identity, manifest.identity)
    if wrong:
        telling = min(wrong, key=lambda field: _tells(field[0]))
        raise _mismatch(folder, telling, "write elsewhere (--out) or begin anew (--overwrite)")
    changed = differences(stored.environment, manifest.environment)
    if strict and changed:
        raise _mismatch(folder, changed[0], "restore that environment or leave out --strict")
    return tuple(
        f"{name} is {describe(new)}, the store was begun with {describe(old)}"
        for name, old, new in changed
    )


_CAUSES = ("model.id", "model.class", "dataset.rows", "model.", "adapter", "tokenizer.id")


def _tells(name: str) -> tuple[bool, int]:
    """What a person learns most from comes first: causes before effects, hashes last."""
    cause = next((i for i, start in enumerate(_CAUSES) if name.startswith(start)), len(_CAUSES))
    return name.endswith(("hash", "fingerprint")), cause


def _mismatch(folder: Path, wrong: tuple[str, object, object], remedy: str) -> ManifestMismatch:
    name, stored, new = wrong
    return ManifestMismatch(
        f"{folder}: the store was made with other settings: {name} is {describe(stored)} there "
        f"and {describe(new)} now: {remedy}",
        name,
        stored,
        new,
    )


def _delete(folder: Path) -> None:
    # The manifest goes last: killed on the way, what is left is an ordinary unfinished store.
    for path in shard_files(folder).values():
        path.unlink(missing_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)


def shard_files(folder: Path) -> dict[tuple[int, int], Path]:
    """The shards in a folder by row range, from their names alone, in row order."""
    found = {}
    for path in folder.iterdir():
        name = _SHARD.fullmatch(path.name)
        if name:
            found[int(name[1]), int(name[2])] = path
    return dict(sorted(found.items()))


def check_shard(path: Path, span: tuple[int, int], manifest: Manifest) -> Header:
    """Read a shard's header and compare it with the manifest; no tensor is read.

    Raises
    ------
    ShardError
        Naming the file and the first thing that disagrees.
    """
    remedy = "move it away, or let verify --repair do so, and run the same command again"
    if span not in manifest.ranges:
        raise ShardError(f"{path}: its rows are no shard of this store: {remedy}")
    try:
        header = read_header(path)
    except ShardError as error:
        raise ShardError(f"{error}: {remedy}") from error
    expected = {
        "schema": manifest.identity["schema"],
        "run_id": manifest.run_id,
        "manifest_hash": manifest.manifest_hash,
        "range": f"{span[0]}:{span[1]}",
        "env_hash": hash_environment(header.metadata.get("env", "")),
    }
    for name, value in expected.items():
        if header.metadata.get(name) != value:
            raise ShardError(
                f"{path}: {name} is {header.metadata.get(name)!r}, expected {value!r}: {remedy}"
            )
    tokens = header.tensors.get("token_id")
    layout = shard_layout(manifest, span[1] - span[0], math.prod(tokens.shape) if tokens else 0)
    found = {name: (entry.code, entry.shape) for name, entry in header.tensors.items()}
    for name in sorted({*layout, *found}):
        if layout.get(name) != found.get(name):
            raise ShardError(
                f"{path}: tensor {name!r} is {found.get(name)}, the manifest says "
                f"{layout.get(name)}: {remedy}"
            )
    return header
