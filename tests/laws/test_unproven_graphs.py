"""A graph that nobody proved marks every number that was made from it, and the report says so."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hiddenscape.analyses import ANALYSES, Analysis, Chain, Measured, Settings
from hiddenscape.comparison.imbalance import information_imbalance
from hiddenscape.comparison.labels import label_overlap
from hiddenscape.comparison.overlap import neighborhood_overlap
from hiddenscape.dimension.gride import gride
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.reporting.source import read_source
from hiddenscape.reporting.warnings import warnings_of
from hiddenscape.results import Estimate, note_words
from hiddenscape.table import Row, Table

SETTINGS = Settings(k=(3, 10), max_rank=16, dimension_k=(8,), kstar_depth=30, stability_draws=0)
N = 120
# What these compute from the points, they do not read from the graph that is offered.
NO_GRAPH = {
    "pca", "norms", "spectrum", "parallel_analysis", "fishers", "ph0", "box_counting", "binary",
    "adp_stability",
}  # fmt: skip


def unproven(graph: NeighborGraph) -> NeighborGraph:
    return NeighborGraph.from_arrays(graph.indices, graph.distances)


def estimates(entry: Analysis, *, proven: bool) -> Iterator[Estimate]:
    """The numbers of an analysis that were made from a graph."""
    r = np.random.default_rng(4)
    a, b = r.normal(size=(2, N, 3))
    labels = r.integers(0, 3, size=N)
    graphs = [find_neighbors(x, k=max(2, entry.neighbors(SETTINGS, N))) for x in (a, b)]
    if not proven:
        graphs = [unproven(g) for g in graphs]
    if entry.kind == "graph":
        found = entry.compute(graphs[0], SETTINGS)
    elif entry.kind == "labels":
        found = entry.compute(graphs[0], labels, SETTINGS)
    elif entry.kind == "chain":
        found = entry.compute(Chain(a, graphs[0], SETTINGS), SETTINGS)
    elif entry.kind == "chain_labels":
        found = entry.compute(Chain(a, graphs[0], SETTINGS), labels, SETTINGS)
    elif entry.kind == "pair":
        found = entry.compute(*graphs, SETTINGS)
    elif entry.kind == "matrix":
        found = (m for _, _, m in entry.compute([a, b], graphs, SETTINGS))
    else:
        found = entry.compute(a, SETTINGS, graphs[0])
    for m in found:
        # The subsets of a decimation are searched anew, exactly.
        if isinstance(m, Measured) and m.subset in (None, N):
            yield m.estimate


@pytest.mark.parametrize("entry", ANALYSES.values(), ids=lambda e: e.name)
def test_every_number_from_an_unproven_graph_says_so(entry: Analysis) -> None:
    proven = list(estimates(entry, proven=True))
    assert proven
    assert all("approximate" not in note_words(e.note) for e in proven)
    marked = ["approximate" in note_words(e.note) for e in estimates(entry, proven=False)]
    assert marked == [entry.name not in NO_GRAPH] * len(proven)


def test_one_unproven_side_is_enough(rng: np.random.Generator) -> None:
    graph = find_neighbors(rng.normal(size=(30, 2)), k=4)
    for a, b in ((unproven(graph), graph), (graph, unproven(graph))):
        assert neighborhood_overlap(a, b).note == "approximate"


def test_numbers_that_do_not_exist_say_so_too() -> None:
    x = np.repeat([[0.0, 1.0], [3.0, 1.0]], 8, axis=0)
    rough = unproven(find_neighbors(x, k=4))
    for result in (
        neighborhood_overlap(rough, rough),
        label_overlap(rough, [*"ab"] * 8),
        information_imbalance(x, x, graph_a=rough),
        two_nn(unproven(find_neighbors(np.eye(20), k=2))),
        gride(unproven(find_neighbors(np.eye(20), k=2))),
    ):
        assert math.isnan(result.value)
        assert "approximate" in note_words(result.note)


def test_rows_that_were_never_compared_are_not_called_distinct() -> None:
    graph = find_neighbors([[0.0], [1.0], [0.0], [5.0]], k=2)
    known = list(ANALYSES["duplicates"].compute(graph, SETTINGS))
    assert [m.estimate.value for m in known] == [0.25, 3.0]
    for m in ANALYSES["duplicates"].compute(unproven(graph), SETTINGS):
        assert math.isnan(m.estimate.value)
        assert m.estimate.note == "undefined (it was not examined which rows repeat); approximate"


def test_the_mark_survives_taking_and_the_report_shows_it(tmp_path: Path) -> None:
    graph = unproven(find_neighbors(np.random.default_rng(0).normal(size=(200, 3)), k=8)).take(2)
    found = two_nn(graph)
    row = Row(site="s", depth=0.0, analysis="two_nn", quantity="dimension", value=found.value,
              n_used=found.n_used, note=found.note)  # fmt: skip
    Table([row]).write_part(tmp_path / "results", "two_nn")
    (tmp_path / "measure.json").write_text(json.dumps({}))
    assert "TwoNN: approximate neighbours at s." in warnings_of(read_source(tmp_path))
