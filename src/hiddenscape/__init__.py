"""hiddenscape: the geometry of hidden representations, layer by layer.

This is the public page. Every name is loaded on first use, so that importing hiddenscape costs
nothing and never loads torch or matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hiddenscape._version import __version__

_HOME = {
    # points -> graph
    "find_neighbors": "neighbors.search",
    "NeighborGraph": "neighbors.graph",
    # graph or points -> dimension
    "Dimension": "dimension.result",
    "DimensionCurve": "dimension.result",
    "two_nn": "dimension.two_nn",
    "gride": "dimension.gride",
    "gride_scan": "dimension.gride",
    "decimation": "dimension.decimation",
    "pca_dimension": "dimension.pca",
    "participation_ratio": "dimension.pca",
    # comparisons
    "Overlap": "comparison.overlap",
    "neighborhood_overlap": "comparison.overlap",
    "label_overlap": "comparison.labels",
    "Imbalance": "comparison.imbalance",
    "information_imbalance": "comparison.imbalance",
    "information_imbalance_matrix": "comparison.imbalance",
    # reading a profile
    "profile_features": "profile",
    "ProfileFeatures": "profile",
    # networks and data
    "load_network": "models.loading",
    "open_network": "pipeline",
    "wrap_module": "models.network",
    "open_dataset": "data.open",
    "array_dataset": "data.arrays",
    "text_dataset": "data.text",
    # the way of the data
    "extract": "extraction",
    "import_points": "store.importers",
    "open_store": "store.reader",
    "RepresentationSet": "store.reader",
    "verify": "store.verify",
    "open_run": "runs",
    "Run": "runs",
    "measure": "measurement",
    "report": "reporting.html",
    "run": "pipeline",
    "demo": "pipeline",
    "RunSpec": "spec",
    "cite": "pipeline",
    # what there is
    "ANALYSES": "analyses",
    "FAMILIES": "models.families",
    # values
    "Site": "types",
    "Estimate": "results",
    "Row": "table",
    "Table": "table",
    "HiddenscapeError": "errors",
}

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from hiddenscape.errors import HiddenscapeError as HiddenscapeError
    from hiddenscape.neighbors.graph import NeighborGraph as NeighborGraph
    from hiddenscape.results import Estimate as Estimate
    from hiddenscape.table import Row as Row
    from hiddenscape.table import Table as Table
    from hiddenscape.types import Site as Site


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hiddenscape' has no attribute {name!r}")
    value = getattr(import_module(f"hiddenscape.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
