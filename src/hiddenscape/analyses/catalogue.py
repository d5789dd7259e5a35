"""The one list of measurements.

A new estimator is one source file, one test file and one entry in the file of its theme; the plan,
the table, the command line, the law tests and ``hiddenscape cite`` follow from the entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hiddenscape.analyses.dimensions import DIMENSIONS
from hiddenscape.analyses.entry import Analysis
from hiddenscape.analyses.overlaps import ACROSS, LABELS
from hiddenscape.analyses.rows import ROWS
from hiddenscape.errors import ConfigError

__all__ = ["ANALYSES", "DEFAULT_ANALYSES", "choose"]

_ENTRIES: tuple[Analysis, ...] = (*DIMENSIONS, *LABELS, *ROWS, *ACROSS)

ANALYSES: Mapping[str, Analysis] = {entry.name: entry for entry in _ENTRIES}
DEFAULT_ANALYSES: tuple[str, ...] = tuple(ANALYSES)


def choose(names: Iterable[str] | None) -> tuple[Analysis, ...]:
    """The entries of the given names, in the order of the list; all of them for None.

    Raises
    ------
    ConfigError
        For a name that is not on the list.

    Examples
    --------
    >>> [a.name for a in choose(["gride", "two_nn"])]
    ['two_nn', 'gride']
    """
    if names is None:
        return _ENTRIES
    wanted = set(names)
    unknown = sorted(wanted - set(ANALYSES))
    if unknown:
        raise ConfigError(f"no analysis {', '.join(unknown)}; there are: {', '.join(ANALYSES)}")
    return tuple(entry for entry in _ENTRIES if entry.name in wanted)
