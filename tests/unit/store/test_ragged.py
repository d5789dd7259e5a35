"""Ragged sites: every token of every row comes back, and nothing is pooled or padded silently."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hiddenscape as hs
from hiddenscape.errors import IncompleteStore, InputError, ShardError, SiteError
from hiddenscape.store.manifest import Manifest, shard_name, site_entry
from hiddenscape.store.ragged import RaggedArray
from hiddenscape.store.reader import open_store
from hiddenscape.store.shards import content_hash, decode, read_header, serialize
from hiddenscape.store.verify import verify
from hiddenscape.store.writer import StoreWriter
from hiddenscape.testing.store_suite import random_manifest, random_shard, random_store
from hiddenscape.types import Site

KEY = "resid_post.0@tokens"


def truth(manifest: Manifest, key: str = KEY) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    tensors = random_shard(manifest, 0, manifest.rows)
    words = tensors[key]
    return decode(words, "BF16" if words.dtype == np.uint16 else "F32"), tensors


@given(
    rows=st.integers(1, 14),
    shard_rows=st.integers(1, 16),
    dtype=st.sampled_from(["float32", "float64", "float16", "bfloat16"]),
    seed=st.integers(0, 3),
)
def test_every_layout_gives_every_token_back(
    tmp_path_factory: pytest.TempPathFactory, rows: int, shard_rows: int, dtype: str, seed: int
) -> None:
    manifest = random_manifest(rows=rows, shard_rows=shard_rows, tokens=(3, 1), tokens_dtype=dtype)
    store = random_store(tmp_path_factory.mktemp("run"), manifest)
    for key, width in ((KEY, 3), ("resid_post.1@tokens", 1)):
        points, tensors = truth(manifest, key)
        ragged = store[key]
        assert isinstance(ragged, RaggedArray)
        offsets = tensors["offsets"]
        assert len(ragged) == rows
        np.testing.assert_array_equal(ragged.offsets, offsets)
        for i, row in enumerate(ragged):
            np.testing.assert_array_equal(row, points[offsets[i] : offsets[i + 1]])
            assert row.dtype == ragged.dtype == points.dtype
            assert row.shape[1] == width
            assert not row.flags.writeable
        np.testing.assert_array_equal(ragged[-1], ragged[rows - 1])
        flat = ragged.flat
        assert flat.shape == points.shape
        np.testing.assert_array_equal(np.asarray(flat), points)
        if len(flat):
            cut = min(2, len(flat))
            np.testing.assert_array_equal(flat[cut - 1 :], points[cut - 1 :])
            np.testing.assert_array_equal(np.concatenate(list(flat.blocks(2))), points)
        for name in ("token_id", "token_pos", "token_content"):
            found = getattr(ragged, name)
            np.testing.assert_array_equal(found, tensors[name])
            assert not found.flags.writeable
    assert verify(store.run_path, full=True).ok


@pytest.fixture
def manifest() -> Manifest:
    return random_manifest(tokens=(3,))


def test_rows_without_tokens_and_shards_without_any(tmp_path: Path) -> None:
    site = Site("a", depth=0, pooling="tokens")
    manifest = Manifest.create(sites=[site_entry(site, (2,))], rows=6, shard_rows=2)
    writer = StoreWriter(tmp_path / "acts", manifest)
    lengths = [0, 0, 2, 0, 0, 0]
    for start, stop in writer.missing():
        offsets = np.concatenate([[0], np.cumsum(lengths[start:stop])])
        t = int(offsets[-1])
        writer.commit(start, stop, {
            "a@tokens": np.full((t, 2), start, np.float32), "offsets": offsets,
            "token_id": np.full(t, 7), "token_pos": np.arange(t), "token_content": np.ones(t),
        })  # fmt: skip
    ragged = writer.finish()["a"]
    assert isinstance(ragged, RaggedArray)
    assert [len(row) for row in ragged] == lengths
    np.testing.assert_array_equal(ragged.flat, [[2, 2], [2, 2]])
    assert ragged.flat[0].tolist() == [2, 2]
    assert ragged.offsets.tolist() == [0, 0, 0, 2, 2, 2, 2]
    empty = Manifest.create(sites=[site_entry(site, (2,))], rows=1, shard_rows=1)
    none = np.zeros(0)
    writer = StoreWriter(tmp_path / "empty", empty)
    writer.commit(0, 1, {
        "a@tokens": np.zeros((0, 2), np.float32), "offsets": np.zeros(2, int),
        "token_id": none, "token_pos": none, "token_content": none,
    })  # fmt: skip
    flat = writer.finish()["a"].flat  # type: ignore[union-attr]
    assert flat.shape == (0, 2)
    assert list(flat.blocks()) == []
    assert np.asarray(flat).shape == (0, 2)


def test_it_is_never_one_array_by_accident(tmp_path: Path, manifest: Manifest) -> None:
    store = random_store(tmp_path / "run", manifest)
    ragged = store[KEY]
    with pytest.raises(InputError, match="rows of different lengths and is no single array"):
        np.asarray(ragged)
    with pytest.raises(InputError, match="rows of different lengths and is no single array"):
        np.mean(ragged)  # type: ignore[arg-type]
    for index in (slice(None), [0, 1], True, np.ones(20, bool), (0, 1)):
        with pytest.raises(InputError, match="take one row by number"):
            ragged[index]
    with pytest.raises(InputError, match="row 20 is outside"):
        ragged[20]
    with pytest.raises(SiteError, match=r"resid_post.0@tokens' holds every token"):
        store.points(KEY)
    assert [s.key for s in store.point_sites] == ["resid_post.0@mean", "resid_post.1@mean"]
    assert [s.key for s in store.ragged_sites] == [KEY]
    assert [s.key for s, _ in store.items()] == ["resid_post.0@mean", "resid_post.1@mean"]
    assert set(store.nonfinite_rows()) == {"resid_post.0@mean", "resid_post.1@mean"}


def test_it_travels_by_name_and_its_hash_follows_the_content(
    tmp_path: Path, manifest: Manifest
) -> None:
    ragged = random_store(tmp_path / "a", manifest)[KEY]
    assert ragged.content_hash == random_store(tmp_path / "b", manifest)[KEY].content_hash
    other = random_store(tmp_path / "c", manifest, seed=1)[KEY]
    assert ragged.content_hash != other.content_hash
    again = pickle.loads(pickle.dumps(ragged))  # noqa: S301
    np.testing.assert_array_equal(again.flat, ragged.flat)  # type: ignore[union-attr]


def good(manifest: Manifest) -> dict[str, np.ndarray]:
    return random_shard(manifest, 0, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": lambda o: o + 1}, "has shape|rise from 0"),
        ({"offsets": lambda o: o[:-1]}, "has shape"),
        ({"offsets": lambda o: np.r_[0, o[-1], o[1:-1][::-1], o[-1]][: len(o)]}, "has shape|rise"),
        ({"offsets": lambda o: np.r_[o[:-1], o[-1] - 1]}, "has shape"),
        ({"offsets": lambda o: o * np.nan}, "has shape|cannot hold"),
        ({"token_id": lambda t: t - 60_000}, "negative ids"),
        ({"token_id": lambda t: t[1:]}, "'token_id' has shape"),
        ({"token_pos": lambda t: t - 1}, "negative positions"),
        ({"token_content": lambda t: t * 2}, "other than 0 and 1"),
        ({KEY: lambda p: p[1:]}, "@tokens' has shape"),
        ({KEY: lambda p: p.astype(float)}, "dtype float64, the manifest says float32"),
        ({"token_id": None}, "missing .'token_id'"),
        ({"offsets": None}, "missing .'offsets'"),
    ],
)
def test_tokens_that_do_not_fit_are_not_written(
    tmp_path: Path, manifest: Manifest, change: dict[str, Any], message: str
) -> None:
    tensors = good(manifest)
    for name, how in change.items():
        if how is None:
            del tensors[name]
        else:
            tensors[name] = how(tensors[name])
    writer = StoreWriter(tmp_path, manifest)
    with pytest.raises(InputError, match=message):
        writer.commit(0, 6, tensors)
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


def test_token_tensors_belong_to_ragged_stores_only(tmp_path: Path) -> None:
    plain = random_manifest()
    tensors = random_shard(plain, 0, 6) | {"offsets": np.zeros(7, int)}
    with pytest.raises(InputError, match=r"unknown .'offsets'"):
        StoreWriter(tmp_path, plain).commit(0, 6, tensors)


def test_rows_with_nan_tokens_are_counted_once(tmp_path: Path, manifest: Manifest) -> None:
    tensors = good(manifest)
    lengths = np.diff(tensors["offsets"])
    long = int(np.argmax(lengths))
    assert lengths[long] >= 2
    at = int(tensors["offsets"][long])
    tensors[KEY][at : at + 2, 0] = np.nan
    writer = StoreWriter(tmp_path / "acts", manifest)
    assert writer.commit(0, 6, tensors)[KEY] == 1
    assert verify(tmp_path, full=True).nonfinite[KEY] == 1  # type: ignore[index]


def rewrite(path: Path, **changed: np.ndarray) -> None:
    """The shard with other token tensors and an honest content hash."""
    header = read_header(path)
    body = path.read_bytes()
    tensors = {}
    for name, e in header.tensors.items():
        kind = {"F32": "<f4", "I64": "<i8", "I32": "<i4", "U8": "u1"}[e.code]
        array = np.frombuffer(body[e.start : e.stop], kind).reshape(e.shape)
        tensors[name] = (e.code, np.ascontiguousarray(changed.get(name, array), dtype=kind))
    metadata = dict(header.metadata)
    metadata["content_hash"] = content_hash({n: a for n, (_, a) in tensors.items()})
    path.write_bytes(b"".join(serialize(tensors, metadata)[1]))


def test_offsets_that_lie_are_found_on_reading_and_by_verify(
    tmp_path: Path, manifest: Manifest
) -> None:
    store = random_store(tmp_path / "run", manifest)
    victim = store.path / shard_name(6, 12)
    offsets = random_shard(manifest, 6, 12)["offsets"]
    for bad in (offsets[::-1], offsets + 1, np.r_[0, offsets[-1] + 9, offsets[2:]]):
        rewrite(victim, offsets=bad)
        ragged = open_store(tmp_path / "run")[KEY]
        for read in (lambda r=ragged: r[7], lambda r=ragged: r.flat, lambda r=ragged: r.token_id):
            with pytest.raises(ShardError, match=rf"{victim.name}: tensor 'offsets'"):
                read()
        assert len(ragged[0]) >= 0  # type: ignore[arg-type]
        report = verify(tmp_path / "run", full=True)
        assert not report.ok
        assert report.findings[0].file == f"acts/{victim.name}"
        rewrite(victim, offsets=offsets)
    assert verify(tmp_path / "run", full=True).ok


def test_an_unfinished_store_gives_single_rows_and_counts_no_tokens(
    tmp_path: Path, manifest: Manifest
) -> None:
    store = random_store(tmp_path / "run", manifest)
    points, tensors = truth(manifest)
    (store.path / shard_name(6, 12)).unlink()
    ragged = open_store(tmp_path / "run", partial=True)[KEY]
    assert isinstance(ragged, RaggedArray)
    a, b = tensors["offsets"][19:21]
    np.testing.assert_array_equal(ragged[19], points[a:b])
    with pytest.raises(IncompleteStore, match="rows 6 to 11 are not written yet"):
        ragged[8]
    for name in ("offsets", "flat", "token_id"):
        with pytest.raises(IncompleteStore, match="tokens cannot be counted"):
            getattr(ragged, name)


def test_measuring_skips_ragged_sites_by_name_and_measures_the_others(tmp_path: Path) -> None:
    manifest = random_manifest(rows=40, shard_rows=16, tokens=(3,))
    random_store(tmp_path / "run", manifest)
    random_store(tmp_path / "plain", random_manifest(rows=40, shard_rows=16))
    table = hs.measure(tmp_path / "run", ["two_nn", "neighborhood_overlap"], k=3)
    plain = hs.measure(tmp_path / "plain", ["two_nn", "neighborhood_overlap"], k=3)
    assert [(r.site, r.quantity, r.value) for r in table] == [
        (r.site, r.quantity, r.value) for r in plain
    ]
    warnings = hs.open_run(tmp_path / "run").measured["warnings"]
    assert any(KEY in w and "hold every token and were not measured" in w for w in warnings)
    again = hs.measure(tmp_path / "run", ["two_nn"], sites=["resid_post.0"])
    assert {r.pooling for r in again} == {"mean"}
    with pytest.raises(SiteError, match="holds every token"):
        hs.measure(tmp_path / "run", ["two_nn"], sites=[KEY])
    report = hs.report(tmp_path / "run")
    assert Path(report).exists()


def test_a_run_of_ragged_sites_only_cannot_be_measured(tmp_path: Path) -> None:
    random_store(tmp_path / "run", random_manifest(shapes=(), tokens=(3,)))
    with pytest.raises(InputError, match="every site holds all tokens"):
        hs.measure(tmp_path / "run", ["two_nn"])


def test_the_size_of_ragged_rows_is_not_guessed() -> None:
    site = Site("a", depth=0, pooling="tokens")
    with pytest.raises(InputError, match="give shard_rows"):
        Manifest.create(sites=[site_entry(site, (2,))], rows=6)
