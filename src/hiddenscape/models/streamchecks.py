"""Checks of a family's map against the values it reads: shapes, residual sums, the head.

Tolerances grow with the rounding of the dtype and with the size of what is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from hiddenscape.models.hooks import module_at, unwrap
from hiddenscape.models.network import Batch, Check, TorchNetwork

__all__ = [
    "SUM_FACTOR",
    "Findings",
    "check_final_norm",
    "check_head",
    "check_shapes",
    "check_sums",
    "compare",
    "gap_of",
    "loose",
    "read_out",
]

SUM_FACTOR = 8.0
_BATCH_FACTOR = 256.0
_BATCH_LIMIT = 0.1


@dataclass(slots=True, eq=False)
class Findings:
    """What the checks found; collected here, applied once at the end."""

    checks: list[Check] = field(default_factory=list)
    withdrawn: dict[str, str] = field(default_factory=dict)
    lost_aliases: set[str] = field(default_factory=set)
    aliases: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, check: Check, names: Sequence[str] = ()) -> None:
        self.checks.append(check)
        if not check.passed:
            self.withdrawn |= dict.fromkeys(names, str(check))


def loose(
    network: TorchNetwork, values: torch.Tensor, inside: torch.dtype = torch.float64
) -> float:
    """What another batch shape may change: kernels and their order of summation differ.

    ``inside`` is the dtype of intermediate steps, where that is coarser than the network's.
    """
    eps = max(torch.finfo(network.dtype).eps, torch.finfo(inside).eps)
    scale = float(values.abs().max()) if values.numel() else 0.0
    return scale * min(_BATCH_LIMIT, _BATCH_FACTOR * eps)


def gap_of(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest absolute difference; infinity where shapes or NaN disagree."""
    if a.shape != b.shape:
        return float("inf")
    if not a.numel():
        return 0.0
    a, b = a.cpu(), b.cpu()  # float64 does not exist on every device
    wide = (a.double() - b.double()).abs()
    gap = float(wide.masked_fill(torch.isnan(a) & torch.isnan(b), 0.0).max())
    return float("inf") if gap != gap else gap


def compare(
    network: TorchNetwork, a: torch.Tensor, b: torch.Tensor, *, exact: bool = True
) -> tuple[float, float]:
    """(error, allowed) at the worst element of two tensors that should agree.

    ``exact``: the same numbers on another way, so only their own rounding; else what
    :func:`loose` allows. Either way each unit is measured by its own size and that of the typical
    unit: a few huge ones, which trained streams have, must not hide the others.
    """
    if a.shape != b.shape or not b.is_floating_point():
        return float("inf"), 0.0
    if not b.numel():
        return 0.0, 0.0
    eps = torch.finfo(network.dtype).eps
    factor = 4.0 * eps if exact else min(_BATCH_LIMIT, _BATCH_FACTOR * eps)
    x, y = a.cpu().double(), b.cpu().double()
    both = torch.isnan(x) & torch.isnan(y)
    gap = (x - y).abs().masked_fill(both, 0.0).nan_to_num(nan=float("inf"))
    size = y.abs().nan_to_num()
    bound = factor * (size + size.median())
    at = int((gap - bound).argmax())
    return float(gap.flatten()[at]), float(bound.flatten()[at])


def check_shapes(
    network: TorchNetwork, values: Mapping[str, torch.Tensor], found: Findings
) -> None:
    """(rows, tokens, units) everywhere in the blocks, and one width along the stream."""
    assert network.map is not None
    embed = values.get("embed")
    if embed is None:
        return
    single = network.map.family.final_position is not None
    worst = Check(name="shape", passed=True)
    for name, value in values.items():
        stream = name.startswith(("resid_", "attn_out", "mlp_out", "ln", "embed", "final_norm"))
        if not stream and not name.startswith(("z.", "mlp_act.")):
            continue
        lead = tuple(embed.shape[:1] if single and name == "final_norm" else embed.shape[:2])
        width = embed.shape[-1] if stream else value.shape[-1]
        if embed.ndim == 3 and tuple(value.shape) == (*lead, width):
            continue
        check = Check(
            name="shape",
            passed=False,
            size=float(value.ndim),
            limit=float(len(lead) + 1),
            where=name,
            consequence=f"expected {(*lead, width)} = (rows, tokens, units), got "
            f"{tuple(value.shape)}",
        )
        found.withdrawn[name] = str(check)
        worst = check if worst.passed else worst
    found.checks.append(worst)


def check_sums(network: TorchNetwork, values: Mapping[str, torch.Tensor], found: Findings) -> None:
    """resid_post = resid_pre + attn_out + mlp_out; in post-norm blocks two sums, each normed."""
    assert network.map is not None
    family = network.map.family
    worst: dict[str, Check] = {}
    for b in range(network.map.n_blocks):
        parts = {s: values.get(f"{s}.{b}") for s in _SUM_SITES}
        if any(x is None for x in (parts["resid_pre"], parts["resid_post"])):
            continue
        if family.norm_first:
            _sum_pre_norm(network, b, parts, worst)
        else:
            _sum_post_norm(network, b, parts, worst)
    # One wrong term leaves the others undecided: all three go.
    stems = ("attn_out", "mlp_out", "resid_mid")
    names = [f"{stem}.{b}" for stem in stems for b in range(network.map.n_blocks)]
    for check in worst.values():
        found.add(check, names)


_SUM_SITES = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")


