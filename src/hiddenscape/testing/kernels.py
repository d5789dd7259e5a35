"""The suite that every kernel must pass: equal to the slow one, bit for bit, whatever the options.

>>> from hiddenscape.kernels.dispatch import kernel
>>> from hiddenscape.testing.kernels import check_kernel
>>> check_kernel(kernel(), clouds=["copies", "offset"], ks=[3])
2
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import lru_cache, partial
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from hiddenscape.errors import InputError
from hiddenscape.kernels import reference
from hiddenscape.kernels.arrays import Cloud, cloud
from hiddenscape.kernels.certificate import Certificate
from hiddenscape.neighbors.duplicates import find_duplicates
from hiddenscape.testing.clouds import CLOUDS, hostile_cloud

__all__ = [
    "PRECISIONS",
    "PROOFS",
    "Backend",
    "bound",
    "check_certificate",
    "check_kernel",
    "check_nearest",
    "check_permutation",
    "check_ranks",
    "offers",
    "precisions",
]

PRECISIONS = ("auto", "bfloat16", "bfloat16x3", "tf32", "float32", "float64")
"""Every name that a backend may know."""

PROOFS = ("projection", *PRECISIONS[1:], "whole numbers", "all distances")
"""Every proof that a certificate may name, but for the exact ones from the roughest on."""


Backend = ModuleType | SimpleNamespace
"""Anything with ``nearest`` and ``mid_ranks``."""


def bound(module: Backend, **options: Any) -> Backend:
    """A backend that is always called with these options, a device for one.

    Examples
    --------
    >>> from hiddenscape.kernels.dispatch import kernel
    >>> offers(bound(kernel(), block_rows=5), "block_rows")
    True
    """
    return SimpleNamespace(
        __name__=f"{module.__name__} with {options}",
        nearest=partial(module.nearest, **options),
        mid_ranks=partial(module.mid_ranks, **options),
    )


def check_kernel(
    module: Backend,
    *,
    clouds: Iterable[str] | None = None,
    ks: Iterable[int] = (1, 10, -1),
    options: Iterable[dict[str, Any]] = ({}, {"block_rows": 17}),
    seed: int = 0,
) -> int:
    """Compare a backend with the reference on hostile clouds; the number of clouds compared.

    Parameters
    ----------
    module : Backend
        :mod:`hiddenscape.kernels.cpu` or what does the same.
    clouds : names of :data:`hiddenscape.testing.clouds.CLOUDS`, optional
        All by default.
    ks : ints
        Neighbours; cut to n - 1, which -1 stands for.
    options : dicts
        Keyword arguments to call the backend with, in turn.

    Raises
    ------
    AssertionError
        At the first difference: which cloud, which options, which row.
    """
    names = list(CLOUDS if clouds is None else clouds)
    options = list(options)
    for name in names:
        points = _cloud(name, seed)
        for chosen in options:
            for k in sorted({points.n - 1 if k < 0 else min(k, points.n - 1) for k in ks}):
                check_nearest(module, points, k, label=name, **chosen)
            check_ranks(module, points, label=name, **chosen)
    return len(names)


def check_nearest(
    module: Backend, points: Cloud, k: int, *, label: str = "", **options: Any
) -> Certificate | None:
    """The lists of a backend against those of the reference; its certificate, where it has one.

    Raises
    ------
    AssertionError
        If an index or a bit of a distance differs, or the certificate does not hold together.
    """
    indices, distances, certificate = module.nearest(points, k, **options)
    where = f"{label}, n = {points.n}, d = {points.d}, k = {k}, {options}"
    want = _nearest(points, k)
    assert indices.dtype == np.int32, where
    assert distances.dtype == np.float64, where
    _same(distances, want[1], f"distances of {where}")
    _same(indices, want[0], f"indices of {where}")
    if not isinstance(certificate, Certificate):
        return None
    check_certificate(certificate, points.n, options.get("precision", "auto"))
    return certificate


def check_ranks(module: Backend, points: Cloud, *, label: str = "", **options: Any) -> None:
    """The mid-ranks of a backend against those of the reference, with and without known copies.

    Raises
    ------
    AssertionError
        If a rank differs.
    """
    n = points.n
    queries, targets = _questions(points)
    want = _ranks(points)
    same = find_duplicates(points.original).representative
    for representative in (None, same):
        got = module.mid_ranks(points, queries, targets, representative=representative, **options)
        _same(got, want, f"ranks of {label}, n = {n}, d = {points.d}, {options}")


def check_permutation(
    module: Backend, points: Cloud, k: int, order: np.ndarray, **options: Any
) -> None:
    """Rows in another order give the same distances, and the same lists where nothing ties.

    Raises
    ------
    AssertionError
        If a distance moves, or an untied neighbour.
    """
    wider = min(k + 1, points.n - 1)
    indices, distances, _ = module.nearest(points, wider, **options)
    moved = cloud(points.original[order])
    indices_moved, distances_moved, _ = module.nearest(moved, wider, **options)
    _same(distances_moved, distances[order], "distances of permuted rows")
    # A list is untied where its distances all differ, from the one that follows them too.
    untied = (np.diff(distances, axis=1) > 0).all(axis=1)[order]
    back = order[indices_moved[:, :k]]
    _same(back[untied], indices[order][untied][:, :k], "untied neighbours of permuted rows")


def check_certificate(certificate: Certificate, n: int, precision: str = "auto") -> None:
    """Every row has a proof, known by name and not rougher than the precision that was forced.

    Raises
    ------
    AssertionError
        If not.

    Examples
    --------
    >>> check_certificate(Certificate.by("float32", 3), 3, "bfloat16")
    """
    assert len(certificate) == n, f"a certificate of {len(certificate)} rows for {n}"
    counts = certificate.counts()
    assert sum(counts.values()) == n, counts
    unknown = set(counts) - set(PROOFS)
    assert not unknown, f"unknown proofs {unknown}"
    if precision != "auto":
        rough = PROOFS[: PROOFS.index(precision)]
        assert not set(counts) & set(rough), f"{counts}, forced to start with {precision}"


def offers(module: Backend, option: str, operation: str = "nearest") -> bool:
    """Whether an operation of a backend takes an option.

    Examples
    --------
    >>> from hiddenscape.kernels.dispatch import kernel
    >>> offers(kernel(), "block_rows"), offers(kernel(), "luck")
    (True, False)
    """
    return option in inspect.signature(getattr(module, operation)).parameters


def precisions(module: Backend) -> tuple[str, ...]:
    """Names of :data:`PRECISIONS` that a backend knows: it refuses the others.

    Examples
    --------
    >>> from hiddenscape.kernels.dispatch import kernel
    >>> "float64" in precisions(kernel())
    True
    """
    if not _knows(module, "abacus"):
        return tuple(name for name in PRECISIONS if _knows(module, name))
    # A backend that refuses no name at all is only taken at its word for the plain ones.
    return ("auto", "float32", "float64")


def _knows(module: Backend, precision: str) -> bool:
    try:
        module.nearest(cloud(np.array([[0.1], [0.3], [1.0]])), 1, precision=precision)
    except InputError:
        return False
    return True


def _same(got: np.ndarray, want: np.ndarray, what: str) -> None:
    assert got.shape == want.shape, f"{what}: shape {got.shape}, the reference has {want.shape}"
    bad = np.flatnonzero((got != want).any(axis=1))
    if bad.size:
        i = bad[0]
        column = int(np.flatnonzero(got[i] != want[i])[0])
        raise AssertionError(
            f"{what}: {bad.size} of {len(got)} rows differ from the reference, first row {i} "
            f"column {column}: {got[i, column]!r} instead of {want[i, column]!r}"
        )


@lru_cache(maxsize=64)
def _cloud(name: str, seed: int) -> Cloud:
    # One object for every call, so that the reference, which is slow, is asked once.
    return cloud(hostile_cloud(name, seed=seed))


def _nearest(points: Cloud, k: int) -> tuple[np.ndarray, np.ndarray]:
    indices, distances = _all(points)
    return indices[:, :k], distances[:, :k]


@lru_cache(maxsize=64)
def _all(points: Cloud) -> tuple[np.ndarray, np.ndarray]:
    # The k first of all are those of any k: the order is total.
    return reference.nearest(points, points.n - 1)


def _questions(points: Cloud) -> tuple[np.ndarray, np.ndarray]:
    """Rows and targets to rank: the nearest, one in the middle, the farthest, and any three."""
    r = np.random.default_rng(43)
    queries = r.permutation(points.n)[:12]
    known = _all(points)[0][queries]
    middle = (points.n - 1) // 2
    anyone = (queries[:, None] + r.integers(1, points.n, size=(len(queries), 3))) % points.n
    return queries, np.hstack([known[:, [0, middle, -1]], anyone])


@lru_cache(maxsize=64)
def _ranks(points: Cloud) -> np.ndarray:
    return reference.mid_ranks(points, *_questions(points))
