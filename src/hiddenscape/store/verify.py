"""Is a store whole and unchanged? Looks at everything, reports, repairs only when asked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hiddenscape.errors import HiddenscapeError, ManifestMismatch, ShardError, StoreError
from hiddenscape.store.joining import added_folders, agree_with
from hiddenscape.store.layout import bad_rows, check_offsets
from hiddenscape.store.manifest import Manifest, read_manifest, token_tensors
from hiddenscape.store.reader import store_folder
from hiddenscape.store.rows import read_rows, row_ids_hash, rows_hash, rows_path
from hiddenscape.store.shards import MappedFile, content_hash
from hiddenscape.store.writer import check_shard, shard_files

__all__ = ["Finding", "VerifyReport", "verify"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    file : str
        Name of the file, relative to the run folder.
    problem : str
        What is wrong and what to do, in one line.
    serious : bool
        Whether numbers made from this store could be wrong or missing.
    """

    file: str
    problem: str
    serious: bool = True


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What :func:`verify` found.

    Attributes
    ----------
    path : Path
        The store's folder.
    findings : tuple of Finding
    shards : int
        Good shards.
    rows : int
        Rows in them.
    missing : tuple of (start, stop)
        Row ranges without a good shard.
    nonfinite : mapping or None
        For each site the number of rows with NaN or infinity; None unless ``full``.
    """

    path: Path
    findings: tuple[Finding, ...] = ()
    shards: int = 0
    rows: int = 0
    missing: tuple[tuple[int, int], ...] = ()
    nonfinite: Mapping[str, int] | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing serious was found."""
        return not any(f.serious for f in self.findings)


@dataclass(slots=True)
class _Notes:
    folder: Path
    repair: bool
    findings: list[Finding] = field(default_factory=list)

    def add(self, file: Path, problem: str, *, serious: bool = True) -> None:
        text = problem.removeprefix(f"{file}: ")
        self.findings.append(Finding(f"{file.parent.name}/{file.name}", text, serious))

    def bad_shard(self, file: Path, problem: str) -> None:
        if not self.repair:
            self.add(file, problem)
            return
        number = 1
        while (aside := file.with_name(f"{file.name}.damaged-{number}")).exists():
            number += 1
        try:
            file.rename(aside)
        except OSError as error:
            raise StoreError(f"{file}: cannot be moved aside ({error.strerror})") from error
        self.add(file, f"{problem}; moved aside as {aside.name}")


def verify(path: str | Path, *, full: bool = False, repair: bool = False) -> VerifyReport:
    """Check a store.

    Parameters
    ----------
    path : path
        A run folder, or the store inside it.
    full : bool
        Read every byte: content hashes and counts of NaN and infinity. Otherwise names, headers,
        sizes and row ranges only.
    repair : bool
        Move damaged shards aside (``NAME.damaged-1``), so that the command that made the store
        writes them again. Nothing is deleted.

    Returns
    -------
    VerifyReport
        ``report.ok`` and ``report.findings``.

    Raises
    ------
    StoreError
        If there is no store at ``path``, or a shard cannot be moved aside.

    Examples
    --------
    >>> import tempfile, hiddenscape
    >>> folder = tempfile.mkdtemp()
    >>> _ = hiddenscape.import_points({"a": np.eye(3)}, folder)
    >>> verify(folder, full=True).ok
    True
    """
    folder = store_folder(path)
    first = _verify_one(folder, full=full, repair=repair)
    if folder == Path(path):
        return first
    added = [_verify_one(f, full=full, repair=repair) for f in added_folders(folder.parent)]
    notes = _Notes(folder, repair)
    _check_agreement([folder, *(report.path for report in added)], notes)
    counts = {k: v for report in (first, *added) for k, v in (report.nonfinite or {}).items()}
    return VerifyReport(
        folder,
        tuple(dict.fromkeys([f for r in (first, *added) for f in r.findings] + notes.findings)),
        first.shards + sum(report.shards for report in added),
        first.rows,
        tuple(sorted({*first.missing, *(span for r in added for span in r.missing)})),
        counts if full else None,
    )


