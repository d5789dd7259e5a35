"""The documentation names what there is."""

from __future__ import annotations

import builtins
import importlib.util
import inspect
import re
import shlex
import shutil
from pathlib import Path

import pytest

from hiddenscape import errors
from hiddenscape.cli import exits
from hiddenscape.cli.app import VERBS, group
from hiddenscape.results import NOTE_WORDS
from hiddenscape.spec import RunSpec

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/howto/*.md")])
RECIPES = sorted(
    [*ROOT.glob("docs/howto/*.md"), ROOT / "docs/extraction.md", ROOT / "docs/gallery.md"]
)
INPUTS = [f"docs/howto/{name}.md" for name in ("arrays", "images", "landscape", "proteins", "text")]


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


@pytest.fixture
def workplace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """A folder to work in, where the hub's names that pages use are tiny checkpoints."""
    if importlib.util.find_spec("transformers") is not None:
        shutil.copytree(request.getfixturevalue("hub_names"), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("page", RECIPES, ids=lambda p: p.stem)
def test_recipes_run(page: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Python blocks in order; commands between them too, where the page needs nothing else."""
    whole = page.relative_to(ROOT).as_posix() in INPUTS
    names: dict[str, object] = {}
    for language, block in re.findall(
        r"```(python|console)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S
    ):
        if language == "python":
            exec(compile(block, page.name, "exec"), names)
        elif whole:
            for line in re.findall(r"^\$ hiddenscape (.*)$", _joined(block), flags=re.M):
                code = exits.guarded(group, shlex.split(line))
                assert code == 0, f"{page.name}: {line}: {capsys.readouterr().err}"


def test_recipes_of_inputs_are_there_linked_and_short() -> None:
    index = _text("docs/index.md")
    for name in INPUTS:
        assert len(_text(name).splitlines()) <= 110, name
        assert name.removeprefix("docs/") in index, name


def _joined(block: str) -> str:
    return re.sub(r"\\\n\s*", " ", block)
