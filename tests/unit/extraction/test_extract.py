"""Extraction: every row at its place, whatever the batches; resumable; pathologies are recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hiddenscape.data.arrays import array_dataset, token_dataset
from hiddenscape.data.text import text_dataset
from hiddenscape.errors import (
    DiskFullError,
    InputError,
    ManifestMismatch,
    NetworkError,
    SiteError,
)
from hiddenscape.extraction import ExtractionPlan, extract
from hiddenscape.extraction import plan as plan_module
from hiddenscape.extraction.inputs import prepare
from hiddenscape.models.fresh import untrained_twin
from hiddenscape.models.wrapping import wrap_module
from hiddenscape.store.writer import StoreWriter


def mlp() -> nn.Module:
    return untrained_twin(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), seed=0)


def points(rows: int = 23) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((folder / "acts").iterdir())}


class Tokens(nn.Module):
    """A network of token ids with a mask, in the manner of Hugging Face, that needs no library."""

    base_model_prefix = ""

    class config:
        vocab_size = 50
        use_cache = False

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(50, 5)
        self.h = nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5)])
        self.ln_f = nn.LayerNorm(5)
        self.seen: list[tuple[int, int]] = []

    def forward(self, input_ids: Any, attention_mask: Any, **_: Any) -> torch.Tensor:
        self.seen.append(tuple(input_ids.shape))
        x = self.wte(input_ids)
        for block in self.h:
            x = x + block(x).tanh()
        return self.ln_f(x)


@pytest.fixture
def token_network() -> Callable[[], Any]:
    def make() -> Any:
        return wrap_module(untrained_twin(Tokens(), seed=0), ["h.0", "ln_f"], kind="tokens")

    return make


# --- rows, order, labels ----------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 4, 23, 100])
@pytest.mark.parametrize("shard_rows", [5, 23, None])
def test_points_are_what_the_network_gives(tmp_path, batch_size, shard_rows):
    net, x = mlp(), points()
    labels = {"kind": [f"c{i % 3}" for i in range(23)], "score": np.linspace(0, 1, 23)}
    data = array_dataset(x, labels=labels, ids=[f"row{i}" for i in range(23)])
    found = extract(net, data, tmp_path, batch_size=batch_size, shard_rows=shard_rows)
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found["module:2"][:], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["input"][:], x)
    assert list(found.ids) == list(data.ids)
    assert found.labels["kind"].tolist() == labels["kind"]
    np.testing.assert_array_equal(found.labels["score"], labels["score"])
    assert set(found.rows["status"]) == {"ok"}


def test_two_runs_give_the_same_bytes(tmp_path):
    data = array_dataset(points())
    extract(mlp(), data, tmp_path / "a", shard_rows=7)
    extract(mlp(), data, tmp_path / "b", shard_rows=7)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert (tmp_path / "a" / "rows.csv").read_bytes() == (tmp_path / "b" / "rows.csv").read_bytes()


def test_several_poolings_come_from_one_pass(tmp_path):
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)
            self.passes = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.passes += 1
            return self.conv(x)

    net = Counting()
    data = array_dataset(np.random.default_rng(0).normal(size=(6, 1, 5, 5)))
    net.passes = 0
    extract(net, data, tmp_path / "one", sites="conv", pooling="gap")
    one, net.passes = net.passes, 0
    found = extract(net, data, tmp_path / "three", sites="conv", pooling="gap,gmax,flat")
    assert net.passes == one
    np.testing.assert_allclose(
        found["conv@gap" if "conv@gap" in found.keys else "module:conv@gap"][:],
        found["module:conv@flat"][:].reshape(6, 2, 9).mean(2), rtol=1e-5, atol=1e-6,
    )  # fmt: skip


def test_a_network_in_training_mode_is_put_to_eval(tmp_path):
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9), nn.Linear(4, 2))
    wrapped = wrap_module(net)
    net.train()
    extract(wrapped, array_dataset(points()), tmp_path)
    assert not net.training


# --- resume -----------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    data = array_dataset(points(40))
    extract(mlp(), data, tmp_path / "whole", shard_rows=6)
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(mlp(), data, tmp_path / "cut", shard_rows=6, batch_size=3, progress=stop)
    kept = len([n for n in files(tmp_path / "cut") if n.startswith("rows-")])
    assert 0 < kept < 7
    with pytest.raises(ManifestMismatch, match="batch_size"):
        extract(mlp(), data, tmp_path / "cut", shard_rows=6)
    written: list[tuple[int, int]] = []
    commit = StoreWriter.commit

    def note(self: StoreWriter, start: int, stop: int, tensors: Any) -> dict[str, int]:
        written.append((start, stop))
        return commit(self, start, stop, tensors)

    monkeypatch.setattr(StoreWriter, "commit", note)
    extract(mlp(), data, tmp_path / "cut", shard_rows=6, batch_size=3)
    assert len(written) == 7 - kept
    found = extract(mlp(), data, tmp_path / "again", shard_rows=6, batch_size=3)
    assert files(tmp_path / "cut") == files(tmp_path / "again")
    assert len(found) == 40


def test_a_finished_run_is_not_run_again(tmp_path):
    net, data = mlp(), array_dataset(points())
    extract(net, data, tmp_path)
    before = files(tmp_path)
    calls: list[tuple[int, int]] = []
    extract(net, data, tmp_path, progress=lambda *a: calls.append(a))
    assert calls == [(23, 23)]
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"network": untrained_twin(mlp(), seed=9)}, "weights_hash"),
        ({"dataset": array_dataset(points() + np.float32(1e-3))}, "fingerprint"),
        ({"dataset": array_dataset(points(), ids=[f"x{i}" for i in range(23)])}, "dataset"),
        ({"sites": "module:2"}, "sites"),
        ({"pooling": "flat"}, "sites"),
        ({"store_dtype": "float16"}, "dtype"),
        ({"shard_rows": 5}, "shard_edges"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, changed, field):
    extract(mlp(), array_dataset(points()), tmp_path, sites="all")
    arguments = {"network": mlp(), "dataset": array_dataset(points()), **changed}
    with pytest.raises(ManifestMismatch, match=field):
        extract(arguments.pop("network"), arguments.pop("dataset"), tmp_path, **arguments)
    net, data = changed.get("network", mlp()), changed.get("dataset", array_dataset(points()))
    rest = {k: v for k, v in changed.items() if k not in ("network", "dataset")}
    assert len(extract(net, data, tmp_path, overwrite=True, **rest)) == 23


def test_progress_counts_rows(tmp_path):
    calls: list[tuple[int, int]] = []
    extract(
        mlp(), array_dataset(points()), tmp_path, batch_size=10, shard_rows=20,
        progress=lambda *a: calls.append(a),
    )  # fmt: skip
    assert calls[0] == (0, 23)
    assert calls[-1] == (23, 23)
    assert [c[0] for c in calls] == sorted(c[0] for c in calls)


# --- planning ---------------------------------------------------------------------------------


def test_a_dry_run_plans_and_writes_nothing(tmp_path):
    twice = np.concatenate([points(), points()[:3]])
    plan = extract(mlp(), array_dataset(twice), tmp_path / "run", dry_run=True, shard_rows=10)
    assert isinstance(plan, ExtractionPlan)
    assert not (tmp_path / "run").exists()
    assert plan.rows == 26
    assert plan.identical == 3
    assert plan.shards == 3
    assert plan.bytes == 26 * 4 * (4 + 6 + 6 + 3)
    assert "module:2@mean" in str(plan)
    assert "3 repeat an earlier one" in str(plan)


def test_too_little_space_is_said_before_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(plan_module, "_free", lambda out: 100)
    with pytest.raises(DiskFullError, match="100 are free"):
        extract(mlp(), array_dataset(points()), tmp_path)


def test_unknown_sites_and_poolings(tmp_path):
    data = array_dataset(points())
    with pytest.raises(SiteError, match="unknown site 'modul:2': did you mean module:2"):
        extract(mlp(), data, tmp_path, sites="modul:2")
    with pytest.raises(InputError, match="unknown pooling"):
        extract(mlp(), data, tmp_path, pooling="average")
    with pytest.raises(InputError, match="one vector per row"):
        extract(mlp(), data, tmp_path, pooling="last")
    with pytest.raises(InputError, match="store_dtype"):
        extract(mlp(), data, tmp_path, store_dtype="int8")
    assert not (tmp_path / "acts").exists()


# --- pathologies ------------------------------------------------------------------------------


class Poisoned(nn.Module):
    """NaN where the first number is above a limit."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.lin = nn.Linear(4, 2)
        self.limit = limit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin(torch.where(x[:, :1] > self.limit, torch.nan, x))


