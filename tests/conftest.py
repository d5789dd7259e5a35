"""What every test shares: hypothesis profiles, read-only arrays, and the folder of real data."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """Made-up run directories: the module ``tests/plots/fake_run.py``."""
    helper = ROOT / "tests" / "plots" / "fake_run.py"
    spec = importlib.util.spec_from_file_location("fake_run", helper)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault("fake_run", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module
