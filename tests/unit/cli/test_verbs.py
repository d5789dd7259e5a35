"""Each verb on a small run: what it prints, where, and with which code it ends."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hiddenscape as hs

NETS = """
import torch
def make():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh())
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(11)
    x = rng.normal(size=(60, 5))
    np.savez(tmp_path / "layers.npz", **{"resid_post.0": x, "resid_post.1": np.tanh(x)})
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    labels = "\n".join(["id,kind", *(f"row{i},{'ab'[i % 2]}" for i in range(60))])
    (tmp_path / "labels.csv").write_text(labels + "\n", encoding="utf-8")
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def imported(place: Path, cli: Any) -> Path:
    answer = cli("import", "layers.npz", "--labels", "labels.csv", "--out", "run")
    assert answer == (0, "run\n", "")
    return place / "run"


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_import_reports_what_it_found_on_stderr(place: Path, cli: Any) -> None:
    np.savez("odd.npz", a=np.ones((6, 2)))
    answer = cli("import", "odd.npz", "--out", "odd")
    assert (answer.code, answer.out) == (0, "odd\n")
    assert "warning: a: 5 of 6 rows repeat an earlier row exactly\n" in answer.err


def test_import_refuses_pickles_and_missing_files(place: Path, cli: Any) -> None:
    np.save("objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    for source in ("objects.npy", "absent.npy"):
        answer = cli("import", source, "--out", "bad")
        assert answer.code == 1
        assert answer.err.startswith("error: ")
        assert source in answer.err
        assert answer.err.count("\n") == 1
    assert not Path("bad", "acts").exists()


def test_neighbors_are_those_of_find_neighbors(imported: Path, cli: Any) -> None:
    answer = cli("neighbors", imported, "--site", "resid_post.1", "-k", 3, "--row", 4, "--row", 9)
    assert answer.code == 0
    rows = _rows(answer.out)
    graph = hs.find_neighbors(hs.open_run(imported).representations["resid_post.1"], k=3)
    assert [int(r["neighbor"]) for r in rows] == graph.indices[[4, 9]].ravel().tolist()
    assert [float(r["distance"]) for r in rows] == graph.distances[[4, 9]].ravel().tolist()
    assert [r["id"] for r in rows] == ["row4"] * 3 + ["row9"] * 3
    assert [r["rank"] for r in rows] == ["1", "2", "3"] * 2


def test_neighbors_of_all_sites_and_rows(imported: Path, cli: Any) -> None:
    rows = _rows(cli("neighbors", imported, "-k", 1).out)
    assert len(rows) == 2 * 60
    assert all(r["row"] != r["neighbor"] for r in rows)


def test_neighbors_in_any_metric(imported: Path, cli: Any) -> None:
    points = hs.open_run(imported).representations["resid_post.1"]
    period = [2.0, *[float("inf")] * (points.shape[1] - 1)]
    for flags, options in (
        (["--metric", "manhattan"], {"metric": "manhattan"}),
        (["--metric", "periodic", "--period", "2"], {"metric": "periodic", "period": 2.0}),
        (
            ["--metric", "periodic", "--period", ",".join(map(str, period))],
            {"metric": "periodic", "period": period},
        ),
    ):
        rows = _rows(cli("neighbors", imported, "--site", "resid_post.1", "-k", 2, *flags).out)
        graph = hs.find_neighbors(points, k=2, **options)
        assert [float(r["distance"]) for r in rows] == graph.distances.ravel().tolist()


def test_neighbors_do_not_depend_on_how_they_are_searched(imported: Path, cli: Any) -> None:
    plain = cli("neighbors", imported, "-k", 3).out
    for flags in (["--precision", "bfloat16"], ["--memory", "2MB"], ["--device", "cpu"]):
        assert cli("neighbors", imported, "-k", 3, *flags).out == plain


def test_a_search_that_fails_prints_no_header(imported: Path, cli: Any) -> None:
    assert cli("neighbors", imported, "-k", "60").out == ""


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--precision", "half"], 1, "no precision 'half'"),
        (["--memory", "lots"], 1, "memory must read like"),
        (["--device", "tpu"], 1, "device must be"),
        (["--site", "resid_post.7"], 1, "resid_post.7"),
        (["-k", "60"], 1, "60 rows, k = 60 needs at least 61"),
        (["--row", "60"], 2, "row 60 is not among 0 to 59"),
        (["-k", "0"], 2, "0 is not in the range x>=1"),
        (["--metric", "jaccard"], 2, "'jaccard' is not one of 'euclidean', 'angular', 'cosine'"),
        (["--metric", "periodic"], 1, "metric='periodic' needs period="),
        (["--period", "3"], 1, "period is for metric='periodic', the metric is 'euclidean'"),
        (["--metric", "periodic", "--period", "1;2"], 2, "'1;2' is no list of numbers"),
    ],
)
def test_neighbors_that_cannot_be_found(
    imported: Path, cli: Any, flags: list[str], code: int, message: str
) -> None:
    answer = cli("neighbors", imported, *flags)
    assert answer.code == code
    assert message in answer.err


