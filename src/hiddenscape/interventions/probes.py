"""An edit is proven before it is used: an edit that does nothing must not give a number.

For each block, head and stage: times 1 gives the bits of the network's *native* eager attention (a
wrong re-implementation would pass a comparison with itself); another factor changes the result, and
only this head; the module is called once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hiddenscape.errors import InterventionNotSupported
from hiddenscape.interventions.attention import using
from hiddenscape.interventions.locate import Located, active_for
from hiddenscape.interventions.spec import AttentionEdit
from hiddenscape.interventions.switch import LOCK, native_eager, switched
from hiddenscape.models.hooks import read_places

__all__ = ["prove", "result_of"]

_FACTORS = {"score": (0.0, 3.0), "weight": (2.0, -1.0)}
"""Even attention, or sharper where it was even already; twice the output, or its opposite."""


def prove(located: Located, edits: Sequence[AttentionEdit]) -> None:
    """Probe every (stage, block, head) of ``edits``.

    Raises
    ------
    InterventionNotSupported
        Naming the first one that fails, and how.
    """
    active_for(located, edits)  # out of range is said first, and without a pass
    wanted = sorted({(e.stage, block, head) for e in edits for block, head in e.heads})
    if not wanted:
        return
    with native_eager(located.network.module):
        native = {block: _run(located, block) for block in sorted({b for _, b, _ in wanted})}
    for stage, block, head in wanted:
        _prove_one(located, native[block], stage, block, head)


def result_of(output: Any) -> torch.Tensor:
    """What a pass is judged by: logits, else an embedding, else the last hidden state."""
    for name in ("logits", "image_embeds", "last_hidden_state"):
        value = getattr(output, name, None)
        if isinstance(value, torch.Tensor):
            return value
    if isinstance(output, torch.Tensor):
        return output
    raise InterventionNotSupported(f"the network gives a {type(output).__name__} without a tensor")


Result = tuple[torch.Tensor, torch.Tensor | None]


def _run(
    located: Located, block: int, edit: AttentionEdit | None = None, verify: bool = False
) -> Result:
    """(result, z of the block or None) of one pass over the probe rows."""
    network = located.network
    place = network.places.get(f"z.{block}")
    seen: list[torch.Tensor] = []

    def forward() -> Any:
        return read_places(
            network.module,
            [] if place is None else [place],
            lambda: network.forward(located.rows),
            lambda _place, value: seen.append(value.clone()),
            stop_early=False,
        )

    if edit is None:
        output = forward()
    else:
        active = active_for(located, (edit,))
        active.verify = verify
        with LOCK, switched(network.module), using(active):
            output = forward()
        active.require_one_call()
    return result_of(output).clone(), seen[0] if seen else None


def _prove_one(located: Located, native: Result, stage: str, block: int, head: int) -> None:
    def with_factor(alpha: float) -> AttentionEdit:
        return AttentionEdit(
            heads=[(block, head)],
            query="all",
            key="all",
            stage=stage,
            op="scale",
            value=alpha,
            renormalise=None if stage == "score" else False,
        )

    where = f"{type(located.network.module).__name__}, block {block}, head {head}, stage {stage!r}"
    same, _ = _run(located, block, with_factor(1.0))
    if not torch.equal(same, native[0]):
        gap = float((same.double() - native[0].double()).abs().max())
        raise InterventionNotSupported(
            f"{where}: an edit that changes nothing (times 1) moves the network's own eager result "
            f"by {gap:.3g}; no number from such an edit could be trusted"
        )
    for alpha in _FACTORS[stage]:
        changed, z = _run(located, block, with_factor(alpha), verify=stage == "score")
        if not torch.equal(changed, native[0]):
            break
    else:
        raise InterventionNotSupported(
            f"{where}: an edit of every entry leaves the result as it is, bit for bit; the network "
            "ignores the edit, or nothing reads this head"
        )
    _only_this_head(located, native[1], z, block, head, where)


def _only_this_head(
    located: Located,
    before: torch.Tensor | None,
    after: torch.Tensor | None,
    block: int,
    head: int,
    where: str,
) -> None:
    """The edit changed this head's share of z, and no other's."""
    if before is None or after is None or before.shape != after.shape:
        return
    count = located.heads[block]
    moved = (before != after).reshape(-1, count, before.shape[-1] // count)
    heads = moved.any(2).any(0).nonzero().flatten().tolist()
    if heads != [head]:
        raise InterventionNotSupported(
            f"{where}: the edit reached the heads {heads} at site z.{block}, not this one alone"
        )
