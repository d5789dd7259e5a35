"""Prompts: what is written, which examples are drawn, and that none gives the answer away."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.data.prompts import Template, prompt_dataset
from hiddenscape.errors import ConfigError, InputError

MMLU = Template(
    header="Questions about {subject}.\n\n",
    question="{question}\nA. {choice0}\nB. {choice1}\nAnswer:",
    answer=" {answer:A|B}",
    group="subject",
)


def rows(n: int, subjects: int = 2, tag: str = "q") -> list[dict]:
    return [
        {"subject": f"s{i % subjects}", "question": f"{tag}{i}?", "choice0": "yes",
         "choice1": "no", "answer": i // subjects % 2}
        for i in range(n)
    ]  # fmt: skip


def test_a_prompt_is_header_examples_and_question():
    data = prompt_dataset(rows(2), MMLU, shots=1, shot_table=rows(2, tag="dev"))
    assert data.texts[1] == (
        "Questions about s1.\n\ndev1?\nA. yes\nB. no\nAnswer: A\n\nq1?\nA. yes\nB. no\nAnswer:"
    )
    assert {k: v.tolist() for k, v in data.labels.items()} == {
        "subject": ["s0", "s1"], "answer": [0, 0],
    }  # fmt: skip
    assert data.template_hash == MMLU.hash
    zero = prompt_dataset(rows(2), MMLU)
    assert zero.texts[0] == "Questions about s0.\n\nq0?\nA. yes\nB. no\nAnswer:"


def numbers(text: str, tag: str) -> list[int]:
    return [int(p.split("?")[0]) for p in text.split(tag)[1:]]


@given(st.integers(0, 5), st.integers(0, 99), st.sampled_from(["group", "others", "all"]))
def test_no_row_is_its_own_example(shots, seed, pool):
    table = rows(14)
    data = prompt_dataset(table, MMLU, shots=shots, seed=seed, pool=pool)
    for row, text in enumerate(data.texts):
        *examples, last = numbers(text.split("\n\n", 1)[1], "q")
        assert last == row
        assert row not in examples
        assert len(examples) == len(set(examples)) == shots
        same = {e % 2 == row % 2 for e in examples}
        assert same <= {"group": {True}, "others": {False}, "all": {True, False}}[pool]
        # The answer that follows is the one of the example.
        answers = [p[1] for p in text.split("Answer:")[1:-1]]
        assert answers == ["AB"[table[e]["answer"]] for e in examples]


def test_the_draw_depends_on_seed_and_id_alone():
    table = [{"id": f"r{i}", **r} for i, r in enumerate(rows(20))]
    whole = prompt_dataset(table, MMLU, shots=3, shot_table=rows(12, tag="dev"))
    turned = prompt_dataset(table[::-1], MMLU, shots=3, shot_table=rows(12, tag="dev"))
    assert turned.texts == whole.texts[::-1]
    assert (
        prompt_dataset(table, MMLU, shots=3, shot_table=rows(12, tag="dev"), limit=4).texts
        == (whole.texts[:4])
    )
    other = prompt_dataset(table, MMLU, shots=3, shot_table=rows(12, tag="dev"), seed=1)
    assert other.texts != whole.texts
    # Fewer examples are the first of more.
    more = prompt_dataset(table, MMLU, shots=5, shot_table=rows(12, tag="dev"))
    for few, many in zip(whole.texts, more.texts, strict=True):
        assert numbers(many, "dev")[:3] == numbers(few, "dev")


def test_every_order_of_examples_is_as_likely():
    table = [{"id": str(i), **r} for i, r in enumerate(rows(2400, subjects=1))]
    data = prompt_dataset(table, MMLU, shots=3, shot_table=rows(3, subjects=1, tag="dev"))
    orders = [tuple(numbers(t, "dev")) for t in data.texts]
    counts = [orders.count(p) for p in itertools.permutations(range(3))]
    assert sum(counts) == 2400
    # 400 each; six standard deviations are 110.
    assert max(abs(c - 400) for c in counts) < 110


def test_the_same_examples_for_all():
    data = prompt_dataset(rows(3), MMLU, shots=2, shot_table=rows(4, tag="dev"), shot_rows=[3, 0])
    assert [numbers(t, "dev") for t in data.texts] == [[3, 0]] * 3
    # A row that is among the examples gets the next one.
    data = prompt_dataset(rows(4), MMLU, shots=1, shot_rows=[1, 2])
    assert [numbers(t, "q")[0] for t in data.texts] == [1, 2, 1, 1]
    with pytest.raises(InputError, match=r"row 1 \(id '1'\): 0 examples beside itself, 1 are nee"):
        prompt_dataset(rows(4), MMLU, shots=1, shot_rows=[1])
    with pytest.raises(InputError, match="there is no row 9 in table"):
        prompt_dataset(rows(4), MMLU, shots=1, shot_rows=[9])


def test_a_question_that_reads_the_same_is_no_example(tmp_path):
    table = rows(3, subjects=1)
    table[2]["question"] = table[0]["question"]
    data = prompt_dataset(table, MMLU, shots=1)
    assert numbers(data.texts[0], "q") == [1, 0]
    assert numbers(data.texts[2], "q") == [1, 0]
    # Nor when the examples come from a copy of the table.
    with pytest.raises(InputError, match="2 examples beside itself, 3 are needed"):
        prompt_dataset(rows(3, subjects=1), MMLU, shots=3, shot_table=rows(3, subjects=1))


def test_too_few_examples_are_named():
    with pytest.raises(InputError, match=r"table: row 0 \(id '0'\): 1 examples .* 2 are needed"):
        prompt_dataset(rows(4), MMLU, shots=2)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{quest}", "no column 'quest'; it has subject, question"),
        ("{question.__class__}", "no column 'question.__class__'"),
        ("{question[0]}", r"no column 'question\[0\]'"),
        ("{question!r}", r"got \{question!r\}, expected \{field\}"),
        ("{}", r"got \{\}, expected \{field\}"),
        ("{question", "template: question: .*write a brace as"),
        ("a } b", "write a brace as"),
        ("", "question is empty"),
        ("{answer:A}", "row 2, field 'answer': got 1, expected a whole number from 0 to 0"),
        ("{subject:A|B}", "field 'subject': got 's0', expected a whole number from 0 to 1"),
    ],
)
def test_templates_hold_columns_and_nothing_else(template, message):
    with pytest.raises(InputError, match=message):
        prompt_dataset(rows(4), template)


def test_braces_and_missing_values():
    assert prompt_dataset([{"a": 1}], "{{{a}}}").texts == ("{1}",)
    with pytest.raises(InputError, match="row 0, field 'a': a prompt needs one value, got None"):
        prompt_dataset([{"a": None}], "{a}")
    with pytest.raises(InputError, match="rows 0 and 1 differ in field 'b'"):
        prompt_dataset([{"a": 1}, {"a": 2, "b": 1}], "{a}")
    with pytest.raises(InputError, match="columns differ in length"):
        prompt_dataset({"a": [1], "b": [1, 2]}, "{a}")
    assert prompt_dataset({"a": np.arange(2)}, "n {a}").texts == ("n 0", "n 1")
    for arguments in ({"shots": -1}, {"pool": "some"}):
        with pytest.raises(ConfigError, match="shots must be at least 0 and pool one of"):
            prompt_dataset([{"a": 1}], "{a}", **arguments)


def test_every_part_of_the_template_is_in_hash_and_fingerprint():
    parts = {"question": "{question}:", "answer": "{answer}", "header": "h", "separator": ";",
             "group": "subject"}  # fmt: skip
    names = ("question", "answer", "header", "separator")
    ways = [parts, {**parts, "group": ""}, *({**parts, n: parts[n] + "x"} for n in names)]
    templates = [Template(**way) for way in ways]
    assert len({t.hash for t in templates}) == len(templates)
    # Also where a part is not used, at 0 shots.
    prints = [prompt_dataset(rows(4), t).fingerprint for t in templates]
    prints += [prompt_dataset(rows(4), templates[0], **way).fingerprint for way in
               ({"seed": 1}, {"shots": 1}, {"pool": "all"}, {"shot_rows": [0]})]  # fmt: skip
    assert len(set(prints)) == len(prints)


def test_templates_from_files(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text('question = "{question}"\nanswer = " {answer:A|B}"\ngroup = "subject"\n')
    assert Template.read(path) == Template(
        question="{question}", answer=" {answer:A|B}", group="subject"
    )
    plain = tmp_path / "t.txt"
    plain.write_bytes(b"Q: {question}\r\nA:\r\n")
    assert Template.read(plain) == Template(question="Q: {question}\nA:")
    for content, message in [
        ('questions = "a"', "unknown key 'questions'; there are: question, answer"),
        ('header = "a"', "the key 'question' is missing"),
        ("question = ", "is not valid TOML"),
        ("question = 3", "question must be text"),
    ]:
        path.write_text(content)
        with pytest.raises(ConfigError, match=message):
            Template.read(path)


def test_a_table_from_a_file(tmp_path):
    (tmp_path / "q.csv").write_text("id,a,b,answer\nx,1,2,3\ny,4,5,9\n")
    data = prompt_dataset(tmp_path / "q.csv", "{a}+{b}=", shots=1, label_columns=["answer"])
    assert data.texts == ("4+5= 9\n\n1+2=", "1+2= 3\n\n4+5=")
    assert (data.ids, data.name, data.labels["answer"].tolist()) == (("x", "y"), "q", [3, 9])
