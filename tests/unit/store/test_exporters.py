"""Exports: what comes back is what was stored, bit for bit; nothing is half-written or replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape import files
from hiddenscape.errors import DiskFullError, InputError, MissingDependency, SiteError
from hiddenscape.store import optional
from hiddenscape.store.exporters import FORMATS
from hiddenscape.store.reader import open_store
from hiddenscape.store.writer import StoreWriter
from hiddenscape.testing.store_suite import random_manifest, random_shard, random_store

for _name in ("h5py", "zarr", "anndata", "xarray", "pyarrow"):
    pytest.importorskip(_name)

POINTS = {"npy": "", "npz": "points.npz", "safetensors": "points.safetensors", "csv": "",
          "h5": "points.h5", "zarr": "points.zarr", "anndata": "points.h5ad"}  # fmt: skip
RAGGED = ("npy", "npz", "safetensors", "h5", "zarr")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two sites of float32 and one of float64, with NaN, infinity, zeros and a row of them."""
    shapes = {"resid_post.0": (3,), "resid_post.1": (5,), "final_norm": (4,)}
    manifest = random_manifest(
        rows=23, shard_rows=6, shapes=shapes, dtypes=["float32", "float32", "float64"]
    )
    odd = random_store(tmp_path / "odd", manifest)
    writer = StoreWriter(tmp_path / "run" / "acts", manifest)
    for start, stop in writer.missing():
        tensors = random_shard(manifest, start, stop)
        for key in tensors:
            tensors[key][0, 0] = np.nan
            tensors[key][1, :2] = [np.inf, -0.0]
            tensors[key][2] = 0
            tensors[key][3, 0] = np.finfo(tensors[key].dtype).smallest_subnormal
        writer.commit(start, stop, tensors)
    (tmp_path / "run" / "rows.csv").write_bytes((odd.run_path / "rows.csv").read_bytes())
    return tmp_path / "run"


def sites_of(out: Path, kind: str, names: dict[str, str]) -> Any:
    if kind in ("npy", "csv"):
        return {key: out / place for key, place in names.items()}
    return out / POINTS[kind]


@pytest.mark.parametrize("rows", [None, "5:17,2,-1"])
@pytest.mark.parametrize("kind", POINTS)
def test_out_and_in_again_gives_equal_bytes(
    tmp_path: Path, run: Path, kind: str, rows: str | None
) -> None:
    out = hs.export_points(run, tmp_path / "out", format=kind, rows=rows)
    store = open_store(run)
    picked = np.r_[5:17, 2, 22] if rows else np.arange(23)
    record = json.loads((out / "provenance.json").read_text())
    names = {a["name"]: a["place"] for a in record["arrays"]}
    assert list(names) == list(store.keys)
    back = tmp_path / "back"
    for key in store.keys:
        # Text says nothing of the dtype: it is given, as the provenance says it.
        dtype = store[key].dtype.name
        hs.import_points(
            sites_of(out, kind, {key: names[key]}),
            back / key,
            keys=[key],
            labels=out / "rows.csv",
            dtype=dtype if kind == "csv" else "auto",
        )
        again = open_store(back / key)
        assert again[key].dtype == store[key].dtype
        assert again[key][:].tobytes() == store[key][picked].tobytes()
        assert again.ids.tolist() == store.ids[picked].tolist()
        for name, values in store.labels.items():
            assert again.labels[name].tolist() == values[picked].tolist()
            assert again.labels[name].dtype == values.dtype
        assert again.rows["text"].tolist() == store.rows["text"][picked].tolist()
    if rows:
        assert again.labels["source_row"].tolist() == picked.tolist()
        assert record["rows_of_source"] == [[5, 17], [2, 3], [22, 23]]
    else:
        assert (out / "rows.csv").read_bytes() == (run / "rows.csv").read_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_says_where_its_points_come_from(tmp_path: Path, run: Path, kind: str) -> None:
    out = hs.export_points(run, tmp_path / "out", format=kind, sites=["resid_post.*"])
    record = json.loads((out / "provenance.json").read_text())
    assert record["schema"] == "hiddenscape-export/1"
    assert record["format"] == kind
    assert record["rows"] == 23
    (store,) = record["stores"]
    assert store["manifest_hash"] == open_store(run).manifest.manifest_hash
    assert store["identity"]["model"]["id"] == "random"
    assert [(a["site"], a["depth"], a["dtype"], a["shape"]) for a in record["arrays"]] == [
        ("resid_post.0", 1.0, "float32", [23, 3]),
        ("resid_post.1", 2.0, "float32", [23, 5]),
    ]
    assert str(tmp_path) not in (out / "provenance.json").read_text()
    for array in record["arrays"]:
        assert (out / array["place"].partition(":")[0]).exists()
    assert (out / "rows.csv").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".tmp")] == []


