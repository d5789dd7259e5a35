"""Every backend against the reference, bit for bit: the public suite and the laws of the search."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import HiddenscapeError
from hiddenscape.kernels import threads
from hiddenscape.kernels.arrays import Cloud, cloud
from hiddenscape.kernels.certificate import Certificate
from hiddenscape.kernels.dispatch import KERNELS, kernel
from hiddenscape.testing.clouds import CLOUDS, hostile_cloud, mixed_cloud
from hiddenscape.testing.kernels import (
    PRECISIONS,
    Backend,
    bound,
    check_kernel,
    check_nearest,
    check_permutation,
    check_ranks,
    offers,
    precisions,
)

FEW = ("normal float32", "offset", "near copies", "copies", "grid of tenths", "scale of a row")


# The torch kernel runs on the processor too, so that its logic is tested where there is no device.
ON_PROCESSOR = "cuda on the processor"


@lru_cache
def _backend(name: str) -> Backend:
    return bound(kernel("cuda"), device="cpu") if name == ON_PROCESSOR else kernel(name)


@lru_cache
def _known(name: str) -> tuple[str, ...]:
    """Precisions of a backend; none where it does not run."""
    return precisions(_backend(name))


LIGHT = [*KERNELS, pytest.param(ON_PROCESSOR, marks=pytest.mark.slow)]
# In every run the torch kernel on the processor climbs from one rung; from the others if slow.
RUNGS = [(name, precision) for name in KERNELS for precision in PRECISIONS] + [
    pytest.param(ON_PROCESSOR, p, marks=() if p == "bfloat16" else pytest.mark.slow)
    for p in PRECISIONS
]


@pytest.fixture(params=LIGHT)
def backend(request: pytest.FixtureRequest) -> Backend:
    module = _backend(request.param)
    try:
        module.nearest(cloud(np.eye(3)), 1)
    except HiddenscapeError as error:
        pytest.skip(f"{request.param} does not run here: {error}")
    return module


@pytest.fixture
def known(backend: Backend, request: pytest.FixtureRequest) -> tuple[str, ...]:
    return _known(request.node.callspec.params["backend"])


@lru_cache
def points(name: str) -> Cloud:
    return cloud(hostile_cloud(name))


@lru_cache
def crowd(name: str) -> Cloud:
    """Clouds large enough for lists to fill up and for blocks to meet."""
    r = np.random.default_rng(44)
    made = {
        "grid": lambda: np.stack(np.meshgrid(*[np.arange(11)] * 3), -1).reshape(-1, 3),
        "grid of tenths": lambda: (
            0.1 * np.stack(np.meshgrid(*[np.arange(11)] * 3), -1).reshape(-1, 3)
        ),
        "one-hot": lambda: np.eye(30, dtype="f4")[r.integers(30, size=900)],
        "normal": lambda: r.normal(size=(1100, 40)).astype("f4"),
        "clusters far off": lambda: (
            1e4 + np.repeat(r.normal(size=(11, 40)), 100, 0) + 1e-4 * r.normal(size=(1100, 40))
        ),
    }
    return cloud(made[name]())


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize(("backend", "precision"), RUNGS, indirect=["backend"])
def test_equal_to_the_reference(
    backend: Backend, known: tuple[str, ...], precision: str, name: str
) -> None:
    if precision not in known:
        pytest.skip(f"{backend.__name__} knows no precision {precision}")
    options = [{"precision": precision}, {"precision": precision, "block_rows": 17}]
    assert check_kernel(backend, clouds=[name], options=options) == 1


@pytest.mark.parametrize(("backend", "precision"), RUNGS, indirect=["backend"])
@pytest.mark.parametrize(
    "name", ["grid", "grid of tenths", "one-hot", "normal", "clusters far off"]
)
def test_crowds_equal_the_reference(
    backend: Backend, known: tuple[str, ...], name: str, precision: str
) -> None:
    if precision not in known:
        pytest.skip(f"{backend.__name__} knows no precision {precision}")
    for block_rows in (None, 100):
        options = {"precision": precision, "block_rows": block_rows}
        for k in (1, 26) if block_rows else (11,):
            check_nearest(backend, crowd(name), k, label=name, **options)
        check_ranks(backend, crowd(name), label=name, **options)


@pytest.mark.parametrize("memory", [1 << 20, 1 << 23, 1 << 30])
def test_memory_changes_nothing(backend: Backend, memory: int) -> None:
    if not offers(backend, "memory"):
        pytest.skip(f"{backend.__name__} takes no memory budget")
    ranked = offers(backend, "memory", "mid_ranks")
    for precision in ("auto", "float32"):
        for name in ("normal", "one-hot", "clusters far off"):
            options = {"memory": memory, "precision": precision}
            check_nearest(backend, crowd(name), 12, label=name, **options)
            if ranked:
                check_ranks(backend, crowd(name), label=name, **options)
        # A few rows of 20,000 columns must fit, whatever is asked for.
        wide = max(memory, 1 << 26)
        check_nearest(backend, points("many columns"), 5, memory=wide, precision=precision)


@pytest.mark.parametrize("block_rows", [1, 13, 64, 10_000])
def test_blocks_change_nothing(backend: Backend, block_rows: int) -> None:
    for precision in ("float32", "float64"):
        for name in ("many columns", "all alike") if block_rows == 1 else FEW:
            options = {"precision": precision, "block_rows": block_rows}
            check_nearest(backend, points(name), 4, label=name, **options)
            check_ranks(backend, points(name), label=name, **options)


@pytest.mark.parametrize("cores", [1, 3])
def test_threads_change_nothing(
    backend: Backend, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    monkeypatch.setattr(threads, "cores", lambda: cores)
    if hasattr(backend, "cores"):
        monkeypatch.setattr(backend, "cores", lambda: cores)
    assert check_kernel(backend, clouds=FEW, ks=[4]) == len(FEW)
    for name in ("normal", "grid of tenths", "clusters far off"):
        for precision in ("auto", "float32"):
            for block_rows in (None, 100):
                options = {"precision": precision, "block_rows": block_rows}
                check_nearest(backend, crowd(name), 12, label=name, **options)


@pytest.mark.parametrize("name", [n for n in CLOUDS if n not in {"two rows"}])
def test_the_order_of_rows_changes_nothing(
    backend: Backend, known: tuple[str, ...], name: str
) -> None:
    order = np.random.default_rng(45).permutation(points(name).n)
    for precision in known[1::2]:
        check_permutation(backend, points(name), 5, order, precision=precision)


@given(seed=st.integers(0, 2**32 - 1), rung=st.integers(0, 5), block_rows=st.integers(4, 100))
def test_mixtures_equal_the_reference(seed: int, rung: int, block_rows: int) -> None:
    x = cloud(mixed_cloud(seed))
    k = 1 + seed % (x.n - 1)
    for name in KERNELS:
        module, known = _backend(name), _known(name)
        if not known:
            continue
        options = {"precision": known[rung % len(known)], "block_rows": block_rows}
        check_nearest(module, x, k, label=f"mixture {seed}", **options)
        check_ranks(module, x, label=f"mixture {seed}", **options)


def test_the_certificate_says_who_proved_what(backend: Backend, known: tuple[str, ...]) -> None:
    found = check_nearest(backend, crowd("normal"), 10)
    if found is None:
        pytest.skip(f"{backend.__name__} gives no certificate yet")
    for precision in set(known) - {"auto"}:
        proof = check_nearest(backend, crowd("normal"), 10, precision=precision)
        assert isinstance(proof, Certificate)
        # Gaussian points in 40 columns: even the coarsest bound proves something.
        assert proof.counts()[precision] > 0, (precision, str(proof))
    whole = check_nearest(backend, crowd("grid"), 10, precision="float32")
    assert isinstance(whole, Certificate)
    assert whole.counts() == {"whole numbers": crowd("grid").n}


def test_a_search_reports_its_progress(backend: Backend) -> None:
    seen: list[tuple[int, int]] = []
    backend.nearest(crowd("normal"), 3, block_rows=200, progress=lambda a, b: seen.append((a, b)))
    assert len(seen) > 1
    done = [a for a, _ in seen]
    assert done == sorted(done)
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_large_clouds_equal_the_reference(
    backend: Backend, known: tuple[str, ...], precision: str
) -> None:
    if precision not in known:
        pytest.skip(f"{backend.__name__} knows no precision {precision}")
    r = np.random.default_rng(46)
    latent = r.normal(size=(3000, 12))
    sheet = np.tanh(latent @ r.normal(size=(12, 200)) / 4) + 0.01 * r.normal(size=(3000, 200))
    for x in (sheet.astype("f4"), sheet + 1e4, r.integers(0, 3, size=(3000, 9)) / 255):
        for k in (1, 30, 100):
            check_nearest(backend, _once(x.tobytes(), x), k, precision=precision)


_made: dict[bytes, Cloud] = {}


def _once(key: bytes, x: np.ndarray) -> Cloud:
    return _made.setdefault(key[:64], cloud(x))
