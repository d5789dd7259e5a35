"""Where a checkpoint lies, and what identifies it: a commit, or a hash of its files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from hiddenscape.errors import InputError, NetworkError
from hiddenscape.models.hub import cached, offline, resolve_commit

__all__ = [
    "Origin",
    "code_hash",
    "files_hash",
    "find_origin",
    "folder_hash",
    "source_key",
    "stored_dtype",
    "weight_files",
]

_SAFE = ("model.safetensors", "model.safetensors.index.json")
_BIN = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A local folder, or a repository on the hub at one commit."""

    where: str
    local: bool
    commit: str | None = None

    @property
    def title(self) -> str:
        """Its name without the place where this machine keeps it."""
        return Path(self.where).resolve().name if self.local else self.where

    def options(self, trust_remote_code: bool) -> dict[str, Any]:
        """What every ``from_pretrained`` gets: one commit for all, no network for a folder."""
        options: dict[str, Any] = {
            "trust_remote_code": trust_remote_code,
            "local_files_only": self.local or offline(),
        }
        return options if self.commit is None else {**options, "revision": self.commit}

    def file(self, name: str) -> Path | None:
        """A file of the checkpoint on this disk, if it is there."""
        if not self.local:
            return cached(self.where, name, self.commit)
        path = Path(self.where) / name
        return path if path.is_file() else None


def find_origin(source: str | Path, revision: str | None = None) -> Origin:
    """The folder that ``source`` names, else its repository at the commit ``revision`` means now.

    Raises
    ------
    InputError
        If the folder is not there or holds no checkpoint, or has a revision.
    NetworkError
        If the hub knows no such repository or revision.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            if (path / "adapter_config.json").is_file():
                raise InputError(
                    f"{path}: an adapter, not a network; give its base as the network and this "
                    "folder as the adapter"
                )
            raise InputError(f"{path}: no config.json here; expected a Hugging Face folder")
        if revision is not None:
            raise InputError(
                f"{path}: a folder has no revisions, got {revision!r}; give the folder of that "
                "checkpoint, or a Hugging Face id"
            )
        return Origin(where=str(path), local=True)
    if path.exists():
        raise InputError(f"{path}: a file; expected a folder with config.json and safetensors")
    text = str(source)
    if isinstance(source, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise InputError(f"{path}: no such folder")
    return Origin(where=text, local=False, commit=resolve_commit(text, revision))


def weight_files(origin: Origin, *, allow_bin: bool = False) -> list[Path]:
    """The files that hold the weights, the index of a sharded checkpoint first; [] if unknown."""
    config = origin.file("config.json")
    named = None if config is None else _read(config).get("transformers_weights")
    for name in ((named,) if isinstance(named, str) else ()) + _SAFE + (_BIN if allow_bin else ()):
        path = origin.file(name)
        if path is None:
            continue
        if not name.endswith(".index.json"):
            return [path]
        parts = sorted(set(map(str, _read(path).get("weight_map", {}).values())))
        found = [origin.file(part) for part in parts]
        return [path, *(p for p in found if p is not None)]
    return []


def files_hash(paths: Iterable[Path]) -> str:
    """BLAKE2b (32 hex digits) over names and contents, read in pieces."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        stat = path.stat()
        content = _content(str(path.resolve()), stat.st_size, stat.st_mtime_ns)
        digest.update(f"{path.name}|{content}|".encode())
    return digest.hexdigest()


_SMALL = ("*.json", "*.txt", "*.model", "*.py", "*.jinja")
_FULL = re.compile(r"[0-9a-f]{40}")


def folder_hash(source: str | Path) -> str:
    """Everything in a folder that can change a number; the name of what lies on the hub."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return str(source)
    patterns = (*_SMALL, "*.safetensors", "*.bin")
    return files_hash(sorted({p for pattern in patterns for p in folder.glob(pattern)}))


def source_key(source: str | Path, revision: str | None = None) -> str:
    """What identifies a checkpoint before it is loaded: the hash of its files, or its commit.

    Raises
    ------
    InputError, NetworkError
        As :func:`find_origin`.
    """
    if revision is not None and _FULL.fullmatch(revision):
        return f"{source}@{revision}"
    origin = find_origin(source, revision)
    if not origin.local:
        return f"{origin.where}@{origin.commit}"
    return f"{origin.title}:{folder_hash(origin.where)}"


@lru_cache(maxsize=4096)
def _content(path: str, size: int, mtime: int) -> str:
    # Size and time only keep a file from being read twice by one process.
    digest = hashlib.blake2b(digest_size=16)
    with Path(path).open("rb") as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def code_hash(folder: Path) -> str | None:
    """Hash over the Python files of a checkpoint's folder; None if it has none."""
    paths = sorted(folder.rglob("*.py"))
    return f"code:{files_hash(paths)}" if paths else None


_TORCH_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def stored_dtype(paths: Iterable[Path]) -> str | None:
    """Dtype of the first floating tensor in safetensors files; None where none can be read."""
    for path in paths:
        if path.suffix != ".safetensors":
            continue
        try:
            with safe_open(path, framework="numpy") as stream:
                for key in stream.keys():  # noqa: SIM118
                    name = _TORCH_NAMES.get(stream.get_slice(key).get_dtype())
                    if name is not None:
                        return name
        except (OSError, SafetensorError):
            return None  # loading says what is wrong with it
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NetworkError(
            f"{path}: cannot be read ({error}); copy the checkpoint again"
        ) from error
    if not isinstance(content, dict):
        raise NetworkError(f"{path}: expected a JSON object; copy the checkpoint again")
    return content
