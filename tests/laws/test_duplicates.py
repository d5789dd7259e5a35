"""The duplicates battery: repeated rows, coarse grids and constant sites, for every estimator.

No estimator of the public page answers a site of copies by NaN without a reason, by a silent zero
or by a search bound; and where the policy is ``unique``, copies change nothing at all.

A new public estimator enters by one line of ``ENTRIES``; ``test_every_public_estimator_is_here``
fails until it does.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape.comparison.imbalance import ImbalanceMatrix
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import Estimate, note_words

ROOMS = {"dimension", "density", "clustering", "comparison"}
M, D, K = 120, 3, 16


@dataclass(frozen=True)
class Entry:
    """How to call an estimator on points, and what becomes of copies.

    ``unique``: they are left out, ``all``: they count and the note says so, ``keep``: they stay
    (comparisons; the laws of those stand at the end). ``zero``: 0 is an honest answer.
    """

    call: Callable[[np.ndarray], Any]
    policy: str = "unique"
    zero: bool = False


def graph_of(x: np.ndarray) -> NeighborGraph:
    return hs.find_neighbors(x, k=K)


def on_graph(estimate: Callable[[NeighborGraph], Any]) -> Entry:
    return Entry(lambda x: estimate(graph_of(x)))


def on_density(estimate: Callable[[NeighborGraph, hs.LogDensity, np.ndarray], Any]) -> Entry:
    def call(x: np.ndarray) -> Any:
        graph = graph_of(x)
        return estimate(graph, hs.knn_density(graph, dimension=2.5, k=8), x)

    return Entry(call)


def other_site(x: np.ndarray) -> np.ndarray:
    """A second site of the same inputs, without a single copy."""
    return x.astype(float) + np.random.default_rng(9).normal(size=x.shape)


def on_lattice(x: np.ndarray) -> np.ndarray:
    """Whole numbers that tell apart what x tells apart."""
    scale = 4 if np.ptp(x) > 2 else 4 / 0.05
    return np.rint((x - x.min(axis=0)) * scale).astype(np.int64)


def as_bits(x: np.ndarray) -> np.ndarray:
    """On which side of 64 random planes through the mean of the distinct rows."""
    planes = np.random.default_rng(7).normal(size=(x.shape[1], 64))
    return (x.astype(float) - np.unique(x, axis=0).mean(axis=0)) @ planes > 0


def classes(x: np.ndarray) -> np.ndarray:
    return np.arange(len(x)) % 3


ENTRIES: dict[str, Entry] = {
    # dimension
    "two_nn": on_graph(hs.two_nn),
    "two_nn mle": on_graph(lambda g: hs.two_nn(g, method="mle")),
    "two_nn fit": on_graph(lambda g: hs.two_nn(g, method="fit")),
    "two_nn bayes": on_graph(lambda g: hs.two_nn(g, method="bayes")),
    "gride": on_graph(lambda g: hs.gride(g, 2, 4)),
    "gride_scan": on_graph(lambda g: hs.gride_scan(g, max_rank=8)),
    "decimation": Entry(lambda x: hs.decimation(x)),
    "mle_dimension": on_graph(lambda g: hs.mle_dimension(g, 10, per_point=True)),
    "mle_dimension noise": on_graph(lambda g: hs.mle_dimension(g, 5, noise=0.01)),
    "mle_global": on_graph(lambda g: hs.mle_global(g, 60)),
    "mom_dimension": on_graph(lambda g: hs.mom_dimension(g, 10)),
    "mada_dimension": on_graph(lambda g: hs.mada_dimension(g, 10)),
    "mind_dimension": on_graph(lambda g: hs.mind_dimension(g, 8)),
    "mind_dimension integer": on_graph(lambda g: hs.mind_dimension(g, 8, integer=True)),
    "binomial_dimension": on_graph(lambda g: hs.binomial_dimension(g, 10)),
    "binomial_dimension radius": on_graph(lambda g: hs.binomial_dimension(g, radius=0.5)),
    "abide": on_graph(hs.abide),
    "agride": on_graph(hs.agride),
    "tle_dimension": Entry(lambda x: hs.tle_dimension(x, 10)),
    "ess_dimension": Entry(lambda x: hs.ess_dimension(x, 10)),
    "danco_dimension": Entry(lambda x: hs.danco_dimension(x, 8, balls=2)),
    "hidalgo": on_graph(lambda g: hs.hidalgo(g, (1, 2), sweeps=30, burn_in=30, chains=2)),
    "local_pca_dimension": Entry(lambda x: hs.local_pca_dimension(x, 10, per_point=True)),
    "isomap_dimension": on_graph(lambda g: hs.isomap_dimension(g, 8, max_components=6)),
    "correlation_dimension": Entry(lambda x: hs.correlation_dimension(x, 5, 10)),
    "correlation_integral": Entry(lambda x: hs.correlation_integral(x, [0.5, 1.0, 2.0]), zero=True),
    "ph0_dimension": Entry(lambda x: hs.ph0_dimension(x)),
    "box_counting": Entry(lambda x: hs.box_counting(x)),
    "fishers_dimension": Entry(lambda x: hs.fishers_dimension(x)),
    "spectrum_dimension": Entry(lambda x: hs.spectrum_dimension(x, "kaiser"), "all"),
    "pca_dimension": Entry(lambda x: hs.pca_dimension(x), "all"),
    "participation_ratio": Entry(lambda x: hs.participation_ratio(x), "all"),
    "finite_size_correction": on_graph(lambda g: hs.finite_size_correction(hs.two_nn(g))),
    "extrapolate": Entry(lambda x: hs.extrapolate(hs.decimation(x, min_rows=12))),
    "autoencoder_dimension": Entry(
        lambda x: hs.autoencoder_dimension(x, sizes=(1, 2, 3), width=8, steps=10, seeds=3)
    ),
    "i3d": Entry(lambda x: hs.i3d(on_lattice(x), radius=6), "all"),
    "i3d shells": Entry(lambda x: hs.i3d(on_lattice(x), k=10), "all"),
    "i3d_scan": Entry(lambda x: hs.i3d_scan(on_lattice(x), (4, 8)), "all"),
    "binary_dimension": Entry(lambda x: hs.binary_dimension(as_bits(x), window=(0.0, 0.5)), "all"),
    # density
    "k_star": on_graph(lambda g: hs.k_star(g, dimension=2.5)),
    "knn_density": on_graph(lambda g: hs.knn_density(g, dimension=2.5, k=8)),
    "kstar_density": on_graph(lambda g: hs.kstar_density(g, dimension=2.5)),
    "k_peaks": on_graph(lambda g: hs.k_peaks(g, dimension=2.5)),
    "pak_density": on_graph(lambda g: hs.pak_density(g, dimension=2.5)),
    "bmti_density": Entry(lambda x: hs.bmti_density(graph_of(x), x, dimension=2.5)),
    "bmti_density identity": Entry(
        lambda x: hs.bmti_density(graph_of(x), x, dimension=2.5, alpha=0.9, weights="identity")
    ),
    "density_gradients": Entry(lambda x: hs.density_gradients(graph_of(x), x, dimension=2.5)),
    "density_differences": Entry(lambda x: hs.density_differences(graph_of(x), x, dimension=2.5)),
    "interpolate_density": Entry(
        lambda x: hs.interpolate_density(graph_of(x), x, x, dimension=2.5)
    ),
    "density_entropy": on_graph(
        lambda g: hs.density_entropy(hs.knn_density(g, dimension=2.5, k=8), graph=g)
    ),
    # clusters
    "decision_graph": on_density(lambda g, rho, x: hs.decision_graph(g, rho, points=x)),
    "density_peaks": on_density(
        lambda g, rho, x: hs.density_peaks(
            g, rho, min_log_density=-np.inf, min_delta=float(np.ptp(x)) / 8, points=x
        )
    ),
    "adp": on_density(lambda g, rho, x: hs.adp(g, rho, z=1.0, points=x)),
    "merge_tree": on_density(lambda g, rho, x: hs.merge_tree(hs.adp(g, rho, z=0.5, points=x))),
    "dendrogram": on_density(
        lambda g, rho, x: hs.dendrogram(hs.merge_tree(hs.adp(g, rho, z=0.5, points=x)))
    ),
    "peak_map": on_density(lambda g, rho, x: hs.peak_map(hs.adp(g, rho, z=0.5, points=x))),
    "label_agreement": Entry(
        lambda x: hs.label_agreement(
            hs.adp(graph_of(x), hs.knn_density(graph_of(x), dimension=2.5, k=8), points=x),
            classes(x),
        ),
        "keep",
        zero=True,
    ),
    "cluster_stability": Entry(
        lambda x: hs.cluster_stability(x, dimension=2.5, stored=K, k=(8,), subsamples=2), "keep"
    ),
    # comparison
    "neighborhood_overlap": Entry(
        lambda x: hs.neighborhood_overlap(graph_of(x), graph_of(other_site(x))), "keep", zero=True
    ),
    "label_overlap": Entry(lambda x: hs.label_overlap(graph_of(x), classes(x)), "keep", zero=True),
    "information_imbalance": Entry(lambda x: hs.information_imbalance(x, other_site(x)), "keep"),
    "information_imbalance back": Entry(
        lambda x: hs.information_imbalance(other_site(x), x), "keep"
    ),
    "information_imbalance_matrix": Entry(
        lambda x: hs.information_imbalance_matrix([x, other_site(x)]), "keep"
    ),
}

NO_ESTIMATORS = {
    "saddle_distances": "distances of a clustering's saddles; peak_map carries them and the note",
    "binarize": "makes bits of points, estimates nothing",
    "expected_dimension": "what the model would say, sees no rows",
    "count_components": "counts given eigenvalues, sees no rows",
    "ess_of_patch": "one patch of vectors, given by the caller",
    "tree_lengths": "edges of one tree, a copy is an edge of length 0",
}


def public_estimators() -> set[str]:
    return {
        name
        for name, home in hs._HOME.items()
        if home.split(".")[0] in ROOMS and inspect.isfunction(getattr(hs, name))
    }


def test_every_public_estimator_is_here() -> None:
    here = {name.split(" ")[0] for name in ENTRIES}
    assert public_estimators() - set(NO_ESTIMATORS) == here
    assert set(NO_ESTIMATORS) <= public_estimators()


# ---- clouds


def distinct(seed: int = 0, n: int = M) -> np.ndarray:
    return np.random.default_rng([51, seed]).normal(size=(n, D)) * [1.0, 2.0, 0.5]


def mixed() -> np.ndarray:
    x = np.repeat(distinct(), np.arange(M) % 4 + 1, axis=0)
    return x[np.random.default_rng(52).permutation(len(x))]


def constant_rows() -> np.ndarray:
    """A third of the rows are one and the same vector of a constant, as empty inputs give."""
    return np.insert(distinct(), np.sort(np.arange(60) * 2), np.full(D, 0.25), axis=0)


def bfloat16(x: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def far_off(n: int = 200) -> np.ndarray:
    """So far from the origin that a coarse type leaves a few values per column."""
    return 10.0 + 0.05 * distinct(n=n)


CLOUDS: dict[str, Callable[[], np.ndarray]] = {
    "pairs": lambda: np.repeat(distinct(), 2, axis=0),
    "triples": lambda: np.repeat(distinct(), 3, axis=0),
    "4-fold": lambda: np.tile(distinct(), (4, 1)),
    "mixed": mixed,
    "constant rows": constant_rows,
    "bf16 grid": lambda: bfloat16(far_off()),
    "fp16 grid": lambda: (far_off() * 8).astype(np.float16),
    "all equal": lambda: np.full((60, D), 0.3),
    "2 distinct": lambda: np.repeat(distinct(n=2), 30, axis=0),
    "3 distinct": lambda: np.repeat(distinct(n=3), 20, axis=0),
    "7 distinct": lambda: np.repeat(distinct(n=7), 9, axis=0),
}
COLLAPSED = ("all equal", TWO := "2 distinct")
COPIES = ("pairs", "triples", "4-fold", "mixed", "constant rows")

PER_ROW = {"k", "log density", "stderr", "gradient", "delta", "labels"}

each = pytest.mark.parametrize("name", ENTRIES)


def first_rows(x: np.ndarray) -> np.ndarray:
    """The distinct rows, in the order of their first appearance."""
    return x[hs.find_duplicates(x).distinct_rows]


# ---- what an answer says


@dataclass(frozen=True)
class Number:
    """Numbers of an answer, flat, with the note that speaks of them."""

    what: str
    values: np.ndarray
    note: str


def _flat(value: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(value, dtype=np.float64)).ravel()


def numbers(found: Any) -> Iterator[Number]:
    """Every number of an answer; a new kind of answer is told how here."""
    if isinstance(found, Estimate):
        yield Number("value", _flat(found.value), found.note)
        if getattr(found, "per_point", None) is not None and math.isnan(found.value):
            yield Number("per_point", _flat(found.per_point), found.note)
    elif isinstance(found, hs.DimensionCurve):
        for i, estimate in enumerate(found.estimates):
            yield Number(f"value {i}", _flat(estimate.value), estimate.note)
    elif isinstance(found, hs.CorrelationIntegral):
        yield Number("share", _flat(found.share), found.note)
    elif isinstance(found, hs.KStar):
        yield Number("k", np.where(found.k < 0, np.nan, found.k), found.note)
    elif isinstance(found, hs.LogDensity):
        yield Number("log density", _flat(found.values), found.note)
        yield Number("stderr", _flat(found.stderr), found.note)
    elif isinstance(found, hs.DensityGradients):
        yield Number("gradient", np.linalg.norm(found.values, axis=1), found.note)
    elif isinstance(found, hs.DensityDifferences):
        yield Number("difference", _flat(found.values), found.note)
        yield Number("variance", _flat(found.variance), found.note)
    elif isinstance(found, hs.DecisionGraph):
        yield Number("delta", _flat(found.delta), found.note)
    elif isinstance(found, hs.Clusters):
        yield Number("labels", np.where(found.labels < 0, np.nan, found.labels + 1), found.note)
        yield Number("heights", _flat(found.heights), found.note)
    elif isinstance(found, hs.MergeTree):
        yield Number("heights", _flat(found.heights), found.note)
        yield Number("peaks", _flat(found.peaks), found.note)
    elif isinstance(found, hs.Dendrogram):
        yield Number("y", _flat(found.y), found.note)
    elif isinstance(found, hs.PeakMap):
        yield Number("coordinates", _flat(found.coordinates), found.note)
        yield Number("distances", _flat(found.distances), found.note)
    elif isinstance(found, hs.Stability):
        yield from numbers(found.reference)
    elif isinstance(found, ImbalanceMatrix):
        off = ~np.eye(len(found.values), dtype=bool)
        for (i, j), value in np.ndenumerate(found.values):
            if off[i, j]:
                yield Number(f"{i} -> {j}", _flat(value), found.notes[i][j])
    elif isinstance(found, Mapping):
        for key, part in found.items():
            yield from (Number(f"{key} {n.what}", n.values, n.note) for n in numbers(part))
    else:
        raise TypeError(f"tell numbers() how to read {type(found).__name__}")


# ---- the battery


@pytest.mark.parametrize("name", sorted(set(ENTRIES) - {"autoencoder_dimension"}))
def test_plain_points_have_an_answer(name: str) -> None:
    """Else the battery would test nothing but notes (a trained network takes longer than it)."""
    rows = {"finite_size_correction": 500, "extrapolate": 2000}.get(name, M)
    found = list(numbers(ENTRIES[name].call(distinct(n=rows))))
    assert found
    assert any(np.isfinite(part.values).all() and len(part.values) for part in found)


@each
@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_nan_without_a_reason_no_silent_zero_no_bound(name: str, cloud: str) -> None:
    entry = ENTRIES[name]
    x = CLOUDS[cloud]()
    for found in numbers(entry.call(x)):
        if np.isnan(found.values).any():
            assert found.note, f"{found.what} is NaN and nothing says why"
        assert not np.isinf(found.values).any(), found
        if not entry.zero and found.what.startswith("value"):
            assert not (found.values == 0).any(), f"{found.what} is a silent 0"
        if found.what.startswith("value") and _is_dimension(name):
            # Bounds of searches in use are 0.001 to 0.1 below, the width or 100 and more above.
            inside = (found.values > 0.15) & (found.values < 40)
            assert (inside | np.isnan(found.values)).all(), found


def _is_dimension(name: str) -> bool:
    return hs._HOME[name.split(" ")[0]].startswith("dimension.")


@pytest.mark.parametrize(
    ("name", "cloud"),
    # Two points span a line, and linear rules say so.
    [(n, c) for n, e in ENTRIES.items() for c in COLLAPSED if (e.policy, c) != ("all", TWO)],
)
def test_fewer_than_three_distinct_rows_have_no_value(name: str, cloud: str) -> None:
    entry = ENTRIES[name]
    for found in numbers(entry.call(CLOUDS[cloud]())):
        if entry.policy == "keep" and cloud == TWO:
            assert found.note, found
            continue
        assert np.isnan(found.values).all(), found
        words = set(note_words(found.note))
        assert words & ({"undefined"} if entry.policy == "keep" else {"collapsed"}), found


@pytest.mark.parametrize("name", [n for n, e in ENTRIES.items() if e.policy == "unique"])
@pytest.mark.parametrize("cloud", COPIES)
def test_copies_change_nothing(name: str, cloud: str) -> None:
    entry = ENTRIES[name]
    x = CLOUDS[cloud]()
    duplicates = hs.find_duplicates(x)
    many, once = entry.call(x), entry.call(first_rows(x))
    position = np.searchsorted(duplicates.distinct_rows, duplicates.representative)
    for copied, plain in zip(numbers(many), numbers(once), strict=True):
        wanted = plain.values[position] if plain.what in PER_ROW else plain.values
        np.testing.assert_allclose(copied.values, wanted, rtol=1e-12, err_msg=copied.what)
        assert "duplicates" in note_words(copied.note), "the share of copies is not told"
        assert "duplicates" not in note_words(plain.note)


@pytest.mark.parametrize("name", [n for n, e in ENTRIES.items() if e.policy == "all"])
@pytest.mark.parametrize("cloud", COPIES)
def test_where_copies_count_the_note_says_so(name: str, cloud: str) -> None:
    for part in numbers(ENTRIES[name].call(CLOUDS[cloud]())):
        assert "duplicates" in note_words(part.note)
        assert "all used" in part.note or "all counted" in part.note


# ---- comparisons keep copies


@pytest.mark.parametrize(("cloud", "copies"), [("pairs", 2), ("triples", 3), ("4-fold", 4)])
def test_a_site_of_copies_agrees_with_itself(cloud: str, copies: int) -> None:
    x = CLOUDS[cloud]()
    overlap = hs.neighborhood_overlap(graph_of(x), graph_of(x * 3))
    assert overlap.value == 1
    imbalance = hs.information_imbalance(x, x)
    assert imbalance.value == pytest.approx(copies / len(x), rel=1e-12)


def test_imbalance_from_and_to_a_constant_site_is_undefined() -> None:
    x, flat = distinct(), np.full((M, D), 2.0)
    for a, b in ((x, flat), (flat, x)):
        found = hs.information_imbalance(a, b)
        assert math.isnan(found.value)
        assert "undefined" in note_words(found.note)
