"""The one list of measurements: what each computes and needs, its laws, what to cite.

A new estimator is one source file, one test file and one entry here; the plan, the table, the
command line, the law tests and ``hiddenscape cite`` follow from the entry.

Laws, by the transformation of the points (``=`` exactly invariant, ``x`` must change, ``~`` up to
sampling): ``permute`` rows, ``shift`` all rows, ``orthogonal`` map, global ``scale``, per-feature
``feature_scale``, ``constant_column`` added, ``double`` all columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from hiddenscape.comparison.imbalance import information_imbalance_matrix
from hiddenscape.comparison.labels import label_overlap
from hiddenscape.comparison.null import overlap_chance_sd
from hiddenscape.comparison.overlap import neighborhood_overlap
from hiddenscape.dimension.decimation import decimation
from hiddenscape.dimension.gride import gride_scan
from hiddenscape.dimension.pca import participation_ratio, pca_dimension
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.errors import ConfigError
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import Estimate, join_notes
from hiddenscape.types import whole

__all__ = ["ANALYSES", "DEFAULT_ANALYSES", "Analysis", "Measured", "Settings", "choose"]

Kind = Literal["graph", "points", "labels", "pair", "matrix"]


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


def _usable(settings: Settings, n: int) -> list[int]:
    return [k for k in settings.k if k < n]


def _two_nn(
    method: Any, graph: NeighborGraph, settings: Settings, blocks: np.ndarray | None = None
) -> Iterator[Measured]:
    stderr: Literal["model", "blocks"] = "model" if blocks is None else "blocks"
    result = two_nn(graph, method=method, seed=settings.seed, stderr=stderr, blocks=blocks)
    yield Measured(quantity="dimension", estimate=result, scale=result.scale, n1=1, n2=2, k=2)


def _gride(
    graph: NeighborGraph, settings: Settings, blocks: np.ndarray | None = None
) -> Iterator[Measured]:
    rank = settings.largest_rank(graph.n)
    stderr: Literal["fisher", "blocks"] = "fisher" if blocks is None else "blocks"
    for d in gride_scan(graph, max_rank=rank, stderr=stderr, blocks=blocks).estimates:
        yield Measured(quantity="dimension", estimate=d, scale=d.scale, n1=d.n1, n2=d.n2, k=d.n2)


def _decimation(
    points: np.ndarray, settings: Settings, graph: NeighborGraph | None = None
) -> Iterator[Measured]:
    curve = decimation(points, seed=settings.seed, graph=graph)
    for mean, single in zip(curve.estimates, curve.repeats, strict=True):
        subset = mean.n_used
        yield Measured(
            quantity="dimension", estimate=mean, scale=mean.scale, n1=1, n2=2, subset=subset
        )
        for i, estimate in enumerate(single):
            yield Measured(
                quantity="dimension_single",
                estimate=estimate,
                scale=estimate.scale,
                n1=1,
                n2=2,
                subset=subset,
                repeat=i,
            )


def _pca(
    points: np.ndarray, settings: Settings, graph: NeighborGraph | None = None
) -> Iterator[Measured]:
    for threshold in (0.9, 0.99):
        yield Measured(
            quantity=f"dimension_{round(100 * threshold)}",
            estimate=pca_dimension(points, threshold=threshold),
        )
    yield Measured(quantity="participation_ratio", estimate=participation_ratio(points))


def _label_overlap(
    weighting: Any,
    graph: NeighborGraph,
    labels: np.ndarray,
    settings: Settings,
) -> Iterator[Measured]:
    for k in _usable(settings, graph.n):
        overlap = label_overlap(graph, labels, k=k, weighting=weighting)
        yield Measured(quantity="overlap", estimate=overlap, k=k)
        for quantity in ("chance", "ceiling", "adjusted"):
            yield Measured(quantity=quantity, estimate=_beside(overlap, quantity), k=k)


def _overlap(
    graph_a: NeighborGraph, graph_b: NeighborGraph, settings: Settings
) -> Iterator[Measured]:
    for k in _usable(settings, graph_a.n):
        overlap = neighborhood_overlap(graph_a, graph_b, k=k)
        yield Measured(quantity="overlap", estimate=overlap, k=k)
        yield Measured(quantity="chance", estimate=_beside(overlap, "chance"), k=k)
        spread = overlap_chance_sd(graph_a, graph_b, k=k)
        yield Measured(quantity="chance_sd", estimate=_beside(overlap, spread), k=k)


def _beside(overlap: Any, what: str | float) -> Estimate:
    """A companion of an overlap (its chance level, its ceiling) as a number of its own."""
    value = float(getattr(overlap, what)) if isinstance(what, str) else what
    return Estimate(
        value=value,
        n_used=overlap.n_used,
        n_dropped=overlap.n_dropped,
        note=overlap.note if math.isfinite(value) else overlap.note or "undefined",
    )


def _imbalance(
    sites: Sequence[np.ndarray], graphs: Sequence[NeighborGraph], settings: Settings, **options: Any
) -> Iterator[tuple[int, int, Measured]]:
    matrix = information_imbalance_matrix(sites, k=settings.imbalance_k, graphs=graphs, **options)
    for i in range(len(sites)):
        for j in range(len(sites)):
            yield (
                i,
                j,
                Measured(
                    quantity="imbalance", estimate=matrix.estimate(i, j), k=settings.imbalance_k
                ),
            )


def _duplicates(
    graph: NeighborGraph, settings: Settings, blocks: np.ndarray | None = None
) -> Iterator[Measured]:
    # The rows of a graph made elsewhere were never compared: no answer is not the answer none.
    unknown = graph.multiplicity is None
    note = "undefined (it was not examined which rows repeat)" if unknown else ""
    note = join_notes(note, "" if graph.exact else "approximate")
    for quantity, value in (
        ("share", graph.n_duplicates / graph.n),
        ("n_distinct", float(graph.n_distinct)),
    ):
        found = math.nan if unknown else value
        yield Measured(quantity=quantity, estimate=Estimate(value=found, n_used=graph.n, note=note))


def _norms(
    points: np.ndarray, settings: Settings, graph: NeighborGraph | None = None
) -> Iterator[Measured]:
    norms = np.array([_norm(row) for row in _rows64(points)])
    largest = float(norms.max()) or 1.0
    mean = largest * float((norms / largest).mean())
    yield Measured(
        quantity="mean",
        estimate=Estimate(
            value=mean,
            stderr=largest * float((norms / largest).std(ddof=1)) / math.sqrt(len(norms)),
            stderr_kind="bootstrap",
            n_used=len(norms),
        ),
    )


def _norm(row: np.ndarray) -> float:
    # Scaled by a power of two: squares of large values leave the range of float64.
    exponent = int(np.frexp(np.abs(row).max())[1])
    scaled = np.ldexp(row, -exponent)
    return math.ldexp(math.sqrt(float(np.dot(scaled, scaled))), exponent)


def _rows64(points: np.ndarray) -> Iterator[np.ndarray]:
    for row in points:
        yield row.astype(np.float64)


_EXACT = {"permute": "=", "shift": "=", "orthogonal": "=", "scale": "=", "constant_column": "=",
          "double": "="}  # fmt: skip
_LENGTH = {**_EXACT, "feature_scale": "x"}

_ENTRIES = (
    *(
        Analysis(
            name=name,
            kind="graph",
            compute=partial(_two_nn, method),
            neighbors=lambda settings, n: 2,
            quantities=("dimension",),
            citations=("facco2017twonn",),
            laws=_LENGTH,
            bounds=(0.0, math.inf),
            rows="distinct",
            uses=("seed",) if method == "fit" else (),
            summary=f"TwoNN intrinsic dimension, {words}",
        )
        for name, method, words in (
            ("two_nn", "censored", "censored maximum likelihood on the smallest 90 % of ratios"),
            ("two_nn_mle", "mle", "maximum likelihood (N - 1) / sum log mu"),
            ("two_nn_fit", "fit", "line through the origin on the smallest 90 % of ratios"),
        )
    ),
    Analysis(
        name="gride",
        kind="graph",
        compute=_gride,
        neighbors=lambda settings, n: settings.largest_rank(n),
        quantities=("dimension",),
        citations=("denti2022gride",),
        laws=_LENGTH,
        bounds=(0.0, math.inf),
        uses=("max_rank",),
        rows="distinct",
        summary="GRIDE intrinsic dimension at neighbour ranks (1, 2), (2, 4), (4, 8), ...",
    ),
    Analysis(
        name="decimation",
        kind="points",
        compute=_decimation,
        quantities=("dimension", "dimension_single"),
        citations=("facco2017twonn",),
        laws={**_LENGTH, "permute": "~"},
        bounds=(0.0, math.inf),
        uses=("seed",),
        rows="distinct",
        summary="TwoNN on disjoint subsets of N / 2^s rows with neighbours found anew",
    ),
    Analysis(
        name="pca",
        kind="points",
        compute=_pca,
        quantities=("dimension_90", "dimension_99", "participation_ratio"),
        citations=("gao2017participation",),
        laws=_LENGTH,
        bounds=(0.0, math.inf),
        rows="distinct",
        summary="components for 90 % and 99 % of the variance; participation ratio",
    ),
    *(
        Analysis(
            name=name,
            kind="labels",
            compute=partial(_label_overlap, weighting),
            neighbors=lambda settings, n: max(_usable(settings, n), default=1),
            quantities=("overlap", "chance", "ceiling", "adjusted"),
            citations=("doimo2020nucleation",),
            laws=_LENGTH,
            uses=("k",),
            summary=f"share of the k nearest neighbours that carry the row's label, {words}",
        )
        for name, weighting, words in (
            ("label_overlap", "plain", "mean over rows"),
            ("label_overlap_macro", "macro", "mean over class means"),
        )
    ),
    Analysis(
        name="duplicates",
        kind="graph",
        compute=_duplicates,
        neighbors=lambda settings, n: 1,
        quantities=("share", "n_distinct"),
        citations=(),
        laws=_EXACT,
        bounds=(0.0, math.inf),
        summary="share of rows that repeat an earlier row exactly",
    ),
    Analysis(
        name="norms",
        kind="points",
        compute=_norms,
        quantities=("mean",),
        citations=(),
        laws={"permute": "=", "orthogonal": "=", "shift": "x", "scale": "x"},
        bounds=(0.0, math.inf),
        summary="mean Euclidean norm of the rows, uncentred",
    ),
    Analysis(
        name="neighborhood_overlap",
        kind="pair",
        compute=_overlap,
        neighbors=lambda settings, n: max(_usable(settings, n), default=1),
        quantities=("overlap", "chance", "chance_sd"),
        citations=("doimo2020nucleation",),
        laws=_LENGTH,
        bounds=(0.0, 1.0),
        uses=("k",),
        summary="share of the k nearest neighbours that two sites have in common",
    ),
    Analysis(
        name="information_imbalance",
        kind="matrix",
        compute=_imbalance,
        neighbors=lambda settings, n: settings.imbalance_k + 1,
        quantities=("imbalance",),
        citations=("glielmo2022imbalance",),
        laws=_LENGTH,
        bounds=(0.0, 2.0),
        uses=("imbalance_k",),
        summary="2 / N times the mean rank in site B of the nearest neighbours in site A",
    ),
)

ANALYSES: Mapping[str, Analysis] = {entry.name: entry for entry in _ENTRIES}
DEFAULT_ANALYSES: tuple[str, ...] = tuple(ANALYSES)


def choose(names: Iterable[str] | None) -> tuple[Analysis, ...]:
    """The entries of the given names, in the order of the list; all of them for None.

    Raises
    ------
    ConfigError
        For a name that is not on the list.

    Examples
    --------
    >>> [a.name for a in choose(["gride", "two_nn"])]
    ['two_nn', 'gride']
    """
    if names is None:
        return _ENTRIES
    wanted = set(names)
    unknown = sorted(wanted - set(ANALYSES))
    if unknown:
        raise ConfigError(f"no analysis {', '.join(unknown)}; there are: {', '.join(ANALYSES)}")
    return tuple(entry for entry in _ENTRIES if entry.name in wanted)
