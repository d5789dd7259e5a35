"""Edits as values."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError
from hiddenscape.interventions.spec import AttentionEdit, as_edits, edits_hash

EDIT = AttentionEdit(heads=[(10, 7), (11, 10)], key="attribute", op="scale", value=5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": []}, "at least one"),
        ({"heads": [(0, 1), (0, 1)]}, "named twice"),
        ({"heads": [(0, -1)]}, "counted from 0"),
        ({"heads": [3]}, "pairs"),
        ({"heads": "ab"}, "pairs"),
        ({"heads": [(0, 1.5)]}, "whole number"),
        ({"stage": "scores"}, "score, weight"),
        ({"op": "zero"}, "scale, add, set, knockout"),
        ({"op": "knockout", "value": 0.0}, "takes no value"),
        ({"op": "scale", "value": None}, "finite value"),
        ({"op": "add", "value": float("nan")}, "finite value"),
        ({"op": "set", "value": True}, "finite value"),
        ({"renormalise": True}, "stage 'weight'"),
        ({"stage": "weight", "renormalise": "yes"}, "True or False"),
        ({"stage": "weight", "renormalise": 0}, "True or False"),
        ({"stage": "weight", "renormalise": 1.0}, "True or False"),
        ({"value": 10**400}, "finite value"),
        ({"value": "2"}, "finite value"),
        ({"stage": ["score"]}, "score, weight"),
        ({"key": "last"}, "all, bos"),
        ({"query": "bos"}, "last, all"),
        ({"query": " "}, "empty"),
        ({"key": 1.5}, "whole number"),
    ],
)
def test_what_is_no_edit_is_refused(fields, message):
    good = {"heads": [(0, 1)], "op": "scale", "value": 2.0}
    if fields.get("op") == "knockout":
        good = {"heads": [(0, 1)]}
    with pytest.raises(InputError, match=message):
        AttentionEdit(**{**good, **fields})


def test_numbers_of_numpy_are_numbers():
    """numpy's False equals False and is not it: it once switched renormalisation on."""
    edit = AttentionEdit(heads=np.array([[0, 1]]).tolist(), stage="weight", op="scale", value=2)
    assert replace(edit, value=np.float32(2)) == edit
    assert replace(edit, value=np.int64(2)).hash == edit.hash
    free = replace(edit, renormalise=False)
    assert replace(edit, renormalise=np.False_) == free != edit
    assert replace(edit, renormalise=np.True_).to_json() == edit.to_json()
    assert AttentionEdit(heads=[(0, 10**30)], key=-(10**30)).key == -(10**30)


def test_an_edit_knows_its_spans():
    assert EDIT.spans == ("attribute",)
    assert replace(EDIT, query="subject").spans == ("subject", "attribute")
    assert replace(EDIT, query="all", key=3).spans == replace(EDIT, key="bos").spans == ()


def test_an_edit_is_frozen_and_equal_by_value():
    with pytest.raises(FrozenInstanceError):
        EDIT.op = "set"
    same = AttentionEdit(heads=((11, 10), (10, 7)), key="attribute", op="scale", value=5.0)
    assert same == EDIT
    assert same.hash == EDIT.hash
    assert EDIT.blocks == (10, 11)


def test_every_field_is_part_of_the_hash():
    edit = AttentionEdit(heads=[(1, 2)], stage="weight", op="scale", value=2.0)
    others = [
        replace(edit, heads=[(1, 3)]),
        replace(edit, query="all"),
        replace(edit, key=0),
        replace(edit, op="add"),
        replace(edit, value=2.5),
        replace(edit, renormalise=False),
        replace(edit, stage="score", renormalise=None),
    ]
    hashes = {e.hash for e in (edit, *others)}
    assert len(hashes) == len(others) + 1
    assert edits_hash([edit, others[0]]) != edits_hash([others[0], edit])


@given(
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90)), min_size=1, unique=True),
    st.sampled_from(["last", "all", 0, -1, 17, "subject"]),
    st.sampled_from(["all", "bos", 3, "attribute"]),
    st.sampled_from(["score", "weight"]),
    st.sampled_from(["scale", "add", "set", "knockout"]),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_json_gives_back_the_same_edit(heads, query, key, stage, op, value):
    value = None if op == "knockout" else value
    edit = AttentionEdit(heads=heads, query=query, key=key, stage=stage, op=op, value=value)
    again = AttentionEdit.from_json(edit.to_json())
    assert again == edit
    assert again.hash == edit.hash
    assert json.loads(edit.to_json()) == edit.to_dict()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "JSON object"),
        ('{"op": "scale"}', "needs 'heads'"),
        ('{"heads": [[0, 1]], "alpha": 2}', "has the keys"),
    ],
)
def test_text_that_is_no_edit_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        AttentionEdit.from_json(text)


def test_a_list_of_edits():
    assert as_edits(EDIT) == (EDIT,)
    assert as_edits([EDIT, EDIT.no_op()])[1].value == 1.0
    for wrong in (None, 5, {}):
        with pytest.raises(InputError, match="expected an AttentionEdit or a list of them"):
            as_edits(wrong)
    with pytest.raises(InputError, match="expected an AttentionEdit, got a dict"):
        as_edits([{"heads": [(0, 1)]}])