def test_formats_that_are_not_imported_hold_the_same(tmp_path: Path, run: Path) -> None:
    import pyarrow.parquet
    import xarray

    store = open_store(run)
    out = hs.export_points(run, tmp_path / "p", format="parquet", rows="1:20")
    table = pyarrow.parquet.read_table(out / "points.parquet")
    for key in store.keys:
        column = table[key].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        np.testing.assert_array_equal(column.reshape(19, -1), store[key][1:20])
    assert table["rows.id"].to_pylist() == store.ids[1:20].tolist()
    out = hs.export_points(run, tmp_path / "x", format="xarray")
    name = "points.nc" if (out / "points.nc").exists() else "points.zarr"
    opener = xarray.open_dataset if name == "points.nc" else xarray.open_zarr
    options = {} if name == "points.nc" else {"consolidated": False}
    data = opener(out / name, **options)  # type: ignore[operator]
    for key in store.keys:
        np.testing.assert_array_equal(data[key].values, store[key])
        assert data[key].dtype == store[key].dtype
    assert data["id"].values.tolist() == store.ids.tolist()
    out = hs.export_points(run, tmp_path / "t", format="projector")
    vectors = np.loadtxt(out / "final_norm@mean.tsv", delimiter="\t")
    np.testing.assert_array_equal(vectors, store["final_norm"])
    lines = (out / "metadata.tsv").read_text().splitlines()
    assert len(lines) == 24
    assert lines[0].split("\t")[:2] == ["row", "id"]
    assert 'row 0, "quoted" second line' in lines[1]


def test_in_memory_for_other_libraries(run: Path) -> None:
    store = open_store(run)
    data = hs.to_anndata(run, rows="0:10")
    assert data.n_obs == 10
    assert list(data.obs_names[:2]) == ["r0", "r1"]
    np.testing.assert_array_equal(data.obsm["resid_post.1@mean"], store["resid_post.1"][:10])
    cube = hs.to_xarray(run, sites=["final_norm"])
    np.testing.assert_array_equal(cube["final_norm@mean"].values, store["final_norm"])
    assert cube["label"].values.tolist() == store.labels["label"].tolist()


@pytest.fixture
def ragged(tmp_path: Path) -> Path:
    manifest = random_manifest(
        rows=11, shard_rows=4, shapes={"a": (2,)}, tokens=(3, 2), tokens_dtype="bfloat16"
    )
    return random_store(tmp_path / "ragged", manifest).run_path


def flat_of(out: Path, kind: str, name: str) -> np.ndarray:
    if kind == "npy":
        inner = "" if "@" in name else "tokens"
        return np.load(out / inner / f"{name}.npy")
    if kind == "npz":
        return np.load(out / "points.npz")[name]
    if kind == "h5":
        import h5py

        with h5py.File(out / "points.h5") as file:
            return file[name][:]
    if kind == "zarr":
        import zarr

        return zarr.open_group(str(out / "points.zarr"), mode="r")[name][:]
    from safetensors.torch import load_file

    tensor = load_file(out / "points.safetensors")[name]
    if "tokens" in name:
        assert str(tensor.dtype) == "torch.bfloat16"
        tensor = tensor.float()
    return tensor.numpy()


