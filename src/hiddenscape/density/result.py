"""What a density says: a number for every row, how sure it is, and what it was made with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.results import NOTE_WORDS, STDERR_KINDS, ReadOnly, note_words
from hiddenscape.types import FloatVector, IntVector, Mask

__all__ = ["KStar", "LogDensity", "seal"]


def seal(result: Any, *arrays: str) -> None:
    """Make the arrays of a new result read-only, and check its note and settings.

    Raises
    ------
    InputError
        For a note in unknown words.
    """
    unknown = [w for w in note_words(result.note) if w not in NOTE_WORDS]
    if unknown:
        raise InputError(f"unknown words in note: {unknown}; known: {NOTE_WORDS}")
    for name in arrays:
        own = np.asarray(getattr(result, name)).view()
        own.flags.writeable = False
        object.__setattr__(result, name, own)
    object.__setattr__(result, "parameters", ReadOnly(result.parameters))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class KStar:
    """Around each row, how many neighbours share its density.

    Attributes
    ----------
    k : int64 array (n,)
        One entry per row of the graph; copies carry the value of the row that they repeat. -1
        everywhere where it is undefined (the note says why).
    capped : bool array (n,)
        Rows at which no stored neighbour was rejected: their ``k`` is the depth of the graph less
        one, a limit of the search and no measurement.
    share_capped : float
        Share of the distinct rows that are capped; NaN where undefined.
    dimension, alpha, threshold : float
        What the test was made with; ``threshold`` is that of the first test.
    n_used, n_dropped : int
        Distinct rows, and rows that repeat one.
    note, parameters
        As in :class:`hiddenscape.results.Estimate`.
    """

    k: IntVector
    capped: Mask
    share_capped: float
    dimension: float
    alpha: float
    threshold: float
    n_used: int
    n_dropped: int = 0
    note: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if math.isnan(self.share_capped) and not self.note:
            raise InputError("k* without a value needs a note that says why")
        seal(self, "k", "capped")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LogDensity:
    r"""Logarithm of the density at every row.

    Attributes
    ----------
    values : float64 array (n,)
        :math:`\log \rho_i` per row of the graph, in nats; for points measured in some unit of
        length, :math:`\rho` counts per unit to the power ``dimension`` and integrates to 1. Copies
        carry the value of the row that they repeat. NaN where undefined (the note says why).
    stderr : float64 array (n,)
        Its standard error, in nats.
    stderr_kind : str
        ``fisher``: a lower bound.
    k : int64 array (n,)
        Neighbours that entered; -1 where undefined.
    method : str
        ``knn``, ``kstar``, ``pak``, ``bmti`` or ``k_peaks`` (whose values are no densities, but
        order like them).
    dimension : float
        What volumes were made with. Densities at different dimensions are not comparable.
    n_used, n_dropped, note, parameters
        As in :class:`KStar`.
    """

    values: FloatVector
    stderr: FloatVector
    k: IntVector
    method: str
    dimension: float
    n_used: int
    n_dropped: int = 0
    stderr_kind: str = "fisher"
    note: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.values) == len(self.stderr) == len(self.k):
            raise InputError(
                f"values, stderr and k must have one entry per row, got {len(self.values)}, "
                f"{len(self.stderr)} and {len(self.k)}"
            )
        if self.stderr_kind not in STDERR_KINDS:
            raise InputError(f"stderr_kind {self.stderr_kind!r} is not one of {STDERR_KINDS}")
        if np.isnan(self.values).any() and not self.note:
            raise InputError("a density without values needs a note that says why")
        seal(self, "values", "stderr", "k")

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.values)
