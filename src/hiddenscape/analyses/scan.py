"""Every dimension estimator over scales: neighbour ranks, and disjoint subsets of the rows.

Fewer rows lie farther apart, so a subset is a larger scale (Facco, d'Errico, Rodriguez, Laio 2017,
doi 10.1038/s41598-017-11873-y); neighbours are found anew in each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.analyses.dimensions import DIMENSIONS
from hiddenscape.analyses.entry import Analysis, Measured, Settings
from hiddenscape.dimension.result import Dimension, DimensionCurve
from hiddenscape.errors import ConfigError, InputError
from hiddenscape.kernels.arrays import cloud
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.results import join_notes, note_words

__all__ = ["DimensionScan", "Subsets", "dimension_scan", "over_subsets"]

_LEAST_ROWS = 20


class Subsets:
    """Disjoint subsets of distinct rows with their graphs, each searched once.

    Parameters
    ----------
    points : array (n, d)
        Distinct rows.
    settings : Settings
        ``subsets`` and ``seed``; the deal is that of ``decimation``.
    depth : callable
        Rows of a subset -> neighbours per row that its readers need; 0 for none.
    """

    def __init__(self, points: np.ndarray, settings: Settings, depth: Callable[[int], int]) -> None:
        self._points, self._settings, self._depth = points, settings, depth
        self._found: dict[int, list[tuple[np.ndarray, NeighborGraph | None]]] = {}

    @property
    def parts(self) -> tuple[int, ...]:
        """Numbers of subsets that leave enough rows in each."""
        n = len(self._points)
        return tuple(p for p in self._settings.subsets if n // p >= _LEAST_ROWS)

    def of(self, parts: int) -> list[tuple[np.ndarray, NeighborGraph | None]]:
        """Points and graph of each of ``parts`` subsets."""
        if parts not in self._found:
            n = len(self._points)
            order = np.random.default_rng([self._settings.seed, n]).permutation(n)
            found = []
            for rows in np.array_split(order, parts):
                x = self._points[np.sort(rows)]
                need = min(self._depth(len(x)), len(x) - 1)
                found.append((x, find_neighbors(x, k=need) if need else None))
            self._found[parts] = found
        return self._found[parts]


def over_subsets(entry: Analysis, subsets: Subsets, settings: Settings) -> Iterator[Measured]:
    """What an analysis measures on each subset, and the means over subsets of one size.

    Quantities end in ``_single`` and ``_subset``. A subset on which the analysis is undefined is
    left out of the mean and counted in its note.
    """
    for parts in subsets.parts:
        singles: dict[tuple[object, ...], list[Measured]] = {}
        for repeat, (points, graph) in enumerate(subsets.of(parts)):
            for m in _on(entry, points, graph, settings):
                own = replace(
                    m, quantity=f"{m.quantity}_single", subset=m.estimate.n_used, repeat=repeat
                )
                singles.setdefault((m.quantity, m.k, m.n1, m.setting), []).append(own)
        for (quantity, *_), found in singles.items():
            yield _mean(f"{quantity}_subset", found, parts)
            yield from found


def _on(
    entry: Analysis, points: np.ndarray, graph: NeighborGraph | None, settings: Settings
) -> list[Measured]:
    try:
        if entry.kind == "graph":
            return list(entry.compute(graph, settings))
        return list(entry.compute(points, settings, graph))
    except InputError:
        return []


def _mean(quantity: str, found: list[Measured], parts: int) -> Measured:
    first = found[0]
    values = np.array([m.estimate.value for m in found])
    known = values[np.isfinite(values)]
    words = [w for m in found for w in dict.fromkeys(note_words(m.estimate.note))]
    said = [f"{w} ({words.count(w)} of {parts} subsets)" for w in dict.fromkeys(words)]
    if len(known) < parts and "undefined" not in words:
        said.append(f"undefined ({parts - len(known)} of {parts} subsets)")
    stderr = float(known.std(ddof=1)) / math.sqrt(len(known)) if len(known) > 1 else math.nan
    used = round(float(np.mean([m.estimate.n_used for m in found])))
    # Subsets of sizes that differ by one belong together.
    for i, m in enumerate(found):
        found[i] = replace(m, subset=used)
    scale = float(np.mean([m.scale for m in found]))
    mean = Dimension(
        value=float(known.mean()) if len(known) else math.nan,
        stderr=stderr,
        stderr_kind="repeats" if math.isfinite(stderr) else "",
        n_used=used,
        scale=scale,
        method=getattr(first.estimate, "method", ""),
        n1=first.n1,
        n2=first.n2,
        note=join_notes(*said),
        parameters={**first.estimate.parameters, "subsets": parts},
    )
    return replace(first, quantity=quantity, estimate=mean, scale=scale, subset=used, repeat=None)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DimensionScan:
    """Dimensions of one cloud by several estimators, at several ranks and numbers of rows.

    Attributes
    ----------
    found : tuple of (str, Measured)
        Name of the analysis, and a number with its labels: ``quantity``, ``estimate`` (a
        :class:`Dimension`), ``scale``, ``k``, ``n1``, ``n2``, ``subset``, ``repeat``.
    """

    found: tuple[tuple[str, Measured], ...]

    def of(self, analysis: str, quantity: str = "dimension") -> tuple[Measured, ...]:
        """All numbers of one quantity, subsets and their means included."""
        kinds = (quantity, f"{quantity}_subset", f"{quantity}_single")
        return tuple(m for name, m in self.found if name == analysis and m.quantity in kinds)

    def over_ranks(self, analysis: str, quantity: str = "dimension") -> DimensionCurve:
        """Dimension against neighbour rank, on all rows.

        Raises
        ------
        InputError
            If nothing was measured.
        """
        return _curve(m for m in self.of(analysis, quantity) if m.subset is None)

    def over_rows(
        self, analysis: str, quantity: str = "dimension", *, k: int | None = None
    ) -> DimensionCurve:
        """Dimension against scale as the rows become fewer, at one ``k`` (the first by default).

        Raises
        ------
        InputError
            If nothing was measured.
        """
        means = [m for m in self.of(analysis, quantity) if m.repeat is None]
        wanted = k if k is not None or not means else means[0].k
        return _curve(m for m in means if m.k == wanted)


def _curve(found: Iterable[Measured]) -> DimensionCurve:
    estimates = tuple(m.estimate for m in found if isinstance(m.estimate, Dimension))
    if not estimates:
        raise InputError("no such dimension was measured: look at the names in .found")
    return DimensionCurve(estimates=estimates)


def dimension_scan(
    points: ArrayLike,
    estimators: Sequence[str] = ("two_nn", "gride", "mle"),
    *,
    k: Sequence[int] = (10, 20, 40),
    max_rank: int | None = None,
    subsets: Sequence[int] = (2, 4, 8),
    seed: int = 0,
) -> DimensionScan:
    r"""Dimension by several estimators over neighbour ranks and over subsets of the rows.

    The layers of a run are scanned by
    ``measure(run, estimators, dimension_k=(10, 20, 40), subsets=(2, 4, 8))``.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed. Identical rows enter once.
    estimators : sequence of str
        Names of the group ``dimension`` of ``hiddenscape list analyses``.
    k : sequence of int
        Neighbours of the local estimators; those that the rows do not allow are left out.
    max_rank : int, optional
        Largest n2 of GRIDE; min(n / 4, 256) by default.
    subsets : sequence of int
        Into how many disjoint parts the rows are dealt; parts of fewer than 20 rows are left out.
    seed : int
        Keys the deal, and the random streams of the estimators.

    Returns
    -------
    DimensionScan
        For every subset size the mean over the parts with its standard error (``repeats``: they
        share the data set, not its sampling error) and the single values.

    Raises
    ------
    ConfigError
        For a name that is no dimension, or settings that make no sense.
    InputError
        For fewer than 3 distinct rows.
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    One search over all rows and one in every subset, whatever the number of estimators. Compare
    values at equal scale and equal numbers of rows only: thinning moves both.

    References
    ----------
    Facco, d'Errico, Rodriguez, Laio 2017, doi 10.1038/s41598-017-11873-y (scale analysis).

    Examples
    --------
    >>> points = np.random.default_rng(0).uniform(size=(400, 2))
    >>> scan = dimension_scan(points, ["two_nn", "mle"], k=(10, 20), subsets=(2,))
    >>> scan.over_ranks("mle").n2, scan.over_rows("two_nn").subset
    ((10, 20), (400, 200))
    """
    settings = Settings(dimension_k=tuple(k), max_rank=max_rank, subsets=tuple(subsets), seed=seed)
    known = {entry.name: entry for entry in DIMENSIONS}
    wrong = sorted(set(estimators) - set(known))
    if wrong or not estimators:
        raise ConfigError(f"no dimension {', '.join(wrong)}; there are: {', '.join(known)}")
    entries = [known[name] for name in dict.fromkeys(estimators)]
    x = cloud(points).original
    x = x[find_duplicates(x).distinct_rows]
    if len(x) < 3:
        raise InputError(f"a scan needs at least 3 distinct rows, got {len(x)}")

    def depth(n: int) -> int:
        return max(entry.neighbors(settings, n) for entry in entries)

    need = min(depth(len(x)), len(x) - 1)
    graph = find_neighbors(x, k=need) if need else None
    parts = Subsets(x, settings, depth)
    found: list[tuple[str, Measured]] = []
    for entry in entries:
        found += [(entry.name, m) for m in _on(entry, x, graph, settings)]
        if entry.cut(settings):
            found += [(entry.name, m) for m in over_subsets(entry, parts, settings)]
    return DimensionScan(found=tuple(found))
