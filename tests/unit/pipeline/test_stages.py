"""From a spec to a report, resumable at every stage."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape.errors import ConfigError, InputError, ManifestMismatch
from hiddenscape.spec import RunSpec


def _snapshot(folder: Path) -> dict[str, int]:
    return {
        str(p.relative_to(folder)): p.stat().st_mtime_ns
        for sub in ("acts", "results", "graph", "null/acts", "null/results")
        for p in sorted((folder / sub).rglob("*"))
    }


def test_the_whole_way(spec: RunSpec) -> None:
    seen: list[tuple[str, int, int]] = []
    run = hs.run(spec, progress=lambda *event: seen.append(event))

    assert (run.path / "report.html").stat().st_size > 1000
    assert [s.name for s in run.representations.sites] == [
        "input", "module:0", "module:1", "module:2", "module:3",
    ]  # fmt: skip
    assert set(run.table.unique("analysis")) == set(spec.analyses)
    assert run.null is not None
    trained = run.table.select(analysis="two_nn", site="module:3").values()
    twin = run.null.table.select(analysis="two_nn", site="module:3").values()
    assert math.isfinite(trained[0])
    assert trained[0] != twin[0]
    # The input does not depend on weights.
    assert np.array_equal(
        run.table.select(analysis="two_nn", site="input").values(),
        run.null.table.select(analysis="two_nn", site="input").values(),
    )
    stages = list(dict.fromkeys(stage for stage, *_ in seen))
    assert stages == ["extract", "extract twin", "measure twin", "measure", "report"]
    for stage in stages:
        last = [event for event in seen if event[0] == stage][-1]
        assert last[1] == last[2], last


def test_again_does_nothing_anew(spec: RunSpec) -> None:
    run = hs.run(spec, until="measure")
    before, first = _snapshot(run.path), run.info
    again = hs.run(spec, until="measure")
    assert _snapshot(again.path) == before
    assert again.info == first
    later = list((run.path / "log").glob("run-*.json"))
    assert len(later) == 1
    assert json.loads(later[0].read_text(encoding="utf-8"))["exit_code"] == 0


def test_stopped_in_the_middle_it_goes_on(spec: RunSpec) -> None:
    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "measure" and done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        hs.run(spec, progress=stop, until="measure")
    folder = Path(spec.out)
    begun = hs.open_run(folder).info
    assert "end" not in begun
    before = _snapshot(folder)
    run = hs.run(spec, until="measure")
    after = _snapshot(folder)
    assert {name: after[name] for name in before} == before
    assert run.info["start"] == begun["start"]
    assert run.info["end"] >= begun["start"]
    # Nothing differs from a run that was never stopped.
    whole = hs.run(spec.replace(out=folder.with_name("whole")), until="measure")
    assert [r.value for r in run.table] == [r.value for r in whole.table]


def test_until_stops_early(spec: RunSpec) -> None:
    run = hs.run(spec, until="extract")
    assert not (run.path / "results").exists()
    run = hs.run(spec, until="measure")
    assert len(run.table)
    assert not (run.path / "report.html").exists()
    with pytest.raises(ConfigError, match="until must be extract, measure or report"):
        hs.run(spec, until="end")  # type: ignore[call-overload]


def test_dry_run_writes_nothing(spec: RunSpec) -> None:
    plan = hs.run(spec, dry_run=True)
    assert list(plan.parts) == [spec.out, f"{spec.out}/null"]
    assert "90 rows" in str(plan)
    assert not Path(spec.out).exists()


def test_other_settings_need_overwrite(spec: RunSpec) -> None:
    hs.run(spec, until="extract")
    other = spec.replace(limit=50)
    with pytest.raises(ManifestMismatch, match="overwrite"):
        hs.run(other, until="extract")
    run = hs.run(other, until="extract", overwrite=True)
    assert len(run.representations) == 50


@pytest.mark.parametrize("field", ["network", "data", "out"])
def test_what_is_missing_is_asked_for(spec: RunSpec, field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} is missing: give --{field}"):
        hs.run(spec.replace(**{field: ""}))


def test_provenance(spec: RunSpec, place: Path) -> None:
    run = hs.run(spec, until="measure")
    info: dict[str, Any] = run.info
    assert info["schema"] == "hiddenscape-run/1"
    assert RunSpec.from_dict(info["config"]) == spec
    for package in ("hiddenscape", "python", "torch", "numpy"):
        assert info["versions"][package]
    assert info["seeds"] == {"measure": 0, "twin": 0}
    identity = run.representations.manifest.identity
    assert info["dataset"]["fingerprint"] == identity["dataset"]["fingerprint"]
    assert info["network"]["weights_hash"] == identity["model"]["weights_hash"]
    assert info["sites"] == [s.key for s in run.representations.sites]
    assert info["citations"] == ["doimo2020nucleation", "facco2017twonn"]
    assert info["start"] <= info["end"]
    assert info["start"].endswith("+00:00")
    assert hs.cite(run).count("@") == 2


def test_a_misspelt_analysis_costs_no_extraction(spec: RunSpec) -> None:
    wrong = replace(spec, analyses=["tow_nn"])
    with pytest.raises(ConfigError, match="no analysis tow_nn"):
        hs.run(wrong)
    with pytest.raises(ConfigError, match="density_rank must be even, got 3"):
        hs.run(replace(spec, density_rank=3))
    assert not (Path(spec.out) / "acts").exists()


def test_two_rows_are_refused_before_anything_runs(spec: RunSpec, place: Path) -> None:
    np.save(place / "two.npy", np.eye(2, 6, dtype=np.float32))
    with pytest.raises(InputError, match="two: 2 rows, at least 3 are needed"):
        hs.run(replace(spec, data=place / "two.npy", labels=()))
    assert not Path(spec.out).exists()
