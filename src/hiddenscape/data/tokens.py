"""Tokens made of text: lengths, special tokens, and what becomes of rows that are too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hiddenscape.errors import InputError

__all__ = ["OVERLENGTH", "Tokens", "fit_tokens", "tokenize"]

OVERLENGTH = ("error", "truncate:head", "truncate:tail", "skip")
"""What to do with a row that is too long: refuse the run; keep its head or its tail; leave it out
(the row stays in the store, as NaN with status ``skipped``)."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tokens:
    """Token ids of all rows, flags of special tokens, and what became of over-long rows."""

    ids: Sequence[np.ndarray]
    special: Sequence[np.ndarray]
    truncated: np.ndarray
    skipped: np.ndarray

    @classmethod
    def of(cls, ids: Sequence[np.ndarray], special: Sequence[np.ndarray]) -> Tokens:
        """Tokens of which none has been cut."""
        none = np.zeros(len(ids), dtype=bool)
        return cls(ids=ids, special=special, truncated=none, skipped=none)


def tokenize(tokenizer: Any, texts: Sequence[str], *, chunk: int = 1024) -> Tokens:
    """Token ids and the tokenizer's own report of which are special; nothing is cut or padded."""
    ids: list[np.ndarray] = []
    special: list[np.ndarray] = []
    for start in range(0, len(texts), chunk):
        out = tokenizer(
            list(texts[start : start + chunk]),
            add_special_tokens=True,
            return_special_tokens_mask=True,
            return_attention_mask=False,
            truncation=False,
            padding=False,
            verbose=False,
        )
        ids += [np.asarray(row, dtype=np.int32) for row in out["input_ids"]]
        special += [np.asarray(row, dtype=np.uint8) for row in out["special_tokens_mask"]]
    return Tokens.of(ids, special)


def fit_tokens(
    tokens: Tokens, limit: int | None, overlength: str, *, ids: Sequence[str], where: str
) -> Tokens:
    """Apply the policy for rows longer than ``limit`` tokens, specials included.

    ``truncate:head`` keeps the head of the content, ``truncate:tail`` its tail; special tokens in
    front and behind stay.

    Raises
    ------
    InputError
        Under ``error``, naming the first such row and the longest one.

    Examples
    --------
    >>> t = Tokens.of([np.int32([1, 5, 6, 7, 2])], [np.uint8([1, 0, 0, 0, 1])])
    >>> fit_tokens(t, 4, "truncate:tail", ids=["a"], where="x").ids[0].tolist()
    [1, 6, 7, 2]
    """
    if overlength not in OVERLENGTH:
        raise InputError(f"overlength {overlength!r} is not one of {', '.join(OVERLENGTH)}")
    lengths = np.array([len(r) for r in tokens.ids])
    long = np.flatnonzero(lengths > limit) if limit is not None else np.zeros(0, dtype=np.int64)
    if limit is None or not len(long):
        return tokens
    if overlength == "error":
        first, worst = int(long[0]), int(long[np.argmax(lengths[long])])
        raise InputError(
            f"{where}: {len(long)} of {len(lengths)} rows are longer than {limit} tokens, the "
            f"first is row {first} (id {ids[first]!r}, {lengths[first]} tokens), the longest row "
            f"{worst} ({lengths[worst]}); choose overlength 'truncate:head', 'truncate:tail' or "
            "'skip'"
        )
    marked = np.zeros(len(lengths), dtype=bool)
    marked[long] = True
    if overlength == "skip":
        return replace(tokens, skipped=marked)
    new_ids, new_special = list(tokens.ids), list(tokens.special)
    for row in long.tolist():
        keep = _kept(tokens.special[row], limit, overlength)
        new_ids[row], new_special[row] = tokens.ids[row][keep], tokens.special[row][keep]
    return replace(tokens, ids=new_ids, special=new_special, truncated=marked)


def _kept(special: np.ndarray, limit: int, overlength: str) -> np.ndarray:
    content = np.flatnonzero(special == 0)
    front = int(content[0]) if len(content) else len(special)
    back = len(special) - 1 - int(content[-1]) if len(content) else 0
    room = max(0, limit - front - back)
    body = np.arange(front, len(special) - back)
    body = body[:room] if overlength == "truncate:head" else body[len(body) - room :]
    kept = np.concatenate([np.arange(front), body, np.arange(len(special) - back, len(special))])
    return kept[:limit]
