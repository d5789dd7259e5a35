"""Pooling: from what a module gives to one vector per row, in float32 or better.

Runs inside the hook, on the device, so that only (B, d) per site leaves it. Two masks per row tell
which positions count: ``real`` (not padding) and ``content`` (real and not special). They come from
lengths and from the tokenizer's own report, never from comparing ids.

================  =========================================================================
pooling           value
================  =========================================================================
``mean``          mean over content positions; of a map (B, C, ...) the mean over space; a
                  site of one vector per row is that vector
``mean_all``      mean over real positions, specials included
``last``          last real position
``cls``           the position that the family declares for classification; in such a family a
                  site of one vector per row is that vector
``token:i``       i-th real position, negative counts from the end
``span:NAME``     mean over a span of tokens that the data set gives per row
``tokens``        every real position: one point per token, rows one after the other
``flat``          all units of the row
``gap``, ``gmax`` mean and maximum over the space of a map (B, C, ...)
================  =========================================================================

A row without any position to pool over gives NaN, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from hiddenscape.errors import InputError

__all__ = ["FLAT_LIMIT", "POOLINGS", "Masks", "parse_poolings", "pool"]

POOLINGS = (
    "mean", "mean_all", "last", "cls", "token:I", "span:NAME", "tokens", "flat", "gap", "gmax",
)  # fmt: skip
FLAT_LIMIT = 2**20
_TOKEN = re.compile(r"^token:(-?\d+)$")
_SPAN = re.compile(r"^span:([^,@:\s]+)$")
_PATTERNS = ("token:I", "span:NAME")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Masks:
    """Which positions of each row count.

    Attributes
    ----------
    real, content : bool tensor (B, T) or None
        None: every position counts, save ``prefix`` ones in front for ``content``.
    weight : float tensor (B, T) or None
        How much each position counts in a mean; rows read in overlapping windows use it.
    spans : mapping
        Name to (B, 2) position ranges, -1 where a row has none.
    cls : int or None
        Position of the classification token, counted among the real ones; None if the family has
        none.
    prefix : int
        Positions in front that are no content (class and register tokens of image models).
    """

    real: torch.Tensor | None = None
    content: torch.Tensor | None = None
    weight: torch.Tensor | None = None
    spans: Mapping[str, torch.Tensor] = field(default_factory=dict)
    cls: int | None = None
    prefix: int = 0

    def of(self, x: torch.Tensor, site: str, *, content: bool) -> torch.Tensor:
        """Mask (B, T) for a tensor (B, T, d)."""
        mask = self.content if content else self.real
        if mask is None:
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
            if content and self.prefix:
                mask[:, : self.prefix] = False
        if mask.shape != x.shape[:2]:
            raise InputError(
                f"site {site!r} has shape {tuple(x.shape)}, but the rows have masks of shape "
                f"{tuple(mask.shape)}: its second axis is not the token axis; use pooling 'flat'"
            )
        return mask.to(x.device)


def parse_poolings(spec: str | Sequence[str]) -> tuple[str, ...]:
    """Check names of poolings; a comma list or a sequence.

    Examples
    --------
    >>> parse_poolings("mean, last")
    ('mean', 'last')
    >>> parse_poolings("average")
    Traceback (most recent call last):
    ...
    hiddenscape.errors.InputError: unknown pooling 'average'; known: mean, mean_all, last, ...
    """
    items = [spec] if isinstance(spec, str) else list(spec)
    items = [part.strip() for item in items for part in item.split(",") if part.strip()]
    for item in items:
        known = item in POOLINGS and item not in _PATTERNS
        if not (known or _TOKEN.match(item) or _SPAN.match(item)):
            raise InputError(f"unknown pooling {item!r}; known: {', '.join(POOLINGS)}")
    if not items:
        raise InputError(f"no pooling is named; known: {', '.join(POOLINGS)}")
    return tuple(dict.fromkeys(items))


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.to(torch.float32)


def pool(x: torch.Tensor, how: str, masks: Masks, *, site: str = "") -> torch.Tensor:
    """One vector per row.

    Parameters
    ----------
    x : tensor (B, d), (B, T, d) or (B, C, H, W, ...)
        What a site gave; the first axis is the row.
    how : str
        A pooling of the table above.
    masks : Masks
        Positions that count.
    site : str
        For messages.

    Returns
    -------
    tensor (B, d')
        float32, or float64 where ``x`` is; newly allocated. NaN rows where nothing could be pooled.
        For ``tokens`` (sum of lengths, d) in the dtype of ``x``.

    Raises
    ------
    InputError
        If the pooling does not suit the site's shape, or the family has no class position.

    Examples
    --------
    >>> x = torch.arange(6.0).reshape(1, 3, 2)
    >>> pool(x, "mean", Masks(content=torch.tensor([[False, True, True]])))
    tensor([[3., 4.]])
    """
    if x.ndim == 0:
        raise InputError(f"site {site!r} gives a single number, not one value per row")
    if x.ndim == 1:
        x = x[:, None]
    if how == "flat":
        if x[0].numel() > FLAT_LIMIT:
            raise InputError(
                f"site {site!r} has {x[0].numel()} units per row, 'flat' takes at most "
                f"{FLAT_LIMIT}; use 'gap' or 'mean'"
            )
        return _wide(x).flatten(1).clone()
    if x.ndim == 2:
        # Past the place where a family reads its class position, the vector is that position's.
        if how in ("mean", "mean_all") or (how == "cls" and masks.cls is not None):
            return _wide(x).clone()
        raise InputError(
            f"site {site!r} has one vector per row (shape {tuple(x.shape)}), so {how!r} "
            "cannot be read there; use 'flat' or 'mean'"
        )
    if x.ndim > 3:
        return _pool_space(x, how, site)
    return _pool_tokens(x, how, masks, site)


def _pool_space(x: torch.Tensor, how: str, site: str) -> torch.Tensor:
    if how in ("mean", "mean_all", "gap"):
        return _wide(x).flatten(2).mean(-1)
    if how == "gmax":
        return _wide(x).flatten(2).amax(-1)
    raise InputError(
        f"site {site!r} is a map of shape {tuple(x.shape)}, so {how!r} cannot be read there; use "
        "'flat', 'gap' or 'gmax'"
    )


def _pool_tokens(x: torch.Tensor, how: str, masks: Masks, site: str) -> torch.Tensor:
    if how in ("mean", "mean_all"):
        mask = masks.of(x, site, content=how == "mean")
        return _mean(x, mask, masks.weight)
    real = masks.of(x, site, content=False)
    if how == "tokens":
        # Not widened: who stores every token decides on the dtype.
        return x[real]
    if how == "cls":
        if masks.cls is None:
            raise InputError(
                f"this network declares no class position, 'cls' cannot be read at {site!r}; use "
                "'mean' or 'last'"
            )
        return _at(x, real, masks.cls)
    if how == "last":
        return _at(x, real, -1)
    if (span := _SPAN.match(how)) is not None:
        return _mean(x, _span_mask(x, real, masks, span[1], site), None)
    token = _TOKEN.match(how)
    if token is None:
        raise InputError(f"site {site!r} has tokens, so {how!r} cannot be read there; use 'mean'")
    return _at(x, real, int(token[1]))


def _mean(x: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    # masked_fill, not multiplication: a padded position may hold NaN.
    kept = _wide(x).masked_fill(~mask[..., None], 0.0)
    if weight is None:
        return kept.sum(1) / mask.sum(1)[:, None].to(kept.dtype)
    share = weight.to(kept.device, kept.dtype).masked_fill(~mask, 0.0)
    return (kept * share[..., None]).sum(1) / share.sum(1)[:, None]


def _span_mask(
    x: torch.Tensor, real: torch.Tensor, masks: Masks, name: str, site: str
) -> torch.Tensor:
    if name not in masks.spans:
        has = ", ".join(masks.spans) or "none"
        raise InputError(f"site {site!r}: the rows have no span {name!r}; they have {has}")
    span = masks.spans[name].to(x.device)
    place = torch.arange(x.shape[1], device=x.device)[None, :]
    return real & (place >= span[:, :1]) & (place < span[:, 1:])


def _at(x: torch.Tensor, real: torch.Tensor, index: int) -> torch.Tensor:
    """The ``index``-th real position of each row, NaN where there is none."""
    count = real.sum(1)
    rank = real.cumsum(1) - 1
    wanted = torch.full_like(count, index) if index >= 0 else count + index
    hit = real & (rank == wanted[:, None])
    rows = _wide(x[torch.arange(len(x), device=x.device), hit.int().argmax(1)])
    return torch.where(hit.any(1)[:, None], rows, torch.nan)
