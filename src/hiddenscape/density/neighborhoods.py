"""What all densities share: the neighbours each row uses, volumes as logarithms, and the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from hiddenscape.density.kstar import DEFAULT_ALPHA, k_star
from hiddenscape.density.result import KStar, LogDensity
from hiddenscape.density.rows import DistinctRows, checked_dimension, distinct_rows
from hiddenscape.errors import InputError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import join_notes
from hiddenscape.types import IntVector, whole

__all__ = ["Neighborhoods", "answer", "log_unit_ball", "neighborhoods"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Neighborhoods:
    """Distinct rows with the neighbours each of them uses.

    Attributes
    ----------
    rows : DistinctRows
    graph : NeighborGraph or None
        Of the distinct rows; None where no density can be measured (``note`` says why).
    k : int64 array (m,)
        Neighbours used by each distinct row.
    dimension : float
    note : str
    parameters : dict
    """

    rows: DistinctRows
    graph: NeighborGraph | None
    k: IntVector
    dimension: float
    note: str
    parameters: dict[str, object]

    @property
    def last(self) -> np.ndarray:
        """Distance to the k-th neighbour of every distinct row."""
        if self.graph is None:
            return np.full(len(self.k), math.nan)
        return np.asarray(self.graph.distances[np.arange(self.graph.n), self.k - 1])


def log_unit_ball(dimension: float) -> float:
    r"""Log volume of the unit ball, :math:`\frac{d}{2} \log \pi - \log \Gamma(d/2 + 1)`.

    Examples
    --------
    >>> round(math.exp(log_unit_ball(3)), 6)  # 4 pi / 3
    4.18879
    """
    return 0.5 * dimension * math.log(math.pi) - float(gammaln(0.5 * dimension + 1))


def neighborhoods(
    graph: NeighborGraph,
    dimension: float,
    k: KStar | int | None,
    *,
    least: int = 1,
    force: bool = False,
) -> Neighborhoods:
    """The neighbours used by each row: a fixed k, a given :class:`KStar`, or (None) the default k*.

    Raises
    ------
    InputError
        For a k below ``least`` or above what is stored, a k* of other rows or of another dimension,
        or a dimension that cannot be used.
    """
    d = checked_dimension(dimension, force)
    if k is None:
        k = k_star(graph, dimension=d, alpha=DEFAULT_ALPHA, force=force)
    rows = distinct_rows(graph)
    used, note = rows.graph, rows.note
    parameters: dict[str, object] = {"dimension": d, "metric": graph.metric, "duplicates": "unique"}
    if isinstance(k, KStar):
        if len(k.k) != graph.n:
            raise InputError(f"k* of {len(k.k)} rows for a graph of {graph.n} rows")
        if k.dimension != d and not (math.isnan(k.dimension) and math.isnan(d)):
            raise InputError(
                f"k* was made with dimension {k.dimension:.6g}, the density is to be made with "
                f"{d:.6g}: use one of them for both"
            )
        if used is not None and k.k.max() > used.k:
            raise InputError(
                f"k* reaches {int(k.k.max())}, the graph stores {used.k} neighbours among distinct "
                "rows: use the graph that k* was made of"
            )
        own = k.k[rows.first]
        parameters |= {"k": "k*", **{n: k.parameters[n] for n in k.parameters if n != "dimension"}}
        note = join_notes(k.note, note)
        if (own < least).any() and "undefined" not in note:
            note = join_notes(note, f"undefined (fewer than {least} neighbours share a density)")
        if (own < least).any():
            used = None
    else:
        fixed = whole("k", k)
        if not least <= fixed <= graph.k:
            raise InputError(
                f"k must lie in {least}..{graph.k}, the number of neighbours that the graph "
                f"stores, got {fixed}"
            )
        parameters["k"] = fixed
        own = np.full(rows.n_distinct, fixed)
        if used is not None and fixed > used.k:
            note = join_notes(note, f"undefined (k = {fixed} needs {fixed + 1} distinct rows)")
            used = None
    if used is not None and math.isnan(d):
        note = join_notes(note, "undefined (no dimension)")
        used = None
    if used is None:
        own = np.full(rows.n_distinct, -1)
    return Neighborhoods(
        rows=rows, graph=used, k=own, dimension=d, note=note, parameters=parameters
    )


def answer(
    found: Neighborhoods,
    method: str,
    values: np.ndarray,
    stderr: np.ndarray,
    *,
    kind: str = "fisher",
    note: str = "",
) -> LogDensity:
    """Values of distinct rows as the answer for all rows; NaN where there is no graph."""
    if found.graph is None:
        values = stderr = np.full(len(found.k), math.nan)
    back = found.rows.inverse
    return LogDensity(
        values=np.asarray(values, dtype=np.float64)[back],
        stderr=np.asarray(stderr, dtype=np.float64)[back],
        k=found.k[back],
        method=method,
        dimension=found.dimension,
        n_used=found.rows.n_distinct,
        n_dropped=found.rows.n - found.rows.n_distinct,
        stderr_kind=kind,
        note=join_notes(found.note, note),
        parameters={"method": method, **found.parameters},
    )
