"""Clouds of known dimension with noise, curvature and boundaries, and every estimator on them.

``ESTIMATORS`` is the one table: a new dimension estimator enters the truth tests and
``bench/truth.py`` by one line. A line says on which clouds it is held to the truth, how far its
mean may lie from it, and how the spread of (value - mean) / stderr must compare with 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hiddenscape.dimension.abide import abide, agride
from hiddenscape.dimension.autoencoder import autoencoder_dimension
from hiddenscape.dimension.binary import binary_dimension
from hiddenscape.dimension.binomial import binomial_dimension
from hiddenscape.dimension.boxes import box_counting
from hiddenscape.dimension.correlation import correlation_dimension
from hiddenscape.dimension.danco import danco_dimension
from hiddenscape.dimension.decimation import decimation
from hiddenscape.dimension.discrete import i3d
from hiddenscape.dimension.ess import ess_dimension
from hiddenscape.dimension.extrapolation import extrapolate, finite_size_correction
from hiddenscape.dimension.fishers import fishers_dimension
from hiddenscape.dimension.gride import gride
from hiddenscape.dimension.hidalgo import hidalgo
from hiddenscape.dimension.isomap import isomap_dimension
from hiddenscape.dimension.local_pca import local_pca_dimension
from hiddenscape.dimension.mind import mind_dimension
from hiddenscape.dimension.mle import mle_dimension, mle_global
from hiddenscape.dimension.moments import mada_dimension, mom_dimension
from hiddenscape.dimension.pca import participation_ratio, pca_dimension
from hiddenscape.dimension.result import Dimension
from hiddenscape.dimension.spanning_tree import ph0_dimension
from hiddenscape.dimension.spatial import spatial_blocks
from hiddenscape.dimension.spectrum import Rule, spectrum_dimension
from hiddenscape.dimension.tle import tle_dimension
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import (
    cube,
    flat_torus,
    gaussian,
    moebius,
    paraboloid,
    rotated,
    sphere,
    swiss_roll,
    torus,
)

__all__ = ["CLOUDS", "ESTIMATORS", "Entry", "KnownCloud"]

_NOISE = 0.01


@dataclass(frozen=True, slots=True)
class KnownCloud:
    """A generator, what is known of it, and what makes it hard.

    Attributes
    ----------
    dimension : int
    sample : callable
        (n, seed) -> points.
    trait : str
        ``closed`` (no boundary, curved), ``boundary``, ``curved`` (and with a boundary), ``noise``,
        ``high`` (dimension 10), ``linear`` (a subspace with noise), ``lattice`` or ``bits``.
    """

    dimension: int
    sample: Callable[[int, int], np.ndarray]
    trait: str


def _noisy(points: np.ndarray, columns: int, seed: int, size: float = _NOISE) -> np.ndarray:
    """In more columns, with noise in all of them, as a share of the root mean square."""
    x = rotated(points - points.mean(axis=0), columns, seed=seed)
    noise = np.random.default_rng([seed, 12]).normal(size=x.shape)
    return np.asarray(x + size * np.sqrt(np.mean(points.var(axis=0))) * noise)


CLOUDS: Mapping[str, KnownCloud] = {
    "sphere2": KnownCloud(2, lambda n, s: sphere(n, 2, seed=s), "closed"),
    "flat_torus2": KnownCloud(2, lambda n, s: flat_torus(n, 2, seed=s), "closed"),
    "torus": KnownCloud(2, lambda n, s: torus(n, seed=s), "closed"),
    "cube2": KnownCloud(2, lambda n, s: cube(n, 2, seed=s), "boundary"),
    "cube4": KnownCloud(4, lambda n, s: cube(n, 4, seed=s), "boundary"),
    "moebius": KnownCloud(2, lambda n, s: moebius(n, seed=s), "boundary"),
    "swiss_roll": KnownCloud(2, lambda n, s: swiss_roll(n, seed=s), "curved"),
    "paraboloid3": KnownCloud(3, lambda n, s: paraboloid(n, 3, seed=s), "curved"),
    "noisy sphere2": KnownCloud(2, lambda n, s: _noisy(sphere(n, 2, seed=s), 10, s), "noise"),
    "noisy cube3": KnownCloud(3, lambda n, s: _noisy(cube(n, 3, seed=s), 10, s), "noise"),
    "sphere10": KnownCloud(10, lambda n, s: sphere(n, 10, seed=s), "high"),
    "gaussian10": KnownCloud(10, lambda n, s: gaussian(n, 10, seed=s), "high"),
    "subspace5": KnownCloud(5, lambda n, s: _noisy(gaussian(n, 5, seed=s), 20, s, 0.1), "linear"),
    "box4": KnownCloud(4, lambda n, s: _noisy(cube(n, 4, seed=s), 20, s, 0.1), "linear"),
    "lattice3": KnownCloud(
        3, lambda n, s: np.random.default_rng([s, 13]).integers(0, 30, size=(n, 3)), "lattice"
    ),
    "coins40": KnownCloud(
        40, lambda n, s: np.random.default_rng([s, 14]).integers(0, 2, size=(n, 40)), "bits"
    ),
}
"""Clouds by name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table.

    Attributes
    ----------
    run : callable
        points -> estimate, with the error meant for point clouds.
    bias : mapping
        Trait -> largest |mean / truth - 1|; the traits name the clouds it is held to.
    spread : tuple of float or None
        Bounds of the standard deviation of (value - mean) / stderr over all clouds; None where the
        error is none of fresh samples (it says so in its docstring), or there is none.
    rows : int
        Rows of the clouds.
    slow : bool
        Seconds per estimate.
    """

    run: Callable[[np.ndarray], Dimension]
    bias: Mapping[str, float]
    spread: tuple[float, float] | None = (0.6, 1.5)
    rows: int = 500
    slow: bool = False


def _near(
    estimate: Callable[..., Dimension], k: int, bias: Mapping[str, float], *args: Any, **kw: Any
) -> Entry:
    """An estimator of a graph, with the jackknife over blocks."""

    def run(x: np.ndarray) -> Dimension:
        graph = find_neighbors(x, k=k)
        return estimate(graph, *args, stderr="blocks", blocks=spatial_blocks(x), **kw)

    return Entry(run, bias)


def _patches(estimate: Callable[..., Dimension], bias: Mapping[str, float]) -> Entry:
    """An estimator of neighbourhoods of points, with the jackknife over blocks."""
    return Entry(lambda x: estimate(x, 20, stderr="blocks", blocks=spatial_blocks(x)), bias)


def _rule(rule: Rule, bias: float = 0.01, repeats: int = 10) -> Entry:
    return Entry(lambda x: spectrum_dimension(x, rule, repeats=repeats), {"linear": bias}, None)


def _of(closed: float, boundary: float, curved: float, noise: float) -> dict[str, float]:
    return {"closed": closed, "boundary": boundary, "curved": curved, "noise": noise}


def _sites(x: np.ndarray) -> Dimension:
    blocks = spatial_blocks(x)
    return i3d(x, radius=9, period=30, stderr="blocks", blocks=blocks, validate=False)


def _corrected(x: np.ndarray) -> Dimension:
    return finite_size_correction(two_nn(find_neighbors(x, k=2)))


def _mixture(x: np.ndarray) -> Dimension:
    graph = find_neighbors(x, k=5)
    return hidalgo(graph, 1, sweeps=200, burn_in=200, chains=2)


def _autoencoder(x: np.ndarray) -> Dimension:
    return autoencoder_dimension(x, sizes=(1, 2, 3, 4, 5, 6, 7, 8), width=16, steps=500)


_RATIOS = _of(0.06, 0.10, 0.10, 0.21)
_MANY = _of(0.07, 0.15, 0.08, 0.10)

ESTIMATORS: Mapping[str, Entry] = {
    "two_nn": _near(two_nn, 2, _RATIOS),
    "two_nn mle": _near(two_nn, 2, _RATIOS, method="mle"),
    "two_nn fit": _near(two_nn, 2, _RATIOS, method="fit"),
    "two_nn bayes": _near(two_nn, 2, _RATIOS, method="bayes"),
    "gride 4 8": _near(gride, 8, _of(0.07, 0.13, 0.08, 0.10), 4),
    "mle 20": _near(mle_dimension, 20, _MANY, 20),
    "mle global": Entry(
        lambda x: mle_global(find_neighbors(x, k=20), 200), _of(0.12, 0.15, 0.12, 0.30)
    ),
    "mom": _near(mom_dimension, 20, _of(0.20, 0.10, 0.12, 0.17), 20),
    "mada": _near(mada_dimension, 20, _of(0.16, 0.10, 0.09, 0.13), 20),
    "mind": _near(mind_dimension, 11, _of(0.06, 0.11, 0.09, 0.10), 10),
    "tle": _patches(tle_dimension, _of(0.20, 0.08, 0.11, 0.17)),
    "ess": Entry(
        lambda x: ess_dimension(x, 20, stderr="blocks", blocks=spatial_blocks(x)),
        _of(0.25, 0.08, 0.12, 0.13),
        (0.4, 2.2),
    ),
    "binomial": _near(binomial_dimension, 20, _MANY, 20),
    "abide": _near(abide, 100, _of(0.18, 0.37, 0.20, 0.15)),
    "agride": _near(agride, 100, _of(0.26, 0.48, 0.22, 0.19)),
    "correlation": Entry(correlation_dimension, _of(0.09, 0.16, 0.10, 0.13), (0.3, 1.2)),
    "danco": Entry(
        lambda x: danco_dimension(x, balls=2, largest=12), _of(0.09, 0.06, 0.09, 0.11), (0.5, 2.0)
    ),
    "hidalgo": Entry(_mixture, _RATIOS, (0.6, 1.8)),
    "local pca": Entry(lambda x: local_pca_dimension(x, 20), _of(0.45, 0.05, 0.10, 0.05), None),
    "isomap": Entry(
        lambda x: isomap_dimension(find_neighbors(x, k=8), 8, repeats=0),
        {"curved": 0.15},
        None,
        rows=800,
    ),
    "ph0": Entry(ph0_dimension, _of(0.12, 0.22, 0.15, 0.15), None),
    "box counting": Entry(box_counting, {"closed": 0.2, "boundary": 0.6}, None),
    "fishers": Entry(fishers_dimension, {"linear": 0.1, "high": 0.2}, None),
    "corrected two_nn": Entry(_corrected, {"high": 0.15}, (0.3, 1.4)),
    "extrapolated two_nn": Entry(
        lambda x: extrapolate(decimation(x)), {"high": 0.15}, (0.3, 1.6), rows=1500
    ),
    "pca 0.9": Entry(lambda x: pca_dimension(x, repeats=5), {"linear": 0.01}, None),
    "participation ratio": Entry(
        lambda x: participation_ratio(x, repeats=10), {"linear": 0.1}, (0.5, 2.0)
    ),
    "kaiser": _rule("kaiser"),
    "broken stick": _rule("broken_stick"),
    "fukunaga olsen": _rule("fukunaga_olsen"),
    "fan": _rule("fan", 0.3),
    "max gap": _rule("max_gap"),
    "minka": _rule("minka", repeats=2),
    "parallel": _rule("parallel", repeats=0),
    "autoencoder": Entry(_autoencoder, {"linear": 0.01}, None, slow=True),
    "i3d": Entry(_sites, {"lattice": 0.02}),
    "bid": Entry(binary_dimension, {"bits": 0.02}),
}
"""Every dimension estimator of the package."""
