"""Dumps of other programs: read exactly, gaps named, nothing executed, nothing followed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hiddenscape as hs
from hiddenscape.errors import DiskFullError, InputError, MissingDependency
from hiddenscape.store import optional
from hiddenscape.store.importers import import_points
from hiddenscape.store.reader import open_store
from hiddenscape.store.verify import verify

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")


@pytest.fixture
def points(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(23, 5)).astype(np.float32)


# --- HDF5 -------------------------------------------------------------------------------------


def test_data_sets_by_path_pattern_or_all(tmp_path: Path, points: np.ndarray) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        for b in (0, 2, 10):
            file.create_dataset(f"acts/l{b}/out", data=points + b, chunks=(4, 5), compression=4)
        file["labels"] = np.arange(23)
        file["flat"] = points.astype("f8")
    report = import_points(path, tmp_path / "1", within="/acts/l{block}/out", shard_rows=7)
    assert [(s.key, s.depth) for s in report.sites] == [
        ("acts/l0/out", 0), ("acts/l2/out", 2), ("acts/l10/out", 10),
    ]  # fmt: skip
    np.testing.assert_array_equal(report.representations["acts/l10/out"], points + 10)
    assert report.representations.sites[2].block == 10
    report = import_points(path, tmp_path / "2", within="flat")
    assert report.sites[0].stored_dtype == "float64"
    report = import_points(path, tmp_path / "3")
    assert {s.key for s in report.sites} == {"acts/l0/out", "acts/l2/out", "acts/l10/out", "flat"}
    report = import_points(path, tmp_path / "4", within="/acts/{site}/out")
    assert {s.key for s in report.sites} == {"l0", "l2", "l10"}
    with pytest.raises(InputError, match=r"no array fits '/x/\{block\}', there are .'acts/l0/out'"):
        import_points(path, tmp_path / "5", within="/x/{block}")
    np.save(tmp_path / "a.npy", points)
    with pytest.raises(InputError, match=r"--dataset\) belongs to .h5 and .zarr"):
        import_points(tmp_path / "a.npy", tmp_path / "5", within="/x")


def test_chunks_that_were_never_written_are_named(tmp_path: Path, points: np.ndarray) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        partial = file.create_dataset("a", shape=(23, 5), dtype="f4", chunks=(4, 5))
        partial[:8] = points[:8]
        partial[12:] = points[12:]
        file.create_dataset("b", shape=(23, 5), dtype="f4")
    for name, message in (
        ("a", r"'/a' has 1 of 6 chunks that were never written, the first with rows 8 to 11"),
        ("b", r"'/b' was declared but never written: it would read as zeros"),
    ):
        with pytest.raises(InputError, match=message):
            import_points(tmp_path / "x.h5", tmp_path / "out", within=name)
    assert not (tmp_path / "out").exists()


_KILLED = """
import os, signal, sys
import h5py, numpy as np
file = h5py.File(sys.argv[1], "w", libver=sys.argv[2])
file.create_dataset("a", data=np.ones((400, 50)), chunks=(40, 50))
if sys.argv[3] == "flush":
    file.flush()
if sys.argv[3] == "swmr":
    file.swmr_mode = True
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_a_file_left_open_by_a_killed_writer_names_the_tool(tmp_path: Path) -> None:
    for libver, how, message in (
        ("latest", "swmr", r"open for writing.*h5clear -s swmr.h5"),
        ("latest", "flush", r"open for writing.*h5clear -s flush.h5"),
        ("earliest", "nothing", r"nothing.h5: (truncated|damaged|cannot be read)"),
    ):
        path = tmp_path / f"{how}.h5"
        command = [sys.executable, "-c", _KILLED, str(path), libver, how]
        assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
        with pytest.raises(InputError, match=message) as caught:
            import_points(path, tmp_path / "out")
        assert "\n" not in str(caught.value)