def test_rows_that_are_not_finite_are_marked_and_counted(tmp_path):
    x = points()
    found = extract(Poisoned(1.0), array_dataset(x), tmp_path, sites="lin")
    bad = x[:, 0] > 1.0
    assert 0 < bad.sum() < 10
    assert (np.array(found.rows["status"]) == "failed").tolist() == bad.tolist()
    assert np.isnan(found["module:lin"][:]).all(1).tolist() == bad.tolist()
    log = next((tmp_path / "log").glob("*.jsonl")).read_text().splitlines()
    assert json.loads(log[0])["not_finite"] == {"module:lin@mean": int(bad.sum())}


def test_a_network_that_only_gives_nan_is_an_error(tmp_path):
    with pytest.raises(
        NetworkError, match=r"gives NaN or infinity at every site for every row from 0"
    ):
        extract(Poisoned(-1e9), array_dataset(points()), tmp_path, sites="lin")


def test_half_precision_storage_is_checked_for_overflow(tmp_path):
    net = nn.Sequential(nn.Linear(4, 2))
    found = extract(net, array_dataset(points()), tmp_path / "fits", store_dtype="float16")
    assert found["module:0"].dtype == np.float16
    with torch.no_grad():
        net[0].weight.mul_(1e6)
    with pytest.raises(InputError, match=r"does not fit into float16 .*store_dtype 'float32'"):
        extract(net, array_dataset(points()), tmp_path / "over", store_dtype="float16")


