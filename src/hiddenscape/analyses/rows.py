"""What to know of the rows before believing a number: repeats and norms."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hiddenscape.analyses.entry import EXACT, Analysis, Measured, Settings
from hiddenscape.neighbors.graph import NeighborGraph
from hiddenscape.results import Estimate, join_notes

__all__ = ["ROWS"]


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
    points: np.ndarray,
    settings: Settings,
    graph: NeighborGraph | None = None,
    blocks: np.ndarray | None = None,
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


ROWS = (
    Analysis(
        name="duplicates",
        group="rows",
        kind="graph",
        compute=_duplicates,
        neighbors=lambda settings, n: 1,
        quantities=("share", "n_distinct"),
        citations=(),
        laws=EXACT,
        bounds=(0.0, math.inf),
        summary="share of rows that repeat an earlier row exactly",
    ),
    Analysis(
        name="norms",
        group="rows",
        kind="points",
        compute=_norms,
        quantities=("mean",),
        citations=(),
        laws={"permute": "=", "orthogonal": "=", "shift": "x", "scale": "x"},
        bounds=(0.0, math.inf),
        summary="mean Euclidean norm of the rows, uncentred",
    ),
)
