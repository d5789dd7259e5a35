"""Imports: every format gives the same store, and nothing that is not points gets in."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import hiddenscape
from hiddenscape.errors import InputError, ManifestMismatch, StoreError
from hiddenscape.store.importers import import_points
from hiddenscape.store.importers.depths import order_sites
from hiddenscape.store.importers.report import SiteCounter
from hiddenscape.store.importers.sources import open_file
from hiddenscape.store.reader import open_store
from hiddenscape.store.verify import verify
from hiddenscape.testing.store_suite import store_bytes


@pytest.fixture
def layers(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {f"l{i}": rng.normal(size=(11, 3 + i)).astype(np.float32) for i in (0, 2, 10)}


def same(out: Path, layers: dict[str, np.ndarray]) -> None:
    store = open_store(out)
    assert [site.name for site in store.sites] == list(layers)
    for name, array in layers.items():
        np.testing.assert_array_equal(store[name], array)
    assert verify(out, full=True).ok


def save(folder: Path, kind: str, layers: dict[str, np.ndarray]) -> tuple[Path, dict[str, Any]]:
    folder.mkdir()
    if kind == "npy":
        for name, array in layers.items():
            np.save(folder / f"{name}.npy", array)
        return folder, {"pattern": "l{block}.npy"}
    if kind == "fortran":
        for name, array in layers.items():
            np.save(folder / f"{name}.npy", np.asfortranarray(array))
        return folder, {}
    if kind in ("npz", "compressed", "npz fortran"):
        order = np.asfortranarray if kind == "npz fortran" else np.ascontiguousarray
        write = np.savez_compressed if kind == "compressed" else np.savez
        write(folder / "p.npz", **{n: order(a) for n, a in layers.items()})
        return folder / "p.npz", {}
    if kind == "safetensors":
        from safetensors.numpy import save_file

        save_file(layers, folder / "p.safetensors")
        return folder / "p.safetensors", {}
    torch = pytest.importorskip("torch")
    tensors = {n: torch.tensor(a, requires_grad=True) for n, a in layers.items()}
    torch.save(tensors, folder / "p.pt", _use_new_zipfile_serialization=kind == "pt")
    return folder / "p.pt", {}


KINDS = (
    "npy", "fortran", "npz", "compressed", "npz fortran", "safetensors", "pt", "legacy pt",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shard_rows", [None, 4])
def test_every_format_gives_the_same_points_in_numeric_order(
    tmp_path: Path, layers: dict[str, np.ndarray], kind: str, shard_rows: int | None
) -> None:
    source, options = save(tmp_path / "in", kind, layers)
    report = import_points(source, tmp_path / "out", shard_rows=shard_rows, **options)
    same(tmp_path / "out", layers)
    assert [s.depth for s in report.sites] == [0, 2, 10]
    assert report.warnings == ()
    assert len(open_store(tmp_path / "out").manifest.ranges) == (1 if shard_rows is None else 3)


def test_the_manifest_says_where_points_come_from_and_guesses_nothing(
    tmp_path: Path, layers: dict[str, np.ndarray]
) -> None:
    source, options = save(tmp_path / "in", "npy", layers)
    import_points(source, tmp_path / "out", dataset="digits", **options)
    identity = open_store(tmp_path / "out").manifest.identity
    assert identity["kind"] == "imported"
    assert identity["model"]["id"] is None
    assert identity["dataset"]["id"] == "digits"
    assert identity["dataset"]["fingerprint"] is None
    hashes = {s["name"]: s["sha256"] for s in identity["sources"]}
    for name in layers:
        body = (source / f"{name}.npy").read_bytes()
        assert hashes[f"{name}.npy"] == hashlib.sha256(body).hexdigest()
    assert str(tmp_path) not in (tmp_path / "out" / "acts" / "manifest.json").read_text()


def test_the_same_import_again_is_a_resume_and_another_is_refused(
    tmp_path: Path, layers: dict[str, np.ndarray]
) -> None:
    out = tmp_path / "out"
    import_points(layers, out, shard_rows=4)
    before = store_bytes(out)
    next((out / "acts").glob("rows-*")).unlink()
    import_points(layers, out, shard_rows=4)
    assert store_bytes(out) == before
    changed = layers | {"l0": -layers["l0"]}
    with pytest.raises(ManifestMismatch, match=r"sources\[0\].sha256"):
        import_points(changed, out, shard_rows=4)
    with pytest.raises(ManifestMismatch, match="rows_hash"):
        import_points(layers, out, shard_rows=4, labels=np.arange(11))
    import_points(changed, out, shard_rows=4, overwrite=True)
    same(out, changed)


@given(
    points=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 12), st.integers(1, 4)),
        elements=st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, -1.0, 1e-30, 2.0]),
    ),
    cut=st.integers(1, 5),
    wide=st.booleans(),
)
def test_counts_are_those_of_the_definition(points: np.ndarray, cut: int, wide: bool) -> None:
    if wide:
        points = points.astype(np.float64)
    counter = SiteCounter(points.shape[1])
    for at in range(0, len(points), cut):
        counter.add(np.ascontiguousarray(points[at : at + cut]))
    rows = [tuple(map(repr, (row + 0.0).tolist())) for row in points]
    assert counter.duplicate_rows == len(rows) - len(set(rows))
    assert counter.zero_rows == int((points == 0).all(axis=1).sum())
    assert counter.nonfinite_rows == int((~np.isfinite(points)).any(axis=1).sum())
    assert counter.constant_columns == int((points == points[0]).all(axis=0).sum())


def test_hashing_finds_exactly_the_duplicates_among_many_rows(rng: np.random.Generator) -> None:
    # Rows that differ in sign bits only are what a weak hash of words would confuse.
    points = np.where(rng.random((20_000, 24)) < 0.5, -1.0, 1.0).astype(np.float32)
    counter = SiteCounter(24)
    counter.add(points)
    assert counter.duplicate_rows == len(points) - len(np.unique(points, axis=0))


def test_the_report_says_what_deserves_a_look(tmp_path: Path) -> None:
    points = np.arange(20, dtype=np.float32).reshape(5, 4)
    points[:, 3] = 7
    points[1] = points[0]
    points[2] = np.nan
    zero = np.zeros((5, 2), np.float32)
    report = import_points({"a": points, "b": zero}, tmp_path)
    assert report.warnings == (
        "a: 1 of 5 rows hold NaN or infinity",
        "a: 1 of 5 rows repeat an earlier row exactly",
        "b: 5 of 5 rows are all zero",
        "b: 4 of 5 rows repeat an earlier row exactly",
        "b: 2 of 2 columns are constant",
    )
    np.testing.assert_array_equal(report.representations["a"], points)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("float16", "float32"),
        ("float64", "float64"),
        (">f8", "float64"),
        (">i2", "float32"),
        ("uint8", "float32"),
        ("bool", "float32"),
        ("int64", "float64"),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "npz", "memory"])
def test_no_value_changes_by_default(tmp_path: Path, dtype: str, stored: str, kind: str) -> None:
    points = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    if kind == "npy":
        np.save(tmp_path / "a.npy", points)
        report = import_points(tmp_path / "a.npy", tmp_path / "out")
    elif kind == "npz":
        np.savez(tmp_path / "a.npz", a=points)
        report = import_points(tmp_path / "a.npz", tmp_path / "out")
    else:
        report = import_points({"a": points}, tmp_path / "out")
    assert report.sites[0].stored_dtype == stored
    np.testing.assert_array_equal(report.representations["a"], points.astype(float))


def test_float64_may_be_narrowed_when_asked_but_never_to_infinity(tmp_path: Path) -> None:
    points = {"a": np.array([[0.1], [0.2]])}
    report = import_points(points, tmp_path / "1", dtype="float32")
    assert report.representations["a"].dtype == np.float32
    points["a"][1] = 1e300
    with pytest.raises(InputError, match="row 1 holds a number that float32 cannot"):
        import_points(points, tmp_path / "2", dtype="float32")
    with pytest.raises(InputError, match="auto, float32 or float64, got 'float16'"):
        import_points(points, tmp_path / "3", dtype="float16")


def test_torch_tensors_of_every_kind(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    content = [x.to(torch.bfloat16).requires_grad_(), x.half(), x.double(), x.T.contiguous().T]
    torch.save(content, tmp_path / "x.pt")
    report = import_points(tmp_path / "x.pt", tmp_path / "out")
    assert [s.key for s in report.sites] == ["layer.0", "layer.1", "layer.2", "layer.3"]
    assert [s.stored_dtype for s in report.sites] == ["float32", "float32", "float64", "float32"]
    for i, tensor in enumerate(content):
        expected = tensor.detach().to(torch.float64)
        np.testing.assert_array_equal(report.representations[f"layer.{i}"], expected.numpy())
    assert report.representations.sites[3].block == 3
    torch.save(x, tmp_path / "alone.pt")
    report = import_points(tmp_path / "alone.pt", tmp_path / "out2")
    np.testing.assert_array_equal(report.representations["alone"], x.numpy())
    torch.save({3: x, 12: x, 7: x}, tmp_path / "by_number.pt")
    report = import_points(tmp_path / "by_number.pt", tmp_path / "out3")
    assert [s.depth for s in report.sites] == [3, 7, 12]


def test_bf16_safetensors_are_widened(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    save_file({"x": x}, tmp_path / "x.safetensors")
    report = import_points(tmp_path / "x.safetensors", tmp_path / "out")
    np.testing.assert_array_equal(report.representations["x"], x.float().numpy())


class Evil:
    """Unpickling it would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_no_pickle_is_ever_opened(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    mark = tmp_path / "mark"
    evil = np.array([Evil(mark), Evil(mark)], dtype=object)
    np.save(tmp_path / "object.npy", evil, allow_pickle=True)
    np.savez(tmp_path / "object.npz", x=evil)
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Evil(mark)))
    torch.save({"x": Evil(mark)}, tmp_path / "object.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil(mark)))
    for name, words in {
        "object.npy": "pickled Python objects, which are never opened",
        "object.npz": "pickled Python objects, which are never opened",
        "pickle.npy": "a pickle, which is never opened",
        "object.pt": "pickled Python objects, which are never opened",
        "plain.pt": "other pickles are never opened",
    }.items():
        with pytest.raises(InputError, match=f"{name}: .*{words}"):
            import_points(tmp_path / name, tmp_path / "out")
    with pytest.raises(InputError, match="Python objects"):
        import_points({"x": evil}, tmp_path / "out")
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


def test_damaged_and_foreign_files_are_named_in_one_line(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    x = np.arange(5000, dtype=np.float32).reshape(50, 100)
    np.save(tmp_path / "short.npy", x)
    np.savez(tmp_path / "short.npz", x=x)
    torch.save({"x": torch.from_numpy(x)}, tmp_path / "short.pt")
    from safetensors.numpy import save_file

    save_file({"x": x}, tmp_path / "short.safetensors")
    for path in tmp_path.glob("short.*"):
        path.write_bytes(path.read_bytes()[:-2000])
    (tmp_path / "text.npy").write_text("hello, this is no array")
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "empty.npy").write_text("")
    (tmp_path / "empty.pt").write_text("")
    (tmp_path / "other.h5").write_text("")
    (tmp_path / "later.npy").write_bytes(b"\x93NUMPY\x09\x00" + b"x" * 100)
    header = b"{'descr': '<f4', 'shape': (2, 2), 'fortran_order': (" + b" " * 60 + b"\n"
    (tmp_path / "open.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    )
    torch.save({"x": torch.ones(2, 2), "epoch": 3}, tmp_path / "mixed.pt")
    torch.save(3, tmp_path / "number.pt")
    torch.save({"x": torch.eye(3).to_sparse()}, tmp_path / "sparse.pt")
    np.savez(tmp_path / "none.npz")
    names = sorted(p.name for p in tmp_path.iterdir())
    for name in [*names, "absent.npy"]:
        with pytest.raises(InputError, match=name.replace(".", r"\.")) as caught:
            import_points(tmp_path / name, tmp_path / "out")
        assert "\n" not in str(caught.value).rstrip("\n"), caught.value


def test_a_member_whose_bytes_changed_is_refused(tmp_path: Path) -> None:
    x = np.arange(50_000, dtype=np.float32).reshape(500, 100)
    np.savez(tmp_path / "x.npz", x=x)
    body = bytearray((tmp_path / "x.npz").read_bytes())
    body[100_000] ^= 1
    (tmp_path / "x.npz").write_bytes(body)
    with pytest.raises(InputError, match=r"x.npz: damaged or not what its name says .*CRC"):
        import_points(tmp_path / "x.npz", tmp_path / "out")


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"member 'readme.txt' is not an array"):
        import_points(tmp_path / "x.npz", tmp_path / "out")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"a": np.ones((4, 2)), "b": np.ones((5, 2))},
            "'b' has 5 rows but site 'a' has 4",
        ),
        ({"a": np.ones(4)}, r"shape \(4,\), expected \(n, d\): leave it out with keys"),
        ({"a": np.ones((4, 2, 2))}, r"shape \(4, 2, 2\).*flatten=True"),
        ({"a": np.ones((0, 2))}, r"shape \(0, 2\)"),
        ({"a": np.ones((4, 2), complex)}, "dtype complex128, expected real numbers"),
        ({"a": np.array([["x"]])}, "expected real numbers"),
        ({"a": np.zeros(3, "f4,f4")[:, None]}, "expected real numbers"),
        ({}, "no files to import"),
        (np.ones((4, 2)), "give arrays by name"),
        ([], "no files to import"),
    ],
)
def test_what_is_no_points_is_refused(tmp_path: Path, arrays: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_points(arrays, tmp_path / "out")


def test_maps_are_flattened_only_on_request(tmp_path: Path, rng: np.random.Generator) -> None:
    maps = rng.normal(size=(6, 2, 3, 4)).astype(np.float32)
    for kind in ("npy", "npz"):
        np.save(tmp_path / "m.npy", maps)
        np.savez(tmp_path / "m.npz", m=maps)
        out = tmp_path / f"out {kind}"
        report = import_points(tmp_path / f"m.{kind}", out, flatten=True, shard_rows=4)
        np.testing.assert_array_equal(report.representations["m"], maps.reshape(6, -1))


def test_unequal_rows_in_files_name_both(tmp_path: Path) -> None:
    np.save(tmp_path / "l0.npy", np.ones((4, 2)))
    np.save(tmp_path / "l1.npy", np.ones((5, 2)))
    with pytest.raises(InputError, match=r"l1.* has 5 rows but .*l0.* has 4 .l1.npy, l0.npy"):
        import_points(tmp_path, tmp_path / "out", pattern="l{block}.npy")


def test_patterns(tmp_path: Path) -> None:
    for name in ("enc_0_act", "enc_10_act", "enc_2_act", "other"):
        np.save(tmp_path / f"{name}.npy", np.eye(3))
    report = import_points(tmp_path, tmp_path / "1", pattern="enc_{block}_act.npy")
    assert [(s.key, s.depth) for s in report.sites] == [
        ("enc_0_act", 0), ("enc_2_act", 2), ("enc_10_act", 10),
    ]  # fmt: skip
    assert report.representations.sites[2].block == 10
    report = import_points(tmp_path, tmp_path / "2", pattern="{site}_{block}_act.npy")
    assert [s.key for s in report.sites] == ["enc.0", "enc.2", "enc.10"]
    report = import_points(tmp_path, tmp_path / "3", pattern="{site}.npy")
    assert [s.key for s in report.sites] == ["enc_0_act", "enc_2_act", "enc_10_act", "other"]
    for pattern, message in (
        ("l{block}.npy", "no file matches 'l{block}.npy', the first is 'enc_0_act.npy'"),
        ("l*.npy", "needs {block} or {site}"),
    ):
        with pytest.raises(InputError, match=message):
            import_points(tmp_path, tmp_path / "4", pattern=pattern)
    with pytest.raises(InputError, match="a pattern needs a folder"):
        import_points(tmp_path / "other.npy", tmp_path / "4", pattern="{site}.npy")
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=r"no .npy"):
        import_points(tmp_path / "bare", tmp_path / "4")


