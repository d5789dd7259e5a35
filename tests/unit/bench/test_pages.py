"""docs/performance.md says what the record says, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
RECORD = ROOT / "bench" / "results" / "neighbors.json"
RUN = {"commit": "abc", "date": "2020-02-02"}


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "bench" / "peers" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made_up() -> dict[str, Any]:
    def timed(median: float, **more: Any) -> dict[str, Any]:
        common = {"seconds": [median], "median": median, "spread": 0.0, "cores_used": 1.0}
        return common | {"queries": 100, "extrapolated": False} | more

    right = {"recall": 1.0, "wrong_rows": 0.0, "max_relative_error": 1e-7}
    graph = {
        "hiddenscape": timed(0.25, certificate={"float32": 100}, rows_verified=8),
        "faiss": timed(1.0, agreement=right, extrapolated=True, queries=10),
    }
    where = {"data": "sheet", "n": 100, "d": 1024, "k": 10} | RUN
    product = {"arithmetic": "float32", "m": 1, "n": 1, "d": 1024, "gflops": 0.08192}
    memory = {"peak_mib": 9.0, "working_mib": 3.0, "anonymous_mib": 5.0}
    return {
        "machine": {
            "processor": "abacus", "family_model": ["1", "2"], "units": ["avx2"], "cores": 1,
            "threads": 1, "memory_gib": 1.0, "system": "any", "python": "3", "versions": {"a": "1"},
        },
        "rates": [{"dims": [1024], "products": [product], "gb_per_s": 1.0} | RUN],
        "graph": [where | {"contenders": graph}],
        "agreement": [where | {"data": "offset", "contenders": {"faiss": right}}],
        "memory": [where | {"points_mib": 1.0, "contenders": {"hiddenscape": memory}}],
        "growth": [
            where
            | {"contender": "hiddenscape", "time_ratio": 4.0}
            | {"peak_ratio": 3.0, "working_ratio": 2.0}
        ],
        "imbalance": [
            where
            | {
                "sites": 3,
                "hiddenscape": timed(2.0, **memory),
                "dadapy": {
                    "one_pair": timed(50.0),
                    "extrapolated": {"pairs": 3, "seconds": 150.0},
                    "least": {"seconds": 30.0},
                    "peak_mib": 12.0,
                },
            }
        ],
    }  # fmt: skip


def test_every_number_of_the_page_comes_from_the_record(
    pages: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(ROOT / "docs" / "performance.md", docs)
    pages.draw(made_up(), docs)
    text = (docs / "performance.md").read_text(encoding="utf-8")
    assert "Not measured yet" not in text
    assert "| sheet | 100 | 1024 | 10 | 0.25 s | 1 s (from 10 rows), 4.00 x |" in text
    assert "proven by float32 100; 8 rows checked" in text
    assert "extrapolated: 3 pairs of 50 s each" in text
    # 100^2 * 1024 / 0.25 s = 0.04 Gflop/s, half of the rate.
    assert "| ours | 0.041 | 50 % |" in text
    assert (docs / "images" / "roofline.png").stat().st_size > 10_000
    said = capsys.readouterr().out
    assert "reached  hiddenscape / faiss, D = 1024: 0.25 to 0.25 (asked: at most 0.50)" in said
    assert "MISSED   hiddenscape: n x 2 takes peak memory x 3.00 (asked: 2 at most)" in said


def test_the_page_is_that_of_the_record(pages: ModuleType, tmp_path: Path) -> None:
    if not RECORD.exists():
        pytest.skip("no record of the benchmark yet: python bench/neighbors.py")
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(ROOT / "docs" / "performance.md", docs)
    pages.draw(json.loads(RECORD.read_text(encoding="utf-8")), docs)
    drawn = (docs / "performance.md").read_text(encoding="utf-8")
    hint = "run: python bench/neighbors.py --draw"
    assert drawn == (ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), hint
