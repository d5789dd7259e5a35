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

    def describe(self) -> str:
        """The estimate in words, with the scale it belongs to.

        Examples
        --------
        >>> Dimension(value=2.04, stderr=0.06, n_used=500, scale=0.1, n1=4, n2=8).describe()
        'estimated dimension 2.04 +- 0.06 at scale 0.1 (neighbours 4 and 8 of 500 rows)'
        >>> Dimension(value=3.0, n_used=500, method="pca").describe()
        'estimated dimension 3 of all 500 rows (a global measure)'
        >>> Dimension(value=math.nan, n_used=2, note="collapsed (2 distinct rows)").describe()
        'no dimension: collapsed (2 distinct rows)'
        """
        if math.isnan(self.value):
            return f"no dimension: {self.note}"
        number = _short(self.value, self.stderr)
        if math.isfinite(self.stderr):
            number += f" +- {_short(self.stderr, self.stderr)}"
        if math.isnan(self.scale):
            return f"estimated dimension {number} of all {self.n_used} rows (a global measure)"
        between = f"neighbours {self.n1} and {self.n2} of " if self.n1 and self.n2 else ""
        return (
            f"estimated dimension {number} at scale {self.scale:.3g} ({between}{self.n_used} rows)"
        )


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

        Flat at s: :math:`|d_{s+1} - d_s| \le \max(0.1 d_s, 2 \sqrt{e_s^2 + e_{s+1}^2})` at s and
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

    def describe(self) -> str:
        """The plateau in words: value, scale, ranks, and the rule that chose it.

        Examples
        --------
        >>> row = [
        ...     Dimension(value=v, n_used=n, stderr=0.1, scale=s, n1=1, n2=2)
        ...     for v, n, s in ((9.0, 800, 0.1), (5.0, 400, 0.2), (4.8, 200, 0.4), (4.9, 100, 0.8))
        ... ]
        >>> said = DimensionCurve(estimates=tuple(row)).describe()
        >>> print(said)  # doctest: +NORMALIZE_WHITESPACE
        estimated dimension 5.0 +- 0.1 at scale 0.2 (neighbours 1 and 2 of 400 rows): the first of
        4 scales from which the next two steps change it by less than a tenth or two joint errors
        >>> said = DimensionCurve(estimates=tuple(row[:3])).describe()
        >>> print(said)  # doctest: +NORMALIZE_WHITESPACE
        no plateau over 3 scales (0.1 to 0.4): the estimated dimension runs from 9 to 4.8, no single
        number is the answer
        """
        values, scales = self.values, self.scales
        known = np.flatnonzero(np.isfinite(values))
        if not len(known):
            return f"no dimension at any of {len(self)} scales: {self.estimates[0].note}"
        at = self.plateau()
        if at is None:
            first, last = known[0], known[-1]
            return (
                f"no plateau over {len(self)} scales ({scales[first]:.3g} to {scales[last]:.3g}): "
                f"the estimated dimension runs from {_short(values[first])} to "
                f"{_short(values[last])}, no single number is the answer"
            )
        return (
            f"{self.estimates[at].describe()}: the first of {len(self)} scales from which the next "
            "two steps change it by less than a tenth or two joint errors"
        )

    @property
    def note(self) -> str:
        """Says so where no scale can be singled out."""
        return "" if self.plateau() is not None else "undefined (no plateau over the scales)"


def _short(value: float, error: float = math.nan) -> str:
    """A number to the first digit of its error, or to three digits."""
    if not error > 0:
        return f"{value:.3g}"
    return f"{value:.{max(0, -math.floor(math.log10(error)))}f}"
