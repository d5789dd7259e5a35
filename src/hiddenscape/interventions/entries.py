"""Which entries of an attention matrix an edit means, and what it makes of them.

Only entries that the mask allows are ever touched: masks add the smallest number of the dtype, not
minus infinity, so that a masked score times 0 would open the future.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from hiddenscape.errors import InputError
from hiddenscape.interventions.spec import AttentionEdit

__all__ = [
    "HeadEdit",
    "allowed_by",
    "edit_scores",
    "edit_weights",
    "require_equal_lengths",
    "require_no_padding",
]

HeadEdit = tuple[AttentionEdit, Sequence[int]]
"""An edit, and its heads in one block."""
Spans = Mapping[str, torch.Tensor]


def allowed_by(mask: torch.Tensor | None, shape: Sequence[int]) -> torch.Tensor:
    """Bool (B, 1 or H, Tq, Tk): where an additive mask lets a query attend. None allows all."""
    rows, _, queries, keys = shape
    if mask is None:
        return torch.ones((rows, 1, queries, keys), dtype=torch.bool)
    open_ = mask[..., :keys] > torch.finfo(mask.dtype).min / 2
    return open_.expand(rows, open_.shape[1], queries, keys)


def require_equal_lengths(allowed: torch.Tensor) -> None:
    """Refuse padded rows: a padded key is one that no query may see."""
    if allowed.shape[-2] != allowed.shape[-1]:
        raise InputError(
            f"attention of {allowed.shape[-2]} queries to {allowed.shape[-1]} keys: edits are for "
            "whole rows; call the network without a cache of earlier tokens"
        )
    require_no_padding(allowed.any(dim=2).any(dim=1))


def require_no_padding(real: torch.Tensor) -> None:
    """Refuse rows of which some positions (B, T) are not real."""
    if not bool(real.all()):
        row = int((~real).any(1).nonzero()[0])
        raise InputError(
            f"row {row} is padded to {real.shape[1]} positions: attention is edited in batches of "
            "rows of one length; run_edited makes them from a list of rows"
        )


def chosen_entries(edit: AttentionEdit, allowed: torch.Tensor, spans: Spans) -> torch.Tensor:
    """Bool (B, 1 or H, Tq, Tk): the allowed entries that ``edit`` means.

    Raises
    ------
    InputError
        If a row has none of them, or lacks the span.
    """
    rows, _, queries, keys = allowed.shape
    query = _positions(edit.query, "query", rows, queries, spans).to(allowed.device)
    key = _positions(edit.key, "key", rows, keys, spans).to(allowed.device)
    chosen = query[:, None, :, None] & key[:, None, None, :] & allowed
    empty = ~chosen.flatten(1).any(1)
    if bool(empty.any()):
        raise InputError(
            f"row {int(empty.nonzero()[0])}: query {edit.query!r} may not attend to key "
            f"{edit.key!r} there (it lies in the future, or outside its window), so nothing would "
            "be edited"
        )
    return chosen


def _positions(which: str | int, side: str, rows: int, length: int, spans: Spans) -> torch.Tensor:
    chosen = torch.zeros((rows, length), dtype=torch.bool)
    if isinstance(which, int):
        if not -length <= which < length:
            raise InputError(
                f"{side} {which} is out of range: rows have the positions 0 to {length - 1}"
            )
        chosen[:, which] = True
    elif which == "all":
        chosen[:] = True
    elif which in ("last", "bos"):
        chosen[:, -1 if which == "last" else 0] = True
    else:
        chosen = _span(which, side, length, spans, rows)
    return chosen


def _span(name: str, side: str, length: int, spans: Spans, rows: int) -> torch.Tensor:
    ranges = spans.get(name)
    if ranges is None:
        known = ", ".join(sorted(spans)) or "none"
        raise InputError(
            f"{side} {name!r} is no span of these rows (spans: {known}); give spans with the "
            "batch, and call the network that edited() gives, not the module"
        )
    ranges = ranges.cpu()
    if len(ranges) != rows:
        raise InputError(f"span {name!r} has {len(ranges)} rows for a batch of {rows}")
    missing = (ranges[:, 0] < 0) | (ranges[:, 1] <= ranges[:, 0])
    if bool(missing.any()):
        raise InputError(
            f"row {int(missing.nonzero()[0])} has no span {name!r}; leave such rows out"
        )
    at = torch.arange(length)[None]
    return (at >= ranges[:, :1]) & (at < ranges[:, 1:])


def edit_scores(
    scores: torch.Tensor, allowed: torch.Tensor, edits: Sequence[HeadEdit], spans: Spans
) -> torch.Tensor:
    """New minus old scores (B, H, Tq, Tk), the dtype's minimum where the edit knocks out.

    Raises
    ------
    InputError
        If a query is left without any key: its softmax would be uniform over the future too.
    """
    new, floor = scores.clone(), torch.finfo(scores.dtype).min
    out = torch.zeros_like(scores, dtype=torch.bool)
    for edit, heads in edits:
        chosen, at = chosen_entries(edit, allowed, spans), list(heads)
        chosen = chosen.expand(-1, scores.shape[1], -1, -1)[:, at]
        if edit.op == "knockout":
            out[:, at] |= chosen
        else:
            new[:, at] = torch.where(chosen, _changed(new[:, at], edit), new[:, at])
    changed = out.any(-1) | (new != scores).any(-1)
    left = (allowed & ~out).any(-1)
    if bool((changed & ~left).any()):
        where = (changed & ~left).nonzero()[0].tolist()
        raise InputError(
            f"the knock-out leaves query {where[2]} of head {where[1]} no key at all; choose "
            "fewer queries or keys, or stage 'weight' with renormalise=False to take the head out"
        )
    if not bool((new.abs() < -floor / 4).all()):
        raise InputError(
            f"the edit makes scores too large for {str(scores.dtype).removeprefix('torch.')}; to "
            "close an entry use op 'knockout'"
        )
    return (new - scores).masked_fill(out, floor)


def edit_weights(
    weights: torch.Tensor, allowed: torch.Tensor, edits: Sequence[HeadEdit], spans: Spans
) -> torch.Tensor:
    """Weights after the edits, each edited row rescaled to the sum it had where that is asked.

    Raises
    ------
    InputError
        If nothing, or less than nothing, is left to rescale.
    """
    # In float32 or better: a half-precision sum would not give a row back its own.
    new = weights.to(torch.promote_types(weights.dtype, torch.float32), copy=True)
    for edit, heads in edits:
        at = list(heads)
        chosen = chosen_entries(edit, allowed, spans).expand(-1, weights.shape[1], -1, -1)[:, at]
        old = new[:, at]
        part = torch.where(chosen, _changed(old, edit), old)
        if edit.renormalise:
            before, after = old.sum(-1, keepdim=True), part.sum(-1, keepdim=True)
            touched = chosen.any(-1, keepdim=True)
            if bool((touched & ~(after > 0)).any()):
                raise InputError(
                    "the edit leaves a query no weight to share out; choose fewer keys, or "
                    "renormalise=False"
                )
            part = torch.where(touched, part * (before / after), part)
        new[:, at] = part
    return new.to(weights.dtype)


def _changed(values: torch.Tensor, edit: AttentionEdit) -> torch.Tensor:
    if edit.op == "knockout":
        return torch.zeros_like(values)
    assert edit.value is not None
    if edit.op == "scale":
        return values * edit.value
    return values + edit.value if edit.op == "add" else torch.full_like(values, edit.value)