def test_a_batch_that_does_not_fit_is_halved(tmp_path):
    class Small(nn.Module):
        def __init__(self, most: int) -> None:
            super().__init__()
            self.lin, self.most = nn.Linear(4, 2), most
            self.sizes: list[int] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.sizes.append(len(x))
            if len(x) > self.most:
                raise torch.cuda.OutOfMemoryError("out of memory")
            return self.lin(x)

    net = Small(5)
    found = extract(net, array_dataset(points()), tmp_path / "fits", batch_size=16)
    assert max(net.sizes) == 16
    with torch.inference_mode():
        whole = net.lin(torch.from_numpy(points())).numpy()
    np.testing.assert_allclose(found["module:lin"][:], whole, rtol=1e-5, atol=1e-6)

    class Never(Small):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(self.sizes) > 8:
                self.most = 0
            return super().forward(x)

    with pytest.raises(NetworkError, match=r"row \d+ \(id .*\) alone does not fit into the memory"):
        extract(Never(5), array_dataset(points()), tmp_path / "never", batch_size=2)


# --- tokens -----------------------------------------------------------------------------------


def ragged(count: int = 30) -> list[list[int]]:
    rng = np.random.default_rng(3)
    return [rng.integers(1, 50, rng.integers(1, 12)).tolist() for _ in range(count)]


@pytest.mark.parametrize("budget", [1, 16, 64, 4096])
def test_the_budget_changes_batches_and_nothing_else(tmp_path, token_network, budget):
    rows, net = ragged(), token_network()
    net.module.seen.clear()
    found = extract(
        net, token_dataset(rows), tmp_path, batch_tokens=budget, pooling="mean,last", shard_rows=11
    )
    for i in (0, 7, 29):
        with torch.inference_mode():
            whole = net.module(torch.tensor([rows[i]]), None)[0].numpy()
        np.testing.assert_allclose(found["module:ln_f@mean"][i], whole.mean(0), atol=1e-5)
        np.testing.assert_allclose(found["module:ln_f@last"][i], whole[-1], atol=1e-5)
    longest = max(map(len, rows))
    assert all(n * t <= max(budget, longest) for n, t in net.module.seen[6:])
    assert found.rows["n_tokens"].tolist() == list(map(len, rows))


def test_batches_hold_similar_lengths_and_every_row_once(token_network):
    rows = prepare(
        token_network(), token_dataset(ragged(50)), batch_tokens=32, batch_size=None,
        max_length=None, overlength="error",
    )  # fmt: skip
    batches = list(rows.batches(10, 43))
    assert sorted(np.concatenate(batches).tolist()) == list(range(10, 43))
    tops = [int(rows.n_tokens[b].max()) for b in batches]
    assert tops == sorted(tops, reverse=True)
    assert all(len(b) * t <= 32 for b, t in zip(batches, tops, strict=True))


def test_empty_rows_and_rows_of_specials_are_nan_not_zero(tmp_path, token_network):
    rows, special = [[5, 6], [], [1, 2], [7]], [[0, 0], [], [1, 1], [0]]
    found = extract(
        token_network(), token_dataset(rows, special=special), tmp_path, pooling="mean,mean_all"
    )
    assert list(found.rows["status"]) == ["ok", "empty", "empty", "ok"]
    means = found["module:ln_f@mean"][:]
    assert np.isnan(means[1:3]).all()
    assert np.isfinite(means[[0, 3]]).all()
    assert np.isfinite(found["module:ln_f@mean_all"][2]).all()
    assert np.isnan(found["module:ln_f@mean_all"][1]).all()


def test_tokens_out_of_range_mark_their_row(tmp_path, token_network):
    found = extract(
        token_network(), token_dataset([[5, 6], [7], [1, 2, 3]]), tmp_path, pooling="token:1"
    )
    assert list(found.rows["status"]) == ["ok", "empty", "ok"]


