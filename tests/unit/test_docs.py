"""The documentation names what there is."""

from __future__ import annotations

import builtins
import inspect
import re
from pathlib import Path

import pytest

from hiddenscape import errors
from hiddenscape.cli import exits
from hiddenscape.cli.app import VERBS
from hiddenscape.results import NOTE_WORDS
from hiddenscape.spec import RunSpec

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_exception_note_and_exit_code_is_explained() -> None:
    page = _text("docs/errors.md")
    told = dict(re.findall(r"^\| `(\w+)` \((\w+)\) \|", page, flags=re.M))
    for name, c in inspect.getmembers(errors, inspect.isclass):
        if c.__module__ == errors.__name__ and c is not errors.HiddenscapeError:
            assert issubclass(c, getattr(builtins, told[name])), name
    for word in NOTE_WORDS:
        assert f"| `{word}` |" in page, word
    codes = {getattr(exits, n) for n in exits.__all__ if n.isupper()}
    assert {int(c) for c in re.findall(r"^\| (\d+) \|", page, flags=re.M)} == codes


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_in_the_pages_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for verb in re.findall(r"(?:\$ |`)hiddenscape ([a-z]+)", text):
        assert verb in VERBS, f"{page.name} shows `hiddenscape {verb}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_run_files_in_the_pages_are_valid(page: Path) -> None:
    import tomllib

    for block in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S):
        RunSpec.from_dict(tomllib.loads(block), source=page.name)


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md"])
def test_python_in_the_pages_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", _text(name), flags=re.S):
        exec(compile(block, name, "exec"), names)
    assert list(tmp_path.glob("runs/*/report.html"))
