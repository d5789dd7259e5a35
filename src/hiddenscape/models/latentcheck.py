"""Check of a latent code: what is read must be what the network itself reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from hiddenscape.models.families.vae import LATENT_LOGVAR, LATENT_MEAN, LATENT_SAMPLE
from hiddenscape.models.hooks import read_places
from hiddenscape.models.network import Batch, Check, TorchNetwork
from hiddenscape.models.streamchecks import Findings, gap_of, loose

__all__ = ["check_latent"]


def check_latent(
    network: TorchNetwork, batch: Batch, values: Mapping[str, torch.Tensor], found: Findings
) -> None:
    """Mean and log-variance (or its standard deviation) are in the network's output.

    Modules found by their names are not trusted: where the output does not hold what they give,
    their sites are withdrawn. What the user named stands.
    """
    mean, sample = network.places[LATENT_MEAN], network.places.get(LATENT_SAMPLE)
    if sample is None and LATENT_SAMPLE not in network.withdrawn:
        return  # one named site, nothing assumed
    if LATENT_LOGVAR in network.places:
        found.checks.append(Check(name="latent", passed=True, consequence="as named by the user"))
        return
    parts = {} if sample is None else _parts(network, batch, sample.parts[1])
    given = list(_tensors(network.forward(batch)))
    limit = loose(network, values[LATENT_MEAN])
    off = _nearest(values[LATENT_MEAN], given)
    said = f"sites={{'latent_mean': {mean.path!r}, 'latent_logvar': ...}}"
    found.add(
        Check(
            name="latent",
            passed=off <= limit,
            size=off,
            limit=limit,
            where=mean.path,
            consequence="the output of the network holds the mean"
            if off <= limit
            else f"nothing that the network returns equals this mean; if it is one, say {said}",
        ),
        [LATENT_MEAN, LATENT_SAMPLE],
    )
    if off > limit or not parts:
        return
    logvar = parts[LATENT_LOGVAR]
    forms = (logvar, torch.exp(logvar), torch.exp(logvar / 2))
    size = min(_nearest(form, given) for form in forms)
    limit = loose(network, torch.exp(logvar.abs()))
    found.add(
        Check(
            name="latent spread",
            passed=size <= limit,
            size=size,
            limit=limit,
            where=sample.parts[1].path if sample else "",
            consequence="nothing that the network returns equals this log-variance, the variance "
            f"or the standard deviation; if it is one, say {said}",
        ),
        [LATENT_SAMPLE],
    )


def _parts(network: TorchNetwork, batch: Batch, logvar: Any) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    read_places(
        network.module,
        [logvar],
        lambda: network.forward(batch),
        lambda _, value: found.__setitem__(LATENT_LOGVAR, value.detach().clone()),
    )
    return found


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in what a network returned, however it is nested."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)


def _nearest(value: torch.Tensor, given: list[torch.Tensor]) -> float:
    return min((gap_of(value, other) for other in given), default=float("inf"))
