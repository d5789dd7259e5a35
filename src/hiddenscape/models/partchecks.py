"""Checks of what lies inside a block, and of the final norm.

Projections are checked by calling them, never by their weights: a wrapper (an adapter, a quantised
layer) then counts as what it does. Blocks looked at: the first, the middle one and the last.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from hiddenscape.models.hooks import module_at, read_places, unwrap
from hiddenscape.models.network import Batch, Check, TorchNetwork
from hiddenscape.models.norms import fit_norm
from hiddenscape.models.sites import Place
from hiddenscape.models.streamchecks import SUM_FACTOR, Findings, compare, gap_of
from hiddenscape.models.structure import head_count

__all__ = ["check_heads", "check_hidden_units", "check_norm_formula", "check_norms"]

Values = Mapping[str, torch.Tensor]


def _some_blocks(network: TorchNetwork) -> list[int]:
    assert network.map is not None
    count = network.map.n_blocks
    return sorted({0, count // 2, count - 1})


def _withdraw(found: Findings, network: TorchNetwork, check: Check, stem: str) -> None:
    assert network.map is not None
    found.add(check, [f"{stem}.{b}" for b in range(network.map.n_blocks)])


def _call(network: TorchNetwork, path: str, value: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return unwrap(module_at(network.module, path)(value), where=f"module {path!r}")


def check_norms(network: TorchNetwork, batch: Batch, values: Values, found: Findings) -> None:
    """The norms before attention and MLP read the stream that they are said to read."""
    assert network.map is not None
    sources = {"ln1_out": "resid_pre", "ln2_out": "resid_mid"}
    if network.map.parallel:
        sources["ln2_out"] = "resid_pre"
    pairs: dict[str, tuple[Place, str]] = {}
    for b in _some_blocks(network):
        for stem, source in sources.items():
            place = network.places.get(f"{stem}.{b}")
            if place is not None and f"{source}.{b}" in values:
                name = f"{place.name}:in"
                at = Place(name=name, path=place.path, io="in", like=place.like)
                pairs[name] = (at, f"{source}.{b}")
    if not pairs:
        return
    read: dict[str, torch.Tensor] = {}
    read_places(
        network.module,
        [place for place, _ in pairs.values()],
        lambda: network.forward(batch),
        lambda place, value: read.__setitem__(place.name, value.detach().clone()),
    )
    for stem, source in sources.items():
        errors = [
            (*compare(network, value, values[pairs[name][1]]), name)
            for name, value in read.items()
            if name.startswith(f"{stem}.")
        ]
        if errors:
            size, limit, where = max(errors, key=lambda e: e[0] - e[1])
            check = Check(
                name=f"norm ({stem})",
                passed=size <= limit,
                size=size,
                limit=limit,
                where=where,
                consequence=f"this norm does not read {source}",
            )
            _withdraw(found, network, check, stem)


def check_heads(network: TorchNetwork, values: Values, found: Findings) -> None:
    """Out-projection(z) = attn_out, and the shares of the heads sum to it, the bias once."""
    heads = head_count(getattr(network.module, "config", None))
    worst: Check | None = None
    for b in _some_blocks(network):
        place, z = network.places.get(f"z.{b}"), values.get(f"z.{b}")
        if place is None or z is None:
            continue
        checks = [_leads_to(network, values, place, z, f"attn_out.{b}", "heads")]
        if checks[0].passed:
            checks.append(_head_shares(network, place, z, heads or 1))
        for check in checks:
            worst = check if worst is None or (worst.passed and not check.passed) else worst
    if worst is not None:
        _withdraw(found, network, worst, "z")
        found.facts["heads"] = heads


def check_hidden_units(network: TorchNetwork, values: Values, found: Findings) -> None:
    """Out-projection(mlp_act) = mlp_out."""
    worst: Check | None = None
    for b in _some_blocks(network):
        place, units = network.places.get(f"mlp_act.{b}"), values.get(f"mlp_act.{b}")
        if place is None or units is None:
            continue
        check = _leads_to(network, values, place, units, f"mlp_out.{b}", "hidden units")
        worst = check if worst is None or (worst.passed and not check.passed) else worst
    if worst is not None:
        _withdraw(found, network, worst, "mlp_act")


def _leads_to(
    network: TorchNetwork, values: Values, place: Place, value: torch.Tensor, goal: str, name: str
) -> Check:
    """The projection, and the norm or scale that may stand in front of the add, give ``goal``."""
    target, expected = network.places.get(goal), values.get(goal)
    if target is None or expected is None:
        why = f"{goal} is not offered, so nothing says what it leads to"
        return Check(name=name, passed=False, where=place.name, consequence=why)
    try:
        out = _call(network, place.path, value)
        if target.path != place.path:
            out = _call(network, target.path, out)
    except (TypeError, RuntimeError, ValueError, IndexError) as error:
        why = f"its projection cannot be called: {' '.join(str(error).split())[:120]}"
        return Check(name=name, passed=False, where=place.name, consequence=why)
    size, limit = gap_of(out, expected), _same_call(network, expected)
    return Check(
        name=name,
        passed=size <= limit,
        size=size,
        limit=limit,
        where=place.name,
        consequence=f"its projection does not give {goal}",
    )


def _same_call(network: TorchNetwork, expected: torch.Tensor) -> float:
    """What one matrix product may differ by between two calls on the same numbers."""
    fine, own = torch.finfo(torch.float32).eps, torch.finfo(network.dtype).eps
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    return scale * max(2.0 * own, 256.0 * fine)


def _head_shares(network: TorchNetwork, place: Place, z: torch.Tensor, heads: int) -> Check:
    """f(z) = f(0) + sum over heads of (f(z of this head alone) - f(0))."""
    width = z.shape[-1]
    if width % heads:
        why = f"its {width} units cannot be split into {heads} heads"
        return Check(name="heads", passed=False, where=place.name, consequence=why)
    owner = torch.arange(width, device=z.device) // (width // heads)
    alone = torch.stack([z.masked_fill(owner != h, 0.0) for h in range(heads)])
    whole = _call(network, place.path, z).cpu().double()
    bias = _call(network, place.path, torch.zeros_like(z)).cpu().double()
    parts = _call(network, place.path, alone.flatten(0, 1)).cpu().double()
    shares = parts.reshape(heads, *whole.shape) - bias
    terms = shares.abs().sum(0) + bias.abs() + whole.abs()
    limit = SUM_FACTOR * torch.finfo(network.dtype).eps * float(terms.max())
    size = gap_of(shares.sum(0) + bias, whole)
    return Check(
        name="heads",
        passed=size <= limit,
        size=size,
        limit=limit,
        where=place.name,
        consequence="the shares of the heads do not sum to what attention adds",
    )


def check_norm_formula(network: TorchNetwork, values: Values, found: Findings) -> None:
    """Our formula (centre, eps, gain, bias) reproduces the final norm on random vectors."""
    assert network.map is not None
    path = network.map.final_norm
    last = values.get(f"resid_post.{network.map.n_blocks - 1}")
    if path is None or last is None:
        return
    norm = module_at(network.module, path)
    formula, size, limit = fit_norm(norm, last.shape[-1], last.dtype, last.device)
    found.facts["final_norm"] = formula
    found.checks.append(
        Check(
            name="norm formula",
            passed=formula is not None,
            size=size,
            limit=limit,
            where=path,
            consequence="no formula of ours reproduces it; lenses with a frozen norm are refused",
        )
    )
