"""A profile's features in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hiddenscape.profile.labels import LabelReading
from hiddenscape.profile.peaks import Peak

if TYPE_CHECKING:
    from hiddenscape.profile.features import ProfileFeatures

__all__ = ["describe"]


def describe(features: ProfileFeatures) -> tuple[str, ...]:
    """The reading, line by line: profile, peaks, minimum, plateau, twin, advice, labels."""
    return tuple(_lines(features))


def _lines(f: ProfileFeatures) -> Iterator[str]:
    yield _headline(f)
    if f.missing:
        yield "Sites without a value: " + ", ".join(f.sites[i] for i in f.missing) + "."
    for peak in f.peaks:
        yield _peak(peak, f)
    if f.minimum is not None:
        low = f.minimum
        rise = (
            f"the profile rises again by {_number(low.z_after)} standard errors"
            if low.significant
            else "the profile does not rise significantly after it"
        )
        yield f"Lowest after it: {_value(low.value, low.stderr)} at {low.site}; {rise}."
    if f.plateau is not None:
        p = f.plateau
        where = _run(f.sites[p.indices[0]], f.sites[p.indices[-1]])
        second = "refuses" if f.first_minimum is None else f"says {f.sites[f.first_minimum]}"
        yield (
            f"Plateau (below {p.threshold:.3g}): {where}; the rule plateau_middle says "
            f"{f.sites[p.middle]}, the rule first_minimum {second}."
        )
    if f.calm:
        yield from _calm(f)
    if f.twin_differs is not None:
        yield _twin(f)
    yield from _advice(f)
    if f.labels is not None:
        yield from _labels(f.labels, f)


def _headline(f: ProfileFeatures) -> str:
    known = [v for v in f.values if math.isfinite(v)]
    scale = f" at {f.scale}" if f.scale else ""
    if not known:
        return f"Estimated dimension{scale}: no site has a value."
    span = f"{min(known):.3g} to {max(known):.3g} over {_sites(len(known))}"
    shapes = {
        "flat": "flat within its errors",
        "untested": "no errors are known, so nothing is told from noise",
        "too short": "too few for a shape",
        "valley": "falls from the first site and rises again",
    }
    shape = shapes.get(f.shape, f.shape)
    return f"Estimated dimension{scale}: {span}; {shape}."


def _peak(peak: Peak, f: ProfileFeatures) -> str:
    at = f"{peak.site} (depth {peak.depth:g})"
    height = f"{_value(peak.value, peak.stderr)}"
    if not math.isfinite(peak.z) and not f.stderr_source:
        return f"Highest inner site: {at}, {height}; whether it is a peak cannot be said."
    if not peak.significant:
        return (
            f"No significant peak: the best candidate is {at}, {height}, {_number(peak.z)} "
            f"standard errors above its surroundings where {peak.critical:.1f} are needed."
        )
    left, right = f.sites[peak.left], f.sites[peak.right]
    text = (
        f"A peak at {at}: {height}, {_number(peak.z)} standard errors above both {left} and "
        f"{right} ({peak.critical:.1f} are needed)"
    )
    if peak.repeats is not None:
        text += f"; in {peak.repeats_above} of {peak.repeats} repeats"
    if peak.first != peak.last:
        text += f"; {_run(f.sites[peak.first], f.sites[peak.last])} cannot be told apart"
    if peak.twin is not None:
        t = peak.twin
        verdict = "higher" if t["raised"] else "not significantly higher"
        text += (
            f"; the untrained twin shows {t['value']:.3g} there and a hump of {t['hump']:.3g}: the "
            f"trained hump is {verdict} ({t['excess']:+.3g} ± {t['excess_stderr']:.2g})"
        )
    return text + "."


def _calm(f: ProfileFeatures) -> Iterator[str]:
    where = _run(f.sites[f.calm[0]], f.sites[f.calm[-1]])
    text = f"Neighbours change least between consecutive sites at {where}"
    if f.calm_contrast is not None:
        text += f"; plateau minus peak: {f.calm_contrast:+.2f} in consecutive overlap"
    yield text + "."


def _twin(f: ProfileFeatures) -> str:
    if not f.twin_differs:
        return "The untrained twin differs nowhere beyond its errors: no evidence of training."
    share = f"{len(f.twin_differs)} of {len(f.sites)} sites"
    return f"The untrained twin differs significantly at {share}."


def _advice(f: ProfileFeatures) -> Iterator[str]:
    a = f.advice
    if not a.clear:
        yield "Which site to use: no clear answer. " + _sentences(f)
        return
    degree = {"clear": "", "weak": " (weak evidence)"}[a.confidence]
    others = (
        ""
        if len(a.sites) == 1
        else f"; as good by this reading: {_run(*a.sites[:: len(a.sites) - 1])}"
    )
    yield f"Which site to use: {a.site}{degree}{others}. " + _sentences(f)


def _labels(r: LabelReading, f: ProfileFeatures) -> Iterator[str]:
    yield (
        f"With labels: best at {r.best_site} (overlap {r.best_value:.3f}); last site "
        f"{r.last_value:.3f}, mean over sites {r.mean_value:.3f}."
    )
    if r.regret is not None:
        yield (
            f"The advised site reaches {r.chosen_value:.3f}: regret {r.regret:.3f}, against "
            f"{r.regret_last:.3f} for the last site and {r.regret_random:.3f} for a random one."
        )
    if r.held_out is not None and "regret" in r.held_out:
        h = r.held_out
        yield (
            f"Best site chosen on one half of the rows, scored on the other: regret "
            f"{h['regret']:+.3f} ± {h['regret_stderr']:.3f}, of the last site "
            f"{h['regret_last']:+.3f} ± {h['regret_last_stderr']:.3f}."
        )


def _value(value: float, stderr: float) -> str:
    return f"{value:.3g} ± {stderr:.2g}" if math.isfinite(stderr) else f"{value:.3g}"


def _sites(n: int) -> str:
    return "1 site" if n == 1 else f"{n} sites"


def _number(z: float) -> str:
    return f"{z:.1f}" if math.isfinite(z) else "infinitely many"


def _run(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def _sentences(f: ProfileFeatures) -> str:
    """Reasons with capital letter and full stop; the name of a site is left as it is."""
    return " ".join(
        (r if r.startswith(f.sites) else r[:1].upper() + r[1:]) + "." for r in f.advice.reasons
    )
