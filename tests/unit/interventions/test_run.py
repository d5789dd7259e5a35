"""Rows with and without an edit: order, grouping, stores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hiddenscape.data.arrays import array_dataset, token_dataset
from hiddenscape.data.text import text_dataset
from hiddenscape.errors import InputError, InterventionNotSupported, ManifestMismatch
from hiddenscape.extraction import extract
from hiddenscape.interventions import entries, run
from hiddenscape.interventions.editing import edited
from hiddenscape.interventions.run import attention_maps, run_edited
from hiddenscape.interventions.spec import AttentionEdit, edits_hash

EDIT = AttentionEdit(heads=[(1, 2)], key=0)


def some_rows(lengths=(5, 3, 5, 8, 3)) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(3, 16, n) for n in lengths]


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
def test_rows_come_back_in_their_order_each_as_if_alone(name, network_of):
    network, rows = network_of(name), some_rows()
    ran = run_edited(network, token_dataset(rows), EDIT, sites="resid_post.*, logits")
    assert ran.hash == EDIT.hash
    for i, ids in enumerate(rows):
        alone = run_edited(network, token_dataset([ids]), EDIT, sites="logits")
        for ours, other in ((ran.plain, alone.plain), (ran.edited, alone.edited)):
            np.testing.assert_allclose(ours["logits@last"][i], other["logits@last"][0], atol=1e-5)
    # Below the edit nothing moves; above it the edited token does.
    assert not ran.change("resid_post.0@last").any()
    assert (np.abs(ran.change("resid_post.1@last")).max(1) > 1e-6).all()


def test_images_run_too(network_of):
    network = network_of("vit")
    images = np.random.default_rng(0).normal(size=(3, 3, 16, 16)).astype(np.float32)
    edit = AttentionEdit(heads=[(0, 1)], query="all", key=5)
    ran = run_edited(network, array_dataset(images), edit, sites="resid_post.2", pooling="mean")
    assert ran.change("resid_post.2@mean").shape == (3, 32)
    assert np.abs(ran.change("resid_post.2@mean")).min() > 0


def test_trap_8_the_edit_times_one_runs_beside_every_batch(network_of, monkeypatch):
    """Probes pass, and on the real rows the no-op is not one: no result."""
    network = network_of("gpt2")
    right = entries.edit_scores

    def long_rows_only(scores, *rest):
        out = right(scores, *rest)
        return out + 1e-4 * torch.arange(scores.shape[-1]) if scores.shape[-1] == 8 else out

    monkeypatch.setattr("hiddenscape.interventions.attention.edit_scores", long_rows_only)
    run_edited(network, token_dataset(some_rows((5, 3))), EDIT)
    with pytest.raises(InterventionNotSupported, match="on these rows the edit times 1"):
        run_edited(network, token_dataset(some_rows()), EDIT)


def test_a_store_made_under_an_edit_says_so_and_takes_no_other_rows(network_of, tmp_path):
    network, rows = network_of("gpt2"), token_dataset(some_rows())
    other = AttentionEdit(heads=[(1, 2)], key=1)
    with edited(network, EDIT) as changed:
        points = extract(changed, rows, tmp_path / "a", sites="resid_post.*", pooling="last")
    ran = run_edited(network, rows, EDIT, sites="resid_post.*", pooling="last")
    np.testing.assert_allclose(
        points["resid_post.2"][:], ran.edited["resid_post.2@last"], atol=1e-5
    )
    assert EDIT.hash == edits_hash((EDIT,))
    with edited(network, other) as changed, pytest.raises(ManifestMismatch) as caught:
        extract(changed, rows, tmp_path / "a", sites="resid_post.*", pooling="last")
    assert caught.value.field == "intervention_hash"
    assert caught.value.stored == EDIT.hash
    with edited(network, ()) as plain, pytest.raises(ManifestMismatch, match="intervention_hash"):
        extract(plain, rows, tmp_path / "a", sites="resid_post.*", pooling="last")


def test_a_plain_network_in_an_edit_is_not_the_one_under_fused_attention(network_of, tmp_path):
    """A network that was loaded says how it was loaded; inside, its attention is eager."""
    network = network_of("llama")
    loaded = replace(network, facts={**network.facts, "attn_implementation": "sdpa"})
    rows = token_dataset(some_rows())
    extract(loaded, rows, tmp_path / "a", sites="resid_post.2", pooling="last")
    with edited(loaded, ()) as plain, pytest.raises(ManifestMismatch) as caught:
        extract(plain, rows, tmp_path / "a", sites="resid_post.2", pooling="last")
    assert caught.value.field == "attn_implementation"
    assert (caught.value.stored, caught.value.new) == ("sdpa", "eager")


def with_words(network):
    """The network with a tokenizer of single letters, a = 3."""
    words = {"[U]": 0, **{c: 3 + i for i, c in enumerate("abcdefgh")}}
    backend = Tokenizer(models.WordLevel(words, unk_token="[U]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[U]")
    return replace(network, tokenizer=fast)


def test_spans_of_an_edit_are_laid_out_by_extraction(network_of, tmp_path):
    """Rows of two lengths and spans at several places, against each row with its key by number."""
    network = with_words(network_of("gpt2"))
    texts = ["a b c d", "e f g h a b", "h g f e"]
    keys = [1, 3, 0]
    told = text_dataset(texts, spans={"who": [(2 * k, 2 * k + 1) for k in keys]})
    edit = AttentionEdit(heads=[(1, 2)], key="who")
    with edited(network, edit) as changed:
        points = extract(changed, told, tmp_path / "a", sites="resid_post.2", pooling="last")
        with pytest.raises(InputError, match="has no span 'who'; it has none"):
            extract(changed, text_dataset(texts), tmp_path / "b", sites="resid_post.2")
        with pytest.raises(InputError, match="'span:who' cannot be read in windows"):
            extract(
                changed, told, tmp_path / "c", sites="resid_post.2", pooling="last",
                overlength="window:1",
            )  # fmt: skip
    for i, (text, key) in enumerate(zip(texts, keys, strict=True)):
        alone = run_edited(
            network, text_dataset([text]), replace(edit, key=key), sites="resid_post.2"
        )
        assert np.abs(alone.change("resid_post.2@last")).max() > 1e-6
        np.testing.assert_allclose(
            points["resid_post.2"][i], alone.edited["resid_post.2@last"][0], atol=1e-5
        )


def test_rows_longer_than_the_network_takes_are_refused(network_of):
    network = replace(network_of("llama"), max_length=6)
    with pytest.raises(InputError, match=r"row 3 .*has 8 tokens.*takes 6"):
        run_edited(network, token_dataset(some_rows()), EDIT)


def test_text_needs_a_tokenizer_and_rows_need_tokens(network_of):
    network = network_of("gpt2")
    with pytest.raises(InputError, match="no tokenizer"):
        run_edited(network, text_dataset(["a b"]), EDIT)
    with pytest.raises(InputError, match="holds arrays"):
        run_edited(network, array_dataset(np.zeros((2, 3))), EDIT)


def test_maps_of_rows_of_one_length(network_of, monkeypatch):
    network = network_of("llama")
    maps = attention_maps(network, token_dataset(some_rows((4, 4))))
    assert {tuple(m.shape) for m in maps.values()} == {(2, 4, 4, 4)}
    with pytest.raises(InputError, match="rows of 3 lengths"):
        attention_maps(network, token_dataset(some_rows()))


def test_trap_7_maps_under_fused_attention_all_blocks_rows_sum_to_one(network_of, batch_of):
    network = network_of("llama")
    assert network.module.config._attn_implementation == "sdpa"
    batch = batch_of(network, rows=3, length=[6, 3, 5])
    with torch.inference_mode():
        theirs = network.module(**batch.kwargs, output_attentions=True).attentions
    assert not any(m is not None for m in theirs or ())
    maps = attention_maps(network, batch)
    assert sorted(maps) == [0, 1, 2]
    for m in maps.values():
        torch.testing.assert_close(m.sum(-1).transpose(1, 2)[batch.masks.real], torch.ones((14, 4)))


def test_trap_7_weights_that_do_not_sum_to_one_are_refused(network_of, batch_of):
    weights = attention_maps(network_of("gpt2"), batch_of(network_of("gpt2")))
    weights[1][0, 2] *= 1.01
    with pytest.raises(InterventionNotSupported, match="block 1, head 2"):
        run._require_sums(weights, None, set())
    run._require_sums(weights, None, {(1, 2)})
