"""Samples of a latent code: one draw per row and seed, whatever the batches are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from hiddenscape.errors import InputError
from hiddenscape.models.families.vae import LATENT_SAMPLE
from hiddenscape.models.hooks import Sink
from hiddenscape.models.sites import Place

__all__ = ["draw", "seeded_sample", "with_samples"]

_STREAM = 4
_SEEDED = re.compile(rf"^{LATENT_SAMPLE}\.(\d+)$")


def seeded_sample(name: str, places: Mapping[str, Place]) -> Place | None:
    """The place of ``latent_sample.SEED``; the seed is part of the name, hence of a manifest.

    Examples
    --------
    >>> seeded_sample("latent_sample.7", {}) is None
    True
    """
    match = _SEEDED.match(name)
    place = places.get(LATENT_SAMPLE)
    if match is None or place is None or not place.parts:
        return None
    return replace(place, name=name, seed=int(match[1]))


def draw(
    mean: torch.Tensor, logvar: torch.Tensor, rows: Sequence[int], *, seed: int = 0
) -> torch.Tensor:
    """mean + exp(logvar / 2) * eps, where eps is standard normal and keyed by (seed, row).

    Parameters
    ----------
    mean, logvar : tensor (B, ...)
        Of equal shape.
    rows : sequence of int
        Row numbers in the data set.
    seed : int

    Returns
    -------
    tensor (B, ...)
        float32, or float64 where ``mean`` is.

    Raises
    ------
    InputError
        If the shapes differ, or the rows are not as many as the means.

    Examples
    --------
    >>> mean, logvar = torch.zeros(3, 2), torch.zeros(3, 2)
    >>> torch.equal(draw(mean, logvar, [4, 5, 6])[1:], draw(mean[1:], logvar[1:], [5, 6]))
    True
    """
    if mean.shape != logvar.shape:
        raise InputError(
            f"the latent mean has shape {tuple(mean.shape)}, the log-variance "
            f"{tuple(logvar.shape)}; they must be equal: name the modules that give them in sites"
        )
    if len(rows) != len(mean):
        raise InputError(f"{len(mean)} latent means, but {len(rows)} row numbers")
    shape = tuple(mean.shape[1:])
    eps = np.stack(
        [np.random.default_rng([seed, _STREAM, int(r)]).standard_normal(shape) for r in rows]
    )
    wide = torch.float64 if mean.dtype == torch.float64 else torch.float32
    noise = torch.from_numpy(eps).to(wide).to(mean.device)
    return mean.to(wide) + torch.exp(logvar.to(wide) / 2) * noise


def with_samples(
    places: Sequence[Place], rows: Sequence[int] | None, sink: Sink
) -> tuple[list[Place], Sink]:
    """What has to be read for ``places``, and a sink that makes the samples of it.

    Raises
    ------
    InputError
        If a sample is asked for and the batch does not know its row numbers.
    """
    samples = {p.name: p for p in places if p.parts}
    if not samples:
        return list(places), sink
    if rows is None:
        raise InputError(
            f"site {next(iter(samples))!r} is drawn per row of the data set, and this batch does "
            "not know its row numbers; give them: Batch(..., rows=(0, 1, ...))"
        )
    readings = [p for p in places if not p.parts]
    whose: dict[str, tuple[str, int]] = {}
    for name, place in samples.items():
        for i, part in enumerate(place.parts):
            whose[f"{name}/{i}"] = (name, i)
            readings.append(replace(part, name=f"{name}/{i}"))
    held: dict[str, dict[int, torch.Tensor]] = {name: {} for name in samples}

    def gather(place: Place, value: torch.Tensor) -> None:
        if place.name not in whose:
            sink(place, value)
            return
        name, i = whose[place.name]
        held[name][i] = value.detach().clone()
        if len(held[name]) == len(samples[name].parts):
            mean, logvar = (held[name].pop(j) for j in (0, 1))
            sink(samples[name], draw(mean, logvar, rows, seed=samples[name].seed))

    return readings, gather
