"""The headline: which layers to use, in words, and what the profile shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiddenscape.plots.sites import SiteAxis
from hiddenscape.reporting.missing import measure_command
from hiddenscape.reporting.words import number
from hiddenscape.results import listed

__all__ = ["Advice", "advice_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What the headline says.

    Attributes
    ----------
    say : str
        The advice, in one or two sentences.
    why : str
        Its reasons.
    labels : str
        Where the labels point, which the advice does not use.
    reading : tuple of str
        The whole profile, line by line.
    sites : tuple of int
        Position of the advised site on the axis; empty without an answer.
    plateau : tuple of int
        Positions of the sites that are as good by this reading.
    flag : str
        The advice in a few words, for the landscape.
    command : str
        What to run where the profile has not been read.
    """

    say: str
    why: str = ""
    labels: str = ""
    reading: tuple[str, ...] = ()
    sites: tuple[int, ...] = ()
    plateau: tuple[int, ...] = ()
    flag: str = ""
    command: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the page."""
        return {name: getattr(self, name) for name in self.__slots__}


def advice_of(profile: Mapping[str, Any], axis: SiteAxis, path: Path) -> Advice:
    """The advice of ``profile.json``; without one, how to get it."""
    advice = profile.get("advice")
    if not isinstance(advice, Mapping):
        return Advice(
            say="The profile has not been read yet.",
            why="Measuring reads it, once a dimension is there.",
            command=measure_command(path, "two_nn"),
        )
    why = " ".join(_sentence(r, axis) for r in _texts(advice.get("reasons")))
    text = _texts(profile.get("text"))
    common: dict[str, Any] = {"labels": _labels(profile), "reading": text}
    site = advice.get("site")
    if not isinstance(site, str) or advice.get("confidence") == "none":
        return Advice(say="No clear answer: this profile singles out no layer.", why=why, **common)
    weak = advice.get("confidence") == "weak"
    as_good = [n for n in _texts(advice.get("sites")) if n != site]
    say = f"Perhaps {site}: the evidence is weak." if weak else f"Use {site}."
    if as_good:
        are = "is" if len(as_good) == 1 else "are"
        why += f" By this reading {listed(as_good, 4)} {are} as good."
    return Advice(
        say=say,
        why=why.strip(),
        sites=_places([site], axis),
        plateau=_places([*as_good, site], axis),
        flag=f"perhaps {site}" if weak else f"use {site}",
        **common,
    )


def _sentence(reason: str, axis: SiteAxis) -> str:
    """A reason with a capital letter and a full stop; a site keeps its name."""
    named = reason.split(" ", 1)[0] in axis.names
    return f"{reason if named else reason[:1].upper() + reason[1:]}."


def _texts(found: object) -> tuple[str, ...]:
    if isinstance(found, Sequence) and not isinstance(found, str):
        return tuple(str(f) for f in found)
    return ()


def _places(names: Sequence[str], axis: SiteAxis) -> tuple[int, ...]:
    return tuple(sorted(axis.names.index(n) for n in names if n in axis.names))


def _labels(profile: Mapping[str, Any]) -> str:
    """What the labels say, in one sentence."""
    found = profile.get("labels")
    if not isinstance(found, Mapping) or not isinstance(found.get("best_site"), str):
        return ""
    said = (
        f"The labels, which the advice does not look at, are best kept at {found['best_site']} "
        f"(overlap {number(found.get('best_value'))}"
    )
    chosen = found.get("chosen_value")
    if isinstance(chosen, int | float):
        said += f"; at the advised site {number(float(chosen))}"
    last = found.get("last_value")
    if isinstance(last, int | float):
        said += f"; at the last site {number(float(last))}"
    return said + ")."
