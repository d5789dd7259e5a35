"""The whole way, from a network and a data set to a report."""

from __future__ import annotations

from hiddenscape.pipeline.citations import cite
from hiddenscape.pipeline.demonstration import demo
from hiddenscape.pipeline.networks import open_network
from hiddenscape.pipeline.stages import Plan, run

__all__ = ["Plan", "cite", "demo", "open_network", "run"]
