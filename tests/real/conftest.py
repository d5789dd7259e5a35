"""Where the real data lie, and the modules that rebuild the networks."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def _module(name: str) -> ModuleType:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"real_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def real() -> ModuleType:
    """Networks of text and proteins."""
    return _module("networks")


@pytest.fixture(scope="session")
def vision() -> ModuleType:
    """Networks of images."""
    return _module("vision")


@pytest.fixture(scope="session")
def data(shared: Path) -> Path:
    return shared / "data"
