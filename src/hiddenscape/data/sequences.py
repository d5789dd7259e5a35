"""Letters of biological sequences: which there may be, and what may be done to them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from hiddenscape.errors import ConfigError, InputError

__all__ = ["AMINO_ACIDS", "SequenceRules"]

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWYXUZOB"
"""The twenty, X (unknown), and the rare U, Z, O, B."""
_RARE = "UZOB"
# Of the Latin letters only: str.upper makes two letters of a sharp s.
_UPPER = str.maketrans({c: c.upper() for c in "abcdefghijklmnopqrstuvwxyz"})
_REMEDIES = {
    "*": "a stop; leave it out with drop='*' (--sequences drop_stop)",
    "-": "a gap of an alignment; leave gaps out with drop='-' (--sequences drop_gaps)",
    ".": "a gap of an alignment; leave gaps out with drop='.'",
    " ": "a blank; use a file without blanks in its sequences",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRules:
    """What may be done to sequences before they become text. By default nothing is changed, and a
    letter outside the alphabet is an error.

    Attributes
    ----------
    alphabet : str
        Letters there may be after everything else has been applied.
    rare : {"keep", "X"}
        ``X`` replaces U, Z, O and B by X, as ProtT5 was trained; ESM has tokens of its own for
        them, so ``keep``.
    upper : bool
        Write lower-case letters (soft-masked regions) in upper case.
    drop : str
        Letters to leave out, such as ``*-``.
    spaced : bool
        Put a blank between letters, as the tokenizers of ProtT5 and ProtBERT want.

    Examples
    --------
    >>> SequenceRules(rare="X", upper=True, drop="*", spaced=True).apply(["mkU*"], str)
    ['M K X']
    """

    alphabet: str = AMINO_ACIDS
    rare: Literal["keep", "X"] = "keep"
    upper: bool = False
    drop: str = ""
    spaced: bool = False

    def __post_init__(self) -> None:
        if self.rare not in ("keep", "X"):
            raise ConfigError(f"rare must be 'keep' or 'X', got {self.rare!r}")
        if not self.alphabet:
            raise ConfigError("alphabet must hold the letters there may be")

    def apply(self, sequences: Sequence[str], where: Callable[[int], str]) -> list[str]:
        """The sequences as text; ``where`` names a row in messages.

        Raises
        ------
        InputError
            For a letter outside the alphabet; names row, position (from 1) and the remedy.
        """
        stranger = re.compile(f"[^{re.escape(self.alphabet)}]")
        change = str.maketrans(
            {**dict.fromkeys(_RARE if self.rare == "X" else "", "X"), **dict.fromkeys(self.drop)}
        )
        out: list[str] = []
        for row, sequence in enumerate(sequences):
            plain = (sequence.translate(_UPPER) if self.upper else sequence).translate(change)
            if stranger.search(plain):
                raise self._refusal(sequence, where(row))
            out.append(" ".join(plain) if self.spaced else plain)
        return out

    def _refusal(self, sequence: str, where: str) -> InputError:
        for position, letter in enumerate(sequence, 1):
            seen = letter.translate(_UPPER) if self.upper else letter
            if seen in self.drop or seen in self.alphabet:
                continue
            if seen.translate(_UPPER) in self.alphabet:
                remedy = "lower case; take it as upper case with upper=True (--sequences upper)"
            else:
                remedy = _REMEDIES.get(letter, f"outside the alphabet {self.alphabet!r}")
            return InputError(f"{where}: letter {letter!r} at position {position} is {remedy}")
        raise AssertionError("a sequence was refused without a letter to refuse")

    def recipe(self) -> str:
        """The rules as they enter the fingerprint."""
        return json.dumps({"sequences": asdict(self)}, sort_keys=True)
