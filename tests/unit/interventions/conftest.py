"""The zoo of tiny random networks, self-checked once each."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hiddenscape.models.batching import array_batch, probe_batch, token_batch
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.selfcheck import self_check
from hiddenscape.models.wrapping import wrap_module

pytest.importorskip("transformers")


def _load_zoo() -> ModuleType:
    path = Path(__file__).parents[1] / "models" / "zoo.py"
    spec = importlib.util.spec_from_file_location("model_zoo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


ZOO = _load_zoo()
REFUSED = ("bloom", "mamba", "falcon", "falcon_two_norms", "codegen", "deberta")
EDITABLE = tuple(n for n in (*ZOO.FAMILIES, *ZOO.STRANGERS) if n not in REFUSED)
CAUSAL = tuple(n for n in EDITABLE if {**ZOO.FAMILIES, **ZOO.STRANGERS}[n].causal)
STREAM_WITH_HEAD = tuple(n for n, kind in ZOO.FAMILIES.items() if kind.causal and kind.head)


@pytest.fixture(scope="session")
def zoo() -> ModuleType:
    return ZOO


@cache
def _network(name: str) -> TorchNetwork:
    network = wrap_module(ZOO.tiny(name))
    batch = probe_batch(network)
    assert batch is not None
    return self_check(network, batch)


@pytest.fixture(scope="session")
def network_of() -> Callable[[str], TorchNetwork]:
    """name -> its network, made and checked once: tests must leave it as it was."""
    return _network


@pytest.fixture(scope="session")
def batch_of() -> Callable[..., Batch]:
    """(network, rows, length) -> random rows of one length; a list of lengths is padded."""

    def make(
        network: TorchNetwork, rows: int = 2, length: int | list[int] = 6, seed: int = 5
    ) -> Batch:
        rng = np.random.default_rng(seed)
        if network.kind == "pixels":
            return array_batch(network, rng.normal(size=(rows, 3, 16, 16)))
        lengths = [length] * rows if isinstance(length, int) else length
        ids = [rng.integers(3, 16, n).astype(np.int32) for n in lengths]
        return token_batch(network, ids, [np.zeros(n, np.uint8) for n in lengths])

    return make


@pytest.fixture(params=EDITABLE)
def editable(request: pytest.FixtureRequest) -> str:
    """Every architecture whose attention can be edited."""
    return str(request.param)


@pytest.fixture(params=CAUSAL)
def causal(request: pytest.FixtureRequest) -> str:
    """Those that look at the past alone."""
    return str(request.param)


@pytest.fixture(params=REFUSED)
def refused(request: pytest.FixtureRequest) -> str:
    """Architectures whose attention is out of reach."""
    return str(request.param)


@pytest.fixture(params=STREAM_WITH_HEAD)
def attributable(request: pytest.FixtureRequest) -> str:
    """Architectures with a head on a causal stream."""
    return str(request.param)
