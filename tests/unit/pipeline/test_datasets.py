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
