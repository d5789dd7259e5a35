"""The estimators keep scikit-learn's contract: all of its own checks, none excused."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.utils.estimator_checks import parametrize_with_checks

import hiddenscape.sklearn as facade

ESTIMATORS = [getattr(facade, name)() for name in facade.__all__]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_accepts_it(estimator: Any, check: Any) -> None:
    check(estimator)
