"""Reference cases: dimensions from how counts of neighbours grow with the radius."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenscape.dimension.abide import abide, agride
from hiddenscape.dimension.binomial import binomial_dimension
from hiddenscape.dimension.boxes import box_counting
from hiddenscape.dimension.correlation import correlation_integral
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import ball, sphere

pytestmark = pytest.mark.real

GROUPS = ("correlation integral, box counting", "binomial, ABIDE, AGRIDE")
ELSEWHERE: dict[str, str] = {}
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


def test_correlation_integral_of_dadapy(cases: dict[str, Any], gaussians: np.ndarray) -> None:
    radii = np.linspace(0.25, 1.75, 10)
    curve = correlation_integral(gaussians, radii)
    slopes = [curve.fit(high=r, floor=True).value for r in radii[1:]]
    assert slopes == pytest.approx(cases["dadapy-correlation-integral"], abs=1e-5)


def test_abide_and_agride_of_dadapy(cases: dict[str, Any]) -> None:
    points = np.random.RandomState(0).normal(0, 1, size=(1000, 2))
    graph = find_neighbors(points, k=999)
    a, b = abide(graph, start=5), agride(graph, start=5)
    assert a.parameters["path"][1:4] == pytest.approx(cases["dadapy-abide"], abs=0.01)
    assert b.parameters["path"][1:4] == pytest.approx(cases["dadapy-agride"], abs=0.01)
    full = [2.011165035073, 1.951574418391, 1.951581305419]
    assert a.parameters["path"][1:4] == pytest.approx(full, rel=1e-11)
    full = [2.018369897718, 1.931508993360, 1.931250051442]
    assert b.parameters["path"][1:4] == pytest.approx(full, rel=1e-11)


def test_abide_at_its_cap_is_flagged(cases: dict[str, Any]) -> None:
    found = abide(find_neighbors(sphere(300, 4, seed=1), k=299), start=5)
    assert found.parameters["path"][1:4] == pytest.approx(cases["d-abide-sphere4"], rel=1e-6)
    assert "capped (300 of 300 rows at k = 298: the dimension at this scale" in found.note


def test_box_counting_of_dadapy(cases: dict[str, Any], gaussians: np.ndarray) -> None:
    corner = np.full(2, -5 + 1e-5)
    found = box_counting(gaussians, scales=np.linspace(1, 3, 10), low=corner)
    want = cases["dadapy-box-counting"]
    x = -np.log(found.parameters["sides"])
    y = np.log(found.parameters["counts"])
    slopes = [np.polyfit(x[:m], y[:m], 1)[0] for m in range(2, len(x) + 1)]
    assert slopes == pytest.approx(want, abs=0.01)
    assert found.value == pytest.approx(slopes[-1], rel=1e-9)
