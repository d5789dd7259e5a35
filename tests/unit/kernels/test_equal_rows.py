from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.kernels import equal_rows
from hiddenscape.kernels.equal_rows import first_equal, hashes

DTYPES = st.sampled_from([np.float32, np.float64])


def truth(x: np.ndarray) -> list[int]:
    return [int((x == row).all(axis=1).argmax()) for row in x]


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 4), DTYPES)
def test_rows_are_equal_where_their_values_are(seed: int, n: int, d: int, dtype: type) -> None:
    r = np.random.default_rng(seed)
    x = r.choice(np.array([0.0, -0.0, 1.0, 5e-324, np.pi]), size=(n, d)).astype(dtype)
    assert first_equal(x).tolist() == truth(x)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_an_accident_of_the_hash_makes_no_duplicate(seed: int, kinds: int) -> None:
    x = np.random.default_rng(seed).integers(0, 3, size=(50, 2)).astype(np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(equal_rows, "hashes", lambda rows: hashes(rows) % np.uint64(kinds))
        assert first_equal(x).tolist() == truth(x)


def test_every_bit_enters_the_hash() -> None:
    for dtype in (np.float32, np.float64):
        x = np.ones((1, 5), dtype=dtype)
        bits = np.repeat(x.view(np.uint8), x.nbytes * 8 + 1, axis=0)
        for i in range(x.nbytes * 8):
            bits[i, i // 8] ^= 1 << (i % 8)
        with np.errstate(invalid="ignore"):
            assert len(set(hashes(bits.view(dtype)).tolist())) == len(bits)


def test_columns_are_told_apart() -> None:
    assert len(set(hashes(np.eye(300)).tolist())) == 300


def test_blocks_of_rows_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).integers(0, 2, size=(40, 3)).astype(np.float32)
    whole = hashes(x)
    monkeypatch.setattr(equal_rows, "_ENTRIES", 7)
    assert np.array_equal(hashes(x), whole)
    assert first_equal(x).tolist() == truth(x)


def test_a_mapped_file_is_read_in_blocks(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(3000, 2048)).astype(np.float32)
    x[1500:] = x[:1500]
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    first_equal(mapped[:2])
    tracemalloc.start()
    found = first_equal(mapped)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.tolist() == [*range(1500)] * 2
    assert peak < x.nbytes  # 24 MB; each block of it is 4
