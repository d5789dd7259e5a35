"""What an entry of the list is: a measurement, what it needs, its laws and what to cite.

Laws, by the transformation of the points (``=`` exactly invariant, ``x`` must change, ``~`` up to
sampling): ``permute`` rows, ``shift`` all rows, ``orthogonal`` map, global ``scale``, per-feature
``feature_scale``, ``constant_column`` added, ``double`` all columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from hiddenscape.errors import ConfigError
from hiddenscape.results import Estimate
from hiddenscape.types import whole

__all__ = [
    "DENSITIES", "EXACT", "GROUPS", "LENGTH", "Analysis", "Group", "Kind", "Measured", "PerRow",
    "Settings",
]  # fmt: skip

Kind = Literal["graph", "points", "labels", "chain", "chain_labels", "pair", "matrix"]
Group = Literal["dimension", "density", "peaks", "labels", "rows", "pairs"]
GROUPS: tuple[str, ...] = get_args(Group)

EXACT = {"permute": "=", "shift": "=", "orthogonal": "=", "scale": "=", "constant_column": "=",
         "double": "="}  # fmt: skip
"""Laws of what depends on ratios of distances only."""
LENGTH = {**EXACT, "feature_scale": "x"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What fixes the numbers of a plan. A single number stands for a tuple of one.

    Parameters
    ----------
    k : tuple of int
        Neighbourhood sizes of the overlaps.
    max_rank : int or None
        Largest n2 of the GRIDE scan; None means min(n / 4, 256).
    imbalance_k : int
        Neighbours averaged by the information imbalance.
    dimension_k : tuple of int
        Neighbourhood sizes of the local dimension estimators (MLE, MOM, TLE, ...).
    subsets : tuple of int
        Into how many disjoint parts the rows are dealt to measure every dimension on less of them
        too, at larger scales.
    kstar_depth : int
        Neighbours among which k* is sought.
    alpha : float
        Level of the test behind k*.
    density : str
        What peaks are sought in: ``pak``, ``kstar``, ``knn`` or ``bmti``.
    density_k : int
        Neighbours of the kNN density.
    density_rank : int
        n2 of the ranks (n2 / 2, n2) at which the dimension that densities use is estimated; 2 is
        TwoNN, censored.
    density_dimension : float or None
        That dimension itself, the same at every site.
    z, z_scan : float, tuple of float
        Errors by which a peak must stand above its saddles; what it is varied over.
    stability_draws : int
        Subsamples of 80 % of the rows on which clusters are sought again.
    seed : int
        Keys every random stream.

    Raises
    ------
    ConfigError
        For a value that makes no sense; names it.
    """

    k: tuple[int, ...] = (10, 30)
    max_rank: int | None = None
    imbalance_k: int = 1
    dimension_k: tuple[int, ...] = (20,)
    subsets: tuple[int, ...] = ()
    kstar_depth: int = 100
    alpha: float = 1e-6
    density: str = "pak"
    density_k: int = 16
    density_rank: int = 2
    density_dimension: float | None = None
    z: float = 1.65
    z_scan: tuple[float, ...] = (1.0, 1.65, 2.5, 4.0)
    stability_draws: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _WHOLE.items():
            value = getattr(self, name)
            many = name in _LISTS
            if value is None and name == "max_rank":
                continue
            numbers = tuple(
                dict.fromkeys(whole(name, v) for v in (_tuple(value) if many else (value,)))
            )
            if (many and not numbers and name != "subsets") or any(v < least for v in numbers):
                said = f"one or more numbers >= {least}" if many else f"at least {least}"
                raise ConfigError(f"{name} must be {said}, got {value}")
            object.__setattr__(self, name, numbers if many else numbers[0])
        if self.density_rank % 2:
            raise ConfigError(f"density_rank must be even, got {self.density_rank}")
        if self.density not in DENSITIES:
            raise ConfigError(
                f"density must be one of {', '.join(DENSITIES)}, got {self.density!r}"
            )
        self._check_numbers()

    def _check_numbers(self) -> None:
        d = self.density_dimension
        if not (d is None or (d >= 1 and math.isfinite(d))):
            raise ConfigError(f"density_dimension must be a number of at least 1, got {d}")
        if not 0 < self.alpha < 1:
            raise ConfigError(f"alpha must lie in (0, 1), got {self.alpha}")
        object.__setattr__(self, "z", float(self.z))
        object.__setattr__(self, "z_scan", tuple(dict.fromkeys(map(float, _tuple(self.z_scan)))))
        if not all(z >= 0 for z in (self.z, *self.z_scan)):
            raise ConfigError(f"z and z_scan must not be negative, got {self.z} and {self.z_scan}")

    def largest_rank(self, n: int) -> int:
        """n2 up to which GRIDE scans n rows."""
        wanted = min(n // 4, 256) if self.max_rank is None else self.max_rank
        return max(2, min(wanted, n - 1))

    def usable(self, name: str, n: int) -> tuple[int, ...]:
        """The sizes of ``k`` or ``dimension_k`` that n rows allow."""
        return tuple(k for k in getattr(self, name) if k < n)


_WHOLE = {
    "k": 1, "max_rank": 2, "imbalance_k": 1, "dimension_k": 3, "subsets": 2, "kstar_depth": 6,
    "density_k": 2, "density_rank": 2, "stability_draws": 0, "seed": 0,
}  # fmt: skip
_LISTS = ("k", "dimension_k", "subsets")
DENSITIES = ("pak", "kstar", "knn", "bmti")


def _tuple(value: Any) -> tuple[Any, ...]:
    many = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
    return tuple(value) if many else (value,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One number of an analysis with the labels that the table wants.

    ``setting`` tells it from its neighbours where no other label does: ``z = 2.5``.
    """

    quantity: str
    estimate: Estimate
    scale: float = math.nan
    k: int | None = None
    n1: int | None = None
    n2: int | None = None
    subset: int | None = None
    repeat: int | None = None
    setting: str = ""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PerRow:
    """Arrays of an analysis, saved beside the numbers of its site.

    Attributes
    ----------
    arrays : mapping of str to array
        Those named in ``rowwise`` have one entry per measured row, the others any shape.
    rowwise : tuple of str
    parameters : mapping
        What fixes them, as JSON can hold it.
    note : str
    """

    arrays: Mapping[str, np.ndarray]
    rowwise: tuple[str, ...]
    parameters: Mapping[str, object]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """One entry of the list.

    Attributes
    ----------
    name : str
        Unique; the table's column ``analysis``.
    kind : str
        What ``compute`` is called with, before the settings and after them:

        ================  ==============================  ===================================
        ``graph``         graph                           spatial block of each row or None
        ``points``        points                          their graph or None, blocks or None
        ``labels``        graph, labels
        ``chain``         :class:`~.chain.Chain`
        ``chain_labels``  chain, labels
        ``pair``          graph, other graph
        ``matrix``        points of all sites, graphs
        ================  ==============================  ===================================

    compute : callable
        Yields :class:`Measured`, a ``chain`` also :class:`PerRow`; a ``matrix`` yields
        ``(i, j, Measured)``.
    group : str
        One of :data:`GROUPS`; names all of its entries in :func:`choose`.
    default : bool
        Whether it is measured where nothing is asked for. What is slow is not.
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
    per_row : bool
        Whether it yields :class:`PerRow`.
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
    group: Group = "dimension"
    default: bool = True
    per_row: bool = False

    def used(self, settings: Settings) -> dict[str, object]:
        """The settings that its numbers depend on: others must not file them anew."""
        names = set(self.uses)
        if self.cut(settings):
            names |= {"subsets", "seed"}
        return {name: value for name, value in asdict(settings).items() if name in names}

    def cut(self, settings: Settings) -> bool:
        """Whether it is also measured on subsets of the rows."""
        return self.group == "dimension" and self.name != "decimation" and bool(settings.subsets)
