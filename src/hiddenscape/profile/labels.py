"""Where labels say the best site is, beside the label-free advice: kept apart on purpose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["LabelReading", "read_labels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReading:
    """Label overlap along depth, and what the label-free choice costs.

    Attributes
    ----------
    best, best_site, best_value
        The site of the largest label overlap. Picked on the data that scores it, so
        ``best_value`` is optimistic.
    last_value, mean_value
        At the last site, and at a site drawn at random.
    chosen, chosen_value
        The advised site, if there is one.
    regret, regret_last, regret_random
        ``best_value`` minus the value at the advised, the last, a random site.
    lag : int or None
        Sites from the first peak to the best one.
    in_plateau : bool or None
        Whether the best site lies on the plateau; ``in_plateau_by_chance`` is \\|M\\| / L.
    held_out : dict or None
        From the shares of single rows: best site chosen on one half of the rows and scored on the
        other, both ways, minus the advised (``regret``) and the last site (``regret_last``), with
        stderr over rows.
    """

    best: int
    best_site: str
    best_value: float
    last_value: float
    mean_value: float
    chosen: int | None
    chosen_value: float | None
    regret: float | None
    regret_last: float
    regret_random: float
    lag: int | None
    in_plateau: bool | None
    in_plateau_by_chance: float | None
    held_out: dict[str, float] | None


def read_labels(
    overlap: np.ndarray,
    sites: tuple[str, ...],
    *,
    chosen: int | None,
    peak: int | None,
    plateau: tuple[int, ...] | None,
    per_point: np.ndarray | None = None,
    seed: int = 0,
) -> LabelReading | None:
    """Read label overlaps (L,) beside the advice; None if none is finite.

    ``per_point`` (L, n) holds the share of each row (NaN where a row was left out).
    """
    finite = np.flatnonzero(np.isfinite(overlap))
    if not finite.size:
        return None
    best = int(finite[overlap[finite].argmax()])
    last, mean = float(overlap[finite[-1]]), float(overlap[finite].mean())
    top = float(overlap[best])
    value = float(overlap[chosen]) if chosen is not None else math.nan
    known = math.isfinite(value)
    return LabelReading(
        best=best,
        best_site=sites[best],
        best_value=top,
        last_value=last,
        mean_value=mean,
        chosen=chosen,
        chosen_value=value if known else None,
        regret=top - value if known else None,
        regret_last=top - last,
        regret_random=top - mean,
        lag=best - peak if peak is not None else None,
        in_plateau=best in plateau if plateau else None,
        in_plateau_by_chance=len(plateau) / len(finite) if plateau else None,
        held_out=None if per_point is None else _held_out(per_point, finite, chosen, seed),
    )


def _held_out(
    per_point: np.ndarray, finite: np.ndarray, chosen: int | None, seed: int
) -> dict[str, float] | None:
    whole = np.flatnonzero(np.isfinite(per_point[finite]).all(axis=0))
    if len(whole) < 4:
        return None
    order = np.random.default_rng([seed, len(whole)]).permutation(whole)
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    shares = per_point[finite]
    others = {"regret_last": len(finite) - 1}
    if chosen is not None and chosen in finite:
        others["regret"] = int(np.flatnonzero(finite == chosen)[0])
    out: dict[str, float] = {}
    for name, other in others.items():
        gaps = [
            shares[shares[:, chooses].mean(axis=1).argmax(), scores] - shares[other, scores]
            for chooses, scores in (halves, halves[::-1])
        ]
        gap = np.concatenate(gaps)
        out[name] = float(gap.mean())
        out[f"{name}_stderr"] = float(gap.std(ddof=1)) / math.sqrt(len(gap))
    return out
