"""Real inputs: MMLU prompts as published, CATH codes that are no numbers, a corpus in windows."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import hiddenscape as hs
from hiddenscape.errors import InputError

pytestmark = pytest.mark.real

TEMPLATE = hs.Template(
    header="The following are multiple choice questions (with answers) about {subject}.\n\n",
    question=("{question}\nA. {choice0}\nB. {choice1}\nC. {choice2}\nD. {choice3}\nAnswer:"),
    answer=" {answer:A|B|C|D}",
    group="subject",
)


def questions(data: Path, split: str) -> list[dict[str, str]]:
    rows = []
    for path in sorted((data / "text_mmlu" / split).glob("*.csv")):
        subject = path.stem.removesuffix(f"_{split}").replace("_", " ")
        with path.open(encoding="utf-8", newline="") as stream:
            rows += [
                {"id": f"{subject}:{i}", "subject": subject, **row}
                for i, row in enumerate(csv.DictReader(stream))
            ]
    return rows


def test_five_shot_prompts_of_mmlu(data: Path) -> None:
    test, dev = questions(data, "test"), questions(data, "dev")
    assert (len(test), len(dev)) == (14_042, 285)
    zero = hs.prompt_dataset(test, TEMPLATE)
    five = hs.prompt_dataset(test, TEMPLATE, shots=5, shot_table=dev)
    first = test[0]
    question = "\n".join(
        [first["question"], *(f"{c}. {first[f'choice{i}']}" for i, c in enumerate("ABCD"))]
    )
    header = "The following are multiple choice questions (with answers) about abstract algebra."
    assert zero.texts[0] == f"{header}\n\n{question}\nAnswer:"
    assert len(set(zero.labels["subject"])) == 57
    assert zero.template_hash == five.template_hash
    assert zero.fingerprint != five.fingerprint
    solved = {}
    for row in dev:
        choices = "\n".join(f"{c}. {row[f'choice{i}']}" for i, c in enumerate("ABCD"))
        text = f"{row['question']}\n{choices}\nAnswer: {'ABCD'[int(row['answer'])]}\n\n"
        solved.setdefault(row["subject"], set()).add(text)
    orders = set()
    for row, text in zip(test[:300], five.texts[:300], strict=True):
        head = f"The following are multiple choice questions (with answers) about {row['subject']}."
        rest = text.removeprefix(head + "\n\n")
        found = {piece for piece in solved[row["subject"]] if piece in rest}
        assert found == solved[row["subject"]]
        assert text.endswith(zero.texts[test.index(row)].removeprefix(head + "\n\n"))
        orders.add(tuple(sorted(found, key=rest.index)))
    assert len(orders) > 100  # an order of its own for each question


def test_codes_of_cath_are_no_numbers(data: Path) -> None:
    path = data / "proteins_cath" / "cath_chains.tsv"
    with pytest.raises(InputError, match=r"field 'architecture': '.*' and '.*' .* one number"):
        hs.open_dataset(path, text="sequence")
    wanted = ["class", "architecture:text", "topology", "superfamily", "length"]
    rows = hs.text_dataset(
        path, text="sequence", label_columns=wanted, id_column="cath_id", rules=hs.SequenceRules()
    )
    assert len(rows) == 3496
    counts = {name: len(set(rows.labels[name].tolist())) for name in wanted[:1]}
    assert counts == {"class": 5}
    assert len(set(rows.labels["architecture"])) == 37
    assert len(set(rows.labels["topology"])) == 516
    assert len(set(rows.labels["superfamily"])) == 914
    assert rows.labels["length"].tolist() == [len(t) for t in rows.texts]


def test_fasta_and_map_are_the_table(data: Path, tmp_path: Path) -> None:
    path = data / "proteins_cath" / "cath_chains.tsv"
    rows = hs.text_dataset(
        path, text="sequence", id_column="cath_id", label_columns=["superfamily"]
    )
    lines = [f">{i}\n{t}\n" for i, t in zip(rows.ids, rows.texts, strict=True)]
    (tmp_path / "cath.fasta").write_text("".join(lines))
    found = hs.fasta_dataset(tmp_path / "cath.fasta", label_map=path, label_columns=["superfamily"])
    assert (found.ids, found.texts) == (rows.ids, rows.texts)
    assert found.labels["superfamily"].tolist() == rows.labels["superfamily"].tolist()
    rare = hs.fasta_dataset(tmp_path / "cath.fasta", rare="X", spaced=True)
    assert rare.texts[0] == " ".join(rows.texts[0])


def test_a_corpus_in_windows(data: Path) -> None:
    path = data / "text_tinyshakespeare" / "input.txt"
    whole = path.read_text(encoding="utf-8")
    by_words = hs.window_dataset(path, 20)
    assert [w for t in by_words.texts for w in t.split()] == whole.split()
    assert all(t in whole for t in by_words.texts[:50])
    by_chars = hs.window_dataset(path, 1000, unit="chars")
    assert "".join(by_chars.texts or ()) == whole
