"""The one list of measurements: what each computes and needs, its laws, what to cite.

One file per theme holds the entries; ``entry`` says what an entry is, ``catalogue`` is the list.
"""

from hiddenscape.analyses.catalogue import ANALYSES, DEFAULT_ANALYSES, choose
from hiddenscape.analyses.entry import Analysis, Kind, Measured, Settings

__all__ = ["ANALYSES", "DEFAULT_ANALYSES", "Analysis", "Kind", "Measured", "Settings", "choose"]
