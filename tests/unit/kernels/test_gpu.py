"""The torch kernel, on the processor everywhere and on a GPU where one is at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hiddenscape.errors import HiddenscapeError, InputError
from hiddenscape.kernels import gpu, gpu_pairs, gpu_points, gpu_screen, reference
from hiddenscape.kernels.arrays import Cloud, cloud, pair_distances
from hiddenscape.kernels.gpu_points import Budget, Source
from hiddenscape.kernels.gpu_rungs import RUNGS, Rung, ladder, matrix_product, rounded
from hiddenscape.kernels.gpu_screen import Screen, exact_rung
from hiddenscape.kernels.gpu_select import smallest
from hiddenscape.neighbors.duplicates import find_duplicates

CPU = torch.device("cpu")
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is at hand"),
    ),
]
PRECISIONS = ("auto", *RUNGS)
SMALL = Budget(points=0, operands=0, scores=60_000, work=20_000)


def hostile() -> dict[str, np.ndarray]:
    r = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3), -1).reshape(-1, 3)
    return {
        "normal": r.normal(size=(120, 7)),
        "offset": r.normal(size=(120, 40)).astype("f4") + 3000,
        "grid": grid,
        "copies": np.repeat(r.normal(size=(25, 3)), 5, 0)[r.permutation(125)],
        "near copies": np.repeat(r.normal(size=(40, 9)), 3, 0) + 1e-6 * r.normal(size=(120, 9)),
        "binary": r.integers(0, 2, (120, 6)),
        "huge": r.normal(size=(90, 4)) * 1e300,
        "tiny": r.normal(size=(90, 4)) * 1e-310,
        "both": np.vstack([r.normal(size=(45, 3)) * 1e-200, r.normal(size=(45, 3)) * 1e200]),
        "tiny beside one": np.hstack([np.ones((60, 1)), r.normal(size=(60, 2)) * 1e-310]),
        "outlier": np.vstack([r.normal(size=(90, 5)), r.normal(size=(2, 5)) * 1e9]).astype("f4"),
        "channel": r.normal(size=(100, 20)) * np.r_[1e6, np.ones(19)],
        "clusters": np.vstack([r.normal(size=(50, 8)) * 1e-5, 1 + r.normal(size=(50, 8)) * 1e-5]),
        "half": r.normal(size=(120, 3)).astype("f2"),
        "simplex": np.eye(60),
        "constant": np.ones((30, 4)),
        "equal": np.full((30, 4), 0.1),
        "tenths": grid * 0.1,
        "half alike": np.vstack([np.tile(r.normal(size=(1, 6)), (50, 1)), r.normal(size=(50, 6))]),
        "large whole": r.integers(-(2**40), 2**40, (80, 3)),
        "line": np.arange(100.0)[:, None] ** 2,
        "wide": r.normal(size=(20, 3000)).astype("f4"),
        "pair": np.array([[0.5], [2.0]]),
    }


def same_lists(got: tuple, want: tuple) -> None:
    assert np.array_equal(got[1], want[1])
    assert np.array_equal(got[0], want[0])


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_points, "budget", lambda device, memory: SMALL)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", hostile())
def test_neighbors_equal_the_reference(name: str, device: str) -> None:
    x = cloud(hostile()[name])
    for k in {1, min(4, x.n - 1), x.n - 1}:
        want = reference.nearest(x, k)
        for precision in PRECISIONS:
            got = gpu.nearest(x, k, precision=precision, device=device)
            same_lists(got, want)
            assert len(got[2]) == x.n
        for precision in ("bfloat16", "float64"):
            same_lists(gpu.nearest(x, k, precision=precision, block_rows=7, device=device), want)
            pair = (device, device)
            same_lists(gpu.nearest(x, k, precision=precision, devices=pair), want)


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", hostile())
def test_points_may_stay_on_the_host(name: str, device: str) -> None:
    x = cloud(hostile()[name])
    want = reference.nearest(x, min(4, x.n - 1))
    for precision in ("bfloat16", "bfloat16x3", "float64"):
        got = gpu.nearest(x, min(4, x.n - 1), precision=precision, device=device)
        same_lists(got, want)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", hostile())
def test_ranks_equal_the_reference(name: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = cloud(hostile()[name])
    r = np.random.default_rng(1)
    queries = r.permutation(x.n)[:23]
    targets = (queries[:, None] + r.integers(1, x.n, size=(len(queries), 5))) % x.n
    targets[:, 0] = reference.nearest(x, 1)[0][queries, 0]
    want = reference.mid_ranks(x, queries, targets)
    same = find_duplicates(x.original).representative
    for representative in (None, same):
        for precision in PRECISIONS:
            got = gpu.mid_ranks(
                x, queries, targets, precision=precision, representative=representative,
                device=device,
            )  # fmt: skip
            assert np.array_equal(got, want)
        got = gpu.mid_ranks(
            x, queries, targets, block_rows=7, representative=representative,
            devices=(device, device),
        )  # fmt: skip
        assert np.array_equal(got, want)
        with monkeypatch.context() as patch:
            patch.setattr(gpu_points, "budget", lambda device, memory: SMALL)
            got = gpu.mid_ranks(x, queries, targets, representative=representative, device=device)
        assert np.array_equal(got, want)


@pytest.mark.parametrize("device", DEVICES)
def test_pair_distances_have_the_same_bits(device: str, rng: np.random.Generator) -> None:
    where = torch.device(device)
    i, j = np.repeat(np.arange(9), 9), np.tile(np.arange(9), 9)
    for d in [*range(1, 301), 1000, 20_000]:
        for dtype in ("f8", "f4"):
            x = cloud((rng.normal(size=(9, d)) * 10.0 ** rng.integers(-3, 4, d)).astype(dtype))
            source = Source(x, where)
            got = gpu_pairs.pair_distances(
                source, torch.from_numpy(i).to(where), torch.from_numpy(j).to(where)
            )
            assert np.array_equal(got.cpu().numpy(), pair_distances(x, i, j)), (d, dtype)


@pytest.mark.parametrize("d", [1, 5, 130, 700])
@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-140, 1e160, 1e300])
def test_odd_pairs_are_left_to_the_host(
    scale: float, d: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.vstack([rng.normal(size=(8, d)) * scale, np.zeros((2, d)), rng.normal(size=(2, d))])
    x[1] = x[0]
    i, j = np.repeat(np.arange(12), 12), np.tile(np.arange(12), 12)
    want = pair_distances(cloud(x), i, j)
    for small in (False, True):
        if small:
            monkeypatch.setattr(gpu_points, "budget", lambda device, memory: SMALL)
        got = gpu_pairs.pair_distances(
            Source(cloud(x), CPU), torch.from_numpy(i), torch.from_numpy(j)
        )
        assert np.array_equal(got.numpy(), want)


def contradictions(points: Cloud, rung: Rung) -> int:
    """Pairs whose squared distance lies outside the bound claimed for the rung."""
    source = Source(points, CPU)
    screen = Screen(source, rung)
    rows = torch.arange(points.n)
    scores = torch.cat([s for _, _, s in screen.tiles(rows, 50)], 1).double()
    lower = scores + screen.own(rows)[:, None]
    upper = lower + screen.width(rows, rows.expand(points.n, -1))
    i, j = np.repeat(rows.numpy(), points.n), np.tile(rows.numpy(), points.n)
    d = source.radius(torch.from_numpy(pair_distances(points, i, j))).view(points.n, points.n)
    return int(((d**2 * (1 + 1e-13) < lower) | (d**2 * (1 - 1e-13) > upper)).sum())


BOUNDED: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda r: r.normal(size=(80, 33)),
    "offset": lambda r: r.normal(size=(80, 5)) + 1e4,
    "outlier": lambda r: np.vstack([r.normal(size=(79, 5)), np.full((1, 5), 1e6)]),
    "wide": lambda r: r.normal(size=(80, 2500)).astype("f4"),
    "uneven": lambda r: r.normal(size=(80, 6)) * 10.0 ** np.arange(-9, 9, 3),
    "one sign": lambda r: r.random(size=(80, 500)) + np.r_[np.zeros(79), 30][:, None],
    "worst halves": lambda r: (1 + 2.0**-8 + 2.0**-17) * r.choice([-1.0, 1.0], size=(80, 64)),
}


@pytest.mark.parametrize("rung", RUNGS.values(), ids=RUNGS)
@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_never_contradict_the_distances(
    name: str, rung: Rung, rng: np.random.Generator
) -> None:
    assert contradictions(cloud(BOUNDED[name](rng)), rung) == 0


def cutting(used: Rung, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """A product as the roughest tensor core known makes it: 4 terms at a time, bits cut off."""

    def cut(x: torch.Tensor, largest: torch.Tensor) -> torch.Tensor:
        step = 2.0 ** (torch.floor(torch.log2(largest.clamp_min(2.0**-100))) - 23)
        return torch.trunc(x / step) * step

    total = torch.zeros((len(left), len(right)), dtype=torch.float64)
    for a in range(0, left.shape[1], 4):
        terms = left[:, None, a : a + 4].double() * right[None, :, a : a + 4].double()
        addends = torch.cat((terms, total[..., None]), 2)
        total = cut(addends, addends.abs().amax(2, keepdim=True)).sum(2)
        total = cut(total, total.abs())
    return total.float()


@pytest.mark.parametrize("d", [16, 1600, 2100])
def test_the_bound_holds_for_units_that_cut_off(
    d: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Factors that bfloat16 holds, so that nothing but the additions can be wrong.
    x = rng.integers(0, 128, size=(40, d)).astype("f4")
    x[::3] += 127
    x *= 2.0 ** -rng.integers(0, 7, size=d)
    monkeypatch.setattr(gpu_screen, "matrix_product", cutting)
    screen = Screen(Source(cloud(x), CPU), RUNGS["bfloat16"])
    assert screen.kappa < 1.2e-3 + 2.2 * d * 2.0**-22
    assert contradictions(cloud(x), RUNGS["bfloat16"]) == 0
    monkeypatch.setattr(gpu_screen, "kappa", lambda *args, **options: 2e-6)
    assert contradictions(cloud(x), RUNGS["bfloat16"]) > 0 or d < 100


def spoil(rung: str, amount: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the products of one rung less accurate than they claim to be."""
    r = torch.Generator().manual_seed(0)

    def product(used: Rung, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        out = matrix_product(used, left, right)
        if used.name == rung:
            out *= 1 + amount * torch.rand(out.shape, generator=r, dtype=out.dtype)
        return out

    monkeypatch.setattr(gpu_screen, "matrix_product", product)


@pytest.mark.parametrize(("rung", "amount"), [("bfloat16", 0.1), ("tf32", 0.02), ("float32", 1e-3)])
def test_products_worse_than_claimed_are_caught(
    rung: str, amount: float, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = cloud(rng.normal(size=(300, 20)))
    want = reference.nearest(x, 5)
    assert gpu.nearest(x, 5, precision=rung, device="cpu")[2].counts() == {rung: 300}
    spoil(rung, amount, monkeypatch)
    assert contradictions(x, RUNGS[rung]) > 0
    with pytest.warns(RuntimeWarning, match=f"{rung} products on cpu are less accurate"):
        got = gpu.nearest(x, 5, precision=rung, block_rows=100, device="cpu")
    same_lists(got, want)
    assert rung not in got[2].counts()


def test_a_device_whose_last_rung_is_wrong_is_refused(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = cloud(rng.normal(size=(100, 20)))
    spoil("float64", 1e-3, monkeypatch)
    with pytest.raises(HiddenscapeError, match="float64 products on cpu are less accurate"):
        gpu.nearest(x, 5, precision="float64", device="cpu")
    targets = (np.arange(100)[:, None] + [1, 2]) % 100
    with pytest.raises(HiddenscapeError, match="float64 products on cpu"):
        gpu.mid_ranks(x, np.arange(100), targets, device="cpu")


def test_rows_that_a_rung_cannot_prove_climb(rng: np.random.Generator) -> None:
    tight = rng.normal(size=(60, 4)) * 1e-4
    x = cloud(np.vstack([tight, 1 + tight, rng.normal(size=(600, 4)) * 5])[rng.permutation(720)])
    got = gpu.nearest(x, 3, precision="bfloat16", device="cpu")
    counts = got[2].counts()
    assert counts["bfloat16"] >= 500
    assert counts.get("float32", 0) + counts["float64"] >= 120
    same_lists(got, reference.nearest(x, 3))


def test_the_bound_is_not_vacuous(rng: np.random.Generator) -> None:
    latent = rng.normal(size=(2000, 10))
    x = cloud((latent @ rng.normal(size=(10, 256))).astype("f4") + 7)
    shares = [gpu.nearest(x, 10, precision=p, device="cpu")[2].counts().get(p, 0) for p in RUNGS]
    assert shares[0] > 1800
    assert shares[1:] == [2000] * 4


def test_a_useless_rung_is_left_after_its_first_block(rng: np.random.Generator) -> None:
    x = cloud(1e-3 * rng.normal(size=(300, 3)) + np.repeat([[1e3], [-1e3], [0]], 100, 0))
    got = gpu.nearest(x, 2, precision="bfloat16", block_rows=50, device="cpu")
    assert "bfloat16" not in got[2].counts()
    same_lists(got, reference.nearest(x, 2))


def test_whole_numbers_need_no_bound(rng: np.random.Generator) -> None:
    x = cloud(rng.integers(0, 3, size=(150, 4)))
    got = gpu.nearest(x, 20, precision="bfloat16", device="cpu")
    assert got[2].counts() == {"whole numbers": 150}
    same_lists(got, reference.nearest(x, 20))
    low, wide = (RUNGS["bfloat16"], RUNGS["float32"]), (RUNGS["float64"],)
    assert exact_rung(low, 1000, 16, 256.0) == RUNGS["bfloat16"]
    assert exact_rung(low, 1000, 4, 257.0) == RUNGS["float32"]
    assert exact_rung(low, 1000, 65, 256.0) is None
    assert exact_rung(wide, 1 << 20, 1, 2.0**19) == RUNGS["float64"]
    assert exact_rung(wide, 1 << 20, 1, 2.0**21) is None
    assert exact_rung(wide, 2, 1, float("inf")) is None


@pytest.mark.parametrize("shape", [(3, 5), (4, 97), (5, 3001)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.int64])
def test_selection_in_groups_equals_selection(shape: tuple[int, int], kind: torch.dtype) -> None:
    r = torch.Generator().manual_seed(0)
    x = (torch.rand(shape, generator=r) * 40).floor().to(kind)
    for m in (1, 3, 5, 40):
        values, columns = smallest(x, m)
        assert torch.equal(values, x.sort(1).values[:, :m])
        assert torch.equal(x.gather(1, columns), values)
        assert all(len(set(row.tolist())) == len(row) for row in columns)


def test_rounding_keeps_so_many_bits(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.normal(size=1000))
    for bits in (8, 11, 24, 53):
        y = rounded(x, bits)
        assert torch.equal(rounded(y, bits), y)
        assert ((x - y).abs() <= 2.0**-bits * (1 + 1e-4) * x.abs()).all()
        scaled = y * 2.0 ** (bits - 1 - torch.floor(torch.log2(y.abs())))
        assert torch.equal(scaled, scaled.round())


def test_the_callers_settings_come_back(rng: np.random.Generator) -> None:
    x = cloud(rng.normal(size=(60, 5)))
    before = torch.get_float32_matmul_precision()
    try:
        for wanted in ("medium", "highest"):
            torch.set_float32_matmul_precision(wanted)
            gpu.nearest(x, 2, precision="float32", device="cpu")
            assert torch.get_float32_matmul_precision() == wanted
        # Set by the newer name alone, torch refuses to read the older one.
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        gpu.nearest(x, 2, precision="float32", device="cpu")
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision(before)


def test_ladders() -> None:
    def names(precision: str, size: int = 1 << 40) -> list[str]:
        return [rung.name for rung in ladder(precision, CPU, size)]

    assert names("auto") == ["float32", "float64"]
    assert names("auto", 1000) == ["float64"]
    assert names("bfloat16", 1000) == ["bfloat16", "float32", "float64"]
    assert names("float64") == ["float64"]


def test_a_read_only_file_larger_than_the_memory(tmp_path: Path, rng: np.random.Generator) -> None:
    np.save(tmp_path / "x.npy", rng.normal(size=(400, 50)).astype("f4"))
    x = cloud(np.load(tmp_path / "x.npy", mmap_mode="r"))
    want = reference.nearest(x, 3)
    for precision in ("bfloat16", "auto"):
        same_lists(gpu.nearest(x, 3, memory=200_000, precision=precision, device="cpu"), want)
    source = Source(x, CPU, 200_000)
    assert source.resident is None
    assert Source(x, CPU, 2_000_000).resident is not None


@pytest.mark.parametrize("devices", [("cpu",), ("cpu", "cpu")])
def test_progress_counts_rows(devices: tuple[str, ...], rng: np.random.Generator) -> None:
    x = cloud(rng.normal(size=(50, 3)))
    seen: list[tuple[int, int]] = []
    gpu.nearest(x, 2, block_rows=20, progress=lambda a, b: seen.append((a, b)), devices=devices)
    assert seen[-1] == (50, 50)
    assert seen == sorted(seen)
    assert len(devices) > 1 or seen == [(20, 50), (40, 50), (50, 50)]
    seen.clear()
    targets = (np.arange(50)[:, None] + 1) % 50
    gpu.mid_ranks(
        x, np.arange(50), targets, block_rows=30, devices=devices,
        progress=lambda a, b: seen.append((a, b)),
    )  # fmt: skip
    assert seen[-1] == (50, 50)


def test_an_error_on_one_device_ends_the_search(rng: np.random.Generator) -> None:
    x = cloud(rng.normal(size=(200, 3)))

    def stop(done: int, of: int) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        gpu.nearest(x, 2, block_rows=1, progress=stop, devices=("cpu", "cpu"))


def test_misuse_is_named(rng: np.random.Generator) -> None:
    x = cloud(rng.normal(size=(20, 3)))
    with pytest.raises(InputError, match="no precision 'half'; there are: auto, bfloat16"):
        gpu.nearest(x, 2, precision="half", device="cpu")
    with pytest.raises(InputError, match="no torch device is called 'abacus'"):
        gpu.nearest(x, 2, device="abacus")
    with pytest.raises(InputError, match=r"'cuda:99' is asked for, .* are there"):
        gpu.nearest(x, 2, device="cuda:99")
    with pytest.raises(InputError, match="memory must be a positive"):
        gpu.nearest(x, 2, memory=0, device="cpu")
    with pytest.raises(InputError, match="devices is empty"):
        gpu.mid_ranks(x, np.array([0]), np.array([[1]]), devices=())
    with pytest.raises(InputError, match="keeps no checkpoints"):
        gpu.nearest(x, 2, device="cpu", checkpoint=Path("state"))
    here = torch.from_numpy(x.values)
    same_lists(gpu.nearest(x, 2, device="cpu", resident=here), reference.nearest(x, 2))
    with pytest.raises(InputError, match=r"resident must be the cloud's values .* got"):
        gpu.nearest(x, 2, device="cpu", resident=here.float())
    with pytest.raises(InputError, match="resident serves one device, 2 are asked for"):
        gpu.nearest(x, 2, devices=("cpu", "cpu"), resident=here)


def test_blocks_keep_within_the_budget(rng: np.random.Generator) -> None:
    x = cloud(rng.normal(size=(3000, 20)).astype("f4"))
    source = Source(x, CPU, 6_000_000)
    screen = Screen(source, RUNGS["float32"])
    for held in (0, 40):
        height, width = screen.block_shape(None, 8, held)
        assert 1 <= height <= 3000
        assert height * (12 * width + held * 3000) <= source.budget.scores
    assert screen.block_shape(17, 8)[0] == 17


@pytest.mark.parametrize("device", DEVICES)
def test_deterministic_operations_are_enough(device: str, rng: np.random.Generator) -> None:
    x = cloud(rng.normal(size=(100, 20)))
    targets = (np.arange(100)[:, None] + [1, 2]) % 100
    torch.use_deterministic_algorithms(True)
    try:
        for precision in ("bfloat16", "float64"):
            gpu.nearest(x, 3, precision=precision, device=device)
        gpu.mid_ranks(x, np.arange(100), targets, device=device)
    finally:
        torch.use_deterministic_algorithms(False)
