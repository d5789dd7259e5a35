"""Text files as data sets, tokens and the policy for long rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.data.text import text_dataset
from hiddenscape.data.tokens import Tokens, fit_tokens
from hiddenscape.errors import InputError


def test_one_text_per_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("first\r\nsecond \u2028 line\n\nlast".encode())
    data = text_dataset(path)
    assert data.texts == ("first", "second \u2028 line", "", "last")
    assert data.ids == ("0", "1", "2", "3")
    assert data.name == "a"


def test_json_lines_with_labels(tmp_path):
    rows = [{"id": f"r{i}", "text": t, "kind": k, "score": i / 2} for i, (t, k) in
            enumerate([("a", "x"), ("b", "y"), ("c", "x")])]  # fmt: skip
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    data = text_dataset(path)
    assert data.ids == ("r0", "r1", "r2")
    assert {k: v.tolist() for k, v in data.labels.items()} == {
        "kind": ["x", "y", "x"], "score": [0, 0.5, 1],
    }  # fmt: skip
    assert list(text_dataset(path, label_columns=["kind"]).labels) == ["kind"]


def test_csv_with_labels(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('sentence,label,code,share\n"one, two",3,007,0.5\n"line\nbreak",4,010,1\n')
    data = text_dataset(path, text="sentence")
    assert data.texts == ("one, two", "line\nbreak")
    assert data.labels["label"].tolist() == [3, 4]
    assert data.labels["code"].tolist() == ["007", "010"]
    assert data.labels["share"].tolist() == [0.5, 1]


def test_labels_from_outside_join_those_of_the_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,kind\na,x\nb,y\n")
    data = text_dataset(path, labels={"extra": [1, 2]}, limit=1)
    assert {k: v.tolist() for k, v in data.labels.items()} == {"kind": ["x"], "extra": [1]}


@given(st.lists(st.text(max_size=5), min_size=1, max_size=5), st.integers(0, 4))
def test_any_changed_character_changes_the_fingerprint(texts, where):
    where %= len(texts)
    changed = [t + "." if i == where else t for i, t in enumerate(texts)]
    assert text_dataset(changed).fingerprint != text_dataset(texts).fingerprint
    assert text_dataset(texts).fingerprint == text_dataset(list(texts)).fingerprint


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "holds no rows"),
        ("a.txt", b"good\nb\xffd\n", "line 2 is not UTF-8"),
        ("a.pdf", b"x", r"expected \.txt"),
        ("a.jsonl", b'{"text": "a"}\n{oops\n', "line 2 is not valid JSON"),
        ("a.jsonl", b'{"text": "a"}\n3\n', "line 2 is no JSON object"),
        ("a.jsonl", b'{"text": "a", "k": 1}\n{"text": "b"}\n', "line 2 has no field 'k'"),
        ("a.jsonl", b'{"text": 5}\n', r"line 1 \(row 0\), field 'text': expected text, got 5"),
        (
            "a.jsonl",
            b'{"text": "a", "k": [1]}\n',
            r"line 1 .row 0., field 'k': a label must be",
        ),
        ("a.csv", b"body\nx\n", "no column 'text'; it has body"),
        ("a.csv", b"text,k\na,1\nb\n", "line 3 has 1 fields, the header has 2"),
        ("a.csv", b"text,text\na,b\n", "must name each column once"),
        ("a.csv", b'text\n"open\n', "line 2"),
        ("a.csv", b"id,text\n1,a\n1,b\n", "rows 0 and 1 have the same id '1'"),
    ],
)
def test_bad_files_name_file_row_and_field(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        text_dataset(path)
    assert name in str(error.value)


def test_a_missing_file_and_a_wrong_type():
    with pytest.raises(InputError, match=r"nowhere\.txt: cannot be read"):
        text_dataset("nowhere.txt")
    with pytest.raises(InputError, match="row 1 is a int"):
        text_dataset(["a", 3])  # type: ignore[list-item]
    with pytest.raises(InputError, match="no rows"):
        text_dataset([])


# --- over-length ------------------------------------------------------------------------------


def tokens() -> Tokens:
    ids = [np.arange(n, dtype=np.int32) for n in (3, 8)]
    special = [np.uint8([1, 0, 1]), np.uint8([1, 0, 0, 0, 0, 0, 0, 1])]
    return Tokens.of(ids, special)


@pytest.mark.parametrize(
    ("policy", "kept"), [("truncate:head", [0, 1, 2, 7]), ("truncate:tail", [0, 5, 6, 7])]
)
def test_specials_stay_where_content_is_cut(policy, kept):
    found = fit_tokens(tokens(), 4, policy, ids=["a", "b"], where="x")
    assert found.ids[1].tolist() == kept
    assert found.special[1].tolist() == [1, 0, 0, 1]
    assert found.truncated.tolist() == [False, True]
    assert found.ids[0].tolist() == [0, 1, 2]


def test_limits_below_the_specials():
    found = fit_tokens(tokens(), 1, "truncate:head", ids=["a", "b"], where="x")
    assert [len(r) for r in found.ids] == [1, 1]


def test_skip_and_error():
    assert fit_tokens(tokens(), 4, "skip", ids=["a", "b"], where="x").skipped.tolist() == [0, 1]
    with pytest.raises(InputError, match=r"row 1 \(id 'b', 8 tokens\)"):
        fit_tokens(tokens(), 4, "error", ids=["a", "b"], where="x")
    with pytest.raises(InputError, match="overlength 'chop' is not one of"):
        fit_tokens(tokens(), 4, "chop", ids=["a", "b"], where="x")
    assert fit_tokens(tokens(), None, "error", ids=["a", "b"], where="x").ids[1].size == 8


def test_text_cannot_imitate_a_row_boundary():
    # Id and input of the second row, written into the first: lengths keep them apart.
    assert text_dataset(["x1sy"]).fingerprint != text_dataset(["x", "y"]).fingerprint
