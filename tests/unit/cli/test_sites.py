"""``hiddenscape sites``: prints what ``describe_sites`` found, and opens networks as asked."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import hiddenscape as hs
from hiddenscape.cli.sites import _NETWORK


def test_the_demo_network(cli: Any) -> None:
    answer = cli("sites", "demo")
    assert answer.code == 0
    assert answer.out.strip() == str(hs.describe_sites(hs.open_network("demo"))).strip()
    assert "resid_post.7*" in answer.out
    assert "blocks.7.hook_resid_post" in answer.out
    assert "causality: causal" in answer.out


def test_json(cli: Any) -> None:
    answer = cli("sites", "demo", "--json")
    plain = json.loads(answer.out)
    assert plain["network"] == "demo"
    rows = {row["name"]: row for row in plain["rows"]}
    assert rows["mlp_act.0"]["shape"] == [25, 256]
    assert rows["embed"]["chosen"]
    assert plain["causal"] is True


def test_every_flag_reaches_open_network(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    demo = hs.open_network("demo")

    def opened(name: str, **options: Any) -> Any:
        seen.update(options, name=name)
        return demo

    monkeypatch.setattr(hs, "open_network", opened)
    assert cli("sites", "x", "--task", "causal", "--dtype", "bfloat16", "--device", "cpu",
               "--attn", "eager", "--revision", "main", "--trust-remote-code", "--untrained",
               "--seed", "3").code == 0  # fmt: skip
    assert seen == {
        "name": "x", "task": "causal", "dtype": "bfloat16", "device": "cpu", "attn": "eager",
        "revision": "main", "trust_remote_code": True, "untrained": True, "seed": 3,
    }  # fmt: skip


def test_open_network_takes_what_the_verb_offers() -> None:
    assert set(_NETWORK) <= set(inspect.signature(hs.open_network).parameters)


def test_a_network_of_ones_own(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(3, 2), nn.ReLU())\n"
    )
    answer = cli("sites", f"python:{path}:make")
    assert answer.code == 0
    assert "module:1" in answer.out
    assert "not checked yet" in answer.out


def test_a_network_that_is_not_there(cli: Any, tmp_path: Path) -> None:
    answer = cli("sites", tmp_path / "nothing")
    assert answer.code == 1
    assert "no such folder" in answer.err