def test_keys_choose_and_clashes_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.eye(3), y=np.arange(3))
    np.savez(tmp_path / "b.npz", x=np.eye(3))
    report = import_points(tmp_path / "a.npz", tmp_path / "1", keys=["x*"])
    assert [s.key for s in report.sites] == ["x"]
    with pytest.raises(InputError, match="no site matches 'z'"):
        import_points(tmp_path / "a.npz", tmp_path / "2", keys=["z"])
    with pytest.raises(InputError, match=r"'x' occurs twice, in a.npz:x and b.npz:x"):
        import_points([tmp_path / "a.npz", tmp_path / "b.npz"], tmp_path / "2")
    with pytest.raises(InputError, match="needs a file with one array"):
        import_points({"x": tmp_path / "a.npz"}, tmp_path / "2")
    report = import_points({"one": tmp_path / "b.npz", "two": np.ones((3, 1))}, tmp_path / "3")
    assert [s.key for s in report.sites] == ["one", "two"]


@pytest.mark.parametrize(
    ("names", "in_order", "expected"),
    [
        (["resid_post.1", "embed", "final_norm", "resid_post.0"], True,
         {"embed": 0, "resid_post.0": 1, "resid_post.1": 2, "final_norm": 2}),
        (["l10", "l2"], True, {"l2": 2, "l10": 10}),
        (["in", "mid", "a"], True, {"in": 0, "mid": 1, "a": 2}),
        (["b10", "b9", "a"], False, {"a": 0, "b9": 1, "b10": 2}),
        (["s1l1", "s1l2"], False, {"s1l1": 1, "s1l2": 2}),
        (["s1l1", "s2l2"], False, {"s1l1": 0, "s2l2": 1}),
    ],
)  # fmt: skip
def test_depths(names: list[str], in_order: bool, expected: dict[str, float]) -> None:
    sites = order_sites(names, [None] * len(names), None, in_order)
    assert {site.name: site.depth for site, _ in sites} == expected
    assert [site.name for site, _ in sites] == list(expected)
    assert [names[place] for _, place in sites] == list(expected)


