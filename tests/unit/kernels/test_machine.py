from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hiddenscape.kernels import machine, products


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = machine.measured_rates, machine.has_bfloat16_unit
    for function in kept:
        function.cache_clear()
    yield
    for function in kept:
        function.cache_clear()


def test_rates_are_measured_once_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rates = machine.measured_rates()
    assert rates["float32"] > 1e7
    assert rates["float64"] > 1e7
    kept = tmp_path / "hiddenscape" / "machine.json"
    assert json.loads(kept.read_text())["rates"] == rates
    machine.measured_rates.cache_clear()
    monkeypatch.setattr(machine, "_rate", lambda name: pytest.fail("measured again"))
    assert machine.measured_rates() == rates


@pytest.mark.parametrize("damage", ["", "[]", '{"key": 1}', '{"rates": {"float32": -1}}'])
def test_a_damaged_record_is_measured_anew(
    damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "hiddenscape").mkdir()
    (tmp_path / "hiddenscape" / "machine.json").write_text(damage)
    monkeypatch.setattr(machine, "_rate", lambda name: 5.0)
    assert machine.measured_rates()["float32"] == 5.0


@pytest.mark.parametrize(
    ("rate", "rungs"),
    [
        (1.0, ["float32", "float64"]),
        (2.0, ["bfloat16", "float32", "float64"]),
        (16.0, ["bfloat16", "bfloat16x3", "float32", "float64"]),
    ],
)
def test_the_ladder_follows_the_rates(
    rate: float, rungs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has_bfloat16_unit", lambda: True)
    monkeypatch.setattr(machine, "measured_rates", lambda: {"bfloat16": rate, "float32": 1.0})
    assert [name for name, _ in machine.ladder("auto", small=False)] == rungs
    assert machine.ladder("auto", small=True) == [("float64", False)]


def test_without_a_unit_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIDDENSCAPE_BFLOAT16", "0")
    monkeypatch.setattr(machine, "_rate", lambda name: pytest.fail("measured"))
    assert [name for name, _ in machine.ladder("auto", small=False)] == ["float32", "float64"]


def test_the_unit_is_measured_as_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    if matmul is None:
        pytest.skip("torch before 2.9")
    seen = []
    honest = products._on_unit

    def spy(*a: object) -> None:
        seen.append((matmul.fp32_precision, torch.get_num_threads()))
        honest(*a)  # type: ignore[arg-type]

    monkeypatch.setattr(products, "_on_unit", spy)
    before = matmul.fp32_precision
    assert machine._rate("bfloat16") > 0
    assert {precision for precision, _ in seen} == {"bf16"}
    assert matmul.fp32_precision == before


def test_settings_of_torch_come_back_after_overlapping_searches() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = products.unit_ready(), products.unit_ready()
        with first:
            other = threading.Thread(target=second.__enter__)
            other.start()
            other.join()
        assert torch.get_num_threads() == 2
        second.__exit__(None, None, None)
        assert not products._before
    finally:
        torch.set_num_threads(before)


def test_a_forced_rung_comes_first() -> None:
    forced = machine.ladder("bfloat16", small=True)
    assert [name for name, _ in forced] == ["bfloat16", "float32", "float64"]
    assert [name for name, _ in machine.ladder("float64", small=False)] == ["float64"]
