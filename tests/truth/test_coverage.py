"""95 % intervals hold the truth in 95 % of the draws from the law they are made for."""

from __future__ import annotations

import math

import pytest

from hiddenscape.testing.laws import LAWS
from hiddenscape.testing.truth import z_scores


@pytest.mark.parametrize("name", LAWS)
def test_intervals_hold_the_truth(name: str) -> None:
    """Four standard errors of a share, and of a mean."""
    law = LAWS[name]
    draws = 200 if law.cheap else 40
    z = z_scores(law.draw, law.truth, draws)
    assert abs(z.coverage - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / draws)
    assert abs(z.mean) < 5 / math.sqrt(draws)
    assert 0.75 < z.sd < 1.35


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_intervals_hold_the_truth_in_93_to_97_of_100(name: str) -> None:
    """The band is 5.8 standard errors of 4000 draws wide, 2.9 of 1000."""
    law = LAWS[name]
    z = z_scores(law.draw, law.truth, 4000 if law.cheap else 1000)
    assert 0.93 <= z.coverage <= 0.97
