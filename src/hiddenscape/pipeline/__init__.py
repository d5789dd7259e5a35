"""The whole way, from a network and a data set to a report."""

from __future__ import annotations

from hiddenscape.pipeline.again import add_sites, recompute_run
from hiddenscape.pipeline.citations import cite
from hiddenscape.pipeline.demonstration import demo
from hiddenscape.pipeline.networks import open_network
from hiddenscape.pipeline.stages import Plan, run

__all__ = ["Plan", "add_sites", "cite", "demo", "open_network", "recompute_run", "run"]
