"""Run directories open without reading a tensor and say what is wrong with them."""

from __future__ import annotations

import pytest

from hiddenscape.errors import StoreError
from hiddenscape.runs import open_run, read_json, write_json


def test_a_directory_that_is_no_run_is_refused(tmp_path) -> None:
    with pytest.raises(StoreError, match="the directory does not exist"):
        open_run(tmp_path / "nothing")
    with pytest.raises(StoreError, match="is not a run directory"):
        open_run(tmp_path)


def test_json_round_trip_is_atomic_and_refuses_nan(tmp_path) -> None:
    path = write_json(tmp_path / "deep" / "a.json", {"b": [1, 2.5], "ä": None})
    assert read_json(path) == {"b": [1, 2.5], "ä": None}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"x": float("nan")})
    assert read_json(path)["b"] == [1, 2.5]
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_damaged_json_is_named(tmp_path) -> None:
    (tmp_path / "measure.json").write_text("[1, 2")
    with pytest.raises(StoreError, match=r"cannot read .*measure\.json"):
        read_json(tmp_path / "measure.json")
    (tmp_path / "measure.json").write_text("[1, 2]")
    with pytest.raises(StoreError, match="does not hold a JSON object"):
        read_json(tmp_path / "measure.json")
    assert read_json(tmp_path / "absent.json") == {}


def test_null_and_checkpoints_are_runs(tmp_path) -> None:
    write_json(tmp_path / "run.json", {})
    run = open_run(tmp_path)
    assert run.null is None
    assert run.checkpoints == {}
    write_json(tmp_path / "null" / "run.json", {"a": 1})
    for step in ("step-000200", "step-000010"):
        write_json(tmp_path / "checkpoints" / step / "run.json", {})
    (tmp_path / "checkpoints" / "notes").mkdir()
    assert run.null is not None
    assert run.null.info == {"a": 1}
    assert list(run.checkpoints) == ["step-000010", "step-000200"]
    assert len(run.table) == 0
