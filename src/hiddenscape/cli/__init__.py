"""The command line: one thin command per verb, loaded when it is called.

Importing this package loads neither numpy nor torch, so that ``hiddenscape --help`` answers at
once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run ``hiddenscape`` with the given arguments, by default those of the process, and exit."""
    from hiddenscape.cli.app import group
    from hiddenscape.cli.exits import guarded

    arguments = list(sys.argv[1:] if argv is None else argv)
    sys.exit(guarded(group, arguments))
