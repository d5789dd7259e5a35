"""Latent codes: found by structure, confirmed by the network's own output, drawn per row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hiddenscape.data.arrays import array_dataset
from hiddenscape.errors import InputError, SiteError
from hiddenscape.extraction import extract
from hiddenscape.models.describe import describe_sites
from hiddenscape.models.latent import draw
from hiddenscape.models.network import Batch, TorchNetwork
from hiddenscape.models.selfcheck import self_check
from hiddenscape.models.wrapping import wrap_module


class Heads(nn.Module):
    """Two heads on a trunk; the code is drawn anew in every pass, also in eval mode."""

    def __init__(
        self,
        mean: str = "fc_mu",
        spread: str = "fc_logvar",
        *,
        random: bool = True,
        gives: str = "",
    ) -> None:
        super().__init__()
        self.names, self.random, self.gives = (mean, spread), random, gives
        self.trunk = nn.Sequential(nn.Linear(6, 8), nn.Tanh())
        self.add_module(mean, nn.Linear(8, 3))
        self.add_module(spread, nn.Linear(8, 3))
        self.decoder = nn.Linear(3, 6)

    def forward(self, x: torch.Tensor) -> object:
        h = self.trunk(x)
        mean, logvar = (self.get_submodule(n)(h) for n in self.names)
        code = mean
        if self.random:
            code = mean + torch.exp(logvar / 2) * torch.randn_like(mean)
        again = self.decoder(code)
        spread = torch.exp(logvar / 2) if self.gives == "std" else logvar
        return again if self.gives == "nothing" else (again, {"code": [mean, spread]})


class Joint(nn.Module):
    """disentangling-vae: one map gives both, as pairs; the encoder returns a tuple."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(6, 8)
            self.mu_logvar_gen = nn.Linear(8, 20)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            pairs = self.mu_logvar_gen(torch.relu(self.lin(x)))
            return tuple(pairs.view(-1, 10, 2).unbind(-1))

    def __init__(self) -> None:
        super().__init__()
        self.encoder = self.Encoder()
        self.decoder = nn.Linear(10, 6)

    def forward(self, x: torch.Tensor) -> tuple[object, ...]:
        mean, logvar = self.encoder(x)
        return self.decoder(mean), (mean, logvar), mean


def rows(count: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


def batch(count: int = 4, first: int = 0) -> Batch:
    x = torch.from_numpy(rows())[first : first + count]
    return Batch(args=(x,), rows=tuple(range(first, first + count)))


def checked(model: nn.Module, **options: object) -> TorchNetwork:
    torch.manual_seed(1)
    return self_check(wrap_module(model, **options), batch())  # type: ignore[arg-type]


def test_one_map_for_both_is_read_as_pairs():
    torch.manual_seed(0)
    network = checked(Joint())
    assert network.withdrawn == {}
    found = network.trace(batch(), "latent_mean, latent_sample")
    model = network.module
    with torch.inference_mode():
        hidden = torch.relu(model.encoder.lin(batch().args[0]))
        pairs = model.encoder.mu_logvar_gen(hidden).reshape(-1, 10, 2)
    torch.testing.assert_close(found["latent_mean"], pairs[..., 0], rtol=0, atol=0)
    expected = draw(pairs[..., 0], pairs[..., 1], range(4))
    torch.testing.assert_close(found["latent_sample"], expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("mean", "spread"),
    [("fc_mu", "fc_logvar"), ("mu", "logvar"), ("mean", "log_var"), ("z_mean", "z_log_var"),
     ("mu_head", "logvar_head"), ("fc_mean", "fc_logvariance")],
)  # fmt: skip
def test_two_heads_are_found_by_their_names(mean, spread):
    network = checked(Heads(mean, spread, random=False))
    assert network.places["latent_mean"].path == mean
    assert network.places["latent_sample"].parts[1].path == spread
    assert {c.name for c in network.checks if c.passed} >= {"latent", "latent spread"}


def test_a_network_that_draws_anew_keeps_what_can_be_reproduced():
    network = checked(Heads())
    assert set(network.withdrawn) == {"module:decoder"}
    assert "draws anew in every pass" in network.withdrawn["module:decoder"]
    names = [p.name for p in network.select("all")]
    assert names == ["input", "module:trunk.0", "module:trunk.1", "latent_mean", "module:fc_logvar"]
    first, second = (network.trace(batch(), "latent_mean, latent_sample") for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name])


