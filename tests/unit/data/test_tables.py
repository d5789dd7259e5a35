"""Tables from files: hostile rows are named, columns are complete, spans stay inside their text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from hiddenscape.data.labelmap import mapped_labels
from hiddenscape.data.open import open_dataset
from hiddenscape.data.text import text_dataset
from hiddenscape.errors import ConfigError, InputError


def make(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- cells and rows ---------------------------------------------------------------------------


def test_separators_of_unicode_do_not_cut_cells(tmp_path):
    path = make(tmp_path / "a.csv", "text\r\none\u2028two\x0cthree\x1c\r\n\r\nfour\r\n")
    assert text_dataset(path).texts == ("one\u2028two\x0cthree\x1c", "four")


def test_a_column_that_only_later_rows_have_is_not_dropped(tmp_path):
    path = make(tmp_path / "a.jsonl", '{"text": "a"}\n\n{"text": "b", "k": 1}\n')
    with pytest.raises(InputError, match="line 1 has no field 'k', as line 3 has; write null"):
        text_dataset(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "a", "text": "b"}', "line 1 is not valid JSON .*'text' occurs twice"),
        ("a.jsonl", '{"text": "a", "k": ' + "9" * 5000 + "}", "line 1 is not valid JSON"),
        ("a.jsonl", "[" * 10**5, "line 1 is not valid JSON"),
        (
            "a.jsonl",
            '{"text": "a", "k": 1}\n{"text": "b", "k": "x"}',
            r"line 2 \(row 1\), field 'k'",
        ),
        ("a.jsonl", '{"text": "\\ud800"}', r"line 1 \(row 0\), field 'text': .* surrogate"),
        ("a.jsonl", '{"text": "a", "id": null}', r"field 'id': an id must be text"),
        ("a.jsonl", '{"text": "a", "id": 1.5}', r"field 'id': an id must be text"),
        ("a.csv", "id,text\n,a\n", r"line 2 \(row 0\), field 'id'"),
        ("a.csv", "text,\na,b\n", "must name each column once"),
        ("a.csv", 'text,k\n"a"b,1\n', "line 2"),
        ("a.csv", "text,k\n\n\na,1,2\n", "line 4 has 3 fields, the header has 2"),
        ("a.tsv", "text\tk\na,b\t1\t2\n", "line 2 has 3 fields"),
        ("a.csv", "text,k\n", "holds no rows"),
    ],
)
def test_damaged_rows_are_named(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        text_dataset(make(tmp_path / name, content))


def test_numbers_of_columns_nobody_asked_for_do_not_matter(tmp_path):
    path = make(tmp_path / "a.jsonl", '{"text": "a", "meta": {"x": 1}, "k": 1}\n')
    assert list(text_dataset(path, label_columns=["k"]).labels) == ["k"]
    with pytest.raises(InputError, match="field 'meta': a label must be one value, got a dict"):
        text_dataset(path)


def test_packed_tables_are_tables(tmp_path):
    plain = make(tmp_path / "a.csv", "text,k\na,1\nb,\n")
    packed = make(tmp_path / "a.csv.gz", gzip.compress(plain.read_bytes()))
    one, two = text_dataset(plain), open_dataset(packed)
    assert (one.name, one.fingerprint) == (two.name, two.fingerprint)


def test_a_global_limit_of_python_stays_as_it_was(tmp_path):
    import csv

    before = csv.field_size_limit()
    text_dataset(make(tmp_path / "a.csv", "text\n" + "x" * 200_000 + "\n"))
    assert csv.field_size_limit() == before


def test_a_hundred_thousand_rows(tmp_path):
    lines = (json.dumps({"id": f"r{i}", "text": f"row {i}", "k": i % 7}) for i in range(100_000))
    data = text_dataset(make(tmp_path / "a.jsonl", "\n".join(lines)))
    assert (len(data), data.identical, int(data.labels["k"].sum())) == (
        100_000, 0, sum(i % 7 for i in range(100_000)),
    )  # fmt: skip


# --- spans ------------------------------------------------------------------------------------


def test_spans_of_json_lines(tmp_path):
    rows = [
        {"text": "the cät sat", "spans": {"subject": [4, 7], "verb": [8, 11]}},
        {"text": "rain", "spans": {"subject": [0, 4]}},
        {"text": "no", "spans": None},
        {"text": "field"},
    ]
    path = make(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    data = text_dataset(path)
    assert dict(data.spans) == {
        "subject": ((4, 7), (0, 4), None, None),
        "verb": ((8, 11), None, None, None),
    }
    assert data.texts[0][4:7] == "cät"
    assert data.labels == {}
    assert [len(s) for s in text_dataset(path, limit=2).spans.values()] == [2, 2]


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ([0, 5], r"\[0, 5\] is not inside the text of 4 characters"),
        ([2, 2], "start < stop"),
        ([3, 1], "start < stop"),
        ([-1, 2], "not inside"),
        ([0, 1.0], r"expected \[start, stop\] in characters or null"),
        ([True, 2], "expected"),
        ([0], "expected"),
        ("ab", "expected"),
    ],
)
def test_spans_stay_inside_their_text(tmp_path, span, message):
    rows = [{"text": "good", "spans": {"a": [0, 4]}}, {"text": "four", "spans": {"a": span}}]
    path = make(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match="row 1, span 'a': .*" + message):
        text_dataset(path)


def test_spans_are_one_per_row_and_named_plainly():
    with pytest.raises(InputError, match="1 spans 'a' for 2 texts"):
        text_dataset(["x", "y"], spans={"a": [(0, 1)]})
    with pytest.raises(InputError, match="span name 'a:b'; use letters"):
        text_dataset(["x"], spans={"a:b": [(0, 1)]})
    data = text_dataset(["xyz"], spans={"a": [np.array([1, 2])]})
    assert data.spans["a"] == ((1, 2),)


def test_a_field_called_spans_may_be_a_label(tmp_path):
    path = make(tmp_path / "a.jsonl", '{"text": "a", "spans": 3}\n{"text": "b", "spans": 4}\n')
    assert text_dataset(path).labels["spans"].tolist() == [3, 4]
    path = make(
        tmp_path / "b.jsonl", '{"text": "a", "spans": {"s": [0,1]}}\n{"text": "b", "spans": 4}'
    )
    with pytest.raises(InputError, match=r"line 2 \(row 1\), field 'spans': expected an object"):
        text_dataset(path)


def test_every_part_of_a_row_is_in_the_fingerprint():
    base = {"texts": ["ab", "cd"], "ids": ["x", "y"], "labels": {"k": ["p", "q"]},
            "spans": {"s": [(0, 1), None]}}  # fmt: skip
    changes = [
        {"texts": ["ab", "ce"]}, {"ids": ["x", "z"]}, {"labels": {"k": ["p", "r"]}},
        {"labels": {"l": ["p", "q"]}}, {"labels": {}}, {"labels": {"k": ["p", ""]}},
        {"spans": {"s": [(0, 2), None]}}, {"spans": {"s": [(0, 1), (0, 1)]}},
        {"spans": {"t": [(0, 1), None]}}, {"spans": {}},
    ]  # fmt: skip

    def print_of(**parts):
        return text_dataset(parts.pop("texts"), **parts).fingerprint

    prints = [print_of(**{**base, **change}) for change in [{}, *changes]]
    assert len(set(prints)) == len(prints)
    # A label of 1, 1.0, True and "1" are four labels.
    kinds = [print_of(texts=["a"], labels={"k": [v]}) for v in (1, 1.0, True, "1")]
    assert len(set(kinds)) == 4


# --- label maps -------------------------------------------------------------------------------


def test_a_map_is_joined_by_id(tmp_path):
    path = make(
        tmp_path / "m.tsv", "acc\tfold\tscore\ty\nb\t2.10\t0.5\t1\na\t2.100\t\t2\nz\tq\t1\t3\n"
    )
    found = mapped_labels(path, ["a", "b"], columns=["fold:text", "score", "elsewhere"])
    assert found["fold"].tolist() == ["2.100", "2.10"]
    assert np.isnan(found["score"][0])
    assert found["score"][1] == 0.5
    assert list(found) == ["fold", "score"]


def test_codes_of_a_map_are_not_merged(tmp_path):
    path = make(tmp_path / "m.tsv", "acc\tfold\na\t2.10\nb\t2.100\n")
    with pytest.raises(InputError, match=r"'2.100' and '2.10' .* are one number and two texts"):
        mapped_labels(path, ["a", "b"])


def test_missing_ids_are_named_or_become_missing_labels(tmp_path):
    path = make(tmp_path / "m.csv", "id,n,t\na,1,x\n")
    with pytest.raises(InputError, match=r"column 'id' lacks 2 of 3 row ids: 'b', 'c'; add them"):
        mapped_labels(path, ["a", "b", "c"])
    found = mapped_labels(path, ["a", "b", "c"], missing="nan")
    assert found["t"].tolist() == ["x", "", ""]
    assert found["n"][0] == 1.0
    assert np.isnan(found["n"][1:]).all()
    # A map of something else is no map.
    with pytest.raises(InputError, match="lacks 2 of 2 row ids: 'q', 'r'; the map has ids such as"):
        mapped_labels(path, ["q", "r"], missing="nan")
    with pytest.raises(ConfigError, match="missing must be one of error, nan"):
        mapped_labels(path, ["a"], missing="skip")


def test_bad_maps(tmp_path):
    twice = make(tmp_path / "m.csv", "id,n\na,1\nb,2\na,3\n")
    with pytest.raises(InputError, match=r"line 4 \(row 2\), field 'id': id 'a' stands in row 0"):
        mapped_labels(twice, ["a", "b"])
    with pytest.raises(InputError, match="a label map is a table"):
        mapped_labels(make(tmp_path / "m.txt", "a\n"), ["a"])


def test_maps_serve_every_kind_of_data(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3))
    (tmp_path / "t.txt").write_text("a\nb\nc\n")
    m = make(tmp_path / "m.csv", "id,k,s\n2,7,z\n0,5,x\n1,6,y\n")
    for name in ("x.npy", "t.txt"):
        data = open_dataset(tmp_path / name, label_map=m, label_columns=["k"])
        assert {n: v.tolist() for n, v in data.labels.items()} == {"k": [5, 6, 7]}
        assert open_dataset(tmp_path / name, labels=m).labels["s"].tolist() == ["x", "y", "z"]
        with pytest.raises(ConfigError, match="has no column 'q'"):
            open_dataset(tmp_path / name, label_map=m, label_columns=["q"])
    table = make(tmp_path / "t.csv", "id,text,own\n0,a,1\n1,b,2\n2,c,3\n")
    both = open_dataset(table, label_map=m, label_columns=["s", "own:text"])
    assert {n: v.tolist() for n, v in both.labels.items()} == {
        "s": ["x", "y", "z"], "own": ["1", "2", "3"],
    }  # fmt: skip
    clash = make(tmp_path / "u.csv", "id,text,k\n0,a,1\n1,b,2\n2,c,3\n")
    with pytest.raises(InputError, match="the data has a label 'k' already"):
        open_dataset(clash, label_map=m)
