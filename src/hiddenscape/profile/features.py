"""Features of a profile over depth, and the advice that follows from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.errors import InputError
from hiddenscape.profile.advice import Advice, advise
from hiddenscape.profile.labels import LabelReading, read_labels
from hiddenscape.profile.peaks import (
    Minimum,
    Peak,
    Profile,
    find_peaks,
    minimum_after,
    shape_of,
    turning_points,
)
from hiddenscape.profile.rules import (
    Phase,
    Plateau,
    calm_sites,
    first_maximum,
    first_minimum,
    phases_of,
    plateau_after,
)
from hiddenscape.profile.significance import bonferroni, noise_of, z_score
from hiddenscape.profile.words import describe

__all__ = ["ProfileFeatures", "profile_features"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ProfileFeatures:
    """What a profile over depth shows, beyond its noise.

    Indices count the sites as given, from 0.

    Attributes
    ----------
    sites, depths, values, stderr, scale
        The profile that was read.
    stderr_source : str
        ``stderr``, ``repeats`` or empty where no error is known.
    shape : str
        ``flat``, ``rising``, ``falling``, ``valley``, ``one peak``, ``2 peaks``, ...; ``untested``
        without errors, ``too short`` with fewer than 3 sites.
    critical : float
        Joint standard errors by which two sites must differ (Tukey-Kramer, 5 % over all pairs).
    peaks : tuple of Peak
        All significant peaks, in depth order; if there is none, the best candidate (marked).
    minimum : Minimum or None
        The relative minimum after the first significant maximum.
    plateau : Plateau or None
        The low run after the first maximum (the rule ``plateau_middle`` takes its middle).
    first_minimum : int or None
        What the rule ``first_minimum`` says.
    phases : tuple of Phase
    calm : tuple of int
        Sites of the calmest stretch of consecutive overlap, if that was given.
    calm_contrast : float or None
        Mean consecutive overlap on the plateau minus that at the peak.
    twin_differs : tuple of int or None
        Sites where the untrained twin differs (Bonferroni over sites, 5 %); None without a twin.
    missing : tuple of int
        Sites without a value or without an error.
    advice : Advice
        Which site to use, without labels.
    labels : LabelReading or None
        What labels say, apart from the advice.
    """

    sites: tuple[str, ...]
    depths: tuple[float, ...]
    values: tuple[float, ...]
    stderr: tuple[float, ...]
    scale: str
    stderr_source: str
    shape: str
    critical: float
    peaks: tuple[Peak, ...]
    minimum: Minimum | None
    plateau: Plateau | None
    first_minimum: int | None
    phases: tuple[Phase, ...]
    calm: tuple[int, ...]
    calm_contrast: float | None
    twin_differs: tuple[int, ...] | None
    missing: tuple[int, ...]
    advice: Advice
    labels: LabelReading | None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries for JSON; what is not a finite number becomes None.

        ``text`` holds the lines of :meth:`text`.
        """
        plain: dict[str, Any] = _plain(self)
        return {"schema": "hiddenscape-profile/1", **plain, "text": list(self.text())}

    def text(self) -> tuple[str, ...]:
        """The reading in sentences, one per line."""
        return describe(self)


