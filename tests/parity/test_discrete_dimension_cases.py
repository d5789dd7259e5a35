"""Reference cases: dimensions of points of a lattice and of bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenscape.dimension.binary import binary_dimension
from hiddenscape.dimension.discrete import i3d, i3d_scan

pytestmark = pytest.mark.real

GROUPS = ("I3D, BID",)


@pytest.fixture(scope="session")
def cases(shared: Path) -> dict[str, Any]:
    content = json.loads((shared / "reference" / "cases.json").read_text(encoding="utf-8"))
    wanted = {i for g in GROUPS for i in content["groups"][g]}
    return {c["id"]: c["expected"] for c in content["cases"] if c["id"] in wanted}


@pytest.fixture(scope="session")
def lattice() -> np.ndarray:
    return np.random.default_rng(12345).integers(0, 20, size=(500, 5))


def test_every_visible_case_is_tested(cases: dict[str, Any]) -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{name}"' in text for name in cases)


def test_i3d_of_fixed_k(cases: dict[str, Any], lattice: np.ndarray) -> None:
    found = i3d(lattice, k=25, period=20, validate=False)
    assert found.value == pytest.approx(cases["dadapy-i3d-k25"], rel=1e-6)


def test_i3d_of_fixed_radii(cases: dict[str, Any], lattice: np.ndarray) -> None:
    found = i3d(lattice, radius=10, inner=5, period=20, method="bayes", validate=False)
    assert found.value == pytest.approx(cases["dadapy-i3d-lk10-ln5"], rel=1e-6)


def test_i3d_over_radii(cases: dict[str, Any], lattice: np.ndarray) -> None:
    found = i3d_scan(lattice, range(3, 10), period=20)
    assert found.values.tolist() == pytest.approx(cases["dadapy-i3d-scaling-lk"], abs=0.01)


def test_bid_of_fair_coins(cases: dict[str, Any]) -> None:
    spins = 2 * np.random.RandomState(1).randint(low=0, high=2, size=(5000, 100)) - 1
    found = binary_dimension(spins, window=(0, 1))
    want = cases["dadapy-bid"]
    assert found.value == pytest.approx(want["d0"], abs=0.002)
    assert found.parameters["d1"] == pytest.approx(want["d1"], abs=1e-4)
    assert found.parameters["log_kl"] == pytest.approx(want["logKL"], abs=0.001)
