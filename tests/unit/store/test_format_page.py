"""The page on the format: what it shows runs, what it counts is complete."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hiddenscape.testing.store_suite import random_store

PAGE = Path(__file__).resolve().parents[3] / "docs" / "format.md"


def test_the_example_reads_a_store_without_hiddenscape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert "hiddenscape" not in code
    store = random_store(tmp_path / "RUN")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    points = names["points"]
    assert isinstance(points, dict)
    assert set(points) == set(store.keys)
    for key, array in points.items():
        np.testing.assert_array_equal(array, store[key])


def test_every_sentence_has_its_number() -> None:
    numbers = re.findall(r"^- \*\*S(\d+)\.\*\*", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(n) for n in numbers] == list(range(1, 26))
