"""What must be known before reading: said once, in sentences, the weightiest first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hiddenscape.errors import StoreError
from hiddenscape.reporting.source import read_rows, read_source
from hiddenscape.reporting.warnings import warnings_of
from hiddenscape.table import Row, Table


def row(site: str, **more: object) -> Row:
    return Row(**{"site": site, "depth": 0.0, "analysis": "two_nn", "quantity": "dimension",
                  "value": 3.0, "n_used": 500, **more})  # type: ignore[arg-type]  # fmt: skip


def said(tmp_path: Path, rows: list[Row], **measured: object) -> list[str]:
    Table(rows).write_part(tmp_path / "results", "two_nn")
    (tmp_path / "measure.json").write_text(json.dumps(measured))
    return warnings_of(read_source(tmp_path))


def test_sites_of_one_note_share_a_sentence(tmp_path: Path) -> None:
    rows = [row(f"s{i}", note="few_points (500 rows)") for i in range(8)]
    found = [w for w in said(tmp_path, rows) if w.startswith("TwoNN")]
    assert found == ["TwoNN: few rows at every site (500 rows)."]


def test_each_word_of_a_note_is_said(tmp_path: Path) -> None:
    found = said(tmp_path, [row("a", note="ties; low_for_high_dimension")])
    assert "TwoNN: equal distances at a." in found
    assert any("underestimated at this number of rows at a" in w for w in found)


def test_lost_values_and_their_reason(tmp_path: Path) -> None:
    found = said(tmp_path, [row("a", value=float("nan"), note="collapsed (1 distinct row)")])
    assert found[0] == "TwoNN has no value at a: collapsed (1 distinct row)."


def test_dropped_rows_and_the_warnings_of_measuring(tmp_path: Path) -> None:
    found = said(tmp_path, [row("a")], rows_dropped=["x1"], warnings=["label 'l' was left out"])
    assert "label 'l' was left out." in found
    assert "1 row was left out at every site: x1." in found


def test_few_rows(tmp_path: Path) -> None:
    assert any(w.startswith("Only 30 rows") for w in said(tmp_path, [row("a", n_used=30)]))


def test_other_poolings_are_mentioned(tmp_path: Path) -> None:
    rows = [row("a", pooling="mean"), row("b", pooling="mean"), row("a", pooling="last")]
    assert any("shows the pooling 'mean'; the table also holds 'last'" in w
               for w in said(tmp_path, rows))  # fmt: skip


def test_settings_that_disagree(tmp_path: Path) -> None:
    rows = [row("a"), row("a", value=4.0, params_hash="other")]
    assert any(w.startswith("Measured more than once with different results: 1 of") for w in
               said(tmp_path, rows))  # fmt: skip


def test_repeated_rows(tmp_path: Path) -> None:
    share = row("a", analysis="duplicates", quantity="share", value=0.25)
    assert "Rows repeat at a (most at a: 25.0% repeat another row)." in said(tmp_path, [share])


def test_a_torn_row_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("row,id\n0,a\n1\n")
    with pytest.raises(StoreError, match=r"rows.csv, row 3: 1 fields where 2 are expected"):
        read_rows(tmp_path / "rows.csv")
    assert any("rows.csv, row 3" in w for w in said(tmp_path, [row("a")]))


def test_long_fields_are_read(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("row,text\n0," + "x" * 300_000 + "\n")
    assert len(read_rows(tmp_path / "rows.csv")["text"][0]) == 300_000
