"""Sites added to a finished run: joined by row, and only if they are of the same rows (S25)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape.errors import IncompleteStore, InputError, ManifestMismatch, ShardError, StoreError
from hiddenscape.store.canonical import canonical_json
from hiddenscape.store.joining import added_folder, agree_with
from hiddenscape.store.manifest import Manifest, shard_name
from hiddenscape.store.reader import open_store
from hiddenscape.store.rows import row_ids_hash
from hiddenscape.store.verify import verify
from hiddenscape.store.writer import StoreWriter
from hiddenscape.testing.store_suite import random_manifest, random_shard, random_store

IDS = row_ids_hash([f"r{i}" for i in range(20)])
IDENTITY: dict[str, Any] = {
    "model": {"id": "gpt2", "commit": "c", "weights_hash": "w", "dtype": "float32"},
    "adapter": None,
    "intervention_hash": None,
    "tokenizer": {"id": "t", "hash": "h"},
    "processor_hash": None,
    "dataset": {"fingerprint": "f", "row_ids_hash": IDS, "columns": ["label"]},
    "input": {"kind": "tokens", "max_length": 64, "overlength": "error", "batch_tokens": 512},
}


def manifest(name: str, identity: dict[str, Any] | None = None, **options: Any) -> Manifest:
    options = {"rows": 20, "shard_rows": 6} | options
    return random_manifest(
        shapes={name: (3,)}, identity=IDENTITY if identity is None else identity, **options
    )


def write(folder: Path, one: Manifest, *, seed: int = 0, limit: int | None = None) -> StoreWriter:
    writer = StoreWriter(folder, one)
    for start, stop in writer.missing()[:limit]:
        writer.commit(start, stop, random_shard(one, start, stop, seed=seed))
    return writer


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return random_store(tmp_path / "run", manifest("a")).run_path


def test_a_run_shows_the_sites_of_all_its_stores_joined_by_row(run: Path) -> None:
    # Other shards, other batches: rows are what counts.
    other = IDENTITY | {"input": IDENTITY["input"] | {"batch_tokens": 9}}
    added = manifest("b", other, shard_rows=7, tokens=(2,))
    write(added_folder(run, "more"), added, seed=3)
    write(run / "acts.x", manifest("c"), seed=4)
    store = open_store(run)
    assert set(store.keys) == {"a@mean", "b@mean", "c@mean", "resid_post.0@tokens"}
    assert len(store) == 20
    truth = random_shard(added, 0, 20, seed=3)
    np.testing.assert_array_equal(store["b"][[19, 0, 6]], truth["b@mean"][[19, 0, 6]])
    a, b = truth["offsets"][5:7]
    np.testing.assert_array_equal(
        store["resid_post.0@tokens"][5], truth["resid_post.0@tokens"][a:b]
    )
    np.testing.assert_array_equal(
        store["c"][3:5], random_shard(manifest("c"), 3, 5, seed=4)["c@mean"]
    )
    assert list(store.manifests) == ["acts", "acts.more", "acts.x"]
    assert set(store.entries) == set(store.keys)
    assert store.ids[0] == "r0"
    assert open_store(run / "acts").keys == ("a@mean",)
    assert set(open_store(run / "acts.more").keys) == {"b@mean", "resid_post.0@tokens"}
    assert open_store(run / "acts.more").ids[0] == "r0"
    report = verify(run, full=True)
    assert report.ok
    assert (report.shards, report.rows) == (4 + 3 + 4, 20)
    assert set(report.nonfinite or {}) == set(store.keys)
    assert hs.measure(run, ["two_nn"]).select(site="c")
    out = hs.export_points(run, run.parent / "out", format="npz")
    assert set(np.load(out / "points.npz")) >= set(store.keys)
    record = json.loads((out / "provenance.json").read_text())
    assert [s["folder"] for s in record["stores"]] == ["acts", "acts.more", "acts.x"]


FIELDS = {
    "model.id": {"model": IDENTITY["model"] | {"id": "gpt3"}},
    "model.weights_hash": {"model": IDENTITY["model"] | {"weights_hash": "v"}},
    "model.dtype": {"model": IDENTITY["model"] | {"dtype": "bfloat16"}},
    "model.quantization": {"model": IDENTITY["model"] | {"quantization": "int8"}},
    "adapter": {"adapter": {"id": "lora"}},
    "intervention_hash": {"intervention_hash": "i"},
    "tokenizer.hash": {"tokenizer": {"id": "t", "hash": "g"}},
    "dataset.fingerprint": {"dataset": IDENTITY["dataset"] | {"fingerprint": "g"}},
    "dataset.row_ids_hash": {"dataset": IDENTITY["dataset"] | {"row_ids_hash": "s"}},
    "input.max_length": {"input": IDENTITY["input"] | {"max_length": 32}},
}


@pytest.mark.parametrize("field", FIELDS)
def test_sites_of_other_rows_or_another_network_are_refused_by_name(run: Path, field: str) -> None:
    other = manifest("b", IDENTITY | FIELDS[field])
    with pytest.raises(ManifestMismatch, match=rf"{field}.* there and .*--out") as caught:
        StoreWriter(added_folder(run, "more"), other)
    assert caught.value.field.startswith(field.partition(".")[0])
    with pytest.raises(ManifestMismatch, match="belong to another run"):
        agree_with(other, manifest("a"))
    # Brought there behind the back of the writer, it is refused on reading and by verify.
    write(run.parent / "other" / "acts", other)
    (run.parent / "other" / "acts").rename(run / "acts.more")
    with pytest.raises(ManifestMismatch, match=field):
        open_store(run)
    report = verify(run)
    assert not report.ok
    assert report.findings[-1].file == "acts.more/manifest.json"
    assert field in report.findings[-1].problem


def test_another_number_of_rows_is_refused(run: Path) -> None:
    with pytest.raises(ManifestMismatch, match=r"dataset.rows is 20 there and 19 here"):
        StoreWriter(run / "acts.more", manifest("b", rows=19))


def test_a_site_that_is_there_already_is_refused(run: Path) -> None:
    with pytest.raises(StoreError, match="site 'a@mean' is there already"):
        StoreWriter(run / "acts.more", manifest("a"))
    assert not (run / "acts.more" / "manifest.json").exists()
    write(run / "acts.more", manifest("b"))
    with pytest.raises(StoreError, match=r"acts.more: site 'b@mean' is there already"):
        StoreWriter(run / "acts.again", manifest("b"))
    write(run.parent / "o" / "acts", manifest("b"))
    (run.parent / "o" / "acts").rename(run / "acts.twice")
    with pytest.raises(StoreError, match="site 'b@mean' is there already"):
        open_store(run)
    assert any("is there already" in f.problem for f in verify(run).findings)


def test_there_must_be_something_to_add_to(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="to add sites to: write that first"):
        StoreWriter(tmp_path / "acts.more", manifest("b"))


def test_an_unfinished_addition_is_named_and_resumed(run: Path) -> None:
    write(run / "acts.more", manifest("b"), limit=2)
    with pytest.raises(IncompleteStore, match=r"acts.more: rows 12 to 19 of 20 are missing"):
        open_store(run)
    part = open_store(run, partial=True)
    assert part.missing == ((12, 18), (18, 20))
    assert part["a"][12].shape == (3,)
    with pytest.raises(IncompleteStore, match="site 'b@mean': rows 12 to 17 are not written"):
        part["b"][12]
    assert verify(run).missing == ((12, 18), (18, 20))
    write(run / "acts.more", manifest("b"))
    assert open_store(run).missing == ()


def test_damage_in_an_addition_is_named_with_its_folder(run: Path) -> None:
    write(run / "acts.more", manifest("b"))
    victim = run / "acts.more" / shard_name(6, 12)
    body = bytearray(victim.read_bytes())
    body[-1] ^= 1
    victim.write_bytes(body)
    report = verify(run, full=True)
    assert next(f.file for f in report.findings if f.serious) == f"acts.more/{victim.name}"
    victim.write_bytes(body[:-1])
    with pytest.raises(ShardError, match=r"acts.more/rows-000000006"):
        open_store(run)


def test_rows_that_fail_at_an_added_site_are_told(run: Path) -> None:
    added = manifest("b", shard_rows=20)
    writer = StoreWriter(run / "acts.more", added)
    status = np.zeros(20, np.uint8)
    status[[3, 7]] = 3
    writer.commit(0, 20, random_shard(added, 0, 20) | {"status": status})
    assert np.flatnonzero(open_store(run).status).tolist() == [3, 7]


def test_names_stay_in_the_run(run: Path) -> None:
    for name in ("", "../x", "a/b", ".hidden", "x" * 200, "a b", "x."):
        with pytest.raises(InputError, match="name"):
            added_folder(run, name)
    (run / "acts.odd name").mkdir()
    (run / "acts.empty").mkdir()  # killed before its manifest was there
    assert open_store(run).keys == ("a@mean",)


def test_the_manifest_of_the_run_is_not_touched(run: Path) -> None:
    before = {p.name: p.read_bytes() for p in (run / "acts").iterdir()}
    write(run / "acts.more", manifest("b"))
    StoreWriter(run / "acts.more", manifest("b"), overwrite=True)
    assert {p.name: p.read_bytes() for p in (run / "acts").iterdir()} == before
    assert canonical_json(open_store(run / "acts").manifest.identity)
