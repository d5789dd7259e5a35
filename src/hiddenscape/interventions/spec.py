"""What is changed in attention, as a value: frozen, checked when it is born, with a hash.

``score`` is the scaled (and, where the family does so, capped) product of query and key, before
mask and softmax; ``weight`` is what the softmax gives.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.types import whole

__all__ = ["OPS", "STAGES", "AttentionEdit", "as_edits", "edits_hash"]

STAGES = ("score", "weight")
OPS = ("scale", "add", "set", "knockout")
_QUERIES, _KEYS = ("last", "all"), ("all", "bos")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionEdit:
    r"""One change of the attention of some heads.

    With score :math:`s_{qk}` and weight :math:`w_{qk} = \mathrm{softmax}_k(s_{qk} + m_{qk})`:

    =========  =================================================================================
    op         effect on the chosen entries (query, key)
    =========  =================================================================================
    scale      :math:`s \to \alpha s` or :math:`w \to \alpha w`. Not the same thing: a negative
               score times 5 takes weight away, a score times 0 may give some
    add        :math:`s \to s + \delta` (the odds times :math:`e^\delta`), or :math:`w + \delta`
    set        :math:`s \to v` or :math:`w \to v`
    knockout   the weight is exactly 0; for scores the other keys share what it had
    =========  =================================================================================

    Two laws: a score knock-out is a renormalised weight knock-out, and a weight times alpha,
    renormalised, is a score plus ln alpha.

    Parameters
    ----------
    heads : sequence of (block, head)
        Both counted from 0; with grouped heads, query heads.
    query : str or int
        Whose attention changes: ``last`` (the last token), ``all``, a position, or the name of a
        span that the data set gives. Negative positions count from the end.
    key : str or int
        Attention to what: ``all``, ``bos`` (the first position), a position, or a span.
    stage : {"score", "weight"}
        Before or after the softmax.
    op : {"scale", "add", "set", "knockout"}
        See above.
    value : float, optional
        alpha, delta or v; none for a knock-out.
    renormalise : bool, optional
        Weight stage only: give each edited row of weights the sum it had. True by default; False
        changes the sum (an older published variant, and the way to take a head out altogether).

    Raises
    ------
    InputError
        For anything that is none of these; the message says what is.

    References
    ----------
    Ortu et al. 2024, arXiv:2402.11655; Geva et al. 2023, arXiv:2304.14767 (knock-out).

    Examples
    --------
    >>> edit = AttentionEdit(heads=[(10, 7), (11, 10)], key="attribute", op="scale", value=5)
    >>> edit.heads, edit.query, edit.stage
    (((10, 7), (11, 10)), 'last', 'score')
    >>> AttentionEdit.from_json(edit.to_json()) == edit
    True
    >>> edit.no_op().value
    1.0
    """

    heads: Sequence[tuple[int, int]]
    query: str | int = "last"
    key: str | int = "all"
    stage: str = "score"
    op: str = "knockout"
    value: float | None = None
    renormalise: bool | None = None

    def __post_init__(self) -> None:
        _choice("stage", self.stage, STAGES)
        _choice("op", self.op, OPS)
        object.__setattr__(self, "heads", _heads(self.heads))
        object.__setattr__(self, "query", _position("query", self.query, _QUERIES))
        object.__setattr__(self, "key", _position("key", self.key, _KEYS))
        object.__setattr__(self, "value", self._checked_value())
        object.__setattr__(self, "renormalise", self._checked_renormalise())

    def _checked_value(self) -> float | None:
        if self.op == "knockout":
            if self.value is not None:
                raise InputError(f"a knockout takes no value, got {self.value!r}; use 'set'")
            return None
        given: Any = self.value  # of numpy, perhaps
        value = math.nan
        if not isinstance(given, bool) and isinstance(given, Real):
            with suppress(OverflowError):
                value = float(given)
        if not math.isfinite(value):
            raise InputError(f"op {self.op!r} needs a finite value, got {self.value!r}")
        return value + 0.0  # no negative zero: it would have a hash of its own

    def _checked_renormalise(self) -> bool | None:
        if self.stage == "score":
            if self.renormalise is not None:
                raise InputError(
                    "renormalise belongs to stage 'weight': after an edit of scores the softmax "
                    "sums to 1 anyway; leave it out"
                )
            return None
        if self.renormalise is None:
            return True
        # By type: 0 and numpy's False equal False and are not it.
        if not isinstance(self.renormalise, bool | np.bool_):
            raise InputError(f"renormalise must be True or False, got {self.renormalise!r}")
        return bool(self.renormalise)

    @property
    def blocks(self) -> tuple[int, ...]:
        """The blocks it touches."""
        return tuple(sorted({block for block, _ in self.heads}))

    @property
    def spans(self) -> tuple[str, ...]:
        """The spans that its query and key name."""
        sides = ((self.query, _QUERIES), (self.key, _KEYS))
        return tuple(s for s, words in sides if isinstance(s, str) and s not in words)

    @property
    def hash(self) -> str:
        """32 hex digits over the canonical JSON: equal for equal edits, whatever their spelling."""
        return edits_hash((self,))

    def no_op(self) -> AttentionEdit:
        """The same heads, entries and stage, times 1."""
        return replace(self, op="scale", value=1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        return told | {"heads": [list(pair) for pair in self.heads]}

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> AttentionEdit:
        """The edit of :meth:`to_dict`; raises InputError for keys that are none of its fields."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(told) - known)
        if unknown or "heads" not in told:
            raise InputError(
                f"an attention edit has the keys {', '.join(sorted(known))} and needs 'heads'; got "
                f"{', '.join(sorted(map(str, told)))}"
            )
        return cls(**told)

    @classmethod
    def from_json(cls, text: str) -> AttentionEdit:
        """The edit of :meth:`to_json`."""
        try:
            told = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"an attention edit cannot be read from {text[:60]!r}: {error}") from (
                error
            )
        if not isinstance(told, dict):
            raise InputError(f"an attention edit is a JSON object, got {text[:60]!r}")
        return cls.from_dict(told)


