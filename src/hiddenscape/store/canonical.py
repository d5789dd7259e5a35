"""JSON values that can be hashed, compared and not be changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from hiddenscape.errors import InputError

__all__ = ["canonical_json", "describe", "differences", "frozen"]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values make equal text.

    Raises
    ------
    InputError
        If the value holds something JSON cannot hold, NaN and infinity included.
    """
    try:
        return json.dumps(
            value,
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
            default=_plain,
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"a manifest can hold JSON values only: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r}")


def _freeze(value: Any) -> Any:
    if isinstance(value, dict):
        return MappingProxyType({k: _freeze(v) for k, v in value.items()})
    return tuple(_freeze(v) for v in value) if isinstance(value, list) else value


def frozen(value: Any) -> Any:
    """A deep, immutable copy in which only JSON types occur."""
    return _freeze(json.loads(canonical_json(value)))


def differences(stored: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Fields (dotted name, stored, new) in which two JSON values differ, in sorted order."""
    if isinstance(stored, Mapping) and isinstance(new, Mapping):
        found = []
        for key in sorted({*stored, *new}):
            inner = f"{name}.{key}" if name else str(key)
            found += differences(stored.get(key), new.get(key), inner)
        return found
    keys = _keys(stored), _keys(new)
    if set(keys[0]) != set(keys[1]):
        # The shared ones would fill a message without telling anything.
        there, now = (tuple(k for k in a if k not in b) for a, b in (keys, keys[::-1]))
        return [(f"{name}[].key, not counting shared ones,", there, now)]
    if isinstance(stored, tuple) and isinstance(new, tuple) and len(stored) == len(new):
        found = []
        for i, (a, b) in enumerate(zip(stored, new, strict=True)):
            found += differences(a, b, f"{name}[{i}]")
        return found
    return [] if canonical_json(stored) == canonical_json(new) else [(name, stored, new)]


def _keys(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        return ()
    return tuple(e["key"] for e in value if isinstance(e, Mapping) and "key" in e)


def describe(value: Any, limit: int = 80) -> str:
    """A JSON value in few words, for messages."""
    text = canonical_json(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
