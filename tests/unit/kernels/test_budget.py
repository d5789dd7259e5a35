from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError
from hiddenscape.kernels.budget import DEFAULT_MEMORY, parse_memory, plan_search


@pytest.mark.parametrize(
    ("said", "meant"),
    [("1", 1), ("64 kb", 64_000), ("1.5GB", 1_500_000_000), ("2MiB", 2**21), (7, 7), ("3g", 3e9)],
)
def test_amounts(said: object, meant: int) -> None:
    assert parse_memory(said) == meant  # type: ignore[arg-type]


def test_the_default_is_stated() -> None:
    assert parse_memory(None) == DEFAULT_MEMORY


@pytest.mark.parametrize("said", ["", "much", "5 apples", "-1", "1e9", 0, -5, True, 1.5])
def test_no_amount(said: object) -> None:
    with pytest.raises(InputError, match="memory must"):
        parse_memory(said)  # type: ignore[arg-type]


@given(
    st.integers(2, 10**6),
    st.integers(1, 20_000),
    st.integers(1, 500),
    st.integers(10**5, 10**10),
    st.sampled_from([(4, 1), (4, 2), (8, 1)]),
)
def test_what_is_planned_fits(n: int, d: int, k: int, memory: int, form: tuple[int, int]) -> None:
    k = min(k, n - 1)
    item, copies = form
    try:
        p = plan_search(n, d, k, memory=memory, block=None, itemsize=item, copies=copies, workers=2)
    except InputError as error:
        need = int(str(error).split("at least ")[1].split()[0])
        assert need > memory
        plan_search(n, d, k, memory=need, block=None, itemsize=item, copies=copies, workers=2)
        return
    assert k < p.capacity <= n
    assert 1 <= p.block <= n
    assert p.panel == n or p.panel % p.block == 0
    lists = min(p.panel, n) * p.capacity * (item + 4)
    rows = n * d * item * copies if p.keep else 2 * 2 * p.block * d * item * copies
    assert lists + rows + 2 * p.block**2 * item + n * (16 + item) <= memory


def test_too_little_says_how_much() -> None:
    with pytest.raises(InputError, match=r"memory=1000 bytes are too few .* at least \d+"):
        plan_search(1000, 100, 10, memory=1000, block=None, itemsize=4, copies=1, workers=2)
