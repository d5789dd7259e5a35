"""Made-up run directories."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

HELPER = Path(__file__).resolve().parents[2] / "plots" / "fake_run.py"


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """The module of :mod:`tests.plots.fake_run`."""
    spec = importlib.util.spec_from_file_location("fake_run", HELPER)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault("fake_run", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module