@pytest.mark.parametrize(
    ("policy", "lengths", "status"),
    [
        ("truncate:head", [3, 4], ["ok", "ok"]),
        ("truncate:tail", [3, 4], ["ok", "ok"]),
        ("skip", [3, 6], ["ok", "skipped"]),
    ],
)
def test_rows_that_are_too_long(tmp_path, token_network, policy, lengths, status):
    data = token_dataset([[5, 6, 7], [1, 2, 3, 4, 5, 6]], ids=["short", "long"])
    with pytest.raises(InputError, match=r"1 of 2 rows are longer than 4 .*row 1 \(id 'long'"):
        extract(token_network(), data, tmp_path / "error", max_length=4)
    found = extract(
        token_network(), data, tmp_path / "run", max_length=4, overlength=policy, pooling="token:0"
    )
    assert found.rows["n_tokens"].tolist() == lengths
    assert list(found.rows["status"]) == status
    assert found.rows["truncated"].tolist() == [False, policy != "skip"]
    same = token_dataset([[1 if policy == "truncate:head" else 3]])
    one = extract(token_network(), same, tmp_path / "one", pooling="token:0")
    if policy == "skip":
        assert np.isnan(found["module:ln_f"][1]).all()
    else:
        np.testing.assert_allclose(found["module:ln_f"][1], one["module:ln_f"][0], atol=1e-6)


def test_ids_beyond_the_vocabulary_are_named(tmp_path, token_network):
    with pytest.raises(InputError, match=r"row 1 \(id '1'\) holds token id 50, .* knows 0 to 49"):
        extract(token_network(), token_dataset([[1], [50]]), tmp_path)


def test_networks_that_padding_disturbs_get_rows_of_equal_length(tmp_path):
    class Whole(nn.Module):
        """Takes ids alone; every position sees all others, padding included."""

        class config:
            vocab_size = 20

        def __init__(self) -> None:
            super().__init__()
            self.wte, self.out = nn.Embedding(20, 4), nn.Linear(4, 4)
            self.shapes: list[tuple[int, ...]] = []

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            self.shapes.append(tuple(ids.shape))
            x = self.wte(ids)
            return self.out(x + x.mean(1, keepdim=True))

    rows = [[1, 2, 3], [4, 5], [6, 7, 8], [9]]
    net = untrained_twin(Whole(), seed=0)
    found = extract(wrap_module(net, kind="tokens"), token_dataset(rows), tmp_path)
    checks = {c["name"]: c["passed"] for c in found.manifest.recorded["self_check"]}
    assert checks["padding"] is False
    assert net.shapes[-3:] == [(2, 3), (1, 2), (1, 1)]
    with torch.inference_mode():
        alone = net(torch.tensor([[4, 5]]))[0].mean(0).numpy()
    np.testing.assert_allclose(found["module:out"][1], alone, rtol=1e-5, atol=1e-6)


def test_data_and_network_must_fit(tmp_path, token_network):
    with pytest.raises(InputError, match=r"has no tokenizer.*--tokenizer"):
        extract(token_network(), text_dataset(["a", "b"]), tmp_path)
    with pytest.raises(InputError, match="eats token ids"):
        extract(token_network(), array_dataset(points()), tmp_path)
    with pytest.raises(InputError, match="eats arrays, data set 'texts' holds text"):
        extract(mlp(), text_dataset(["a", "b"]), tmp_path)
    with pytest.raises(NetworkError, match="give it rows of the shape and dtype"):
        extract(mlp(), array_dataset(np.ones((3, 9))), tmp_path)
    with pytest.raises(InputError, match="every row is empty"):
        extract(token_network(), token_dataset([[], []]), tmp_path)


def test_whole_numbers_are_tokens_for_a_network_of_tokens(tmp_path, token_network):
    ids = np.random.default_rng(0).integers(0, 50, (6, 4))
    one = extract(token_network(), array_dataset(ids), tmp_path / "a")
    two = extract(token_network(), token_dataset(ids), tmp_path / "b")
    np.testing.assert_array_equal(one["module:ln_f"][:], two["module:ln_f"][:])


# --- memory -----------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_data(tmp_path):
    import tracemalloc

    net = nn.Sequential(nn.Linear(4, 512))

    def peak(rows: int) -> int:
        data = array_dataset(np.zeros((rows, 4), np.float32) + np.arange(rows)[:, None] % 7)
        tracemalloc.start()
        extract(net, data, tmp_path / str(rows), sites="module:0", shard_rows=256)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    small, large = peak(1024), peak(8192)
    whole = 8192 * 512 * 4
    assert large - small < whole / 8


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_network_that_overflows_nothing_is_not_told_to_use_more_bits(tmp_path):
    with pytest.raises(NetworkError, match=r"every row from 0 to 22: repair the network"):
        extract(Poisoned(-1e9), array_dataset(points()), tmp_path, sites="lin")
