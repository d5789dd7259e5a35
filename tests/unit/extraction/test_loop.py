"""What a shard holds: every token, spans, windows; silent sites; shares of several processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hiddenscape as hs
from hiddenscape.data.arrays import array_dataset, token_dataset
from hiddenscape.errors import InputError, ManifestMismatch, NetworkError, StoreError
from hiddenscape.extraction import extract
from hiddenscape.models.fresh import untrained_twin
from hiddenscape.models.wrapping import wrap_module


class Words(nn.Module):
    """Two layers over ids: one that sees its own token only, one that sees all before it."""

    class config:
        vocab_size = 60
        max_position_embeddings = 16

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Embedding(60, 5)
        self.context = nn.Identity()

    def forward(self, input_ids: torch.Tensor, attention_mask: Any = None) -> torch.Tensor:
        x = self.own(input_ids)
        return self.context(x.cumsum(1))


def network(dtype: torch.dtype = torch.float32) -> Any:
    module = untrained_twin(Words(), seed=0).to(dtype)
    return wrap_module(module, ["own", "context"], kind="tokens")


def rows(count: int = 25, longest: int = 14) -> list[list[int]]:
    rng = np.random.default_rng(3)
    return [rng.integers(1, 60, rng.integers(0, longest)).tolist() for _ in range(count)]


def whole(net: Any, ids: list[int]) -> np.ndarray:
    with torch.inference_mode():
        return net.module(torch.tensor([ids]))[0].float().numpy()


def test_every_token_is_kept_with_its_id_and_position(tmp_path):
    data, net = rows(), network()
    special = [[1] * min(1, len(r)) + [0] * max(0, len(r) - 1) for r in data]
    found = extract(
        net, token_dataset(data, special=special), tmp_path, pooling="tokens,mean", shard_rows=7,
        batch_tokens=40,
    )  # fmt: skip
    points: Any = found["module:context@tokens"]
    assert len(points) == len(data)
    for i, ids in enumerate(data):
        assert points[i].shape == (len(ids), 5)
        if ids:
            np.testing.assert_allclose(points[i], whole(net, ids), rtol=1e-6, atol=1e-6)
            where = slice(points.offsets[i], points.offsets[i + 1])
            assert points.token_id[where].tolist() == ids
            assert points.token_pos[where].tolist() == list(range(len(ids)))
            assert points.token_content[where].tolist() == [1 - s for s in special[i]]
            content = points[i][1:]
            if len(content):
                mean = found["module:context@mean"][i]
                np.testing.assert_allclose(content.mean(0), mean, rtol=1e-5, atol=1e-5)


def test_tokens_of_a_bfloat16_network_lose_nothing(tmp_path):
    data, net = rows(), network(torch.bfloat16)
    found = extract(net, token_dataset(data), tmp_path, pooling="tokens,mean", sites="own")
    entries = found.manifest.entries
    assert entries["module:own@tokens"]["dtype"] == "bfloat16"
    assert entries["module:own@mean"]["dtype"] == "float32"
    points: Any = found["module:own@tokens"]
    table = net.module.own.weight.detach().float().numpy()
    for i, ids in enumerate(data):
        np.testing.assert_array_equal(points[i], table[ids].reshape(-1, 5))


def test_positions_of_a_network_without_tokens(tmp_path):
    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.embed(x)

    x = np.random.default_rng(0).normal(size=(9, 6, 3)).astype(np.float32)
    net = wrap_module(untrained_twin(Patches(), seed=0), ["embed"])
    found = extract(
        net, array_dataset(x), tmp_path, sites="embed", pooling="tokens", shard_rows=4, batch_size=3
    )
    points: Any = found["module:embed@tokens"]
    with torch.inference_mode():
        expected = net.module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(points.flat[:].reshape(9, 6, 4), expected, rtol=1e-6, atol=1e-6)
    assert points.token_pos[:7].tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert (points.token_id == -1).all()


def test_windows_see_every_token_once(tmp_path):
    """At a site without context the mean over windows is the mean over the row."""
    rng = np.random.default_rng(0)
    data = [rng.integers(1, 60, n).tolist() for n in (40, 9, 17, 16, 64)]
    net = network()
    found = extract(
        net, token_dataset(data), tmp_path, sites="own,context", pooling="mean,mean_all,last",
        overlength="window:5", batch_tokens=32,
    )  # fmt: skip
    table = net.module.own.weight.detach().numpy()
    for i, ids in enumerate(data):
        for how in ("mean", "mean_all"):
            np.testing.assert_allclose(
                found[f"module:own@{how}"][i], table[ids].mean(0), rtol=1e-5, atol=1e-6
            )
        np.testing.assert_allclose(
            found["module:context@last"][i], whole(net, ids[-16:])[-1], rtol=1e-5, atol=1e-5
        )
    assert found.n_tokens.tolist() == list(map(len, data))
    assert not found.rows["truncated"].any()


@pytest.mark.parametrize("how", ["tokens", "cls", "token:0", "flat"])
def test_what_windows_cannot_tell_is_refused(tmp_path, how):
    with pytest.raises(InputError, match=f"pooling '{how}' cannot be read in windows"):
        extract(network(), token_dataset(rows()), tmp_path, pooling=how, overlength="window:5")


def test_spans_need_text(tmp_path):
    with pytest.raises(InputError, match="has no span 'subject'; it has none"):
        extract(network(), token_dataset(rows()), tmp_path, pooling="span:subject")


class Deaf(nn.Module):
    """Its second layer overflows at every row, its third at one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.b(x * float("nan"))
        y = self.c(torch.where(x[:, :1] > 2.2, torch.inf, 1.0) * x)
        return self.a(x) + y


