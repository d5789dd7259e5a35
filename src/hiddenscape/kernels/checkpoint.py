"""The state of a long search on disk, so that a killed one goes on where it was."""

from __future__ import annotations

import json
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hiddenscape.files import write_atomic
from hiddenscape.kernels.arrays import Cloud, blocks

__all__ = ["Checkpoint"]

_SCHEMA = "hiddenscape-search/1"
_EVERY = 30.0  # seconds between two states
_BLOCK = 1 << 22


class _Lists(Protocol):
    lower: np.ndarray
    index: np.ndarray
    count: np.ndarray
    limit: np.ndarray


class Checkpoint:
    """Reads and writes the state of one search; without a path it does nothing.

    A state belongs to the content of the points and to the settings of the search; one of anything
    else, or a damaged one, is ignored and written over.
    """

    def __init__(self, path: Path | None, points: Cloud, settings: object) -> None:
        self.path = path
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
        """The search is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _fingerprint(points: Cloud, settings: object) -> str:
    digest = blake2b(repr((points.n, points.d, points.exponent, settings)).encode(), digest_size=16)
    for a, b in blocks(points.n, max(1, _BLOCK // points.d)):
        digest.update(np.ascontiguousarray(points.values[a:b]).tobytes())
    return digest.hexdigest()


def _write(path: Path, head: dict[str, object], arrays: dict[str, np.ndarray]) -> None:
    kept = {name: np.ascontiguousarray(x) for name, x in arrays.items()}
    shapes = [(name, x.dtype.str, x.shape) for name, x in kept.items()]
    text = json.dumps(head | {"arrays": shapes}).encode()
    write_atomic(
        path,
        [
            len(text).to_bytes(8, "little"),
            text,
            *(x.reshape(-1).view(np.uint8).data for x in kept.values()),
        ],
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The head and the arrays of a state; empty ones if the file is damaged."""
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            head = json.loads(stream.read(min(size, 1 << 20)))
            arrays = {}
            for name, kind, shape in head["arrays"]:
                x = np.fromfile(stream, dtype=kind, count=int(np.prod(shape)))
                arrays[name] = x.reshape(shape)
    except (ValueError, KeyError, TypeError, OSError):
        return {}, {}
    return head, arrays
