"""From a network and a data set to a store of aligned points: the only writer of activations."""

from __future__ import annotations

from hiddenscape.extraction.deep import Drift, recompute
from hiddenscape.extraction.plan import ExtractionPlan
from hiddenscape.extraction.run import extract

__all__ = ["Drift", "ExtractionPlan", "extract", "recompute"]
