"""Flags come from RunSpec, override the file only where typed, and reject what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

import hiddenscape
from hiddenscape.cli.options import build_spec, spec_options
from hiddenscape.errors import ConfigError
from hiddenscape.spec import GROUPS, RunSpec, options


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[RunSpec]:
    """Specs that reach ``hiddenscape.run``; nothing runs."""
    specs: list[RunSpec] = []

    def fake(spec: RunSpec, **_: object) -> str:
        specs.append(spec)
        return "the plan"

    monkeypatch.setattr(hiddenscape, "run", fake)
    return specs


def test_every_option_is_a_flag_of_run(cli: Any) -> None:
    text = cli("run", "--help").out
    for option in options():
        assert f"--{option.name.replace('_', '-')} " in text + " ", option.name


def test_a_flag_of_every_option_reaches_the_spec(cli: Any, seen: list[RunSpec]) -> None:
    samples: dict[str, Any] = {str: "text", int: 7, float: 0.5, bool: True}
    expected: dict[str, Any] = {}
    flags: list[str] = []
    for option in options():
        value = option.choices[-1] if option.choices else samples[option.kind]
        if option.kind is float and option.minimum and value < option.minimum:
            value = option.minimum + 1.5
        if option.pattern:
            value = option.default[0] if option.many else option.default
        expected[option.name] = (value,) if option.many else value
        flag = f"--{option.name.replace('_', '-')}"
        flags += [flag] if option.kind is bool else [flag, str(value)]
    answer = cli("run", "--dry-run", *flags)
    assert answer.code == 0, answer.err
    assert answer.out == "the plan\n"
    assert seen == [RunSpec(**expected)]


def test_flags_win_over_the_file_where_they_are_typed(
    cli: Any, seen: list[RunSpec], tmp_path: Path
) -> None:
    file = tmp_path / "run.toml"
    file.write_text('network = "a"\nk = [5]\nuntrained_twin = true\nseed = 3\n', encoding="utf-8")
    cli("run", "--dry-run", file, "--k", "7,9", "--no-untrained-twin")
    assert seen == [RunSpec(network="a", k=(7, 9), untrained_twin=False, seed=3)]


def test_nothing_typed_is_the_default_spec(cli: Any, seen: list[RunSpec]) -> None:
    cli("run", "--dry-run")
    assert seen == [RunSpec()]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--k", "ten"], "'ten' is not a valid integer"),
        (["--k", "5,0"], "0 is not in the range x>=1"),
        (["--dtype", "half"], "'half' is not one of"),
        (["--limit", "2"], "2 is not in the range x>=3"),
        (["--alpha", "1"], "1.0 is not in the range 0<=x<1"),
        (["--z", "-1"], "-1.0 is not in the range x>=0"),
        (["--z-scan", "1,high"], "'high' is not a valid float"),
        (["--density", "kernel"], "'kernel' is not one of"),
        (["--netwrk", "a"], "No such option '--netwrk'"),
    ],
)
def test_wrong_flags_are_usage_errors(
    cli: Any, seen: list[RunSpec], flags: list[str], message: str
) -> None:
    answer = cli("run", *flags)
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert not seen


def test_a_wrong_file_is_a_usage_error(cli: Any, seen: list[RunSpec], tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("batchtokens = 3\n", encoding="utf-8")
    answer = cli("run", file)
    assert answer.code == 2
    assert f"{file}: unknown option 'batchtokens'; did you mean batch_tokens" in answer.err
    assert not seen


def test_defaults_are_shown_in_the_help(cli: Any) -> None:
    text = " ".join(cli("run", "--help").out.split())
    assert "[default: 10,30]" in text
    assert "[default: sdpa]" in text


def test_groups_are_headings(cli: Any) -> None:
    text = cli("extract", "--help").out
    assert text.index("Network:") < text.index("Data:") < text.index("Extraction:")
    assert "Measures:" not in text


def test_single_options_can_be_chosen() -> None:
    @click.command()
    @spec_options("measure", "out")
    def command(**flags: Any) -> None:
        pass

    names = {p.name for p in command.params}
    assert names == {o.name for o in options() if o.group == "measure" or o.name == "out"}


def test_build_spec_without_a_file() -> None:
    assert build_spec(None, {"k": (3,), "out": None}) == RunSpec(k=(3,))
    with pytest.raises(ConfigError, match="unknown option"):
        build_spec(None, {"zzz": 1})


def test_groups_of_options_are_those_of_the_help() -> None:
    assert {o.group for o in options()} == set(GROUPS)
