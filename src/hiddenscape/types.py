"""Arrays with named axes, and the few value types that every part of the house shares.

The only place where axes and dtypes are spelt. ``n`` rows (inputs or tokens), ``d`` columns
(units), ``k`` neighbours. Indices are int32, distances and statistics float64, stored points
float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from hiddenscape.errors import InputError

__all__ = [
    "Distances",
    "FloatVector",
    "Indices",
    "IntVector",
    "Mask",
    "Points",
    "Site",
    "checked_seed",
    "whole",
]

Points = Float[np.ndarray, "n d"]
"""Representations: rows = inputs or tokens, columns = units. Any float dtype."""
Indices = Int[np.ndarray, "n k"]
"""Row numbers of neighbours, nearest first."""
Distances = Float[np.ndarray, "n k"]
"""True (not squared) distances, same order as :data:`Indices`."""
FloatVector = Float[np.ndarray, " n"]
IntVector = Int[np.ndarray, " n"]
Mask = Bool[np.ndarray, " n"]


def whole(name: str, value: Any) -> int:
    """A count given by the caller, as an int: 3, 3.0 and numpy's 3 pass, True and 2.5 do not.

    Raises
    ------
    InputError
        For anything that is not a whole number; names the argument.

    Examples
    --------
    >>> whole("k", np.int64(3)), whole("k", 3.0)
    (3, 3)
    """
    number = isinstance(value, int | float | np.integer | np.floating)
    # numpy does not know integers beyond 64 bits: they are finite without asking.
    whole_type = isinstance(value, int | np.integer)
    number = number and not isinstance(value, bool) and (whole_type or np.isfinite(value))
    if number and int(value) == value:
        return int(value)
    raise InputError(f"{name} must be a whole number, got {value!r}")


def checked_seed(seed: Any) -> int:
    """A seed as an int.

    Raises
    ------
    InputError
        If it is negative or not a whole number.

    Examples
    --------
    >>> checked_seed(7)
    7
    """
    number = whole("seed", seed)
    if number < 0:
        raise InputError(f"seed must not be negative, got {number}")
    return number


@dataclass(frozen=True, slots=True)
class Site:
    """A named place in a network, with the pooling its points were read with.

    Parameters
    ----------
    name : str
        Canonical site name, such as ``resid_post.7``, ``final_norm`` or ``module:conv1``.
    depth : float
        How deep the site lies, counted in blocks (``resid_post.b`` has depth b + 1, what is read
        inside block b lies between). Raw modules count in their order of firing. Never relative:
        sources divide by L or L + 1, so relative depth is computed only when plotting.
    block : int or None
        Block number, where the site belongs to one.
    pooling : str
        ``mean``, ``last``, ``cls``, ``flat``, ...; empty while nothing has been pooled.

    Raises
    ------
    InputError
        If the depth is negative or not finite, or the name is empty or holds ``@``.

    Examples
    --------
    >>> Site("resid_post.7", depth=8, block=7, pooling="mean").key
    'resid_post.7@mean'
    """

    name: str
    depth: float
    block: int | None = None
    pooling: str = ""

    def __post_init__(self) -> None:
        if not self.name or "@" in self.name:
            raise InputError(f"a site needs a name without '@', got {self.name!r}")
        if not (np.isfinite(self.depth) and self.depth >= 0):
            raise InputError(f"site {self.name!r} needs a finite depth >= 0, got {self.depth}")

    @property
    def key(self) -> str:
        """The name under which points are stored: ``NAME@POOLING``."""
        return f"{self.name}@{self.pooling}" if self.pooling else self.name

    def pooled(self, pooling: str) -> Site:
        """The same place read with ``pooling``."""
        return replace(self, pooling=pooling)
