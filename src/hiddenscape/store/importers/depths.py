"""Names of imported arrays become sites: name, pooling, block and depth."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hiddenscape.errors import InputError
from hiddenscape.types import Site

__all__ = ["canonical_depths", "order_sites"]

_SHIFT = {
    "resid_pre": 0.0,
    "ln1_out": 0.0,
    "z": 0.5,
    "attn_out": 0.5,
    "resid_mid": 0.5,
    "ln2_out": 0.5,
    "mlp_act": 1.0,
    "mlp_out": 1.0,
    "resid_post": 1.0,
}
_IN_BLOCK = re.compile(r"([a-z_0-9]+)\.(\d+)")
_LAST = ("final_norm", "logits", "logits_uncapped")
_DIGITS = re.compile(r"(\d+)")


def canonical_depths(names: Sequence[str]) -> list[tuple[float, int | None]] | None:
    """(depth, block) of each name if all are canonical site names, else None.

    Examples
    --------
    >>> canonical_depths(["embed", "attn_out.0", "resid_post.0", "final_norm"])
    [(0.0, None), (0.5, 0), (1.0, 0), (1.0, None)]
    >>> canonical_depths(["embed", "conv1"]) is None
    True
    """
    found: list[tuple[float, int | None] | None] = []
    for name in names:
        match = _IN_BLOCK.fullmatch(name)
        if match and match[1] in _SHIFT:
            found.append((int(match[2]) + _SHIFT[match[1]], int(match[2])))
        elif name == "embed":
            found.append((0.0, None))
        elif name in _LAST:
            found.append(None)
        else:
            return None
    blocks = [f[1] for f in found if f is not None and f[1] is not None]
    if not blocks:
        return None
    last = float(max(blocks) + 1)
    return [(last, None) if f is None else f for f in found]


def order_sites(
    names: Sequence[str],
    numbers: Sequence[int | None],
    depths: Mapping[str, float] | Sequence[float] | None,
    in_order: bool,
) -> list[tuple[Site, int]]:
    """Sites by rising depth, each with the place of its name in ``names``.

    Depths come from, first that applies: ``depths``; canonical names; ``numbers`` (places in a
    list of layers); the one number in which the names differ; the order of the names (natural
    order where ``in_order`` is false).

    Raises
    ------
    InputError
        If ``depths`` does not fit the names, or a name is no site name.
    """
    plain, poolings = zip(*(_split(name) for name in names), strict=True)
    values: list[tuple[float, int | None]]
    known = canonical_depths(plain)
    counted = _one_number(names)
    if depths is not None:
        blocks = [b for _, b in known] if known else [None] * len(names)
        values = list(zip(_given(names, plain, depths), blocks, strict=True))
    elif known is not None:
        values = known
    elif all(number is not None for number in numbers):
        values = [(float(number), number) for number in numbers if number is not None]
    elif counted is not None:
        values = [(float(number), None) for number in counted]
    else:
        order = range(len(names)) if in_order else _natural_order(names)
        rank = {place: i for i, place in enumerate(order)}
        values = [(float(rank[place]), None) for place in range(len(names))]
    sites = [
        (Site(name, depth=depth, block=block, pooling=pooling), place)
        for place, (name, pooling, (depth, block)) in enumerate(
            zip(plain, poolings, values, strict=True)
        )
    ]
    return sorted(sites, key=lambda item: item[0].depth)


def _split(name: str) -> tuple[str, str]:
    site, _, pooling = name.partition("@")
    return site, pooling


def _given(
    names: Sequence[str], plain: Sequence[str], depths: Mapping[str, float] | Sequence[float]
) -> list[float]:
    if isinstance(depths, Mapping):
        missing = [n for n, p in zip(names, plain, strict=True) if not {n, p} & set(depths)]
        if missing:
            raise InputError(f"depths say nothing of site {missing[0]!r}")
        return [
            float(depths[n] if n in depths else depths[p])
            for n, p in zip(names, plain, strict=True)
        ]
    if len(depths) != len(names):
        raise InputError(f"{len(depths)} depths for {len(names)} sites: {list(names)[:8]}")
    return [float(d) for d in depths]


def _one_number(names: Sequence[str]) -> list[int] | None:
    """The number in which names like ``l3_pool2`` differ, if exactly one does."""
    parts = [_DIGITS.split(name) for name in names]
    if len({len(p) for p in parts}) != 1 or len(names) < 2:
        return None
    differ = [i for i, column in enumerate(zip(*parts, strict=True)) if len(set(column)) > 1]
    if len(differ) != 1 or differ[0] % 2 == 0:
        return None
    return [int(p[differ[0]]) for p in parts]


def _natural_order(names: Sequence[str]) -> list[int]:
    def natural(place: int) -> list[tuple[int, int, str]]:
        return [
            (0, int(part), "") if i % 2 else (1, 0, part)
            for i, part in enumerate(_DIGITS.split(names[place]))
        ]

    return sorted(range(len(names)), key=natural)