def test_a_silent_site_costs_the_others_nothing(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    x[17, 0] = 3.0
    x[:17, 0] = x[18:, 0].min()
    net = wrap_module(untrained_twin(Deaf(), seed=0), {"a": "a", "b": "b", "c": "c"})
    found = extract(net, array_dataset(x), tmp_path, sites="a,b,c", shard_rows=64)
    assert np.isnan(found["b"][:]).all()
    assert np.flatnonzero(found.status == 3).tolist() == np.flatnonzero(x[:, 0] > 2.2).tolist()
    table = hs.measure(tmp_path, ["two_nn", "neighborhood_overlap"], k=5)
    by_site = {r.site: r for r in table.select(analysis="two_nn", quantity="dimension")}
    assert np.isnan(by_site["b"].value)
    assert "0 of 200 rows are finite" in by_site["b"].note
    assert by_site["b"].note.startswith("undefined")
    assert np.isfinite([by_site["a"].value, by_site["c"].value]).all()
    assert by_site["a"].n_used > 190
    overlaps = table.select(analysis="neighborhood_overlap", quantity="overlap")
    assert {r.site for r in overlaps if np.isnan(r.value)} <= {"b"} | {
        r.site for r in overlaps if r.site_b == "b"
    }
    assert any(np.isfinite(r.value) for r in overlaps)


def test_shares_fill_one_store_and_the_rest_is_filled_without_one(tmp_path):
    data, net = token_dataset(rows(40)), network()
    alone = extract(net, data, tmp_path / "alone", shard_rows=6)
    first = extract(net, data, tmp_path / "shared", shard_rows=6, shard="1/3")
    assert first.partial
    assert [start // 6 for start, _ in first.missing] == [0, 2, 3, 5, 6]
    second = extract(net, data, tmp_path / "shared", shard_rows=6, shard="0/2")
    assert [start // 6 for start, _ in second.missing] == [3, 5]
    both = extract(net, data, tmp_path / "shared", shard_rows=6)
    assert not both.partial
    for name in ("alone", "shared"):
        assert len(list((tmp_path / name / "acts").glob("rows-*"))) == 7
    for path in sorted((alone.path).iterdir()):
        assert path.read_bytes() == (both.path / path.name).read_bytes()
    assert (tmp_path / "alone" / "rows.csv").read_bytes() == (
        tmp_path / "shared" / "rows.csv"
    ).read_bytes()


def test_a_dry_run_tells_time_and_size(tmp_path):
    data = token_dataset(rows(40))
    plan = extract(network(), data, tmp_path, pooling="mean,tokens", dry_run=True)
    assert plan.seconds is not None
    assert plan.seconds > 0
    text = str(plan)
    assert "time     about" in text
    assert "every token" in text
    real = extract(network(), data, tmp_path, pooling="mean,tokens")
    size = sum(p.stat().st_size for p in real.path.glob("rows-*"))
    assert 0.5 < plan.bytes / size <= 1.05


def test_sites_are_added_to_a_finished_run(tmp_path):
    data, net = token_dataset(rows(40)), network()
    extract(net, data, tmp_path, sites="own", shard_rows=6)
    table = (tmp_path / "rows.csv").read_bytes()
    added = extract(net, data, tmp_path, sites="context", shard_rows=9, add="more", pooling="last")
    assert added.keys == ("module:context@last",)
    joined = hs.open_store(tmp_path)
    assert set(joined.keys) == {"module:own@mean", "module:context@last"}
    assert (tmp_path / "rows.csv").read_bytes() == table
    with pytest.raises(ManifestMismatch, match=r"dataset\.(fingerprint|rows)"):
        extract(net, token_dataset(rows(39)), tmp_path, sites="context", add="other")
    with pytest.raises(StoreError, match="is there already"):
        extract(net, data, tmp_path, sites="own", add="again")
    with pytest.raises(StoreError, match="to add sites to"):
        extract(net, data, tmp_path / "empty", sites="own", add="more")


def broken_at(id_: int, dtype: torch.dtype = torch.float32) -> Any:
    net = network(dtype)
    with torch.no_grad():
        net.module.own.weight[id_] = float("nan")
    return net


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_with_a_token_that_is_not_finite_have_failed(tmp_path, dtype):
    ids = [[1, 2, 3], [4, 7, 5], [6], [7], [8, 9]]
    found = extract(broken_at(7, dtype), token_dataset(ids), tmp_path, pooling="tokens")
    assert found.status.tolist() == [0, 3, 0, 3, 0]


def test_a_bad_row_alone_in_the_last_shard_ends_nothing(tmp_path):
    ids = [[1, 2]] * 8 + [[7]]
    found = extract(broken_at(7), token_dataset(ids), tmp_path, shard_rows=8)
    assert found.status.tolist() == [0] * 8 + [3]


def test_bad_rows_in_small_shards_end_the_run_where_nothing_else_is_there(tmp_path):
    with pytest.raises(NetworkError, match="NaN or infinity at every site"):
        extract(broken_at(7), token_dataset([[7]] * 20), tmp_path, shard_rows=2)


def test_tokens_that_do_not_fit_into_float16_are_refused(tmp_path):
    net = network()
    with torch.no_grad():
        net.module.own.weight[7] = 1e6
    with pytest.raises(InputError, match=r"row 1.*does not fit into float16"):
        extract(net, token_dataset([[1], [7]]), tmp_path, pooling="tokens", store_dtype="float16")


def test_a_float32_site_of_a_bfloat16_network_is_not_rounded(tmp_path):
    class Wider(Words):
        def forward(self, input_ids: torch.Tensor, attention_mask: Any = None) -> torch.Tensor:
            return self.context(self.own(input_ids).float().cumsum(1) / 3)

    module = untrained_twin(Wider(), seed=0).to(torch.bfloat16)
    net = wrap_module(module, ["own", "context"], kind="tokens")
    found = extract(net, token_dataset([[1, 2, 3], [4, 5]]), tmp_path, pooling="tokens")
    assert [e["dtype"] for e in found.entries.values()] == ["bfloat16", "float32"]
    assert np.array_equal(found["module:context"][0], whole(net, [1, 2, 3]))


def test_ids_that_int32_cannot_hold_are_refused(tmp_path):
    with pytest.raises(InputError, match="no id"):
        token_dataset([np.array([2**32 + 5])])
    with pytest.raises(InputError, match="int32 cannot hold"):
        extract(network(), array_dataset(np.array([[2**32 + 5], [1]])), tmp_path)


def test_a_long_first_row_does_not_end_the_run_in_the_probe(tmp_path):
    class Narrow(Words):
        def forward(self, input_ids: torch.Tensor, attention_mask: Any = None) -> torch.Tensor:
            if input_ids.shape[1] > 10:
                raise torch.OutOfMemoryError("out of memory")
            return super().forward(input_ids)

    net = wrap_module(untrained_twin(Narrow(), seed=0), ["own"], kind="tokens")
    ids = [[1] * 12, [2] * 11, [3, 4], [5]]
    found = extract(net, token_dataset(ids), tmp_path, on_oom="skip")
    assert found.status.tolist() == [3, 3, 0, 0]
