"""safetensors has an error of its own for a full disk; a run must end with ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

import hiddenscape as hs
from hiddenscape.errors import StoreError
from hiddenscape.measurement import graphs, maps


@pytest.mark.parametrize("module", [graphs, maps])
def test_a_full_disk_is_a_store_error(
    module: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: No space left on device (os error 28)")

    points = np.random.default_rng(0).normal(size=(40, 3))
    hs.import_points({"a": points, "b": points + 1}, tmp_path / "run")
    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(StoreError, match=r"cannot write .*No space left"):
        hs.measure(tmp_path / "run", ["two_nn"])
    monkeypatch.undo()
    assert len(hs.measure(tmp_path / "run", ["two_nn"]))
