"""Finite-size table: what it says of fresh clouds, the way back, refusals, misuse."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from hiddenscape.dimension.decimation import decimation
from hiddenscape.dimension.extrapolation import (
    expected_dimension,
    extrapolate,
    finite_size_correction,
)
from hiddenscape.dimension.gride import gride
from hiddenscape.dimension.mle import mle_dimension
from hiddenscape.dimension.result import Dimension, DimensionCurve
from hiddenscape.dimension.two_nn import two_nn
from hiddenscape.errors import InputError
from hiddenscape.neighbors.search import find_neighbors
from hiddenscape.testing.manifolds import cube, flat_torus, gaussian, sphere


@pytest.mark.parametrize("shape", ["gaussian", "cube"])
@pytest.mark.parametrize("n1", [1, 2, 4, 8, 16])
def test_the_table_grows_with_the_dimension_and_tends_to_it_with_n(shape: str, n1: int) -> None:
    d = np.array([1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 112, 160])
    few = np.array([expected_dimension(x, 250, n1=n1, shape=shape) for x in d])
    many = np.array([expected_dimension(x, 4000, n1=n1, shape=shape) for x in d])
    assert (np.diff(few) > 0).all()
    assert (np.diff(many) > 0).all()
    high = d >= 10
    assert (few[high] < many[high]).all()
    assert (many[high] < d[high]).all()
    assert many[0] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("make", "shape"), [(gaussian, "gaussian"), (cube, "cube")])
@pytest.mark.parametrize(("d", "n"), [(33, 700), (12, 1500)])
def test_between_the_entries_fresh_clouds_agree(
    make: Callable[..., np.ndarray], shape: str, d: int, n: int
) -> None:
    graphs = [find_neighbors(make(n, d, seed=s), k=8) for s in range(8)]
    for n1 in (1, 4):
        values = [gride(g, n1).value for g in graphs]
        error = float(np.std(values, ddof=1)) / math.sqrt(8)
        want = expected_dimension(d, n, n1=n1, shape=shape)
        assert np.mean(values) == pytest.approx(want, abs=4 * error + 0.01 * want)


@pytest.mark.parametrize(("make", "shape"), [(gaussian, "gaussian"), (cube, "cube")])
def test_the_way_back_lands_on_the_truth(make: Callable[..., np.ndarray], shape: str) -> None:
    for d in (15, 50):
        raw = gride(find_neighbors(make(1000, d, seed=4), k=8), 4)
        found = finite_size_correction(raw, shape=shape)
        assert abs(raw.value - d) > 0.15 * d
        assert found.value == pytest.approx(d, abs=4 * found.stderr)
        assert found.stderr < 0.15 * d
        both = finite_size_correction(raw)
        assert both.value == pytest.approx(d, abs=3 * both.stderr)
        assert both.parameters["shape_error"] > found.parameters["shape_error"] == 0
        assert (both.n1, both.n2, both.parameters["raw"]) == (4, 8, raw.value)


def test_errors_are_carried_through() -> None:
    raw = two_nn(find_neighbors(gaussian(1000, 40, seed=1), k=2))
    sharp = Dimension(value=raw.value, stderr=1e-9, stderr_kind="exact", n_used=1000,
                      method="censored", n1=1, n2=2, parameters=raw.parameters)  # fmt: skip
    found, floor = finite_size_correction(raw), finite_size_correction(sharp)
    assert found.value == floor.value
    expected = math.hypot(floor.parameters["table_error"], floor.parameters["shape_error"])
    assert floor.stderr == pytest.approx(expected, rel=1e-6)
    moved = Dimension(value=raw.value + 0.5 * raw.stderr, n_used=1000, method="censored", n1=1,
                      n2=2, stderr=1.0, parameters=raw.parameters)  # fmt: skip
    step = 2 * (finite_size_correction(moved).value - found.value)
    assert step > 1.2 * (found.value / raw.value) * raw.stderr
    assert math.sqrt(found.stderr**2 - floor.stderr**2) == pytest.approx(step, rel=0.1)


def test_extrapolation_lands_on_the_truth() -> None:
    z = []
    for seed in range(6):
        curve = decimation(gaussian(2000, 20, seed=seed))
        found = extrapolate(curve, shape="gaussian")
        assert found.parameters["rows"] == (2000, 1000, 500, 250)
        assert curve.values[0] < 18 < found.value
        z.append((found.value - 20) / found.stderr)
    assert abs(float(np.mean(z))) < 4 / math.sqrt(6)
    assert float(np.std(z)) < 3


def test_extrapolation_leaves_out_the_shape_that_does_not_fit() -> None:
    estimates = []
    for n in (250, 500, 1000, 2000, 4000):
        value = expected_dimension(20, n, n1=8)
        estimates.append(
            Dimension(value=value, stderr=1e-3 * value, stderr_kind="repeats", n_used=n,
                      method="gride", n1=8, n2=16)
        )  # fmt: skip
    found = extrapolate(DimensionCurve(estimates=tuple(estimates)))
    fits = found.parameters["fits"]
    assert fits["gaussian"][1] > 0.01 > fits["cube"][1]
    assert found.value == pytest.approx(20, abs=3 * found.stderr)
    assert found.parameters["shape_error"] == 0


def test_refusals_are_nan_with_a_reason() -> None:
    few = two_nn(find_neighbors(gaussian(100, 5), k=2))
    assert "does not cover 100 rows" in finite_size_correction(few).note
    assert math.isnan(finite_size_correction(few).value)
    wide = two_nn(find_neighbors(gaussian(1000, 400), k=2))
    assert "no dimension of the table gives" in finite_size_correction(wide).note
    point = two_nn(find_neighbors(np.zeros((50, 2)), k=2))
    assert finite_size_correction(point).note == "collapsed (1 distinct of 50 rows)"
    short = extrapolate(decimation(gaussian(600, 5)))
    assert "2 numbers of rows with an error lie in the table, needs 3" in short.note
    assert math.isnan(short.value)
    # Noise about a plane: the dimension falls as rows become fewer and distances longer.
    x = np.hstack([gaussian(4000, 2), np.zeros((4000, 18))])
    x += np.random.default_rng(0).normal(size=x.shape) * 0.05
    noisy = extrapolate(decimation(x))
    assert "do not grow with n as those of any shape" in noisy.note
    assert math.isnan(noisy.value)


def test_misuse() -> None:
    graph = find_neighbors(gaussian(300, 5), k=20)
    for wrong in (mle_dimension(graph, 20), gride(graph, 2, 5), two_nn(graph, method="fit")):
        with pytest.raises(InputError, match="the table holds two_nn"):
            finite_size_correction(wrong)
    with pytest.raises(InputError, match="shape must be both, gaussian or cube, got 'ball'"):
        finite_size_correction(two_nn(graph), shape="ball")
    with pytest.raises(InputError, match="of one kind"):
        extrapolate(DimensionCurve(estimates=(two_nn(graph), gride(graph))))
    with pytest.raises(InputError, match="the table covers d from 1 to 160"):
        expected_dimension(200, 1000)
    with pytest.raises(InputError, match="got n1 = 2"):
        expected_dimension(20, 1000, n1=2, censored=True)


def test_other_shapes_are_better_than_without() -> None:
    for x, d in ((sphere(1000, 20), 20), (flat_torus(1000, 6), 6)):
        raw = two_nn(find_neighbors(x, k=2))
        found = finite_size_correction(raw)
        assert found.value > raw.value
        assert d * 0.75 < found.value < d * 1.8


def test_a_mean_of_single_rows_is_not_in_the_table() -> None:
    graph = find_neighbors(np.random.default_rng(0).normal(size=(300, 3)), k=2)
    with pytest.raises(InputError, match="the table holds two_nn"):
        finite_size_correction(mle_dimension(graph, 2, average="arithmetic"))
    assert finite_size_correction(mle_dimension(graph, 2)).value > 2
