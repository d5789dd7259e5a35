r"""Autoencoder elbow: how many units a bottleneck needs before held-out rows pass through it.

Source of nonlinear components by autoencoders: Kramer 1991, doi 10.1002/aic.690370209; Hinton,
Salakhutdinov 2006, doi 10.1126/science.1127647.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.dimension.elbow import ELBOW_RULE, elbow
from hiddenscape.dimension.ratios import normal_interval
from hiddenscape.dimension.result import Dimension
from hiddenscape.errors import InputError
from hiddenscape.kernels.arrays import cloud
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.results import join_notes
from hiddenscape.types import whole

if TYPE_CHECKING:
    import torch

__all__ = ["autoencoder_dimension"]

_SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32)
_FEWEST = 20
_BATCH = 64
_RATE = 3e-3


def autoencoder_dimension(
    points: ArrayLike,
    *,
    sizes: Sequence[int] | None = None,
    width: int = 64,
    steps: int = 1000,
    held_out: float = 0.2,
    seeds: int = 3,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Dimension:
    r"""Smallest bottleneck through which an autoencoder carries rows it has not seen.

    An encoder (d, width, width, m) and its mirror image, with tanh between layers, learn to
    reproduce rows. E(m) is the squared error on held-out rows over their variance about the mean of
    the others. The answer is the elbow: the smallest m with
    :math:`E(m) \le E(m_{\max}) + 0.1 (E(m_{\min}) - E(m_{\max}))`.

    Parameters
    ----------
    points : array (n, d)
        Real and finite; never changed. Identical rows enter once, so that no held-out row was seen.
        Columns keep their relative scale.
    sizes : sequence of int, optional
        Bottlenecks m, ascending, at least 2 of them; by default 1 to 6, 8, 10, 12, 16, 24, 32 up
        to d, and d + 1. The answer is one of them.
    width : int
        Units of the hidden layers.
    steps : int
        Steps of Adam, 64 rows each; the rate falls from 0.003 to 0 along a cosine.
    held_out : float
        Share of rows kept for the error, in (0, 0.5].
    seeds : int
        Independent weights, splits and orders of rows, at least 3.
    seed : int
        Keys them.
    progress : callable, optional
        Called with (steps done, steps).

    Returns
    -------
    Dimension
        The elbow of the mean curve; stderr is the spread of the elbows of single seeds over the
        root of their number (``repeats``; 0 where all agree). ``parameters`` holds ``sizes``, the
        curve ``errors`` (mean over seeds), its range ``lowest`` and ``highest``, and ``rule``. No
        scale: it is a global measure. NaN with ``collapsed`` where fewer than 3 rows are distinct,
        ``few_points`` where fewer than 20 are, ``undefined`` where there is no elbow: the last step
        still takes more than 5 % of the fall, or nothing is learned.

    Raises
    ------
    InputError
        For sizes that are not ascending, or a width, steps, share or number of seeds out of range.
    NonFiniteError
        If a row holds NaN or infinity.

    Notes
    -----
    All bottlenecks and seeds learn side by side in one stack of networks: seconds to minutes.
    Deterministic on one machine with one number of threads. A network that is too small or trained
    too briefly gives too large a number: look at the curve. Closed surfaces have no global chart: a
    sphere of dimension 2 needs 3.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6))
    >>> d = autoencoder_dimension(points, sizes=(1, 2, 3, 4), width=16, steps=300)
    >>> d.value, d.parameters["sizes"]
    (2.0, (1, 2, 3, 4))
    """
    data = cloud(points)
    chosen = _checked(sizes, data.d, width, steps, held_out, seeds)
    same = find_duplicates(data.original)
    n, dropped = same.n_distinct, data.n - same.n_distinct
    parameters: dict[str, object] = {
        "sizes": chosen,
        "width": width,
        "steps": steps,
        "held_out": float(held_out),
        "seeds": seeds,
        "seed": seed,
        "rule": ELBOW_RULE,
    }
    note = join_notes(
        f"duplicates ({dropped} of {data.n} rows)" if dropped else "",
        f"few_points ({n} rows)" if n < 100 else "",
    )
    why = ""
    if n < 3:
        why = f"collapsed ({n} distinct of {data.n} rows)"
    elif n < _FEWEST:
        why = f"few_points ({n} distinct rows); undefined"
    if why:
        return Dimension(value=math.nan, n_used=n, n_dropped=dropped, method="autoencoder",
                         note=join_notes(why, note), parameters=parameters)  # fmt: skip
    rows = data.values[same.distinct_rows].astype(np.float64)
    errors = _train(rows, chosen, width, steps, held_out, seeds, seed, progress)
    mean = errors.mean(axis=0)
    parameters |= {
        "errors": tuple(mean.tolist()),
        "lowest": tuple(errors.min(axis=0).tolist()),
        "highest": tuple(errors.max(axis=0).tolist()),
    }
    value = elbow(chosen, mean) if mean.min() < 1 else math.nan
    singles = np.array([elbow(chosen, curve) for curve in errors])
    spread = float(singles.std(ddof=1)) / math.sqrt(seeds)
    error = spread if math.isfinite(value) else math.nan
    without = int(np.isnan(singles).sum())
    return Dimension(
        value=value,
        stderr=error,
        stderr_kind="repeats" if math.isfinite(error) else "",
        interval=normal_interval(value, error),
        n_used=n,
        n_dropped=dropped,
        method="autoencoder",
        note=join_notes(
            note,
            "undefined (no elbow: the error does not level off within the sizes)"
            if math.isnan(value)
            else "",
            f"undefined ({without} of {seeds} seeds have no elbow)"
            if without and math.isfinite(value)
            else "",
        ),
        parameters=parameters,
    )


def _checked(
    sizes: Sequence[int] | None, d: int, width: int, steps: int, held_out: float, seeds: int
) -> tuple[int, ...]:
    for name, value, least in (("width", width, 1), ("steps", steps, 1), ("seeds", seeds, 3)):
        if whole(name, value) < least:
            raise InputError(f"{name} must be at least {least}, got {value}")
    if not 0 < held_out <= 0.5:
        raise InputError(f"held_out must lie in (0, 0.5], got {held_out}")
    if sizes is None:
        # One more than the columns carries everything: the curve is level there for certain.
        full = {d, d + 1} if d < _SIZES[-1] else set()
        return tuple(sorted({m for m in _SIZES if m <= d} | full))
    chosen = tuple(whole("sizes", m) for m in sizes)
    if len(chosen) < 2 or chosen[0] < 1 or any(b <= a for a, b in pairwise(chosen)):
        raise InputError(f"sizes must be at least 2 ascending numbers from 1 on, got {sizes}")
    return chosen


def _train(
    rows: np.ndarray,
    sizes: tuple[int, ...],
    width: int,
    steps: int,
    held_out: float,
    seeds: int,
    seed: int,
    progress: Callable[[int, int], object] | None,
) -> np.ndarray:
    """Held-out errors (seeds, sizes), as shares of the variance."""
    import torch

    n, d = rows.shape
    apart = max(1, round(held_out * n))
    orders = np.stack([
        np.random.default_rng([seed, s, 60]).permutation(n) for s in range(seeds)
    ])  # fmt: skip
    centered = rows - rows.mean(axis=0)
    x = torch.tensor(centered / np.sqrt(np.mean(centered**2)), dtype=torch.float32)
    known = torch.tensor(orders[:, apart:])
    weights = _weights([d, width, width, max(sizes), width, width, d], len(sizes), seeds, seed)
    mask = torch.zeros(seeds, len(sizes), 1, max(sizes))
    for i, m in enumerate(sizes):
        mask[:, i, :, :m] = 1
    mask = mask.flatten(0, 1)
    optimizer = torch.optim.Adam(weights, lr=_RATE)
    rng = np.random.default_rng([seed, 61])
    batch = min(_BATCH, known.shape[1])
    with torch.enable_grad():
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
            picked = torch.tensor(rng.integers(known.shape[1], size=(seeds, batch)))
            inputs = x[torch.gather(known, 1, picked)].repeat_interleave(len(sizes), dim=0)
            loss = ((_through(weights, inputs, mask) - inputs) ** 2).mean(dim=(1, 2)).sum()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            if progress is not None and (step + 1 == steps or (step + 1) % 50 == 0):
                progress(step + 1, steps)
    return _held_out_errors(weights, mask, x, orders, apart, len(sizes))


def _weights(layers: list[int], sizes: int, seeds: int, seed: int) -> list[torch.Tensor]:
    """One stack of weights and biases per layer; networks of one seed start alike."""
    import torch

    out = []
    for i, (a, b) in enumerate(pairwise(layers)):
        draws = [
            np.random.default_rng([seed, s, 62, i]).normal(size=(a, b)) / math.sqrt(a)
            for s in range(seeds)
        ]
        stack = torch.tensor(np.stack(draws), dtype=torch.float32)
        out.append(stack.repeat_interleave(sizes, dim=0).requires_grad_())
        out.append(torch.zeros(seeds * sizes, 1, b, requires_grad=True))
    return out


def _through(weights: list[torch.Tensor], x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    for i in range(0, len(weights), 2):
        x = (x @ weights[i]) + weights[i + 1]
        if i == 4:
            # The bottleneck is linear; units beyond m are shut.
            x = x * mask
        elif i < len(weights) - 2:
            x = x.tanh()
    return x


def _held_out_errors(
    weights: list[torch.Tensor],
    mask: torch.Tensor,
    x: torch.Tensor,
    orders: np.ndarray,
    apart: int,
    sizes: int,
) -> np.ndarray:
    import torch

    out = np.empty((len(orders), sizes))
    with torch.no_grad():
        for s, order in enumerate(orders):
            of = slice(s * sizes, (s + 1) * sizes)
            rest = x[torch.tensor(order[:apart])]
            mean = x[torch.tensor(order[apart:])].mean(dim=0)
            back = _through([w[of] for w in weights], rest.expand(sizes, -1, -1), mask[of])
            wrong = ((back - rest) ** 2).sum(dim=(1, 2))
            out[s] = (wrong / ((rest - mean) ** 2).sum()).double().numpy()
    return out
