from __future__ import annotations

import pytest

from hiddenscape.errors import InputError
from hiddenscape.kernels.dispatch import KERNELS, kernel


def test_every_kernel_offers_both_operations() -> None:
    for name in KERNELS:
        assert callable(kernel(name).nearest)
        assert callable(kernel(name).mid_ranks)


def test_unknown_kernel_is_refused() -> None:
    with pytest.raises(InputError, match="no kernel 'abacus'; there are: cpu"):
        kernel("abacus")
