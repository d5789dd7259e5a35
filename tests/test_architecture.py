"""The house holds: who imports whom, what importing costs, and what the public page shows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hiddenscape

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "hiddenscape"
BASE = {"types", "errors", "results", "files", "pointwise", "_version"}
ALLOWED: dict[str, set[str]] = {
    "kernels": set(),
    "engines": set(),
    "store": set(),
    "data": set(),
    "models": set(),
    "table": set(),
    "profile": set(),
    "spec": set(),
    "neighbors": {"kernels", "engines"},
    "dimension": {"neighbors", "kernels"},
    "comparison": {"neighbors", "kernels"},
    "density": {"neighbors", "kernels"},
    "clustering": {"density", "neighbors", "kernels"},
    "compat": {"clustering", "comparison", "density", "dimension", "neighbors"},
    "sklearn": {"clustering", "density", "dimension", "neighbors", "kernels"},
    "analyses": {"neighbors", "kernels", "dimension", "density", "clustering", "comparison"},
    "extraction": {"models", "data", "store", "engines"},
    "training": {"models", "data", "store", "engines"},
    "interventions": {"models", "data"},
    "runs": {"store", "table", "neighbors", "clustering"},
    "measurement": {
        "store", "neighbors", "kernels", "dimension", "analyses", "engines", "table", "runs",
        "profile",
    },
    "plots": {"table", "profile"},
    "reporting": {"plots", "table", "runs", "profile"},
    "pipeline": {
        "models", "data", "store", "extraction", "measurement", "runs", "reporting", "spec",
        "analyses", "table", "profile",
    },
}  # fmt: skip
TORCH_ALLOWED = {"models", "extraction", "training", "interventions", "testing"}
# A pickle-free read of .pt files needs torch, and only when such a file is imported; the bfloat16
# unit of a processor is reached through it, where there is one.
TORCH_LAZY_ALLOWED = {
    "kernels/products.py",
    "store/importers/pt.py",
    "cli/doctor.py",
    "dimension/autoencoder.py",
    "pipeline/networks.py",
}


def _files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(path: Path) -> list[tuple[str, bool]]:
    """Absolute names of what a file imports, and whether it does so at module level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(n) for n in ast.walk(tree) if _at_top(tree, n)}
    out = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            out += [(a.name, id(node) in top) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; spell it out"
            module = node.module or ""
            for alias in node.names:
                # `from package import module` imports the module; a name of one, its home.
                whole = f"{module}.{alias.name}"
                home = whole if module == "hiddenscape" or _is_module(whole) else module
                out.append((home, id(node) in top))
    return out


def _is_module(name: str) -> bool:
    path = SOURCE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def _at_top(tree: ast.Module, node: ast.AST) -> bool:
    return any(node is child for child in tree.body)


def test_rooms_import_only_what_the_plan_allows() -> None:
    wrong = []
    for path in _files():
        room = _room(path)
        if room in {"__init__", "cli", "testing"} | BASE:
            continue
        assert room in ALLOWED, f"{path}: the plan has no room {room!r}"
        for name, _ in _imports(path):
            if not name.startswith("hiddenscape."):
                continue
            target = name.split(".")[1]
            if target != room and target not in BASE | ALLOWED[room]:
                wrong.append(f"{path.relative_to(SOURCE)} imports {name}")
    assert not wrong, wrong


def test_base_imports_nothing_of_the_house_but_base() -> None:
    for path in _files():
        if _room(path) in BASE:
            inside = {n.split(".")[1] for n, _ in _imports(path) if n.startswith("hiddenscape.")}
            assert inside <= BASE, f"{path} imports {inside - BASE}"


def test_cli_uses_public_names_only() -> None:
    public = set(hiddenscape.__all__)
    allowed_modules = {"cli", "spec", "errors", "_version"}
    wrong = []
    for path in _files():
        if _room(path) != "cli":
            continue
        for name, _ in _imports(path):
            if name.startswith("hiddenscape."):
                target = name.split(".")[1]
                if target not in allowed_modules | public:
                    wrong.append(f"{path.name} imports {name}")
    assert not wrong, wrong


def test_nothing_imports_cli_or_testing() -> None:
    for path in _files():
        if _room(path) in {"cli", "testing"}:
            continue
        for name, _ in _imports(path):
            assert not re.match(r"hiddenscape\.(cli|testing|studies)\b", name), f"{path}: {name}"


def test_torch_and_matplotlib_stay_in_their_rooms() -> None:
    for path in _files():
        where = path.relative_to(SOURCE).as_posix()
        for name, top in _imports(path):
            package = name.split(".")[0]
            # The torch kernel is loaded by its name, when somebody asks for it.
            allowed = _room(path) in TORCH_ALLOWED or where.startswith("kernels/gpu")
            if package == "torch" and not allowed:
                assert where in TORCH_LAZY_ALLOWED, f"{where} imports torch"
                assert not top, f"{where} imports torch at module level"
            if package == "matplotlib":
                assert _room(path) == "plots", f"{where} imports matplotlib"
            if package == "pandas":
                # An AnnData file describes its rows by a frame.
                lazy = where == "store/exporters/labelled.py" and not top
                assert where == "table.py" or lazy, f"{where} imports pandas"
            if package == "transformers":
                assert not top, f"{where} imports transformers at module level"


def test_no_import_cycles() -> None:
    def module(path: Path) -> str:
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    known = {module(p): p for p in _files()}
    graph = {
        m: {n for n, top in _imports(p) if top and n in known and n != m} for m, p in known.items()
    }
    done: set[str] = set()

    def visit(m: str, trail: tuple[str, ...]) -> None:
        assert m not in trail, " -> ".join((*trail, m))
        if m not in done:
            for n in sorted(graph[m]):
                visit(n, (*trail, m))
            done.add(m)

    for m in graph:
        visit(m, ())


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_importing_the_package_is_free() -> None:
    heavy = "{'torch','matplotlib','pandas','scipy','numpy','transformers'}"
    assert _run(f"import sys, hiddenscape; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_measuring_never_loads_torch_or_matplotlib() -> None:
    code = (
        "import sys, hiddenscape as hs; hs.measure, hs.find_neighbors, hs.two_nn, hs.open_run; "
        "print(sorted({'torch', 'matplotlib', 'transformers'} & set(sys.modules)))"
    )
    assert _run(code) == "[]"


@pytest.mark.parametrize("name", [n for n in hiddenscape.__all__ if n != "__version__"])
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(hiddenscape, name)
    assert (value.__doc__ or "").strip(), f"hiddenscape.{name} has no docstring"
    # A submodule of the same name would shadow the public name once it is imported.
    assert not (SOURCE / f"{name}.py").exists()
    assert not (SOURCE / name).is_dir()


def test_type_checkers_see_every_public_name() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If))
    seen = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {n: f"hiddenscape.{home}.{n}" for n, home in hiddenscape._HOME.items()}


def test_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        hiddenscape.nonsense


def test_citation_keys_exist() -> None:
    from hiddenscape.analyses import ANALYSES

    bib = (ROOT / "references.bib").read_text(encoding="utf-8")
    keys = set(re.findall(r"^@\w+\{([^,\s]+),", bib, flags=re.MULTILINE))
    for analysis in ANALYSES.values():
        missing = set(analysis.citations) - keys
        if analysis.name not in {"duplicates", "norms"}:  # bookkeeping, nobody's method
            assert analysis.citations, f"{analysis.name} cites nothing"
        assert not missing, f"{analysis.name}: {missing} not in references.bib"


def test_library_does_not_print() -> None:
    for path in _files():
        if _room(path) in {"cli", "training"}:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            assert not (called and node.func.id == "print"), f"{path}:{node.lineno} prints"
