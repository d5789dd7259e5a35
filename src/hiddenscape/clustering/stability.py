r"""How much a partition by peaks depends on Z, on k, and on which rows were drawn.

There is no universal Z, and no test of a partition on the data that made it: what changes under a
small change of the settings is no finding. The clusters are those of d'Errico, Facco, Laio,
Rodriguez 2021, doi 10.1016/j.ins.2021.01.010; the grid is ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.clustering.adp import DEFAULT_Z, adp
from hiddenscape.clustering.agreement import label_agreement
from hiddenscape.clustering.result import Clusters
from hiddenscape.density.knn import knn_density
from hiddenscape.density.kstar import DEFAULT_ALPHA, k_star
from hiddenscape.density.pak import pak_density
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import ReadOnly
from hiddenscape.types import whole

__all__ = ["Stability", "Variation", "cluster_stability"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """One partition under changed settings, against the one they started from.

    Attributes
    ----------
    changed : str
        ``z``, ``k`` or ``rows``.
    z : float
    k : int or None
        Fixed k of a kNN density; None for PAk with k*.
    draw : int or None
        Number of the subsample.
    n_clusters : int
    ari : float
        Adjusted Rand index against the reference, over the rows that both have; NaN where both are
        one cluster.
    """

    changed: str
    z: float
    k: int | None
    draw: int | None
    n_clusters: int
    ari: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Stability:
    """A partition with what becomes of it under other settings.

    Attributes
    ----------
    reference : Clusters
        PAk densities with k*, at the given Z.
    variations : tuple of Variation
    note : str
        That of the reference.
    parameters : mapping
    """

    reference: Clusters
    variations: tuple[Variation, ...]
    note: str
    parameters: Mapping[str, object] = field(default_factory=dict)

    def of(self, changed: str) -> tuple[Variation, ...]:
        """The variations of ``z``, of ``k`` or of ``rows``."""
        return tuple(v for v in self.variations if v.changed == changed)

    def spread(self, changed: str) -> tuple[float, float]:
        """Mean and standard deviation of the number of clusters; NaN for fewer than 2 variations.

        Examples
        --------
        >>> import numpy as np
        >>> points = np.random.default_rng(0).normal(size=(300, 2))
        >>> found = cluster_stability(points, dimension=2, subsamples=3, k=())
        >>> found.spread("k")
        (nan, nan)
        """
        counts = [v.n_clusters for v in self.of(changed)]
        if len(counts) < 2:
            return math.nan, math.nan
        return float(np.mean(counts)), float(np.std(counts, ddof=1))


def cluster_stability(
    points: ArrayLike,
    *,
    dimension: float,
    z: float = DEFAULT_Z,
    alpha: float = DEFAULT_ALPHA,
    stored: int = 100,
    z_scan: Sequence[float] = (1.0, 1.65, 2.5),
    k: Sequence[int] = (8, 16, 32),
    subsamples: int = 20,
    share: float = 0.8,
    seed: int = 0,
    metric: str = "euclidean",
    period: ArrayLike | None = None,
) -> Stability:
    r"""Clusters by ADP, and how many there are, and how alike, when one setting changes.

    Reference: PAk densities with k* at the given Z. Against it: every Z of ``z_scan``; kNN
    densities with every fixed k; and subsamples of the rows without replacement, searched anew.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed.
    dimension : float
        Intrinsic dimension; the same for all variations.
    z, alpha
        Of the reference.
    stored : int
        Neighbours per row, at least 5; at most n - 1 are used.
    z_scan, k : sequences
        May be empty.
    subsamples : int
        Number of subsamples, 0 or more.
    share : float
        Share of the rows in each, in (0, 1).
    seed : int
        Keys the subsamples.
    metric, period
        As for ``find_neighbors``.

    Returns
    -------
    Stability
        In the order Z, k, rows. Without variations, and with the note of the clusters, where no
        density is defined.

    Raises
    ------
    InputError
        As ``find_neighbors``, ``k_star`` and ``adp``; for a share outside (0, 1), fewer than 7 rows
        in a subsample, or a k above ``stored``.

    Notes
    -----
    A subsample has lower resolution: with 0.8 n rows k-th distances grow, and shallow peaks go. The
    spread over subsamples is that of less data, and a bound for that of new data only in this
    sense. A k that is not below the number of distinct rows gives no clusters (0, NaN).

    References
    ----------
    d'Errico, Facco, Laio, Rodriguez 2021, doi 10.1016/j.ins.2021.01.010.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> points = np.vstack([rng.normal(size=(300, 2)), 8 + rng.normal(size=(200, 2))])
    >>> found = cluster_stability(points, dimension=2, z_scan=(2.5, 4), k=(), subsamples=3)
    >>> found.reference.n_clusters, [v.n_clusters for v in found.variations]
    (2, [2, 2, 2, 2, 2])
    """
    subsamples = whole("subsamples", subsamples)
    if not 0 < share < 1 or subsamples < 0:
        raise InputError(
            f"share must lie in (0, 1) and subsamples be at least 0, got {share} and {subsamples}"
        )
    x = np.asarray(points)
    stored = whole("stored", stored)
    n = len(x)
    size = math.floor(share * n + 1e-9)
    if subsamples and size < 7:
        raise InputError(f"{size} of {n} rows are too few for a subsample: at least 7 are needed")

    graph = find_neighbors(x, k=min(stored, n - 1), metric=metric, period=period)
    neighborhoods = k_star(graph, dimension=dimension, alpha=alpha)
    density = pak_density(graph, dimension=dimension, k=neighborhoods)
    reference = adp(graph, density, z=z, points=x)
    variations: list[Variation] = []

    def add(changed: str, found: Clusters, rows: np.ndarray, **what: object) -> None:
        ari = math.nan
        if found.n_clusters:
            ari = label_agreement(found.labels, reference.labels[rows])["ari"].value
        known: dict[str, object] = {"z": float(z), "k": None, "draw": None} | what
        variations.append(
            Variation(changed=changed, n_clusters=found.n_clusters, ari=ari, **known)  # type: ignore[arg-type]
        )

    every = np.arange(n)
    if reference.n_clusters:
        for other_z in z_scan:
            add("z", adp(graph, density, z=other_z, points=x), every, z=float(other_z))
        for fixed in k:
            plain = knn_density(graph, dimension=dimension, k=fixed)
            add("k", adp(graph, plain, z=z, points=x), every, k=int(fixed))
        for draw in range(subsamples):
            rows = np.sort(np.random.default_rng([seed, n, draw]).permutation(n)[:size])
            part = find_neighbors(x[rows], k=min(stored, size - 1), metric=metric, period=period)
            own = k_star(part, dimension=dimension, alpha=alpha)
            less = pak_density(part, dimension=dimension, k=own)
            add("rows", adp(part, less, z=z, points=x[rows]), rows, draw=draw)
    return Stability(
        reference=reference,
        variations=tuple(variations),
        note=reference.note,
        parameters=ReadOnly(
            {**reference.parameters, "share": share, "subsamples": subsamples, "seed": seed}
        ),
    )
