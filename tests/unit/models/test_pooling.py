"""Pooling against explicit slices; padding may hold anything."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hiddenscape.errors import InputError
from hiddenscape.models.pooling import Masks, parse_poolings, pool


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    pads=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_padding_never_counts(lengths, pads, seed):
    g = torch.Generator().manual_seed(seed)
    width = max(lengths) + pads
    x = torch.full((len(lengths), width, 3), torch.nan)
    real = torch.zeros(len(lengths), width, dtype=torch.bool)
    content = torch.zeros_like(real)
    rows = []
    for i, n in enumerate(lengths):
        row = torch.randn(n, 3, generator=g)
        x[i, :n], real[i, :n], content[i, 1:n] = row, True, True
        rows.append(row)
    masks = Masks(real=real, content=content)
    for i, row in enumerate(rows):
        torch.testing.assert_close(pool(x, "mean_all", masks)[i], row.mean(0))
        assert torch.equal(pool(x, "last", masks)[i], row[-1])
        assert torch.equal(pool(x, "token:0", masks)[i], row[0])
        assert torch.equal(pool(x, "token:-1", masks)[i], row[-1])
        mean = pool(x, "mean", masks)[i]
        if len(row) > 1:
            torch.testing.assert_close(mean, row[1:].mean(0))
        else:
            assert mean.isnan().all()


def test_tokens_out_of_range_are_nan():
    x = torch.ones(2, 3, 2)
    real = torch.tensor([[True, True, True], [True, False, False]])
    got = pool(x, "token:1", Masks(real=real))
    assert got[0].tolist() == [1, 1]
    assert got[1].isnan().all()
    assert pool(x, "token:-2", Masks(real=real))[1].isnan().all()


def test_half_precision_is_pooled_in_float32():
    # Offset 5, spread 1, 512 tokens: a bfloat16 mean is off by a fifth of the spread.
    x = (5 + torch.randn(4, 512, 8, generator=torch.Generator().manual_seed(0))).bfloat16()
    got = pool(x, "mean", Masks())
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, x.double().mean(1).float(), rtol=1e-6, atol=1e-6)
    assert pool(x.double(), "mean", Masks()).dtype == torch.float64


def test_maps_and_vectors():
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pool(x, "gap", Masks()), x.mean((2, 3)))
    torch.testing.assert_close(pool(x, "mean", Masks()), x.mean((2, 3)))
    torch.testing.assert_close(pool(x, "gmax", Masks()), x.amax((2, 3)))
    assert torch.equal(pool(x, "flat", Masks()), x.flatten(1))
    assert torch.equal(pool(x[:, :, 0, 0], "mean", Masks()), x[:, :, 0, 0])
    assert pool(torch.ones(4), "flat", Masks()).shape == (4, 1)


@pytest.mark.parametrize("how", ["mean", "flat", "last", "gap"])
@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3), (2, 3, 4, 4)])
def test_nothing_is_a_view(how, shape):
    x = torch.randn(shape)
    try:
        got = pool(x, how, Masks())
    except InputError:
        return
    kept = got.clone()
    x.zero_()
    assert torch.equal(got, kept)
    assert got.untyped_storage().nbytes() == got.numel() * 4


@pytest.mark.parametrize(
    ("shape", "how", "message"),
    [
        ((2, 3), "last", "one vector per row"),
        ((2, 3), "gap", "one vector per row"),
        ((2, 3, 4, 4), "last", "is a map"),
        ((2, 3, 4), "gap", "has tokens"),
        ((2, 3, 4), "cls", "no class position"),
        ((), "flat", "single number"),
        ((1, 1025, 1024), "flat", "at most 1048576"),
    ],
)
def test_poolings_that_do_not_suit_a_site(shape, how, message):
    with pytest.raises(InputError, match=message):
        pool(torch.zeros(shape), how, Masks(), site="s")


def test_masks_of_another_length_are_refused():
    with pytest.raises(InputError, match="its second axis is not the token axis"):
        pool(torch.zeros(2, 5, 3), "mean", Masks(content=torch.ones(2, 4, dtype=torch.bool)))


def test_names_are_checked():
    assert parse_poolings(["mean,last", "token:-3"]) == ("mean", "last", "token:-3")
    for wrong in ("avg", "token:x", "token:I,"):
        with pytest.raises(InputError, match="unknown pooling"):
            parse_poolings(wrong)
    with pytest.raises(InputError, match="no pooling"):
        parse_poolings("")


def test_one_vector_per_row_is_the_class_position_where_a_family_has_one():
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(pool(x, "cls", Masks(cls=0)), x)
    with pytest.raises(InputError, match="one vector per row"):
        pool(x, "cls", Masks())
    with pytest.raises(InputError, match="one vector per row"):
        pool(x, "last", Masks(cls=0))
