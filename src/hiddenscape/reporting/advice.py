"""The headline: which layers to use, in words, and what the profile shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiddenscape.plots.sites import SiteAxis
from hiddenscape.reporting.missing import measure_command
from hiddenscape.reporting.words import listed

__all__ = ["Advice", "advice_of", "features_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What the headline says.

    Attributes
    ----------
    say, why : str
        The advice and its reason.
    sites : tuple of int
        Positions of the advised sites on the axis.
    flag : str
        The advice in a few words, for the landscape.
    command : str
        What to run where there is no advice yet.
    """

    say: str
    why: str = ""
    sites: tuple[int, ...] = ()
    flag: str = ""
    command: str = ""


def advice_of(profile: Mapping[str, Any], axis: SiteAxis, path: Path) -> Advice:
    """Read the advice of ``profile.json``; without one, say how to get it."""
    advice = profile.get("advice")
    if not isinstance(advice, Mapping):
        return Advice(
            say="The profile has not been read yet.",
            why="Measuring reads it, once a dimension is there.",
            command=measure_command(path, "two_nn"),
        )
    named = _names(advice)
    sites = tuple(sorted(axis.names.index(n) for n in named if n in axis.names))
    reason = str(advice.get("reason") or advice.get("why") or "")
    if not named:
        say = "No clear answer: this profile singles out no layer."
        return Advice(say=say, why=reason)
    return Advice(say=f"Use {listed(named)}.", why=reason, sites=sites, flag=_flag(named))


def _names(advice: Mapping[str, Any]) -> list[str]:
    for key in ("sites", "site", "layers"):
        found = advice.get(key)
        if isinstance(found, str) and found:
            return [found]
        if isinstance(found, Sequence) and found and all(isinstance(f, str) for f in found):
            return list(found)
    return []


def _flag(names: Sequence[str]) -> str:
    return f"use {names[0]}" if len(names) == 1 else f"use {names[0]} to {names[-1]}"


def features_of(profile: Mapping[str, Any], axis: SiteAxis) -> list[str]:
    """What the profile shows, in sentences."""
    found = profile.get("summary") or profile.get("sentences") or ()
    return [found] if isinstance(found, str) else [str(f) for f in found]
