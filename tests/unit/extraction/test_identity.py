"""What makes two extractions the same."""

from __future__ import annotations

import pytest

from hiddenscape.extraction.identity import tokenizer_hash


def test_a_tokenizer_is_its_rules_not_its_last_call():
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    def make(lower: bool = False):
        backend = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[P]": 2}, unk_token="a"))
        backend.pre_tokenizer = (
            pre_tokenizers.Whitespace() if lower else pre_tokenizers.WhitespaceSplit()
        )
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=backend, unk_token="a", pad_token="[P]"
        )

    tokenizer = make()
    before = tokenizer_hash(tokenizer)
    tokenizer(["a b", "a"], padding=True, truncation=True, max_length=1)
    assert tokenizer_hash(tokenizer) == before == tokenizer_hash(make())
    assert tokenizer_hash(make(lower=True)) != before
