"""Points for other programs: every format with the row table and what is known of their origin."""

from hiddenscape.store.exporters.export import FORMATS, export_points
from hiddenscape.store.exporters.labelled import to_anndata, to_xarray

__all__ = ["FORMATS", "export_points", "to_anndata", "to_xarray"]
