"""Peaks and saddles of a landscape that is written down instead of measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hiddenscape.clustering.result import Clusters

__all__ = ["written_landscape"]


def written_landscape(
    heights: Sequence[float], saddles: Mapping[tuple[int, int], float], *, note: str = ""
) -> Clusters:
    r"""Clusters of one row each, with given peaks and given saddles.

    Parameters
    ----------
    heights : sequence of float
        :math:`\log\rho` of the peaks.
    saddles : mapping of (a, b) to float
        :math:`\log\rho` of the saddles; pairs that are absent share no border.
    note : str
        Needed where there is no peak.

    Returns
    -------
    Clusters
        Of method ``adp``. Row a is peak a; saddle rows follow, in the order given.

    Examples
    --------
    >>> found = written_landscape([0.0, -1.0], {(1, 0): -3.0})
    >>> found.saddle_pairs.tolist(), found.saddles.tolist(), found.saddle_rows.tolist()
    ([[0, 1]], [-3.0], [2])
    """
    c, m = len(heights), len(saddles)
    peaks = np.array(heights, dtype=np.float64)
    return Clusters(
        labels=np.arange(c),
        halo=np.zeros(c, dtype=bool),
        centers=np.arange(c),
        heights=peaks,
        height_errors=np.full(c, 0.1),
        saddle_pairs=np.array([sorted(pair) for pair in saddles], dtype=np.int64).reshape(m, 2),
        saddle_rows=c + np.arange(m),
        saddles=np.array(list(saddles.values()), dtype=np.float64),
        saddle_errors=np.full(m, 0.1),
        method="adp",
        n_used=c,
        note=note,
    )
