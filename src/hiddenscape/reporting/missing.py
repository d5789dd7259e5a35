"""What a report lacks, and the command that makes it."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["measure_command", "missing"]

_WORDS = {
    "dimension": "No dimension has been measured.",
    "gride": "Dimension has not been measured over scales.",
    "neighborhood_overlap": "The overlap of neighbourhoods between sites has not been measured.",
    "information_imbalance": "The information imbalance between sites has not been measured.",
    "label_overlap": "There is no label overlap. It needs a label column in the data: any column "
    "of rows.csv beside id and text that repeats within the rows. With one, measure again:",
    "adp": "Density and peaks have not been measured.",
    "map": "There are no maps of the rows. Measuring writes them:",
}


def measure_command(path: Path, *analyses: str) -> str:
    """The command that measures a run.

    Examples
    --------
    >>> measure_command(Path("my run"), "gride")
    "hiddenscape measure 'my run' --analyses gride"
    """
    chosen = f" --analyses {','.join(analyses)}" if analyses else ""
    return f"hiddenscape measure {shlex.quote(str(path))}{chosen}"


def missing(what: str, path: Path) -> dict[str, str]:
    """A section that has nothing to show."""
    analyses = {"dimension": ("two_nn",), "adp": ("density", "peaks"), "map": ()}.get(what, (what,))
    return {"missing": _WORDS[what], "command": measure_command(path, *analyses)}
