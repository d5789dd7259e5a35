"""The hub and its cache on disk: which commit a name means, and what one revision added."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from hiddenscape.errors import MissingDependency, NetworkError, clean_cause, scrub

__all__ = ["cached", "drop", "hub_errors", "offline", "repo_files", "resolve_commit"]


def offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids the network, read now and not when something loaded."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on")


def hub_errors() -> tuple[type[Exception], ...]:
    """What asking the hub may raise, whatever the version of its client."""
    from huggingface_hub import errors

    names = ("EntryNotFoundError", "RevisionResolutionError", "HfHubHTTPError")
    found = [getattr(errors, name, None) for name in names]
    with suppress(ImportError):  # an older client asks by requests, whose errors are OSErrors
        found.append(import_module("httpx").HTTPError)
    return (OSError, ValueError, *(e for e in found if e is not None))


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingDependency(
            'loading a Hugging Face network needs transformers: pip install "hiddenscape[hf]"'
        ) from error
    return huggingface_hub


def resolve_commit(repo: str, revision: str | None = None, file: str = "config.json") -> str | None:
    """The commit that a branch, tag or commit of ``repo`` means now.

    Fetches one small file and reads the commit off the place where the cache keeps it; offline,
    the cache alone is asked.

    Raises
    ------
    NetworkError
        If the hub or the cache has no such repository or revision. The message holds no token.
    """
    hub = _client()
    try:
        path = hub.hf_hub_download(repo, file, revision=revision, local_files_only=offline())
    except hub_errors() as error:
        text = scrub(" ".join(str(error).split()))[:300]
        at = "" if revision is None else f" at revision {revision!r}"
        raise NetworkError(
            f"{repo}: no folder of that name is here, and the hub gave nothing{at}: {text}"
        ) from clean_cause(error)
    parts = Path(path).parts
    if "snapshots" not in parts:
        return None
    return parts[len(parts) - parts[::-1].index("snapshots")]


def cached(repo: str, file: str, commit: str | None) -> Path | None:
    """Where the cache keeps a file of a commit; None if it does not."""
    found = _client().try_to_load_from_cache(repo, file, revision=commit)
    return Path(found) if isinstance(found, str) else None


def _folder(repo: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"


def repo_files(repo: str) -> frozenset[str]:
    """Every file that the cache has of ``repo`` now, relative to its folder."""
    folder = _folder(repo)
    found = (p for p in folder.rglob("*") if p.is_symlink() or p.is_file())
    return frozenset(p.relative_to(folder).as_posix() for p in found)


def drop(repo: str, commit: str, keep: Iterable[str]) -> int:
    """Delete from the cache what belongs to ``commit`` alone and is not in ``keep``.

    A blob that another commit still points to stays. Other repositories are never touched.

    Returns
    -------
    int
        Bytes set free.
    """
    folder, kept, free = _folder(repo), set(keep), 0
    snapshot = folder / "snapshots" / commit
    blobs: set[Path] = set()
    for path in sorted(snapshot.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if path.relative_to(folder).as_posix() in kept:
            continue
        if path.is_symlink():
            blobs.add(path.resolve())
        else:
            free += path.stat().st_size
        path.unlink()
    used = {p.resolve() for p in (folder / "snapshots").rglob("*") if p.is_symlink()}
    for blob in sorted(blobs - used):
        inside = blob.is_relative_to(folder.resolve() / "blobs")
        if inside and blob.is_file() and f"blobs/{blob.name}" not in kept:
            free += blob.stat().st_size
            blob.unlink()
    for path in sorted(snapshot.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    if snapshot.is_dir() and not any(snapshot.iterdir()):
        snapshot.rmdir()
        for ref in (folder / "refs").rglob("*"):
            same = ref.is_file() and ref.read_text(encoding="utf-8").strip() == commit
            if same and ref.relative_to(folder).as_posix() not in kept:
                ref.unlink()
    return free