def test_depths_can_be_given(tmp_path: Path) -> None:
    points = {"a@mean": np.eye(3), "b": np.eye(3)}
    report = import_points(points, tmp_path / "1", depths=[4, 2.5])
    assert [(s.key, s.depth) for s in report.sites] == [("b", 2.5), ("a@mean", 4)]
    report = import_points(points, tmp_path / "2", depths={"a": 1, "b": 7})
    assert [(s.key, s.depth) for s in report.sites] == [("a@mean", 1), ("b", 7)]
    with pytest.raises(InputError, match="depths say nothing of site 'b'"):
        import_points(points, tmp_path / "3", depths={"a": 1})
    with pytest.raises(InputError, match="1 depths for 2 sites"):
        import_points(points, tmp_path / "3", depths=[1])


def test_labels_from_everywhere(tmp_path: Path) -> None:
    points = {"a": np.eye(4)}
    (tmp_path / "l.csv").write_text(
        "id,digit,text,status\nw,3,hello,ok\nx,1,b,ok\ny,3,,ok\nz,2,,ok\n"
    )
    np.save(tmp_path / "digit.npy", np.array([3, 1, 3, 2], dtype=np.uint8))
    by_csv = import_points(points, tmp_path / "1", labels=tmp_path / "l.csv").representations
    assert by_csv.ids.tolist() == ["w", "x", "y", "z"]
    assert by_csv.rows["text"].tolist() == ["hello", "b", "", ""]
    by_npy = import_points(points, tmp_path / "2", labels=tmp_path / "digit.npy").representations
    by_dict = import_points(
        points, tmp_path / "3", labels={"digit": [3, 1, 3, 2]}, ids=list("wxyz")
    )
    for store in (by_csv, by_npy, by_dict.representations):
        assert list(store.labels) == ["digit"]
        assert store.labels["digit"].tolist() == [3, 1, 3, 2]
    assert by_dict.representations.ids.tolist() == ["w", "x", "y", "z"]
    alone = import_points(points, tmp_path / "4", labels=["u", "v", "u", "v"]).representations
    assert alone.labels["label"].tolist() == ["u", "v", "u", "v"]


