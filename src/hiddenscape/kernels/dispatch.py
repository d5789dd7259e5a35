"""Which kernel does the work. Every entry gives the same numbers; they differ in time alone."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from hiddenscape.errors import InputError

__all__ = ["KERNELS", "kernel"]

KERNELS: dict[str, str] = {
    "cpu": "hiddenscape.kernels.cpu",
    "cuda": "hiddenscape.kernels.gpu",
}
"""Names and their modules, imported when asked for: only ``cuda`` needs torch."""


def kernel(name: str = "cpu") -> ModuleType:
    """The kernel module of a name: it offers ``nearest`` and ``mid_ranks``.

    Raises
    ------
    InputError
        For a name that is not in :data:`KERNELS`.

    Examples
    --------
    >>> kernel().__name__
    'hiddenscape.kernels.cpu'
    """
    if name not in KERNELS:
        raise InputError(f"no kernel {name!r}; there are: {', '.join(KERNELS)}")
    return import_module(KERNELS[name])