def test_nothing_outside_the_file_is_followed(tmp_path: Path, points: np.ndarray) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["a"] = points
    (tmp_path / "secret.bin").write_bytes(points.tobytes())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["good"] = points
        file["soft"] = h5py.SoftLink("/good")
        file["far"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/a")
        outside = [(str(tmp_path / "secret.bin"), 0, points.nbytes)]
        file.create_dataset("raw", shape=points.shape, dtype="f4", external=outside)
        layout = h5py.VirtualLayout(shape=points.shape, dtype="f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "a", shape=points.shape)
        file.create_virtual_dataset("virtual", layout)
    report = import_points(tmp_path / "x.h5", tmp_path / "1", within="good")
    assert [s.key for s in report.sites] == ["good"]
    for name in ("raw", "virtual"):
        with pytest.raises(InputError, match=f"'/{name}' lies in other files"):
            import_points(tmp_path / "x.h5", tmp_path / "2", within=name)
    for name in ("soft", "far"):
        with pytest.raises(InputError, match="no array fits"):
            import_points(tmp_path / "x.h5", tmp_path / "2", within=name)


# --- zarr -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_groups_and_single_arrays(tmp_path: Path, points: np.ndarray, version: int) -> None:
    group = zarr.open_group(str(tmp_path / "x.zarr"), mode="w", zarr_format=version)
    for b in (0, 3):
        array = group.create_array(f"acts/{b}", shape=(23, 5), chunks=(4, 2), dtype="float32")
        array[:] = points + b
    group.create_array("label", shape=(23,), dtype="int64")[:] = 1
    report = import_points(tmp_path / "x.zarr", tmp_path / "1", shard_rows=5)
    assert [s.key for s in report.sites] == ["acts/0", "acts/3"]
    np.testing.assert_array_equal(report.representations["acts/3"], points + 3)
    report = import_points(tmp_path / "x.zarr", tmp_path / "2", within="acts/{block}")
    assert [s.depth for s in report.sites] == [0, 3]
    assert open_store(tmp_path / "2").manifest.identity["sources"][0]["name"] == "x.zarr"
    report = import_points(tmp_path / "x.zarr" / "acts" / "3", tmp_path / "3")
    assert [s.key for s in report.sites] == ["3"]


@pytest.mark.parametrize("version", [2, 3])
def test_missing_zarr_chunks_are_listed_not_read_as_fill(
    tmp_path: Path, points: np.ndarray, version: int
) -> None:
    path = tmp_path / "x.zarr"
    array = zarr.create_array(
        str(path), shape=(23, 5), chunks=(4, 5), dtype="float32", zarr_format=version, fill_value=0
    )
    array[:] = points
    name = "2.0" if version == 2 else "c/2/0"
    (path / name).unlink()
    with pytest.raises(InputError, match=rf"1 chunks are missing \({name}\) and would read as 0"):
        import_points(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_chunk_missing_inside_a_zarr_shard_is_found(tmp_path: Path, points: np.ndarray) -> None:
    path = tmp_path / "x.zarr"
    options: dict[str, Any] = {"shape": (23, 5), "chunks": (4, 5), "shards": (8, 5)}
    array = zarr.create_array(str(path), dtype="float32", **options)
    array[:] = points
    np.testing.assert_array_equal(import_points(path, tmp_path / "1").representations["x"], points)
    array[12:16] = 0  # zarr leaves such a chunk out
    with pytest.raises(InputError, match="the chunk with row 12 is missing in its shard"):
        import_points(path, tmp_path / "2")


def test_zarr_pickles_are_never_opened(tmp_path: Path, points: np.ndarray) -> None:
    path = tmp_path / "x.zarr"
    zarr.create_array(str(path), shape=(3, 2), dtype="float32", zarr_format=2)[:] = 1
    meta = json.loads((path / ".zarray").read_text())
    for change in ({"filters": [{"id": "pickle"}]}, {"dtype": "|O"}):
        (path / ".zarray").write_text(json.dumps(meta | change))
        with pytest.raises(InputError, match="pickled Python objects, which are never opened"):
            import_points(path, tmp_path / "out")


def test_a_damaged_zarr_chunk_is_named(tmp_path: Path, points: np.ndarray) -> None:
    path = tmp_path / "x.zarr"
    zarr.create_array(str(path), shape=(23, 5), chunks=(4, 5), dtype="float32")[:] = points
    chunk = path / "c" / "1" / "0"
    chunk.write_bytes(chunk.read_bytes()[:10])
    with pytest.raises(InputError, match=r"x.zarr: "):
        import_points(path, tmp_path / "out")


# --- AnnData ----------------------------------------------------------------------------------


def annotated(path: Path, x: Any, **more: Any) -> None:
    anndata = pytest.importorskip("anndata")
    import pandas as pd

    n = x.shape[0]
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical.from_codes(
                np.arange(n) % 3, categories=pd.Index(["k0", "k1", "k2"], dtype=object)
            ),
            "size": np.arange(n),
            "score": np.linspace(0, 1, n),
            "good": np.arange(n) % 2 == 0,
        },
        index=pd.Index([f"c{i}" for i in range(n)], dtype=object),
    )
    var = pd.DataFrame(index=pd.Index([f"g{i}" for i in range(x.shape[1])], dtype=object))
    anndata.AnnData(X=x, obs=obs, var=var, **more).write_h5ad(path)


def test_anndata_gives_matrices_and_labels(tmp_path: Path, points: np.ndarray) -> None:
    layers, obsm = {"raw": points * 2}, {"X_pca": points[:, :2].astype("f8")}
    annotated(tmp_path / "x.h5ad", points, layers=layers, obsm=obsm)
    report = import_points(tmp_path / "x.h5ad", tmp_path / "out", shard_rows=10)
    store = report.representations
    np.testing.assert_array_equal(store["X"], points)
    np.testing.assert_array_equal(store["raw"], points * 2)
    np.testing.assert_array_equal(store["X_pca"], points[:, :2])
    assert store.ids[22] == "c22"
    assert store.labels["kind"][:4].tolist() == ["k0", "k1", "k2", "k0"]
    assert store.labels["size"].tolist() == list(range(23))
    assert store.labels["score"].dtype == np.float64
    assert store.labels["good"].dtype == bool
    assert verify(tmp_path / "out", full=True).ok


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_sparse_matrices_need_consent(tmp_path: Path, points: np.ndarray, kind: str) -> None:
    import scipy.sparse as sp

    dense = np.where(np.abs(points) > 1, points, 0)
    sparse = getattr(sp, f"{kind}_matrix")(dense)
    annotated(tmp_path / "x.h5ad", sparse)
    with pytest.raises(InputError, match=r"'X' is sparse; with all its zeros it takes 460 bytes"):
        import_points(tmp_path / "x.h5ad", tmp_path / "out")
    report = import_points(tmp_path / "x.h5ad", tmp_path / "out", densify=True, shard_rows=4)
    np.testing.assert_array_equal(report.representations["X"], dense)
    with h5py.File(tmp_path / "x.h5ad", "r+") as file:
        file["X/indices"][0] = 99
    with pytest.raises(InputError, match="damaged, an index is outside"):
        import_points(tmp_path / "x.h5ad", tmp_path / "2", densify=True)


def test_an_hdf5_file_that_is_no_anndata_is_named(tmp_path: Path, points: np.ndarray) -> None:
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        file["X"] = points
    with pytest.raises(InputError, match=r"no AnnData of version 0.7 or later"):
        import_points(tmp_path / "x.h5ad", tmp_path / "out")


# --- fair-esm ---------------------------------------------------------------------------------


@pytest.fixture
def esm(tmp_path: Path) -> tuple[Path, Path, dict[str, Any]]:
    """Files as fair-esm's extract.py writes them, and the FASTA in another order than the names."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    folder, fasta = tmp_path / "esm_out", tmp_path / "seqs.fasta"
    labels = ["zeta extra words", "alpha", "sub/unit|7"]
    lengths = [4, 2, 5]
    contents: dict[str, Any] = {}
    for label, length in zip(labels, lengths, strict=True):
        tokens = {
            i: torch.tensor(rng.normal(size=(length, 3)), dtype=torch.float32) for i in (0, 6)
        }
        contents[label] = {
            "label": label,
            "representations": tokens,
            "mean_representations": {i: t.mean(0) for i, t in tokens.items()},
            "bos_representations": {i: t[0] * 7 for i, t in tokens.items()},
        }
        path = folder / f"{label}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(contents[label], path)
    fasta.write_text("".join(f">{n}\n{'MK'}\n{'A' * (k - 2)}\n" for n, k in zip(labels, lengths)))  # noqa: B905
    return folder, fasta, contents


def test_fair_esm_dumps_come_in_the_order_of_the_fasta(
    tmp_path: Path, esm: tuple[Path, Path, dict[str, Any]]
) -> None:
    folder, fasta, contents = esm
    report = import_points(
        folder, tmp_path / "out", layout="fair-esm", order=fasta, shard_rows=2, model="esm2_t6"
    )
    store = report.representations
    assert set(store.keys) == {
        f"esm.{i}@{how}" for i in (0, 6) for how in ("mean", "cls", "tokens")
    }
    assert [s.depth for s in store.sites] == [0, 0, 0, 6, 6, 6]
    assert store.ids.tolist() == list(contents)
    for row, content in enumerate(contents.values()):
        for i in (0, 6):
            np.testing.assert_array_equal(
                store[f"esm.{i}@mean"][row], content["mean_representations"][i]
            )
            np.testing.assert_array_equal(
                store[f"esm.{i}@cls"][row], content["bos_representations"][i]
            )
            np.testing.assert_array_equal(
                store[f"esm.{i}@tokens"][row], content["representations"][i]
            )
    ragged = store["esm.6@tokens"]
    assert ragged.token_pos.tolist() == [1, 2, 3, 4, 1, 2, 1, 2, 3, 4, 5]  # type: ignore[union-attr]
    assert set(ragged.token_id.tolist()) == {-1}  # type: ignore[union-attr]
    assert ragged.token_content.all()  # type: ignore[union-attr]
    assert store.n_content.tolist() == [4, 2, 5]
    assert verify(tmp_path / "out", full=True).ok
    listed = tmp_path / "order.txt"
    listed.write_text("\n".join(reversed(contents)) + "\n")
    again = import_points(
        folder, tmp_path / "2", layout="fair-esm", order=listed, tokens="skip"
    ).representations
    assert again.ids.tolist() == list(reversed(contents))
    assert not again.ragged_sites
    np.testing.assert_array_equal(again["esm.6@mean"], store["esm.6@mean"][::-1])


def test_the_mean_over_residues_is_stated(
    tmp_path: Path, esm: tuple[Path, Path, dict[str, Any]]
) -> None:
    torch = pytest.importorskip("torch")
    folder, fasta, contents = esm
    with pytest.raises(InputError, match=r"'esm.0@mean' occurs twice"):
        import_points(folder, tmp_path / "1", layout="fair-esm", order=fasta, tokens="mean")
    for label, content in contents.items():
        torch.save({k: content[k] for k in ("label", "representations")}, folder / f"{label}.pt")
    report = import_points(folder, tmp_path / "2", layout="fair-esm", order=fasta, tokens="mean")
    for row, content in enumerate(contents.values()):
        expected = content["representations"][6].double().mean(0)
        np.testing.assert_allclose(report.representations["esm.6"][row], expected, rtol=1e-6)
    assert any("mean over every residue" in w for w in report.warnings)


def test_what_is_wrong_with_a_fair_esm_dump_is_named(
    tmp_path: Path, esm: tuple[Path, Path, dict[str, Any]]
) -> None:
    torch = pytest.importorskip("torch")
    folder, fasta, contents = esm

    def refused(message: str, **options: Any) -> None:
        options = {"layout": "fair-esm", "order": fasta} | options
        with pytest.raises(InputError, match=message):
            import_points(folder, tmp_path / "out", **options)

    refused("have no order: give the FASTA file", order=None)
    refused("belongs to layout 'fair-esm'", layout="plain")
    good = fasta.read_text()
    fasta.write_text(good + ">beta\nMK\n>gamma\nMK\n")
    refused(r"2 of 5 sequences of seqs.fasta have no file: 'beta', 'gamma'")
    fasta.write_text(good + ">alpha\nMK\n")
    refused("the label 'alpha' occurs twice")
    fasta.write_text(good + ">../../etc/passwd\nMK\n")
    refused("leads out of the folder")
    fasta.write_text("")
    refused("holds no sequences")
    fasta.write_text(good)
    shutil.copy(folder / "alpha.pt", folder / "zeta extra words.pt")
    refused("holds the sequence 'alpha', not 'zeta extra words'")
    torch.save(contents["zeta extra words"], folder / "zeta extra words.pt")
    broken = dict(contents["alpha"])
    for change, message in (
        ({"mean_representations": {0: torch.ones(3)}}, r"alpha.pt: holds no mean_.* of layer 6"),
        ({"mean_representations": {0: torch.ones(4), 6: torch.ones(3)}}, r"shape \(4,\), not"),
        ({"representations": {0: torch.ones(3), 6: torch.ones(3)}}, r"expected \(T, 3\)"),
        ({"representations": {0: torch.ones(9, 3), 6: torch.ones(2, 3)}}, "numbers of tokens"),
        ({"bos_representations": {0: "x", 6: torch.ones(3)}}, "is a str, expected a tensor"),
    ):
        torch.save(broken | change, folder / "alpha.pt")
        refused(message, overwrite=True)
    torch.save(contents["alpha"], folder / "alpha.pt")
    torch.save(contents["alpha"], folder / "another.pt")
    report = import_points(folder, tmp_path / "fine", layout="fair-esm", order=fasta)
    assert report.remarks == ("esm_out: 1 .pt files are not in seqs.fasta and were left out",)


# --- one file per layer -----------------------------------------------------------------------


def layers(folder: Path, widths: list[int], rows: list[int] | int = 6) -> None:
    torch = pytest.importorskip("torch")
    folder.mkdir(exist_ok=True)
    counts = rows if isinstance(rows, list) else [rows] * len(widths)
    for i, (n, d) in enumerate(zip(counts, widths, strict=True)):
        generator = torch.Generator().manual_seed(i)
        torch.save(torch.randn(n, d, generator=generator), folder / f"l{i}_target.pt")


def test_layers_of_doimo24_get_their_sites(tmp_path: Path) -> None:
    folder = tmp_path / "dump"
    layers(folder, [4] * 11 + [4, 9])
    (folder / "statistics_target.pkl").write_bytes(pickle.dumps({"subjects": ["a"] * 6}))
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"subject": list("aabbcc"), "letter": [0, 1, 2, 3, 0, 1]}))
    report = import_points(folder, tmp_path / "out", layout="doimo24", labels=labels)
    assert [(s.key, s.depth) for s in report.sites] == [
        *((f"ln1_out.{i}@last", i) for i in range(11)), ("final_norm@last", 11), ("logits@last", 11)
    ]  # fmt: skip
    store = report.representations
    assert store.labels["subject"].tolist() == list("aabbcc")
    assert store.labels["letter"].dtype == np.int64
    assert "statistics_target.pkl is a pickle and was not read" in report.remarks[0]
    with pytest.raises(InputError, match="a pickle, which is never opened: convert its labels"):
        import_points(
            folder, tmp_path / "2", layout="doimo24", labels=folder / "statistics_target.pkl"
        )


def test_the_number_of_blocks_is_never_guessed(tmp_path: Path) -> None:
    layers(tmp_path / "d", [4] * 5)
    with pytest.raises(InputError, match=r"layers 0 to 4 do not tell how many blocks.*--blocks"):
        import_points(tmp_path / "d", tmp_path / "out", layout="doimo24")
    report = import_points(tmp_path / "d", tmp_path / "1", layout="doimo24", blocks=4)
    assert report.sites[-1].key == "final_norm@last"
    report = import_points(tmp_path / "d", tmp_path / "2", layout="doimo24", blocks=12)
    assert report.sites[-1].key == "ln1_out.4@last"
    with pytest.raises(InputError, match="layer 4 is beyond the logits of 2 blocks"):
        import_points(tmp_path / "d", tmp_path / "out", layout="doimo24", blocks=2)


def test_unequal_rows_of_layers_are_refused_with_the_likely_reason(tmp_path: Path) -> None:
    layers(tmp_path / "d", [4, 4, 9], rows=[6, 5, 6])
    with pytest.raises(
        InputError, match=r"l1_target.pt: 5 rows, but l0_target.pt has 6: duplicates may have been"
    ):
        import_points(tmp_path / "d", tmp_path / "out", layout="doimo24")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no file l0_target.pt"):
        import_points(tmp_path / "empty", tmp_path / "out", layout="doimo24")


# --- text -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", "u0,u1,u2\n1,2.5,-3e-4\nnan,inf,-0.0\n"),
        ("x.csv", "1, 2.5 ,-3e-4\r\nnan,inf,-0.0\r\n\r\n"),
        ("x.txt", "1 2.5\t -3e-4\n".replace("\t", " ") + "nan inf -0.0"),
        ("x.txt", "\ufeff1\t2.5\t-3e-4\nnan\tinf\t-0.0\n"),
    ],
)
def test_a_table_of_text_is_one_site(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    report = import_points(tmp_path / name, tmp_path / "out", shard_rows=1)
    values = np.asarray(report.representations["x"])
    expected = np.array([[1, 2.5, -3e-4], [np.nan, np.inf, -0.0]])
    assert values.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3\n", "line 2 has 1 numbers, not 2"),
        ("1,2\n3,a\n", "line 2: 'a' is no number: give labels apart"),
        ("1,,2\n1,2,3\n3,,4\n", "line 3: '' is no number"),
        ("a,b\n1,2,3\n", "line 2 has 3 numbers, not 2"),
        ("1_0,2\n1_0,2\n", "line 2: '1_0' is no number"),
        ("", "expected .n, d."),
        ("a,b\n", "expected .n, d."),
    ],
)
def test_a_table_with_holes_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        import_points(tmp_path / "x.csv", tmp_path / "out")


def test_tables_beside_arrays_are_not_taken_for_points(tmp_path: Path, points: np.ndarray) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "l0.npy", points)
    (tmp_path / "in" / "labels.csv").write_text("label\n" + "1\n" * 23)
    assert [s.key for s in import_points(tmp_path / "in", tmp_path / "out").sites] == ["l0"]


# --- what must never happen -------------------------------------------------------------------


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_nothing_in_a_foreign_file_is_executed(tmp_path: Path, points: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    mark = tmp_path / "mark"
    evil = pickle.dumps(Evil(mark))
    folder = tmp_path / "esm"
    folder.mkdir()
    torch.save({"label": "a", "representations": Evil(mark)}, folder / "a.pt")
    (tmp_path / "o.txt").write_text("a\n")
    with pytest.raises(InputError, match="pickled Python objects, which are never opened"):
        import_points(folder, tmp_path / "out", layout="fair-esm", order=tmp_path / "o.txt")
    (tmp_path / "d").mkdir()
    torch.save(Evil(mark), tmp_path / "d" / "l0_target.pt")
    with pytest.raises(InputError, match="never opened"):
        import_points(tmp_path / "d", tmp_path / "out", layout="doimo24")
    for name in ("x.h5", "x.h5ad"):
        with h5py.File(tmp_path / name, "w") as file:
            file.attrs["encoding-type"] = "anndata"
            file["X"] = np.array([[np.void(evil)]])
            bytes_of = h5py.vlen_dtype(np.uint8)
            words = file.create_dataset("y", shape=(1, 1), dtype=bytes_of)
            words[0, 0] = np.frombuffer(evil, np.uint8)
            file["obsm/z"] = np.array([[np.void(evil)]])
        for key in ("X", "y", "z", "obsm/z"):
            with pytest.raises(InputError, match=r"holds|no site|no array"):
                import_points(tmp_path / name, tmp_path / "out", keys=[key])
    (tmp_path / "l.json").write_text('{"a": [{"__reduce__": 1}]}')
    with pytest.raises(InputError, match="no list of labels"):
        import_points({"p": points}, tmp_path / "out", labels=tmp_path / "l.json")
    assert not mark.exists()
    pickle.loads(evil)  # noqa: S301  (the trap works)
    assert mark.exists()


def test_bombs_are_told_before_they_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    # A header that claims more than the archive holds, and the other way round.
    np.savez_compressed(tmp_path / "good.npz", x=np.zeros((10, 10)))
    with zipfile.ZipFile(tmp_path / "good.npz") as archive:
        body = archive.read("x.npy")
    for name, inside in (
        ("claims", body.replace(b"(10, 10)", b"(99, 10)")),
        ("holds", body + bytes(10**7)),
    ):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", inside)
        with pytest.raises(InputError, match="is truncated or too long"):
            import_points(tmp_path / f"{name}.npz", tmp_path / "out")
    # torch archives are never compressed.
    torch.save({"x": torch.zeros(10, 10)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as old,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.namelist():
            new.writestr(member, old.read(member))
    with pytest.raises(InputError, match=r"a compressed archive, not made by torch.save"):
        import_points(tmp_path / "bomb.pt", tmp_path / "out")
    # Declared sizes that no disk holds.
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("x", shape=(10**9, 10**6), dtype="f4", chunks=(1, 10**6))
        file.create_dataset("y", shape=(2, 2**30), dtype="f4", chunks=(1, 2**30 - 1))
    with pytest.raises(InputError, match="never written"):
        import_points(tmp_path / "huge.h5", tmp_path / "out", within="x")
    with pytest.raises(InputError, match="chunks of 4,294,967,292 bytes, over the limit"):
        import_points(tmp_path / "huge.h5", tmp_path / "out", within="y")
    zarr.create_array(str(tmp_path / "h.zarr"), shape=(2, 2**40), chunks=(1, 2**40), dtype="f4")
    with pytest.raises(InputError, match="over the limit"):
        import_points(tmp_path / "h.zarr", tmp_path / "out")
    monkeypatch.setattr("hiddenscape.store.importers.points.free_bytes", lambda _: 1000)
    with pytest.raises(DiskFullError, match=r"the points take 8,000 bytes, 1,000 are free"):
        import_points({"x": np.ones((100, 10))}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: np.ndarray
) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = points

    def absent(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(optional, "import_module", absent)
    with pytest.raises(MissingDependency, match=r'pip install "hiddenscape\[formats\]"'):
        import_points(tmp_path / "x.h5", tmp_path / "out")


_FLAT = """
import resource, sys
from hiddenscape import import_points
import h5py, zarr
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
import_points(sys.argv[1] + "/small." + sys.argv[2], sys.argv[1] + "/warm", shard_rows=500)
before = peak()
import_points(sys.argv[1] + "/big." + sys.argv[2], sys.argv[1] + "/out", shard_rows=500)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux does")
@pytest.mark.parametrize("kind", ["h5", "zarr", "csv"])
def test_memory_does_not_grow_with_rows(tmp_path: Path, kind: str) -> None:
    # 60 MB of points; as text 6 MB of them.
    rows, columns = (30_000, 500) if kind != "csv" else (15_000, 100)
    big = np.full((rows, columns), 0.5, np.float32)
    for name, values in (("small", big[:1000]), ("big", big)):
        path = tmp_path / f"{name}.{kind}"
        if kind == "h5":
            with h5py.File(path, "w") as file:
                file.create_dataset("a", data=values, chunks=(500, columns))
        elif kind == "zarr":
            zarr.create_array(
                str(path), shape=values.shape, chunks=(500, columns), dtype="f4", fill_value=1
            )[:] = values
        else:
            np.savetxt(path, values, delimiter=",", fmt="%g")
    source = str(Path(hs.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", _FLAT, str(tmp_path), kind],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20_000  # kB
