"""The shape of every answer: a small frozen value that knows its uncertainty and what it left out.

Concrete results (``Dimension``, ``Overlap``, ...) live beside the function that makes them and
extend :class:`Estimate`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hiddenscape.errors import InputError

__all__ = [
    "NOTE_WORDS",
    "STDERR_KINDS",
    "Estimate",
    "ReadOnly",
    "join_notes",
    "listed",
    "note_words",
]

NOTE_WORDS = (
    "duplicates",
    "ties",
    "capped",
    "collapsed",
    "few_points",
    "low_for_high_dimension",
    "disconnected",
    "undefined",
    "coarse_dtype",
    "approximate",
    "no_length",
)
"""The vocabulary of notes; each word may carry a remark in brackets."""

STDERR_KINDS = ("", "exact", "fisher", "blocks", "repeats", "jackknife", "bootstrap")
"""``exact`` sampling law of the model; ``fisher`` Cramer-Rao, a lower bound; ``blocks`` delete-one
jackknife over spatial blocks with fixed lists; ``repeats`` spread over subsets or seeds;
``jackknife`` everything recomputed; ``bootstrap`` over points with fixed lists."""


def join_notes(*notes: str) -> str:
    """Join notes with ``; ``, leaving out empty ones and repeats.

    Examples
    --------
    >>> join_notes("duplicates (3 of 10 rows)", "", "ties")
    'duplicates (3 of 10 rows); ties'
    """
    seen: list[str] = []
    for note in notes:
        for part in note.split("; "):
            if part and part not in seen:
                seen.append(part)
    return "; ".join(seen)


def note_words(note: str) -> tuple[str, ...]:
    """The words of a note without their remarks.

    Examples
    --------
    >>> note_words("duplicates (3 of 10 rows); ties")
    ('duplicates', 'ties')
    """
    return tuple(part.split(" ", 1)[0] for part in note.split("; ") if part)


def listed(items: Iterable[str], limit: int = 5) -> str:
    """Names in a row, the rest counted.

    Examples
    --------
    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    names = list(items)
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)


class ReadOnly(Mapping[str, object]):
    """A mapping that cannot be changed, and that pickles (``MappingProxyType`` does not).

    Examples
    --------
    >>> settings = ReadOnly({"k": 10})
    >>> settings["k"], settings | {"z": 1.65}
    (10, {'k': 10, 'z': 1.65})
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, object]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> object:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __or__(self, other: Mapping[str, object]) -> dict[str, object]:
        return {**self._items, **other}

    def __repr__(self) -> str:
        return repr(self._items)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Estimate:
    """One number with its uncertainty.

    Attributes
    ----------
    value : float
        The estimate; NaN where it is undefined, never a filler.
    stderr : float
        Standard error; NaN where none is known.
    stderr_kind : str
        One of :data:`STDERR_KINDS`.
    n_used, n_dropped : int
        Rows that entered the estimate, and rows that were left out.
    note : str
        What the reader must know, in the words of :data:`NOTE_WORDS`; empty if nothing.
    parameters : mapping
        Every setting that fixes the number.
    """

    value: float
    n_used: int
    stderr: float = math.nan
    stderr_kind: str = ""
    n_dropped: int = 0
    note: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.stderr_kind not in STDERR_KINDS:
            raise InputError(f"stderr_kind {self.stderr_kind!r} is not one of {STDERR_KINDS}")
        if math.isnan(self.value) and not self.note:
            raise InputError("an estimate without a value needs a note that says why")
        unknown = [w for w in note_words(self.note) if w not in NOTE_WORDS]
        if unknown:
            raise InputError(f"unknown words in note: {unknown}; known: {NOTE_WORDS}")
        object.__setattr__(self, "parameters", ReadOnly(self.parameters))
