"""From files of every kind to a run directory, by the command line alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hiddenscape as hs

ESM = "facebook/esm2_t6_8M_UR50D"


@pytest.fixture
def proteins(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    rows = ["".join(letters[rng.integers(0, 20, n)]) for n in rng.integers(5, 30, 24)]
    fasta, labels = tmp_path / "p.fasta", tmp_path / "m.tsv"
    fasta.write_text("".join(f">P{i} x\n{s}\n" for i, s in enumerate(rows)))
    lines = [f"P{i}\t{('2.10', '2.100')[i % 2]}\t{i / 7!r}" for i in range(24)]
    labels.write_text("\n".join(["id\tfold\tmass", *lines]) + "\n")
    return fasta, labels


def test_proteins_with_a_label_map(
    cli: Any, proteins: tuple[Path, Path], hub_names: Path, tmp_path: Path
) -> None:
    fasta, labels = proteins
    flags = [
        "--network", hub_names / ESM, "--data", fasta, "--label-map", labels, "--out",
        tmp_path / "run", "--sites", "embed,resid_post.*", "--k", "5",
    ]  # fmt: skip
    answer = cli("run", *flags, "--dry-run")
    assert answer.code == 1
    assert "one number and two texts" in answer.err
    flags += ["--labels", "fold:text,mass"]
    answer = cli("run", *flags, "--dry-run")
    assert answer.code == 0, answer.err
    assert "24 rows" in answer.out
    assert not (tmp_path / "run").exists()
    answer = cli("run", *flags, "--analyses", "two_nn,label_overlap")
    assert answer.code == 0, answer.err
    run = hs.open_run(tmp_path / "run")
    assert set(run.representations.labels["fold"]) == {"2.10", "2.100"}
    np.testing.assert_array_equal(run.representations.labels["mass"], np.arange(24) / 7)
    table = run.table.select(analysis="label_overlap")
    assert table.unique("label") == ["fold"]
    measured = (tmp_path / "run" / "results").parent
    remarks = " ".join(p.read_text() for p in measured.glob("*.json"))
    assert "label 'mass' is continuous and was left out of the label overlap" in remarks


def test_other_letters_are_another_data_set(
    cli: Any, proteins: tuple[Path, Path], hub_names: Path, tmp_path: Path
) -> None:
    fasta, _ = proteins
    flags = ["--network", hub_names / ESM, "--data", fasta, "--out", tmp_path / "run",
             "--sites", "embed"]  # fmt: skip
    assert cli("extract", *flags).code == 0
    fasta.write_text(fasta.read_text().replace(">P3 x\n", ">P3 x\nA"))
    answer = cli("extract", *flags)
    assert answer.code == 1
    assert "dataset.fingerprint" in answer.err


def test_spans_go_through_to_points(cli: Any, hub_names: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text": "the cat sat", "spans": {"subject": [4, 7]}}\n'
        '{"text": "a cat", "spans": {"subject": [2, 5]}}\n'
        '{"text": "none", "spans": null}\n'
    )
    answer = cli(
        "extract", "--network", hub_names / "gpt2", "--data", tmp_path / "a.jsonl", "--out",
        tmp_path / "run", "--sites", "embed", "--pooling", "span:subject,tokens",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    run = hs.open_run(tmp_path / "run").representations
    points = np.asarray(run["embed@span:subject"][:])
    every = run["embed@tokens"]
    np.testing.assert_allclose(points[0], np.asarray(every[0])[4:7].mean(0), rtol=1e-5)
    np.testing.assert_allclose(points[1], np.asarray(every[1])[2:5].mean(0), rtol=1e-5)
    assert np.isnan(points[2]).all()


def test_missing_options_are_usage_errors(cli: Any, proteins: tuple[Path, Path]) -> None:
    fasta, _ = proteins
    flags = ["--network", "demo", "--data", fasta, "--out", "x"]
    answer = cli("run", *flags, "--shots", "3")
    assert answer.code == 2
    assert "shots: means nothing without template" in answer.err
    answer = cli("run", *flags, "--sequences", "lower")
    assert answer.code == 2
    assert "'lower' is not one of 'upper', 'rare_x'" in answer.err


def test_extract_tells_of_rows_without_values_and_sites_not_offered(
    cli: Any, hub_names: Path, tmp_path: Path
) -> None:
    texts = tmp_path / "t.txt"
    texts.write_text("one\n\ntwo\n" + "x" * 40 + "\nthree\n")
    flags = ["--data", texts, "--max-length", 20, "--overlength", "skip"]
    command = ["extract", "--network", hub_names / "gpt2", *flags, "--out", tmp_path / "a"]
    for _ in range(2):  # a finished run says it again
        answer = cli(*command)
        assert answer.code == 0, answer.err
        assert "warning: 1 empty, 1 skipped of 5 rows: see the column status" in answer.err

    (tmp_path / "nets.py").write_text(
        "import torch\n"
        "class Mixes(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x - x.mean(0)\n"
        "def make():\n"
        "    return torch.nn.Sequential(torch.nn.Linear(4, 3), Mixes())\n"
    )
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(9, 4)).astype("float32"))
    network = f"python:{tmp_path / 'nets.py'}:make"
    answer = cli("extract", "--network", network, "--data", tmp_path / "x.npy", "--pooling", "flat",
                 "--out", tmp_path / "b")  # fmt: skip
    assert answer.code == 0, answer.err
    assert "warning: site module:1 was not offered: self-check 'row independence'" in answer.err
