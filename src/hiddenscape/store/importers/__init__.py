"""Points that were made elsewhere become an ordinary store. Nothing is ever unpickled."""

from hiddenscape.store.importers.points import import_points
from hiddenscape.store.importers.report import ImportReport, SiteReport

__all__ = ["ImportReport", "SiteReport", "import_points"]
