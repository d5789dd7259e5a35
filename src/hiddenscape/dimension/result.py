"""What a dimension estimate says: a number, the scale it was measured at, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.results import Estimate
from hiddenscape.types import FloatVector

__all__ = ["Dimension", "DimensionCurve"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dimension(Estimate):
    """An estimated dimension at a scale.

    A deterministic map cannot raise a topological dimension: a rise with depth means scale, noise
    or curvature. Compare values at equal numbers of rows and equal scale only.

    Attributes
    ----------
    method : str
        Which estimator.
    scale : float
        Mean neighbour distance the estimate speaks of; NaN for global methods (PCA).
    n1, n2 : int or None
        Ranks of the two neighbours whose distances were compared.
    interval : tuple of float
        95 % interval under the same assumptions as ``stderr``; NaN where there is none.
    per_point : float64 array (n,) or None
        What each row contributed (NaN for rows left out), where asked for.

    Examples
    --------
    >>> Dimension(value=2.0, n_used=100, method="mle").interval
    (nan, nan)
    """

    method: str = ""
    scale: float = math.nan
    n1: int | None = None
    n2: int | None = None
    interval: tuple[float, float] = (math.nan, math.nan)
    per_point: FloatVector | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DimensionCurve:
    """Dimension against scale, from the smallest scale to the largest.

    Attributes
    ----------
    estimates : tuple of Dimension
        One per scale; never empty.
    repeats : tuple of tuples of Dimension
        The single estimates behind each of ``estimates`` where that is a mean; else empty.
    """

    estimates: tuple[Dimension, ...]
    repeats: tuple[tuple[Dimension, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.estimates:
            raise InputError("a curve needs at least one estimate")
        if self.repeats and len(self.repeats) != len(self.estimates):
            raise InputError(
                f"repeats must belong to {len(self.estimates)} estimates, got {len(self.repeats)}"
            )

    def __len__(self) -> int:
        return len(self.estimates)

    @property
    def values(self) -> FloatVector:
        """The estimates."""
        return np.array([e.value for e in self.estimates])

    @property
    def stderrs(self) -> FloatVector:
        """Their standard errors."""
        return np.array([e.stderr for e in self.estimates])

    @property
    def scales(self) -> FloatVector:
        """Mean neighbour distances."""
        return np.array([e.scale for e in self.estimates])

    @property
    def n1(self) -> tuple[int | None, ...]:
        """Lower ranks."""
        return tuple(e.n1 for e in self.estimates)

    @property
    def n2(self) -> tuple[int | None, ...]:
        """Upper ranks."""
        return tuple(e.n2 for e in self.estimates)

    @property
    def subset(self) -> tuple[int, ...]:
        """Rows that entered each estimate."""
        return tuple(e.n_used for e in self.estimates)

    def plateau(self) -> int | None:
        r"""Index of the first scale at which the curve is flat, None if it never is.

        Flat at s: :math:`|d_{s+1} - d_s| \\le \\max(0.1 d_s, 2 \\sqrt{e_s^2 + e_{s+1}^2})` at s and
        at s + 1. Replaces reading the scale off by eye; needs three scales.

        Examples
        --------
        >>> row = [Dimension(value=v, n_used=100) for v in (9.0, 5.0, 4.8, 4.9)]
        >>> DimensionCurve(estimates=tuple(row)).plateau()
        1
        >>> DimensionCurve(estimates=tuple(row[:3])).plateau() is None
        True
        """
        d, e = self.values, np.nan_to_num(self.stderrs)
        allowed = np.maximum(0.1 * d[:-1], 2 * np.hypot(e[:-1], e[1:]))
        flat = np.abs(np.diff(d)) <= allowed
        both = np.flatnonzero(flat[:-1] & flat[1:])
        return int(both[0]) if both.size else None

    @property
    def note(self) -> str:
        """Says so where no scale can be singled out."""
        return "" if self.plateau() is not None else "undefined (no plateau over the scales)"
