"""The state of a long search on disk, so that a killed one goes on where it was."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.files import write_atomic
from hiddenscape.kernels.arrays import Cloud, blocks

__all__ = ["Checkpoint", "check_path"]

_SCHEMA = "hiddenscape-search/1"
_MAGIC = b"hiddenscape search\n"
_DIGEST = 16
_EVERY = 30.0  # seconds between two states
_BLOCK = 1 << 22


class _Lists(Protocol):
    lower: np.ndarray
    index: np.ndarray
    count: np.ndarray
    limit: np.ndarray


class Checkpoint:
    """Reads and writes the state of one search; without a path it does nothing.

    A state belongs to the content of the points and to the settings of the search; one of another
    search, or a damaged one, is ignored and written over. A file that is no state is refused.
    """

    def __init__(self, path: Path | None, points: Cloud, settings: object) -> None:
        if path is not None:
            check_path(path)
        self.path = path
        self._ours = False
        self._key = "" if path is None else _fingerprint(points, settings)
        self._found: dict[str, np.ndarray] = {}
        self._last = time.monotonic()

    def open(self, indices: np.ndarray, distances: np.ndarray, crowded: list[np.ndarray]) -> int:
        """Steps that are done; what they found goes into the results."""
        if self.path is None or not self.path.exists():
            return 0
        head, found = _read(self.path)
        if head.get("schema") != _SCHEMA or head.get("key") != self._key:
            return 0
        self._ours = True
        self._found = found
        rows = len(found["indices"])
        indices[:rows], distances[:rows] = found["indices"], found["distances"]
        crowded.append(found["crowded"])
        return int(head["steps"])

    def restore(self, lists: _Lists) -> None:
        """Fill the lists of the panel that was under way, if one was."""
        if "count" not in self._found:
            return
        lists.count[:] = self._found["count"]
        lists.limit[:] = self._found["limit"]
        filled = np.arange(lists.lower.shape[1]) < lists.count[:, None]
        lists.lower[filled] = self._found["lower"]
        lists.index[filled] = self._found["index"]
        self._found = {}

    def save(
        self,
        steps: int,
        panel: tuple[int, int],
        lists: _Lists | None,
        indices: np.ndarray,
        distances: np.ndarray,
        crowded: list[np.ndarray],
    ) -> None:
        """Write the state after a number of steps, if the last one is old enough."""
        if self.path is None or time.monotonic() - self._last < _EVERY:
            return
        self._ours = True
        rows = panel[1] if lists is None else panel[0]
        state = {
            "indices": indices[:rows],
            "distances": distances[:rows],
            "crowded": np.concatenate([np.empty(0, dtype=np.int64), *crowded]),
        }
        if lists is not None:
            filled = np.arange(lists.lower.shape[1]) < lists.count[:, None]
            state |= {
                "count": lists.count,
                "limit": lists.limit,
                "lower": lists.lower[filled],
                "index": lists.index[filled],
            }
        _write(self.path, {"schema": _SCHEMA, "key": self._key, "steps": steps}, state)
        self._last = time.monotonic()

    def remove(self) -> None:
        """The search is done: its state goes, and nobody else's."""
        if self.path is not None and self._ours:
            # A state that cannot be removed must not cost the result; it is ignored next time.
            with suppress(OSError):
                self.path.unlink(missing_ok=True)


def check_path(path: Path) -> None:
    """Refuse to use a file that is no state of a search: it would be written over and removed.

    Raises
    ------
    InputError
        If the path exists and is anything else.
    """
    if not path.exists():
        return
    if path.is_file():
        with path.open("rb") as stream:
            start = stream.read(len(_MAGIC))
        if start in (_MAGIC, b""):
            return
    raise InputError(f"checkpoint {path} is no state of a search: name a file that does not exist")


def _fingerprint(points: Cloud, settings: object) -> str:
    digest = blake2b(repr((points.n, points.d, points.exponent, settings)).encode(), digest_size=16)
    for a, b in blocks(points.n, max(1, _BLOCK // points.d)):
        digest.update(np.ascontiguousarray(points.values[a:b]).tobytes())
    return digest.hexdigest()


def _write(path: Path, head: dict[str, object], arrays: dict[str, np.ndarray]) -> None:
    kept = {name: np.ascontiguousarray(x) for name, x in arrays.items()}
    raw = [x.reshape(-1).view(np.uint8).data for x in kept.values()]
    shapes = [(name, x.dtype.str, x.shape) for name, x in kept.items()]
    text = json.dumps(head | {"arrays": shapes}).encode()
    digest = blake2b(text, digest_size=_DIGEST)
    for part in raw:
        digest.update(part)
    size = len(text).to_bytes(8, "little")
    write_atomic(path, [_MAGIC, digest.digest(), size, text, *raw])


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The head and the arrays of a state; empty ones if a single byte is not as it was written."""
    with path.open("rb") as stream:
        digest = blake2b(digest_size=_DIGEST)
        if stream.read(len(_MAGIC)) != _MAGIC:
            return {}, {}
        written = stream.read(_DIGEST)
        size = int.from_bytes(stream.read(8), "little")
        start = stream.tell()
        digest.update(stream.read(min(size, 1 << 20)))
        while part := stream.read(1 << 24):
            digest.update(part)
        if digest.digest() != written:
            return {}, {}
        stream.seek(start)
        head = json.loads(stream.read(size))
        arrays = {
            name: np.fromfile(stream, dtype=kind, count=int(np.prod(shape))).reshape(shape)
            for name, kind, shape in head["arrays"]
        }
    return head, arrays
