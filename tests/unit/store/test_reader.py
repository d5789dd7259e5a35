"""Reading: the same numbers whatever the shards, the order, the dtype or the index."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hiddenscape
from hiddenscape.errors import IncompleteStore, InputError, ShardError, SiteError, StoreError
from hiddenscape.store.manifest import Manifest, shard_name, site_entry
from hiddenscape.store.reader import RepresentationSet, SiteArray, open_store
from hiddenscape.store.shards import decode
from hiddenscape.store.writer import StoreWriter
from hiddenscape.testing.store_suite import random_manifest, random_shard, random_store
from hiddenscape.types import Site

DTYPES = ("float32", "float64", "float16", "bfloat16")


def truth(store: RepresentationSet, key: str) -> np.ndarray:
    words = random_shard(store.manifest, 0, len(store))[key]
    return decode(words, "BF16" if words.dtype == np.uint16 else "F32")


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, Any]:
    rows = draw(st.integers(1, 17))
    sites = draw(st.integers(1, 3))
    tails = st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple)
    return {
        "rows": rows,
        "shard_rows": draw(st.integers(1, 20)),
        "shapes": [draw(tails) for _ in range(sites)],
        "dtypes": [draw(st.sampled_from(DTYPES)) for _ in range(sites)],
    }


@given(layout=layouts(), data=st.data())
def test_any_layout_and_any_index_read_as_one_array(
    tmp_path_factory: pytest.TempPathFactory, layout: dict[str, Any], data: st.DataObject
) -> None:
    store = random_store(tmp_path_factory.mktemp("run"), random_manifest(**layout))
    n = len(store)
    assert n == layout["rows"]
    rows = st.integers(-n, n - 1)
    index: Any = data.draw(
        st.one_of(
            rows,
            st.slices(n),
            st.lists(rows, max_size=2 * n).map(lambda x: np.array(x, dtype=np.int64)),
            st.lists(rows, min_size=4, max_size=4).map(lambda x: np.array(x).reshape(2, 2)),
            st.lists(st.booleans(), min_size=n, max_size=n).map(lambda x: np.array(x, bool)),
        )
    )
    block = data.draw(st.integers(1, 2 * n))
    for site, points in store.items():
        expected = truth(store, site.key)
        assert points.shape == expected.shape
        assert points.dtype == expected.dtype
        found = points[index]
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected[index])
        np.testing.assert_array_equal(np.asarray(points), expected)
        np.testing.assert_array_equal(np.concatenate(list(points.blocks(block))), expected)
        assert max(len(b) for b in points.blocks(block)) <= block


@pytest.fixture
def store(tmp_path: Path) -> RepresentationSet:
    return random_store(tmp_path / "run")


@pytest.fixture
def points(store: RepresentationSet) -> SiteArray:
    return store["resid_post.1"]


def test_a_slice_inside_a_shard_is_not_copied_and_everything_is_read_only(
    points: SiteArray,
) -> None:
    inside, across = points[7:11], points[3:9]
    assert np.shares_memory(inside, points[6:12])
    assert not np.shares_memory(across, points[3:9])
    for found in (inside, across, points[[1, 2]], points[3], points[:, 0], np.asarray(points[0:2])):
        assert not found.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        inside[0, 0] = 1


def test_columns_can_be_picked_after_rows(store: RepresentationSet, points: SiteArray) -> None:
    whole = truth(store, "resid_post.1@mean")
    np.testing.assert_array_equal(points[2:9, 1:3], whole[2:9, 1:3])
    np.testing.assert_array_equal(points[4, -1], whole[4, -1])
    np.testing.assert_array_equal(points[[5, 1], ::2], whole[[5, 1], ::2])
    np.testing.assert_array_equal(points[..., 0], whole[..., 0])
    np.testing.assert_array_equal(points[...], whole)
    np.testing.assert_array_equal(points[()], whole)
    with pytest.raises(InputError, match="take the rows first"):
        points[[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (20, "row 20 is outside 0 to 19"),
        (-21, "row -21 is outside"),
        ([0, 99], "row 99 is outside"),
        (np.ones(3, bool), r"a mask needs shape \(20,\)"),
        ([0.5], "whole numbers"),
        (None, "whole numbers"),
        ("a", "whole numbers"),
    ],
)
def test_a_wrong_index_is_refused(points: SiteArray, index: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        points[index]


def test_a_row_outside_is_an_index_error_too(points: SiteArray) -> None:
    with pytest.raises(IndexError):
        points[20]
    assert sum(1 for _ in points) == 20


def test_arrays_follow_numpy_on_copy_and_dtype(tmp_path: Path) -> None:
    one = random_store(tmp_path / "one", random_manifest(shard_rows=20))["resid_post.0"]
    many = random_store(tmp_path / "many")["resid_post.0"]
    assert np.shares_memory(np.asarray(one), one[:])
    assert not np.asarray(one).flags.writeable
    assert np.array(one).flags.writeable
    assert np.array(many).flags.writeable
    assert np.asarray(many, dtype=np.float64).dtype == np.float64
    assert np.shares_memory(one.__array__(copy=False), one[:])
    for array, dtype in ((many, None), (one, np.float64)):
        with pytest.raises(ValueError, match="without a copy"):
            array.__array__(dtype, copy=False)
    np.testing.assert_array_equal(np.mean(many, axis=0), np.mean(np.asarray(many), axis=0))


def test_sites_are_found_by_key_or_by_name_where_that_is_unique(tmp_path: Path) -> None:
    sites = [
        Site("resid_post.10", depth=11, block=10, pooling="mean"),
        Site("resid_post.2", depth=3, block=2, pooling="mean"),
        Site("resid_post.2", depth=3, block=2, pooling="last"),
    ]
    manifest = Manifest.create(sites=[site_entry(s, (2,)) for s in sites], rows=3)
    store = random_store(tmp_path, manifest)
    assert store.keys == ("resid_post.2@mean", "resid_post.2@last", "resid_post.10@mean")
    assert store["resid_post.10"].site == sites[0]
    assert store[sites[2]].site == sites[2]
    assert "resid_post.2@last" in store
    with pytest.raises(SiteError, match=r"several poolings.*@mean.*@last"):
        store["resid_post.2"]
    with pytest.raises(SiteError, match=r"no site 'resid_post.1' .*did you mean.*resid_post.10"):
        store["resid_post.1"]
    with pytest.raises(LookupError, match="did you mean"):
        store["embed@mean"]
    with pytest.raises(InputError, match="rows are picked in a site"):
        store[0]  # type: ignore[index]
    with pytest.raises(TypeError):
        iter(store)  # type: ignore[call-overload]


def test_rows_ids_and_labels_are_typed(store: RepresentationSet) -> None:
    assert list(store.ids[:3]) == ["r0", "r1", "r2"]
    assert set(store.labels) == {"label", "group"}
    assert store.labels["label"].dtype == np.int64
    assert list(store.labels["group"][:3]) == ["g0", "g1", "g0"]
    assert store.rows["text"][19] == 'row 19, "quoted"\nsecond line'
    assert list(store.rows) == ["row", "id", "label", "group", "text", "status"]
    assert store.run_path == store.path.parent
    assert not store.labels["label"].flags.writeable
    assert not store.ids.flags.writeable


def test_without_a_row_table_rows_are_numbers(store: RepresentationSet) -> None:
    (store.run_path / "rows.csv").unlink()
    again = open_store(store.path)
    assert list(again.ids[:3]) == [0, 1, 2]
    assert again.labels == {}


def test_moved_or_missing_rows_are_refused(store: RepresentationSet) -> None:
    path = store.run_path / "rows.csv"
    path.write_text("row,id\n" + "".join(f"{19 - i},x\n" for i in range(20)))
    with pytest.raises(StoreError, match="rows never move"):
        open_store(store.path).ids
    path.write_text("row,id\n0,x\n")
    with pytest.raises(StoreError, match=r"rows.csv: 1 rows, but the store has 20"):
        open_store(store.path).labels


def test_row_tensors(tmp_path: Path) -> None:
    manifest = random_manifest(rows=5, shard_rows=2)
    writer = StoreWriter(tmp_path / "acts", manifest)
    for start, stop in writer.missing():
        extra = {
            "status": np.arange(start, stop) % 4,
            "n_tokens": np.arange(start, stop) * 2,
            "n_content": np.arange(start, stop),
        }
        writer.commit(start, stop, random_shard(manifest, start, stop) | extra)
    store = writer.finish()
    assert store.status.tolist() == [0, 1, 2, 3, 0]
    assert store.n_tokens.tolist() == [0, 2, 4, 6, 8]
    assert store.n_content.tolist() == [0, 1, 2, 3, 4]


def test_an_unfinished_store_opens_only_when_asked_and_never_invents_rows(
    store: RepresentationSet,
) -> None:
    whole = truth(store, "resid_post.0@mean")
    (store.path / shard_name(6, 12)).unlink()
    (store.path / shard_name(12, 18)).unlink()
    with pytest.raises(IncompleteStore, match="rows 6 to 17 of 20 are missing") as caught:
        open_store(store.path)
    assert caught.value.missing == ((6, 12), (12, 18))
    part = open_store(store.path, partial=True)
    assert part.partial
    assert part.missing == ((6, 12), (12, 18))
    assert len(part) == 20
    points = part["resid_post.0"]
    np.testing.assert_array_equal(points[1:6], whole[1:6])
    np.testing.assert_array_equal(points[[19, 0, -1]], whole[[19, 0, -1]])
    for index in (slice(4, 8), slice(None), 7, [0, 12], slice(6, 12), slice(17, 19)):
        with pytest.raises(IncompleteStore, match="not written yet"):
            points[index]
    assert part.status.tolist() == [0] * 6 + [255] * 12 + [0] * 2
    for name in (shard_name(0, 6), shard_name(18, 20)):
        (store.path / name).unlink()
    with pytest.raises(IncompleteStore, match="rows 0 to 5 are not"):
        open_store(store.path, partial=True)["resid_post.0"][3]
    with pytest.raises(IncompleteStore, match="rows 0 to 5 are not"):
        open_store(store.path, partial=True)["resid_post.0"][[3]]


def test_rows_that_are_not_finite_are_found_in_the_union_of_sites(tmp_path: Path) -> None:
    manifest = random_manifest(rows=9, shard_rows=4)
    writer = StoreWriter(tmp_path / "acts", manifest)
    for start, stop in writer.missing():
        tensors = random_shard(manifest, start, stop)
        for row, key in ((2, "resid_post.0@mean"), (5, "resid_post.1@mean")):
            if start <= row < stop:
                tensors[key][row - start, 1] = np.nan if row == 2 else -np.inf
        writer.commit(start, stop, tensors)
    store = writer.finish()
    assert {k: v.tolist() for k, v in store.nonfinite_rows().items()} == {
        "resid_post.0@mean": [2],
        "resid_post.1@mean": [5],
    }
    assert np.flatnonzero(~store.finite_rows()).tolist() == [2, 5]


def test_content_hash_follows_the_content(tmp_path: Path) -> None:
    one, two = random_store(tmp_path / "1"), random_store(tmp_path / "2")
    other = random_store(tmp_path / "3", seed=1)
    assert one["resid_post.0"].content_hash == two["resid_post.0"].content_hash
    assert one["resid_post.0"].content_hash != one["resid_post.1"].content_hash
    assert one["resid_post.0"].content_hash != other["resid_post.0"].content_hash


def test_a_store_opens_by_run_or_by_folder_and_may_be_moved(
    tmp_path: Path, store: RepresentationSet
) -> None:
    moved = tmp_path / "elsewhere"
    store.run_path.rename(moved)
    for path in (moved, moved / "acts", str(moved)):
        np.testing.assert_array_equal(open_store(path)["resid_post.0"], truth(store, store.keys[0]))


def test_what_is_no_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="absent: no such folder"):
        open_store(tmp_path / "absent")
    with pytest.raises(StoreError, match="no store here"):
        open_store(tmp_path)


def test_a_truncated_shard_is_named_on_opening(store: RepresentationSet) -> None:
    path = store.path / shard_name(12, 18)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ShardError, match=r"rows-000000012-000000018.safetensors: truncated"):
        open_store(store.path)


def test_a_site_array_travels_to_another_process_by_name(points: SiteArray) -> None:
    words = pickle.dumps(points)
    assert len(words) < 20_000
    np.testing.assert_array_equal(pickle.loads(words)[3:9], points[3:9])  # noqa: S301


def test_blocks_need_rows(points: SiteArray) -> None:
    with pytest.raises(InputError, match="at least 1 row"):
        next(points.blocks(0))
    assert [len(b) for b in points.blocks()] == [20]


def test_opening_and_reading_need_neither_torch_nor_the_safetensors_package(
    store: RepresentationSet,
) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'safetensors', 'pandas', 'scipy'): sys.modules[name] = None\n"
        "from hiddenscape import open_store\n"
        f"print(open_store({str(store.path)!r})['resid_post.0'][:].sum())\n"
    )
    source = str(Path(hiddenscape.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(truth(store, store.keys[0]).sum(), rel=1e-5)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see memory")
def test_released_pages_leave_the_process_and_are_read_again(tmp_path: Path) -> None:
    def mapped_kib() -> int:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))

    points = np.random.default_rng(0).normal(size=(4096, 1024)).astype(np.float32)
    hiddenscape.import_points({"a": points}, tmp_path / "run")
    rs = open_store(tmp_path / "run")
    held = rs["a"][:]
    assert held.sum() == points.sum()
    before = mapped_kib()
    rs.release()
    assert before - mapped_kib() > 12 * 1024
    np.testing.assert_array_equal(held, points)
