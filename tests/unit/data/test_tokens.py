"""Tokens: windows that count every token once, spans that follow their tokens, compact lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.data.tokens import Lists, Tokens, check_overlength, fit_tokens, tokenize
from hiddenscape.errors import InputError


def row(content: int, front: int = 1, back: int = 1) -> Tokens:
    special = [1] * front + [0] * content + [1] * back
    return Tokens.of([list(range(len(special)))], [special])


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=8))
def test_lists_hold_what_was_given(lists):
    found = Lists.of(lists, np.int32)
    assert [x.tolist() for x in found] == lists
    assert found.lengths.tolist() == list(map(len, lists))


@given(st.integers(1, 60), st.integers(0, 2), st.integers(0, 2), st.integers(1, 12), st.data())
def test_windows_count_every_token_once(content, front, back, room, data):
    limit = room + front + back
    stride = data.draw(st.integers(1, room))
    tokens = row(content, front, back)
    found = fit_tokens(tokens, limit, f"window:{stride}", ids=["a"], where="x")
    whole = tokens.ids[0].tolist()
    if len(whole) <= limit:
        assert found is tokens
        return
    assert found.weight is not None
    total = dict.fromkeys(whole, 0.0)
    for ids, flags, weight in zip(found.ids, found.special, found.weight, strict=True):
        assert len(ids) == limit
        assert flags.tolist() == [1] * front + [0] * room + [1] * back
        assert (np.diff(ids[front : limit - back]) == 1).all()  # a window is unbroken
        for token, share in zip(ids.tolist(), weight.tolist(), strict=True):
            total[token] += share
    np.testing.assert_allclose(list(total.values()), 1.0, rtol=1e-6)
    assert found.ids[len(found.ids) - 1].tolist()[-1] == whole[-1]
    assert found.row.tolist() == [0] * len(found.ids)
    assert found.n_content.tolist() == [content]


def test_a_stride_that_leaves_tokens_out_is_refused():
    with pytest.raises(InputError, match=r"hold 4 content tokens.*use at most window:4"):
        fit_tokens(row(20), 6, "window:5", ids=["a"], where="x")
    with pytest.raises(InputError, match="hold 0 content tokens"):
        fit_tokens(row(20, 3, 3), 6, "window:1", ids=["a"], where="x")


@pytest.mark.parametrize("policy", ["window", "window:0", "window:-1", "window:STRIDE", "cut"])
def test_unknown_policies_are_refused(policy):
    with pytest.raises(InputError, match="is not one of"):
        check_overlength(policy)


def test_spans_follow_their_tokens_and_a_cut_span_is_none():
    tokens = row(10)
    spans = {"a": np.int32([[2, 4]]), "b": np.int32([[8, 11]]), "c": np.int32([[5, 7]])}
    tokens = Tokens.of(tokens.ids, tokens.special, spans)
    head = fit_tokens(tokens, 8, "truncate:head", ids=["r"], where="x")  # keeps 0, 1..6, 11
    assert {n: s.tolist() for n, s in head.spans.items()} == {
        "a": [[2, 4]], "b": [[-1, -1]], "c": [[5, 7]],
    }  # fmt: skip
    tail = fit_tokens(tokens, 8, "truncate:tail", ids=["r"], where="x")  # keeps 0, 5..10, 11
    assert {n: s.tolist() for n, s in tail.spans.items()} == {
        "a": [[-1, -1]], "b": [[4, 7]], "c": [[1, 3]],
    }  # fmt: skip
    with pytest.raises(InputError, match="spans cannot be read in windows"):
        fit_tokens(tokens, 8, "window:2", ids=["r"], where="x")


def byte_tokenizer():
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    backend = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(["[U]", "[C]", "the", "red", "cat", "sat"])},
                         unk_token="[U]")
    )  # fmt: skip
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[C] $A", special_tokens=[("[C]", 1)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[U]", cls_token="[C]", pad_token="[U]"
    )


def test_character_spans_become_token_spans():
    texts = ["the red cat sat", "cat", ""]
    where = {"animal": [(8, 11), (0, 3), None], "part": [(5, 9), (1, 2), None]}
    found = tokenize(byte_tokenizer(), texts, spans=where, chunk=2)
    assert found.spans["animal"].tolist() == [[3, 4], [1, 2], [-1, -1]]
    # A span that begins inside a word takes the word.
    assert found.spans["part"].tolist() == [[2, 4], [1, 2], [-1, -1]]
    assert found.n_tokens.tolist() == [5, 2, 1]
    assert found.n_content.tolist() == [4, 1, 0]


def test_spans_need_a_tokenizer_that_knows_characters():
    class Slow:
        is_fast = False

    with pytest.raises(InputError, match="does not tell which characters"):
        tokenize(Slow(), ["a"], spans={"s": [(0, 1)]})
