"""Layer rules, fixed in advance: which site a dimension profile points to, without labels.

Both start from the first maximum. ``plateau_middle``: the minimum after it and before the last
tenth of depth; the plateau M is the run around that minimum below min + 0.1 (max - min); take its
middle.
``first_minimum``: the first site after the maximum that is not above either adjacent site by more
than one standard error; where there is none, the first of two steps in a row below 3 %.

Source of the idea: Valeriani et al. 2023, arXiv:2302.00294 (semantic content is highest at the
relative minimum after the dimension peak). The exact rules are this package's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hiddenscape.profile.peaks import Peak, Profile, Turn, extent

__all__ = [
    "Phase",
    "Plateau",
    "calm_sites",
    "first_maximum",
    "first_minimum",
    "phases_of",
    "plateau_after",
]

LAST_TENTH = 0.9
PLATEAU_SHARE = 0.1
CALM_STEP = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """The run M of low sites after the first maximum.

    ``indices`` its sites, ``minimum`` the lowest, ``middle`` the one nearest to half its depth,
    ``threshold`` the value that bounds it; ``still_falling``: the minimum sits at the border of the
    search and the next site is lower, so the profile has no bottom before the last tenth.
    """

    indices: tuple[int, ...]
    minimum: int
    middle: int
    threshold: float
    still_falling: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of sites between two boundaries, first and last included."""

    name: str
    first: int
    last: int
    first_site: str
    last_site: str


def plateau_after(profile: Profile, maximum: int) -> Plateau | None:
    """The plateau after a maximum, or None if no site before the last tenth lies below it."""
    values = profile.values
    after = [i for i in profile.usable if i > maximum]
    searched = [i for i in after if profile.relative(i) < LAST_TENTH - 1e-9]
    if not searched:
        return None
    low = min(searched, key=lambda i: values[i])
    if values[low] >= values[maximum]:
        return None
    threshold = float(values[low] + PLATEAU_SHARE * (values[maximum] - values[low]))
    at = after.index(low)
    first = last = at
    while first > 0 and values[after[first - 1]] < threshold:
        first -= 1
    while last < len(after) - 1 and values[after[last + 1]] < threshold:
        last += 1
    run = tuple(after[first : last + 1])
    half = (profile.depths[run[0]] + profile.depths[run[-1]]) / 2
    beyond = after[at + 1] if at + 1 < len(after) else None
    return Plateau(
        indices=run,
        minimum=low,
        middle=min(run, key=lambda i: (abs(profile.depths[i] - half), i)),
        threshold=threshold,
        still_falling=bool(
            low == searched[-1] and beyond is not None and values[beyond] < values[low]
        ),
    )


def first_minimum(profile: Profile, maximum: int) -> int | None:
    """The site that the second rule points to, or None where it refuses.

    Sites within two joint standard errors of the maximum still belong to it: on a broad peak the
    literal rule would stop at its top.
    """
    values, usable = profile.values, profile.usable
    _, top = extent(profile, maximum)
    start = usable.index(top) + 1
    for p in range(start, len(usable) - 1):
        before, here, after = usable[p - 1 : p + 2]
        if profile.z(here, before) <= 1 and profile.z(here, after) <= 1:
            return here
    steps = np.abs(np.diff(values[list(usable)])) / np.abs(values[list(usable)][:-1])
    for p in range(start, len(usable) - 2):
        if steps[p] < CALM_STEP and steps[p + 1] < CALM_STEP:
            return usable[p]
    return None


def phases_of(
    profile: Profile, peaks: Sequence[Peak], plateau: Plateau | None
) -> tuple[Phase, ...]:
    """Stretches of depth: expansion, peak, compression, plateau, and what follows.

    The peak is the run of sites less than 2 standard errors below its top, the plateau is M. What
    follows is ``second expansion`` if the profile rises significantly above the plateau again,
    else ``end``. Empty without a significant peak.
    """
    if not peaks or not peaks[0].significant:
        return ()
    peak, usable = peaks[0], profile.usable
    bounds = [("expansion", usable[0], peak.first - 1), ("peak", peak.first, peak.last)]
    if plateau is not None:
        start, stop = plateau.indices[0], plateau.indices[-1]
        bounds += [("compression", peak.last + 1, start - 1), ("plateau", start, stop)]
        later = [i for i in usable if i > stop]
        rises = any(profile.z(i, plateau.minimum) > profile.critical for i in later)
        bounds.append(("second expansion" if rises else "end", stop + 1, usable[-1]))
    else:
        bounds.append(("end", peak.last + 1, usable[-1]))
    return tuple(
        Phase(name=n, first=a, last=b, first_site=profile.sites[a], last_site=profile.sites[b])
        for n, a, b in bounds
        if a <= b
    )


def calm_sites(overlap_next: np.ndarray) -> tuple[int, ...]:
    """Sites of the calmest stretch: the run around the largest overlap of consecutive sites.

    A step belongs to it while its overlap lies in the upper quarter between the smallest and the
    largest (this package's rule). Empty without two finite overlaps.

    Examples
    --------
    >>> calm_sites(np.array([0.3, 0.6, 0.9, 0.8, 0.2]))
    (2, 3, 4)
    """
    known = np.flatnonzero(np.isfinite(overlap_next))
    if len(known) < 2:
        return ()
    steps = overlap_next[known]
    bound = steps.max() - (steps.max() - steps.min()) / 4
    first = last = int(steps.argmax())
    while first > 0 and steps[first - 1] > bound:
        first -= 1
    while last < len(steps) - 1 and steps[last + 1] > bound:
        last += 1
    return tuple(range(int(known[first]), int(known[last]) + 2))


def first_maximum(peaks: Sequence[Peak], turns: Sequence[Turn]) -> int | None:
    """Where the rules start: the first significant peak, or a profile's falling start."""
    if peaks and peaks[0].significant:
        return peaks[0].index
    return turns[0].index if turns and turns[0].is_max else None
