"""The row table: whatever is written comes back, with its type."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError, StoreError
from hiddenscape.store.rows import label_columns, read_csv, read_rows, row_ids_hash, write_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    n=st.integers(1, 6),
    data=st.data(),
)
def test_every_type_survives(
    tmp_path_factory: pytest.TempPathFactory, n: int, data: st.DataObject
) -> None:
    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.lists(values, min_size=n, max_size=n))

    columns = {
        "id": column(TEXT),
        'odd, "name"\n': column(TEXT | st.sampled_from(["007", "1", "nan", "true", "", '"', ","])),
        "whole": column(st.integers(-(2**63), 2**63 - 1)),
        "real": column(st.floats()),
        "flag": column(st.booleans()),
    }
    path = tmp_path_factory.mktemp("r") / "rows.csv"
    write_rows(path, columns)
    found = read_rows(path, n=n)
    assert list(found) == ["row", *columns]
    assert found["id"].tolist() == columns["id"]
    assert found['odd, "name"\n'].tolist() == columns['odd, "name"\n']
    assert found["whole"].tolist() == columns["whole"]
    assert found["whole"].dtype == np.int64
    assert found["flag"].tolist() == columns["flag"]
    np.testing.assert_array_equal(found["real"], columns["real"])
    assert found["real"].dtype == np.float64


def test_pandas_reads_it_too(tmp_path: Path) -> None:
    columns = {"id": ["a", 'b "x", y'], "label": [1, 2], "p": [0.5, None], "text": ["é\r\n", "z"]}
    write_rows(tmp_path / "rows.csv", columns)
    frame = pd.read_csv(tmp_path / "rows.csv")
    assert list(frame.columns) == ["row", "id", "label", "p", "text"]
    assert frame["id"].tolist() == columns["id"]
    assert frame["label"].tolist() == [1, 2]


def test_columns_have_a_fixed_order_and_labels_are_the_rest(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"status": ["ok"], "b": [1], "text": ["t"], "id": ["i"], "a": [2]}
    write_rows(tmp_path / "rows.csv", columns)
    found = read_rows(tmp_path / "rows.csv")
    assert list(found) == ["row", "id", "b", "a", "text", "status"]
    assert list(label_columns(found)) == ["b", "a"]
    assert list(read_rows(tmp_path / "rows.csv", skip=["text", "b"])) == [
        "row",
        "id",
        "a",
        "status",
    ]


def test_missing_values_are_empty_cells(tmp_path: Path) -> None:
    write_rows(tmp_path / "r.csv", {"x": [None, 2], "y": ["a", None], "z": [None, None]})
    found = read_rows(tmp_path / "r.csv")
    assert math.isnan(found["x"][0])
    assert found["x"][1] == 2
    assert found["y"].tolist() == ["a", ""]
    assert found["z"].tolist() == ["", ""]


def test_half_a_surrogate_pair_does_not_stop_a_run(tmp_path: Path) -> None:
    write_rows(tmp_path / "r.csv", {"id": ["a\ud800b"]})
    assert read_rows(tmp_path / "r.csv")["id"].tolist() == ["a\\ud800b"]


def test_texts_of_any_length_are_read(tmp_path: Path) -> None:
    long = "x, \n" * 100_000
    write_rows(tmp_path / "r.csv", {"id": ["a", "b"], "text": [long, "short"]})
    assert read_rows(tmp_path / "r.csv")["text"].tolist() == [long, "short"]


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        ("1 2 3", "i", [1, 2, 3]),
        ("-1 0 10", "i", [-1, 0, 10]),
        ("1 2.5", "f", [1.0, 2.5]),
        ("1e3 nan", "f", [1000.0, math.nan]),
        ("007 008", "U", ["007", "008"]),
        ("1 x", "U", ["1", "x"]),
        ("1_000 2", "U", ["1_000", "2"]),
        ("99999999999999999999 1", "U", ["99999999999999999999", "1"]),
        ('"1" 2', "U", ["1", "2"]),
        ("true false", "b", [True, False]),
        ("True False", "U", ["True", "False"]),
        ("+1 2", "U", ["+1", "2"]),
    ],
)
def test_types_of_foreign_files(tmp_path: Path, cells: str, kind: str, values: list[Any]) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("x\r\n" + "\r\n".join(cells.split()), encoding="utf-8-sig")
    column = read_csv(path)["x"]
    assert column.dtype.kind == kind
    np.testing.assert_array_equal(column, values)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b"a,a\n1,2\n", "a column name occurs twice"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 cells, not 2"),
        (b'a\n"open\nmore\n', "line 2 opens a quote"),
        (b'a,b\n"x"y,2\n', "line 2: a quoted cell must end"),
        (b"a\n\xff\n", "not UTF-8"),
    ],
)
def test_bad_files_are_named_with_the_line(tmp_path: Path, body: bytes, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(body)
    with pytest.raises(StoreError, match=f"labels.csv: {message}"):
        read_csv(path)
    with pytest.raises(StoreError, match="cannot be read"):
        read_csv(tmp_path / "absent.csv")


def test_trailing_empty_cells_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('a,b\n"q",\n\nr,2\n')
    found = read_csv(path)
    assert found["a"].tolist() == ["q", "r"]
    np.testing.assert_array_equal(found["b"], [math.nan, 2])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1, 2], "b": [1]}, "column 'b' has 1 rows, column 'a' has 2"),
        ({"row": [1, 0]}, "rows never move"),
        ({"a": [object()]}, "column 'a' holds"),
        ({}, "at least one column"),
    ],
)
def test_wrong_columns_are_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_rows(tmp_path / "r.csv", columns)
    assert not list(tmp_path.iterdir())


def test_the_hash_of_ids_sees_every_boundary() -> None:
    assert row_ids_hash(["a", "bc"]) != row_ids_hash(["ab", "c"])
    assert row_ids_hash([1, 2]) == row_ids_hash(["1", "2"]) == row_ids_hash(np.array([1, 2]))
