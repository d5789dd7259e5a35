"""The formula of a norm: (c(x) / s(x)) * gain + bias, found by calling the module.

``c`` subtracts the mean over features, or does nothing in norms that only scale; s(x) =
sqrt(mean(c(x)^2) + eps). With s taken from another vector the norm is linear: that is what adds up
over the components of a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hiddenscape.models.hooks import unwrap

__all__ = ["NormFormula", "fit_norm", "norm_formula"]

_FACTOR = 8.0
_EPS_NAMES = ("eps", "variance_epsilon", "epsilon", "norm_eps")
_EPS_USUAL = (1e-5, 1e-6, 1e-12)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NormFormula:
    """A norm as numbers, in float64 on the host; None for a gain or bias that it lacks."""

    centered: bool
    eps: float
    gain: torch.Tensor | None
    bias: torch.Tensor | None

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """s(x), with a last axis of length 1."""
        return (self.centre(x).square().mean(-1, keepdim=True) + self.eps).sqrt()

    def centre(self, x: torch.Tensor) -> torch.Tensor:
        """c(x)."""
        return x - x.mean(-1, keepdim=True) if self.centered else x

    def frozen(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """gain * c(x) / scale: linear in x, without the bias."""
        x = self.centre(x) / scale
        return x if self.gain is None else x * self.gain

    def pull(self, direction: torch.Tensor) -> torch.Tensor:
        """The direction w for which frozen(x, s) . direction = x . w / s, for every x."""
        return self.centre(direction if self.gain is None else direction * self.gain)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        out = self.frozen(x, self.scale(x))
        return out if self.bias is None else out + self.bias


def norm_formula(norm: nn.Module, found: Mapping[str, Any]) -> NormFormula:
    """The norm with what :func:`fit_norm` found out about it."""
    gain = None
    if found["gain"] != "none":
        gain = norm.get_parameter("weight").detach().cpu().double()
        gain = gain + 1.0 if found["gain"] == "1 + weight" else gain
    bias = norm.get_parameter("bias").detach().cpu().double() if found["bias"] else None
    return NormFormula(centered=found["centered"], eps=found["eps"], gain=gain, bias=bias)


def fit_norm(
    norm: nn.Module, width: int, dtype: torch.dtype, device: torch.device
) -> tuple[dict[str, Any] | None, float, float]:
    """(formula or None, its error, the error allowed), on random vectors."""
    generator = torch.Generator().manual_seed(1)
    # Neither centred nor large: centring and eps both show.
    probe = torch.randn((1, 6, width), generator=generator, dtype=torch.float64)
    probe = (0.1 * probe + 0.05).to(dtype).to(device)
    with torch.inference_mode():
        given = unwrap(norm(probe), where=type(norm).__name__).cpu().double()
    # Many norms compute in float32 whatever the dtype of the network.
    eps = max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
    best, size, limit = None, float("inf"), 0.0
    for found in _candidates(norm):
        ours = norm_formula(norm, found)(probe.cpu().double())
        gap = float((ours - given).abs().max())
        if gap < size:
            best, size, limit = found, gap, _FACTOR * eps * float(ours.abs().max())
    return (best if size <= limit else None), size, limit


def _candidates(norm: nn.Module) -> list[dict[str, Any]]:
    declared = [getattr(norm, name, None) for name in _EPS_NAMES]
    known = [float(v) for v in declared if isinstance(v, float)] or list(_EPS_USUAL)
    weight = getattr(norm, "weight", None)
    gains = ("weight", "1 + weight") if isinstance(weight, torch.Tensor) else ("none",)
    bias = isinstance(getattr(norm, "bias", None), torch.Tensor)
    return [
        {"centered": centered, "eps": eps, "gain": gain, "bias": bias}
        for centered in (True, False)
        for eps in known
        for gain in gains
    ]
