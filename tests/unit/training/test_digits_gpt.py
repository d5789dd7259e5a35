"""The training script: it learns, it resumes to the bit, it refuses to mix runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hiddenscape.data.digits import Nuisance
from hiddenscape.errors import InputError
from hiddenscape.models.families.patch_gpt import PatchGPTConfig
from hiddenscape.training import digits_gpt
from hiddenscape.training.demo_assets import export_assets
from hiddenscape.training.digits_gpt import (
    Progress,
    TrainSpec,
    build_codebook,
    keep_steps,
    train,
)
from hiddenscape.training.muon import orthogonalise

TINY = TrainSpec(
    config=PatchGPTConfig(canvas=9, patch=3, codes=8, width=16, depth=2, heads=2),
    nuisance=Nuisance(canvas=9, shift=0.5, clutter=0),
    steps=6,
    batch=8,
    warmup=2,
)


@pytest.fixture(autouse=True)
def _quick_and_tidy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A rough codebook will do here; threads and denormals are as before afterwards."""
    rough = partial(build_codebook, images=200, rounds=3)
    monkeypatch.setattr(digits_gpt, "build_codebook", rough)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(tmp_path: Path) -> None:
    whole = train(TINY, tmp_path / "whole")
    train(TINY, tmp_path / "parts", stop_after=2)
    assert not (tmp_path / "parts" / "step-000006.safetensors").exists()
    parts = train(TINY, tmp_path / "parts")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parts.state_dict()[name]), name


def test_the_loss_falls_and_every_step_is_reported(tmp_path: Path) -> None:
    spec, seen = replace(TINY, steps=60), list[Progress]()
    train(spec, tmp_path, on_progress=seen.append)
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert [p.step for p in seen] == list(range(1, 61))
    assert seen[-1].eta == 0
    assert curve[0]["step"] == 0
    assert curve[-1]["step"] == 60
    assert curve[-1]["held_out"] < 0.9 * curve[0]["held_out"]


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    train(TINY, tmp_path, stop_after=2)
    with pytest.raises(InputError, match="holds a run with another seed; use another folder"):
        train(replace(TINY, seed=9), tmp_path)
    # More steps are welcome while the learning rate has not begun to fall.
    train(replace(TINY, steps=8), tmp_path)
    with pytest.raises(InputError, match="holds a run with another steps"):
        train(replace(TINY, steps=20), tmp_path)


def test_canvas_of_network_and_data_must_agree() -> None:
    with pytest.raises(InputError, match="reads canvas 9, the data have canvas 15"):
        replace(TINY, nuisance=Nuisance())


def test_kept_steps_are_spaced_by_powers_of_four() -> None:
    assert keep_steps(6) == (0, 6)
    assert keep_steps(20_000) == (0, 100, 400, 1600, 6400, 20_000)


def test_codebook_is_deterministic_and_close_to_the_patches() -> None:
    a = build_codebook(TINY.config, TINY.nuisance, seed=1, images=200)
    b = build_codebook(TINY.config, TINY.nuisance, seed=1, images=200)
    np.testing.assert_array_equal(a, b)
    assert a.shape == (8, 9)
    assert a.min() >= 0
    assert a.max() <= 1


def test_orthogonalise_keeps_directions_and_levels_lengths() -> None:
    draw = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 12, 5, generator=draw)
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    core = u.mT @ orthogonalise(matrices) @ vh.mT
    diagonal = torch.diagonal(core, dim1=-2, dim2=-1)
    assert ((diagonal - 1).abs() < 0.4).all()
    torch.testing.assert_close(core, torch.diag_embed(diagonal), atol=1e-4, rtol=0)


def test_exported_files_are_float16_but_for_the_codebook(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks the checkpoints of steps \[6\]"):
        export_assets(TINY, tmp_path, tmp_path / "assets")
    network = train(TINY, tmp_path)
    export_assets(TINY, tmp_path, tmp_path / "assets")
    stored = load_file(tmp_path / "assets" / "step-000006.safetensors")
    assert stored["head.weight"].dtype == torch.float16
    assert torch.equal(stored["embed_in.codebook"], network.embed_in.codebook)
    torch.testing.assert_close(
        stored["head.weight"].float(), network.head.weight.detach(), atol=1e-3, rtol=1e-3
    )
    record = json.loads((tmp_path / "assets" / "training.json").read_text())
    assert record["checkpoints"] == [0, 6]
    assert record["seed"] == TINY.seed
