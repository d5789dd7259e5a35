"""What fixes a store: identity fields, their hash, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiddenscape.errors import InputError, StoreError
from hiddenscape.store.canonical import canonical_json, differences
from hiddenscape.store.manifest import (
    SCHEMA,
    Manifest,
    read_manifest,
    row_edges,
    shard_name,
    site_entry,
    versions,
)
from hiddenscape.testing.store_suite import random_manifest
from hiddenscape.types import Site


def entry(name: str = "resid_post.0", shape: tuple[int, ...] = (4,), **site: Any) -> dict[str, Any]:
    return site_entry(Site(name, depth=1.0, **site), shape)


def test_run_id_is_the_head_of_the_hash_of_identity_alone() -> None:
    one = Manifest.create(sites=[entry()], rows=5, recorded={"versions": {"numpy": "1"}})
    two = Manifest.create(sites=[entry()], rows=5, recorded={"versions": {"numpy": "2"}})
    assert one.manifest_hash == two.manifest_hash
    assert one.run_id == one.manifest_hash[:16]
    assert one.env_hash != two.env_hash
    other = Manifest.create(sites=[entry()], rows=5, identity={"model": {"id": "x"}})
    assert other.manifest_hash != one.manifest_hash


def test_order_of_keys_and_numpy_numbers_do_not_change_the_hash() -> None:
    one = random_manifest(identity={"input": {"max_length": 7, "sort": "length"}})
    two = random_manifest(identity={"input": {"sort": "length", "max_length": np.int64(7)}})
    assert one.manifest_hash == two.manifest_hash


def test_a_manifest_cannot_be_changed_after_it_is_made() -> None:
    given = {"input": {"sort": ["a"]}}
    manifest = random_manifest(identity=given)
    before = manifest.manifest_hash
    given["input"]["sort"].append("b")
    assert manifest.identity["input"]["sort"] == ("a",)
    with pytest.raises(TypeError):
        manifest.identity["input"]["sort"] = 1
    with pytest.raises(AttributeError):
        manifest.recorded = {}  # type: ignore[misc]
    assert manifest.manifest_hash == before


def test_written_and_read_it_is_the_same_and_unknown_fields_stay(tmp_path: Path) -> None:
    manifest = random_manifest(identity={"adapter": {"id": "é", "merged": False}})
    whole = json.loads(manifest.to_json()) | {"from_the_future": [1]}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    again = read_manifest(path)
    assert again.manifest_hash == manifest.manifest_hash
    assert again.sites == manifest.sites
    assert again.recorded == manifest.recorded
    assert json.loads(again.to_json())["from_the_future"] == [1]


def test_sites_come_by_depth_and_keep_their_fields() -> None:
    sites = [
        Site("final_norm", depth=2, pooling="last"),
        Site("embed", depth=0, pooling="last"),
        Site("resid_post.0", depth=1, block=0, pooling="last"),
    ]
    manifest = Manifest.create(sites=[site_entry(s, (3,)) for s in sites], rows=2)
    assert manifest.sites == (sites[1], sites[2], sites[0])
    assert list(manifest.entries) == ["final_norm@last", "embed@last", "resid_post.0@last"]


def test_edges_and_names() -> None:
    assert row_edges(10, 4) == [0, 4, 8, 10]
    assert row_edges(8, 4) == [0, 4, 8]
    assert row_edges(3, 99) == [0, 3]
    assert shard_name(0, 4096) == "rows-000000000-000004096.safetensors"
    with pytest.raises(InputError, match="at least 1 row"):
        row_edges(0, 4)


def test_shards_are_about_128_mb_by_default() -> None:
    manifest = Manifest.create(sites=[entry(shape=(1024,))], rows=100_000)
    assert manifest.edges[1] * 4096 == 128 * 2**20
    assert manifest.edges[-1] == 100_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "hiddenscape-store/2"}, "newer than hiddenscape-store/1"),
        ({"schema": "zarr"}, "is not one of a hiddenscape store"),
        ({"sites": []}, "at least one site"),
        ({"sites": [entry(), entry()]}, "occurs twice"),
        ({"sites": [entry(pooling="tokens", shape=(2, 3))]}, r"a token has shape \(2, 3\)"),
        ({"sites": [entry("offsets")]}, "reserved"),
        ({"sites": [entry() | {"dtype": "int8"}]}, "dtype 'int8'"),
        ({"sites": [entry(shape=())]}, r"shape of a row is \(\)"),
        ({"sites": [entry(shape=(0,))]}, "shape of a row"),
        ({"sites": [entry() | {"key": "other"}]}, "has key 'other'"),
        ({"sites": [entry("status")]}, "reserved"),
        ({"dataset": {"rows": 0}}, "holds 1 to"),
        ({"shard_edges": [0, 3, 3, 5]}, "must rise from 0 to 5"),
        ({"shard_edges": [0, 4]}, "must rise from 0 to 5"),
        ({"model": {"id": "/home/somebody/model"}}, "identity.model.id holds the absolute path"),
        ({"model": {"id": "C:\\model"}}, "absolute path"),
        ({"x": float("nan")}, "JSON values only"),
        ({"x": object()}, "JSON values only"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    good = json.loads(canonical_json(Manifest.create(sites=[entry()], rows=5).identity))
    Manifest(good)
    with pytest.raises(InputError, match=message):
        Manifest(good | change)


def test_a_minor_version_of_the_same_schema_is_read() -> None:
    good = json.loads(canonical_json(Manifest.create(sites=[entry()], rows=5).identity))
    assert Manifest(good | {"schema": f"{SCHEMA}.1"}).rows == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not the manifest of a store"),
        ('{"identity": {}}', "not one of a hiddenscape store"),
        ('{"identity": {"schema": "hiddenscape-store/9"}}', "newer .* update hiddenscape"),
    ],
)
def test_a_file_that_is_no_manifest_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(StoreError, match=f"manifest.json: .*{message}"):
        read_manifest(path)


def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(random_manifest().to_json().replace('"random"', '"another"'))
    with pytest.raises(StoreError, match="identity fields were changed after it was written"):
        read_manifest(path)


def test_differences_are_named_with_both_values() -> None:
    one = random_manifest(identity={"input": {"batch_tokens": 1, "sort": None}})
    two = random_manifest(identity={"input": {"batch_tokens": 2}}, dtypes=["float32", "float16"])
    assert differences(one.identity, two.identity) == [
        ("input.batch_tokens", 1, 2),
        ("sites[1].dtype", "float32", "float16"),
    ]


def test_versions_are_found_without_importing() -> None:
    found = versions("numpy", "no-such-package-at-all")
    assert found["numpy"] == np.__version__
    assert found["no-such-package-at-all"] is None
    assert found["hiddenscape"]


def test_different_sites_are_told_by_the_keys_that_differ() -> None:
    both = tuple({"key": f"resid_post.{i}@mean", "depth": i} for i in range(9))
    more = ({"key": "embed@last", "depth": 0}, *both)
    ((name, stored, new),) = differences({"sites": more}, {"sites": both})
    assert name.startswith("sites[].key")
    assert (stored, new) == (("embed@last",), ())
