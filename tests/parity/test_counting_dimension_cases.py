"""Reference cases: dimensions from how counts of neighbours grow with the radius."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenscape.dimension.binomial import binomial_dimension
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import ball

pytestmark = pytest.mark.real

GROUPS = ("correlation integral, box counting", "binomial, ABIDE, AGRIDE")
ELSEWHERE: dict[str, str] = {
    "dadapy-correlation-integral": "correlation integral: not offered yet",
    "dadapy-box-counting": "box counting: not offered yet",
    "dadapy-agride": "AGRIDE: not offered yet",
    "dadapy-abide": "ABIDE: not offered yet",
    "d-abide-sphere4": "ABIDE: not offered yet",
}
"""Visible cases of these groups that ask for what is not computed here, with the reason."""


@pytest.fixture(scope="session")
def cases(shared: Path) -> dict[str, Any]:
    content = json.loads((shared / "reference" / "cases.json").read_text(encoding="utf-8"))
    wanted = {i for g in GROUPS for i in content["groups"][g]}
    return {c["id"]: c["expected"] for c in content["cases"] if c["id"] in wanted}


@pytest.fixture(scope="session")
def gaussians(shared: Path) -> np.ndarray:
    return np.load(shared / "reference" / "2gaussians_in_2d.npy")


def test_every_visible_case_is_tested_or_listed(cases: dict[str, Any]) -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in cases)
    assert set(ELSEWHERE) <= set(cases)


def test_binomial_of_dadapy(cases: dict[str, Any], gaussians: np.ndarray) -> None:
    graph = find_neighbors(gaussians, k=99)
    found = binomial_dimension(graph, radius=0.25, ratio=0.5, method="bayes")
    got = [found.value, found.stderr, found.scale]
    assert got == pytest.approx(cases["dadapy-binomial-rk-bayes"], rel=1e-7)


def test_binomial_of_the_definition(cases: dict[str, Any]) -> None:
    points = np.hstack([ball(300, 5, seed=0), np.zeros((300, 5))])
    found = binomial_dimension(find_neighbors(points, k=20), 20)
    assert [found.value, found.stderr] == pytest.approx(cases["d-binomial-k20-ball5"], rel=1e-9)
