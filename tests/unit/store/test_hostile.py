"""Files made by somebody with bad intentions, or by a bad disk: named, bounded, never followed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from hiddenscape.cli.app import group
from hiddenscape.cli.exits import guarded
from hiddenscape.errors import InputError, ShardError, StoreError
from hiddenscape.runs import read_json
from hiddenscape.store.canonical import canonical_json
from hiddenscape.store.manifest import Manifest, read_manifest, shard_name
from hiddenscape.store.reader import open_store
from hiddenscape.store.shards import read_header
from hiddenscape.store.verify import verify
from hiddenscape.store.writer import StoreWriter
from hiddenscape.testing.store_suite import random_manifest, random_shard, random_store


@pytest.fixture
def run(tmp_path: Path) -> Path:
    manifest = random_manifest(rows=7, shard_rows=3, shapes=((2,),), tokens=(2,))
    return random_store(tmp_path / "run", manifest).run_path


# --- flipped bits -----------------------------------------------------------------------------


def classes(path: Path) -> dict[str, range]:
    """Which bytes of a shard are what."""
    header = read_header(path)
    body = path.read_bytes()
    length = int.from_bytes(body[:8], "little")
    text = body[8 : 8 + length]
    padding = len(text) - len(text.rstrip(b" "))
    found = {"length": range(8), "padding": range(8 + length - padding, 8 + length)}
    at = 8 + text.index(b"{", 1)
    end = 8 + text.index(b"}") + 1
    found |= {"metadata": range(at, end), "names": range(end, 8 + length - padding)}
    found |= {name: range(e.start, e.stop) for name, e in header.tensors.items()}
    return found


def found_and_named(run: Path, victim: Path, at: int, bit: int) -> bool:
    good = victim.read_bytes()
    body = bytearray(good)
    body[at] ^= 1 << bit
    victim.write_bytes(body)
    report = verify(run, full=True)
    victim.write_bytes(good)
    named = [f.file for f in report.findings if f.serious]
    return not report.ok and named[0] == f"acts/{victim.name}"


def test_a_flipped_bit_in_every_class_of_bytes_is_found_and_named(run: Path) -> None:
    victim = run / "acts" / shard_name(3, 6)
    kinds = classes(victim)
    assert {"padding", "metadata", "offsets", "token_id", "token_pos", "row"} <= set(kinds)
    assert sum(len(r) for r in kinds.values()) >= victim.stat().st_size - 40
    rng = np.random.default_rng(0)
    for name, places in kinds.items():
        for at in {places[0], places[-1], *rng.choice(places, 4).tolist()} if places else ():
            assert found_and_named(run, victim, int(at), int(rng.integers(8))), (name, at)


@pytest.mark.slow
def test_every_single_bit_of_a_shard_is_found_and_named(run: Path) -> None:
    victim = run / "acts" / shard_name(3, 6)
    for at in range(victim.stat().st_size):
        for bit in range(8):
            assert found_and_named(run, victim, at, bit), (at, bit)


def test_every_damaged_file_is_named(run: Path) -> None:
    victims = [run / "acts" / shard_name(0, 3), run / "acts" / shard_name(6, 7)]
    for victim in victims:
        body = bytearray(victim.read_bytes())
        body[-1] ^= 4
        victim.write_bytes(body)
    (run / "rows.csv").write_text((run / "rows.csv").read_text().replace("1,", "9,", 1))
    report = verify(run, full=True)
    named = {f.file for f in report.findings if f.serious}
    assert named >= {f"acts/{v.name}" for v in victims} | {"run/rows.csv"}
    assert report.shards == 1
    assert verify(run).shards == 3, "without --full no value is read"


def test_strict_ends_with_3_at_remarks_and_damage_with_1(run: Path) -> None:
    assert CliRunner().invoke(group, ["verify", str(run)]).exit_code == 0
    assert guarded(group, ["verify", str(run), "--strict", "--full"]) == 0
    (run / "acts" / ".tmp-other-1-ff").write_bytes(b"")
    assert guarded(group, ["verify", str(run)]) == 0
    assert guarded(group, ["verify", str(run), "--strict"]) == 3
    victim = run / "acts" / shard_name(0, 3)
    victim.write_bytes(victim.read_bytes()[:-1])
    assert guarded(group, ["verify", str(run), "--strict"]) == 1


# --- manifests --------------------------------------------------------------------------------


def edited(path: Path, change: Any) -> None:
    """A manifest with other identity fields and an honest hash."""
    whole = json.loads(path.read_text())
    change(whole["identity"])
    import hashlib

    text = canonical_json(whole["identity"]).encode()
    whole["manifest_hash"] = hashlib.blake2b(text, digest_size=32).hexdigest()
    path.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("path", "../../etc/passwd"),
        ("path", "a/../b"),
        ("path", "..\\x"),
        ("path", "/etc/passwd"),
        ("path", "C:\\x"),
        ("path", "a\x00b"),
        ("sources", [{"name": "../x.npy", "sha256": "0"}]),
        ("sources", [{"name": "/abs/x.npy", "sha256": "0"}]),
        ("origins", {"a": "x/../../y.npz:z"}),
    ],
)
def test_no_name_in_a_manifest_leads_out(run: Path, field: str, value: Any) -> None:
    path = run / "acts" / "manifest.json"

    def change(identity: dict[str, Any]) -> None:
        if field == "path":
            identity["sites"][0]["path"] = value
        else:
            identity[field] = value

    edited(path, change)
    with pytest.raises(StoreError, match=r"manifest.json: .*(leads out|absolute path)"):
        open_store(run)
    assert not verify(run).ok
    good = json.loads(canonical_json(random_manifest().identity))
    change(good)
    with pytest.raises(InputError):
        Manifest(good)


def test_names_with_control_characters_are_refused() -> None:
    with pytest.raises(InputError, match="control characters"):
        random_manifest(shapes={"a\nb": (2,)})


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i.update(sites="x"),
        lambda i: i.update(sites=[1]),
        lambda i: i.update(sites=[{}]),
        lambda i: i.update(shard_edges=[]),
        lambda i: i.update(shard_edges="0"),
        lambda i: i.update(shard_edges=[0, None]),
        lambda i: i.update(dataset=[]),
        lambda i: i["dataset"].update(rows="7"),
        lambda i: i["dataset"].update(rows=True),
        lambda i: i["sites"][0].update(shape="ab"),
        lambda i: i["sites"][0].update(shape=[2**70]),
        lambda i: i["sites"][0].update(depth="deep"),
        lambda i: i["sites"][0].update(dtype=[]),
        lambda i: i["sites"][0].update(site=7),
        lambda i: i.update(sources=[7]),
        lambda i: i.update(origins=[7]),
        lambda i: i.update(schema=7),
    ],
)
def test_a_manifest_of_the_wrong_shape_is_an_error_that_names_it(run: Path, change: Any) -> None:
    edited(run / "acts" / "manifest.json", change)
    with pytest.raises(StoreError):
        open_store(run)
    report = verify(run, full=True)
    assert not report.ok
    with pytest.raises(StoreError):
        StoreWriter(run / "acts", random_manifest(rows=7))


def test_deep_and_huge_json_is_bounded(tmp_path: Path, run: Path) -> None:
    path = run / "acts" / "manifest.json"
    good = path.read_text()
    for depth in (400, 900, 5_000, 100_000):
        whole = json.loads(good)
        deep = "[" * depth + "]" * depth
        text = json.dumps(whole).replace('"recorded": {', f'"recorded": {{"x": {deep}, ', 1)
        path.write_text(text)
        try:
            open_store(run)  # shallow enough is fine
        except StoreError as error:
            assert "manifest.json" in str(error)  # noqa: PT017
    with path.open("wb") as stream:
        stream.truncate(300 * 2**20)  # sparse
    with pytest.raises(StoreError, match="over the limit for a manifest"):
        read_manifest(path)
    (tmp_path / "measure.json").write_text("[" * 100_000)
    with pytest.raises(StoreError, match=r"cannot read .*measure.json"):
        read_json(tmp_path / "measure.json")


def test_a_header_that_claims_to_be_huge_is_not_read(run: Path) -> None:
    victim = run / "acts" / shard_name(0, 3)
    with victim.open("r+b") as stream:
        stream.write((2**40).to_bytes(8, "little"))
    with pytest.raises(ShardError, match="truncated"):
        open_store(run)
    with victim.open("wb") as stream:
        stream.write((200 * 2**20).to_bytes(8, "little"))
        stream.truncate(201 * 2**20)
    with pytest.raises(ShardError, match="over the limit"):
        open_store(run)


# --- links ------------------------------------------------------------------------------------


def test_links_are_read_but_never_written_through(tmp_path: Path, run: Path) -> None:
    """Stores lie on scratch disks and in annexes: reading follows links, writing replaces them."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    manifest = open_store(run).manifest
    shard = run / "acts" / shard_name(3, 6)
    target = elsewhere / "precious"
    shard.rename(target)
    shard.symlink_to(target)
    whole = open_store(run)["resid_post.0@mean"]
    np.testing.assert_array_equal(whole[3:6], random_shard(manifest, 3, 6)["resid_post.0@mean"])
    before = target.read_bytes()
    body = bytearray(before)
    body[-1] ^= 1
    target.write_bytes(body)
    report = verify(run, full=True, repair=True)
    assert "moved aside" in report.findings[0].problem
    assert target.read_bytes() == bytes(body), "the link was moved, not what it leads to"
    shard.symlink_to(target)
    writer = StoreWriter(run / "acts", manifest)
    writer.commit(3, 6, random_shard(manifest, 3, 6))
    assert target.read_bytes() == bytes(body)
    assert not shard.is_symlink()
    (run / "acts" / shard_name(0, 3)).unlink()
    (run / "acts" / shard_name(0, 3)).symlink_to(target)
    StoreWriter(run / "acts", manifest, overwrite=True)
    assert target.read_bytes() == bytes(body)


def test_a_run_whose_store_is_a_link_is_read(tmp_path: Path, run: Path) -> None:
    (run / "acts").rename(tmp_path / "scratch")
    (run / "acts").symlink_to(tmp_path / "scratch")
    store = open_store(run)
    assert len(store) == 7
    assert store.ids[0] == "r0"
    assert verify(run, full=True).ok
