"""BibTeX of what a run used, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape.errors import InputError
from hiddenscape.pipeline.citations import references

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run(tmp_path: Path) -> hs.Run:
    rng = np.random.default_rng(0)
    points = {"resid_post.0": rng.normal(size=(60, 4)), "resid_post.1": rng.normal(size=(60, 4))}
    hs.import_points(points, tmp_path / "run")
    return hs.open_run(tmp_path / "run")


def test_all_entries_are_read_whole() -> None:
    text = (ROOT / "references.bib").read_text(encoding="utf-8")
    known = references()
    assert list(known) == re.findall(r"^@\w+\{([^,]+),", text, flags=re.M)
    for key, entry in known.items():
        assert entry.count("{") == entry.count("}"), key
        for field in ("author", "title", "year"):
            assert re.search(rf"^\s*{field}\s*=\s*\{{.+\}},$", entry, flags=re.M), (key, field)
    assert hs.cite() == "\n\n".join(known.values()) + "\n"


def test_a_run_cites_what_it_measured(run: hs.Run) -> None:
    hs.measure(run, ["two_nn"])
    assert re.findall(r"@\w+\{([^,]+),", hs.cite(run)) == ["facco2017twonn"]
    hs.measure(run, ["information_imbalance"])
    assert len(re.findall(r"@\w+\{", hs.cite(run))) == 2


def test_nothing_measured_is_said(run: hs.Run) -> None:
    with pytest.raises(InputError, match="nothing is measured yet"):
        hs.cite(run)
