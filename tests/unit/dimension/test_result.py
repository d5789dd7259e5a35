from __future__ import annotations

import math

import numpy as np
import pytest

from hiddenscape.dimension.result import Dimension, DimensionCurve
from hiddenscape.errors import InputError


def curve(*values: float, stderr: float = 0.0) -> DimensionCurve:
    return DimensionCurve(
        estimates=tuple(
            Dimension(
                value=v,
                stderr=stderr,
                n_used=100,
                scale=float(i),
                n1=2**i,
                n2=2 ** (i + 1),
                note="undefined" if math.isnan(v) else "",
            )
            for i, v in enumerate(values)
        )
    )


def test_columns_of_a_curve() -> None:
    c = curve(3.0, 2.0)
    assert len(c) == 2
    assert c.values.tolist() == [3, 2]
    assert c.stderrs.tolist() == [0, 0]
    assert c.scales.tolist() == [0, 1]
    assert (c.n1, c.n2, c.subset) == ((1, 2), (2, 4), (100, 100))


@pytest.mark.parametrize(
    ("values", "stderr", "where"),
    [
        ((5.0, 5.0, 5.0), 0.0, 0),
        ((9.0, 5.0, 4.6, 4.2), 0.0, 1),
        ((9.0, 5.0, 4.4, 4.2), 0.0, None),  # 12 % down, then flat only once
        ((9.0, 5.0, 4.4, 4.2), 0.25, 1),  # the same within two joint stderr
        ((5.0, 5.0), 0.0, None),
        ((5.0, math.nan, 5.0, 5.0, 5.0), 0.0, 2),
        ((5.0, 5.0, 9.0, 9.0), 0.0, None),
    ],
)
def test_plateau_rule(values: tuple[float, ...], stderr: float, where: int | None) -> None:
    c = curve(*values, stderr=stderr)
    assert c.plateau() == where
    assert ("no plateau" in c.note) == (where is None)


def test_a_curve_without_stderr_still_has_a_plateau() -> None:
    assert curve(5.0, 5.0, 5.0, stderr=math.nan).plateau() == 0


def test_misuse_is_refused() -> None:
    with pytest.raises(InputError, match="at least one estimate"):
        DimensionCurve(estimates=())
    one = curve(1.0).estimates
    with pytest.raises(InputError, match="repeats must belong to 1 estimates, got 2"):
        DimensionCurve(estimates=one, repeats=(one, one))
    assert np.isnan(one[0].interval[0])


def test_a_curve_says_its_scale_and_rule() -> None:
    curve = DimensionCurve(
        estimates=tuple(
            Dimension(value=v, n_used=500, scale=s, n1=k, n2=2 * k, method="gride")
            for k, v, s in ((1, 9.0, 0.1), (2, 5.0, 0.2), (4, 4.9, 0.3), (8, 5.0, 0.4))
        )
    )
    assert curve.describe() == (
        "estimated dimension 5 at scale 0.2 (neighbours 2 and 4 of 500 rows): the first of 4 "
        "scales from which the next two steps change it by less than a tenth or two joint errors"
    )
    never = DimensionCurve(estimates=curve.estimates[:2])
    assert "no plateau over 2 scales" in never.describe()
    nothing = Dimension(value=math.nan, n_used=2, note="collapsed (2 distinct of 9 rows)")
    assert DimensionCurve(estimates=(nothing,)).describe() == (
        "no dimension at any of 1 scales: collapsed (2 distinct of 9 rows)"
    )