def _check_agreement(folders: list[Path], notes: _Notes) -> None:
    for i, folder in enumerate(folders[1:], start=1):
        for other in folders[:i]:
            try:
                added, known = (read_manifest(f / "manifest.json") for f in (folder, other))
                agree_with(added, known, other.name)
            except ManifestMismatch as error:
                notes.add(folder / "manifest.json", str(error))
            except StoreError as error:
                if "is there already" in str(error):
                    notes.add(folder / "manifest.json", str(error))


def _verify_one(folder: Path, *, full: bool, repair: bool) -> VerifyReport:
    notes = _Notes(folder, repair)
    try:
        manifest = read_manifest(folder / "manifest.json")
    except StoreError as error:
        notes.add(folder / "manifest.json", str(error))
        return VerifyReport(folder, tuple(notes.findings))
    _check_names(folder, notes)
    counts = dict.fromkeys(manifest.entries, 0)
    good: list[tuple[int, int]] = []
    for span, file in shard_files(folder).items():
        try:
            mapped = MappedFile(file, check_shard(file, span, manifest))
            if full:
                _check_content(mapped, span, manifest, counts)
        except ShardError as error:
            notes.bad_shard(file, str(error))
        else:
            good.append(span)
    missing = tuple(span for span in manifest.ranges if span not in good)
    if missing:
        notes.add(folder / "manifest.json", _gap(missing, manifest))
    _check_rows(folder, manifest, notes)
    rows = sum(stop - start for start, stop in good)
    found = tuple(notes.findings)
    return VerifyReport(folder, found, len(good), rows, missing, counts if full else None)


def _gap(missing: tuple[tuple[int, int], ...], manifest: Manifest) -> str:
    (start, stop), n = missing[0], len(missing)
    return (
        f"{n} of {len(manifest.ranges)} shards have no good file, the first with rows {start} to "
        f"{stop - 1}: run the command that made the store again"
    )


def _check_names(folder: Path, notes: _Notes) -> None:
    shards = set(shard_files(folder).values())
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".tmp-"):
            text = "left by a writer that was killed or is still at work; the next run removes it"
            notes.add(file, text, serious=False)
        elif file.name.startswith("rows-") and file.suffix == ".safetensors" and file not in shards:
            notes.add(file, "not the name of a shard, it is not read", serious=False)


def _check_content(
    file: MappedFile, span: tuple[int, int], manifest: Manifest, counts: dict[str, int]
) -> None:
    stored = file.header.metadata.get("content_hash")
    actual = content_hash({name: file.raw(name) for name in file.header.tensors})
    if stored != actual:
        raise ShardError(
            f"{file.path}: its content changed after it was written (stored hash "
            f"{str(stored)[:16]}..., actual {actual[:16]}...): restore it from a copy, or let "
            "verify --repair move it away and run the same command again"
        )
    if not np.array_equal(file.raw("row"), np.arange(*span)):
        raise ShardError(f"{file.path}: its rows are not {span[0]} to {span[1] - 1} in order")
    offsets = None
    if manifest.ragged:
        problem = check_offsets({name: file.raw(name) for name in token_tensors()})
        if problem:
            raise ShardError(f"{file.path}: {problem}: restore it from a copy")
        offsets = file.raw("offsets")
    for key in counts:
        code = file.header.tensors[key].code
        counts[key] += bad_rows(code, file.raw(key), offsets if key in manifest.ragged else None)


def _check_rows(folder: Path, manifest: Manifest, notes: _Notes) -> None:
    path = rows_path(folder)
    if not path.exists():
        notes.add(path, "missing: rows have no ids and no labels", serious=False)
        return
    try:
        columns = read_rows(path, n=manifest.rows)
    except HiddenscapeError as error:
        notes.add(path, str(error))
        return
    dataset = manifest.identity["dataset"]
    ids = dataset.get("row_ids_hash")
    if ids is not None and "id" in columns and row_ids_hash(columns["id"]) != ids:
        notes.add(path, "its ids are not those of the store: restore the original")
    elif dataset.get("rows_hash") not in (None, rows_hash([path.read_bytes()])):
        notes.add(path, "edited after it was written: labels may have changed", serious=False)
