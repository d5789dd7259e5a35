"""A product that is wrong beyond its bound must not become a wrong neighbour, nor a proof.

Every recomputed candidate lies in the bounds that its product claims, and so do pairs drawn at
random from every block. One pair outside means that the arithmetic does not keep its word: the rows
climb to the next rung. What no such check can find is a single wrong product among thousands that
nobody recomputes, so every damage here spoils a share of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hiddenscape.errors import HiddenscapeError
from hiddenscape.kernels import cpu, reference
from hiddenscape.kernels.arrays import Cloud, cloud
from hiddenscape.kernels.screen import Screen
from hiddenscape.testing.kernels import precisions

Damage = Callable[[np.ndarray], None]

RUNGS = ("bfloat16", "bfloat16x3", "float32")


def _part(value: float, *where: slice) -> Damage:
    def damage(g: np.ndarray) -> None:
        g[where] = value

    return damage


def _scaled(factor: float) -> Damage:
    def damage(g: np.ndarray) -> None:
        g *= g.dtype.type(factor)

    return damage


def _coarse(g: np.ndarray) -> None:
    """Three significant bits."""
    fraction, exponent = np.frexp(g)
    g[...] = np.ldexp(np.rint(fraction * 8) / 8, exponent)


def _shifted(g: np.ndarray) -> None:
    """Every column gets the products of the next: rows read from the wrong place."""
    g[...] = np.roll(g, 1, axis=1)


def _noisy(g: np.ndarray) -> None:
    g += np.random.default_rng(5).normal(size=g.shape) * 0.1 * np.abs(g).max()


everything = slice(None)
BEYOND: dict[str, Damage] = {
    "5 % too large": _scaled(1.05),
    "5 % too small": _scaled(0.95),
    "sign": _scaled(-1.0),
    "three bits": _coarse,
    "noise": _noisy,
    "next column": _shifted,
    "nothing computed": _part(0.0, everything),
    "every third row zero": _part(0.0, slice(None, None, 3)),
    "every third column zero": _part(0.0, everything, slice(1, None, 3)),
    "first row zero": _part(0.0, slice(0, 1)),
    "first row NaN": _part(np.nan, slice(0, 1)),
    "left half zero": _part(0.0, everything, slice(0, 40)),
    "every third column NaN": _part(np.nan, everything, slice(1, None, 3)),
    "every third row infinite": _part(np.inf, slice(None, None, 3)),
}


@pytest.fixture(scope="module")
def points() -> Cloud:
    """Clusters: products of near rows are large, so that damage to them is far beyond the bound."""
    r = np.random.default_rng(47)
    centres = 3 * r.normal(size=(7, 48))
    return cloud((centres[r.integers(7, size=420)] + r.normal(size=(420, 48))).astype("f4"))


@pytest.fixture(scope="module")
def want(points: Cloud) -> tuple[np.ndarray, np.ndarray]:
    return reference.nearest(points, 12)


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Damage the products of some rungs, in every n-th block."""
    honest: Any = Screen.product

    def apply(rungs: tuple[str, ...], damage: Damage, every: int = 1) -> None:
        calls = 0

        def product(self: Screen, rows: Any, columns: Any, out: np.ndarray) -> None:
            nonlocal calls
            honest(self, rows, columns, out)
            calls += 1
            if self.rung in rungs and calls % every == 0:
                damage(out)

        monkeypatch.setattr(Screen, "product", product)

    return apply


def _known(rung: str) -> str:
    if rung not in precisions(cpu):
        pytest.skip(f"the kernel knows no precision {rung}")
    return rung


def _search(points: Cloud, k: int, **options: Any) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    indices, distances, certificate = cpu.nearest(points, k, **options)
    return indices, distances, certificate.counts()


