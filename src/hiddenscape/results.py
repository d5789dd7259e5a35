"""The shape of every answer: a small frozen value that knows its uncertainty and what it left out.

Concrete results (``Dimension``, ``Overlap``, ...) live beside the function that makes them and
extend :class:`Estimate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hiddenscape.errors import InputError

__all__ = ["NOTE_WORDS", "STDERR_KINDS", "Estimate", "join_notes", "note_words"]

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
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))