def test_labels_of_another_length_or_order_are_refused(tmp_path: Path) -> None:
    points = {"a": np.eye(4)}
    (tmp_path / "l.csv").write_text("row,digit\n1,3\n0,1\n2,2\n3,3\n")
    (tmp_path / "s.csv").write_text("digit\n1\n2\n")
    np.save(tmp_path / "two.npy", np.eye(4))
    for labels, message in (
        (tmp_path / "s.csv", "s.csv: column 'digit' has 2 rows, the points have 4"),
        (tmp_path / "l.csv", "l.csv: column 'row' must count 0 to 3"),
        ({"x": [1]}, "labels: column 'x' has 1 rows"),
        (tmp_path / "two.npy", r"labels have shape \(4, 4\)"),
    ):
        with pytest.raises(InputError, match=message):
            import_points(points, tmp_path / "out", labels=labels)
    with pytest.raises(InputError, match="ids: column 'id' has 1 rows"):
        import_points(points, tmp_path / "out", ids=[1])
    with pytest.raises(StoreError, match=r"absent.csv: cannot be read"):
        import_points(points, tmp_path / "out", labels=tmp_path / "absent.csv")
    assert not (tmp_path / "out").exists()


def test_a_member_can_be_read_again_and_backwards(tmp_path: Path) -> None:
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    np.savez(tmp_path / "x.npz", x=x, f=np.asfortranarray(x))
    for source in open_file(tmp_path / "x.npz").sources:
        for start, stop in ((6, 8), (2, 4), (2, 10), (0, 1), (0, 10)):
            np.testing.assert_array_equal(source.read(start, stop), x[start:stop])


def test_points_are_streamed(tmp_path: Path) -> None:
    """90 MB in an archive are imported within a far smaller allowance."""
    arrays = {f"l{i}": np.full((15_000, 500), i, np.float32) for i in range(3)}
    np.savez(tmp_path / "x.npz", **arrays)
    del arrays
    code = (
        "import resource, sys\n"
        "from hiddenscape import import_points\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"import_points({str(tmp_path / 'x.npz')!r}, {str(tmp_path / 'out')!r}, shard_rows=500)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    source = str(Path(hiddenscape.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": source},
    )
    assert int(done.stdout) < 45_000  # kB; the arrays are 90,000
