"""Settings of a result cannot be changed, and a result travels between processes."""

from __future__ import annotations

import pickle

import pytest

from hiddenscape.results import Estimate


def test_settings_cannot_be_changed_and_results_pickle() -> None:
    made = Estimate(value=1.0, n_used=3, parameters={"k": 10})
    with pytest.raises(TypeError):
        made.parameters["k"] = 5  # type: ignore[index]
    again = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert (again.value, dict(again.parameters)) == (1.0, {"k": 10})
