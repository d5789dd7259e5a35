"""The one list of measurements: what each computes and needs, its laws, what to cite.

One file per theme holds the entries; ``entry`` says what an entry is, ``catalogue`` is the list,
``chain`` what the densities and peaks of one site share.
"""

from hiddenscape.analyses.catalogue import ANALYSES, DEFAULT_ANALYSES, choose
from hiddenscape.analyses.chain import Chain
from hiddenscape.analyses.entry import GROUPS, Analysis, Kind, Measured, PerRow, Settings

__all__ = [
    "ANALYSES", "DEFAULT_ANALYSES", "GROUPS", "Analysis", "Chain", "Kind", "Measured", "PerRow",
    "Settings", "choose",
]  # fmt: skip