def test_measure_prints_the_profile_and_keeps_all_numbers(imported: Path, cli: Any) -> None:
    answer = cli("measure", imported, "--k", "5", "--analyses", "two_nn,label_overlap")
    assert answer.code == 0
    rows = _rows(answer.out)
    assert [r["site"] for r in rows] == ["resid_post.0", "resid_post.1"]
    assert {r["analysis"] for r in rows} == {"two_nn"}
    table = hs.open_run(imported).table
    assert set(table.unique("analysis")) == {"two_nn", "label_overlap"}
    every = cli("measure", imported, "--k", "5", "--analyses", "two_nn,label_overlap", "--table")
    assert every.out == table.to_csv()


def test_strict_measuring_fails_on_warnings(imported: Path, cli: Any) -> None:
    assert cli("measure", imported, "--analyses", "two_nn", "--strict").code == 0
    arguments = ["measure", imported, "--analyses", "label_overlap", "--k", "5,100"]
    lax = cli(*arguments)
    assert lax.code == 0
    assert "warning: k = 100 was left out: the run has 60 rows\n" in lax.err
    assert cli(*arguments, "--strict").code == 3


def test_unknown_analyses_are_usage_errors(imported: Path, cli: Any) -> None:
    answer = cli("measure", imported, "--analyses", "two_nm")
    assert answer.code == 2
    assert "no analysis two_nm; there are: two_nn" in answer.err


def test_report_prints_the_page(imported: Path, cli: Any) -> None:
    cli("measure", imported, "--analyses", "two_nn")
    answer = cli("report", imported, "--title", "A <title> of my own")
    assert answer.code == 0
    page = Path(answer.out.strip())
    assert page.name == "report.html"
    assert "A &lt;title&gt; of my own" in page.read_text(encoding="utf-8")


def test_cite_before_and_after_measuring(imported: Path, cli: Any) -> None:
    assert cli("cite", imported).code == 1
    cli("measure", imported, "--analyses", "two_nn")
    answer = cli("cite", imported)
    assert answer.code == 0
    assert answer.out.startswith("@article{facco2017twonn,\n")


def test_verify_finds_a_truncated_file(imported: Path, cli: Any) -> None:
    good = cli("verify", imported, "--full", "--strict")
    assert (good.code, good.out) == (0, "")
    assert good.err.endswith("good, 1 files with 60 rows\n")
    shard = next((imported / "acts").glob("rows-*"))
    shard.write_bytes(shard.read_bytes()[:-7])
    bad = cli("verify", imported)
    assert bad.code == 1
    assert bad.out.split("\t")[0] == f"acts/{shard.name}"
    answer = cli("measure", imported)
    assert answer.code == 1
    assert shard.name in answer.err


def test_list_names_sites_analyses_and_families(imported: Path, cli: Any) -> None:
    assert cli("list", "sites", imported).out.splitlines() == [
        "resid_post.0\tdepth 1, width 5",
        "resid_post.1\tdepth 2, width 5",
    ]
    assert cli("list", "sites", "python:nets.py:make").out.splitlines()[0] == "input\tdepth 0"
    names = [line.split("\t")[0] for line in cli("list", "analyses").out.splitlines()]
    assert names == list(hs.ANALYSES)
    assert "llama" in cli("list", "families").out
    assert cli("list", "sites").code == 2
    assert cli("list", "analyses", "x").code == 2
    assert cli("list", "sites", "./absent").code == 1