def profile_features(
    depths: ArrayLike,
    values: ArrayLike,
    *,
    sites: Sequence[str] | None = None,
    stderr: ArrayLike | None = None,
    repeats: ArrayLike | None = None,
    null_values: ArrayLike | None = None,
    null_stderr: ArrayLike | None = None,
    overlap_next: ArrayLike | None = None,
    label_overlap: ArrayLike | None = None,
    label_per_point: ArrayLike | None = None,
    scale: str = "",
    seed: int = 0,
) -> ProfileFeatures:
    r"""Find the peaks, the plateau and the phases of a dimension profile, and advise a site.

    A peak is a site that lies above an earlier and a later site by more than a critical number of
    joint standard errors (:math:`z = (v_p - v_i) / \sqrt{s_p^2 + s_i^2}`). The critical number is
    that of Tukey and Kramer for all pairs of sites, so that a profile without a hump shows a peak
    in at most 5 % of cases, however many sites it has.

    Parameters
    ----------
    depths : array (L,)
        Depth of each site, never decreasing.
    values : array (L,)
        The profile, such as the estimated dimension at one scale; NaN where it is undefined.
    sites : sequence of str, optional
        Names for the report.
    stderr : array (L,), optional
        Standard errors of the values. Without them, ``repeats`` provide them.
    repeats : array (R, L), optional
        The profile over seeds or partitions of the rows; they also tell whether every repeat has
        the peak (sign test). They may be measured at fewer rows than ``values``.
    null_values, null_stderr : arrays (L,), optional
        The untrained twin at the same rows and scale. Without its errors, the relative errors of
        the values are assumed.
    overlap_next : array (L - 1,), optional
        Neighbourhood overlap of each site with the next: a second label-free signal.
    label_overlap : array (L,), optional
        Label overlap, read apart from the advice and never used for it.
    label_per_point : array (L, n), optional
        Shares of single rows: the best site is then chosen on one half and scored on the other.
    scale : str
        At which scale the values were measured, in words, for the text.
    seed : int
        Keys the split into halves.

    Returns
    -------
    ProfileFeatures
        Its ``advice`` may be ``no clear answer``: for flat and monotone profiles, peaks within the
        noise, fewer than 5 sites, rules that disagree, a twin with the same profile, or too many
        missing sites.

    Raises
    ------
    InputError
        If lengths disagree, depths decrease or are not finite, or an error is negative.

    Notes
    -----
    Rules (fixed in advance; both are reported): see :mod:`hiddenscape.profile.rules`. An untrained
    network can have a hump of its own, so "absent when untrained" is no test: the difference of the
    humps is.

    References
    ----------
    Valeriani et al. 2023, arXiv:2302.00294 (peak, plateau, semantic content on the plateau); Cheng
    et al. 2024, arXiv:2405.15471 (abstraction at the peak); Ansuini et al. 2019, arXiv:1905.12784.

    Examples
    --------
    >>> depths = range(9)
    >>> f = profile_features(depths, [10, 16, 20, 14, 9, 8.8, 9, 11, 12], stderr=[0.3] * 9)
    >>> f.shape, f.peaks[0].index, f.plateau.indices, f.advice.index, f.advice.confidence
    ('one peak', 2, (4, 5, 6), 5, 'clear')
    >>> profile_features(depths, [10, 9.8, 10, 10.1, 9.9, 10, 9.9, 10, 10.1],
    ...                  stderr=[0.3] * 9).advice.confidence
    'none'
    """
    profile, overlaps, shares = _check(
        depths, values, sites, stderr, repeats, null_values, null_stderr, overlap_next,
        label_overlap, label_per_point,
    )  # fmt: skip
    tested = bool(profile.noise.source)
    turns = turning_points(profile.values, profile.noise, profile.usable, profile.critical)
    turns = turns if tested else []
    peaks = find_peaks(profile, turns)
    shape = shape_of(turns) if tested else "untested"
    shape = shape if len(profile.usable) >= 3 else "too short"
    start = first_maximum(peaks, turns)
    plateau = plateau_after(profile, start) if start is not None else None
    second = first_minimum(profile, start) if start is not None else None
    calm = calm_sites(overlaps["overlap_next"]) if "overlap_next" in overlaps else ()
    differs = _twin_differs(profile)
    advice = advise(profile, shape, peaks, start, plateau, second, calm, differs)
    significant = [p for p in peaks if p.significant]
    reading = None
    if "label_overlap" in overlaps:
        reading = read_labels(
            overlaps["label_overlap"],
            profile.sites,
            chosen=advice.index,
            peak=significant[0].index if significant else None,
            plateau=plateau.indices if plateau is not None else None,
            per_point=shares,
            seed=seed,
        )
    return ProfileFeatures(
        sites=profile.sites,
        depths=tuple(profile.depths.tolist()),
        values=tuple(profile.values.tolist()),
        stderr=tuple(profile.noise.stderr.tolist()),
        scale=scale,
        stderr_source=profile.noise.source,
        shape=shape,
        critical=profile.critical,
        peaks=peaks,
        minimum=minimum_after(profile, turns),
        plateau=plateau,
        first_minimum=second,
        phases=phases_of(profile, peaks, plateau),
        calm=calm,
        calm_contrast=_calm_contrast(overlaps.get("overlap_next"), significant, plateau),
        twin_differs=differs,
        missing=tuple(i for i in range(len(profile.values)) if i not in profile.usable),
        advice=advice,
        labels=reading,
    )


