"""Which site to use for a downstream task, why, and when there is no clear answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hiddenscape.profile.peaks import Peak, Profile
from hiddenscape.profile.rules import Plateau

__all__ = ["Advice", "advise"]

FEWEST_SITES = 5
EARLY = 0.5
REPEATS_THAT_CAN_DECIDE = 5
NEAR = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The label-free choice of a site.

    Attributes
    ----------
    confidence : {'clear', 'weak', 'none'}
        ``none``: no clear answer.
    index, site : int and str, or None
        The advised site: the middle of the plateau.
    indices, sites : tuples
        The whole plateau, whose sites are as good by this reading.
    plateau_middle, first_minimum : int or None
        What each rule says, whatever came of it.
    reasons : tuple of str
        Why: what speaks for the choice, against it, or why there is none.
    """

    confidence: Literal["clear", "weak", "none"]
    index: int | None
    site: str | None
    indices: tuple[int, ...]
    sites: tuple[str, ...]
    plateau_middle: int | None
    first_minimum: int | None
    reasons: tuple[str, ...]

    @property
    def clear(self) -> bool:
        """Whether there is an answer at all."""
        return self.confidence != "none"


def advise(
    profile: Profile,
    shape: str,
    peaks: Sequence[Peak],
    start: int | None,
    plateau: Plateau | None,
    second: int | None,
    calm: Sequence[int],
    twin_differs: Sequence[int] | None,
) -> Advice:
    """Weigh both rules, the significance of the peak, the twin and the calm stretch."""
    against = _refusals(profile, shape, peaks, start, plateau, second, twin_differs)
    middle = plateau.middle if plateau is not None else None
    if against or plateau is None or middle is None:
        return Advice(
            confidence="none",
            index=None,
            site=None,
            indices=(),
            sites=(),
            plateau_middle=middle,
            first_minimum=second,
            reasons=tuple(against),
        )
    for_it = [_ground(profile, plateau, middle, second)]
    doubts = _doubts(profile, shape, peaks, plateau, second, calm)
    if calm and set(calm) & set(plateau.indices):
        for_it.append("neighbours change least from site to site there as well")
    return Advice(
        confidence="weak" if doubts else "clear",
        index=middle,
        site=profile.sites[middle],
        indices=plateau.indices,
        sites=tuple(profile.sites[i] for i in plateau.indices),
        plateau_middle=middle,
        first_minimum=second,
        reasons=(*for_it, *doubts),
    )


def _ground(profile: Profile, plateau: Plateau, middle: int, second: int | None) -> str:
    names = profile.sites
    run = f"{names[plateau.indices[0]]} to {names[plateau.indices[-1]]}"
    if len(plateau.indices) == 1:
        run = names[middle]
    text = f"{names[middle]} is the middle of the low plateau after the first maximum ({run})"
    if second is not None:
        text += f", and the first minimum after it is {names[second]}"
    return text


def _refusals(
    profile: Profile,
    shape: str,
    peaks: Sequence[Peak],
    start: int | None,
    plateau: Plateau | None,
    second: int | None,
    twin_differs: Sequence[int] | None,
) -> list[str]:
    """Reasons for which there is no answer; the first that applies, where later ones follow."""
    n, total = len(profile.usable), len(profile.values)
    if n < FEWEST_SITES:
        what = f"only {n} of {total} sites have a value" if n < total else f"there are {n} sites"
        return [f"{what}: a peak and a plateau after it need at least {FEWEST_SITES}"]
    if not profile.noise.source:
        return ["no standard errors are known: a peak cannot be told from noise"]
    if total - n > total / 3:
        return [f"{total - n} of {total} sites have no value"]
    if start is None:
        return [_no_maximum(shape, peaks, profile)]
    if shape == "falling":
        return ["the profile only falls from the first site on: it has no minimum inside"]
    out = []
    if twin_differs is not None and not twin_differs:
        out.append("the untrained twin has the same profile: no evidence that training shaped it")
    if plateau is None:
        return [*out, "no site before the last tenth of depth lies below the maximum"]
    if second is not None and not _agree(profile, plateau, second):
        names = profile.sites
        out.append(
            f"the rules disagree: plateau_middle says {names[plateau.middle]}, first_minimum says "
            f"{names[second]}"
        )
    missing = [
        i
        for i in range(start, plateau.indices[-1] + 1)
        if i not in profile.usable and (i > plateau.indices[0] or len(profile.usable) < 8)
    ]
    if len(missing) > 1:
        out.append(f"{len(missing)} sites between the maximum and the plateau have no value")
    return out


def _no_maximum(shape: str, peaks: Sequence[Peak], profile: Profile) -> str:
    if shape == "flat":
        text = "the profile is flat: no two sites differ beyond their errors"
    else:
        text = f"the profile has no significant peak (its shape: {shape})"
    if peaks and math.isfinite(peaks[0].z):
        best = peaks[0]
        text += (
            f"; the highest rise, at {best.site}, is {best.z:.1f} standard errors where "
            f"{profile.critical:.1f} are needed for {len(profile.usable)} sites"
        )
    return text


def _doubts(
    profile: Profile,
    shape: str,
    peaks: Sequence[Peak],
    plateau: Plateau,
    second: int | None,
    calm: Sequence[int],
) -> list[str]:
    """What weakens an answer without taking it away."""
    out = []
    if shape == "valley":
        out.append("the profile falls from its first site: there is no peak inside")
    else:
        out += _doubts_of_peak(peaks[0], profile)
    between = [p.site for p in peaks[1:] if p.index < plateau.minimum]
    if between:
        out.append(f"another peak ({', '.join(between)}) lies before the plateau")
    if plateau.still_falling:
        out.append("the profile still falls at the last tenth of depth, where the search ends")
    if second is None:
        out.append("the rule first_minimum finds no site")
    if calm and not set(calm) & set(plateau.indices):
        names = f"{profile.sites[calm[0]]} to {profile.sites[calm[-1]]}"
        out.append(f"neighbours change least elsewhere ({names})")
    gaps = [i for i in range(len(profile.values)) if i not in profile.usable]
    inside = [i for i in gaps if 0 < i < plateau.indices[-1]]
    if inside:
        out.append("sites without a value: " + ", ".join(profile.sites[i] for i in inside))
    return out


def _doubts_of_peak(peak: Peak, profile: Profile) -> list[str]:
    out = []
    if profile.relative(peak.index) > EARLY:
        out.append(f"the peak lies late, at {100 * profile.relative(peak.index):.0f} % of depth")
    if peak.repeats is not None and peak.repeats_above is not None:
        if peak.repeats >= REPEATS_THAT_CAN_DECIDE and (peak.repeats_p or 0) > 0.05:
            out.append(f"the peak appears in {peak.repeats_above} of {peak.repeats} repeats only")
        elif peak.repeats < REPEATS_THAT_CAN_DECIDE and peak.repeats_above < peak.repeats:
            out.append(f"the peak appears in {peak.repeats_above} of {peak.repeats} repeats")
    if peak.twin is not None and not peak.twin["raised"]:
        out.append("the hump of the untrained twin is not significantly lower")
    return out


def _agree(profile: Profile, plateau: Plateau, second: int) -> bool:
    """Within the plateau, or next to its middle by one site or a tenth of the depth."""
    apart = abs(profile.relative(second) - profile.relative(plateau.middle))
    places = abs(profile.usable.index(second) - profile.usable.index(plateau.middle))
    return second in plateau.indices or places <= 1 or apart <= NEAR