def _choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} {value!r} is not one of {', '.join(choices)}")


def _heads(heads: Any) -> tuple[tuple[int, int], ...]:
    pairs: list[tuple[int, int]] = []
    for pair in heads if isinstance(heads, Iterable) and not isinstance(heads, str) else [heads]:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise InputError(f"heads are pairs (block, head) such as [(10, 7)], got {pair!r}")
        block, head = whole("block", pair[0]), whole("head", pair[1])
        if block < 0 or head < 0:
            raise InputError(f"head ({block}, {head}): blocks and heads are counted from 0")
        pairs.append((block, head))
    if not pairs:
        raise InputError("an attention edit needs at least one (block, head)")
    if len(set(pairs)) < len(pairs):
        twice = next(pair for pair in pairs if pairs.count(pair) > 1)
        raise InputError(f"head {twice} is named twice")
    return tuple(sorted(pairs))


def _position(name: str, value: Any, words: tuple[str, ...]) -> str | int:
    if isinstance(value, str):
        if value in {*_QUERIES, *_KEYS} - {*words}:
            raise InputError(
                f"{name} {value!r}: use {', '.join(words)}, a position, or the name of a span"
            )
        if not value.strip():
            raise InputError(f"{name} is empty; use {', '.join(words)}, a position or a span")
        return value
    return whole(name, value)


def as_edits(edit: AttentionEdit | Sequence[AttentionEdit]) -> tuple[AttentionEdit, ...]:
    """One edit or several as a tuple; raises InputError for anything else."""
    if not isinstance(edit, AttentionEdit | Sequence):
        raise InputError(f"expected an AttentionEdit or a list of them, got {edit!r}")
    edits = (edit,) if isinstance(edit, AttentionEdit) else tuple(edit)
    for one in edits:
        if not isinstance(one, AttentionEdit):
            raise InputError(f"expected an AttentionEdit, got a {type(one).__name__}")
    return edits


def edits_hash(edits: Sequence[AttentionEdit]) -> str:
    """Hash over edits in their order: it is part of a store's identity."""
    text = "[" + ",".join(edit.to_json() for edit in edits) + "]"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
