"""Windows: truth on small texts, and laws of what they cover."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.data.text import text_dataset
from hiddenscape.data.windows import window_dataset
from hiddenscape.errors import ConfigError, InputError

transformers = pytest.importorskip("transformers")
BODY = "To be, or\nnot to be:\r\n\nthat is\n \nthe  question\n"


@pytest.mark.parametrize(
    ("unit", "size", "stride", "expected"),
    [
        ("words", 4, None, ["To be, or\nnot", "to be:\n\nthat is", "the  question"]),
        ("words", 6, 3, ["To be, or\nnot to be:", "not to be:\n\nthat is\n \nthe",
                         "that is\n \nthe  question"]),
        ("lines", 1, None, ["To be, or", "not to be:", "that is", "the  question"]),
        ("lines", 2, None, ["To be, or\nnot to be:", "that is\n \nthe  question"]),
        ("paragraphs", 1, None, ["To be, or\nnot to be:", "that is", "the  question\n"]),
        ("chars", 20, None, ["To be, or\nnot to be:", "\n\nthat is\n \nthe  que", "stion\n"]),
        ("words", 99, None, ["To be, or\nnot to be:\n\nthat is\n \nthe  question"]),
    ],
)  # fmt: skip
def test_windows_of_a_file(tmp_path, unit, size, stride, expected):
    path = tmp_path / "play.txt"
    path.write_bytes(BODY.encode())
    data = window_dataset(path, size, stride, unit=unit)
    assert list(data.texts) == expected
    starts = [i * (stride or size) for i in range(len(expected))]
    assert data.labels["start"].tolist() == starts
    assert data.labels["source"].tolist() == ["play"] * len(expected)
    assert data.ids == tuple(f"play:{s}" for s in starts)


def test_short_ends_are_kept_or_dropped():
    texts = ["a b c d e", "f"]
    assert window_dataset(texts, 2).texts == ("a b", "c d", "e", "f")
    dropped = window_dataset(texts, 2, partial="drop")
    assert (dropped.texts, dropped.ids) == (("a b", "c d"), ("0:0", "0:2"))
    with pytest.raises(InputError, match="no window at all"):
        window_dataset(texts, 9, partial="drop")
    with pytest.raises(InputError, match="no window at all"):
        window_dataset(["", " \n"], 3)


def test_labels_and_spans_of_the_texts_go_along():
    whole = text_dataset(
        ["the cat sat down", "it rains"],
        ids=["p", "q"],
        labels={"topic": ["pets", "sky"], "score": [0.5, 2.0]},
        spans={"subject": [(4, 7), (0, 2)], "verb": [(8, 11), None]},
    )
    data = window_dataset(whole, 2)
    assert data.texts == ("the cat", "sat down", "it rains")
    assert data.labels["topic"].tolist() == ["pets", "pets", "sky"]
    assert data.labels["score"].tolist() == [0.5, 0.5, 2.0]
    assert data.spans == {"subject": ((4, 7), None, (0, 2)), "verb": (None, (0, 3), None)}
    assert window_dataset(whole, 2, limit=1).ids == ("p:0",)


def test_what_is_refused(tmp_path):
    for arguments, message in [
        ({"size": 0}, "size and stride must be at least 1, got 0 and 0"),
        ({"size": 2, "stride": 0}, "must be at least 1"),
        ({"size": 2, "unit": "syllables"}, "unit must be one of words"),
        ({"size": 2, "partial": "pad"}, "partial 'keep' or 'drop'"),
        ({"size": 2, "unit": "tokens"}, "need the tokenizer of the network"),
    ]:
        with pytest.raises(InputError, match=message):
            window_dataset(["a b"], **arguments)
    with pytest.raises(InputError, match="a label 'start' of their own"):
        window_dataset(text_dataset(["a b"], labels={"start": [1]}), 1)
    (tmp_path / "a.txt").write_text("a b")
    with pytest.raises(ConfigError, match="labels: a has no column 'k'"):
        window_dataset(tmp_path / "a.txt", 1, label_columns=["k"])


def test_settings_are_in_the_fingerprint():
    prints = [
        window_dataset(["a b c d"], *sizes, unit=unit).fingerprint
        for sizes, unit in [((4,), "words"), ((4, 2), "words"), ((7,), "chars"), ((1,), "lines")]
    ]
    assert len(set(prints)) == len(prints)


@given(
    st.text("ab \n", max_size=60), st.integers(1, 7), st.integers(1, 9),
    st.sampled_from(["words", "chars", "lines", "paragraphs"]),
)  # fmt: skip
def test_windows_are_pieces_and_leave_nothing_out(text, size, stride, unit):
    if not text.split():
        return
    data = window_dataset([text], size, stride, unit=unit)
    assert all(piece in text for piece in data.texts)
    if unit == "words":
        words = text.split()
        for start, piece in zip(data.labels["start"], data.texts, strict=True):
            assert piece.split() == words[start : start + size]
        assert data.texts[-1].split()[-1] == words[-1] or stride > size
    elif unit == "chars" and stride == size:
        assert "".join(data.texts) == text


# --- tokens -----------------------------------------------------------------------------------


@pytest.fixture
def bert(tmp_path: Path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "to", "be", "or", "not", "##t", ","]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    return transformers.BertTokenizerFast(str(tmp_path / "vocab.txt"))


def test_windows_of_tokens_have_exactly_so_many(bert):
    data = window_dataset(["To be, or not to be", "be"], 3, 2, unit="tokens", tokenizer=bert)
    ids = bert("To be, or not to be", add_special_tokens=False)["input_ids"]
    cls, sep = bert.cls_token_id, bert.sep_token_id
    starts = [0, 2, 4]
    assert [r.tolist() for r in data.rows[:3]] == [[cls, *ids[s : s + 3], sep] for s in starts]
    assert data.rows[3].tolist() == [cls, bert.convert_tokens_to_ids("be"), sep]
    assert data.special[0].tolist() == [1, 0, 0, 0, 1]
    assert list(data.texts) == ["To be,", ", or not", "not to be", "be"]
    assert data.labels["start"].tolist() == [0, 2, 4, 0]
    assert data.ids == ("0:0", "0:2", "0:4", "1:0")


def test_texts_of_token_rows_are_in_the_fingerprint(bert):
    # The tokenizer hears no difference between the two; rows.csv shows one.
    one, two = (
        window_dataset([t], 3, unit="tokens", tokenizer=bert) for t in ("to be or", "TO be or")
    )
    assert one.rows[0].tolist() == two.rows[0].tolist()
    assert one.fingerprint != two.fingerprint


def test_spans_do_not_reach_tokens(bert):
    whole = text_dataset(["to be"], spans={"s": [(0, 2)]})
    with pytest.raises(InputError, match="cannot carry spans"):
        window_dataset(whole, 1, unit="tokens", tokenizer=bert)


def test_windows_of_tokens_go_through_a_network(bert, tmp_path):
    import hiddenscape as hs

    config = transformers.BertConfig(
        vocab_size=11, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16,
    )  # fmt: skip
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "net")
    bert.save_pretrained(tmp_path / "net")
    network = hs.load_network(tmp_path / "net")
    data = window_dataset(["to be or not to be"] * 3, 3, unit="tokens", tokenizer=network.tokenizer)
    found = hs.extract(network, data, tmp_path / "run", sites="resid_post.0", pooling="mean")
    points = np.asarray(found["resid_post.0@mean"][:])
    assert points.shape == (6, 16)
    np.testing.assert_allclose(points[0], points[2], rtol=1e-5)