def _check(
    depths: ArrayLike,
    values: ArrayLike,
    sites: Sequence[str] | None,
    stderr: ArrayLike | None,
    repeats: ArrayLike | None,
    null_values: ArrayLike | None,
    null_stderr: ArrayLike | None,
    overlap_next: ArrayLike | None,
    label_overlap: ArrayLike | None,
    label_per_point: ArrayLike | None,
) -> tuple[Profile, dict[str, np.ndarray], np.ndarray | None]:
    depth = _vector("depths", depths, None)
    n = len(depth)
    if not np.isfinite(depth).all() or (np.diff(depth) < 0).any():
        raise InputError("depths must be finite and never decrease: put the sites in depth order")
    value = _vector("values", values, n)
    value[~np.isfinite(value)] = math.nan
    if sites is not None and len(sites) != n:
        raise InputError(f"{len(sites)} site names for {n} values")
    table = None if repeats is None else _table("repeats", repeats, n)
    error = None if stderr is None else _errors("stderr", stderr, n)
    noise = noise_of(value, error, table)
    usable = np.isfinite(value)
    if noise.source:
        usable &= np.isfinite(noise.stderr)
    twin, twin_error = None, None
    if null_values is not None:
        twin = _vector("null_values", null_values, n)
        if null_stderr is not None:
            twin_error = _errors("null_stderr", null_stderr, n)
        else:
            with np.errstate(divide="ignore", invalid="ignore"):
                twin_error = noise.stderr * np.abs(twin / value)
    kept = {"overlap_next": (overlap_next, n - 1), "label_overlap": (label_overlap, n)}
    overlaps = {
        name: _vector(name, array, length)
        for name, (array, length) in kept.items()
        if array is not None
    }
    shares = None
    if label_per_point is not None:
        shares = np.asarray(label_per_point, dtype=np.float64)
        if shares.ndim != 2 or len(shares) != n:
            raise InputError(f"label_per_point must be ({n} sites, rows), got {shares.shape}")
    profile = Profile(
        depths=depth,
        values=value,
        sites=tuple(sites) if sites is not None else tuple(f"site {i}" for i in range(n)),
        noise=noise,
        usable=tuple(np.flatnonzero(usable).tolist()),
        critical=noise.critical(int(usable.sum())),
        repeats=table,
        twin=twin,
        twin_stderr=twin_error,
    )
    return profile, overlaps, shares


def _vector(name: str, array: ArrayLike, length: int | None) -> np.ndarray:
    out = np.array(list(array) if isinstance(array, range) else array, dtype=np.float64)
    if out.ndim != 1 or (length is not None and len(out) != length):
        wanted = "one number per site" if length is None else f"{length} numbers"
        raise InputError(f"{name} must be {wanted}, got an array of shape {out.shape}")
    return out


def _table(name: str, array: ArrayLike, n: int) -> np.ndarray:
    out = np.array(array, dtype=np.float64)
    if out.ndim != 2 or out.shape[1] != n:
        raise InputError(f"{name} must have shape (repeats, {n}), got {out.shape}")
    return out


def _errors(name: str, array: ArrayLike, n: int) -> np.ndarray:
    out = _vector(name, array, n)
    if (out < 0).any():
        raise InputError(f"{name} must not be negative, got {out.min()}")
    return out


def _twin_differs(profile: Profile) -> tuple[int, ...] | None:
    if profile.twin is None or profile.twin_stderr is None or not profile.noise.source:
        return None
    both = [i for i in profile.usable if math.isfinite(profile.twin[i])]
    limit = bonferroni(len(both))
    out = []
    for i in both:
        other = profile.twin_stderr[i]
        error = math.hypot(profile.noise.stderr[i], other if math.isfinite(other) else 0.0)
        if abs(z_score(float(profile.values[i] - profile.twin[i]), error)) > limit:
            out.append(i)
    return tuple(out) if both else None


def _calm_contrast(
    overlap_next: np.ndarray | None, peaks: Sequence[Peak], plateau: Plateau | None
) -> float | None:
    """Mean overlap of the steps that touch the plateau minus those that touch the peak alone."""
    if overlap_next is None or plateau is None or not peaks:
        return None
    low = {i for s in plateau.indices for i in (s - 1, s) if 0 <= i < len(overlap_next)}
    inner = {i for i in low if i in plateau.indices and i + 1 in plateau.indices} or low
    top = {i for i in (peaks[0].index - 1, peaks[0].index) if 0 <= i < len(overlap_next)} - inner
    if not top:
        return None
    contrast = float(overlap_next[sorted(inner)].mean() - overlap_next[sorted(top)].mean())
    return contrast if math.isfinite(contrast) else None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
