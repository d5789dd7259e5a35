from __future__ import annotations

import numpy as np
import pytest

from hiddenscape.errors import InputError
from hiddenscape.kernels.certificate import Certificate


def test_rows_keep_their_proof() -> None:
    c = Certificate(("bfloat16", "float32", "float64"), np.array([0, 2, 0, 0]))
    assert c.counts() == {"bfloat16": 3, "float64": 1}
    assert str(c).startswith("proven by bfloat16 (3 rows), float64 (1 row);")
    assert c.take(np.array([1, 1])).counts() == {"float64": 2}
    both = Certificate.joined([c, Certificate.by("float64", 2)])
    assert len(both) == 6
    assert both.counts() == {"bfloat16": 3, "float64": 3}


def test_the_record_cannot_be_changed() -> None:
    given = np.zeros(3, dtype=np.uint8)
    c = Certificate(("float32",), given)
    with pytest.raises(ValueError, match="read-only"):
        c.rung[0] = 1
    given[0] = 7
    assert c.rung[0] == 0


@pytest.mark.parametrize(
    "rung", [np.array([0, 1]), np.array([-1]), np.array([0.0]), np.zeros((2, 2), dtype=int)]
)
def test_a_proof_that_is_none(rung: np.ndarray) -> None:
    with pytest.raises(InputError, match="rung must"):
        Certificate(("float32",), rung)
