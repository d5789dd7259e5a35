"""Hooks read the value of the moment, count firings, and leave no trace."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hiddenscape.errors import NetworkError, SiteError
from hiddenscape.models.hooks import first_input, hooks_restored, module_at, read_places, unwrap
from hiddenscape.models.sites import Place


class Chain(nn.Module):
    """Counts what runs; ``b`` changes its input in place; ``c`` runs twice; ``d`` never."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = nn.ReLU(inplace=True)
        self.c = nn.Linear(3, 3)
        self.d = nn.Linear(3, 3)
        self.pair = Pair()
        self.last = nn.Linear(3, 2)
        self.ran: list[str] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        self.ran.append("a")
        x = self.c(self.c(self.b(x)))
        self.ran.append("c")
        x, _ = self.pair(x)
        self.ran.append("pair")
        return self.last(x)


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + 1, x + 2


def read(net: nn.Module, *places: Place, x: torch.Tensor | None = None, **options):
    found: dict[str, torch.Tensor] = {}
    value = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) if x is None else x
    with torch.inference_mode():
        read_places(
            net,
            places,
            lambda: net(value),
            lambda p, v: found.__setitem__(p.name, v.clone()),
            **options,
        )
    return found


def hooks(net: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


def out(path: str, **changes) -> Place:
    return Place(name=f"module:{path}", path=path, **changes)


def test_a_later_in_place_operation_changes_nothing():
    net = Chain()
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    found = read(net, out("a"), Place(name="in", path="b", io="in"), out("b"), x=x)
    assert torch.equal(found["module:a"], net.a(x))
    assert torch.equal(found["in"], net.a(x))
    assert torch.equal(found["module:b"], net.a(x).relu())
    assert float(net.a(x).detach().min()) < 0


def test_elements_of_tuples():
    found = read(Chain(), out("pair"), Place(name="second", path="pair", index=1))
    torch.testing.assert_close(found["second"], found["module:pair"] + 1)


def test_the_pass_stops_after_the_last_requested_place():
    net = Chain()
    read(net, out("a"))
    assert net.ran == []
    read(net, out("last"))
    assert net.ran == ["a", "c", "pair"]
    net.ran.clear()
    read(net, out("a"), stop_early=False)
    assert net.ran == ["a", "c", "pair"]


def test_a_module_that_fires_twice_needs_its_call_declared():
    with pytest.raises(NetworkError, match=r"'module:c'.*fired 2 times or more.*expected 1"):
        read(Chain(), out("c"), out("last"))
    found = read(Chain(), Place(name="x", path="c", calls=2, call=0), out("c", calls=2, call=1))
    assert not torch.equal(found["x"], found["module:c"])


def test_a_module_that_never_fires_is_an_error():
    with pytest.raises(NetworkError, match="'d' fired never"):
        read(Chain(), out("a"), out("d"))


def test_hooks_are_removed_also_after_an_error():
    net = Chain()
    before = hooks(net)
    read(net, out("a"), out("last"))
    with pytest.raises(NetworkError):
        read(net, out("d"))
    with pytest.raises(RuntimeError):
        read(net, out("a"), x=torch.ones(4, 7))
    assert hooks(net) == before


def test_nothing_is_a_view_of_the_pass():
    found = read(Chain(), out("a"), x=torch.ones(512, 3))
    assert found["module:a"].untyped_storage().nbytes() == 512 * 3 * 4


def test_unknown_path_names_close_ones():
    with pytest.raises(SiteError, match=r"no module at path 'pari': did you mean pair"):
        module_at(Chain(), "pari")


@pytest.mark.parametrize(
    ("value", "index", "message"),
    [
        (3, 0, "gives a int"),
        ((torch.ones(1), None), 1, "element 1 of what .* is a NoneType"),
        ((torch.ones(1),), 1, "gives a tuple"),
        (torch.ones(1), 1, "gives one tensor"),
    ],
)
def test_unwrap_names_the_type(value, index, message):
    with pytest.raises(NetworkError, match=message):
        unwrap(value, index)


# --- rows and tokens flattened ----------------------------------------------------------------


class Flattening(nn.Module):
    """Sees (B, T, d), works on (B*T, d)."""

    def __init__(self, keep: int | None = None) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 5)
        self.keep = keep

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        flat = hidden_states.flatten(0, 1)[: self.keep]
        return self.inner(flat)


class Around(nn.Module):
    def __init__(self, keep: int | None = None) -> None:
        super().__init__()
        self.block = Flattening(keep)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(hidden_states=x)


def test_rows_and_tokens_are_put_apart_again():
    net = Around()
    x = torch.randn(4, 6, 3)
    place = {"path": "block.inner", "like": "block"}
    found = read(net, Place(name="o", **place), Place(name="i", io="in", **place), x=x)
    assert torch.equal(found["i"], x)
    assert found["o"].shape == (4, 6, 5)
    torch.testing.assert_close(found["o"], net.block.inner(x))
    assert hooks(net) == 0


def test_tokens_that_went_missing_are_an_error_and_leave_no_hooks():
    net = Around(keep=20)
    with pytest.raises(NetworkError, match=r"'o'.*gave shape \(20, 5\).*\(4, 6\) in front"):
        read(net, Place(name="o", path="block.inner", like="block"), x=torch.randn(4, 6, 3))
    assert hooks(net) == 0


def test_named_fields_of_outputs():
    value = SimpleNamespace(logits=torch.ones(2), other=3)
    assert torch.equal(unwrap(value, attribute="logits"), torch.ones(2))
    with pytest.raises(NetworkError, match="gives a SimpleNamespace without tensor 'other'"):
        unwrap(value, attribute="other")


def test_inputs_by_position_and_by_name():
    x = torch.ones(2)
    assert first_input((x,), {}, "m") is x
    assert first_input((None,), {"mask": 1, "states": x}, "m") is x
    with pytest.raises(NetworkError, match="m got no tensor"):
        first_input((3,), {"y": None}, "m")


def _hook_and_fail(net: nn.Module) -> None:
    net.a.register_forward_hook(lambda *_: None)
    net.b.register_forward_pre_hook(lambda *_, **__: None, with_kwargs=True)
    net(torch.ones(4, 7))


def test_only_hooks_from_inside_are_taken_away():
    net = Chain()
    kept = net.a.register_forward_hook(lambda *_: None)
    with pytest.raises(RuntimeError), hooks_restored(net):
        _hook_and_fail(net)
    assert hooks(net) == 1
    assert not net.b._forward_pre_hooks_with_kwargs
    kept.remove()
    assert hooks(net) == 0


def test_what_was_read_does_not_change_with_what_comes_later():
    net = Chain()
    x = torch.randn(4, 3)
    kept: dict[str, torch.Tensor] = {}

    def sink(place: Place, value: torch.Tensor) -> None:
        kept[place.name] = value.clone()
        value.fill_(float("nan"))  # whoever comes later may write

    before = net.a(x).detach()
    with torch.inference_mode():
        read_places(net, [out("a")], lambda: net(x), sink)
    assert torch.equal(kept["module:a"], before)


def test_200_passes_leave_no_tensor_behind():
    net = Chain()
    places = [out("a"), out("pair"), out("last")]

    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())

    read(net, *places)
    before = alive()
    for _ in range(200):
        read(net, *places)
    assert alive() <= before
