"""Where on the horizontal axis a site lies, and how it is called there."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hiddenscape.table import Row, Table

__all__ = ["SiteAxis", "latest", "poolings", "short_labels", "site_axis"]

# What a site that shares its depth with a block comes after.
_LAST = {"final_norm": 1, "logits": 2}
_SHORT = {"embed": "emb", "embedding": "emb", "final_norm": "norm"}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SiteAxis:
    """Sites in the order of their depth.

    Attributes
    ----------
    names : tuple of str
        Canonical site names, shallow to deep.
    depths : array (L,)
        Depth in blocks, as stored; two sites may share one.
    pooling : str
        The pooling all of them were read with.
    labels : tuple of str
        Names short enough for an axis, all different.
    """

    names: tuple[str, ...]
    depths: np.ndarray
    pooling: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        return short_labels(self.names)

    @property
    def relative(self) -> np.ndarray:
        """Depth divided by the largest depth: 0 at the input, 1 at the deepest site."""
        top = float(np.max(self.depths)) if len(self.depths) else 0.0
        return self.depths / top if top > 0 else np.zeros_like(self.depths)

    def __len__(self) -> int:
        return len(self.names)

    def key(self, i: int) -> str:
        """``NAME@POOLING``, under which maps are stored."""
        return f"{self.names[i]}@{self.pooling}" if self.pooling else self.names[i]


def poolings(table: Table) -> tuple[str, ...]:
    """The poolings of a table, the one with most sites first."""
    sites = {(r.site, r.pooling) for r in table if r.site}
    counts = Counter(pooling for _, pooling in sorted(sites))
    return tuple(sorted(counts, key=lambda p: (-counts[p], p)))


def site_axis(
    table: Table, *, pooling: str | None = None, order: Iterable[str] | None = None
) -> SiteAxis:
    """The sites of a table.

    Parameters
    ----------
    table : Table
        Results.
    pooling : str, optional
        Restrict to sites read with this pooling; by default the one with most sites.
    order : iterable of str, optional
        Site keys in the order of the store, which decides between sites of one depth. Without it
        ``final_norm`` and ``logits`` come after the block whose depth they share.

    Examples
    --------
    >>> rows = [Row(site="final_norm", depth=2), Row(site="resid_post.1", depth=2),
    ...         Row(site="embed", depth=0)]
    >>> site_axis(Table(rows)).names
    ('embed', 'resid_post.1', 'final_norm')
    """
    if pooling is None:
        pooling = next(iter(poolings(table)), "")
    depth: dict[str, float] = {}
    for r in table:
        if r.site and r.pooling == pooling:
            depth.setdefault(r.site, r.depth)
    given = {key.split("@")[0]: i for i, key in enumerate(order or ())}

    def place(name: str) -> tuple[float, int, int]:
        at = depth[name]
        return (at if math.isfinite(at) else math.inf, given.get(name, -1), _LAST.get(name, 0))

    names = tuple(sorted(depth, key=place))
    return SiteAxis(
        names=names, depths=np.array([depth[n] for n in names], dtype=float), pooling=pooling
    )


def short_labels(names: Sequence[str]) -> tuple[str, ...]:
    """Axis labels: block numbers for the commonest stream, short words for the rest.

    Examples
    --------
    >>> short_labels(["embed", "resid_post.0", "resid_post.1", "final_norm"])
    ('emb', '0', '1', 'norm')
    >>> short_labels(["module:layer1.0.conv1", "module:layer1.1.conv1"])
    ('layer1.0.conv1', 'layer1.1.conv1')
    """
    numbered = [re.fullmatch(r"([A-Za-z_]+)\.(\d+)", n) for n in names]
    streams = Counter(m.group(1) for m in numbered if m)
    main = streams.most_common(1)[0][0] if streams else ""
    out = []
    for name, m in zip(names, numbered, strict=True):
        if m and m.group(1) == main:
            out.append(m.group(2))
        elif m:
            out.append(f"{m.group(1).removeprefix('resid_')} {m.group(2)}")
        else:
            out.append(_SHORT.get(name, name.split(":", 1)[-1]))
    taken = Counter(out)
    return tuple(
        short if taken[short] == 1 else name for short, name in zip(out, names, strict=True)
    )


_IDENTITY = (
    "site", "pooling", "site_b", "pooling_b", "label", "analysis", "quantity", "k", "n1", "n2",
    "subset", "repeat", "setting",
)  # fmt: skip


def latest(table: Table) -> tuple[Table, int]:
    """One row per number: where several settings measured the same, the one read last.

    Returns
    -------
    table : Table
    disagreements : int
        How many numbers differed between settings.
    """
    chosen: dict[tuple[object, ...], Row] = {}
    differ: set[tuple[object, ...]] = set()
    for r in table:
        identity = tuple(getattr(r, name) for name in _IDENTITY)
        before = chosen.get(identity)
        if before is not None and not _same(before.value, r.value):
            differ.add(identity)
        chosen[identity] = r
    return Table(chosen.values()), len(differ)


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