def _sum_check(
    network: TorchNetwork,
    total: torch.Tensor,
    parts: Sequence[torch.Tensor],
    stems: Sequence[str],
    block: int,
    worst: dict[str, Check],
) -> None:
    total, parts = total.cpu(), [p.cpu() for p in parts]
    if any(p.shape != total.shape for p in parts):
        size, limit = float("inf"), 0.0
    else:
        eps = torch.finfo(network.dtype).eps
        bound = SUM_FACTOR * eps * torch.stack([p.double().abs() for p in (*parts, total)]).sum(0)
        if len(parts) == 1:  # after a norm: its sums make the error as large as the largest entry
            bound = bound.clamp(min=float(bound.max()))
        gap = (total.double() - sum(p.double() for p in parts)).abs()
        at = int((gap - bound).argmax())
        size, limit = float(gap.flatten()[at]), float(torch.as_tensor(bound).flatten()[at])
    for stem in stems:
        if stem not in worst or size - limit > worst[stem].size - worst[stem].limit:
            worst[stem] = Check(
                name=f"residual sum ({stem})",
                passed=size <= limit,
                size=size,
                limit=limit,
                where=f"block {block}",
                consequence="what is read there is not what the block adds to the stream",
            )


def _sum_pre_norm(
    network: TorchNetwork,
    block: int,
    parts: Mapping[str, torch.Tensor | None],
    worst: dict[str, Check],
) -> None:
    pre, attn, mid, mlp, post = (parts[s] for s in _SUM_SITES)
    if attn is None or mlp is None or pre is None or post is None:
        return
    _sum_check(network, post, (pre, attn, mlp), ("attn_out", "mlp_out"), block, worst)
    if mid is not None:
        _sum_check(network, mid, (pre, attn), ("resid_mid",), block, worst)


def _sum_post_norm(
    network: TorchNetwork,
    block: int,
    parts: Mapping[str, torch.Tensor | None],
    worst: dict[str, Check],
) -> None:
    """norm(resid_pre + attn_out) = resid_mid and norm(resid_mid + mlp_out) = resid_post."""
    assert network.map is not None
    pre, attn, mid, mlp, post = (parts[s] for s in _SUM_SITES)
    if attn is None or mlp is None or pre is None or post is None or mid is None:
        return
    base = f"{network.map.blocks}.{block}."
    first, second = network.map.family.post_norms
    with torch.inference_mode():
        mid_again = module_at(network.module, base + first)(pre + attn)
        post_again = module_at(network.module, base + second)(mid + mlp)
    _sum_check(network, mid, (mid_again,), ("attn_out", "resid_mid"), block, worst)
    _sum_check(network, post, (post_again,), ("mlp_out", "resid_mid"), block, worst)


def check_final_norm(
    network: TorchNetwork, values: Mapping[str, torch.Tensor], found: Findings
) -> None:
    """final_norm = the norm of resid_post.L-1."""
    assert network.map is not None
    plan = network.map
    last, given = values.get(f"resid_post.{plan.n_blocks - 1}"), values.get("final_norm")
    if plan.final_norm is None or last is None or given is None:
        return
    size, limit = compare(network, _normed(network, last), given)
    check = Check(
        name="final norm",
        passed=size <= limit,
        size=size,
        limit=limit,
        where=plan.final_norm,
        consequence="it is not a norm of the stream that leaves the last block",
    )
    found.add(check, ["final_norm"])


def check_head(
    network: TorchNetwork, batch: Batch, values: Mapping[str, torch.Tensor], found: Findings
) -> None:
    """head(final_norm(resid_post.L-1)) = logits, where capped after the cap."""
    assert network.map is not None
    plan = network.map
    last = values.get(f"resid_post.{plan.n_blocks - 1}")
    if plan.head is None or last is None or "logits" not in values:
        return
    names = ["logits", "logits_uncapped"] if plan.softcap is not None else ["logits"]
    try:
        again = read_out(network, last)
    except (TypeError, RuntimeError, ValueError, IndexError) as error:
        # A head that wants more than the stream (a second head, a pooled vector).
        why = " ".join(str(error).split())[:120]
        failed = Check(
            name="logits", passed=False, where=plan.head, consequence=f"it cannot be called: {why}"
        )
        found.add(failed, names)
        return
    given = network.forward(batch)
    logits = getattr(given, "logits", given)
    pairs: list[Any] = []
    if plan.softcap is not None:
        pairs.append((again, values["logits_uncapped"]))
        again = plan.softcap * torch.tanh(again / plan.softcap)
    pairs.append((again, values["logits"]))
    if isinstance(logits, torch.Tensor):
        pairs.append((again, logits))
    # Some networks widen or narrow their logits to float32.
    limit = max(loose(network, b, torch.float32) for _, b in pairs)
    size = max(gap_of(a, b) for a, b in pairs)
    found.add(
        Check(
            name="logits",
            passed=size <= limit,
            size=size,
            limit=limit,
            where=plan.head,
            consequence="the head does not read the final norm of the last stream",
        ),
        names,
    )


def _normed(network: TorchNetwork, last: torch.Tensor) -> torch.Tensor:
    assert network.map is not None
    plan = network.map
    if plan.final_norm is None:
        return last
    at = plan.family.final_position
    with torch.inference_mode():
        norm = module_at(network.module, plan.final_norm)
        return unwrap(norm(last if at is None else last[:, at]))


def read_out(network: TorchNetwork, last: torch.Tensor) -> torch.Tensor:
    """head(final_norm(last)) by the network's own modules, before a soft cap."""
    assert network.map is not None
    plan, root = network.map, network.module
    with torch.inference_mode():
        state = _normed(network, last)
        for path in plan.before_head:
            state = unwrap(module_at(root, path)(state))
        if plan.family.head_input is not None:
            state = plan.family.head_input(state, plan.prefix)
        if plan.family.head_position is not None:
            state = state[:, plan.family.head_position]
        head = module_at(root, str(plan.head))
        dtype = next((p.dtype for p in head.parameters() if p.is_floating_point()), state.dtype)
        return unwrap(head(state.to(dtype)))
