"""Where a curve of errors against the number of coordinates stops to fall."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from hiddenscape.errors import InputError

__all__ = ["ELBOW_RULE", "elbow"]

ELBOW_RULE = "elbow10: the smallest m with c(m) <= c(last) + 0.1 (c(first) - c(last))"
"""The rule in words; NaN where the last step still takes more than 5 % of the whole fall."""

_SHARE = 0.1
_STILL = 0.05


def elbow(sizes: ArrayLike, errors: ArrayLike) -> float:
    r"""The smallest m with :math:`c(m) \le c(m_{\max}) + 0.1 (c(m_{\min}) - c(m_{\max}))`.

    NaN where there is no elbow: the curve does not fall, or its last step still takes more than
    5 % of the whole fall.

    Parameters
    ----------
    sizes : array (s,)
        Numbers of coordinates, ascending, at least 2 of them.
    errors : array (s,)
        c, finite.

    Raises
    ------
    InputError
        If they are not as said.

    Examples
    --------
    >>> elbow([1, 2, 3, 4], [1.0, 0.1, 0.04, 0.03])
    2.0
    >>> elbow([1, 2, 3, 4], [1.0, 0.7, 0.4, 0.1])
    nan
    """
    m, c = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if m.ndim != 1 or m.shape != c.shape or len(m) < 2 or (np.diff(m) <= 0).any():
        raise InputError(
            f"an elbow needs at least 2 ascending sizes with one error each, got shapes {m.shape} "
            f"and {c.shape}"
        )
    if not np.isfinite(c).all():
        raise InputError("the errors of an elbow must be finite")
    fall = c[0] - c[-1]
    if fall <= 0 or c[-2] - c[-1] > _STILL * fall:
        return math.nan
    return float(m[np.argmax(c <= c[-1] + _SHARE * fall)])
