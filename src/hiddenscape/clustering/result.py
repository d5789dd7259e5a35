"""What a clustering by density says: labels, peaks, the passes between them, and the settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hiddenscape.density.result import seal
from hiddenscape.errors import InputError
from hiddenscape.types import FloatVector, IntVector, Mask

__all__ = ["Clusters"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Clusters:
    r"""A partition of the rows by peaks of a density.

    Attributes
    ----------
    labels : int64 array (n,)
        Cluster of every row of the graph; copies carry that of the row they repeat. Clusters are
        numbered by the row number of their peaks. -1 everywhere where undefined (the note says
        why).
    halo : bool array (n,)
        Rows that lie too low to belong to the core of their cluster.
    centers : int64 array (c,)
        Rows of the peaks.
    heights, height_errors : float64 arrays (c,)
        :math:`\log \rho` and its standard error at the peaks.
    saddle_pairs : int64 array (m, 2)
        Clusters that share a border, lower label first; pairs that are absent share none.
    saddle_rows : int64 array (m,)
        The row of the pass: the highest border row.
    saddles, saddle_errors : float64 arrays (m,)
        :math:`\log \rho` and its standard error there.
    method : str
        ``adp`` or ``density_peaks``.
    n_used, n_dropped : int
        Distinct rows, and rows that repeat one.
    note : str
    parameters : mapping
        Everything that fixes the partition: dimension, alpha and k of the density, Z, the number of
        stored neighbours, ...
    """

    labels: IntVector
    halo: Mask
    centers: IntVector
    heights: FloatVector
    height_errors: FloatVector
    saddle_pairs: np.ndarray
    saddle_rows: IntVector
    saddles: FloatVector
    saddle_errors: FloatVector
    method: str
    n_used: int
    n_dropped: int = 0
    note: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.centers) and not self.note:
            raise InputError("a clustering without clusters needs a note that says why")
        seal(
            self,
            *("labels", "halo", "centers", "heights", "height_errors"),
            *("saddle_pairs", "saddle_rows", "saddles", "saddle_errors"),
        )

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.centers)

    @property
    def sizes(self) -> IntVector:
        """Rows of every cluster, copies counted."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.n_clusters)

    @property
    def core_fraction(self) -> float:
        """Share of rows outside the halo; NaN where undefined."""
        return 1.0 - float(self.halo.mean()) if self.n_clusters else math.nan
