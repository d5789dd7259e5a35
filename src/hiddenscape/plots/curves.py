"""One number per site: the curve that most figures are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hiddenscape.plots.sites import SiteAxis
from hiddenscape.table import Row, Table

__all__ = ["SiteCurve", "curve", "pick", "sizes"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SiteCurve:
    """A quantity over the sites of an axis; NaN where a site has no number.

    Attributes
    ----------
    values, stderrs, scales : array (L,)
        The numbers, their standard errors, and the neighbour distance they are measured at.
    stderr_kind : str
        The kind of every error, joined with ``/`` where sites differ.
    n_used : tuple of int or None
        Rows that entered, per site.
    notes : tuple of str
    """

    values: np.ndarray
    stderrs: np.ndarray
    scales: np.ndarray
    stderr_kind: str = ""
    n_used: tuple[int | None, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether no site has a number."""
        return not bool(np.isfinite(self.values).any())


def curve(rows: Iterable[Row], axis: SiteAxis) -> SiteCurve:
    """The rows of one quantity, arranged along the sites; rows of other sites are left out."""
    found = {r.site: r for r in rows if r.pooling == axis.pooling}
    at = [found.get(name) for name in axis.names]
    kinds = dict.fromkeys(r.stderr_kind for r in at if r is not None and r.stderr_kind)
    return SiteCurve(
        values=np.array([math.nan if r is None else r.value for r in at]),
        stderrs=np.array([math.nan if r is None else r.stderr for r in at]),
        scales=np.array([math.nan if r is None else r.scale for r in at]),
        stderr_kind="/".join(kinds),
        n_used=tuple(None if r is None else r.n_used for r in at),
        notes=tuple("" if r is None else r.note for r in at),
    )


def sizes(table: Table) -> tuple[int, ...]:
    """The neighbourhood sizes k of a table, ascending."""
    return tuple(sorted({r.k for r in table if r.k is not None}))


def pick(available: tuple[int, ...], wanted: int | None) -> int | None:
    """The wanted size if there is one, else the smallest; None if there is none."""
    if wanted in available:
        return wanted
    return available[0] if available and wanted is None else None