def test_a_sample_is_never_part_of_all():
    network = checked(Joint())
    assert "latent_sample" in network.places
    assert "latent_sample" not in [p.name for p in network.select("all")]
    rows = {r.name: r for r in describe_sites(network).rows}
    assert rows["latent_mean"].chosen
    assert not rows["latent_sample"].chosen


def test_the_noise_belongs_to_the_row_and_the_seed(tmp_path: Path):
    network = wrap_module(Heads())
    data = array_dataset(rows())
    sites = "latent_mean, latent_sample, latent_sample.7"
    one = extract(network, data, tmp_path / "a", sites=sites, batch_size=5, shard_rows=7)
    two = extract(network, data, tmp_path / "b", sites=sites, batch_size=1, shard_rows=12)
    for key in ("latent_sample", "latent_sample.7"):
        np.testing.assert_allclose(one[key][:], two[key][:], rtol=1e-5, atol=1e-6)
    assert np.abs(one["latent_sample"][:] - one["latent_sample.7"][:]).max() > 0.1
    noise = one["latent_sample"][:] - one["latent_mean"][:]
    logvar = wrap_module(network.module, ["fc_logvar"]).trace(
        Batch(args=(torch.from_numpy(rows()),)), "module:fc_logvar"
    )["module:fc_logvar"]
    eps = noise / np.exp(logvar.numpy() / 2)
    for row in range(12):
        expected = np.random.default_rng([0, 4, row]).standard_normal(3)
        np.testing.assert_allclose(eps[row], expected, rtol=1e-3, atol=1e-4)
    assert one.sites[-1].name.startswith("latent_sample")


def test_moments_of_the_noise():
    mean = torch.full((4000, 2), 3.0)
    value = draw(mean, torch.full((4000, 2), np.log(4.0)), range(4000))
    np.testing.assert_allclose(value.mean(0).numpy(), 3.0, atol=5 * 2 / 4000**0.5)
    np.testing.assert_allclose(value.std(0).numpy(), 2.0, rtol=0.06)


def test_a_batch_without_row_numbers_gives_no_sample():
    network = checked(Joint())
    with pytest.raises(InputError, match="does not know its row numbers"):
        network.trace(Batch(args=batch().args), "latent_sample")
    assert network.trace(Batch(args=batch().args), "latent_mean")


@pytest.mark.parametrize("spread", ["fc_var", "fc_sigma", "fc_log_std"])
def test_a_spread_of_unclear_meaning_gives_no_sample(spread):
    network = checked(Heads("fc_mu", spread))
    assert "latent_mean" in network.places
    with pytest.raises(SiteError, match=f"{spread!r} may give variances.*latent_logvar"):
        network.select("latent_sample")


def test_the_user_says_what_is_what():
    model = Heads("fc_mu", "fc_var")
    network = checked(model, sites={"latent_mean": "fc_mu", "latent_logvar": "fc_var"})
    found = network.trace(batch(), "latent_mean, latent_logvar, latent_sample")
    expected = draw(found["latent_mean"], found["latent_logvar"], range(4))
    torch.testing.assert_close(found["latent_sample"], expected, rtol=0, atol=0)


def test_heads_that_the_output_does_not_confirm_are_not_offered():
    network = checked(Heads(gives="nothing"))
    for name in ("latent_mean", "latent_sample"):
        with pytest.raises(SiteError, match="nothing that the network returns equals this mean"):
            network.select(name)
    assert network.select("module:fc_mu")


def test_a_reported_standard_deviation_confirms_the_log_variance():
    network = checked(Heads(gives="std"))
    assert "latent_sample" in network.places


def test_two_latent_codes_are_ambiguous():
    model = nn.ModuleDict({"a": Heads(), "b": Heads()})
    network = wrap_module(model)
    with pytest.raises(SiteError, match=r"several modules may give a latent mean \(a.fc_mu, b.fc"):
        network.select("latent_mean")


def test_networks_without_a_code_have_none():
    for model in (nn.Sequential(nn.Linear(2, 2)), Heads("fc_one", "fc_two")):
        network = wrap_module(model)
        assert not any(n.startswith("latent") for n in (*network.places, *network.withdrawn))


def test_an_encoder_that_draws_at_random_itself_is_refused():
    from hiddenscape.errors import NetworkError

    class Noisy(Heads):
        def forward(self, x: torch.Tensor) -> object:
            return super().forward(x + torch.randn_like(x))

    with pytest.raises(NetworkError, match="two passes over the same input differ"):
        checked(Noisy())
