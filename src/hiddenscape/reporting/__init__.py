"""Reports: one self-contained page from a run directory."""

from hiddenscape.reporting.html import report

__all__ = ["report"]
