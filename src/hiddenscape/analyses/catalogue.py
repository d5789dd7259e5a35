"""The one list of measurements.

A new estimator is one source file, one test file and one entry in the file of its theme; the plan,
the table, the command line, the law tests and ``hiddenscape cite`` follow from the entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hiddenscape.analyses.densities import DENSITIES
from hiddenscape.analyses.dimensions import DIMENSIONS
from hiddenscape.analyses.entry import GROUPS, Analysis
from hiddenscape.analyses.overlaps import ACROSS, LABELS
from hiddenscape.analyses.peaks import PEAKS
from hiddenscape.analyses.rows import ROWS
from hiddenscape.errors import ConfigError

__all__ = ["ANALYSES", "DEFAULT_ANALYSES", "choose"]

_ENTRIES: tuple[Analysis, ...] = (*DIMENSIONS, *DENSITIES, *PEAKS, *LABELS, *ROWS, *ACROSS)

ANALYSES: Mapping[str, Analysis] = {entry.name: entry for entry in _ENTRIES}
DEFAULT_ANALYSES: tuple[str, ...] = tuple(e.name for e in _ENTRIES if e.default)


def choose(names: Iterable[str] | None) -> tuple[Analysis, ...]:
    """The entries of the given names, in the order of the list; the default ones for None.

    A name may also be that of a group (``dimension``, ``density``, ``peaks``, ``labels``, ``rows``,
    ``pairs``), ``default``, or ``all``.

    Raises
    ------
    ConfigError
        For a name that is not on the list.

    Examples
    --------
    >>> [a.name for a in choose(["gride", "two_nn"])]
    ['two_nn', 'gride']
    >>> [a.name for a in choose(["peaks"])]
    ['adp', 'adp_z_scan', 'adp_labels', 'adp_stability']
    """
    wanted = {"default"} if names is None else set(names)
    unknown = sorted(wanted - set(ANALYSES) - set(GROUPS) - {"all", "default"})
    if unknown:
        raise ConfigError(
            f"no analysis {', '.join(unknown)}; there are: {', '.join(ANALYSES)}; and the groups "
            f"{', '.join(GROUPS)}, default and all"
        )
    return tuple(
        e
        for e in _ENTRIES
        if wanted & {e.name, e.group, "all"} or (e.default and "default" in wanted)
    )
