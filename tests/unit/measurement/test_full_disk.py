"""A disk that fills up while a graph, a map or a part of the table is written ends in one line."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape import files
from hiddenscape.errors import DiskFullError


@pytest.mark.parametrize("suffix", ["graph/a.safetensors", "map/pca.safetensors", "results"])
def test_a_full_disk_is_named_and_nothing_is_half_written(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = np.random.default_rng(0).normal(size=(40, 3))
    run = tmp_path / "run"
    hs.import_points({"a": points, "b": points + 1}, run)
    real = Path.replace

    def full(self: Path, target: Path) -> Path:
        if suffix in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(files.Path, "replace", full)
    with pytest.raises(DiskFullError, match=rf"{suffix}.*the disk is full"):
        hs.measure(run, ["two_nn"])
    monkeypatch.undo()
    assert not list(run.rglob(".tmp-*"))
    assert len(hs.measure(run, ["two_nn"])) == 2
