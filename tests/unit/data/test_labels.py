"""Label columns: kinds are kept, and nothing changes its kind unseen."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.data.dataset import check_labels
from hiddenscape.data.labels import cell_labels, free_name, split_name, typed_labels
from hiddenscape.data.text import text_dataset
from hiddenscape.errors import ConfigError, InputError
from hiddenscape.store.rows import read_rows, write_rows


def where(row: int) -> str:
    return f"line {row + 2}"


def same(found: np.ndarray, expected: list) -> bool:
    got = found.tolist()
    return len(got) == len(expected) and all(
        type(a) is type(b) and (a == b or (a != a and b != b))
        for a, b in zip(got, expected, strict=True)
    )


NAN = math.nan


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "-2", "0"], [1, -2, 0]),
        (["1", "", "3"], [1.0, NAN, 3.0]),
        (["1", "NA", "3"], [1.0, NAN, 3.0]),
        (["1.5", ".5", "-1e-3"], [1.5, 0.5, -1e-3]),
        (["1.5", "", "nan"], [1.5, NAN, NAN]),
        (["inf", "-inf"], [math.inf, -math.inf]),
        (["true", "false"], [True, False]),
        (["True", "", "False"], [1.0, NAN, 0.0]),
        (["007", "8"], ["007", "8"]),
        (["a", "", "NA"], ["a", "", "NA"]),
        (["", ""], ["", ""]),
        (["1_000", "2"], ["1_000", "2"]),
        (["+49", "30"], ["+49", "30"]),
        (["99999999999999999999", "1"], ["99999999999999999999", "1"]),
        (["9007199254740993"], [9007199254740993]),
        (["0.0", "-0.0", "0"], [0.0, -0.0, 0.0]),
        (["1.10", "3.30"], [1.1, 3.3]),
    ],
)
def test_cells_are_read_as_one_kind(cells, expected):
    assert same(cell_labels(cells, where), expected), cell_labels(cells, where)


def test_codes_that_are_one_number_are_not_merged():
    # CATH architectures: 2.10 and 2.100 are two labels and one number.
    codes = ["2.10", "3.30", "2.100"]
    with pytest.raises(InputError, match=r"line 4: '2\.100' and '2\.10' \(row 0\) are one number"):
        cell_labels(codes, where)
    assert same(cell_labels(codes, where, "text"), codes)
    assert same(cell_labels(codes, where, "number"), [2.1, 3.3, 2.1])


@pytest.mark.parametrize(
    ("cells", "kind", "message"),
    [
        (["1", "x"], "number", r"line 3: 'x' is no number"),
        (["1", "1_0"], "number", r"line 3: '1_0' is no number"),
        (["1.5", "1e999"], None, r"line 3: 1e999 does not fit"),
        (["9007199254740993", ""], None, "line 2: 9007199254740993 has too many digits"),
    ],
)
def test_numbers_that_would_lose_something_are_refused(cells, kind, message):
    with pytest.raises(InputError, match=message):
        cell_labels(cells, where, kind)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1, 2]),
        ([1, None], [1.0, NAN]),
        ([1, 2.5], [1.0, 2.5]),
        ([True, False], [True, False]),
        ([True, None], [1.0, NAN]),
        (["a", None], ["a", ""]),
        ([None, None], ["", ""]),
        (["1", "2"], ["1", "2"]),
        ([np.int32(3), 4], [3, 4]),
        (["a\0", "a"], ["a\0", "a"]),
        (["x" * 100, "y"], ["x" * 100, "y"]),
    ],
)
def test_typed_values_keep_their_kind(values, expected):
    assert same(typed_labels(values, where), expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, "x"], r"line 3: 'x' is text, but row 0 holds a whole number \(1\)"),
        (["x", 1.5], "line 3: 1.5 is a number, but row 0 holds text"),
        ([True, 1], "line 3: 1 is a whole number, but row 0 holds true or false"),
        ([1, [2]], r"line 3: a label must be one value, got a list; leave it out with label_col"),
        ([1, {"a": 1}], "line 3: a label must be one value, got a dict"),
        ([b"a"], "line 2: a label must be one value, got a bytes; write it as text"),
        ([2**63], "line 2: 9223372036854775808 has too many digits"),
        ([2**53 + 1, None], "line 2: 9007199254740993 has too many digits .* missing values"),
        (["\ud800"], "line 2: character 0 .* half of a surrogate pair"),
    ],
)
def test_mixed_and_nested_values_are_named(values, message):
    with pytest.raises(InputError, match=message):
        typed_labels(values, where)


def test_labels_given_from_outside_follow_the_same_rules():
    assert same(check_labels({"a": [1, None]}, 2, where="x")["a"], [1.0, NAN])
    with pytest.raises(InputError, match=r"x: label 'a', row 1: 'b' is text"):
        check_labels({"a": [1, "b"]}, 2, where="x")
    with pytest.raises(InputError, match=r"x: label 'a', row 0: a label must be one value"):
        check_labels({"a": [[1], [2, 3]]}, 2, where="x")
    with pytest.raises(InputError, match="label 'a': got 5, expected one label per row"):
        check_labels({"a": 5}, 2, where="x")


def test_a_long_label_does_not_widen_every_row():
    column = text_dataset(["a"] * 2000, labels={"k": ["x" * 10**6] + ["y"] * 1999}).labels["k"]
    assert column.dtype == object
    assert column.nbytes < 10**5


def test_reserved_columns_of_files_get_a_name_of_their_own(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt,text,status,id,row\nx,a,1,r0,5\ny,b,2,r1,6\n")
    data = text_dataset(path, text="prompt")
    assert data.ids == ("r0", "r1")
    assert {k: v.tolist() for k, v in data.labels.items()} == {
        "text_": ["a", "b"], "status_": [1, 2], "row_": [5, 6],
    }  # fmt: skip
    assert list(text_dataset(path, text="prompt", label_columns=["status"]).labels) == ["status_"]
    path.write_text("text,row,row_\nx,1,2\n")
    with pytest.raises(InputError, match="'row' has a reserved name, and 'row_' exists too"):
        text_dataset(path)


def test_wishes_for_columns():
    assert split_name("a:b", ["a:b", "a"], "f") == ("a:b", None)
    assert split_name("a:number", ["a"], "f") == ("a", "number")
    with pytest.raises(ConfigError, match="f: no column 'a:float'; it has a"):
        split_name("a:float", ["a"], "f")
    assert free_name("topic", [], "f") == "topic"


LABELS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6),
    st.lists(st.floats(width=64) | st.none(), min_size=1, max_size=6),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), min_size=1, max_size=6),
    st.lists(st.booleans(), min_size=1, max_size=6),
)


@given(LABELS)
def test_labels_survive_the_way_to_rows_csv(tmp_path_factory, values):
    data = text_dataset(["t"] * len(values), labels={"k": values})
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    write_rows(path, {"id": data.ids, **data.labels})
    back = read_rows(path)["k"]
    assert (
        back.dtype.kind
        in {"i": "i", "f": "f", "b": "b", "U": "UO", "O": "UO"}[data.labels["k"].dtype.kind]
    )
    assert same(back, data.labels["k"].tolist())


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_floats_survive_the_way_through_csv(values):
    cells = [repr(v) for v in values]
    found = cell_labels(cells, where)
    assert found.dtype.kind in "f"
    assert found.tolist() == values


@given(
    st.lists(
        st.tuples(st.text(max_size=6), st.text(max_size=6)).filter(
            lambda r: not any("\0" in c or "\ud800" <= c <= "\udfff" for t in r for c in t)
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_text_survives_the_way_through_csv(tmp_path_factory, rows):
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(["text", "k"])
    writer.writerows(rows)
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + out.getvalue().encode())
    data = text_dataset(path, label_columns=["k:text"])
    assert data.texts == tuple(t for t, _ in rows)
    assert data.labels["k"].tolist() == [k for _, k in rows]
