"""The doctor answers on any machine, in words and as JSON."""

from __future__ import annotations

import builtins
import json
import sys
from typing import Any

import pytest


@pytest.fixture
def findings(cli: Any) -> dict[str, dict[str, str]]:
    answer = cli("doctor", "--json")
    assert answer.code == 0
    return {line["name"]: line for line in json.loads(answer.out)}


def test_it_names_versions_cores_memory_devices_and_disk(findings: dict[str, Any]) -> None:
    for name in ("python", "torch", "numpy", "cores", "memory", "blas", "torch device"):
        assert findings[name]["value"]
    assert "float32" in findings["cpu dtypes"]["value"]
    assert findings["free disk here"]["value"].endswith("B")


def test_it_says_where_a_large_search_starts(findings: dict[str, Any]) -> None:
    assert "float32 > float64" in findings["neighbour search"]["value"]
    assert "Gflop/s" in findings["products"]["value"]


def test_words_carry_the_same_lines(cli: Any, findings: dict[str, Any]) -> None:
    answer = cli("doctor")
    assert len(answer.out.splitlines()) == len(findings)
    assert answer.err == ""


def test_hugging_face_settings_are_read(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/somewhere/hf")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lines = {x["name"]: x["value"] for x in json.loads(cli("doctor", "--json").out)}
    assert lines["Hugging Face cache"] == "/somewhere/hf, offline"


def test_broken_torch_is_reported_not_raised(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "torch":
            raise OSError("libtorch.so: cannot open shared object file")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(builtins, "__import__", broken)
    answer = cli("doctor")
    assert answer.code == 1
    assert "MISSING  torch device" in answer.out
    assert "libtorch.so" in answer.out


def test_a_missing_package_is_named_with_its_remedy(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import PackageNotFoundError

    from hiddenscape.cli import doctor

    def absent(name: str) -> str:
        if name in ("scipy", "transformers"):
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor, "version", absent)
    answer = cli("doctor")
    assert answer.code == 1
    assert "MISSING  scipy" in answer.out
    assert "pip install scipy" in answer.out
    assert 'pip install "hiddenscape[hf]"' in answer.out
