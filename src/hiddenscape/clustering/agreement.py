r"""How well a partition agrees with labels: adjusted Rand, adjusted mutual information, purity.

Sources: Hubert, Arabie 1985, doi 10.1007/BF01908075 (ARI); Vinh, Epps, Bailey 2010, Journal of
Machine Learning Research 11, 2837-2854 (AMI).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from scipy.special import gammaln, xlogy

from hiddenscape.clustering.result import Clusters
from hiddenscape.errors import InputError
from hiddenscape.results import Estimate, join_notes

__all__ = ["label_agreement"]

Halo = Literal["keep", "drop"]
Labels = Sequence[Any] | np.ndarray


def label_agreement(
    clusters: Clusters | Labels,
    labels: Labels | Mapping[str, Labels],
    *,
    halo: Halo = "keep",
    bootstraps: int = 0,
    seed: int = 0,
) -> dict[str, Estimate]:
    r"""Agreement of a partition with labels, at one level or at several.

    With the table :math:`n_{ab}` of clusters against labels, row sums :math:`n_a`, column sums
    :math:`n_b` and :math:`\binom{x}{2}` pairs:

    ``ari``
        :math:`(\sum_{ab}\binom{n_{ab}}{2} - E) / (\frac12 [\sum_a \binom{n_a}{2} +
        \sum_b \binom{n_b}{2}] - E)`, :math:`E = \sum_a \binom{n_a}{2} \sum_b \binom{n_b}{2} /
        \binom{n}{2}`: 1 for equal partitions, 0 by chance.
    ``ami``
        :math:`(I - E[I]) / (\frac12 [H_a + H_b] - E[I])`, mutual information less its expectation
        for permuted labels.
    ``purity``
        :math:`\frac1n \sum_a \max_b n_{ab}`: share of rows that carry the commonest label of their
        cluster. Grows with the number of clusters by itself.

    Parameters
    ----------
    clusters : Clusters or sequence of n hashable values
    labels : sequence of n hashable values, or a mapping of level to such
        Such as ``{"fine": breeds, "macro": animals}``. Compared by equality, never cast; text None
        or NaN is refused.
    halo : str
        ``keep``, as in published values, or ``drop`` the rows in the halo (needs a ``Clusters``).
    bootstraps : int
        Resamples of the points with labels and clusters fixed, for the standard errors; 0 for none.
    seed : int
        Keys the resampling.

    Returns
    -------
    dict of str to Estimate
        ``"fine ari"``, ``"fine ami"``, ``"fine purity"``, ...; without a mapping ``"ari"``,
        ``"ami"``, ``"purity"``. The shares of the commonest label in every cluster stand in the
        parameters of ``purity`` (``per_cluster``; plain clusters in the order of their first rows,
        NaN for a cluster that lies in the halo). NaN with the note ``undefined`` where there is
        no cluster, and for ``ari`` and ``ami`` where both partitions have one part only, or one
        part per row: then chance and perfection are the same thing.

    Raises
    ------
    InputError
        If the lengths differ, a label is missing, fewer than 2 rows are left, or an option is
        unknown.

    Notes
    -----
    Copies of a row count as rows. scikit-learn gives 1 where ours is undefined. O(n + cells), and
    for the expectation of I one sum per pair of distinct sizes.

    References
    ----------
    Hubert, Arabie 1985, doi 10.1007/BF01908075; Vinh, Epps, Bailey 2010, JMLR 11, 2837.

    Examples
    --------
    >>> found = label_agreement([0, 0, 1, 1, 1], ["cat", "cat", "dog", "dog", "cow"])
    >>> {name: round(e.value, 3) for name, e in found.items()}
    {'ari': 0.545, 'ami': 0.635, 'purity': 0.8}
    """
    if halo not in ("keep", "drop"):
        raise InputError(f"halo must be 'keep' or 'drop', got {halo!r}")
    if bootstraps < 0 or bootstraps == 1:
        raise InputError(f"bootstraps must be 0 or at least 2, got {bootstraps}")
    levels = labels if isinstance(labels, Mapping) else {"": labels}
    if not levels:
        raise InputError("labels hold no level")
    parameters: dict[str, object] = {"halo": halo, "bootstraps": bootstraps, "seed": seed}
    if isinstance(clusters, Clusters):
        found, note = clusters.labels, clusters.note
        keep = ~clusters.halo if halo == "drop" else np.ones(len(found), dtype=bool)
        parameters |= {"clustering": clusters.method, **clusters.parameters}
        if not clusters.n_clusters:
            return _undefined(levels, len(found), note, parameters)
    else:
        if halo == "drop":
            raise InputError("halo='drop' needs Clusters, got plain labels")
        found, note = _codes(clusters, "clusters"), ""
        keep = np.ones(len(found), dtype=bool)
    n = int(keep.sum())
    if n < 2:
        raise InputError(f"{n} rows are left to compare, at least 2 are needed")
    out: dict[str, Estimate] = {}
    for level, given in levels.items():
        codes = _codes(given, f"labels {level!r}" if level else "labels")
        if len(codes) != len(found):
            raise InputError(f"{len(codes)} labels for {len(found)} rows")
        a, b = found[keep], codes[keep]
        spread = _bootstrap(a, b, bootstraps, seed)
        for at, (name, value) in enumerate(_scores(a, b).items()):
            own: dict[str, object] = dict(parameters)
            if name == "purity":
                own["per_cluster"] = _shares(a, b, int(found.max()) + 1)
            same = "undefined (both partitions are trivial)" if math.isnan(value) else ""
            out[f"{level} {name}".strip()] = Estimate(
                value=value,
                stderr=spread[at],
                stderr_kind="bootstrap" if math.isfinite(spread[at]) else "",
                n_used=n,
                n_dropped=len(found) - n,
                note=join_notes(note, same),
                parameters=own,
            )
    return out


def _codes(labels: Labels, name: str) -> np.ndarray:
    """Labels as numbers, in order of appearance; equal labels, equal numbers."""
    if isinstance(labels, str | Mapping | set) or not hasattr(labels, "__len__"):
        raise InputError(f"{name} must be a sequence, one per row, got {type(labels).__name__}")
    values = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    seen: dict[Any, int] = {}
    codes = np.empty(len(values), dtype=np.int64)
    for i, value in enumerate(values):
        if value is None or value != value:
            raise InputError(f"{name}: row {i} has no label; leave such rows out of both")
        try:
            codes[i] = seen.setdefault(value, len(seen))
        except TypeError:
            raise InputError(f"{name}: row {i} holds {value!r}, which is no label") from None
    return codes


def _table(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Counts of clusters against labels, empty ones left out."""
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    width = int(b.max()) + 1
    counts = np.bincount(a * width + b, minlength=(int(a.max()) + 1) * width)
    return counts.reshape(-1, width)