def test_extract_goes_on_and_refuses_other_settings(place: Path, cli: Any) -> None:
    flags = ["--network", "python:nets.py:make", "--data", "x.npy", "--pooling", "flat"]
    assert cli("extract", *flags, "--out", "run") == (0, "run\n", "")
    assert cli("extract", *flags, "--out", "run").code == 0
    answer = cli("extract", *flags, "--out", "run", "--store-dtype", "float16")
    assert answer.code == 1
    assert "--overwrite" in answer.err
    assert cli("extract", *flags, "--out", "run", "--overwrite").code == 0


def test_run_prints_the_report(place: Path, cli: Any) -> None:
    file = place / "run.toml"
    file.write_text(
        'network = "python:nets.py:make"\ndata = "x.npy"\npooling = "flat"\n'
        'analyses = ["two_nn"]\nout = "run"\n',
        encoding="utf-8",
    )
    answer = cli("run", file)
    assert (answer.code, answer.out) == (0, "run/report.html\n"), answer.err
    assert Path("run/report.html").exists()


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--sites", "module:9"], 1, "no module at path '9'"),
        (["--data", "absent.npy"], 1, "absent.npy"),
        (["--network", "python:nets.py:absent"], 2, "nets.py has no function absent"),
        (["--device", "cuda:77"], 1, "cuda:77"),
        (["--limit", "2"], 2, "--limit"),
    ],
)
def test_extract_with_bad_input(
    place: Path, cli: Any, flags: list[str], code: int, message: str
) -> None:
    base = ["--network", "python:nets.py:make", "--data", "x.npy", "--pooling", "flat"]
    answer = cli("extract", *base, *flags, "--out", "run")
    assert answer.code == code
    assert message in answer.err
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1


def test_an_output_that_cannot_be_written_is_one_line(place: Path, cli: Any) -> None:
    Path("file").write_text("", encoding="utf-8")
    answer = cli("import", "layers.npz", "--out", "file/run")
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert "file/run" in answer.err


def test_rows_are_computed_again_and_sites_are_added(tmp_path: Path, cli: Any) -> None:
    out = str(tmp_path / "run")
    given = ["--network", "demo", "--data", "digits", "--limit", "30", "--out", out]
    assert cli("extract", *given).code == 0
    done = cli("verify", out, "--deep", "5", "--strict")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split("\t") == ["site", "relative difference", "first neighbours kept"]
    assert all(float(line.split("\t")[1]) < 1e-5 for line in lines[1:])
    assert cli("extract", *given, "--sites", "mlp_act.0", "--add", "mlp").code == 0
    assert "mlp_act.0@mean" in hs.open_store(out).keys
    assert cli("extract", *given, "--add", "mlp", "--shard", "0/2").code == 2
    again = cli("extract", *given, "--sites", "mlp_act.0", "--add", "other")
    assert again.code == 1
    assert "is there already" in again.err


def test_points_that_the_network_does_not_give_are_found(tmp_path: Path, cli: Any) -> None:
    out = tmp_path / "run"
    given = ["--network", "demo", "--data", "digits", "--limit", "30", "--out", str(out)]
    assert cli("extract", *given).code == 0
    info = json.loads((out / "run.json").read_text(encoding="utf-8"))
    nets = tmp_path / "nets.py"
    nets.write_text(
        "from hiddenscape.models.demo import load_demo_network\n"
        "def make():\n    return load_demo_network(None, untrained=True, seed=3)\n",
        encoding="utf-8",
    )
    info["config"]["network"] = f"python:{nets}:make"
    (out / "run.json").write_text(json.dumps(info), encoding="utf-8")
    answer = cli("verify", out, "--deep", "4")
    assert answer.code == 1
    assert "NOT good" in answer.err
    assert "model.weights_hash" in answer.err
