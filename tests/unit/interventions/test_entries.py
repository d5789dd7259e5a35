"""Trap 9: score against weight edits, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from hiddenscape.errors import InputError
from hiddenscape.interventions.entries import (
    allowed_by,
    edit_scores,
    edit_weights,
    require_equal_lengths,
)
from hiddenscape.interventions.spec import AttentionEdit

OPEN = torch.ones((1, 1, 1, 3), dtype=torch.bool)


def one(**more):
    return AttentionEdit(**{"heads": [(0, 0)], "key": 0, "query": "all", **more})


def softmaxed(scores: list[float], edit: AttentionEdit) -> list[float]:
    s = torch.tensor(scores)[None, None, None]
    return (s + edit_scores(s, OPEN, [(edit, [0])], {})).softmax(-1)[0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("scores", "alpha", "first"),
    [
        ((2.0, 1.0, 0.0), 5.0, 0.9998),  # positive: saturates
        ((-2.0, 1.0, 0.0), 5.0, 1.2e-5),  # negative: taken away, not given
        ((0.0, 1.0, 0.0), 5.0, 1 / (2 + math.e)),  # zero: nothing
        ((-2.0, 1.0, 0.0), 0.0, 1 / (2 + math.e)),  # alpha 0 is no ablation: it raises attention
    ],
)
def test_trap_9_a_score_times_alpha_is_a_temperature(scores, alpha, first):
    weights = softmaxed(list(scores), one(op="scale", value=alpha))
    assert weights[0] == pytest.approx(first, rel=0.05 if first < 1e-3 else 1e-4)
    assert sum(weights) == pytest.approx(1.0, abs=1e-6)


def test_trap_9_a_knockout_is_exactly_zero_and_the_rest_shares():
    weights = softmaxed([2.0, 1.0, 0.0], one(op="knockout"))
    assert weights[0] == 0.0
    assert weights[1] / weights[2] == pytest.approx(math.e, rel=1e-6)
    assert sum(weights) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("op", "value", "score"), [("add", 3.0, 5.0), ("set", 0.5, 0.5)])
def test_scores_added_to_and_set(op, value, score):
    expected = torch.tensor([score, 1.0, 0.0]).softmax(0).tolist()
    assert softmaxed([2.0, 1.0, 0.0], one(op=op, value=value)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("op", "value", "renormalise", "expected"),
    [
        ("scale", 3.0, False, (1.5, 0.3, 0.2)),
        ("scale", 3.0, True, (0.75, 0.15, 0.1)),
        ("add", 0.5, False, (1.0, 0.3, 0.2)),
        ("set", 0.0, True, (0.0, 0.6, 0.4)),
        ("knockout", None, True, (0.0, 0.6, 0.4)),
        ("knockout", None, False, (0.0, 0.3, 0.2)),
    ],
)
def test_trap_9_weights_and_their_sums(op, value, renormalise, expected):
    weights = torch.tensor([0.5, 0.3, 0.2])[None, None, None]
    edit = one(stage="weight", op=op, value=value, renormalise=renormalise)
    out = edit_weights(weights, OPEN, [(edit, [0])], {})
    assert out[0, 0, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_times_one_gives_every_bit_back(dtype):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn((2, 3, 5, 5), generator=generator).to(dtype)
    weights = scores.softmax(-1)
    allowed = torch.ones((2, 1, 5, 5), dtype=torch.bool)
    for stage in ("score", "weight"):
        edit = one(stage=stage, key="all", op="scale", value=1.0)
        if stage == "score":
            assert not edit_scores(scores, allowed, [(edit, [0, 2])], {}).any()
        else:
            assert torch.equal(edit_weights(weights, allowed, [(edit, [0, 2])], {}), weights)


@pytest.mark.parametrize("value", [0.0, -3.0, 1000.0])
def test_masked_scores_stay_masked_at_any_alpha(value):
    floor = torch.finfo(torch.float32).min
    mask = torch.full((4, 4), floor).triu(1)[None, None]
    allowed = allowed_by(mask, (1, 2, 4, 4))
    scores = torch.randn((1, 2, 4, 4), generator=torch.Generator().manual_seed(1))
    edit = one(key="all", op="scale", value=value)
    delta = edit_scores(scores, allowed, [(edit, [0, 1])], {})
    weights = (scores + (mask + delta)).softmax(-1)
    assert not weights.triu(1).any()
    naive = ((scores + mask) * value).softmax(-1)
    assert value != 0.0 or naive.triu(1).any()  # the trap itself


@pytest.mark.parametrize(("op", "value"), [("add", 0.1), ("set", 0.5), ("knockout", None)])
@pytest.mark.parametrize("renormalise", [True, False])
def test_masked_weights_stay_zero_whatever_is_added(op, value, renormalise):
    allowed = torch.ones((4, 4), dtype=torch.bool).tril()[None, None]
    weights = torch.zeros((1, 2, 4, 4)).masked_fill(~allowed, float("-inf")).softmax(-1)
    edit = one(
        stage="weight", query=2, key="all" if op != "knockout" else 1, op=op, value=value,
        renormalise=renormalise,
    )  # fmt: skip
    out = edit_weights(weights, allowed, [(edit, [1])], {})
    assert not out.triu(1).any()
    assert not torch.equal(out, weights) or (op != "knockout" and renormalise)
    # A score is finite, its delta too: nothing is added to what the mask closes.
    delta = edit_scores(
        torch.zeros((1, 2, 4, 4)), allowed, [(one(query=2, op="knockout"), [1])], {}
    )
    assert not delta.triu(1).any()


def test_a_knockout_that_leaves_no_key_is_refused():
    scores = torch.zeros((1, 1, 3, 3))
    allowed = torch.ones((3, 3), dtype=torch.bool).tril()[None, None]
    with pytest.raises(InputError, match="leaves query 0 of head 0 no key at all"):
        edit_scores(scores, allowed, [(one(op="knockout"), [0])], {})
    weights = torch.eye(3)[None, None]
    gone = one(stage="weight", op="knockout")
    with pytest.raises(InputError, match="no weight to share out"):
        edit_weights(weights, allowed, [(gone, [0])], {})
    # Two edits that are harmless alone.
    pair = [(one(op="knockout", key=0, query=1), [0]), (one(op="knockout", key=1, query=1), [0])]
    with pytest.raises(InputError, match="leaves query 1"):
        edit_scores(scores, allowed, pair, {})


def test_scores_that_the_dtype_cannot_hold_are_refused():
    scores = torch.full((1, 1, 1, 3), 30.0, dtype=torch.float16)
    with pytest.raises(InputError, match="too large for float16"):
        edit_scores(scores, OPEN, [(one(op="scale", value=1e3), [0])], {})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (one(key=2, query=1, op="scale", value=2.0), "nothing would be edited"),
        (one(key=5, op="scale", value=2.0), "key 5 is out of range.*0 to 3"),
        (one(query=-5, op="scale", value=2.0), "query -5 is out of range"),
        (one(key="subject", op="scale", value=2.0), r"no span .*spans: other"),
        (one(key="other", op="scale", value=2.0), "row 1 has no span 'other'"),
    ],
)
def test_entries_that_do_not_exist_are_refused(edit, message):
    allowed = torch.ones((4, 4), dtype=torch.bool).tril()[None, None].expand(2, 1, 4, 4)
    spans = {"other": torch.tensor([[0, 2], [-1, -1]])}
    with pytest.raises(InputError, match=message):
        edit_scores(torch.zeros((2, 1, 4, 4)), allowed, [(edit, [0])], spans)


def test_spans_are_ranges_per_row():
    allowed = torch.ones((2, 1, 4, 4), dtype=torch.bool)
    spans = {"who": torch.tensor([[0, 2], [1, 2]]), "what": torch.tensor([[3, 4], [2, 4]])}
    edit = one(query="what", key="who", op="set", value=7.0)
    delta = edit_scores(torch.zeros((2, 1, 4, 4)), allowed, [(edit, [0])], spans)
    chosen = delta[:, 0] == 7.0
    assert chosen[0].nonzero().tolist() == [[3, 0], [3, 1]]
    assert chosen[1].nonzero().tolist() == [[2, 1], [3, 1]]


def test_padding_is_seen_in_the_mask():
    floor = torch.finfo(torch.float32).min
    causal = torch.full((3, 3), floor).triu(1)[None, None]
    require_equal_lengths(allowed_by(causal, (1, 2, 3, 3)))
    require_equal_lengths(allowed_by(None, (2, 2, 3, 3)))
    padded = causal.repeat(2, 1, 1, 1)
    padded[1, :, :, 2] = floor
    with pytest.raises(InputError, match="row 1 is padded to 3 positions"):
        require_equal_lengths(allowed_by(padded, (2, 2, 3, 3)))
    with pytest.raises(InputError, match=r"1 queries to 3 keys.*cache"):
        require_equal_lengths(allowed_by(causal[:, :, 2:], (1, 2, 1, 3)))
