"""A network and a data set small enough to go the whole way in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hiddenscape.spec import RunSpec

NETS = """
import torch
from torch import nn

def make():
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.Tanh())

def wrapped():
    from hiddenscape import wrap_module
    return wrap_module(make(), sites={"hidden": "1", "end": "3"}, name="given")

def wrong():
    return "a network"

number = 3
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with ``nets.py``, ``x.npy`` (90 rows), ``y.npy`` and ``rows.csv``."""
    rng = np.random.default_rng(3)
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    np.save(tmp_path / "x.npy", rng.normal(size=(90, 6)).astype(np.float32))
    np.save(tmp_path / "y.npy", rng.integers(0, 3, 90))
    lines = [f"{i},sentence number {i},{i % 3},{i % 2}" for i in range(20)]
    (tmp_path / "rows.csv").write_text("\n".join(["id,text,a,b", *lines]) + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def spec(place: Path) -> RunSpec:
    return RunSpec(
        network=f"python:{place / 'nets.py'}:make",
        data=place / "x.npy",
        labels=[place / "y.npy"],
        pooling="flat",
        untrained_twin=True,
        analyses=["two_nn", "label_overlap", "neighborhood_overlap"],
        k=[5],
        out=place / "run",
    )
