r"""Clouds of known dimension, and neighbour graphs with an exactly known law.

What theory says of them:

- :func:`pareto_graph` is the model of TwoNN and GRIDE itself: rows are independent and distances
  follow a Poisson process of dimension d, so estimates and their errors must be right.
- :func:`periodic_graph` has no boundary, no curvature and constant density: every row obeys the
  model (while distances stay below half the period), but neighbouring rows share distances.
- The embedded manifolds add curvature, boundaries and, in high dimension, too few rows to see past
  either: estimates are biased, and no stderr knows of it. With 1000 rows TwoNN finds 0.86 d in the
  cube of dimension 10, 0.92 d on the sphere, and 1.22 d on the flat torus, whose chords are shorter
  than its arcs; up to dimension 3 the bias is below 3 %.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import gammainc

from hiddenscape.errors import InputError
from hiddenscape.kernels.certificate import Certificate
from hiddenscape.neighbors.graph import NeighborGraph

__all__ = [
    "MANIFOLDS",
    "Manifold",
    "ball",
    "cube",
    "flat_torus",
    "gaussian",
    "moebius",
    "paraboloid",
    "pareto_graph",
    "periodic_graph",
    "rotated",
    "sphere",
    "swiss_roll",
    "torus",
]


def cube(n: int, d: int, *, seed: int = 0) -> np.ndarray:
    """Uniform points of the unit cube, (n, d). Has a boundary.

    Examples
    --------
    >>> cube(5, 3).shape
    (5, 3)
    """
    return np.random.default_rng([seed, 1]).uniform(size=(n, d))


def ball(n: int, d: int, *, seed: int = 0) -> np.ndarray:
    """Uniform points of the unit ball, (n, d). Has a boundary.

    The generator of scikit-dimension: a normal vector shortened by its own distribution function.

    Examples
    --------
    >>> bool((np.linalg.norm(ball(100, 3), axis=1) <= 1).all())
    True
    """
    # RandomState: its streams are frozen, and reference values were made from them.
    x = np.random.RandomState(seed).normal(size=(n, d))
    square = np.sum(x * x, axis=1, keepdims=True)
    return np.asarray(x * gammainc(d / 2, square / 2) ** (1 / d) / np.sqrt(square))


def sphere(n: int, d: int, *, seed: int = 0) -> np.ndarray:
    """Uniform points of the unit sphere of dimension d, (n, d + 1). No boundary, curved.

    Examples
    --------
    >>> sphere(4, 2).shape
    (4, 3)
    """
    x = np.random.RandomState(seed).randn(n, d + 1)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def gaussian(n: int, d: int, *, seed: int = 0) -> np.ndarray:
    """Standard normal points, (n, d). Density varies, no edge.

    Examples
    --------
    >>> gaussian(4, 2).shape
    (4, 2)
    """
    return np.random.default_rng([seed, 2]).normal(size=(n, d))


def flat_torus(n: int, d: int, *, seed: int = 0) -> np.ndarray:
    """A product of d unit circles, (n, 2 d). No boundary, intrinsically flat.

    Examples
    --------
    >>> flat_torus(4, 2).shape
    (4, 4)
    """
    angle = np.random.default_rng([seed, 3]).uniform(0, 2 * np.pi, size=(n, d))
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)


def swiss_roll(n: int, *, seed: int = 0) -> np.ndarray:
    """A rolled sheet of dimension 2, uniform in area, (n, 3). Has a boundary.

    Examples
    --------
    >>> swiss_roll(4).shape
    (4, 3)
    """
    rng = np.random.default_rng([seed, 4])
    grid = np.linspace(1.5 * np.pi, 4.5 * np.pi, 4096)
    length = np.cumsum(np.sqrt(1 + grid**2))
    angle = np.interp(rng.uniform(length[0], length[-1], size=n), length, grid)
    height = rng.uniform(0, 21, size=n)
    return np.stack([angle * np.cos(angle), height, angle * np.sin(angle)], axis=1)


def torus(n: int, *, seed: int = 0, radius: float = 3.0) -> np.ndarray:
    """The torus in space with radii ``radius`` and 1, uniform in area, (n, 3). No boundary.

    Examples
    --------
    >>> torus(4).shape
    (4, 3)
    """
    rng = np.random.default_rng([seed, 5])
    grid = np.linspace(0, 2 * np.pi, 4096)
    area = radius * grid + np.sin(grid)
    small = np.interp(rng.uniform(0, area[-1], size=n), area, grid)
    large = rng.uniform(0, 2 * np.pi, size=n)
    reach = radius + np.cos(small)
    return np.stack([reach * np.cos(large), reach * np.sin(large), np.sin(small)], axis=1)


def moebius(n: int, *, seed: int = 0) -> np.ndarray:
    """A band with one half twist, nearly uniform, (n, 3). Dimension 2, has a boundary.

    Examples
    --------
    >>> moebius(4).shape
    (4, 3)
    """
    rng = np.random.default_rng([seed, 6])
    turn, across = rng.uniform(0, 2 * np.pi, size=n), rng.uniform(-0.5, 0.5, size=n)
    reach = 3 + across * np.cos(turn / 2)
    height = across * np.sin(turn / 2)
    return np.stack([reach * np.cos(turn), reach * np.sin(turn), height], axis=1)


def paraboloid(n: int, d: int, *, seed: int = 0) -> np.ndarray:
    """The graph of |x|^2 / 2 over the unit ball, (n, d + 1). Dimension d, has a boundary.

    Examples
    --------
    >>> paraboloid(4, 2).shape
    (4, 3)
    """
    x = ball(n, d, seed=seed)
    return np.concatenate([x, np.sum(x * x, axis=1, keepdims=True) / 2], axis=1)


def rotated(points: np.ndarray, columns: int, *, seed: int = 0) -> np.ndarray:
    """Points carried isometrically into ``columns`` dimensions by a random rotation.

    Raises
    ------
    InputError
        If the points have more columns than that.

    Examples
    --------
    >>> x = cube(10, 2)
    >>> y = rotated(x, 7)
    >>> y.shape, bool(np.isclose(np.linalg.norm(y[0] - y[1]), np.linalg.norm(x[0] - x[1])))
    ((10, 7), True)
    """
    d = points.shape[1]
    if columns < d:
        raise InputError(f"{d} columns cannot be rotated into {columns}")
    frame = np.linalg.qr(np.random.default_rng([seed, 7]).normal(size=(columns, d)))[0]
    return np.asarray(points @ frame.T)


def pareto_graph(n: int, d: float, *, k: int = 2, seed: int = 0) -> NeighborGraph:
    r"""A graph whose distances follow the model exactly: :math:`r_j = (E_1 + ... + E_j)^{1/d}`.

    E are independent exponentials and rows are independent, so r_2 / r_1 is Pareto(d) and any
    r_n2 / r_n1 follows the law of GRIDE. The indices are placeholders.

    Examples
    --------
    >>> pareto_graph(100, 5.0, k=4).distances.shape
    (100, 4)
    """
    steps = np.random.default_rng([seed, 8]).exponential(size=(n, k))
    indices = (np.arange(n)[:, None] + np.arange(1, k + 1)) % n
    return NeighborGraph(
        indices=indices,
        distances=np.cumsum(steps, axis=1) ** (1 / d),
        multiplicity=np.ones(n, dtype=np.int64),
        certificate=Certificate.by("drawn from the model", n),
    )


def periodic_graph(n: int, d: int, *, k: int = 2, seed: int = 0) -> NeighborGraph:
    """Exact neighbours of uniform points in the unit cube with opposite faces joined.

    Examples
    --------
    >>> periodic_graph(100, 2, k=4).distances.shape
    (100, 4)
    """
    x = cube(n, d, seed=seed)
    distances, indices = cKDTree(x, boxsize=1.0).query(x, k=k + 1)
    return NeighborGraph(
        indices=indices[:, 1:],
        distances=distances[:, 1:],
        metric="periodic",
        multiplicity=np.ones(n, dtype=np.int64),
        certificate=Certificate.by("k-d tree", n),
        period=np.ones(d),
    )


@dataclass(frozen=True, slots=True)
class Manifold:
    """A generator with its true dimension.

    Attributes
    ----------
    dimension : int
    sample : callable
        (n, seed) -> points.
    boundary : bool
        Whether the manifold ends somewhere.
    """

    dimension: int
    sample: Callable[[int, int], np.ndarray]
    boundary: bool


def _of_dimension(
    make: Callable[..., np.ndarray], name: str, boundary: bool
) -> dict[str, Manifold]:
    def fixed(d: int) -> Callable[[int, int], np.ndarray]:
        return lambda n, seed: make(n, d, seed=seed)

    return {f"{name}{d}": Manifold(d, fixed(d), boundary) for d in range(1, 11)}


MANIFOLDS: Mapping[str, Manifold] = {
    **_of_dimension(cube, "cube", True),
    **_of_dimension(ball, "ball", True),
    **_of_dimension(sphere, "sphere", False),
    **_of_dimension(gaussian, "gaussian", False),
    **_of_dimension(flat_torus, "flat_torus", False),
    **_of_dimension(paraboloid, "paraboloid", True),
    "swiss_roll": Manifold(2, lambda n, seed: swiss_roll(n, seed=seed), True),
    "torus": Manifold(2, lambda n, seed: torus(n, seed=seed), False),
    "moebius": Manifold(2, lambda n, seed: moebius(n, seed=seed), True),
}
"""Every manifold by name, d = 1 to 10 where it comes in all dimensions."""
