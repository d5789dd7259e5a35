from __future__ import annotations

import subprocess
import sys

import pytest

from hiddenscape.errors import InputError
from hiddenscape.kernels.dispatch import KERNELS, kernel


def test_every_kernel_offers_both_operations() -> None:
    for name in KERNELS:
        assert callable(kernel(name).nearest)
        assert callable(kernel(name).mid_ranks)


def test_unknown_kernel_is_refused() -> None:
    with pytest.raises(InputError, match="no kernel 'abacus'; there are: cpu, cuda"):
        kernel("abacus")


def test_the_list_of_kernels_is_free_of_torch() -> None:
    code = "import sys; from hiddenscape.kernels import dispatch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
