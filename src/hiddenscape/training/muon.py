"""Muon: momentum whose matrix updates are orthogonalised. For the hidden matrices of a network.

Reference: K. Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024,
https://kellerjordan.github.io/posts/muon. torch ships a Muon too; it works in bfloat16, which
CPUs without native support emulate an order of magnitude too slowly, and one matrix at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Muon", "orthogonalise"]


def orthogonalise(
    matrices: Float[Tensor, "b rows columns"], steps: int = 5
) -> Float[Tensor, "b rows columns"]:
    """Push the singular values of each matrix towards 1 (to within about 0.3).

    Newton-Schulz: X <- a X + (b A + c A^2) X with A = X X^T and
    (a, b, c) = (3.4445, -4.7750, 2.0315), after dividing X by its Frobenius norm.

    Examples
    --------
    >>> x = orthogonalise(torch.diag(torch.tensor([3.0, 1.0]))[None])
    >>> bool(((torch.linalg.svdvals(x) - 1).abs() < 0.35).all())
    True
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if tall else x
    return result


class Muon(torch.optim.Optimizer):
    """W <- (1 - lr * decay) W - lr * sqrt(max(1, rows / columns)) * orthogonalise(g'),

    with g' = (1 - m) g + m v (Nesterov) and v <- m v + (1 - m) g. Matrices of one shape are
    orthogonalised in one batch.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Apply one update; ``closure`` is accepted for the interface and not called."""
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[tuple(parameter.shape)].append(parameter)
            for shape, parameters in shapes.items():
                self._update(shape, parameters, group)

    def _update(
        self, shape: tuple[int, ...], parameters: list[Tensor], group: dict[str, Any]
    ) -> None:
        momentum, lr = group["momentum"], group["lr"]
        updates = []
        for parameter in parameters:
            gradient = parameter.grad
            assert gradient is not None
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            velocity = state["momentum"].lerp_(gradient, 1 - momentum)
            updates.append(gradient.lerp(velocity, momentum))
        gain = max(1.0, shape[0] / shape[1]) ** 0.5
        for parameter, update in zip(parameters, orthogonalise(torch.stack(updates)), strict=True):
            parameter.mul_(1 - lr * group["weight_decay"]).add_(update, alpha=-lr * gain)
