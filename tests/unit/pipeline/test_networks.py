"""Every way to name a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import hiddenscape as hs
from hiddenscape.errors import ConfigError, InputError
from hiddenscape.models.fresh import weights_hash


def test_a_function_in_a_file_gives_a_module(place: Path) -> None:
    network = hs.open_network(f"python:{place / 'nets.py'}:make")
    assert network.name == "make"
    assert not network.module.training
    assert [s.name for s in network.sites][:2] == ["input", "module:0"]


def test_a_function_may_name_its_sites(place: Path) -> None:
    network = hs.open_network(f"python:{place / 'nets.py'}:wrapped")
    assert network.name == "given"
    assert {"hidden", "end"} <= {s.name for s in network.sites}
    assert "module:0" not in {s.name for s in network.sites}


def test_a_function_in_a_module(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "nets_of_mine.py").write_text((place / "nets.py").read_text(encoding="utf-8"))
    monkeypatch.syspath_prepend(place)
    assert hs.open_network("python:nets_of_mine:make").name == "make"


@pytest.mark.parametrize("function", ["make", "wrapped"])
def test_the_untrained_twin_has_other_weights_and_the_same_sites(
    place: Path, function: str
) -> None:
    name = f"python:{place / 'nets.py'}:{function}"
    trained = hs.open_network(name)
    twin = hs.open_network(name, untrained=True, seed=1)
    same = hs.open_network(name, untrained=True, seed=1)
    assert weights_hash(twin.module) != weights_hash(trained.module)
    assert weights_hash(twin.module) == weights_hash(same.module)
    assert twin.sites == trained.sites
    assert twin.facts["untrained_seed"] == 1


def test_dtype(place: Path) -> None:
    network = hs.open_network(f"python:{place / 'nets.py'}:make", dtype="float64")
    assert network.dtype == torch.float64


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("python:make", "expected python:MODULE:FUNCTION or python:FILE.py:FUNCTION"),
        ("python:{}/absent.py:make", "there is no file"),
        ("python:{}/nets.py:absent", "has no function absent"),
        ("python:{}/nets.py:number", "has no function number"),
        ("python:{}/nets.py:wrong", "returned a str, expected a torch.nn.Module"),
        ("python:no_such_module:make", "there is no module no_such_module"),
    ],
)
def test_what_cannot_be_resolved_is_named(place: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        hs.open_network(name.format(place))


def test_an_error_inside_a_module_is_not_hidden(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "broken_net.py").write_text("import no_such_package_anywhere\n", encoding="utf-8")
    monkeypatch.syspath_prepend(place)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_anywhere"):
        hs.open_network("python:broken_net:make")


def test_a_device_that_is_not_there(place: Path) -> None:
    with pytest.raises(InputError, match="device 'cuda:77' cannot be used"):
        hs.open_network(f"python:{place / 'nets.py'}:make", device="cuda:77")
