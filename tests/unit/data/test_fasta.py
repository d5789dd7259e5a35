"""FASTA: ids, letters, labels; nothing is changed unasked, and what is wrong is named by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.data.fasta import fasta_dataset
from hiddenscape.data.limits import Limits
from hiddenscape.data.open import open_dataset
from hiddenscape.data.sequences import AMINO_ACIDS, SequenceRules
from hiddenscape.data.text import text_dataset
from hiddenscape.errors import ConfigError, InputError

TWO = ">sp|P1|ONE first protein\nMKV\nLA\n\n>P2\nGGU\n"


def make(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", ["a.fasta", "a.fa", "a.FAA", "a.fasta.gz"])
@pytest.mark.parametrize("edit", ["", "crlf", "bom", "no end"])
def test_records(tmp_path, name, edit):
    raw = TWO.encode()
    raw = {"crlf": raw.replace(b"\n", b"\r\n"), "bom": b"\xef\xbb\xbf" + raw,
           "no end": raw.rstrip()}.get(edit, raw)  # fmt: skip
    path = make(tmp_path / name, gzip.compress(raw) if name.endswith("gz") else raw)
    data = open_dataset(path)
    assert data.texts == ("MKVLA", "GGU")
    assert data.ids == ("sp|P1|ONE", "P2")
    assert (data.name, data.kind, data.labels) == ("a", "text", {})


def test_descriptions_on_demand(tmp_path):
    path = make(tmp_path / "a.fasta", TWO)
    for found in (fasta_dataset(path, description=True),
                  open_dataset(path, label_columns=["description"])):  # fmt: skip
        assert found.labels["description"].tolist() == ["first protein", ""]


def test_labels_from_a_map(tmp_path):
    path = make(tmp_path / "a.fasta", TWO)
    labels = make(tmp_path / "m.tsv", "id\tfold\tmass\nP2\t3.30\t1.5\nsp|P1|ONE\t1.10\t2\n")
    data = fasta_dataset(path, label_map=labels, label_columns=["fold:text", "mass"])
    assert data.labels["fold"].tolist() == ["1.10", "3.30"]
    assert data.labels["mass"].tolist() == [2.0, 1.5]
    assert fasta_dataset(path, label_map=labels, limit=1).labels["mass"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no records"),
        ("MKV\n>a\nMK\n", "line 1: expected a header that begins with '>', got 'MKV'"),
        (">a\nMK\n>\nMK\n", "line 3: a header without an id"),
        (">a x\nMK\n>b\nMK\n>a y\nMK\n", r"lines 1 and 5 have the same id 'a'"),
        (">a\n>b\nMK\n>c\n\n", r"2 of 3 records have no sequence: 'a' \(line 1\), 'c' \(line 4\)"),
        (">a\nMK\n>b\nMK\nMk\n", r"line 3, 'b': letter 'k' at position 4 is lower case; .* upper"),
        (">a\nMK*\n", r"letter '\*' at position 3 is a stop; leave it out with drop='\*'"),
        (">a\nM-K\n", "letter '-' at position 2 is a gap of an alignment; .*drop_gaps"),
        (">a\nM K\n", "letter ' ' at position 2 is a blank"),
        (">a\nMJK\n", "letter 'J' at position 2 is outside the alphabet"),
        (">a\nM1K\n", "letter '1' at position 2 is outside"),
        (">a\nMßK\n", "letter 'ß' at position 2 is outside"),
        (">a\nM\u0301K\n", "position 2 is outside"),
        (">a\nMK\0\n", "line 2 holds a NUL byte"),
    ],
)
def test_what_is_wrong_is_named_by_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        fasta_dataset(make(tmp_path / "a.fasta", content))
    assert "a.fasta" in str(caught.value)


def test_changes_are_asked_for_one_by_one(tmp_path):
    path = make(tmp_path / "a.fasta", ">a\nmkUZ-\n>b\nOBX*\n")
    data = fasta_dataset(path, upper=True, rare="X", drop="*-", spaced=True)
    assert data.texts == ("M K X X", "X X X")
    kept = fasta_dataset(path, upper=True, drop="*-")
    assert kept.texts == ("MKUZ", "OBX")
    # A sharp s would become two letters.
    with pytest.raises(InputError, match="letter 'ß' at position 2"):
        fasta_dataset(make(tmp_path / "b.fasta", ">a\nMß\n"), upper=True)


def test_rules_enter_the_fingerprint(tmp_path):
    path = make(tmp_path / "a.fasta", ">a\nMKV\n")
    ways = [{}, {"rare": "X"}, {"upper": True}, {"drop": "*"}, {"alphabet": "MKV"}]
    prints = [fasta_dataset(path, **way).fingerprint for way in ways]
    assert len(set(prints)) == len(prints)
    spaced = fasta_dataset(path, spaced=True)
    assert spaced.texts == ("M K V",)
    assert spaced.fingerprint not in prints


def test_sequences_that_become_empty_are_named(tmp_path):
    path = make(tmp_path / "a.fasta", ">a\n***\n>b\nMK\n")
    with pytest.raises(InputError, match=r"1 of 2 records have no sequence: 'a' \(line 1\)"):
        fasta_dataset(path, drop="*")
    assert fasta_dataset(path, drop="*", empty="keep").texts == ("", "MK")


def test_limits(tmp_path):
    path = make(tmp_path / "a.fasta", ">a\nMKV\nLAG\n>b\nMK\n")
    assert len(fasta_dataset(path, limits=Limits(cell=6, rows=2))) == 2
    with pytest.raises(InputError, match="line 3: the sequence is longer than 5; the limit is 5"):
        fasta_dataset(path, limits=Limits(cell=5))
    with pytest.raises(InputError, match="more than 1 records, at line 4"):
        fasta_dataset(path, limits=Limits(rows=1))
    with pytest.raises(InputError, match="17 bytes; the limit is 16"):
        fasta_dataset(path, limits=Limits(bytes=16))


def test_rules_serve_tables_too(tmp_path):
    path = make(tmp_path / "a.tsv", "id\tseq\np1\tMKU\np2\tMK*\n")
    with pytest.raises(InputError, match=r"row 1 \(id 'p2'\): letter '\*' at position 3"):
        text_dataset(path, text="seq", rules=SequenceRules(rare="X"))
    found = text_dataset(path, text="seq", rules=SequenceRules(rare="X", drop="*", spaced=True))
    assert found.texts == ("M K X", "M K")


def test_wrong_rules():
    with pytest.raises(ConfigError, match="rare must be 'keep' or 'X', got 'B'"):
        SequenceRules(rare="B")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="alphabet must hold"):
        SequenceRules(alphabet="")


@given(
    st.lists(st.text(AMINO_ACIDS, min_size=1, max_size=30), min_size=1, max_size=6),
    st.integers(1, 7),
    st.integers(0, 10**6),
)
def test_any_wrapping_gives_the_sequences_back(tmp_path_factory, sequences, width, where):
    lines = []
    for i, s in enumerate(sequences):
        lines += [f">p{i}", *(s[j : j + width] for j in range(0, len(s), width))]
    folder = tmp_path_factory.mktemp("fasta")
    data = fasta_dataset(make(folder / "a.fa", "\n".join(lines) + "\n"))
    assert data.texts == tuple(sequences)
    # One letter anywhere changes the fingerprint.
    row = where % len(sequences)
    at = where % len(sequences[row])
    letter = "A" if sequences[row][at] != "A" else "C"
    changed = list(sequences)
    changed[row] = changed[row][:at] + letter + changed[row][at + 1 :]
    other = make(folder / "b.fa", "".join(f">p{i}\n{s}\n" for i, s in enumerate(changed)))
    assert fasta_dataset(other).fingerprint != data.fingerprint