def _shares(a: np.ndarray, b: np.ndarray, parts: int) -> tuple[float, ...]:
    """Share of the commonest label in every cluster; NaN where no row of it is left."""
    table = _table(a, b)
    out = np.full(parts, math.nan)
    out[np.unique(a)] = table.max(axis=1) / table.sum(axis=1)
    return tuple(out.tolist())


def _scores(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    table = _table(a, b)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    purity = float(table.max(axis=1).sum() / len(a))
    same = len(rows) == len(columns)
    if same and len(rows) in (1, len(a)):
        return {"ari": math.nan, "ami": math.nan, "purity": purity}
    return {"ari": _ari(table, rows, columns), "ami": _ami(table, rows, columns), "purity": purity}


def _ari(table: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    def pairs(x: np.ndarray) -> float:
        return float((x.astype(np.float64) * (x - 1)).sum() / 2)

    n = float(rows.sum())
    own, other = pairs(rows), pairs(columns)
    expected = own * other / (n * (n - 1) / 2)
    return (pairs(table) - expected) / (0.5 * (own + other) - expected)


def _ami(table: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    n = float(rows.sum())
    p, q = rows / n, columns / n
    entropy_a, entropy_b = -float(xlogy(p, p).sum()), -float(xlogy(q, q).sum())
    joint = table / n
    mutual = float(xlogy(joint, joint).sum()) + entropy_a + entropy_b
    expected = _expected_mutual(rows, columns)
    room = 0.5 * (entropy_a + entropy_b) - expected
    return float((mutual - expected) / room)


def _expected_mutual(rows: np.ndarray, columns: np.ndarray) -> float:
    """Mean of the mutual information over all tables with these sums (hypergeometric cells)."""
    n = int(rows.sum())
    sizes_a, times_a = np.unique(rows, return_counts=True)
    sizes_b, times_b = np.unique(columns, return_counts=True)
    log = gammaln(np.arange(n + 2) + 1.0)  # log[x] = log x!
    total = 0.0
    for a, many_a in zip(sizes_a.tolist(), times_a.tolist(), strict=True):
        for b, many_b in zip(sizes_b.tolist(), times_b.tolist(), strict=True):
            x = np.arange(max(1, a + b - n), min(a, b) + 1)
            weight = (
                log[a] + log[b] + log[n - a] + log[n - b]
                - log[n] - log[x] - log[a - x] - log[b - x] - log[n - a - b + x]
            )  # fmt: skip
            value = x / n * (np.log(n * x.astype(np.float64)) - math.log(a) - math.log(b))
            total += many_a * many_b * float((value * np.exp(weight)).sum())
    return total


def _bootstrap(a: np.ndarray, b: np.ndarray, draws: int, seed: int) -> tuple[float, ...]:
    if not draws:
        return (math.nan,) * 3
    rng = np.random.default_rng([seed, len(a)])
    values = []
    for _ in range(draws):
        rows = rng.integers(len(a), size=len(a))
        values.append(list(_scores(a[rows], b[rows]).values()))
    return tuple(np.std(values, axis=0, ddof=1).tolist())


def _undefined(
    levels: Mapping[str, Labels], n: int, note: str, parameters: dict[str, object]
) -> dict[str, Estimate]:
    nothing = {}
    for level in levels:
        for name in ("ari", "ami", "purity"):
            nothing[f"{level} {name}".strip()] = Estimate(
                value=math.nan,
                n_used=0,
                n_dropped=n,
                note=join_notes(note, "undefined (no clusters)"),
                parameters=parameters,
            )
    return nothing
