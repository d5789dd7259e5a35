"""Edits and attributions on networks that others trained: sums are exact, and two effects agree."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hiddenscape.data.arrays import token_dataset
from hiddenscape.interventions.attribution import Attribution, direct_attribution
from hiddenscape.interventions.editing import edited
from hiddenscape.interventions.lens import logit_lens
from hiddenscape.interventions.run import run_edited
from hiddenscape.interventions.spec import AttentionEdit
from hiddenscape.models.batching import token_batch
from hiddenscape.models.loading import load_network
from hiddenscape.models.network import TorchNetwork

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def llama(real: Any, data: Path, tmp_path_factory: pytest.TempPathFactory) -> TorchNetwork:
    pytest.importorskip("transformers")
    source = data / "llama_tinystories"
    folder = tmp_path_factory.mktemp("stories")
    real.llama_checkpoint(source / "stories260K.bin", source / "tok512.bin", folder)
    return load_network(folder)


@pytest.fixture(scope="module")
def nano(real: Any, data: Path, tmp_path_factory: pytest.TempPathFactory) -> TorchNetwork:
    pytest.importorskip("transformers")
    model, _ = real.gpt_nano(data / "gpt_nano_sort")
    folder = tmp_path_factory.mktemp("nano")
    model.save_pretrained(folder, safe_serialization=True)
    return load_network(folder)


def rivals(network: TorchNetwork, rows: list[np.ndarray], targets: np.ndarray) -> np.ndarray:
    """The largest logit that is not the target's."""
    top = logit_lens(network, token_dataset(rows), sites="resid_post.-1", top=2).top[0]
    return np.where(top[:, 0] == targets, top[:, 1], top[:, 0])


Effects = dict[tuple[int, int], np.ndarray]


def effects(
    network: TorchNetwork, rows: list[np.ndarray], targets: np.ndarray
) -> tuple[Attribution, Effects, Effects]:
    """What each head adds to logit(right) - logit(best rival), and what taking it out removes."""
    dataset, against = token_dataset(rows), rivals(network, rows, targets)
    out = direct_attribution(network, dataset, targets, against=against)
    each = np.arange(len(rows))
    total: Effects = {}
    for head in out.heads():
        gone = AttentionEdit(heads=[head], stage="weight", op="knockout", renormalise=False)
        lost = -run_edited(network, dataset, gone).change("logits@last")
        total[head] = lost[each, targets] - lost[each, against]
    return out, out.heads(), total


def agreeing(direct: Effects, total: Effects) -> list[bool]:
    """Whether the two effects have the same sign, for the ten heads of largest direct effect."""
    strongest = sorted(direct, key=lambda head: -abs(direct[head].mean()))[:10]
    return [bool(direct[h].mean() * total[h].mean() > 0) for h in strongest]


def test_trap_13_every_answer_of_the_sorting_network_is_the_sum_of_its_parts(nano):
    letters = np.array(list(itertools.product(range(3), repeat=6)), dtype=np.int32)[::6]
    ordered = np.sort(letters, axis=1)
    direct: Effects = {}
    total: Effects = {}
    for k in range(6):  # the k-th letter of the answer, the ones before it given
        rows = list(np.concatenate([letters, ordered[:, :k]], axis=1))
        out, here, lost = effects(nano, rows, ordered[:, k])
        assert np.abs(out.residual).max() < 1e-5
        assert np.array_equal(np.sign(out.logit) > 0, np.ones(len(rows), dtype=bool))
        for head in here:
            direct[head] = np.append(direct.get(head, []), here[head])
            total[head] = np.append(total.get(head, []), lost[head])
    # It has nine heads; (2, 1) carries the sort.
    assert agreeing(direct, total) == [True] * 9
    assert max(direct, key=lambda h: direct[h].mean()) == (2, 1)


def test_trap_13_stories_with_grouped_heads(llama):
    """Next tokens of 24 stories that it tells itself (seed 0); heads are taken out everywhere."""
    ids = stories(llama, count=24, length=96)
    batch = token_batch(llama, list(ids), [np.zeros(ids.shape[1], np.uint8)] * len(ids))
    with edited(llama, ()) as plain:
        before = plain.trace(batch, "logits")["logits"]
    after = np.roll(ids, -1, axis=1).astype(np.int64)
    right = torch.from_numpy(after)[..., None]
    rival = before.scatter(2, right, -torch.inf).argmax(2, keepdim=True)
    out = direct_attribution(
        llama, batch, after, against=rival[..., 0].numpy(), position="all", tolerance=1e-4
    )
    assert len(out.failing) == 0  # 1e-5 measured
    known = (out.position >= 4) & (out.position < ids.shape[1] - 1)
    direct = {head: values[known] for head, values in out.heads().items()}
    assert len(direct) == 40
    total: Effects = {}
    for head in sorted(direct, key=lambda h: -abs(direct[h].mean()))[:10]:
        gone = AttentionEdit(
            heads=[head], query="all", stage="weight", op="knockout", renormalise=False
        )
        with edited(llama, gone) as without:
            lost = before - without.trace(batch, "logits")["logits"]
        change = lost.gather(2, right) - lost.gather(2, rival)
        total[head] = change[out.row, out.position, 0].numpy()[known]
    assert sum(agreeing(direct, total)) >= 9  # 10 measured


def stories(network: TorchNetwork, count: int, length: int) -> np.ndarray:
    """Drawn from the network at temperature 0.7."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.ones((count, 1), dtype=torch.long)
    with torch.inference_mode():
        while ids.shape[1] < length:
            chances = (network.module(ids).logits[:, -1] / 0.7).softmax(-1)
            ids = torch.cat([ids, torch.multinomial(chances, 1, generator=generator)], 1)
    return ids.numpy().astype(np.int32)


def test_the_lens_sees_the_story_form(real, llama):
    ids = np.array(llama.tokenizer(real.STORY)["input_ids"], dtype=np.int32)
    seen = logit_lens(llama, token_dataset([ids]), position="all")
    known = seen.agrees.mean(1)
    assert known[-1] == 1.0
    assert known[-2] > known[0]
    assert seen.kl[-1].max() == 0.0
    assert seen.kl.mean(1)[0] > seen.kl.mean(1)[-2]
