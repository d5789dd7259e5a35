"""The data set of a spec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hiddenscape.errors import ConfigError, InputError
from hiddenscape.pipeline.datasets import open_data
from hiddenscape.spec import RunSpec


def test_text_columns_and_labels(place: Path) -> None:
    spec = RunSpec(data=place / "rows.csv", labels=["b"])
    data = open_data(spec)
    assert data.texts is not None
    assert data.texts[3] == "sentence number 3"
    assert list(data.labels) == ["b"]
    assert list(open_data(spec.replace(labels=[])).labels) == ["a", "b"]
    (place / "prompts.csv").write_text("prompt,topic\none,x\ntwo,y\nthree,x\n", encoding="utf-8")
    other = open_data(RunSpec(data=place / "prompts.csv", text="prompt"))
    assert other.texts == ("one", "two", "three")
    assert list(other.labels) == ["topic"]


def test_limit_takes_the_first_rows_with_a_fingerprint_of_their_own(place: Path) -> None:
    whole = open_data(RunSpec(data=place / "rows.csv"))
    first = open_data(RunSpec(data=place / "rows.csv", limit=7))
    assert len(first) == 7
    assert first.ids == whole.ids[:7]
    assert first.texts == whole.texts[:7]  # type: ignore[index]
    assert first.take([6, 0]) == whole.take([6, 0])
    assert first.fingerprint != whole.fingerprint
    assert first.kind == whole.kind
    assert np.array_equal(first.labels["a"], whole.labels["a"][:7])


def test_a_limit_beyond_the_end_is_the_whole(place: Path) -> None:
    whole = open_data(RunSpec(data=place / "x.npy"))
    assert open_data(RunSpec(data=place / "x.npy", limit=1000)).fingerprint == whole.fingerprint


def test_labels_of_one_array_are_another_file(place: Path) -> None:
    data = open_data(RunSpec(data=place / "x.npy", labels=[place / "y.npy"]))
    assert np.array_equal(data.labels["label"], np.load(place / "y.npy"))


def test_labels_of_another_length_are_refused(place: Path) -> None:
    np.save(place / "short.npy", np.zeros(5, dtype=int))
    with pytest.raises(InputError, match=r"shape \(5,\), expected \(90,\)"):
        open_data(RunSpec(data=place / "x.npy", labels=[place / "short.npy"]))


def test_label_columns_of_archives_are_chosen_by_name(place: Path) -> None:
    np.savez(place / "all.npz", x=np.ones((9, 2)), a=np.arange(9), b=np.arange(9) % 2)
    data = open_data(RunSpec(data=place / "all.npz", labels=["b"]))
    assert list(data.labels) == ["b"]
    with pytest.raises(ConfigError, match="labels: all has no column 'c'; it has a, b"):
        open_data(RunSpec(data=place / "all.npz", labels=["c"]))


def test_the_inputs_of_an_archive_can_be_named(place: Path) -> None:
    np.savez(place / "two.npz", left=np.zeros((9, 2)), right=np.ones((9, 3)))
    with pytest.raises(InputError, match="name it with input="):
        open_data(RunSpec(data=place / "two.npz"))
    data = open_data(RunSpec(data=place / "two.npz", input="right"))
    assert data.take([0]).tolist() == [[1, 1, 1]]


def test_digits_are_there_without_a_file() -> None:
    data = open_data(RunSpec(data="digits", limit=30, labels=["digit"]))
    assert (len(data), list(data.labels), data.kind) == (30, ["digit"], "arrays")


def test_missing_files_are_named(place: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.csv"):
        open_data(RunSpec(data=place / "absent.csv"))


# --- sequences, windows, prompts, label maps, limits ----------------------------------------------


def write(place: Path, name: str, content: str) -> str:
    (place / name).write_text(content, encoding="utf-8")
    return str(place / name)


def test_sequences_and_their_map(place: Path) -> None:
    spec = RunSpec(
        data=write(place, "p.fasta", ">a one\nmkU\n>b\nMK*\n>c\nM-K\n"),
        sequences=["upper", "rare_x", "drop_stop", "drop_gaps", "spaced"],
        label_map=write(place, "m.tsv", "id\tfold\tmass\na\t2.10\t1\nb\t2.100\t2\n"),
        missing_labels="nan",
        labels=["fold:text", "mass", "description"],
    )
    data = open_data(spec)
    assert data.texts == ("M K X", "M K", "M K")
    assert data.labels["fold"].tolist() == ["2.10", "2.100", ""]
    assert data.labels["description"].tolist() == ["one", "", ""]
    assert data.labels["mass"].tolist()[:2] == [1, 2]
    with pytest.raises(InputError, match="lacks 1 of 3 row ids: 'c'"):
        open_data(spec.replace(missing_labels="error"))
    with pytest.raises(InputError, match="letter 'm' at position 1 is lower case"):
        open_data(RunSpec(data=spec.data))


def test_windows(place: Path) -> None:
    text = write(place, "corpus.txt", "a b c d\ne f\n")
    data = open_data(RunSpec(data=text, window=3, stride=2))
    assert data.texts == ("a b c", "c d\ne", "e f")
    assert open_data(RunSpec(data=text, window=1, window_unit="lines")).ids == (
        "corpus:0", "corpus:1",
    )  # fmt: skip
    rows = open_data(RunSpec(data=place / "rows.csv", window=2, labels=["b"], limit=4))
    assert rows.texts == ("sentence number", "0", "sentence number", "1")
    assert rows.labels["b"].tolist() == [0, 0, 1, 1]
    with pytest.raises(ConfigError, match=r"a .txt file is one text and has no label_columns"):
        open_data(RunSpec(data=text, window=3, labels=["k"]))
    with pytest.raises(ConfigError, match="network 'demo' has no tokenizer to cut tokens with"):
        open_data(RunSpec(network="demo", data=text, window=3, window_unit="tokens"))


def test_windows_of_the_tokens_of_the_network(place: Path, hub_names: Path) -> None:
    text = write(place, "corpus.txt", "to be or not")
    spec = RunSpec(network=hub_names / "gpt2", data=text, window=5, window_unit="tokens")
    data = open_data(spec)
    assert data.kind == "tokens"
    assert list(data.texts or ()) == ["to be", " or n", "ot"]


def test_prompts(place: Path) -> None:
    template = write(
        place, "t.toml", 'question = "{q}?"\nanswer = " {answer:no|yes}"\nseparator = "; "\n'
    )
    spec = RunSpec(
        data=write(place, "q.csv", "q,answer\none,0\ntwo,1\nthree,1\n"),
        template=template,
        shots=1,
        shot_data=write(place, "dev.csv", "q,answer\nzero,1\n"),
    )
    data = open_data(spec)
    assert data.texts == tuple(f"zero? yes; {q}?" for q in ("one", "two", "three"))
    assert data.labels["answer"].tolist() == [0, 1, 1]
    assert getattr(data, "template_hash", None)
    seeds = {open_data(spec.replace(shot_data=None, shot_seed=s)).texts for s in range(9)}
    assert len(seeds) > 1


def test_limits_of_inputs(place: Path) -> None:
    with pytest.raises(InputError, match=r"20 rows; the limit is 5|more than 5 rows"):
        open_data(RunSpec(data=place / "rows.csv", input_limits=["rows=5"]))
    with pytest.raises(ConfigError, match="input_limits: got 'row=5', expected NAME=NUMBER"):
        open_data(RunSpec(data=place / "rows.csv", input_limits=["row=5"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "x.npy", "text": "body"}, "text: means nothing for .*taken as array"),
        ({"data": "x.npy", "window": 3}, "window: means nothing"),
        ({"data": "x.npy", "image_size": 3}, "image_size: means nothing"),
        ({"data": "rows.csv", "image_alpha": "white"}, "image_alpha: means nothing"),
        ({"data": "rows.csv", "stride": 3}, "stride: means nothing without window"),
        ({"data": "rows.csv", "shots": 3}, "shots: means nothing without template"),
        ({"data": "rows.csv", "missing_labels": "nan"}, "means nothing without label_map"),
        ({"data": "rows.csv", "template": "t", "window": 3}, "template and window cannot be used"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    place: Path, options: dict[str, object], message: str
) -> None:
    options["data"] = str(place / str(options["data"]))
    with pytest.raises(ConfigError, match=message):
        open_data(RunSpec(**options))  # type: ignore[arg-type]