@pytest.mark.parametrize("rung", RUNGS)
def test_sound_products_prove_rows(
    rung: str, points: Cloud, want: tuple[np.ndarray, np.ndarray], spoil: Callable[..., None]
) -> None:
    spoil((_known(rung),), lambda g: None)
    indices, distances, counts = _search(points, 12, precision=rung)
    assert np.array_equal(indices, want[0])
    assert np.array_equal(distances, want[1])
    assert counts[rung] > points.n // 2, counts


@pytest.mark.parametrize("block_rows", [None, 90])
@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("damage", BEYOND)
def test_damage_is_caught(
    damage: str,
    rung: str,
    block_rows: int | None,
    points: Cloud,
    want: tuple[np.ndarray, np.ndarray],
    spoil: Callable[..., None],
) -> None:
    spoil((_known(rung),), BEYOND[damage])
    indices, distances, counts = _search(points, 12, precision=rung, block_rows=block_rows)
    assert np.array_equal(distances, want[1])
    assert np.array_equal(indices, want[0])
    assert not counts.get(rung), f"{counts}: rows proven by damaged products"


@pytest.mark.parametrize("damage", BEYOND)
def test_damage_on_all_rungs_but_the_last_is_caught(
    damage: str,
    points: Cloud,
    want: tuple[np.ndarray, np.ndarray],
    spoil: Callable[..., None],
) -> None:
    known = tuple(r for r in RUNGS if r in precisions(cpu))
    spoil(known, BEYOND[damage])
    indices, distances, counts = _search(points, 12, precision=known[0])
    assert np.array_equal(distances, want[1])
    assert np.array_equal(indices, want[0])
    assert not any(counts.get(rung) for rung in known), counts


@pytest.mark.parametrize("damage", ["5 % too large", "nothing computed", "every third column zero"])
def test_damage_in_one_block_of_many_is_caught(
    damage: str,
    points: Cloud,
    want: tuple[np.ndarray, np.ndarray],
    spoil: Callable[..., None],
) -> None:
    spoil((_known("float32"),), BEYOND[damage], every=4)
    indices, distances, _ = _search(points, 12, precision="float32", block_rows=60)
    assert np.array_equal(distances, want[1])
    assert np.array_equal(indices, want[0])


@pytest.mark.parametrize("damage", BEYOND)
def test_the_last_rung_is_checked_too(
    damage: str,
    points: Cloud,
    want: tuple[np.ndarray, np.ndarray],
    spoil: Callable[..., None],
) -> None:
    """Wrong float64 products: every distance computed or an error, but no wrong list."""
    spoil((*RUNGS, "float64"), BEYOND[damage])
    try:
        indices, distances, counts = _search(points, 12, precision="float64")
    except (HiddenscapeError, ArithmeticError):
        return
    assert np.array_equal(distances, want[1])
    assert np.array_equal(indices, want[0])
    assert not counts.get("float64"), counts


@pytest.mark.parametrize("damage", ["5 % too large", "nothing computed", "every third column zero"])
def test_damage_to_whole_numbers_is_caught(damage: str, spoil: Callable[..., None]) -> None:
    """Products of whole numbers claim to be exact: there is no bound to hide behind."""
    r = np.random.default_rng(48)
    x = cloud(r.integers(0, 50, size=(400, 20)))
    spoil(RUNGS, BEYOND[damage])
    found = reference.nearest(x, 9)
    for rung in (_known("float32"), "auto"):
        indices, distances, _ = _search(x, 9, precision=rung)
        assert np.array_equal(distances, found[1])
        assert np.array_equal(indices, found[0])


@pytest.mark.parametrize("rung", RUNGS)
def test_small_damage_moves_no_neighbor(
    rung: str, points: Cloud, want: tuple[np.ndarray, np.ndarray], spoil: Callable[..., None]
) -> None:
    """About the size of the bound: caught or not, the lists are right."""
    for factor in (1.01, 1.003, 1.0003, 0.9997, 0.99):
        spoil((_known(rung),), _scaled(factor))
        indices, distances, _ = _search(points, 12, precision=rung)
        assert np.array_equal(indices, want[0]), factor
        assert np.array_equal(distances, want[1]), factor
