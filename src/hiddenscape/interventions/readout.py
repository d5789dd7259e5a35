"""From the stream to the logits, as far as that is linear: final norm of frozen scale, head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from hiddenscape.errors import InterventionNotSupported
from hiddenscape.interventions.rows import self_checked
from hiddenscape.models.hooks import module_at
from hiddenscape.models.network import TorchNetwork
from hiddenscape.models.norms import NormFormula, norm_formula

__all__ = ["Readout", "open_readout", "require_sites"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Readout:
    """Final norm and head of a self-checked network.

    ``head`` is (V, d) and ``bias`` (V,) or None; ``chain`` are the linear maps between norm and
    head (weight, bias), which few networks have. All on the host, in the dtype of the network.
    """

    network: TorchNetwork
    norm: NormFormula
    head: torch.Tensor
    bias: torch.Tensor | None
    chain: tuple[tuple[torch.Tensor, torch.Tensor | None], ...]

    @property
    def logits_site(self) -> str:
        """The logits that are linear in the normed stream."""
        return "logits_uncapped" if "logits_uncapped" in self.network.places else "logits"

    def direction(
        self, targets: torch.Tensor, against: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, d) directions that the normed stream is multiplied with, and (n,) constants.

        ``against`` is subtracted where it is given: the direction of a difference of logits.
        """
        v, constant = self._rows(targets)
        if against is not None:
            other, less = self._rows(against)
            v, constant = v - other, constant - less
        for weight, bias in reversed(self.chain):
            if bias is not None:
                constant = constant + v @ bias.double()
            v = v @ weight.double()
        if self.norm.bias is not None:
            constant = constant + v @ self.norm.bias
        return v, constant

    def _rows(self, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        v = self.head[targets].double()
        constant = torch.zeros(len(targets), dtype=torch.float64)
        return v, constant if self.bias is None else self.bias[targets].double()

    def frozen_logits(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """U (gain * c(x) / scale), without any constant."""
        x = self.norm.frozen(x, scale)
        for weight, _ in self.chain:
            x = x @ weight.double().T
        return x.to(self.head.dtype) @ self.head.T


def open_readout(network: TorchNetwork, what: str) -> Readout:
    """The readout of a network, which is self-checked if it was not.

    Raises
    ------
    InterventionNotSupported
        If the logits are not linear in the normed last stream, with the reason; ``what`` says for
        which purpose it was wanted.
    """
    name = type(network.module).__name__
    network = self_checked(network)
    plan = network.map
    if plan is None or plan.head is None or plan.family.maps:
        raise InterventionNotSupported(
            f"{what} of {name}: it has no head that reads a stream; load the class with its head, "
            "such as a causal language model"
        )
    if plan.family.head_input is not None or not plan.family.norm_first or not plan.final_norm:
        post = "each add is followed by a norm"
        why = (
            f"its head {plan.head!r} reads several positions, or no norm"
            if plan.family.norm_first
            else post
        )
        raise InterventionNotSupported(
            f"{what} of {name}: its logits are no linear map of the normed stream of one position "
            f"({why}); use the logit lens in mode 'own'"
        )
    head = _linear(network, plan.head, what)
    chain = tuple(_linear(network, path, what) for path in plan.before_head)
    found = network.facts.get("final_norm")
    if found is None:
        raise InterventionNotSupported(
            f"{what} of {name}: no formula of ours reproduces its final norm {plan.final_norm!r}"
        )
    norm = norm_formula(module_at(network.module, plan.final_norm), found)
    readout = Readout(network=network, norm=norm, head=head[0], bias=head[1], chain=chain)
    require_sites(network, [readout.logits_site, f"resid_post.{plan.n_blocks - 1}"], what)
    return readout


def require_sites(network: TorchNetwork, names: Sequence[str], what: str) -> None:
    """Refuse where a site that is needed did not pass the self-check."""
    for name in names:
        if name not in network.places:
            why = network.withdrawn.get(name, "the network has no such site")
            raise InterventionNotSupported(
                f"{what} of {type(network.module).__name__} needs site {name!r}: {why}"
            )


def _linear(
    network: TorchNetwork, path: str, what: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    module = module_at(network.module, path)
    if type(module) is not nn.Linear:
        raise InterventionNotSupported(
            f"{what} of {type(network.module).__name__}: its head has a transform "
            f"({type(module).__name__} at {path!r}), so a logit is no sum over parts of the "
            "stream; use the logit lens in mode 'own'"
        )
    bias = None if module.bias is None else module.bias.detach().cpu()
    return module.weight.detach().cpu(), bias
