"""Tokens made of text: lengths, special tokens, spans, and what becomes of rows that are too long.

Ids of all rows lie in one flat array: a hundred thousand rows then cost their ids and nothing else.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hiddenscape.errors import InputError

__all__ = [
    "OVERLENGTH",
    "CharSpans",
    "Lists",
    "Tokens",
    "check_overlength",
    "fit_tokens",
    "tokenize",
]

OVERLENGTH = ("error", "truncate:head", "truncate:tail", "window:STRIDE", "skip")
"""What to do with a row that is too long: refuse the run; keep its head or its tail; read it in
windows that start STRIDE content tokens apart, every token with equal weight; leave it out (the row
stays in the store, as NaN with status ``skipped``)."""
_WINDOW = re.compile(r"window:(\d+)")

CharSpans = Mapping[str, Sequence[tuple[int, int] | None]]


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Arrays of different lengths in one: list i is ``flat[offsets[i]:offsets[i + 1]]``.

    Examples
    --------
    >>> lists = Lists.of([[1, 2], [], [3]], np.int32)
    >>> len(lists), lists[0].tolist(), lists.lengths.tolist()
    (3, [1, 2], [2, 0, 1])
    """

    flat: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, lists: Iterable[Any], dtype: Any) -> Lists:
        """From any number of sequences of numbers, read once."""
        flat = array(np.dtype(dtype).char)
        ends = array("q", [0])
        for item in lists:
            whole = np.ascontiguousarray(item)
            numbers = whole.astype(dtype, copy=False)
            if numbers.dtype != whole.dtype and not np.array_equal(numbers, whole):
                raise InputError(f"a row holds numbers that {np.dtype(dtype)} cannot hold")
            flat.frombytes(numbers.tobytes())
            ends.append(len(flat))
        return cls(np.frombuffer(flat, dtype) if flat else np.zeros(0, dtype), np.asarray(ends))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        if not 0 <= i < len(self):
            raise IndexError(i)
        return self.flat[self.offsets[i] : self.offsets[i + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        """Length of each list."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tokens:
    """Token ids of all rows, piece by piece; a row is one piece unless it is read in windows.

    Attributes
    ----------
    ids, special : Lists
        int32 ids and uint8 flags of special tokens, by piece.
    row : int64 (pieces,)
        Row of each piece, rising.
    n_tokens, n_content : int32 (rows,)
        What is read of each row, every token counted once.
    truncated, skipped : bool (rows,)
    weight : Lists or None
        float32 weight of each token of a piece, so that every token of a row counts once however
        many windows hold it; None where every row is one piece.
    spans : mapping
        Name to int32 (rows, 2): token range of the row's only piece, -1 where there is none.
    """

    ids: Lists
    special: Lists
    row: np.ndarray
    n_tokens: np.ndarray
    n_content: np.ndarray
    truncated: np.ndarray
    skipped: np.ndarray
    weight: Lists | None = None
    spans: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        ids: Iterable[Any] | Lists,
        special: Iterable[Any] | Lists,
        spans: Mapping[str, np.ndarray] | None = None,
    ) -> Tokens:
        """Tokens of which none has been cut."""
        rows = ids if isinstance(ids, Lists) else Lists.of(ids, np.int32)
        flags = special if isinstance(special, Lists) else Lists.of(special, np.uint8)
        none = np.zeros(len(rows), dtype=bool)
        total = np.concatenate([[0], np.cumsum(flags.flat, dtype=np.int64)])
        specials = total[flags.offsets[1:]] - total[flags.offsets[:-1]]
        return cls(
            ids=rows,
            special=flags,
            row=np.arange(len(rows)),
            n_tokens=rows.lengths.astype(np.int32),
            n_content=(rows.lengths - specials).astype(np.int32),
            truncated=none,
            skipped=none,
            spans=dict(spans or {}),
        )

    def __len__(self) -> int:
        return len(self.n_tokens)


def tokenize(
    tokenizer: Any, texts: Iterable[str], *, spans: CharSpans | None = None, chunk: int = 1024
) -> Tokens:
    """Token ids and the tokenizer's own report of which are special; nothing is cut or padded.

    ``spans`` are character ranges per row by name; a token belongs to a span if it shares a
    character with it. They need a fast tokenizer (one that knows the characters of each token).

    Raises
    ------
    InputError
        If there are spans and the tokenizer cannot tell which characters a token stands for.
    """
    ids, special = array("i"), array("B")
    ends = array("q", [0])
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in spans or {}}
    if found and not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"spans {', '.join(found)}: tokenizer {type(tokenizer).__name__} does not tell which "
            "characters a token stands for; use its fast version"
        )
    for start, part in _chunks(texts, chunk):
        out = tokenizer(
            part,
            add_special_tokens=True,
            return_special_tokens_mask=True,
            return_attention_mask=False,
            return_offsets_mapping=bool(found),
            truncation=False,
            padding=False,
            verbose=False,
        )
        for i, (row, flags) in enumerate(
            zip(out["input_ids"], out["special_tokens_mask"], strict=True)
        ):
            ids.extend(row)
            special.extend(flags)
            ends.append(len(ids))
            for name, where in found.items():
                wanted = (spans or {})[name][start + i]
                where.append(_token_span(out["offset_mapping"][i], flags, wanted))
    offsets = np.asarray(ends)
    return Tokens.of(
        Lists(np.asarray(ids, dtype=np.int32), offsets),
        Lists(np.asarray(special, dtype=np.uint8), offsets),
        {name: np.array(where, dtype=np.int32) for name, where in found.items()},
    )


def _chunks(texts: Iterable[str], size: int) -> Iterator[tuple[int, list[str]]]:
    part: list[str] = []
    start = 0
    for text in texts:
        part.append(text)
        if len(part) == size:
            yield start, part
            start, part = start + size, []
    if part:
        yield start, part


def _token_span(
    offsets: Sequence[tuple[int, int]], flags: Sequence[int], span: tuple[int, int] | None
) -> tuple[int, int]:
    if span is None:
        return -1, -1
    start, stop = span
    hit = [
        t
        for t, ((a, b), flag) in enumerate(zip(offsets, flags, strict=True))
        if not flag and a < stop and start < b and a < b
    ]
    return (hit[0], hit[-1] + 1) if hit else (-1, -1)


def check_overlength(policy: str) -> int | None:
    """The stride of ``window:STRIDE``, None for the other policies.

    Raises
    ------
    InputError
        If the policy is none of :data:`OVERLENGTH`.
    """
    match = _WINDOW.fullmatch(policy)
    if match is not None and int(match[1]) > 0:
        return int(match[1])
    if policy not in OVERLENGTH or policy == "window:STRIDE":
        raise InputError(f"overlength {policy!r} is not one of {', '.join(OVERLENGTH)}")
    return None


def fit_tokens(
    tokens: Tokens, limit: int | None, overlength: str, *, ids: Sequence[str], where: str
) -> Tokens:
    """Apply the policy for rows longer than ``limit`` tokens, specials included.

    ``truncate:head`` keeps the head of the content, ``truncate:tail`` its tail; special tokens in
    front and behind stay, in every window too. The last window ends with the row, so that each has
    as much context as the network allows. A span that is cut anywhere is no span any more.

    Raises
    ------
    InputError
        Under ``error``, naming the first such row and the longest one; if the stride of windows is
        longer than a window, which would leave tokens out.

    Examples
    --------
    >>> t = Tokens.of([[1, 5, 6, 7, 2]], [[1, 0, 0, 0, 1]])
    >>> fit_tokens(t, 4, "truncate:tail", ids=["a"], where="x").ids[0].tolist()
    [1, 6, 7, 2]
    >>> windows = fit_tokens(t, 4, "window:1", ids=["a"], where="x")
    >>> [piece.tolist() for piece in windows.ids], windows.weight[0].tolist()
    ([[1, 5, 6, 2], [1, 6, 7, 2]], [0.5, 1.0, 0.5, 0.5])
    """
    stride = check_overlength(overlength)
    lengths = tokens.n_tokens
    long = np.flatnonzero(lengths > limit) if limit is not None else np.zeros(0, dtype=np.int64)
    if limit is None or not len(long):
        return tokens
    if overlength == "error":
        first, worst = int(long[0]), int(long[np.argmax(lengths[long])])
        raise InputError(
            f"{where}: {len(long)} of {len(lengths)} rows are longer than {limit} tokens, the "
            f"first is row {first} (id {ids[first]!r}, {lengths[first]} tokens), the longest row "
            f"{worst} ({lengths[worst]}); choose overlength 'truncate:head', 'truncate:tail', "
            "'window:STRIDE' or 'skip'"
        )
    marked = np.zeros(len(lengths), dtype=bool)
    marked[long] = True
    if overlength == "skip":
        return replace(tokens, skipped=marked)
    if stride is not None:
        if tokens.spans:
            raise InputError(
                f"{where}: spans cannot be read in windows; truncate or skip long rows"
            )
        return _windowed(tokens, marked, limit, stride, where)
    kept = [
        _kept(tokens.special[i], limit, overlength) if marked[i] else slice(None)
        for i in range(len(lengths))
    ]
    cut = Tokens.of(
        (row[keep] for row, keep in zip(tokens.ids, kept, strict=True)),
        (row[keep] for row, keep in zip(tokens.special, kept, strict=True)),
        {name: _moved(spans, kept) for name, spans in tokens.spans.items()},
    )
    return replace(cut, truncated=marked)


def _frame(special: np.ndarray) -> tuple[int, int]:
    """How many special tokens stand in front of the content and behind it."""
    content = np.flatnonzero(special == 0)
    if not len(content):
        return len(special), 0
    return int(content[0]), len(special) - 1 - int(content[-1])


def _kept(special: np.ndarray, limit: int, overlength: str) -> np.ndarray:
    front, back = _frame(special)
    room = max(0, limit - front - back)
    body = np.arange(front, len(special) - back)
    body = body[:room] if overlength == "truncate:head" else body[len(body) - room :]
    kept = np.concatenate([np.arange(front), body, np.arange(len(special) - back, len(special))])
    return kept[:limit]


def _moved(spans: np.ndarray, kept: Sequence[np.ndarray | slice]) -> np.ndarray:
    moved = spans.copy()
    for i, keep in enumerate(kept):
        start, stop = spans[i].tolist()
        if isinstance(keep, slice) or start < 0:
            continue
        inside = np.flatnonzero((keep >= start) & (keep < stop))
        whole = len(inside) == stop - start
        moved[i] = (inside[0], inside[-1] + 1) if whole else (-1, -1)
    return moved


def _windowed(tokens: Tokens, marked: np.ndarray, limit: int, stride: int, where: str) -> Tokens:
    ids, special, weight, row = array("i"), array("B"), array("f"), array("q")
    ends = array("q", [0])
    for i, (values, flags) in enumerate(zip(tokens.ids, tokens.special, strict=True)):
        pieces = _pieces(flags, limit, stride, where) if marked[i] else [np.arange(len(values))]
        seen = np.zeros(len(values))
        for piece in pieces:
            seen[piece] += 1
        for piece in pieces:
            ids.frombytes(values[piece].tobytes())
            special.frombytes(flags[piece].tobytes())
            weight.frombytes((1 / seen[piece]).astype(np.float32).tobytes())
            ends.append(len(ids))
            row.append(i)
    offsets = np.asarray(ends)
    return replace(
        tokens,
        ids=Lists(np.asarray(ids, dtype=np.int32), offsets),
        special=Lists(np.asarray(special, dtype=np.uint8), offsets),
        weight=Lists(np.asarray(weight, dtype=np.float32), offsets),
        row=np.asarray(row),
    )


def _pieces(special: np.ndarray, limit: int, stride: int, where: str) -> list[np.ndarray]:
    front, back = _frame(special)
    room = limit - front - back
    if room < 1 or stride > room:
        raise InputError(
            f"{where}: windows of {limit} tokens hold {max(0, room)} content tokens, so a stride "
            f"of {stride} would leave tokens out; use at most window:{max(1, room)}"
        )
    content = len(special) - front - back
    starts = [*range(0, content - room, stride), content - room]
    head, tail = np.arange(front), np.arange(len(special) - back, len(special))
    return [np.concatenate([head, np.arange(front + s, front + s + room), tail]) for s in starts]
