"""Peaks and minima of a profile that stand out of its noise, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hiddenscape.profile.significance import Noise, sign_test, z_score

__all__ = ["Minimum", "Peak", "Turn", "find_peaks", "shape_of", "turning_points"]


@dataclass(frozen=True, slots=True)
class Turn:
    """A turning point: the highest (``rise`` before it) or lowest site of a swing."""

    index: int
    is_max: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """A maximum between two lower sites.

    Attributes
    ----------
    index, site, depth, value, stderr
        Where and how high.
    left, right : int
        The lowest sites before and after it, up to the next turning points.
    prominence : float
        Height above the higher of the two.
    z : float
        Smaller of the two rises in joint standard errors; NaN where no error is known.
    critical : float
        z that a claim needs with so many sites.
    significant : bool
    sharp : bool
        Above both adjacent sites by more than 2 joint standard errors.
    first, last : int
        The sites around it that lie less than 2 joint standard errors below.
    repeats_above, repeats : int
        Repeats in which it lies above ``left`` and ``right`` both, of how many; ``repeats_p`` is
        the sign test of the less clear side.
    twin : dict or None
        Value of the untrained twin at the peak, its ``hump`` (value minus the mean of the values at
        ``left`` and ``right``) beside that of the trained network, and their difference ``excess``
        with joint error and z; ``raised`` if it exceeds ``critical``.
    """

    index: int
    site: str
    depth: float
    value: float
    stderr: float
    left: int
    right: int
    prominence: float
    z: float
    critical: float
    significant: bool
    sharp: bool
    first: int
    last: int
    repeats_above: int | None
    repeats: int | None
    repeats_p: float | None
    twin: dict[str, float | bool] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum:
    """The relative minimum after the first peak; ``z_after`` how far the profile rises again."""

    index: int
    site: str
    depth: float
    value: float
    stderr: float
    z_before: float
    z_after: float
    significant: bool


def turning_points(
    values: np.ndarray, noise: Noise, usable: Sequence[int], critical: float
) -> list[Turn]:
    """Alternating maxima and minima, each beyond ``critical`` from the one before it.

    The profile is followed in one direction until it has come back by more than ``critical`` joint
    standard errors from the farthest site reached. The first turn is where the profile starts from
    (it stands out on one side only), the last one where it ends. A profile without such a swing
    has no turns at all.
    """
    if not usable:
        return []
    high = low = usable[0]
    turns: list[Turn] = []
    rising: bool | None = None
    for i in usable[1:]:
        fallen = z_score(values[high] - values[i], noise.joint(high, i)) > critical
        risen = z_score(values[i] - values[low], noise.joint(i, low)) > critical
        if rising is not False and fallen:
            turns.append(Turn(high, True))
            rising, low = False, i
        elif rising is not True and risen:
            turns.append(Turn(low, False))
            rising, high = True, i
        if rising is not False and values[i] > values[high]:
            high = i
        if rising is not True and values[i] < values[low]:
            low = i
    if rising is not None:
        turns.append(Turn(high if rising else low, rising))
    return turns


def shape_of(turns: Sequence[Turn]) -> str:
    """The profile in words, from its turning points alone."""
    inner = turns[1:-1]
    peaks = sum(t.is_max for t in inner)
    if not turns:
        return "flat"
    if not inner:
        return "rising" if turns[-1].is_max else "falling"
    if not peaks:
        return "valley"
    return "one peak" if peaks == 1 else f"{peaks} peaks"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Profile:
    """A profile with all that its reading refers to; arrays over the L sites, in depth order."""

    depths: np.ndarray
    values: np.ndarray
    sites: tuple[str, ...]
    noise: Noise
    usable: tuple[int, ...]
    critical: float
    repeats: np.ndarray | None = None
    twin: np.ndarray | None = None
    twin_stderr: np.ndarray | None = None

    def z(self, high: int, low: int) -> float:
        """How far one site lies above another, in joint standard errors."""
        return z_score(float(self.values[high] - self.values[low]), self.noise.joint(high, low))

    def relative(self, index: int) -> float:
        """Depth between 0 (first site) and 1 (last site)."""
        span = self.depths[-1] - self.depths[0]
        return float((self.depths[index] - self.depths[0]) / span) if span > 0 else 0.0


def find_peaks(profile: Profile, turns: Sequence[Turn]) -> tuple[Peak, ...]:
    """The maxima among the inner turning points; the best candidate if there is none."""
    peaks = tuple(
        _peak(profile, here.index, before.index, after.index, True)
        for (before, here), (_, after) in pairwise(pairwise(turns))
        if here.is_max
    )
    if peaks:
        return peaks
    candidate = _candidate(profile)
    return (candidate,) if candidate else ()


def minimum_after(profile: Profile, turns: Sequence[Turn]) -> Minimum | None:
    """The lowest site between the first maximum and the next one (or the end)."""
    for position, turn in enumerate(turns[:-1]):
        if turn.is_max:
            low = turns[position + 1].index
            later = [i for i in profile.usable if i > low]
            z_after = max((profile.z(i, low) for i in later), default=math.nan)
            return Minimum(
                index=low,
                site=profile.sites[low],
                depth=float(profile.depths[low]),
                value=float(profile.values[low]),
                stderr=float(profile.noise.stderr[low]),
                z_before=profile.z(turn.index, low),
                z_after=z_after,
                significant=bool(z_after > profile.critical),
            )
    return None


def _candidate(profile: Profile) -> Peak | None:
    """The highest inner site that rises above something on both sides, significant or not."""
    usable, values = profile.usable, profile.values
    best: tuple[float, int, int, int] | None = None
    for position in range(1, len(usable) - 1):
        here = usable[position]
        left = min(usable[:position], key=lambda i: values[i])
        right = min(usable[position + 1 :], key=lambda i: values[i])
        prominence = float(values[here] - max(values[left], values[right]))
        if prominence > 0 and (best is None or prominence > best[0]):
            best = (prominence, here, left, right)
    return _peak(profile, *best[1:], False) if best else None


def _peak(profile: Profile, at: int, left: int, right: int, significant: bool) -> Peak:
    values = profile.values
    z = min(profile.z(at, left), profile.z(at, right))
    known = bool(profile.noise.source)
    position = profile.usable.index(at)
    beside = [profile.usable[position + s] for s in (-1, 1)]
    above = _repeats_above(profile.repeats, at, left, right)
    first, last = extent(profile, at) if known else (at, at)
    return Peak(
        index=at,
        site=profile.sites[at],
        depth=float(profile.depths[at]),
        value=float(values[at]),
        stderr=float(profile.noise.stderr[at]),
        left=left,
        right=right,
        prominence=float(values[at] - max(values[left], values[right])),
        z=z if known else math.nan,
        critical=profile.critical,
        significant=significant,
        sharp=known and all(profile.z(at, i) > 2 for i in beside),
        first=first,
        last=last,
        repeats_above=above[0] if above else None,
        repeats=above[2] if above else None,
        repeats_p=sign_test(above[1], above[2]) if above else None,
        twin=_twin_contrast(profile, at, left, right),
    )


def extent(profile: Profile, at: int) -> tuple[int, int]:
    """First and last site of the run around a site that lies less than 2 errors below it."""
    position = profile.usable.index(at)
    first = last = position
    while first > 0 and profile.z(at, profile.usable[first - 1]) < 2:
        first -= 1
    while last < len(profile.usable) - 1 and profile.z(at, profile.usable[last + 1]) < 2:
        last += 1
    return profile.usable[first], profile.usable[last]


def _repeats_above(
    repeats: np.ndarray | None, at: int, left: int, right: int
) -> tuple[int, int, int] | None:
    """Repeats above both bases, above the less clear one, and of how many."""
    if repeats is None:
        return None
    whole = repeats[np.isfinite(repeats[:, [at, left, right]]).all(axis=1)]
    if not len(whole):
        return None
    over_left, over_right = whole[:, at] > whole[:, left], whole[:, at] > whole[:, right]
    both = int((over_left & over_right).sum())
    return both, int(min(over_left.sum(), over_right.sum())), len(whole)


def _twin_contrast(
    profile: Profile, at: int, left: int, right: int
) -> dict[str, float | bool] | None:
    if profile.twin is None or profile.twin_stderr is None:
        return None
    if not np.isfinite(profile.twin[[at, left, right]]).all():
        return None

    def hump(v: np.ndarray, s: np.ndarray) -> tuple[float, float]:
        height = v[at] - (v[left] + v[right]) / 2
        return float(height), float(np.sqrt(s[at] ** 2 + (s[left] ** 2 + s[right] ** 2) / 4))

    own, own_error = hump(profile.values, profile.noise.stderr)
    other, other_error = hump(profile.twin, profile.twin_stderr)
    error = math.hypot(own_error, other_error)
    z = z_score(own - other, error)
    return {
        "value": float(profile.twin[at]),
        "hump_trained": own,
        "hump": other,
        "excess": own - other,
        "excess_stderr": error,
        "excess_z": z,
        "raised": bool(z > profile.critical),
    }
