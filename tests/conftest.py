"""What every test shares: hypothesis profiles, read-only arrays, and the folder of real data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=400)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real networks, data and reference cases that may lie beside the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"real networks and data are not at {SHARED}")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20231)


def frozen(array: np.ndarray) -> np.ndarray:
    """A read-only copy: functions must not write to their input."""
    out = np.array(array)
    out.flags.writeable = False
    return out
