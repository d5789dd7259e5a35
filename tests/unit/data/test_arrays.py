"""Arrays and token rows as data sets: ids, labels, fingerprints, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.data.arrays import array_dataset, token_dataset
from hiddenscape.data.dataset import canonical_bytes
from hiddenscape.data.open import array_file
from hiddenscape.errors import InputError, NonFiniteError

X = np.arange(12.0).reshape(4, 3)


def test_rows_ids_and_labels():
    data = array_dataset(X, labels={"a": [1, 2, 3, 4], "b": list("wxyz")}, ids="pqrs")
    assert data.take([2, 0]).tolist() == X[[2, 0]].tolist()
    assert data.ids == tuple("pqrs")
    assert data.labels["b"].tolist() == list("wxyz")
    assert not data.labels["a"].flags.writeable
    assert array_dataset(torch.ones(3, 2)).take([0]).tolist() == [[1, 1]]


def test_files_are_mapped_not_read(tmp_path):
    np.save(tmp_path / "x.npy", X)
    data = array_dataset(tmp_path / "x.npy")
    assert isinstance(data.inputs, np.memmap)
    assert data.name == "x"
    assert data.fingerprint == array_dataset(X).fingerprint


def test_limit_cuts_rows_ids_and_labels_alike():
    data = array_dataset(X, labels=[1, 2, 3, 4], ids="pqrs", limit=2)
    assert (len(data), data.ids, data.labels["label"].tolist()) == (2, ("p", "q"), [1, 2])
    assert data.fingerprint == array_dataset(X[:2], labels=[1, 2], ids="pq").fingerprint


@given(row=st.integers(0, 3), column=st.integers(0, 2))
def test_any_changed_number_changes_the_fingerprint(row, column):
    changed = X.copy()
    changed[row, column] = np.nextafter(changed[row, column], np.inf)
    assert array_dataset(changed).fingerprint != array_dataset(X).fingerprint


def test_ids_labels_order_and_dtype_change_the_fingerprint():
    prints = [
        array_dataset(X).fingerprint,
        array_dataset(X[::-1]).fingerprint,
        array_dataset(X, ids=[1, 2, 3, 4]).fingerprint,
        array_dataset(X, labels=[0, 0, 0, 1]).fingerprint,
        array_dataset(X, labels=[0, 0, 1, 0]).fingerprint,
        array_dataset(X, labels={"other": [0, 0, 1, 0]}).fingerprint,
        array_dataset(X.astype(np.float32)).fingerprint,
        array_dataset(X.reshape(4, 3, 1)).fingerprint,
    ]
    assert len(set(prints)) == len(prints)


def test_memory_layout_does_not_matter():
    assert canonical_bytes(np.asfortranarray(X)) == canonical_bytes(X)
    assert canonical_bytes(X.astype(">f8")) == canonical_bytes(X)


def test_identical_inputs_are_counted():
    assert array_dataset(np.vstack([X, X[:2]])).identical == 2


def test_rows_that_are_not_finite_are_named():
    bad = X.copy()
    bad[1, 0], bad[3, 2] = np.nan, np.inf
    with pytest.raises(NonFiniteError, match=r"2 of 4 rows .* 1 \(id 'q'\), 3 \(id 's'\)") as error:
        array_dataset(bad, ids="pqrs")
    assert error.value.rows == (1, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": X[0]}, "add an axis"),
        ({"inputs": X[:0]}, "no rows"),
        ({"inputs": np.array([["a"]])}, "expected numbers"),
        ({"inputs": X, "labels": [1, 2]}, r"'label' has shape \(2,\), expected \(4,\)"),
        ({"inputs": X, "labels": {"status": [1, 2, 3, 4]}}, "reserved name"),
        ({"inputs": X, "labels": X}, "one label per row"),
        ({"inputs": X, "ids": "pq"}, "2 ids for 4 rows"),
        ({"inputs": X, "ids": "ppqr"}, "rows 0 and 1 have the same id 'p'"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        array_dataset(**arguments)


def test_bad_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        array_dataset(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"x\.npy: not a readable \.npy"):
        array_dataset(tmp_path / "x.npy")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="not a readable"):
        array_dataset(tmp_path / "o.npy")
    (tmp_path / "cut.npy").write_bytes(b"")
    with pytest.raises(InputError, match="not a readable"):
        array_dataset(tmp_path / "cut.npy")


def test_token_rows():
    data = token_dataset([[1, 2], [], [3]], special=[[1, 0], [], [0]], labels=[0, 1, 0])
    assert data.lengths().tolist() == [2, 0, 1]
    assert data.take([2])[0].tolist() == [3]
    plain = token_dataset([[1, 2], [], [3]], labels=[0, 1, 0])
    assert plain.fingerprint != data.fingerprint
    # A token may not wander from one row to the next unseen.
    assert token_dataset([[1], [2, 3]]).fingerprint != token_dataset([[1, 2], [3]]).fingerprint


@pytest.mark.parametrize("row", [[-1], [1.5], [[1]], ["a"]])
def test_token_rows_are_whole_numbers(row):
    with pytest.raises(InputError, match="row 1 is no row of token ids"):
        token_dataset([[1], row])


def test_special_flags_must_fit():
    with pytest.raises(InputError, match="one flag per token"):
        token_dataset([[1, 2]], special=[[1]])


def test_a_pickle_is_refused_without_advice_to_open_it(tmp_path):
    (tmp_path / "x.npy").write_bytes(pickle.dumps([1, 2, 3]))
    for read in (array_dataset, array_file):
        with pytest.raises(InputError, match="a pickle, which is never opened") as caught:
            read(tmp_path / "x.npy")
        assert "allow_pickle" not in str(caught.value)
