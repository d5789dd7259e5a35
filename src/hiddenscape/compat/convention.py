"""What a convention is, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hiddenscape.clustering.result import Clusters
from hiddenscape.dimension.result import DimensionCurve
from hiddenscape.errors import InputError
from hiddenscape.results import Estimate

__all__ = ["Answer", "Convention", "Pair", "fraction_of", "log_ratios", "number", "slope"]

Answer = Estimate | DimensionCurve | Clusters | np.ndarray | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """How one source computes one quantity.

    Attributes
    ----------
    name : str
        ``SOURCE.quantity``.
    what : str
        The quantity, in a sentence.
    why : str
        How it differs from the corrected one, in a sentence.
    call : str
        How to have the published number from the public page, as far as one call gives it.
    source : str
        Version of the package, or the paper.
    takes : tuple of str
        The data: ``points``, ``labels``, ``other_points``.
    compute : callable
        Data and options to (published, corrected).
    """

    name: str
    what: str
    why: str
    call: str
    source: str
    compute: Callable[..., tuple[Answer, Answer]]
    takes: tuple[str, ...] = ("points",)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pair:
    """A published number and the corrected one.

    Attributes
    ----------
    name, why : str
        Of the convention.
    published, corrected, difference : float or float64 array
        Values; for a curve one per scale, for clusters their number. The difference is published
        less corrected.
    published_answer, corrected_answer
        Where they come from, with errors, scales, notes and settings; a bare number where the
        published one has nothing to add.
    """

    name: str
    published: Any
    corrected: Any
    difference: Any
    why: str
    published_answer: Answer
    corrected_answer: Answer


def number(answer: Answer) -> Any:
    """The value of an answer.

    Examples
    --------
    >>> number(Estimate(value=2.0, n_used=10))
    2.0
    """
    if isinstance(answer, Estimate):
        return answer.value
    if isinstance(answer, DimensionCurve):
        return answer.values
    if isinstance(answer, Clusters):
        return float(answer.n_clusters)
    return answer


def fraction_of(name: str, value: float, *, whole: bool = False) -> float:
    """A share in (0, 1), or (0, 1] where the whole is allowed.

    Raises
    ------
    InputError
        If it is not.

    Examples
    --------
    >>> fraction_of("mu_fraction", 1, whole=True)
    1.0
    """
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not (0 < value < 1 or (whole and value == 1)):
        raise InputError(f"{name} must lie in (0, 1{']' if whole else ')'}, got {value!r}")
    return float(value)


def log_ratios(distances: np.ndarray) -> np.ndarray:
    """log(r_2 / r_1) as it comes, ascending: infinite for pairs, NaN (last) for triples."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sort(np.log(distances[:, 1] / distances[:, 0]))


def slope(log_mu: np.ndarray, shares: np.ndarray) -> float:
    """Of -log(1 - F) on log mu through the origin, over as many points as there are shares.

    NaN where one of them is infinite.

    Examples
    --------
    >>> slope(np.array([0.1, 0.2, 9.0]), -np.expm1([-0.2, -0.4]))
    2.0
    """
    x, y = log_mu[: len(shares)], -np.log1p(-shares)
    if not np.isfinite(x).all():
        return math.nan
    return float(x @ y) / float(x @ x)