@pytest.mark.parametrize("rows", [None, [7, 1, 2, 10]])
@pytest.mark.parametrize("kind", RAGGED)
def test_ragged_sites_are_written_flat_with_their_offsets(
    tmp_path: Path, ragged: Path, kind: str, rows: list[int] | None
) -> None:
    pytest.importorskip("torch")
    out = hs.export_points(ragged, tmp_path / "out", format=kind, rows=rows)
    store = open_store(ragged)
    offsets = flat_of(out, kind, "offsets")
    ids = flat_of(out, kind, "token_id")
    for key in ("resid_post.0@tokens", "resid_post.1@tokens"):
        flat = flat_of(out, kind, key)
        array = store[key]
        for i, row in enumerate(rows or range(11)):
            a, b = offsets[i : i + 2]
            np.testing.assert_array_equal(flat[a:b], array[row])
            first, last = array.offsets[row : row + 2]  # type: ignore[union-attr]
            np.testing.assert_array_equal(ids[a:b], array.token_id[first:last])  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", sorted(set(FORMATS) - set(RAGGED)))
def test_other_formats_refuse_ragged_sites_by_name(tmp_path: Path, ragged: Path, kind: str) -> None:
    with pytest.raises(InputError, match=rf"resid_post.0@tokens' holds every token, which {kind}"):
        hs.export_points(ragged, tmp_path / "out", format=kind)
    assert not (tmp_path / "out").exists()
    hs.export_points(ragged, tmp_path / "out", format=kind, sites=["a"])
    assert hs.to_anndata(ragged).obsm.keys() == {"a@mean"}
    with pytest.raises(SiteError, match="holds every token"):
        hs.to_xarray(ragged, sites=["resid_post.0"])


def test_half_precision_keeps_its_values(tmp_path: Path) -> None:
    manifest = random_manifest(rows=9, shard_rows=4, dtypes=["float16", "bfloat16"])
    store = random_store(tmp_path / "run", manifest)
    for kind in POINTS:
        out = hs.export_points(store, tmp_path / kind, format=kind)
        record = json.loads((out / "provenance.json").read_text())
        for key, array in zip(store.keys, record["arrays"], strict=True):
            assert array["stored_dtype"] == store[key].stored_dtype
            place = sites_of(out, kind, {key: array["place"]})
            hs.import_points(place, tmp_path / "back" / kind / key, keys=[key])
            again = open_store(tmp_path / "back" / kind / key)[key]
            np.testing.assert_array_equal(np.asarray(again), np.asarray(store[key]))
    from safetensors import safe_open

    with safe_open(tmp_path / "safetensors" / "points.safetensors", framework="numpy") as file:
        assert file.get_slice("resid_post.1@mean").get_dtype() == "BF16"


def test_what_is_there_is_not_replaced_unless_asked_and_is_an_export(
    tmp_path: Path, run: Path
) -> None:
    out = tmp_path / "out"
    hs.export_points(run, out, format="npz")
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(InputError, match=r"out: exists: .*--overwrite"):
        hs.export_points(run, out, format="csv")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    hs.export_points(run, out, format="npz", overwrite=True)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before, "equal points, equal bytes"
    hs.export_points(run, out, format="csv", overwrite=True)
    assert not (out / "points.npz").exists()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years")
    link = tmp_path / "link"
    link.symlink_to(out)
    for there in (precious, run, link, run / "rows.csv"):
        with pytest.raises(InputError, match="is no earlier export, and is not replaced"):
            hs.export_points(run, there, overwrite=True)
    assert (precious / "thesis.tex").read_text() == "years"


