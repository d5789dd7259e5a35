"""Any module as a network: names, depths in order of firing, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hiddenscape.errors import InputError, NetworkError, SiteError
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.selfcheck import self_check
from hiddenscape.models.wrapping import wrap_module


class Backwards(nn.Module):
    """Children are registered in another order than they fire; one never fires."""

    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Linear(4, 2)
        self.second = nn.Sequential(nn.ReLU(), nn.Linear(4, 4), nn.Dropout(0.5))
        self.first = nn.Linear(3, 4)
        self.idle = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.first(x)))


def depths(net: TorchNetwork) -> dict[str, float]:
    return {s.name: s.depth for s in net.sites}


def test_depth_is_the_order_of_firing():
    net = wrap_module(Backwards(), example=torch.ones(2, 3))
    assert depths(net) == {
        "input": 0, "module:first": 1, "module:second.0": 2, "module:second.1": 3,
        "module:third": 4,
    }  # fmt: skip
    assert "never" in net.withdrawn["module:idle"] or "0 times" in net.withdrawn["module:idle"]
    with pytest.raises(SiteError, match="'module:idle' is not offered"):
        net.select("module:idle")


def test_depth_does_not_depend_on_the_selection():
    net = wrap_module(Backwards(), example=torch.ones(2, 3))
    assert net.select("module:second.1")[0].depth == 3
    assert [p.depth for p in net.select("all")] == [0, 1, 2, 3, 4]


def test_any_other_module_can_be_read_by_path():
    net = wrap_module(Backwards(), example=torch.ones(2, 3))
    place = net.select("module:second.2")[0]
    assert 3 < place.depth < 4
    inside = net.select("module:second:in")[0]
    assert 1 < inside.depth < 2
    got = net.trace(Batch(args=(torch.ones(2, 3),)), "module:second.2, module:second.1")
    assert torch.equal(got["module:second.2"], got["module:second.1"])


def test_names_of_the_user():
    net = wrap_module(Backwards(), {"early": "first", "late": "third:in"})
    assert net.site_names == ("input", "early", "late")
    x = torch.ones(2, 3)
    got = net.trace(Batch(args=(x,)))
    torch.testing.assert_close(got["late"], net.module.second(net.module.first(x)))
    assert wrap_module(Backwards(), ["first", "second.1"]).site_names == (
        "input", "module:first", "module:second.1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        (["frist"], "no module at path 'frist': did you mean first"),
        ({"a@b": "first"}, "cannot be the name of a site"),
        ({"all": "first"}, "cannot be the name of a site"),
        (["first:sideways"], "is no module path"),
    ],
)
def test_wrong_sites(sites, message):
    with pytest.raises(SiteError, match=message):
        wrap_module(Backwards(), sites)


def test_only_modules_are_wrapped():
    with pytest.raises(InputError, match=r"expected a torch.nn.Module, got a dict"):
        wrap_module({})  # type: ignore[arg-type]


def test_the_network_is_put_into_eval_mode():
    module = Backwards().train()
    wrap_module(module)
    assert not module.training


def test_a_single_child_is_opened():
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Backwards()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

    names = wrap_module(Outer(), example=torch.ones(2, 3)).site_names
    assert names[1:] == (
        "module:net.first", "module:net.second.0", "module:net.second.1", "module:net.third",
    )  # fmt: skip


def test_recurrent_networks_by_element():
    class Rnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 5, batch_first=True)
            self.head = nn.Linear(5, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(x)[0])

    net = wrap_module(Rnn(), example=torch.ones(2, 4, 3))
    got = net.pooled(Batch(args=(torch.ones(2, 4, 3),)), [(net.select("rnn")[0], "last")])
    assert got["module:rnn@last"].shape == (2, 5)
    # The final state has layers first, not rows: the self-check finds out.
    states = wrap_module(Rnn(), {"state": "rnn:out.1", "steps": "rnn"})
    checked = self_check(states, Batch(args=(torch.randn(2, 4, 3),)))
    assert "state" in checked.withdrawn
    assert "row" in checked.withdrawn["state"]


def test_a_failing_network_names_the_shape():
    net = wrap_module(Backwards())
    with pytest.raises(NetworkError, match=r"failed on an input of \(2, 7\) torch.float32"):
        net.trace(Batch(args=(torch.ones(2, 7),)))


def test_random_networks_are_refused():
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lin(x + torch.randn_like(x))

    with pytest.raises(NetworkError, match="two passes over the same input differ"):
        self_check(wrap_module(Noisy()), Batch(args=(torch.ones(2, 3),)))


def test_rows_that_see_each_other_are_refused():
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lin(x - x.mean(0))

    net = wrap_module(Mixing(), ["lin"])
    checked = self_check(net, Batch(args=(torch.randn(3, 3),)))
    with pytest.raises(SiteError, match="rows influence each other"):
        checked.select("lin")


def test_a_child_left_in_training_mode_is_refused():
    module = Backwards()
    net = wrap_module(module)
    module.second.train()
    with pytest.raises(NetworkError, match="'second' is in training mode"):
        self_check(net, Batch(args=(torch.ones(2, 3),)))
