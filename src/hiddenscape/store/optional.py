"""Packages that only some formats need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hiddenscape.errors import MissingDependency

__all__ = ["needs"]


def needs(name: str) -> Any:
    """Import a module that is not always installed.

    Raises
    ------
    MissingDependency
        Naming the extra that brings it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingDependency(
            f'{package} is needed for this: pip install "hiddenscape[formats]" ({error})'
        ) from error