def test_a_failure_on_the_way_leaves_nothing_and_keeps_what_was_there(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = hs.export_points(run, tmp_path / "out", format="npz")
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    there = {p.name for p in tmp_path.iterdir()}

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    for kind in FORMATS:
        with pytest.raises(KeyboardInterrupt):
            hs.export_points(run, out, format=kind, overwrite=True, progress=stop)
        assert {p.name for p in tmp_path.iterdir()} == there
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    monkeypatch.setattr("hiddenscape.store.exporters.export.free_bytes", lambda _: 100)
    with pytest.raises(DiskFullError, match="100 are free"):
        hs.export_points(run, tmp_path / "new")
    assert {p.name for p in tmp_path.iterdir()} == there
    assert files.free_bytes(tmp_path) > 100


def test_progress_counts_every_value_once(tmp_path: Path, run: Path) -> None:
    for kind in FORMATS:
        told: list[tuple[int, int]] = []
        hs.export_points(
            run, tmp_path / kind, format=kind, progress=lambda a, b, told=told: told.append((a, b))
        )
        assert told[-1] == (23 * 12, 23 * 12)
        assert [a for a, _ in told] == sorted(a for a, _ in told)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"format": "matlab"}, InputError, "format 'matlab' is not one of npy, npz"),
        ({"sites": ["embed"]}, SiteError, "did you mean"),
        ({"rows": "a"}, InputError, "expected a number or START:STOP"),
        ({"rows": "30"}, InputError, "row 30 is outside 0 to 22"),
        ({"rows": "5:5"}, InputError, "rows must be a list"),
        ({"rows": [1, 1]}, InputError, "selected twice"),
        ({"rows": [0.5]}, InputError, "rows must be a list"),
        ({"rows": np.ones(3, bool)}, InputError, r"a mask needs shape \(23,\)"),
    ],
)
def test_wrong_wishes_are_refused(
    tmp_path: Path, run: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        hs.export_points(run, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(optional, "import_module", absent)
    for kind in ("h5", "zarr", "parquet", "anndata", "xarray"):
        with pytest.raises(MissingDependency, match=r'pip install "hiddenscape\[formats\]"'):
            hs.export_points(run, tmp_path / "out", format=kind)
    assert not (tmp_path / "out").exists()
    hs.export_points(run, tmp_path / "out", format="npz")


def test_hostile_site_names_stay_in_the_folder(tmp_path: Path) -> None:
    shapes = {"module:../../evil": (2,), "module:/abs": (2,), "module:a b:c*": (2,)}
    run = random_store(tmp_path / "run", random_manifest(rows=4, shapes=shapes)).run_path
    before = set(names(tmp_path))
    for kind in FORMATS:
        out = hs.export_points(run, tmp_path / "out" / kind, format=kind)
        assert out.is_dir()
    assert {n for n in names(tmp_path) if not n.startswith("out")} == before
    store = open_store(run)
    for kind in ("npz", "safetensors", "h5", "zarr"):
        out = tmp_path / "out" / kind
        hs.import_points(out / POINTS[kind], tmp_path / "back" / kind)
        again = open_store(tmp_path / "back" / kind)
        record = json.loads((out / "provenance.json").read_text())
        for array in record["arrays"]:
            place = array["place"].partition(":")[2].lstrip("/")
            assert kind == "safetensors" or ".." not in place.split("/")
            np.testing.assert_array_equal(again[place], store[array["name"]])


def names(folder: Path) -> Iterator[str]:
    return (str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_the_verbs_go_out_and_in_again(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from hiddenscape.cli.app import group
    from hiddenscape.cli.exits import guarded

    out, back = str(tmp_path / "out"), str(tmp_path / "back")
    wanted = ["export", str(run), "--format", "h5", "--sites", "final_norm, resid_post.0"]
    assert guarded(group, [*wanted, "--rows", "0:9", "--out", out]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert guarded(group, [*wanted, "--out", out]) == 1
    assert "exists: choose another place, or replace it (--overwrite)" in capsys.readouterr().err
    assert guarded(group, [*wanted, "--rows", "0:9", "--out", out, "--overwrite"]) == 0
    source = [f"{out}/points.h5", "--dataset", "/{site}", "--labels", f"{out}/rows.csv"]
    assert guarded(group, ["import", *source, "--out", back]) == 0
    store = open_store(run)
    for key in ("final_norm@mean", "resid_post.0@mean"):
        np.testing.assert_array_equal(open_store(back)[key], store[key][:9])
