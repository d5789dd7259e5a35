"""What an entry of the list is: a measurement, what it needs, its laws and what to cite.

Laws, by the transformation of the points (``=`` exactly invariant, ``x`` must change, ``~`` up to
sampling): ``permute`` rows, ``shift`` all rows, ``orthogonal`` map, global ``scale``, per-feature
``feature_scale``, ``constant_column`` added, ``double`` all columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hiddenscape.errors import ConfigError
from hiddenscape.results import Estimate
from hiddenscape.types import whole

__all__ = ["EXACT", "LENGTH", "Analysis", "Kind", "Measured", "Settings"]

Kind = Literal["graph", "points", "labels", "pair", "matrix"]

EXACT = {"permute": "=", "shift": "=", "orthogonal": "=", "scale": "=", "constant_column": "=",
         "double": "="}  # fmt: skip
"""Laws of what depends on ratios of distances only."""
LENGTH = {**EXACT, "feature_scale": "x"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What fixes the numbers of a plan.

    Parameters
    ----------
    k : tuple of int
        Neighbourhood sizes of the overlaps.
    max_rank : int or None
        Largest n2 of the GRIDE scan; None means min(n / 4, 256).
    imbalance_k : int
        Neighbours averaged by the information imbalance.
    seed : int
        Keys every random stream.
    """

    k: tuple[int, ...] = (10, 30)
    max_rank: int | None = None
    imbalance_k: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("imbalance_k", "max_rank", "seed"):
            value = getattr(self, name)
            if not (name == "max_rank" and value is None):
                object.__setattr__(self, name, whole(name, value))
        object.__setattr__(self, "k", tuple(dict.fromkeys(whole("k", k) for k in self.k)))
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative, got {self.seed}")
        if not self.k or any(k < 1 for k in self.k) or self.imbalance_k < 1:
            raise ConfigError(f"k must be one or more numbers >= 1, got {self.k}")
        if self.max_rank is not None and self.max_rank < 2:
            raise ConfigError(f"max_rank must be at least 2, got {self.max_rank}")

    def largest_rank(self, n: int) -> int:
        """n2 up to which GRIDE scans n rows."""
        wanted = min(n // 4, 256) if self.max_rank is None else self.max_rank
        return max(2, min(wanted, n - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One number of an analysis with the labels that the table wants."""

    quantity: str
    estimate: Estimate
    scale: float = math.nan
    k: int | None = None
    n1: int | None = None
    n2: int | None = None
    subset: int | None = None
    repeat: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """One entry of the list.

    Attributes
    ----------
    name : str
        Unique; the table's column ``analysis``.
    kind : str
        What ``compute`` is called with: ``graph`` (graph, settings, spatial block of each row or
        None), ``points`` (points, settings,
        graph of these points or None), ``labels`` (graph, labels, settings), ``pair`` (graph_a,
        graph_b, settings), ``matrix`` (sequence of points, graphs, settings).
    compute : callable
        Yields :class:`Measured`; a ``matrix`` yields ``(i, j, Measured)``.
    neighbors : callable
        (settings, n) -> how many neighbours per row the graph must hold.
    quantities : tuple of str
        Every quantity it may yield.
    citations : tuple of str
        Keys of ``references.bib``.
    laws : mapping
        See the head of this module.
    bounds : tuple of float
        Closed interval that every value must lie in.
    rows : str
        ``distinct``: identical rows enter once, and the same rows enter at every site. ``all``:
        every row enters (ties are ordered by row number).
    uses : tuple of str
        The fields of :class:`Settings` that its numbers depend on.
    """

    name: str
    kind: Kind
    compute: Callable[..., Iterable[Any]]
    quantities: tuple[str, ...]
    citations: tuple[str, ...]
    neighbors: Callable[[Settings, int], int] = lambda settings, n: 0
    laws: Mapping[str, str] = field(default_factory=dict)
    bounds: tuple[float, float] = (-math.inf, math.inf)
    rows: Literal["distinct", "all"] = "all"
    uses: tuple[str, ...] = ()
    summary: str = ""
