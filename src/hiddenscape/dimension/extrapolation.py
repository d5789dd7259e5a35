r"""What a finite number of rows does to TwoNN and GRIDE in high dimension, and back.

With n rows in d dimensions the nearest neighbours are as far as the edge of the cloud once
:math:`2^d` is large against n, and estimates are too low: 42 for Gaussians of dimension 80 with
2000 rows. How much depends on the shape of the cloud, and no law in n is common to all shapes, so
the correction is read off a table of clouds of known dimension, standard normal ones and uniform
cubes (``python bench/finite_size.py`` makes it), and the difference between the shapes is part of
its error.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

import numpy as np
from scipy.special import chdtrc

from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension, DimensionCurve
from hiddenscape.errors import InputError
from hiddenscape.results import join_notes
from hiddenscape.types import FloatVector

__all__ = ["expected_dimension", "extrapolate", "finite_size_correction"]

Shape = Literal["gaussian", "cube"]
Shapes = Literal["both", "gaussian", "cube"]

_INTERPOLATION = 0.005
_GRID = 2001
_LEVEL = 0.01
_FEWEST = 3


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """log of the mean estimate and its error by log n (rows) and log d (columns)."""

    log_n: FloatVector
    log_d: FloatVector
    log_value: np.ndarray
    error: np.ndarray

    def at(self, n: float) -> tuple[FloatVector, FloatVector]:
        """The line of the table for n rows."""
        x = math.log(n)
        i = int(np.clip(np.searchsorted(self.log_n, x) - 1, 0, len(self.log_n) - 2))
        t = (x - self.log_n[i]) / (self.log_n[i + 1] - self.log_n[i])
        mix = np.array([1 - t, t])
        return mix @ self.log_value[i : i + 2], np.hypot(*(mix[:, None] * self.error[i : i + 2]))

    def holds(self, n: float) -> bool:
        return bool(self.log_n[0] - 1e-9 <= math.log(n) <= self.log_n[-1] + 1e-9)


def expected_dimension(
    d: float, n: int, *, n1: int = 1, censored: bool = False, shape: Shape = "gaussian"
) -> float:
    """What GRIDE at ranks (n1, 2 n1) gives on average for a cloud of dimension d with n rows.

    Parameters
    ----------
    d : float
        True dimension, 1 to 160.
    n : int
        Rows, 250 to 8000.
    n1 : int
        1 (TwoNN), 2, 4, 8 or 16.
    censored : bool
        TwoNN as :func:`two_nn` gives it by default; n1 must be 1.
    shape : str
        ``gaussian`` (standard normal) or ``cube`` (uniform).

    Raises
    ------
    InputError
        Outside the table.

    Examples
    --------
    >>> round(expected_dimension(80, 2000)), round(expected_dimension(80, 2000, shape="cube"))
    (43, 44)
    """
    if shape not in get_args(Shape):
        raise InputError(f"shape must be gaussian or cube, got {shape!r}")
    if censored and n1 != 1:
        raise InputError(f"the censored estimate is TwoNN, ranks (1, 2): got n1 = {n1}")
    table = _table("two_nn" if censored else f"gride {n1}", shape)
    low, high = np.exp(table.log_d[[0, -1]])
    if not (low <= d * (1 + 1e-12) and d <= high * (1 + 1e-12)) or not (n > 0 and table.holds(n)):
        rows = np.exp(table.log_n[[0, -1]]).round().astype(int)
        raise InputError(
            f"the table covers d from {low:.0f} to {high:.0f} and n from {rows[0]} to {rows[1]}, "
            f"got d = {d}, n = {n}"
        )
    line, _ = table.at(n)
    return math.exp(float(np.interp(math.log(d), table.log_d, line)))


def finite_size_correction(estimate: Dimension, *, shape: Shapes = "both") -> Dimension:
    r"""The dimension of a cloud for which the estimate would be usual at its number of rows.

    Solves E(d, n) = value for d, with E from the table: for Gaussians, for cubes, or their
    geometric mean.

    Parameters
    ----------
    estimate : Dimension
        From :func:`two_nn` (``censored`` at fraction 0.9, or ``mle``) or :func:`gride` at ranks
        (n1, 2 n1) with n1 = 1, 2, 4, 8, 16, of ``n_used`` rows.
    shape : str
        ``gaussian``, ``cube`` or ``both``.

    Returns
    -------
    Dimension
        Its stderr joins that of the estimate, carried through the table, the table's own
        (``parameters["table_error"]``) and, for ``both``, half the difference between the shapes
        (``parameters["shape_error"]``). ``parameters["raw"]`` is the value before. NaN with
        ``undefined`` where n or the value lies outside the table (250 to 8000 rows, d from 1 to
        160): decimate larger clouds and :func:`extrapolate`.

    Raises
    ------
    InputError
        For another estimator or other ranks, or an unknown shape.

    Notes
    -----
    A cloud of another shape has another bias; the correction assumes that data fill d dimensions as
    these clouds do. Noise and curvature are not finite-size effects and stay in the number.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import find_neighbors, gride
    >>> points = np.random.default_rng(5).normal(size=(1000, 30))
    >>> raw = gride(find_neighbors(points, k=8), 4)
    >>> d = finite_size_correction(raw)
    >>> f"{raw.value:.0f} -> {d.value:.0f} +- {d.stderr:.0f}"
    '20 -> 31 +- 1'
    """
    kind = _kind(estimate)
    shapes = _shapes(shape)
    parameters: dict[str, object] = {
        **estimate.parameters,
        "shape": shape,
        "raw": estimate.value,
        "corrected_with": kind,
    }

    def answer(value: float, error: float, note: str) -> Dimension:
        return Dimension(
            value=value,
            stderr=error,
            stderr_kind=estimate.stderr_kind if math.isfinite(error) else "",
            interval=normal_interval(value, error),
            n_used=estimate.n_used,
            n_dropped=estimate.n_dropped,
            method=f"{estimate.method} corrected",
            scale=estimate.scale,
            n1=estimate.n1,
            n2=estimate.n2,
            note=note,
            parameters=parameters,
        )

    if math.isnan(estimate.value):
        return answer(math.nan, math.nan, estimate.note)
    n = estimate.n_used
    tables = [_table(kind, s) for s in shapes]
    if not tables[0].holds(n):
        why = f"undefined (the table of finite-size effects does not cover {n} rows)"
        return answer(math.nan, math.nan, join_notes(estimate.note, why))
    relative = estimate.stderr / estimate.value
    found = [_inverse(t, n, estimate.value) for t in tables]
    if any(math.isnan(log_d) for log_d, _, _ in found):
        why = f"undefined (no dimension of the table gives {estimate.value:.3g} at {n} rows)"
        return answer(math.nan, math.nan, join_notes(estimate.note, why))
    middle = float(np.mean([log_d for log_d, _, _ in found]))
    slope = float(np.mean([s for _, s, _ in found]))
    table = slope * float(np.mean([e for _, _, e in found]))
    between = float(np.ptp([log_d for log_d, _, _ in found])) / 2
    value = math.exp(middle)
    parameters |= {"table_error": value * table, "shape_error": value * between}
    error = value * math.sqrt((slope * relative) ** 2 + table**2 + between**2)
    return answer(value, error, estimate.note)


def extrapolate(curve: DimensionCurve, *, shape: Shapes = "both") -> Dimension:
    r"""The dimension towards which estimates from ever more rows tend: n to infinity.

    One d is fitted to all numbers of rows of the curve at once, by least squares of
    :math:`\log d_s - \log E(d, n_s)` in units of their errors, with E from the table for each
    shape. The shapes whose curve fits (chi-squared, level 0.01) are averaged.

    Parameters
    ----------
    curve : DimensionCurve
        From :func:`decimation` with :func:`two_nn` or :func:`gride` at one pair of ranks; numbers
        of rows outside the table (250 to 8000) are left out.
    shape : str
        ``gaussian``, ``cube`` or ``both``.

    Returns
    -------
    Dimension
        stderr joins the error of the fit, widened where it fits badly, and half the difference
        between the shapes that fit (``repeats``). ``parameters`` holds ``rows`` (those used),
        ``fits`` (d and p of each shape). Refused as NaN with ``undefined`` where fewer than 3
        numbers of rows are in the table, no shape fits, or a fit ends at the edge of the table.

    Raises
    ------
    InputError
        For another estimator or ranks that differ along the curve, or an unknown shape.

    Examples
    --------
    >>> import numpy as np
    >>> from hiddenscape import decimation
    >>> points = np.random.default_rng(0).normal(size=(2000, 20))
    >>> curve = decimation(points)
    >>> d = extrapolate(curve, shape="gaussian")
    >>> f"{curve.estimates[0].value:.1f} -> {d.value:.1f} +- {d.stderr:.1f}"
    '16.8 -> 19.8 +- 0.3'
    """
    kinds = {_kind(e) for e in curve.estimates}
    if len(kinds) > 1:
        raise InputError(f"the estimates of a curve must be of one kind, got {sorted(kinds)}")
    kind = kinds.pop()
    shapes = _shapes(shape)
    tables = [_table(kind, s) for s in shapes]
    use = [
        e
        for e in curve.estimates
        if e.value > 0 and e.stderr > 0 and e.n_used > 0 and tables[0].holds(e.n_used)
    ]
    whole = curve.estimates[0]
    parameters: dict[str, object] = {
        **whole.parameters,
        "shape": shape,
        "raw": whole.value,
        "rows": tuple(e.n_used for e in use),
    }
    fits = {s: _fit(t, use) for s, t in zip(shapes, tables, strict=True)} if use else {}
    parameters["fits"] = {s: (math.exp(f[0]), f[2]) for s, f in fits.items()}
    good = [f for f in fits.values() if f[2] > _LEVEL]
    why = ""
    if len(use) < _FEWEST:
        why = f"undefined ({len(use)} numbers of rows with an error lie in the table, needs 3)"
    elif not good:
        why = "undefined (the estimates do not grow with n as those of any shape of the table)"
    elif any(f[3] for f in good):
        why = "undefined (the fit ends at the edge of the table)"
    value = error = math.nan
    if not why:
        middle = float(np.mean([f[0] for f in good]))
        between = float(np.ptp([f[0] for f in good])) / 2
        value = math.exp(middle)
        error = value * math.hypot(float(np.mean([f[1] for f in good])), between)
        parameters["shape_error"] = value * between
    return Dimension(
        value=value,
        stderr=error,
        stderr_kind="repeats" if math.isfinite(error) else "",
        interval=normal_interval(value, error),
        n_used=whole.n_used,
        n_dropped=whole.n_dropped,
        method=f"{whole.method} extrapolated",
        n1=whole.n1,
        n2=whole.n2,
        note=join_notes(whole.note, why),
        parameters=parameters,
    )


def _shapes(shape: str) -> tuple[str, ...]:
    if shape not in get_args(Shapes):
        raise InputError(f"shape must be both, gaussian or cube, got {shape!r}")
    return get_args(Shape) if shape == "both" else (shape,)


def _kind(estimate: Dimension) -> str:
    if estimate.method == "censored" and estimate.parameters.get("fraction") == 0.9:
        return "two_nn"
    harmonic = estimate.parameters.get("average", "harmonic") == "harmonic"
    if estimate.method == "mle" and estimate.n2 == 2 and harmonic:
        return "gride 1"
    doubled = estimate.n1 in _ranks() and estimate.n2 == 2 * (estimate.n1 or 0)
    if estimate.method == "gride" and doubled and not estimate.parameters.get("mu_filter"):
        return f"gride {estimate.n1}"
    raise InputError(
        f"the table holds two_nn (censored at fraction 0.9, mle) and gride at ranks (n1, 2 n1) "
        f"with n1 = {', '.join(map(str, _ranks()))}; got {estimate.method} at ranks "
        f"({estimate.n1}, {estimate.n2})"
    )


@cache
def _entries() -> tuple[dict[str, object], ...]:
    text = files("hiddenscape").joinpath("assets/finite_size.json").read_text(encoding="utf-8")
    return tuple(json.loads(text)["entries"])


@cache
def _ranks() -> tuple[int, ...]:
    names = _entries()[0]["values"]
    assert isinstance(names, dict)
    return tuple(int(name.split()[1]) for name in names if name.startswith("gride"))


@cache
def _table(kind: str, shape: str) -> _Table:
    if kind != "two_nn" and kind not in {f"gride {r}" for r in _ranks()}:
        raise InputError(f"the table holds n1 = {', '.join(map(str, _ranks()))}, got {kind}")
    rows: dict[tuple[int, int], tuple[float, float]] = {}
    for entry in _entries():
        if entry["shape"] == shape:
            rows[int(str(entry["n"])), int(str(entry["d"]))] = entry["values"][kind]  # type: ignore[index]
    ds = sorted({d for _, d in rows})
    # A table still in the making ends with the last complete number of rows.
    ns = [n for n in sorted({n for n, _ in rows}) if all((n, d) in rows for d in ds)]
    value = np.array([[rows[n, d][0] for d in ds] for n in ns])
    error = np.array([[rows[n, d][1] for d in ds] for n in ns])
    return _Table(np.log(ns), np.log(ds), np.log(value), error / value)


def _inverse(table: _Table, n: int, value: float) -> tuple[float, float, float]:
    """log d, d log d / d log value and the relative error of the table there; NaN outside."""
    line, error = table.at(n)
    x = math.log(value)
    # Below d = 1 and at the last entry the table has one side only.
    if not line[0] - 2 * error[0] <= x <= line[-1]:
        return math.nan, math.nan, math.nan
    log_d = float(np.interp(x, line, table.log_d))
    i = int(np.clip(np.searchsorted(line, x) - 1, 0, len(line) - 2))
    slope = float((table.log_d[i + 1] - table.log_d[i]) / (line[i + 1] - line[i]))
    own = math.hypot(float(error[i : i + 2].mean()), _INTERPOLATION)
    return log_d, slope, own


def _fit(table: _Table, use: list[Dimension]) -> tuple[float, float, float, bool]:
    """log d, its error, the p-value of the fit, and whether it ends at the edge."""
    grid = np.linspace(table.log_d[0], table.log_d[-1], _GRID)
    chi2 = np.zeros(_GRID)
    for e in use:
        line, error = table.at(e.n_used)
        model = np.interp(grid, table.log_d, line)
        own = np.interp(grid, table.log_d, error)
        spread = (e.stderr / e.value) ** 2 + own**2 + _INTERPOLATION**2
        chi2 += (math.log(e.value) - model) ** 2 / spread
    at = int(np.argmin(chi2))
    free = len(use) - 1
    p = float(chdtrc(free, chi2[at])) if free else 1.0
    widened = max(1.0, float(chi2[at]) / free) if free else 1.0
    near = np.flatnonzero(chi2 <= chi2[at] + widened)
    half = max(float(grid[near[-1]] - grid[near[0]]) / 2, float(grid[1] - grid[0]))
    return float(grid[at]), half, p, at in (0, _GRID - 1)
