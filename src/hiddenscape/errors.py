"""Every exception that hiddenscape raises on purpose.

::

    HiddenscapeError
    ├── InputError (ValueError)          a wrong argument or wrong data
    │   ├── NonFiniteError               rows that hold NaN or infinity; ``rows`` names them
    │   ├── DuplicateRowsError           identical rows where the caller asked to refuse them
    │   └── ConfigError                  a run file or an option that cannot be used
    ├── SiteError (LookupError)          an unknown site, or one that a network does not offer
    ├── MachineError (ArithmeticError)   products that break their proven bounds: a faulty machine
    ├── NetworkError (RuntimeError)      a network that fails its self-check or a forward pass
    │   └── InterventionNotSupported     an edit or attribution that this network does not admit
    ├── StoreError (OSError)             a run directory or store that cannot be read or written
    │   ├── ManifestMismatch             a store made with other settings; ``field`` names which
    │   ├── ShardError                   a shard that does not parse or disagrees with the manifest
    │   ├── IncompleteStore              rows are still missing
    │   └── DiskFullError                no space left; nothing half-written remains
    └── MissingDependency (ImportError)  an optional package is needed; names the extra

A message says what was got, what was expected and what to do, in one line. Each class also inherits
the builtin that a caller without knowledge of hiddenscape would catch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

__all__ = [
    "ConfigError",
    "DiskFullError",
    "DuplicateRowsError",
    "HiddenscapeError",
    "IncompleteStore",
    "InputError",
    "InterventionNotSupported",
    "MachineError",
    "ManifestMismatch",
    "MissingDependency",
    "NetworkError",
    "NonFiniteError",
    "ShardError",
    "SiteError",
    "StoreError",
    "clean_cause",
    "scrub",
]

_KEYS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN")
_SECRET = re.compile(r"\bhf_[A-Za-z0-9]{16,}|(?i:(?<=bearer ))[^\s'\"]+|(?<=://)[^/\s@]+(?=@)")


class HiddenscapeError(Exception):
    """Root of the tree: catch this to catch everything hiddenscape raises on purpose."""

    def __str__(self) -> str:
        # KeyError and OSError would decorate the message; users get the sentence itself.
        return str(self.args[0]) if self.args else self.__class__.__name__


def scrub(text: str) -> str:
    """``text`` without access tokens: those of the environment, and whatever looks like one.

    Examples
    --------
    >>> scrub("401 for https://me:pass@host/x, sent hf_abcdefghijklmnopqrstuvwxyz")
    '401 for https://***@host/x, sent ***'
    """
    for key in _KEYS:
        value = os.environ.get(key, "").strip()
        if len(value) >= 8:
            text = text.replace(value, "***")
    return _SECRET.sub("***", text)


def clean_cause(error: BaseException) -> BaseException | None:
    """``error`` for ``raise ... from``; None if a token stands in it or in what caused it."""
    link: BaseException | None = error
    while link is not None:
        if scrub(str(link)) != str(link) or scrub(repr(link.args)) != repr(link.args):
            return None
        link = link.__cause__ or link.__context__
    return error


class InputError(HiddenscapeError, ValueError):
    """A wrong argument or wrong data."""


class NonFiniteError(InputError):
    """Rows hold NaN or infinity. ``rows`` are their row numbers."""

    def __init__(self, message: str, rows: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(int(r) for r in rows)


class DuplicateRowsError(InputError):
    """Identical rows under the policy ``error``."""


class ConfigError(InputError):
    """A run file or an option that cannot be used."""


class SiteError(HiddenscapeError, LookupError):
    """An unknown site, or one that a network does not offer."""


class MachineError(HiddenscapeError, ArithmeticError):
    """Products of this machine break bounds that hold on any machine that computes correctly."""


class NetworkError(HiddenscapeError, RuntimeError):
    """A network that fails its self-check or its forward pass."""


class InterventionNotSupported(NetworkError):
    """An edit or an attribution that this network does not admit, or whose probe failed."""


class StoreError(HiddenscapeError, OSError):
    """A run directory or store that cannot be read or written."""


class ManifestMismatch(StoreError):
    """A store made with other settings.

    ``field``, ``stored`` and ``new`` say which identity field of the manifest disagrees.
    """

    def __init__(
        self, message: str, field: str = "", stored: object = None, new: object = None
    ) -> None:
        super().__init__(message)
        self.field, self.stored, self.new = field, stored, new


class ShardError(StoreError):
    """A shard that does not parse or disagrees with the manifest."""


class IncompleteStore(StoreError):
    """Rows are still missing; ``missing`` lists the half-open ranges."""

    def __init__(self, message: str, missing: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class DiskFullError(StoreError):
    """No space left on the device; nothing half-written remains."""


class MissingDependency(HiddenscapeError, ImportError):
    """An optional package is needed; the message names the extra to install."""
